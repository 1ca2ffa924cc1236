#include "tests/unit/overlay/ovsdb/test_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fstream>
#include <utility>

namespace homeport::test {

namespace asio = boost::asio;

TemporaryDirectory::TemporaryDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "homeport-test-XXXXXX";
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary directory");
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

CommandOutput run_command(const std::vector<std::string>& arguments) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(output[1], 1);
    dup2(output[1], 2);
    close_range(3, ~0u, 0);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(output[1]);
  CommandOutput result{};
  char buffer[4096];
  for (ssize_t count; (count = read(output[0], buffer, sizeof buffer)) > 0;) {
    result.text.append(buffer, static_cast<std::size_t>(count));
  }
  close(output[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

namespace {

void make_database(std::vector<std::string> command) {
  command.insert(command.begin(), "ovsdb-tool");
  auto made = run_command(command);
  if (made.status != 0) throw std::runtime_error(made.text);
}

std::filesystem::path make_directory(std::filesystem::path path) {
  std::filesystem::create_directory(path);
  return path;
}

}  // namespace

ServerProcess::ServerProcess(std::filesystem::path directory, std::string serves)
    : directory_(std::move(directory)), serves_(std::move(serves)) {
  start();
}

ServerProcess::ServerProcess(ServerProcess&& other) noexcept
    : directory_(std::move(other.directory_)),
      serves_(std::move(other.serves_)),
      pid_(std::exchange(other.pid_, -1)) {}

ServerProcess::~ServerProcess() {
  kill();
}

void ServerProcess::start() {
  // --detach returns when the server listens.
  auto file = [this](const char* name) { return (directory_ / name).string(); };
  auto started =
      run_command({"ovsdb-server", "--detach", "--no-self-confinement", "-vsyslog:off",
                   "-vconsole:off", "--log-file=" + file("log"), "--pidfile=" + file("pid"),
                   "--unixctl=" + file("ctl"), "--remote=punix:" + socket().string(), serves_});
  if (started.status != 0) throw std::runtime_error(started.text);
  std::ifstream(directory_ / "pid") >> pid_;
}

void ServerProcess::kill() {
  if (pid_ <= 0) return;
  int handle = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  ::kill(pid_, SIGKILL);
  pollfd ended{handle, POLLIN, 0};
  poll(&ended, 1, 10000);
  close(handle);
  pid_ = -1;
}

void ServerProcess::freeze() {
  ::kill(pid_, SIGSTOP);
}

void ServerProcess::thaw() {
  ::kill(pid_, SIGCONT);
}

std::string ServerProcess::tell(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"ovs-appctl", "-T", "10", "-t", control().string()});
  auto done = run_command(arguments);
  if (done.status != 0) throw std::runtime_error(done.text);
  return done.text;
}

std::string ServerProcess::transact(const std::string& operations) const {
  auto done =
      run_command({"ovsdb-client", "transact", remote(), "[\"Homeport\"," + operations + "]"});
  if (done.status != 0 || done.text.find("\"error\"") != std::string::npos) {
    throw std::runtime_error(done.text);
  }
  return done.text;
}

TestServer::TestServer()
    : ServerProcess(path(), [this] {
        const auto file = (path() / "db").string();
        make_database({"create", file, HOMEPORT_SCHEMA});
        return file;
      }()) {}

TestCluster::TestCluster() {
  const auto address = [this](int number) {
    return "unix:" + (directory_.path() / ("raft" + std::to_string(number))).string();
  };
  for (int number = 1; number <= 3; ++number) {
    auto directory = make_directory(directory_.path() / std::to_string(number));
    const std::string file = directory / "db";
    if (number == 1) {
      make_database({"create-cluster", file, HOMEPORT_SCHEMA, address(number)});
    } else {
      make_database({"join-cluster", file, "Homeport", address(number), address(1)});
    }
    servers_.emplace_back(std::move(directory), file);
    auto joined = run_command(
        {"ovsdb-client", "-t", "20", "wait", servers_.back().remote(), "Homeport", "connected"});
    if (joined.status != 0) throw std::runtime_error(joined.text);
  }
}

std::string TestCluster::remotes() const {
  std::string all;
  for (const auto& server : servers_) all += (all.empty() ? "" : ",") + server.remote();
  return all;
}

ServerProcess& TestCluster::leader() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < deadline) {
    for (auto& server : servers_) {
      if (!server.runs()) continue;
      if (server.tell({"cluster/status", "Homeport"}).find("Role: leader") != std::string::npos) {
        return server;
      }
    }
  }
  throw std::runtime_error("no server of the cluster came to lead");
}

Condition::Condition(asio::io_context& io) : timer_(io) {}

asio::awaitable<void> Condition::wait(std::function<bool()> holds) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    timer_.expires_at(deadline);
    auto [error] = co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (!error) throw std::runtime_error("the condition did not come to hold in time");
  }
}

}  // namespace homeport::test
