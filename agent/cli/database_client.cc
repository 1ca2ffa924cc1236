#include "agent/cli/database_client.h"

#include "agent/config.h"
#include "overlay/read_file.h"

#include <fmt/format.h>
#include <sys/un.h>
#include <CLI/CLI.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <filesystem>
#include <optional>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::Result;

constexpr std::string_view kUnix = "unix:";

policy::Error unknown_place() {
  return policy::make_error(
      errc_t::destination_address_required,
      fmt::format("Nothing says where the control database is; use --db, set HOMEPORT_DB or write "
                  "it into {}, for example ssl:192.0.2.1:6650 or unix:/PATH/homeport.sock.",
                  kDatabaseFile));
}

/// Somebody serves `socket`: nobody wants to wait for a server that has not been started.
Result<void> check_socket(const std::filesystem::path& path) {
  sockaddr_un address{};
  if (path.native().size() >= sizeof address.sun_path) return {};
  asio::io_context context{1};
  asio::local::stream_protocol::socket socket(context);
  boost::system::error_code error;
  socket.connect(asio::local::stream_protocol::endpoint(path.native()), error);
  if (!error) return {};
  if (error == errc_t::permission_denied) {
    return policy::Error{error,
                         fmt::format("This user may not open {}: run as root.", path.string())};
  }
  const std::filesystem::path database = path.parent_path() / "homeport.db";
  std::error_code ignored;
  if (std::filesystem::exists(database, ignored)) {
    return policy::Error{error, fmt::format("The server of {} does not run: start it with the "
                                            "`homeport db init` that made it.",
                                            database.string())};
  }
  return policy::Error{error, fmt::format("Nobody serves a control database at {}: {}.",
                                          path.string(), error.message())};
}

Result<std::string> find_remote(const GlobalOptions& global) {
  std::string remote = global.database;
  if (remote.empty()) {
    auto configured = configured_remote(kDatabaseFile);
    if (!configured) return configured.error();
    remote = *std::move(configured);
  }
  // On the database's own machine nothing needs to be said.
  if (remote.empty()) return local_remote(kDatabaseHome);
  const bool one_socket = remote.starts_with(kUnix) && remote.find(',') == std::string::npos;
  if (one_socket) {
    // The Open vSwitch libraries look for a relative path below their own directory.
    const auto path = std::filesystem::absolute(remote.substr(kUnix.size()));
    if (auto served = check_socket(path); !served) return served.error();
    return std::string(kUnix) + path.string();
  }
  if (const std::string wrong = check_remotes(remote); !wrong.empty()) {
    return policy::make_error(errc_t::invalid_argument, "The control database: " + wrong + ".");
  }
  return remote;
}

Result<DatabaseOptions> database_options(const GlobalOptions& global) {
  auto remote = find_remote(global);
  if (!remote) return remote.error();
  DatabaseOptions options;
  options.session.remotes = *remote;
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

Result<std::string> configured_remote(const std::filesystem::path& file) {
  auto text = overlay::read_file(file, "where the control database is, from");
  if (text) return text->substr(0, text->find('\n'));
  if (text.error().code == errc_t::no_such_file_or_directory) return std::string();
  return text.error();
}

Result<std::string> local_remote(const std::filesystem::path& home) {
  const std::filesystem::path socket = home / "homeport.sock";
  auto served = check_socket(socket);
  if (served) return std::string(kUnix) + socket.string();
  // No such folder and an empty one say nothing; one that this user may not look into does.
  std::error_code error;
  const bool there = std::filesystem::exists(home / "homeport.db", error);
  return there || error ? served.error() : unknown_place();
}

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

CLI::App* add_database_command(CLI::App& group, const char* name, const char* help,
                               Invocation& invocation, DatabaseCommand command) {
  CLI::App* added = group.add_subcommand(name, help);
  added->callback([command = std::move(command), &invocation] {
    invocation.action = [command, &invocation] {
      return run_with_database(invocation.global, command);
    };
  });
  return added;
}

}  // namespace homeport::agent
