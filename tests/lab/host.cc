#include "tests/lab/host.h"

#include <sys/mount.h>

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/lab/failure.h"
#include "tests/lab/programs.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRestPort = "8480";

void mount_at(const fs::path& place, const char* type, const std::string& options,
              Cleanup& cleanup) {
  fs::create_directories(place);
  if (mount(type, place.c_str(), type, MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    throw LabFailure("mount " + place.string() + ": " + std::strerror(errno));
  }
  cleanup.add("mount " + place.string(), [place] {
    if (umount2(place.c_str(), MNT_DETACH) != 0) {
      throw LabFailure("umount " + place.string() + ": " + std::strerror(errno));
    }
  });
}

/// Where guests get control groups of their own: cgroup v2, beside v1 on some machines; empty
/// without it.
fs::path cgroup_root() {
  for (const char* place : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    if (fs::exists(fs::path(place) / "cgroup.controllers")) return place;
  }
  return {};
}

/// Those that deploy/homeportd.service leaves the agent, as setpriv(1) wants them.
std::string service_capabilities() {
  std::string all = "-all";
  std::ifstream unit(HOMEPORT_LAB_SOURCE_DIR "/../../deploy/homeportd.service");
  for (std::string line; std::getline(unit, line);) {
    constexpr std::string_view kKey = "CapabilityBoundingSet=";
    if (!line.starts_with(kKey)) continue;
    for (std::string name : words(line.substr(kKey.size()))) {
      boost::algorithm::to_lower(name);
      all += ",+" + name.substr(std::string_view("cap_").size());
    }
  }
  return all;
}

/// Of that host on that underlay.
std::string address_on(unsigned underlay, unsigned number, const LinkOptions& link) {
  if (!link.ipv6) return fmt::format("172.31.{}.{}", underlay, number);
  return underlay == 0 ? fmt::format("fd31::{}", number)
                       : fmt::format("fd31:0:0:{}::{}", underlay, number);
}

bool is_ipv6(const std::string& address) {
  return address.find(':') != std::string::npos;
}

void give_address(const Namespace& inside, const std::string& address, const std::string& device) {
  inside.ip("addr add " + address + (is_ipv6(address) ? "/64 nodad" : "/24") + " dev " + device);
}

/// As the configuration has it.
std::string endpoint(const std::string& address, unsigned port) {
  return is_ipv6(address) ? fmt::format("\"[{}]:{}\"", address, port)
                          : fmt::format("\"{}:{}\"", address, port);
}

std::vector<std::string> files_below(const fs::path& directory) {
  std::vector<std::string> found;
  if (!fs::exists(directory)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_directory()) found.push_back(entry.path().string());
  }
  return found;
}

}  // namespace

Host::Host(std::string name, std::string namespace_name, unsigned number,
           const fs::path& lab_directory, const Switches& switches, Database& database,
           HostOptions options)
    : name_(std::move(name)),
      holdable_(options.holdable),
      clock_off_seconds_(options.clock_off_seconds),
      directory_(lab_directory / name_),
      inside_(std::move(namespace_name)),
      underlay_address_(address_on(0, number, options.underlay)) {
  fs::create_directories(runtime_directory());
  fs::create_directories(directory_ / "state");
  fs::create_directories(profile_directory());
  mount_at(memory_directory(), "tmpfs",
           "size=" + std::to_string(options.memory_mib) + "m,mode=0700", cleanup_);
  mount_at(directory_ / "bpf", "bpf", "", cleanup_);
  if (const fs::path root = cgroup_root(); !root.empty()) {
    cgroup_ = root / inside_.name();
    fs::create_directories(cgroup_);
    // Run when the namespace, and with it every guest, is gone.
    cleanup_.add("control group of " + name_, [group = cgroup_] {
      // A process is gone a moment before its group is empty.
      wait_until([&] { return remove_control_group(group); }, 5s, group.string() + " to be empty");
    });
  }
  underlay_ = &switches.underlay.connect(inside_, "eth0", options.underlay);
  interfaces_ = {{0, "eth0", underlay_address_}};
  give_address(inside_, underlay_address_, "eth0");
  if (options.open_vswitch) {
    open_vswitch_ = std::make_unique<OpenVSwitch>(inside_, directory_ / "ovs", "eth0",
                                                  underlay_address_ + "/24");
  }
  if (options.second_underlay) {
    second_underlay_ = &switches.second_underlay.connect(inside_, "eth1", *options.second_underlay);
    const std::string address = address_on(1, number, *options.second_underlay);
    interfaces_.push_back({1, "eth1", address});
    give_address(inside_, address, "eth1");
    if (open_vswitch_) open_vswitch_->add_underlay("br-phy1", "eth1", address + "/24");
  }
  if (options.third_underlay) {
    third_underlay_ = &switches.third_underlay.connect(inside_, "eth2", *options.third_underlay);
    const std::string address = address_on(2, number, *options.third_underlay);
    interfaces_.push_back({2, "eth2", address});
    give_address(inside_, address, "eth2");
  }
  management_ = &switches.management.connect(inside_, "mgmt0", {});
  const std::string management_address = "192.168.77." + std::to_string(number);
  inside_.ip("addr add " + management_address + "/24 dev mgmt0");
  write_configuration(options.database.empty() ? database.remote() : options.database,
                      database.issue(name_),
                      options.lanes_apart ? management_address + ":6711" : "", options.relay);
}

