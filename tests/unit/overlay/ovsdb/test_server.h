// A real ovsdb-server on a unix socket in a directory of its own, for the tests of sessions.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace homeport::test {

/// A directory that goes with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct CommandOutput {
  int status;
  std::string text;  ///< Standard output and error.
};
CommandOutput run_command(const std::vector<std::string>& arguments);

/// An ovsdb-server with its files in a directory that is there and outlives it.
class ServerProcess {
 public:
  /// `serves`: a database file, or "relay:DATABASE:REMOTE".
  ServerProcess(std::filesystem::path directory, std::string serves);
  ServerProcess(ServerProcess&& other) noexcept;
  ~ServerProcess();
  /// Starts it again on the same database.
  void start();
  /// kill -9; returns when it is dead.
  void kill();
  /// Stops and continues its process: it accepts what is sent and does nothing.
  void freeze();
  void thaw();
  bool runs() const { return pid_ > 0; }
  std::string remote() const { return "unix:" + socket().string(); }
  std::filesystem::path socket() const { return directory_ / "sock"; }
  /// Where ovs-appctl reaches it.
  std::filesystem::path control() const { return directory_ / "ctl"; }
  /// What it answers to `ovs-appctl` with these arguments; throws on an error.
  std::string tell(std::vector<std::string> arguments) const;
  /// `ovsdb-client transact` of these operations (without the database's name); throws on an error.
  std::string transact(const std::string& operations) const;

 private:
  std::filesystem::path directory_;
  std::string serves_;
  int pid_ = -1;
};

/// A standalone one.
class TestServer : private TemporaryDirectory, public ServerProcess {
 public:
  TestServer();
};

/// Three servers, RAFT.
class TestCluster {
 public:
  TestCluster();
  std::string remotes() const;
  /// The one that leads, among those that run; waits until there is one.
  ServerProcess& leader();

 private:
  TemporaryDirectory directory_;
  std::vector<ServerProcess> servers_;
};

/// Lets two sides wait for a condition on one io_context: notify() after a change, wait() until it
/// holds, with a deadline that fails the test.
class Condition {
 public:
  explicit Condition(boost::asio::io_context& io);
  void notify() { timer_.cancel(); }
  boost::asio::awaitable<void> wait(std::function<bool()> holds);

 private:
  boost::asio::steady_timer timer_;
};

/// Runs a coroutine to its end on `io`; throws when it does not end in time.
template <class T>
T run(boost::asio::io_context& io, boost::asio::awaitable<T> task,
      std::chrono::seconds limit = std::chrono::seconds(30)) {
  std::optional<T> result;
  std::exception_ptr failure;
  boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr thrown, T value) {
    failure = thrown;
    if (!thrown) result.emplace(std::move(value));
    io.stop();
  });
  io.restart();
  io.run_for(limit);
  if (failure) std::rethrow_exception(failure);
  if (!result) throw std::runtime_error("the test's coroutine did not end in time");
  return *std::move(result);
}

inline void run(boost::asio::io_context& io, boost::asio::awaitable<void> task,
                std::chrono::seconds limit = std::chrono::seconds(30)) {
  auto wrapped = [](boost::asio::awaitable<void> inner) -> boost::asio::awaitable<bool> {
    co_await std::move(inner);
    co_return true;
  };
  run<bool>(io, wrapped(std::move(task)), limit);
}

}  // namespace homeport::test
