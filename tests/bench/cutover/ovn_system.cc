#include "tests/bench/cutover/ovn_system.h"

#include <algorithm>
#include <cstdlib>

#include "tests/lab/failure.h"
#include "tests/lab/lab.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

constexpr const char* kCentral = "192.168.77.1";
constexpr const char* kSouthboundPort = "6642";
constexpr const char* kVswitchSchema = "/usr/share/openvswitch/vswitch.ovsschema";

std::string trimmed(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '\n'), text.end());
  return text;
}

}  // namespace

OvnSystem::OvnSystem(const fs::path& root, OvnMove how)
    : root_(root),
      how_(how),
      directory_(fs::temp_directory_path() / own_name("ovn")),
      management_(own_name("mgmt")) {
  fs::create_directories(directory_);
  cleanup_.add("directory " + directory_.string(), [this] {
    if (std::getenv("HOMEPORT_LAB_KEEP") == nullptr) fs::remove_all(directory_);
  });
  ending_.add("the daemons", [this] {
    while (!daemons_.empty()) daemons_.pop_back();
  });
  start_central();
  for (std::size_t host = 0; host < PlainHosts::kCount; ++host) start_chassis(host);
  add_network();
}

fs::path OvnSystem::host_directory(std::size_t host) const {
  return directory_ / PlainHosts::name(host);
}

void OvnSystem::start(Command command, const std::string& name, const fs::path& run_directory,
                      const Namespace& inside) {
  command.insert(command.begin(), {"nice", "-n", "-10"});
  command.insert(command.end(), {"-vconsole:warn", "-vsyslog:off"});
  ProcessOptions options{.inside = &inside, .log = run_directory / (name + ".log")};
  for (const char* variable : {"OVS_RUNDIR", "OVS_LOGDIR", "OVN_RUNDIR", "OVN_LOGDIR"}) {
    options.environment[variable] = run_directory;
  }
  daemons_.push_back(std::make_unique<Process>(std::move(command), options));
}

void OvnSystem::start_database(const std::string& name, const fs::path& schema,
                               const fs::path& directory, const Namespace& inside,
                               const std::string& remote) {
  const fs::path file = directory / (name + ".db"), socket = directory / (name + ".sock");
  run_checked({"ovsdb-tool", "create", file, schema});
  Command command{"ovsdb-server", file, "--remote=punix:" + socket.string(),
                  "--unixctl=" + (directory / (name + ".ctl")).string()};
  if (!remote.empty()) command.push_back("--remote=" + remote);
  start(std::move(command), name, directory, inside);
  wait_until([&] { return fs::exists(socket); }, 10s, socket.string(),
             [&] { return daemons_.back()->log_tail(); });
}

void OvnSystem::start_central() {
  const fs::path schemas = root_ / "usr/share/ovn";
  management_.add_address(std::string(kCentral) + "/24");
  const Namespace& inside = management_.inside();
  start_database("nb", schemas / "ovn-nb.ovsschema", directory_, inside);
  start_database("sb", schemas / "ovn-sb.ovsschema", directory_, inside,
                 std::string("ptcp:") + kSouthboundPort + ":" + kCentral);
  nbctl("init");
  sbctl("init");
  start({program("ovn-northd"), "--ovnnb-db=unix:" + (directory_ / "nb.sock").string(),
         "--ovnsb-db=unix:" + (directory_ / "sb.sock").string(),
         "--unixctl=" + (directory_ / "northd.ctl").string()},
        "northd", directory_, inside);
}

