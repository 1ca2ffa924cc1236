#include "agent/cli/cli.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

int main(int argc, char** argv) {
  // Standard output is for results. What the libraries below log is in the errors of commands too.
  spdlog::set_default_logger(spdlog::stderr_logger_mt("homeport"));
  spdlog::set_level(spdlog::level::err);
  // A reader that goes away, such as `head`, shows as a failed write.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return homeport::agent::run_command_line(arguments,
                                           {std::cout, std::cerr, isatty(STDOUT_FILENO) != 0});
}
