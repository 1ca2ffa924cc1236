#include "agent/cli/cli.h"

#include <unistd.h>

#include <csignal>
#include <iostream>

int main(int argc, char** argv) {
  // A reader that goes away, such as `head`, shows as a failed write.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  return homeport::agent::run_command_line(arguments,
                                           {std::cout, std::cerr, isatty(STDOUT_FILENO) != 0});
}
