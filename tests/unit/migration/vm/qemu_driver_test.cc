#include "migration/vm/qemu_driver.h"

#include "qemu_fixture.h"

#include "migration/vm/process.h"
#include "overlay/link/link.h"
#include "overlay/link/tap.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <boost/asio/co_spawn.hpp>

#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace fs = std::filesystem;
using policy::Result;
using testing::HasSubstr;

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class QemuDriverTest : public QemuFixture {
 protected:
  /// The sentence of a launch that fails, which leaves nothing behind.
  policy::Error refused(const VmSpec& spec) {
    auto vm = run(io_, driver_.launch(spec, LaunchMode::boot));
    EXPECT_FALSE(vm);
    if (vm) return {};
    EXPECT_THAT(driver_.known(), testing::IsEmpty());
    EXPECT_FALSE(fs::exists(driver_.memory_file(spec.name, spec.generation)));
    return vm.error();
  }
};

TEST_F(QemuDriverTest, LaunchesStoppedInItsOwnSessionAndCgroup) {
  overlay::UniqueFd leak(::open("/dev/zero", O_RDONLY));  // not close-on-exec
  Vm vm = launch(driver_, spec("vm1"));
  auto status = run(io_, vm.status());
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(status->state, "prelaunch");
  EXPECT_FALSE(status->running);

  EXPECT_EQ(::getsid(vm.pid()), vm.pid());
  std::string process = "/proc/" + std::to_string(vm.pid());
  EXPECT_THAT(read_file(process + "/cgroup"),
              HasSubstr("/" + options_.cgroup_dir.filename().string() + "/vm1\n"));
  for (const auto& entry : fs::directory_iterator(process + "/fd")) {
    EXPECT_NE(fs::read_symlink(entry.path()), "/dev/zero");
  }
  struct stat memory {};
  ASSERT_EQ(::stat(driver_.memory_file("vm1", 1).c_str(), &memory), 0);
  EXPECT_EQ(memory.st_mode & 0777, 0600u);
  EXPECT_EQ(static_cast<std::uint64_t>(memory.st_size), kGuestMib << 20);

  MappedRam ram(vm, ram_block(vm));
  EXPECT_EQ(ram.count(), 0u);
  ASSERT_TRUE(run(io_, vm.cont()));
  wait_counting(vm, ram, 0);
}

TEST_F(QemuDriverTest, FindsAVmAgainAndItRanOnMeanwhile) {
  pid_t pid = 0;
  {
    QemuDriver before(options_);
    Vm vm = launch(before, spec("vm1"));
    ASSERT_TRUE(run(io_, vm.cont()));
    pid = vm.pid();
  }
  QemuDriver after(options_);
  EXPECT_THAT(after.known(), testing::ElementsAre("vm1"));
  auto vm = run(io_, after.adopt("vm1"));
  ASSERT_TRUE(vm) << vm.error().message;
  EXPECT_EQ(vm->pid(), pid);
  MappedRam ram(*vm, ram_block(*vm));
  wait_counting(*vm, ram, 1'000);
  ASSERT_TRUE(run(io_, vm->quit()));
  EXPECT_TRUE(vm->exited());
  EXPECT_FALSE(fs::exists("/proc/" + std::to_string(pid))) << "a zombie";
}

TEST_F(QemuDriverTest, AdoptsAVmByAMonitorItOpenedItself) {
  // As a VM that something else started has it.
  fs::path socket = directory_ / "own.sock";
  write_profile("own-monitor",
                R"("-machine", "none", "-nodefaults", "-display", "none", "-qmp", "unix:)" +
                    socket.string() + R"(,server=on,wait=off")");
  Vm vm = launch(driver_, spec("vm1", "own-monitor"));
  auto adopted = run(io_, driver_.adopt("other", socket));
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->pid(), vm.pid());
}

TEST_F(QemuDriverTest, ThereIsNothingToAdopt) {
  auto absent = run(io_, driver_.adopt("vm1"));
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, errc::no_such_file_or_directory);
  EXPECT_THAT(absent.error().message, HasSubstr("vm1"));
}

