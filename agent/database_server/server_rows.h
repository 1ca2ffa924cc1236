// The rows with which an ovsdb-server is told what to serve and to whom: RBAC_Role,
// RBAC_Permission, Connection, SSL.
#pragma once

#include "agent/database_server/db_init.h"

#include <optional>
#include <string>

namespace homeport::agent {

struct ServerRows {
  bool rights_changed = false;
  bool listener_changed = false;
  std::optional<std::uint16_t> tls_port;  ///< Where hosts connect, once it listens.
};

/// Connects to `remote` (without a role) and makes these rows what they have to be. Without `tls` a
/// listener that is there stays. Blocking; waits until the listener listens, at most some seconds.
/// The servers of a cluster have these rows in common: they name no files, and tell of no port.
policy::Result<ServerRows> write_server_rows(const std::string& remote,
                                             const std::optional<DatabaseServerOptions::Tls>& tls,
                                             bool cluster);

}  // namespace homeport::agent
