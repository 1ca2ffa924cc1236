#include "agent/cli/cli.h"

#include "overlay/log/log.h"

#include <unistd.h>

#include <csignal>
#include <iostream>

int main(int argc, char** argv) {
  // Standard output is for results. What the libraries below log is in the errors of commands too.
  homeport::overlay::log::set_up(
      {.program = "homeport", .level = homeport::overlay::log::Level::error});
  // A reader that goes away, such as `head`, shows as a failed write.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return homeport::agent::run_command_line(arguments,
                                           {std::cout, std::cerr, isatty(STDOUT_FILENO) != 0});
}
