// What this host is called and has, and the options of the agent's parts, by the configuration.
#pragma once

#include "agent/config.h"
#include "agent/control/database.h"
#include "migration/vm/qemu_driver.h"
#include "overlay/channel/channel.h"
#include "overlay/datapath/ebpf_datapath.h"

#include <chrono>

namespace homeport::agent {

/// What this host says about itself in the control database.
struct HostIdentity {
  Host host;
  std::chrono::system_clock::time_point started;
  HostState state = HostState::starting;
  HostStatus status() const;
};

/// Throws if the certificate names another host than the configuration.
HostIdentity identity_of(const Config& config, const overlay::TlsContext& tls);
overlay::EbpfOptions datapath_options(const Config& config);
migration::QemuDriverOptions driver_options(const Config& config);
DatabaseOptions database_options(const Config& config);

}  // namespace homeport::agent
