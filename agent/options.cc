#include "agent/options.h"

#include "overlay/datapath/ebpf_datapath.h"
#include "overlay/datapath/ovs_datapath.h"
#include "overlay/log/log.h"
#include "policy/version.h"

#include <fmt/format.h>

#include <sys/sysinfo.h>
#include <unistd.h>

namespace homeport::agent {

namespace errc = boost::system::errc;

namespace {

IntegerMap capacity() {
  IntegerMap capacity;
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) {
    capacity["memory_mib"] = static_cast<std::int64_t>(info.totalram * info.mem_unit >> 20);
  }
  capacity["vcpus"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  return capacity;
}

overlay::EbpfOptions ebpf_options(const Config& config) {
  overlay::EbpfOptions options;
  options.pin_directory = config.directories.bpf;
  options.vxlan_device = config.underlay.vxlan_device;
  options.host_device = config.underlay.host_device;
  options.udp_port = config.underlay.vxlan_port;
  options.fast_receive = config.underlay.receive == "fast";
  options.fast_send = config.underlay.send == "fast";
  if (config.underlay.vtep.is_v4()) {
    options.local_vtep_v4 = config.underlay.vtep.to_v4();
  } else {
    options.local_vtep_v6 = config.underlay.vtep.to_v6();
  }
  return options;
}

overlay::OvsOptions ovs_options(const Config& config) {
  const Config::Datapath& datapath = config.datapath;
  std::filesystem::path management = datapath.management;
  if (management.empty()) {
    management = datapath.database.parent_path() / (datapath.bridge + ".mgmt");
  }
  overlay::OvsOptions options;
  options.bridge.database = "unix:" + datapath.database.string();
  options.bridge.name = datapath.bridge;
  options.bridge.management = "unix:" + management.string();
  options.bridge.datapath_type = datapath.datapath_type;
  options.tunnel_port = config.underlay.vxlan_device;
  options.host_device = config.underlay.host_device;
  options.udp_port = config.underlay.vxlan_port;
  options.local_vtep = config.underlay.vtep;
  return options;
}

}  // namespace

HostStatus HostIdentity::status() const {
  HostStatus status;
  status.host = host.name;
  status.started = std::chrono::time_point_cast<std::chrono::milliseconds>(started);
  status.last_seen = wall_clock_now();
  status.agent_pid = ::getpid();
  status.state = state;
  return status;
}

HostIdentity identity_of(const Config& config, const overlay::TlsContext& tls) {
  if (tls.host() != config.host) {
    throw boost::system::system_error(
        errc::make_error_code(errc::invalid_argument),
        fmt::format("the certificate {} is that of {}, but this host is {}: issue one with "
                    "`homeport pki issue {}`",
                    config.tls.certificate.string(), tls.host(), config.host, config.host));
  }
  HostIdentity identity;
  identity.started = std::chrono::system_clock::now();
  identity.host.name = config.host;
  identity.host.control_endpoints = config.listen.control;
  identity.host.lane_endpoints = config.listen.lanes;
  identity.host.vteps = {config.underlay.vtep};
  identity.host.certificate_sha256 = tls.certificate_sha256();
  identity.host.version = policy::kVersion;
  identity.host.capacity = capacity();
  identity.host.relays = config.underlay.relay;
  return identity;
}

policy::Result<std::unique_ptr<overlay::Datapath>> make_datapath(const Config& config) {
  if (config.datapath.kind == "ovs") return overlay::make_ovs_datapath(ovs_options(config));
  return overlay::make_ebpf_datapath(ebpf_options(config));
}

migration::QemuDriverOptions driver_options(const Config& config) {
  migration::QemuDriverOptions options;
  options.profile_dir = config.directories.launch_profiles;
  options.runtime_dir = config.directories.runtime;
  options.memory_dir = config.directories.memory;
  options.cgroup_dir = config.directories.guest_cgroup;
  return options;
}

LocalView self_of(const Config& config, std::uint32_t mtu_limit) {
  LocalView self;
  self.host = config.host;
  self.mtu_limit = mtu_limit;
  self.vtep = config.underlay.vtep;
  self.database = addresses_of(config.database.remotes);
  return self;
}

DatabaseOptions database_options(const Config& config, overlay::Datapath& datapath) {
  DatabaseOptions options;
  options.host = config.host;
  if (auto programmed = datapath.read_back()) {
    for (const overlay::AddressEntry& entry : programmed->addresses) {
      options.carried.insert(entry.vni);
    }
  } else {
    overlay::log::warn("what the datapath carries cannot be read: {}", programmed.error().message);
  }
  options.session.remotes = config.database.remotes;
  options.session.probe_interval = config.database.probe_interval;
  options.session.tls = overlay::ovsdb::TlsFiles{config.tls.private_key, config.tls.certificate,
                                                 config.tls.ca_certificate};
  return options;
}

}  // namespace homeport::agent
