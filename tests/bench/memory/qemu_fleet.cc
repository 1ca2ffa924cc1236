#include "tests/bench/memory/qemu_fleet.h"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include <utility>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMigrationPort = "49152";

/// QEMU's monitor, one command at a time; its events are passed over.
class Monitor {
 public:
  explicit Monitor(const fs::path& path) {
    stream_.connect(boost::asio::local::stream_protocol::endpoint(path.string()));
    if (!stream_) throw LabFailure("no monitor at " + path.string());
    stream_.expires_after(30s);
    read();  // the greeting
    run("qmp_capabilities");
  }

  boost::json::value run(const std::string& command, boost::json::object arguments = {}) {
    const boost::json::object request{{"execute", command}, {"arguments", std::move(arguments)}};
    stream_.expires_after(30s);
    stream_ << boost::json::serialize(request) << "\n" << std::flush;
    while (true) {
      const auto reply = read();
      if (const auto* error = reply.if_contains("error")) {
        throw LabFailure("QEMU, " + command + ": " + boost::json::serialize(*error));
      }
      if (const auto* result = reply.if_contains("return")) return *result;
    }
  }

 private:
  boost::json::object read() {
    std::string line;
    if (!std::getline(stream_, line)) throw LabFailure("QEMU's monitor has closed");
    return boost::json::parse(line).as_object();
  }

  boost::asio::local::stream_protocol::iostream stream_;
};

void replace(std::string& text, const std::string& what, const std::string& by) {
  if (const auto at = text.find(what); at != std::string::npos) text.replace(at, what.size(), by);
}

}  // namespace

QemuFleet::QemuFleet(GuestOptions guest, std::uint64_t rate_mbit)
    : options_(std::move(guest)),
      rate_mbit_(rate_mbit),
      directory_(fs::temp_directory_path() / own_name("qemu")),
      underlay_(own_name("underlay")) {
  remove_abandoned_labs();
  fs::create_directories(directory_);
  cleanup_.add("directory " + directory_.string(), [this] {
    if (std::getenv("HOMEPORT_LAB_KEEP") == nullptr) fs::remove_all(directory_);
  });
  for (const char* name : {"hostA", "hostB", "hostC"}) {
    hosts_.push_back({.name = name,
                      .address = "172.31.0." + std::to_string(11 + hosts_.size()),
                      .inside = std::make_unique<Namespace>(own_name(name)),
                      .qemu = nullptr});
  }
  for (auto& host : hosts_) join(host);
  add_client(hosts_[2]);
  start_qemu(hosts_[0], false);
  guest_control_ = std::make_unique<GuestControl>(*client_, options_.ipv4);
  guest_control_->wait_ready(60s);
}

void QemuFleet::join(Host& host) {
  const Namespace& inside = *host.inside;
  underlay_.connect(inside, "eth0", {.rate_mbit = rate_mbit_, .mtu = 1500});
  inside.ip("addr add " + host.address + "/24 dev eth0");
  inside.ip("link add vxlan0 mtu 1450 type vxlan id 100 dstport 4789 dev eth0 local " +
            host.address);
  inside.ip("link add br0 type bridge stp_state 0 forward_delay 0");
  inside.ip("link set vxlan0 master br0 up");
  inside.ip("link set br0 up");
  // Whom to ask for a MAC that is not known yet; the rest is learned.
  for (const auto& other : hosts_) {
    if (&other == &host) continue;
    run_checked({"bridge", "-n", inside.name(), "fdb", "append", "00:00:00:00:00:00", "dev",
                 "vxlan0", "dst", other.address});
  }
}

void QemuFleet::add_client(const Host& host) {
  client_ = std::make_unique<Namespace>(own_name("client"));
  client_link_ = std::make_unique<Link>(*client_, "eth0", *host.inside, "cli0",
                                        LinkOptions{.rate_mbit = 0, .mtu = 1450});
  host.inside->ip("link set cli0 master br0");
  client_->ip("addr add 10.1.0.2/24 dev eth0");
}

void QemuFleet::start_qemu(Host& host, bool incoming) {
  const Namespace& inside = *host.inside;
  inside.ip("tuntap add tap0 mode tap");
  inside.ip("link set tap0 mtu 1450 master br0 up");
  // 64 KiB more than asked for. QEMU before 9.0 forgets to watch pages for writes again when it
  // clears the dirty bits of a block of a multiple of 256 KiB, so that an emulated guest which
  // writes does not survive its migration. Other sizes take the way that is right.
  const std::string size = std::to_string(options_.memory_mib * 1024 + 64) + "k";
  Command command{"/usr/bin/qemu-system-x86_64"};
  for (auto& argument : guest_arguments(options_, prepare_guest_image())) {
    // Memory of its own, as without Homeport.
    if (argument.starts_with("memory-backend-file,")) {
      argument = "memory-backend-ram,id=ram,size={memory_mib}M";
    }
    replace(argument, "{memory_mib}M", size);
    replace(argument, "{vcpus}", "1");
    replace(argument, "{mac}", options_.mac);
    replace(argument, "{mtu}", "1450");
    replace(argument, "{runtime_dir}/", (directory_ / (host.name + "-")).string());
    replace(argument, "fd={tap_fd}", "ifname=tap0,script=no,downscript=no");
    command.push_back(std::move(argument));
  }
  command.insert(command.end(), {"-qmp", "unix:" + monitor(host).string() + ",server=on,wait=off"});
  if (incoming) {
    command.insert(command.end(), {"-incoming", "tcp:" + host.address + ":" + kMigrationPort});
  }
  host.qemu = std::make_unique<Process>(
      std::move(command),
      ProcessOptions{.inside = &inside, .log = directory_ / (host.name + ".log")});
  wait_until(
      [&] {
        if (!host.qemu->running()) throw LabFailure("QEMU has ended\n" + host.qemu->log_tail());
        return fs::exists(monitor(host));
      },
      20s, "QEMU's monitor");
}

void QemuFleet::migrate() {
  Host &source = hosts_[0], &destination = hosts_[1];
  start_qemu(destination, true);
  Monitor incoming(monitor(destination));  // it listens by then
  Monitor outgoing(monitor(source));
  outgoing.run("migrate", {{"uri", "tcp:" + destination.address + ":" + kMigrationPort}});
  wait_until(
      [&] {
        const auto migration = outgoing.run("query-migrate").as_object();
        const std::string status(migration.at("status").as_string());
        if (status == "failed") throw LabFailure("QEMU's migration has failed");
        if (status != "completed") return false;
        bytes_sent_ = boost::json::value_to<std::uint64_t>(migration.at("ram").at("transferred"));
        return true;
      },
      120s, "QEMU to migrate");
  wait_until([&] { return incoming.run("query-status").at("running").as_bool(); }, 20s,
             "the guest to run at the destination");
  source.qemu->stop();
}

}  // namespace homeport::lab
