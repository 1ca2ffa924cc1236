#include "agent/database_server/server_rows.h"

#include "agent/control/columns.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <boost/uuid/random_generator.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <map>
#include <set>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace json = boost::json;
using namespace std::chrono_literals;
using overlay::ovsdb::Outcome;
using overlay::ovsdb::Session;
using overlay::ovsdb::Transaction;

namespace {

constexpr const char* kRole = "homeport-host";

/// What a host's certificate may do. `authorization` is the column that must hold the certificate's
/// common name before the change. ovsdb-server checks it against the row as it is, so that a host
/// can give a binding away and cannot take one.
struct Permission {
  const char* table;
  const char* authorization;
  bool insert_delete;
  std::vector<std::string> update;
};

const std::vector<Permission>& permissions() {
  static const std::vector<Permission> list = {
      {"Host",
       "name",
       true,
       {"control_endpoints", "lane_endpoints", "vteps", "certificate_sha256", "version", "capacity",
        "relays"}},
      {"Host_Status", "host", true, {"started", "last_seen", "agent_pid", "state"}},
      {"Interface", "host", true, {"speed_mbps", "mtu", "state"}},
      {"Binding", "location", false, {"location", "generation", "current_addresses"}},
      {"Task_Status",
       "host",
       true,
       {"kind",
        "application",
        "state",
        "phase",
        "error",
        "started",
        "finished",
        "source",
        "destination",
        "bytes_sent",
        "bytes_total",
        "ram_bytes",
        "rounds",
        "bytes_per_second",
        "eta_ms",
        "total_ms",
        "downtime_ms",
        "figures",
        "lane_states",
        "lane_bytes_sent",
        "lane_bytes_per_second"}},
      {"Reservation", "host", true, {"amount", "phase"}},
      {"Path_Status", "host", true, {"state", "rtt_us", "loss_ppm", "bandwidth_mbps", "updated"}}};
  return list;
}

json::value uuid_atom(const Uuid& uuid) {
  return json::array{"uuid", to_string(uuid)};
}

/// ["set", [["uuid", ...]]], or the atom alone: the UUIDs in a column of references.
std::set<Uuid> references(const json::value& value) {
  std::set<Uuid> found;
  const auto& array = value.as_array();
  auto add = [&](const json::value& atom) {
    if (auto uuid = parse_uuid(atom.as_array().at(1).as_string())) found.insert(*uuid);
  };
  if (array.at(0) == "uuid") {
    add(value);
  } else {
    for (const auto& atom : array.at(1).as_array()) add(atom);
  }
  return found;
}

json::value reference_set(const std::set<Uuid>& uuids) {
  json::array atoms;
  for (const auto& uuid : uuids) atoms.push_back(uuid_atom(uuid));
  return json::array{"set", std::move(atoms)};
}

/// The same set or map may be written in another order, and a set of one as an atom.
json::value canonical(const json::value& value) {
  const auto* array = value.if_array();
  if (!array || array->size() != 2 || !(*array)[1].is_array()) {
    return json::array{"set", json::array{value}};
  }
  std::map<std::string, json::value> sorted;
  for (const auto& item : (*array)[1].get_array()) sorted.emplace(json::serialize(item), item);
  json::array items;
  for (auto& [text, item] : sorted) items.push_back(item);
  return json::array{(*array)[0], std::move(items)};
}

class Writer {
 public:
  Writer(asio::io_context& io, const std::string& remote)
      : changed_(io, asio::steady_timer::time_point::max()), session_(io.get_executor(), [&] {
          overlay::ovsdb::SessionOptions options;
          options.remotes = remote;
          options.tables = {"Global", "Connection", "SSL", "RBAC_Role", "RBAC_Permission"};
          return options;
        }()) {
    session_.set_on_changes([this](std::vector<overlay::ovsdb::RowChange> changes, bool) {
      for (auto& change : changes) {
        auto& table = rows_[change.table];
        if (change.row) {
          table.insert_or_assign(change.uuid, std::move(change.row->columns));
        } else {
          table.erase(change.uuid);
        }
      }
      changed_.cancel();
    });
    session_.start();
  }

  asio::awaitable<policy::Result<ServerRows>> write(
      const std::optional<DatabaseServerOptions::Tls>& tls, bool cluster) {
    auto synced = co_await session_.wait_synced(10s);
    if (!synced) co_return synced.error();
    ServerRows done;
    Transaction rights;
    rights.comment = "rights of hosts";
    plan_rights(rights);
    auto written = co_await commit(std::move(rights));
    if (!written) co_return written.error();
    done.rights_changed = *written;
    if (tls) {
      Transaction listener;
      listener.comment = "listener for hosts";
      plan_listener(*tls, cluster, listener);
      written = co_await commit(std::move(listener));
      if (!written) co_return written.error();
      done.listener_changed = *written;
      done.tls_port = tls->port;
      if (cluster) co_return done;
      auto port = co_await wait_for_port(tls->port);
      if (!port) co_return port.error();
      done.tls_port = *port;
    } else {
      done.tls_port = bound_port();
    }
    co_return done;
  }

 private:
  using Table = std::map<Uuid, json::object>;