TEST_F(QemuDriverTest, HandsOverTheTap) {
  overlay::NetNamespace network;
  std::string tap = "hpvm" + std::to_string(::getpid() % 1'000'000);
  auto queue = network.run([&] {
    overlay::create_tap({tap, 1'430}).value();
    return overlay::open_tap_queue(tap);
  });
  ASSERT_TRUE(queue) << queue.error().message;
  fs::copy_file(LAUNCH_PROFILE_EXAMPLES "/qemu-tiny.toml", options_.profile_dir / "qemu-tiny.toml");
  VmSpec wanted = spec("vm1", "qemu-tiny");
  wanted.nics.push_back({queue->get(), tap, "52:54:00:12:34:56", 1'430});
  Vm vm = launch(driver_, wanted);
  queue->reset();

  auto borrowed = vm.borrow_tap(tap);
  ASSERT_TRUE(borrowed) << borrowed.error().message;
  ifreq device{};
  ASSERT_EQ(::ioctl(borrowed->get(), TUNGETIFF, &device), 0);
  EXPECT_EQ(std::string(device.ifr_name), tap);
  EXPECT_FALSE(vm.borrow_tap("other"));
  EXPECT_TRUE(run(io_, vm.check_movable()));
  ASSERT_TRUE(run(io_, vm.cont()));
  EXPECT_TRUE(run(io_, vm.announce_self()));
  borrowed->reset();
  ASSERT_TRUE(run(io_, vm.kill()));
  network.run([&] { overlay::delete_device(tap).value(); });
}

TEST_F(QemuDriverTest, RunsAsTheProfilesUser) {
  std::string args = read_file(options_.profile_dir / "counter.toml");
  std::ofstream(options_.profile_dir / "as-nobody.toml") << "user = \"nobody\"\n" << args;
  Vm vm = launch(driver_, spec("vm1", "as-nobody"));
  struct stat process {};
  ASSERT_EQ(::stat(("/proc/" + std::to_string(vm.pid())).c_str(), &process), 0);
  EXPECT_NE(process.st_uid, 0u);
  struct stat memory {};
  ASSERT_EQ(::stat(driver_.memory_file("vm1", 1).c_str(), &memory), 0);
  EXPECT_EQ(memory.st_uid, process.st_uid);
  EXPECT_EQ(memory.st_mode & 0777, 0600u);
  MappedRam ram(vm, ram_block(vm));
  ASSERT_TRUE(run(io_, vm.cont()));
  wait_counting(vm, ram, 0);
}

TEST_F(QemuDriverTest, ASecondVmOfTheNameIsRefusedAndTheFirstRunsOn) {
  Vm vm = launch(driver_, spec("vm1"));
  VmSpec again = spec("vm1");
  again.generation = 2;
  auto second = run(io_, driver_.launch(again, LaunchMode::incoming));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::device_or_resource_busy);
  EXPECT_FALSE(driver_.remove("vm1"));
  EXPECT_TRUE(run(io_, vm.status()));
  EXPECT_TRUE(fs::exists(driver_.memory_file("vm1", 1)));
}

TEST_F(QemuDriverTest, WhatADeadVmLeftIsReplaced) {
  {
    Vm vm = launch(driver_, spec("vm1"));
    ASSERT_TRUE(run(io_, vm.kill()));
  }
  ASSERT_TRUE(fs::exists(driver_.memory_file("vm1", 1)));
  VmSpec again = spec("vm1");
  again.generation = 2;
  Vm vm = launch(driver_, again);
  EXPECT_FALSE(fs::exists(driver_.memory_file("vm1", 1)));
}

TEST_F(QemuDriverTest, NamesThatAreNoFileNamesAreRefused) {
  for (std::string name : {"", "../x", "a/b", "a b", "-x"}) {
    EXPECT_EQ(refused(spec(name)).code, errc::invalid_argument) << name;
    EXPECT_FALSE(driver_.remove(name));
  }
}

TEST_F(QemuDriverTest, MissingProgramIsNamed) {
  write_profile("missing", "", "/nonexistent/vmm");
  policy::Error error = refused(spec("vm1", "missing"));
  EXPECT_EQ(error.code, errc::no_such_file_or_directory);
  EXPECT_THAT(error.message, HasSubstr("/nonexistent/vmm"));
}

TEST_F(QemuDriverTest, MissingProfileIsNamed) {
  EXPECT_THAT(refused(spec("vm1", "absent")).message, HasSubstr("absent.toml"));
}

TEST_F(QemuDriverTest, UnknownUserIsNamed) {
  write_profile("stranger", "", "/bin/true", "user = \"no-such-user\"\n");
  EXPECT_THAT(refused(spec("vm1", "stranger")).message, HasSubstr("no-such-user"));
}

TEST_F(QemuDriverTest, ProgramThatEndsAtOnceIsQuoted) {
  write_profile("broken", R"("-c", "echo the disk is gone >&2; exit 3")", "/bin/sh");
  policy::Error error = refused(spec("vm1", "broken"));
  EXPECT_THAT(error.message, HasSubstr("exit status 3"));
  EXPECT_THAT(error.message, HasSubstr("the disk is gone"));
}

TEST_F(QemuDriverTest, QemuThatRefusesItsOptionsIsQuoted) {
  write_profile("option", R"("-no-such-option")");
  EXPECT_THAT(refused(spec("vm1", "option")).message, HasSubstr("-no-such-option"));
}

TEST_F(QemuDriverTest, ProgramThatNeverAnswersIsKilled) {
  options_.start_timeout = std::chrono::milliseconds(100);
  driver_ = QemuDriver(options_);
  write_profile("silent", R"("-c", "echo thinking; exec sleep 1000")", "/bin/sh");
  policy::Error error = refused(spec("vm1", "silent"));
  EXPECT_EQ(error.code, errc::timed_out);
  EXPECT_THAT(error.message, HasSubstr("did not open its monitor"));
  // No child is left, alive or dead.
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(QemuDriverTest, FolderOutsideACgroupHierarchyIsRefused) {
  options_.cgroup_dir = directory_ / "cgroup";
  driver_ = QemuDriver(options_);
  EXPECT_THAT(refused(spec("vm1")).message,
              HasSubstr("cgroup v2 hierarchy; set directories.guest_cgroup"));
}

TEST_F(QemuDriverTest, OutOfMemoryIsFoundOutBeforeTheStart) {
  // A small tmpfs that only this thread sees.
  std::optional<policy::Error> error;
  std::thread([&] {
    fs::create_directory(options_.memory_dir);
    ASSERT_EQ(::unshare(CLONE_FS | CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("tmpfs", options_.memory_dir.c_str(), "tmpfs", 0, "size=96m"), 0);
    {
      // Another guest's, promised and not touched yet.
      std::ofstream promised(options_.memory_dir / "other-1.ram");
    }
    fs::resize_file(options_.memory_dir / "other-1.ram", 40u << 20);
    error = refused(spec("vm1"));
  }).join();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, errc::not_enough_memory);
  EXPECT_THAT(error->message, HasSubstr("out of memory"));
  EXPECT_THAT(error->message, HasSubstr("64 MiB"));
  EXPECT_THAT(error->message, HasSubstr("56 MiB"));
}

TEST_F(QemuDriverTest, AKilledQemuIsNoticed) {
  Vm vm = launch(driver_, spec("vm1"));
  std::optional<Result<void>> exit;
  std::optional<Result<boost::json::value>> reply;
  asio::co_spawn(io_, vm.wait_exit(),
                 [&](std::exception_ptr, Result<void> result) { exit = result; });
  // Stopped, it cannot answer any more.
  ASSERT_EQ(::kill(vm.pid(), SIGSTOP), 0);
  asio::co_spawn(io_, vm.qmp().execute("query-status"),
                 [&](std::exception_ptr, Result<boost::json::value> result) { reply = result; });
  io_.restart();
  io_.poll();
  EXPECT_FALSE(exit);
  EXPECT_FALSE(reply);
  EXPECT_FALSE(vm.exited());
  ASSERT_EQ(::kill(vm.pid(), SIGKILL), 0);
  while (!exit || !reply) io_.run_one();
  EXPECT_TRUE(*exit);
  ASSERT_FALSE(*reply);
  EXPECT_EQ(reply->error().code, errc::connection_reset);
  EXPECT_TRUE(vm.exited());
  EXPECT_FALSE(vm.open_ram({"ram0", 0x1000, 0x1000, 0}));
  EXPECT_TRUE(driver_.remove("vm1"));
}

TEST_F(QemuDriverTest, AQemuThatDoesNotQuitIsKilled) {
  Vm vm = launch(driver_, spec("vm1"));
  ASSERT_EQ(::kill(vm.pid(), SIGSTOP), 0);
  EXPECT_TRUE(run(io_, vm.quit(std::chrono::milliseconds(1))));
  EXPECT_TRUE(vm.exited());
}

}  // namespace
}  // namespace homeport::migration
