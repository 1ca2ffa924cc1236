// What this host is called and has, and the options of the agent's parts, by the configuration.
#pragma once

#include "agent/config.h"
#include "agent/control/database.h"
#include "agent/network/desired_state.h"
#include "migration/vm/qemu_driver.h"
#include "overlay/channel/channel.h"
#include "overlay/datapath/datapath.h"

#include <chrono>
#include <cstdint>
#include <memory>

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
/// The datapath of the kind that is configured. Errors: see overlay/datapath.
policy::Result<std::unique_ptr<overlay::Datapath>> make_datapath(const Config& config);
migration::QemuDriverOptions driver_options(const Config& config);
/// What of its virtual network is this host, and stays so.
LocalView self_of(const Config& config, std::uint32_t mtu_limit);
/// `datapath` tells which networks this host carries already.
DatabaseOptions database_options(const Config& config, overlay::Datapath& datapath);

}  // namespace homeport::agent
