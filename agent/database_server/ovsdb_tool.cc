#include "agent/database_server/ovsdb_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <sstream>

namespace homeport::agent {

namespace {

std::optional<std::string> find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path ? path : "") + ":/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    auto candidate = folder + "/" + name;
    if (!folder.empty() && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

}  // namespace

policy::Result<ToolOutput> run_tool(std::vector<std::string> arguments) {
  auto program = find_program(arguments.front());
  if (!program) {
    return policy::make_error(
        boost::system::errc::no_such_file_or_directory,
        fmt::format("{} is not installed: install the packages openvswitch-switch and "
                    "openvswitch-common",
                    arguments.front()));
  }
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return policy::errno_error("cannot make a pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output[1], 1);
  posix_spawn_file_actions_adddup2(&actions, output[1], 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  int error = posix_spawn(&pid, program->c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(output[1]);
  if (error != 0) {
    close(output[0]);
    return policy::errno_error("cannot run " + *program, error);
  }
  ToolOutput result;
  char buffer[4096];
  for (ssize_t count; (count = read(output[0], buffer, sizeof buffer)) != 0;) {
    if (count > 0) result.text.append(buffer, static_cast<std::size_t>(count));
    if (count < 0 && errno != EINTR) break;
  }
  close(output[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

policy::Result<std::string> run_tool_successfully(std::vector<std::string> arguments) {
  auto name = arguments.front();
  auto result = run_tool(std::move(arguments));
  if (!result) return result.error();
  while (!result->text.empty() && result->text.back() == '\n') result->text.pop_back();
  if (result->status == 0) return std::move(result->text);
  return policy::make_error(
      boost::system::errc::io_error,
      fmt::format("{} ended with status {}: {}", name, result->status, result->text));
}

}  // namespace homeport::agent