void OvnSystem::start_chassis(std::size_t host) {
  const Namespace& inside = hosts_.inside(host);
  const fs::path directory = host_directory(host);
  fs::create_directories(directory);
  management_.connect(inside, "mgmt0", {});
  inside.ip("addr add 192.168.77." + std::to_string(11 + host) + "/24 dev mgmt0");
  start_database("db", kVswitchSchema, directory, inside);
  vsctl(host, "--no-wait init");
  const std::string database = "unix:" + (directory / "db.sock").string();
  // Of the datapaths only the one in userspace.
  start({"ovs-vswitchd", database, "--unixctl=" + (directory / "vswitchd.ctl").string(),
         "--disable-system"},
        "vswitchd", directory, inside);
  // Tunnels of the userspace datapath end at an address of a bridge that has the link as a port.
  vsctl(host,
        "add-br br-phy -- set Bridge br-phy datapath_type=netdev fail_mode=standalone "
        "-- add-port br-phy eth0");
  inside.ip("addr add " + PlainHosts::address(host) + "/24 dev br-phy");
  inside.ip("link set br-phy up");
  vsctl(host, "set Open_vSwitch . external_ids:system-id=" + PlainHosts::name(host) +
                  " external_ids:ovn-remote=tcp:" + kCentral + ":" + kSouthboundPort +
                  " external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=" +
                  PlainHosts::address(host) + " external_ids:ovn-bridge-datapath-type=netdev");
  start({program("ovn-controller"), database}, "controller", directory, inside);
  // The integration bridge is the controller's; the ports on it are the operator's.
  const char* device = host < 2 ? Containers::kAppDevice : Containers::kSenderDevice;
  vsctl(host, "wait-until Bridge br-int -- add-port br-int " + std::string(device) +
                  " -- set Interface " + device +
                  " external_ids:iface-id=" + (host < 2 ? "app" : "sender"));
}

void OvnSystem::add_network() {
  nbctl(
      "ls-add net1 -- lsp-add net1 app -- lsp-set-options app requested-chassis=hostA "
      "-- lsp-add net1 sender");
  for (const auto& [port, mac, ip] :
       {std::tuple{"app", Containers::kAppMac, Containers::kAppIp},
        std::tuple{"sender", Containers::kSenderMac, Containers::kSenderIp}}) {
    run_checked({program("ovn-nbctl"), "--db=unix:" + (directory_ / "nb.sock").string(),
                 "lsp-set-addresses", port, std::string(mac) + " " + ip});
  }
  for (std::size_t host = 0; host < PlainHosts::kCount; ++host) {
    const std::string name = PlainHosts::name(host);
    sbctl("wait-until Chassis " + name);
    chassis_.push_back(trimmed(sbctl("get Chassis " + name + " _uuid")));
  }
  wait_binding("chassis=" + chassis(Place::a) + " up=true");
  sbctl("wait-until Port_Binding sender up=true");
  nbctl("--wait=hv sync");
}

void OvnSystem::move(Place to, MovingFlow& flow) {
  const std::string here = PlainHosts::name(index(place_)), there = PlainHosts::name(index(to));
  const std::string rebind = "lsp-set-options app requested-chassis=" + there;
  if (how_ == OvnMove::activation) {
    nbctl("--wait=hv lsp-set-options app requested-chassis=" + here + "," + there +
          " activation-strategy=rarp");
    // The destination says so when it has the port; then the other hosts hear of it.
    wait_binding("additional_chassis=" + chassis(to));
    nbctl("--wait=hv sync");
    flow.take_over(to);
    wait_binding("options:additional-chassis-activated=" + there);
    nbctl("--wait=hv " + rebind);
  } else {
    flow.take_over(to);
    nbctl(rebind);
  }
  wait_binding("chassis=" + chassis(to) + " additional_chassis=[] up=true");
  nbctl("--wait=hv sync");
  flow.wait_taken_over();
  place_ = to;
}

std::string OvnSystem::vsctl(std::size_t host, const std::string& arguments) const {
  return run_checked(words("ovs-vsctl --timeout=20 --db=unix:" +
                           (host_directory(host) / "db.sock").string() + " " + arguments));
}

std::string OvnSystem::nbctl(const std::string& arguments) const {
  return run_checked(words(program("ovn-nbctl").string() + " --timeout=20 --db=unix:" +
                           (directory_ / "nb.sock").string() + " " + arguments));
}

std::string OvnSystem::sbctl(const std::string& arguments) const {
  return run_checked(words(program("ovn-sbctl").string() + " --timeout=20 --db=unix:" +
                           (directory_ / "sb.sock").string() + " " + arguments));
}

void OvnSystem::wait_binding(const std::string& columns) const {
  sbctl("wait-until Port_Binding app " + columns);
}

}  // namespace homeport::lab
