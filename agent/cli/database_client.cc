#include "agent/cli/database_client.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::Result;

Result<std::string> find_remote(const GlobalOptions& global) {
  // The Open vSwitch libraries look for a relative path below their own directory.
  constexpr std::string_view kUnix = "unix:";
  if (global.database.starts_with(kUnix) && global.database.find(',') == std::string::npos) {
    return std::string(kUnix) +
           std::filesystem::absolute(global.database.substr(kUnix.size())).string();
  }
  if (!global.database.empty()) return global.database;
  std::string line;
  std::ifstream file(kDatabaseFile);
  if (std::getline(file, line) && !line.empty()) return line;
  // On the database's own machine nothing needs to be said.
  std::error_code ignored;
  if (std::filesystem::exists(kDatabaseSocket, ignored))
    return "unix:" + std::string(kDatabaseSocket);
  return policy::make_error(
      errc_t::destination_address_required,
      fmt::format("Nothing says where the control database is; use --db, set HOMEPORT_DB or write "
                  "it into {}, for example ssl:192.0.2.1:6650 or unix:/PATH/homeport.sock.",
                  kDatabaseFile));
}

Result<DatabaseOptions> database_options(const GlobalOptions& global) {
  auto remote = find_remote(global);
  if (!remote) return remote.error();
  DatabaseOptions options;
  options.session.remotes = *remote;
  // Of a cluster the one that leads: another may lag, and a person would be told what was.
  options.session.leader_only = remote->find(',') != std::string::npos;
  options.operation_timeout = std::chrono::round<std::chrono::milliseconds>(global.timeout);
  if (!global.certificate.empty()) {
    options.session.tls = overlay::ovsdb::TlsFiles{.private_key = global.private_key,
                                                   .certificate = global.certificate,
                                                   .ca_certificate = global.ca_certificate};
  } else if (remote->find("ssl:") != std::string::npos) {
    return policy::make_error(
        errc_t::invalid_argument,
        fmt::format("{} needs --ca, --certificate and --private-key; `homeport pki issue` makes "
                    "them.",
                    *remote));
  }
  return options;
}

asio::awaitable<Result<int>> run_when_synced(DatabaseClient& client, const DatabaseCommand& command,
                                             const DatabaseOptions& options) {
  auto synced = co_await client.database().wait_synced(options.operation_timeout);
  if (!synced) {
    co_return policy::make_error(
        errc_t::timed_out,
        fmt::format("The control database at {} does not answer within {} s; check that it runs "
                    "and that the address and certificates are right.",
                    options.session.remotes,
                    std::chrono::duration<double>(options.operation_timeout).count()));
  }
  co_return co_await command(client);
}

}  // namespace

DatabaseClient::DatabaseClient(asio::any_io_executor executor, DatabaseOptions options)
    : database_(executor, std::move(options)),
      changed_(executor, asio::steady_timer::time_point::max()) {
  database_.on_change([this] { wake(); });
  database_.on_state([this](bool) { wake(); });
  database_.start();
}

asio::awaitable<void> DatabaseClient::next_change() {
  if (!pending_) co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
  pending_ = false;
}

void DatabaseClient::wake() {
  pending_ = true;
  changed_.cancel();
}

Result<int> run_with_database(const GlobalOptions& global, DatabaseCommand command) {
  auto options = database_options(global);
  if (!options) return options.error();
  asio::io_context context{1};
  DatabaseClient client(context.get_executor(), *options);
  std::optional<Result<int>> result;
  std::exception_ptr thrown;
  asio::co_spawn(context, run_when_synced(client, command, *options),
                 [&](std::exception_ptr exception, Result<int> returned) {
                   thrown = exception;
                   result = std::move(returned);
                   context.stop();  // The session would keep it busy for ever.
                 });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
  return *result;
}

}  // namespace homeport::agent
