// Programs that outlive the agent: started without a shell, watched through pidfd (pidfd_open(2)).
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace homeport::migration {

struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

/// The user and group by name; an empty group is the user's own, an empty user is this process's.
policy::Result<Credentials> find_credentials(const std::string& user, const std::string& group);

struct ProcessSpec {
  std::filesystem::path program;
  std::vector<std::string> arguments;    ///< without the program itself
  std::vector<std::string> environment;  ///< all of it, "NAME=value"
  int output = -1;                       ///< where stdout and stderr go
  std::vector<int> inherited;            ///< descriptors the program gets, under the same numbers
  int listen = -1;        ///< one of `inherited`: a bound socket, listened on by the new process
  int cgroup_procs = -1;  ///< an open cgroup.procs file; -1: stay
  std::optional<Credentials> credentials;
};

struct Process {
  pid_t pid = -1;
  overlay::UniqueFd pidfd;
};

/// Starts a program in a session of its own, with stdin from /dev/null, no other descriptors and no
/// blocked or ignored signals. Returns once it is running; the error says which step failed.
policy::Result<Process> start_process(const ProcessSpec& spec);

/// Ends when the process has gone.
boost::asio::awaitable<policy::Result<void>> wait_gone(int pidfd);
bool is_gone(int pidfd);
void send_kill(int pidfd);

/// Takes the exit status of a child that is gone: "exit status 1", "signal 9". Empty for one that
/// is not this process's child or was reaped before.
std::string reap(int pidfd);

/// The last lines of a log, on one line; empty when there are none.
std::string log_tail(const std::filesystem::path& log);

}  // namespace homeport::migration
