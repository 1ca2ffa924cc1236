// The lab tried by itself, without agents: what other tests rest on.
#include <gtest/gtest.h>

#include "tests/lab/cleanup.h"
#include "tests/lab/clients.h"
#include "tests/lab/failure.h"
#include "tests/lab/guest.h"
#include "tests/lab/guest_image.h"
#include "tests/lab/network.h"
#include "tests/lab/process.h"
#include "tests/lab/tap_watch.h"

namespace homeport::lab {
namespace {

namespace fs = std::filesystem;

bool exists(const Namespace& space) {
  return fs::exists("/run/netns/" + space.name());
}

TEST(Waiting, SaysWhatItWaitedFor) {
  try {
    wait_until([] { return false; }, 20ms, "the moon", [] { return "evidence"; });
    FAIL() << "it came";
  } catch (const LabFailure& failure) {
    EXPECT_NE(std::string(failure.what()).find("the moon"), std::string::npos);
    EXPECT_NE(std::string(failure.what()).find("evidence"), std::string::npos);
  }
}

TEST(Command, PassesStatusAndBothOutputsOn) {
  const auto result = run_command({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_THROW(run_command({"/no/such/program"}), LabFailure);
  EXPECT_THROW(run_checked({"false"}), LabFailure);
}

TEST(Namespace, TakesItsProcessesAlong) {
  std::string path;
  pid_t orphan = 0;
  {
    Namespace space(own_name("gone"));
    path = "/run/netns/" + space.name();
    ProcessOptions inside{.inside = &space};
    // A daemon: its parent ends, so that nothing but the namespace leads to it.
    orphan = std::stoi(run_checked({"sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"}, inside));
    EXPECT_TRUE(exists(space));
    EXPECT_EQ(::kill(orphan, 0), 0);
  }
  EXPECT_FALSE(fs::exists(path));
  wait_until([&] { return read_text("/proc/" + std::to_string(orphan) + "/cmdline").empty(); }, 5s,
             "the end of the orphan");
}

TEST(Process, IsEndedWithTheObject) {
  pid_t pid = 0;
  {
    Process sleeper({"sleep", "1000"}, {});
    pid = sleeper.pid();
    EXPECT_TRUE(sleeper.running());
  }
  EXPECT_NE(::kill(pid, 0), 0);
  Process failing({"sh", "-c", "exit 7"}, {});
  EXPECT_EQ(failing.wait(5s), 7);
}

TEST(Link, CarriesIsCutAndRestored) {
  Namespace a(own_name("a"));
  Namespace b(own_name("b"));
  Switch middle(own_name("middle"));
  Link& link = middle.connect(a, "eth0", {.rate_mbit = 100, .mtu = 1500});
  middle.connect(b, "eth0", {});
  a.ip("addr add 10.9.0.1/24 dev eth0");
  b.ip("addr add 10.9.0.2/24 dev eth0");
  auto answered = [&] {
    return run_command(words("busybox ping -c1 -W1 10.9.0.2"), {.inside = &a}).status == 0;
  };
  wait_until(answered, 5s, "an answer over the switch");
  link.cut();
  EXPECT_TRUE(link.is_cut());
  wait_until([&] { return a.ip("link show eth0").find("NO-CARRIER") != std::string::npos; }, 5s,
             "the loss of the carrier");
  EXPECT_FALSE(answered());
  link.restore();
  wait_until(answered, 5s, "an answer after the link was restored");
  EXPECT_NE(a.tc("qdisc show dev eth0").find("100Mbit"), std::string::npos);
}

/// A guest on a plain tap and bridge, started by hand: kernel, worker and clients, without agents.
TEST(Guest, AnswersItsClients) {
  const GuestImage image = prepare_guest_image();
  const fs::path directory = fs::temp_directory_path() / own_name("guest");
  fs::create_directories(directory);
  Cleanup cleanup;
  cleanup.add("directory", [&] { fs::remove_all(directory); });
  write_pattern_disk(directory / "disk.img", 16);

  Switch bridge(own_name("bridge"));
  Namespace client(own_name("client"));
  bridge.connect(client, "eth0", {});
  client.ip("addr add 10.1.0.2/24 dev eth0");
  client.ip("addr add fd01::2/64 dev eth0 nodad");
  bridge.inside().ip("tuntap add tap0 mode tap");
  // As long as those of the agent: a guest may stand still for a while.
  bridge.inside().ip("link set tap0 txqueuelen 20000 master br0 up");
  TapRecord taps;
  TapWatch watch(bridge.inside(), taps);

  Process qemu({"qemu-system-x86_64",
                "-nodefaults",
                "-no-user-config",
                "-accel",
                "tcg",
                "-cpu",
                "max",
                "-m",
                "256M",
                "-display",
                "none",
                "-kernel",
                image.kernel.string(),
                "-initrd",
                image.initrd.string(),
                "-append",
                "console=ttyS0 quiet homeport.ipv4=10.1.0.5/24 homeport.ipv6=fd01::5/64",
                "-serial",
                "file:" + (directory / "console.log").string(),
                "-netdev",
                "tap,id=net0,ifname=tap0,script=no,downscript=no",
                "-device",
                "virtio-net-pci,netdev=net0,romfile=",
                "-drive",
                "if=none,id=disk0,format=raw,readonly=on,cache=none,file=" +
                    (directory / "disk.img").string(),
                "-device",
                "virtio-blk-pci,drive=disk0"},
               {.inside = &bridge.inside(), .log = directory / "qemu.log"});

  const GuestControl guest(client, "10.1.0.5");
  guest.wait_ready(60s);
  GuestControl(client, "fd01::5").wait_ready(10s);
  const GuestStatus first = guest.status();
  EXPECT_FALSE(first.boot_id.empty());

  StreamClient stream(client, "10.1.0.5", directory / "stream.log");
  DatagramClient datagrams(client, "fd01::5", directory / "datagrams.log");
  guest.write_memory(32, 8, 10);
  guest.read_disk(8);
  stream.wait_progress(512 * 1024, 20s);
  datagrams.wait_progress(2000, 20s);
  wait_until([&] { return guest.status().disk_pages > 4096; }, 20s, "the disk reader");

  const auto datagram_report = datagrams.finish();
  const auto stream_report = stream.finish();
  EXPECT_TRUE(stream_report.survived) << stream_report.error;
  EXPECT_GE(stream_report.checked_bytes, 512u * 1024);
  EXPECT_EQ(datagram_report.all().lost, 0u);
  EXPECT_EQ(datagram_report.duplicated, 0u);
  EXPECT_GE(datagram_report.all().sent, 2000u);
  std::size_t seen = 0;  // the watch's thread may have yet to come to the last ones
  wait_until(
      [&] {
        while (seen < datagram_report.datagrams.size() && taps.to_guest(seen) &&
               taps.from_guest(seen)) {
          ++seen;
        }
        return seen == datagram_report.datagrams.size();
      },
      10s, "every datagram to be seen at the tap",
      [&] { return "number " + std::to_string(seen) + " was not, both ways"; });

  guest.check_memory();
  guest.check_disk();
  const GuestStatus last = guest.status();
  EXPECT_EQ(last.boot_id, first.boot_id);
  EXPECT_GT(last.counter, first.counter);
  EXPECT_EQ(last.stream_bytes, stream_report.sent_bytes);
  EXPECT_EQ(last.stream_mismatches, 0u);
  EXPECT_EQ(last.datagrams, datagram_report.all().sent);
  EXPECT_GT(last.memory_written_bytes, 0u);
  EXPECT_EQ(last.memory_mismatches, 0u);
  EXPECT_EQ(last.disk_mismatches, 0u) << last.disk_first_mismatch;
}

}  // namespace
}  // namespace homeport::lab