Host::~Host() = default;

void Host::write_configuration(const std::string& database, const fs::path& certificates,
                               const std::string& lanes, bool relay) {
  auto quoted = [](const fs::path& path) { return "\"" + path.string() + "\"\n"; };
  std::ostringstream toml;
  toml << "host = " << quoted(name_)  //
       << "log_level = \"info\"\n"
       << "\n[database]\nremotes = " << quoted(database)  //
       << "\n[tls]\nca_certificate = " << quoted(certificates / "ca.pem")
       << "certificate = " << quoted(certificates / (name_ + ".pem"))
       << "private_key = " << quoted(certificates / (name_ + ".key"))
       << "\n[underlay]\nvtep = " << quoted(underlay_address_)
       << (interfaces_.size() == 1 ? "" : "interfaces = [\"eth[12]\", \"br-phy1\"]\n")
       << (relay ? "relay = true\n" : "") << "\n[listen]\nstatus = [\"127.0.0.1:" << kRestPort
       << "\"]\n";
  if (interfaces_.size() > 1) {
    std::vector<std::string> control, all_lanes;
    for (const auto& each : interfaces_) {
      control.push_back(endpoint(each.address, 6710));
      all_lanes.push_back(endpoint(each.address, 6711));
    }
    toml << fmt::format("control = [{}]\n", fmt::join(control, ", "));
    if (lanes.empty()) toml << fmt::format("lanes = [{}]\n", fmt::join(all_lanes, ", "));
  }
  if (!lanes.empty()) toml << "lanes = [\"" << lanes << "\"]\n";
  toml << "\n[directories]\nstate = " << quoted(directory_ / "state")
       << "runtime = " << quoted(runtime_directory()) << "memory = " << quoted(memory_directory())
       << "launch_profiles = " << quoted(profile_directory())
       << "bpf = " << quoted(directory_ / "bpf")  //
       << "guest_cgroup = " << quoted(cgroup_);
  if (open_vswitch_) {
    toml << "\n[datapath]\nkind = \"ovs\"\ndatapath_type = \"netdev\"\ndatabase = "
         << quoted(open_vswitch_->directory() / "db.sock");
  }
  write_text(directory_ / "homeportd.toml", toml.str());
}

void Host::start_agent(std::string program) {
  if (program.empty()) program = holdable_ ? held_homeportd_program() : homeportd_program();
  ProcessOptions options{.inside = &inside_, .log = directory_ / "homeportd.log"};
  if (holdable_) options.environment["HOMEPORT_HOLD_IN"] = directory_;
  if (clock_off_seconds_ != 0) {
    options.environment["LD_PRELOAD"] = HOMEPORT_LAB_CLOCK_OFF_LIBRARY;
    options.environment["HOMEPORT_LAB_CLOCK_OFF"] = std::to_string(clock_off_seconds_);
  }
  // With the rights of the service, and no others.
  Command command{"setpriv", "--no-new-privs", "--bounding-set=" + service_capabilities(), "--"};
  command.insert(command.end(), {program, "--config", directory_ / "homeportd.toml"});
  agent_.reset();
  agent_ = std::make_unique<Process>(std::move(command), options);
}

void Host::wait_ready(Clock::duration timeout) {
  wait_until(
      [&] {
        if (!agent_runs()) throw LabFailure(name_ + ": homeportd ended\n" + agent_->log_tail());
        return get("/readyz").find(" 200 ") != std::string::npos;
      },
      timeout, name_ + " to be ready", [&] { return get("/readyz") + "\n" + agent_->log_tail(); });
}

void Host::stop_agent() {
  const int status = agent_->stop();
  if (status != 0) {
    throw LabFailure(name_ + ": homeportd ended with status " + std::to_string(status) + "\n" +
                     agent_->log_tail());
  }
}

void Host::kill_agent() {
  agent_->kill();
}

void Host::hold_at(const std::string& step) {
  if (!holdable_) throw LabFailure(name_ + " was not made to be held");
  write_text(directory_ / "hold", step);
}

bool Host::held() const {
  return fs::exists(directory_ / "held");
}

void Host::wait_held(Clock::duration timeout) {
  wait_until(
      [&] {
        if (!agent_runs()) throw LabFailure(name_ + ": homeportd ended\n" + agent_->log_tail());
        return held();
      },
      timeout, name_ + " to reach the step it is held at", [&] { return agent_->log_tail(); });
}

void Host::release() {
  fs::remove(directory_ / "hold");
  fs::remove(directory_ / "held");
}

