// The agent's configuration: one TOML file, docs/configuration.md.
#pragma once

#include "overlay/channel/tls.h"
#include "policy/address.h"
#include "policy/error.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

struct Config {
  std::string host;  ///< this host's name in the control database; the CN of its certificate

  struct Database {
    /// ssl:ADDRESS:PORT, tcp:ADDRESS:PORT or unix:PATH, separated by commas.
    std::string remotes = "unix:/var/lib/homeport/homeport.sock";
    std::chrono::milliseconds probe_interval{5000};
  } database;

  overlay::TlsIdentity tls{"/etc/homeport/pki/ca.pem", "/etc/homeport/pki/host.pem",
                           "/etc/homeport/pki/host.key"};

  struct Underlay {
    policy::IpAddress vtep;  ///< an address of this host on the underlay; required
    /// Further interfaces that paths may use, by name with * and ?; the VTEP's own may always. The
    /// control database may allow more of them, and forbid any.
    std::vector<std::string> interfaces = {};
    bool relay = false;  ///< other hosts may send each other through this one
    std::string vxlan_device = "homeport0";
    std::string host_device = "homeport1";  ///< leads this host's own processes to applications
    std::uint16_t vxlan_port = 4790;        ///< UDP; other overlays use 4789 on the same host
    std::string receive = "fast";           ///< "fast", or "filtered": behind netfilter
    std::string send = "fast";              ///< the same
  } underlay;

  struct Datapath {
    std::string kind = "ebpf";  ///< "ebpf", or "ovs": the bridge below
    std::string bridge = "br-int";
    std::filesystem::path database = "/run/openvswitch/db.sock";  ///< of ovs-vswitchd
    /// The bridge's OpenFlow management socket; empty: <bridge>.mgmt beside the database's.
    std::filesystem::path management;
    std::string datapath_type = "system";  ///< "system", "netdev"
  } datapath;

  struct Listen {
    /// Where other agents reach this one; the address is told to them, so it must be reachable.
    std::vector<policy::Endpoint> control;  ///< default: the VTEP, port 6710
    std::vector<policy::Endpoint> lanes;    ///< default: the VTEP, port 6711
    /// Status: loopback "127.0.0.1:8480" or "unix:PATH"; see agent/status/server.h.
    std::vector<std::string> status = {"127.0.0.1:8480"};
  } listen;

  struct Directories {
    std::filesystem::path state = "/var/lib/homeport";    ///< the journal of moves
    std::filesystem::path runtime = "/run/homeport/vms";  ///< a folder per VM
    std::filesystem::path memory = "/dev/shm/homeport";   ///< guest memory, on a tmpfs
    std::filesystem::path launch_profiles = "/etc/homeport/launch.d";
    std::filesystem::path bpf = "/sys/fs/bpf/homeport";  ///< pinned maps, on a bpffs
    std::filesystem::path guest_cgroup = "/sys/fs/cgroup/homeport-guests";  ///< empty: none
  } directories;

  struct Limits {
    std::size_t moves = 4;                      ///< at a time, in each direction
    std::chrono::milliseconds dead_peer{5000};  ///< a silent peer is given up after this
  } limits;

  std::string log_level = "info";   ///< trace, debug, info, warn, error
  std::string log_format = "text";  ///< text, json
};

/// What is wrong with where the control database is said to be; empty when nothing.
std::string check_remotes(const std::string& remotes);
/// The IP addresses in it.
std::set<policy::IpAddress> addresses_of(const std::string& remotes);

/// Parses and checks. An error has one line for everything that is wrong, which names `source`, the
/// line and the key, and what is allowed; what is not TOML is found one at a time, with its column.
policy::Result<Config> parse_config(std::string_view text, const std::string& source);
policy::Result<Config> load_config(const std::filesystem::path& file);

/// All keys with their values, as a file that makes this configuration.
std::string to_toml(const Config& config);

}  // namespace homeport::agent
