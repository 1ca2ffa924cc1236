#include "agent/database_server/cluster.h"

#include "agent/database_server/ovsdb_tool.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <algorithm>
#include <vector>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace fs = std::filesystem;

namespace {

/// ovsdb-tool's exit status for "no", where 1 is a failure.
constexpr int kNo = 2;

policy::Error wrong(std::string sentence) {
  return policy::make_error(errc::invalid_argument, std::move(sentence));
}

std::string raft_address(const Endpoint& endpoint) {
  return "ssl:" + to_string(endpoint);
}

std::vector<std::string> texts(const std::vector<Endpoint>& endpoints) {
  std::vector<std::string> all;
  for (const auto& endpoint : endpoints) all.push_back(to_string(endpoint));
  return all;
}

/// Whether ovsdb-tool answers yes.
policy::Result<bool> ask_tool(const char* question, const fs::path& database) {
  auto told = run_tool({"ovsdb-tool", question, database});
  if (!told) return told.error();
  if (told->status == 0 || told->status == kNo) return told->status == 0;
  return policy::make_error(errc::io_error, fmt::format("{} is not a database that can be read: {}",
                                                        database.string(), told->text));
}

policy::Result<void> check_addresses(const DatabaseServerOptions& options) {
  const auto& cluster = *options.cluster;
  if (cluster.local.address().is_unspecified() || cluster.local.port() == 0) {
    return wrong(
        fmt::format("{} is nowhere the other servers of the cluster could reach this one: "
                    "name an address of this machine, and a port",
                    to_string(cluster.local)));
  }
  if (std::count(cluster.join.begin(), cluster.join.end(), cluster.local) > 0) {
    return wrong(fmt::format("{} is this server itself: name another one, which is there already",
                             to_string(cluster.local)));
  }
  if (!options.tls) return {};
  const auto address = asio::ip::make_address(options.tls->address);
  if (address.is_unspecified() && options.tls->port != 0) return {};
  return wrong(
      fmt::format("the servers of a cluster share one setting for where hosts connect, so "
                  "it cannot be {}: listen at 0.0.0.0 or [::], with a port",
                  options.tls->address));
}

}  // namespace

policy::Result<Membership> membership(const fs::path& database) {
  std::error_code error;
  if (!fs::exists(database, error)) {
    if (!error) return Membership::none;
    return policy::errno_error(fmt::format("cannot look for {}, try as root", database.string()),
                               error.value());
  }
  auto clustered = ask_tool("db-is-clustered", database);
  if (!clustered) return clustered.error();
  if (!*clustered) return Membership::single;
  auto known = ask_tool("db-cid", database);
  if (!known) return known.error();
  return *known ? Membership::member : Membership::joining;
}

policy::Result<void> check_cluster(const DatabaseServerOptions& options, const fs::path& database,
                                   Membership found) {
  if (options.cluster) {
    if (auto checked = check_addresses(options); !checked) return checked;
  }
  switch (found) {
    case Membership::none:
      return {};
    case Membership::single:
      if (!options.cluster) return {};
      return wrong(fmt::format(
          "{} is that of a single server: choose another directory for a server of a cluster",
          database.string()));
    case Membership::joining:
      if (options.cluster && !options.cluster->join.empty()) return {};
      return wrong(
          fmt::format("{} was made to join a cluster and has not joined it yet: name a server of "
                      "that cluster, or remove the file, in which nothing is",
                      database.string()));
    case Membership::member:
      break;
  }
  auto address = run_tool_successfully({"ovsdb-tool", "db-local-address", database});
  if (!address) return address.error();
  if (!options.cluster) {
    return wrong(
        fmt::format("{} is that of a server of a cluster, which the others reach at {}: say so, as "
                    "when it was made, or choose another directory",
                    database.string(), *address));
  }
  if (*address == raft_address(options.cluster->local)) return {};
  return wrong(
      fmt::format("{} is that of a server which the others reach at {}, and that cannot be changed "
                  "to {}: name the address it has, or make a new server in another directory",
                  database.string(), *address, raft_address(options.cluster->local)));
}

policy::Result<void> check_listener(const Endpoint& endpoint) {
  asio::io_context context;
  asio::ip::tcp::acceptor probe(context);
  boost::system::error_code error;
  probe.open(endpoint.protocol(), error);
  // As ovsdb-server does, which need not wait for connections that have been closed.
  if (!error) probe.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) probe.bind(endpoint, error);
  if (!error) probe.listen(1, error);
  if (!error) return {};
  std::string why = "is not a place to listen at: " + error.message();
  if (error == asio::error::address_in_use) {
    why = "is taken by another program: end it, or choose another port";
  } else if (error.value() == EADDRNOTAVAIL) {
    why = "is no address of this machine";
  }
  return policy::Error{error, to_string(endpoint) + " " + why};
}

policy::Result<void> make_cluster_file(const DatabaseServerOptions& options, const fs::path& file) {
  const auto& cluster = *options.cluster;
  std::vector<std::string> command{
      "ovsdb-tool",     fmt::format("--election-timer={}", cluster.election_timer.count()),
      "create-cluster", file,
      options.schema,   raft_address(cluster.local)};
  if (!cluster.join.empty()) {
    command = {"ovsdb-tool", "join-cluster", file, "Homeport", raft_address(cluster.local)};
    for (const auto& other : cluster.join) command.push_back(raft_address(other));
  }
  auto made = run_tool_successfully(std::move(command));
  if (!made) return made.error();
  return {};
}

policy::Result<void> wait_for_cluster(const DatabaseServerOptions& options,
                                      const std::string& unix_remote, const fs::path& log) {
  const auto& cluster = *options.cluster;
  auto connected = run_tool({"ovsdb-client", fmt::format("--timeout={}", cluster.patience.count()),
                             "wait", unix_remote, "Homeport", "connected"});
  if (!connected) return connected.error();
  if (connected->status != 0) {
    const std::string others = cluster.join.empty()
                                   ? "do most of the other servers run"
                                   : fmt::format(
                                         "is there one of it at {}, with certificates of "
                                         "the same authority",
                                         fmt::join(texts(cluster.join), " or "));
    return policy::make_error(
        errc::timed_out,
        fmt::format("the server was started, goes on trying, and has not found its cluster within "
                    "{} s: {}, and can that reach this server at {}? Its log, {}, says more; when "
                    "it is mended, run the command again",
                    cluster.patience.count(), others, to_string(cluster.local), log.string()));
  }
  auto theirs = run_tool_successfully(
      {"ovsdb-client", "--no-leader-only", "get-schema-version", unix_remote, "Homeport"});
  if (!theirs) return theirs.error();
  auto ours = run_tool_successfully({"ovsdb-tool", "schema-version", options.schema});
  if (!ours) return ours.error();
  if (*theirs == *ours) return {};
  return policy::make_error(
      errc::wrong_protocol_type,
      fmt::format(
          "the cluster has schema version {}, this program's is {}, and it was left as it "
          "is: give `ovsdb-client convert {}` the homeport.ovsschema that is installed with "
          "this program",
          *theirs, *ours, unix_remote));
}

}  // namespace homeport::agent
