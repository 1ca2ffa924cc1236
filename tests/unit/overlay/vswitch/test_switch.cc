#include "tests/unit/overlay/vswitch/test_switch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace homeport::test {

namespace {

/// Whether somebody listens on the unix socket within 10 s.
bool serves(const std::string& path) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  while (std::chrono::steady_clock::now() < deadline) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected =
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    ::close(fd);
    if (connected) return true;
    std::this_thread::yield();
  }
  return false;
}

void end(pid_t& process) {
  if (process <= 0) return;
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
  process = -1;
}

}  // namespace

TestSwitch::TestSwitch(int net_namespace) : net_namespace_(net_namespace) {
  run({"ovsdb-tool", "create", file("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"});
  server_ = spawn({"ovsdb-server", file("conf.db"), "--remote=punix:" + file("db.sock"),
                   "--unixctl=" + file("db.ctl"), "--no-self-confinement"});
  if (!serves(file("db.sock"))) throw std::runtime_error("ovsdb-server does not start");
  // Looks at its flows again after half of its usual time: what is changed is in force then, and
  // Host::settle() waits for that after every change. In less it forgets flows on a busy machine.
  vsctl(
      {"--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:max-revalidator=250"});
  start_daemon();
}

TestSwitch::~TestSwitch() {
  end(daemon_);
  end(server_);
}

void TestSwitch::start_daemon() {
  daemon_ = spawn({"ovs-vswitchd", "unix:" + file("db.sock"), "--pidfile"});
  // It answers once it has made the bridges that are configured.
  vsctl({"--timeout=20", "set", "Open_vSwitch", ".",
         "external_ids:started=" + std::to_string(daemon_)});
}

void TestSwitch::kill_daemon() {
  end(daemon_);
}

void TestSwitch::freeze_daemon() {
  ::kill(daemon_, SIGSTOP);
}

void TestSwitch::thaw_daemon() {
  ::kill(daemon_, SIGCONT);
}

pid_t TestSwitch::spawn(std::vector<std::string> command) const {
  const std::string name = command.front();
  command.insert(command.end(), {"-vconsole:off", "-vsyslog:off", "-vfile:info",
                                 "--log-file=" + file(name + ".log")});
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string directory = directory_.path();
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("cannot fork");
  if (pid > 0) return pid;
  // The thread that forks is the test's main one and lives as long as the test.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  for (const char* variable : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"}) {
    ::setenv(variable, directory.c_str(), 1);
  }
  if (net_namespace_ >= 0 && ::setns(net_namespace_, CLONE_NEWNET) < 0) ::_exit(126);
  ::close_range(3, ~0u, 0);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

std::string TestSwitch::run(std::vector<std::string> command) const {
  CommandOutput output = run_command(command);
  if (output.status != 0) throw std::runtime_error(command.front() + ": " + output.text);
  return output.text;
}

overlay::vswitch::BridgeOptions TestSwitch::bridge(const std::string& name) const {
  return {.database = "unix:" + file("db.sock"),
          .name = name,
          .management = "unix:" + file(name + ".mgmt"),
          .datapath_type = "netdev",
          .patience = std::chrono::seconds(10),
          // Busy tests have its main thread take turns of more than a second.
          .silence = std::chrono::seconds(5)};
}

std::string TestSwitch::vsctl(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"ovs-vsctl", "--db=unix:" + file("db.sock")});
  return run(std::move(arguments));
}

std::string TestSwitch::ofctl(std::vector<std::string> arguments) const {
  return ofctl("-OOpenFlow14", std::move(arguments));
}

std::string TestSwitch::ofctl10(std::vector<std::string> arguments) const {
  return ofctl("-OOpenFlow10", std::move(arguments));
}

std::string TestSwitch::ofctl(const std::string& version,
                              std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"ovs-ofctl", version});
  // The bridge is named by its socket.
  arguments.at(3) = "unix:" + file(arguments.at(3) + ".mgmt");
  return run(std::move(arguments));
}

std::string TestSwitch::appctl(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(),
                   {"ovs-appctl", "-t", file("ovs-vswitchd." + std::to_string(daemon_) + ".ctl")});
  return run(std::move(arguments));
}

}  // namespace homeport::test
