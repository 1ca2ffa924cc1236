// One command's connection to the control database.
#pragma once

#include "agent/cli/commands.h"
#include "agent/control/database.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <filesystem>
#include <functional>

namespace homeport::agent {

/// The first line of `file`; empty when there is no such file.
policy::Result<std::string> configured_remote(const std::filesystem::path& file);

/// Where the control database that `home` is the folder of is served, if it is.
policy::Result<std::string> local_remote(const std::filesystem::path& home);

class DatabaseClient {
 public:
  DatabaseClient(boost::asio::any_io_executor executor, DatabaseOptions options);

  ControlDatabase& database() { return database_; }
  const Contents& contents() const { return database_.contents(); }

  /// Returns when the contents or synced() have changed since the last call, or on wake().
  boost::asio::awaitable<void> next_change();
  void wake();

 private:
  ControlDatabase database_;
  boost::asio::steady_timer changed_;
  bool pending_ = false;
};

using DatabaseCommand =
    std::function<boost::asio::awaitable<policy::Result<int>>(DatabaseClient& client)>;

/// Connects as the global options say, runs `command` once the contents are complete, and returns
/// what it returns. Blocking.
policy::Result<int> run_with_database(const GlobalOptions& global, DatabaseCommand command);

/// Adds the command `name` to `group`; given on the command line, it is run_with_database().
CLI::App* add_database_command(CLI::App& group, const char* name, const char* help,
                               Invocation& invocation, DatabaseCommand command);

}  // namespace homeport::agent
