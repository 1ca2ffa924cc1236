#include "tests/lab/open_vswitch.h"

#include "overlay/link/link.h"

#include "tests/lab/failure.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace fs = std::filesystem;

Command OpenVSwitch::program(const std::string& name) const {
  return {name, "-vconsole:off", "-vsyslog:off", "-vfile:info",
          "--log-file=" + (directory_ / (name + ".log")).string()};
}

ProcessOptions OpenVSwitch::options(const std::string& log) const {
  ProcessOptions options{.inside = &host_, .log = directory_ / log};
  for (const char* variable : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"}) {
    options.environment[variable] = directory_;
  }
  return options;
}

std::string OpenVSwitch::socket(const std::string& name) const {
  return "unix:" + (directory_ / name).string();
}

/// Of the machine's sockets, as docs/ovs-datapath.md advises: what ovs-vswitchd's packet sockets
/// cannot hold while others have the processors is lost.
void OpenVSwitch::enlarge_buffers() {
  const fs::path setting = "/proc/sys/net/core/rmem_default";
  const std::string before = read_text(setting);
  constexpr long kEnough = 8 << 20;
  if (std::stol(before) >= kEnough) return;
  write_text(setting, std::to_string(kEnough));
  cleanup_.add(setting, [setting, before] { write_text(setting, before); });
}

OpenVSwitch::OpenVSwitch(const Namespace& host, fs::path directory, const std::string& underlay,
                         const std::string& address)
    : host_(host), directory_(std::move(directory)) {
  fs::create_directories(directory_);
  enlarge_buffers();
  const fs::path database = directory_ / "conf.db";
  run_checked({"ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema"});
  Command server = program("ovsdb-server");
  server.insert(server.end(),
                {database, "--remote=p" + socket("db.sock"),
                 "--unixctl=" + (directory_ / "db.ctl").string(), "--no-self-confinement"});
  database_ = std::make_unique<Process>(server, options("ovsdb-server.out"));
  // Its socket is there a moment before it listens.
  wait_until([&] { return run_command(vsctl_command("--no-wait init")).status == 0; }, 10s,
             "ovsdb-server to serve", [&] { return database_->log_tail(); });
  // With the priority that the distribution's service gives it.
  Command daemon{"nice", "-n", "-10"};
  for (auto& word : program("ovs-vswitchd")) daemon.push_back(std::move(word));
  daemon.insert(daemon.end(), {socket("db.sock"), "--pidfile"});
  daemon_ = std::make_unique<Process>(daemon, options("ovs-vswitchd.out"));
  // The kernel sees the bridge's packets at its port too, and is not to answer there.
  host_.set_sysctl("net/ipv4/conf/all/arp_ignore", "1");
  add_underlay("br-phy", underlay, address);
}

void OpenVSwitch::add_underlay(const std::string& bridge, const std::string& device,
                               const std::string& address) {
  vsctl("add-br " + bridge + " -- set Bridge " + bridge + " datapath_type=netdev -- add-port " +
        bridge + " " + device);
  host_.ip("addr flush dev " + device);
  host_.ip("addr add " + address + " dev " + bridge);
  host_.ip("link set " + bridge + " up");
}

Command OpenVSwitch::vsctl_command(const std::string& arguments) const {
  Command command{"ovs-vsctl", "--timeout=20", "--db=" + socket("db.sock")};
  for (auto& word : words(arguments)) command.push_back(std::move(word));
  return command;
}

std::string OpenVSwitch::vsctl(const std::string& arguments) const {
  return run_checked(vsctl_command(arguments));
}

std::string OpenVSwitch::ofctl(const std::string& command, const std::string& bridge,
                               const std::string& arguments) const {
  Command all{"ovs-ofctl", "-OOpenFlow14", command, socket(bridge + ".mgmt")};
  for (auto& word : words(arguments)) all.push_back(std::move(word));
  return run_checked(all);
}

std::string OpenVSwitch::appctl(const std::string& arguments) const {
  const fs::path control = directory_ / ("ovs-vswitchd." + std::to_string(daemon_->pid()) + ".ctl");
  Command command{"ovs-appctl", "-t", control};
  for (auto& word : words(arguments)) command.push_back(std::move(word));
  return run_checked(command);
}

bool OpenVSwitch::knows_neighbor(const std::string& address) const {
  return appctl("tnl/neigh/show").find(address + " ") != std::string::npos;
}

bool OpenVSwitch::takes(const std::string& device) const {
  const std::string found =
      vsctl("--bare --columns=ofport find Interface name=" + device + " ofport>0");
  const Command number = words(found);
  if (number.empty()) return false;
  return ofctl("dump-flows", "br-int",
               "cookie=0x4850000000000000/0xffff000000000000,table=0,in_port=" + number[0])
             .find("actions=") != std::string::npos;
}

}  // namespace homeport::lab
