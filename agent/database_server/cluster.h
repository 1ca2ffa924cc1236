// What `homeport db init` has to know about a server of a cluster (RAFT, ovsdb(7)).
#pragma once

#include "agent/database_server/db_init.h"

#include <filesystem>
#include <string>

namespace homeport::agent {

/// What a database file says about its server.
enum class Membership {
  none,     ///< there is no file
  single,   ///< it is no server of a cluster
  joining,  ///< it was made to join a cluster, which has not answered yet: nothing is in it
  member,
};
policy::Result<Membership> membership(const std::filesystem::path& database);

/// Whether these options, this file and this machine can make a server of a cluster, or a single
/// one; says what to change otherwise.
policy::Result<void> check_cluster(const DatabaseServerOptions& options,
                                   const std::filesystem::path& database, Membership found);

/// Whether a server could listen there.
policy::Result<void> check_listener(const Endpoint& endpoint);

/// Makes the file with which a server begins or joins a cluster.
policy::Result<void> make_cluster_file(const DatabaseServerOptions& options,
                                       const std::filesystem::path& file);

/// Waits until the server is in touch with a majority of its cluster, and looks at the schema that
/// they have in common.
policy::Result<void> wait_for_cluster(const DatabaseServerOptions& options,
                                      const std::string& unix_remote,
                                      const std::filesystem::path& log);

}  // namespace homeport::agent