  /// The row whose `column` is `value`.
  const Table::value_type* find(const char* table, const char* column, std::string_view value) {
    for (const auto& row : rows_[table]) {
      const auto* text = row.second.at(column).if_string();
      if (text && *text == value) return &row;
    }
    return nullptr;
  }

  /// Adds what makes `row` (nullptr: a new one) have these columns; returns its UUID.
  static Uuid put(Transaction& transaction, const char* table, const Table::value_type* row,
                  json::object columns) {
    if (!row) {
      auto uuid = boost::uuids::random_generator()();
      transaction.inserts.push_back({table, std::move(columns), uuid});
      return uuid;
    }
    json::object differing;
    for (auto& [column, value] : columns) {
      if (canonical(row->second.at(column)) != canonical(value)) differing[column] = value;
    }
    if (!differing.empty()) {
      transaction.updates.push_back({table, row->first, std::move(differing)});
    }
    return row->first;
  }

  void plan_rights(Transaction& transaction) {
    json::array map;
    for (const auto& permission : permissions()) {
      auto uuid =
          put(transaction, "RBAC_Permission", find("RBAC_Permission", "table", permission.table),
              {{"table", permission.table},
               {"authorization", permission.authorization},
               {"insert_delete", permission.insert_delete},
               {"update", make_set(permission.update, [](const auto& name) { return name; })}});
      map.push_back(json::array{permission.table, uuid_atom(uuid)});
    }
    put(transaction, "RBAC_Role", find("RBAC_Role", "name", kRole),
        {{"name", kRole}, {"permissions", json::array{"map", std::move(map)}}});
  }

  void plan_listener(const DatabaseServerOptions::Tls& tls, bool cluster,
                     Transaction& transaction) {
    const auto& globals = rows_["Global"];
    const auto* global = globals.empty() ? nullptr : &*globals.begin();
    json::object wanted;
    if (!cluster) {
      const auto& ssl_rows = rows_["SSL"];
      auto ssl = put(transaction, "SSL", ssl_rows.empty() ? nullptr : &*ssl_rows.begin(),
                     {{"private_key", absolute(tls.files.private_key).string()},
                      {"certificate", absolute(tls.files.certificate).string()},
                      {"ca_cert", absolute(tls.files.ca_certificate).string()}});
      wanted["ssl"] = reference_set({ssl});
    }
    bool v6 = tls.address.find(':') != std::string::npos;
    auto target = fmt::format(v6 ? fmt::runtime("pssl:{}:[{}]") : fmt::runtime("pssl:{}:{}"),
                              tls.port, tls.address);
    auto connection = put(transaction, "Connection", find("Connection", "role", kRole),
                          {{"target", target}, {"role", kRole}, {"inactivity_probe", 5000}});
    auto connections = global ? references(global->second.at("connections")) : std::set<Uuid>();
    connections.insert(connection);
    wanted["connections"] = reference_set(connections);
    put(transaction, "Global", global, std::move(wanted));
  }

  /// True when there was something to change.
  asio::awaitable<policy::Result<bool>> commit(Transaction transaction) {
    if (transaction.inserts.empty() && transaction.updates.empty()) co_return false;
    auto result = co_await session_.transact(std::move(transaction));
    if (!result) co_return result.error();
    if (result->outcome == Outcome::committed) co_return true;
    co_return policy::make_error(errc::io_error,
                                 "the settings of the database server could not be written: " +
                                     result->message + "; run the command again");
  }

  std::optional<std::uint16_t> bound_port() {
    const auto* connection = find("Connection", "role", kRole);
    if (!connection) return std::nullopt;
    Row row{connection->first, connection->second};
    auto status = RowReader("Connection", row).string_map("status");
    auto found = status.find("bound_port");
    std::uint16_t port = 0;
    if (found == status.end()) return std::nullopt;
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), port);
    return port == 0 ? std::nullopt : std::optional(port);
  }

  /// The server tells every few seconds where it listens; a `wanted` port must be the one.
  asio::awaitable<policy::Result<std::uint16_t>> wait_for_port(std::uint16_t wanted) {
    auto deadline = std::chrono::steady_clock::now() + 10s;
    while (true) {
      auto port = bound_port();
      if (port && (wanted == 0 || *port == wanted)) co_return *port;
      changed_.expires_at(deadline);
      auto [error] = co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
      if (!error) {
        co_return policy::make_error(
            errc::timed_out,
            "the database server does not listen for TLS connections: is the address one of this "
            "machine's, is the port free, and are the certificate files good? Its log says more");
      }
    }
  }

  std::map<std::string, Table> rows_;
  asio::steady_timer changed_;
  Session session_;
};

}  // namespace

policy::Result<ServerRows> write_server_rows(const std::string& remote,
                                             const std::optional<DatabaseServerOptions::Tls>& tls,
                                             bool cluster) {
  asio::io_context io;
  Writer writer(io, remote);
  policy::Result<ServerRows> result = ServerRows{};
  asio::co_spawn(io, writer.write(tls, cluster),
                 [&](std::exception_ptr failure, policy::Result<ServerRows> written) {
                   if (failure) std::rethrow_exception(failure);
                   result = std::move(written);
                   io.stop();
                 });
  io.run();
  return result;
}

}  // namespace homeport::agent
