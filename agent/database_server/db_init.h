// Making and starting the embedded control database: what `homeport db init` does.
//
// One directory holds it all: homeport.db (the data), homeport.sock (the unix socket, without a
// role: full rights for those who may open it), ovsdb-server.pid and ovsdb-server.log.
// The server is the distribution's ovsdb-server, detached: it outlives the caller.
#pragma once

#include "agent/control/records.h"
#include "overlay/ovsdb/session.h"
#include "policy/error.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace homeport::agent {

struct DatabaseServerOptions {
  std::filesystem::path directory;  ///< Made with mode 0750 if it is not there.
  std::filesystem::path schema;     ///< A file with the schema to make it from.
  struct Tls {
    overlay::ovsdb::TlsFiles files;
    /// Where hosts connect with their certificates, with the rights of the role homeport-host.
    /// Port 0: the kernel chooses; DatabaseServer::tls_port says which.
    std::string address = "0.0.0.0";
    std::uint16_t port = 6650;
  };
  std::optional<Tls> tls;
  /// One server of a RAFT cluster (ovsdb(7)) instead of a single server.
  struct Cluster {
    Endpoint local;              ///< Where the other servers reach this one.
    std::vector<Endpoint> join;  ///< Such addresses of servers that are there; none: begins one.
    overlay::ovsdb::TlsFiles files;     ///< Between servers and for `tls`; not in the database.
    std::chrono::seconds patience{30};  ///< How long to wait for the others.
    /// How long the others wait for a leader that says nothing, which a busy one may do. Counts
    /// when a cluster is begun, and is the cluster's from then on.
    std::chrono::milliseconds election_timer{1000};
  };
  std::optional<Cluster> cluster;
};

struct DatabaseServer {
  std::string unix_remote;                ///< unix:PATH
  std::optional<std::uint16_t> tls_port;  ///< With TLS: the port it listens on.
  bool created = false;                   ///< The database file was made now.
  bool started = false;                   ///< The server was started now; else it was running.
  bool joined = false;                    ///< With `cluster`: it is in touch with the others.
  std::string summary;  ///< Sentences for a person: what was done, what was there.
};

/// Creates the database if there is none, starts the server if it is not running, and writes the
/// rights (RBAC) and, with TLS, the listener. Run again, it changes only what differs. Blocking:
/// for the command line. An existing database of another schema version is left as it is and
/// refused. A server that has not found its cluster in time goes on looking for it: the command can
/// be repeated, with other servers to join as well.
policy::Result<DatabaseServer> init_database(const DatabaseServerOptions& options);

/// Stops the server of that directory and waits until it is gone; true when it was running.
policy::Result<bool> stop_database(const std::filesystem::path& directory);

}  // namespace homeport::agent