pid_t Host::guest_pid(const std::string& application) const {
  // Its memory file, among other things, is in this host's directory: on its command line.
  const std::string mine = directory_.string() + "/";
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    const std::string line = read_text(entry.path() / "cmdline");
    if (line.find("qemu-system") < 64 && line.find(mine) != std::string::npos &&
        line.find(application) != std::string::npos) {
      return pid;
    }
  }
  return -1;
}

bool Host::signal_guest(const std::string& application, int signal) const {
  const pid_t pid = guest_pid(application);
  return pid > 0 && ::kill(pid, signal) == 0;
}

void Host::learn_neighbor(const std::string& address) {
  if (!open_vswitch_) return;
  // It learns from answers, and the kernel does not ask for what it knows already.
  inside_.ip("neigh flush to " + address);
  wait_until(
      [&] {
        inside_.run([&] {
          boost::asio::io_context io;
          boost::asio::ip::udp::socket socket(io, boost::asio::ip::udp::v4());
          socket.send_to(boost::asio::buffer("?", 1), {boost::asio::ip::make_address(address), 9});
        });
        return open_vswitch_->knows_neighbor(address);
      },
      10s, name_ + " to know the neighbor " + address);
}

bool Host::speaks(const std::string& device) const {
  if (open_vswitch_) return open_vswitch_->takes(device);
  const auto filters =
      run_command(words("tc -n " + inside_.name() + " filter show dev " + device + " ingress"));
  return filters.out.find("hp_from_port") != std::string::npos;
}

std::string Host::get(const std::string& path, Clock::duration timeout) const {
  std::string reply;
  inside_.run([&] {
    boost::asio::ip::tcp::iostream stream;
    stream.expires_after(timeout);
    stream.connect("127.0.0.1", kRestPort);
    stream << "GET " << path << " HTTP/1.0\r\nHost: localhost\r\n\r\n" << std::flush;
    reply.assign(std::istreambuf_iterator<char>(stream), {});
  });
  return reply;
}

void Host::follow(const std::string& path, const std::function<bool(const std::string& line)>& last,
                  Clock::duration timeout) const {
  inside_.run([&] {
    boost::asio::ip::tcp::iostream stream;
    stream.expires_after(timeout);
    stream.connect("127.0.0.1", kRestPort);
    stream << "GET " << path << " HTTP/1.0\r\nHost: localhost\r\n\r\n" << std::flush;
    for (std::string line; std::getline(stream, line);) {
      if (last(line)) return;
    }
  });
}

std::vector<std::string> Host::complaints(const std::vector<std::string>& expected) const {
  // "[time] [homeportd] [warning] text"
  static const std::regex level(R"(^\[[^\]]*\] \[homeportd\] \[(warning|error|critical)\])");
  // The reports of an agent that is built with sanitizers.
  static const std::regex sanitizer(R"(Sanitizer: |: runtime error: )");
  std::vector<std::regex> allowed(expected.begin(), expected.end());
  std::vector<std::string> found;
  std::istringstream log(read_text(directory_ / "homeportd.log"));
  for (std::string line; std::getline(log, line);) {
    const bool fine = !std::regex_search(line, level) ||
                      std::any_of(allowed.begin(), allowed.end(), [&](const std::regex& pattern) {
                        return std::regex_search(line, pattern);
                      });
    if (!fine || std::regex_search(line, sanitizer)) found.push_back(name_ + ": " + line);
  }
  return found;
}

std::vector<std::string> Host::leftovers() const {
  std::vector<std::string> found;
  auto note = [&](const std::string& kind, const std::string& what) {
    found.push_back(name_ + ": " + kind + " " + what);
  };
  std::istringstream links(inside_.ip("-o link show"));
  std::istringstream taps(inside_.ip("-o link show type tun"));
  for (std::string line; std::getline(taps, line);) {
    // "7: tap0: <...". Those of the userspace switch itself are taps, too.
    const std::string device = words(line).at(1);
    if (open_vswitch_ && (device.starts_with("br-") || device.starts_with("ovs-"))) continue;
    note("tap", line);
  }
  for (std::string line; std::getline(links, line);) {
    // "7: eth0@if6: <...": links of the lab itself must not be filtered.
    const auto device = words(line).at(1);
    if (device.starts_with("eth0") || device.starts_with("mgmt0") || device == "lo:") {
      const auto filters = inside_.tc("filter show dev " +
                                      device.substr(0, device.find_first_of("@:")) + " ingress");
      if (!filters.empty()) note("filter", "on " + device);
    }
  }
  for (const auto& file : files_below(memory_directory())) note("memory", file);
  for (const auto& file : files_below(directory_ / "state")) note("journal", file);
  for (const auto& entry : fs::directory_iterator(runtime_directory()))
    note("folder", entry.path());
  if (!cgroup_.empty()) {
    for (const auto& entry : fs::directory_iterator(cgroup_)) {
      if (entry.is_directory()) note("group", entry.path());
    }
  }
  if (const pid_t guest = guest_pid(""); guest > 0) note("guest", std::to_string(guest));
  return found;
}

}  // namespace homeport::lab
