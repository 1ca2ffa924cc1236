#include "tests/lab/account.h"

#include <unistd.h>

#include <sstream>

#include "tests/lab/failure.h"
#include "tests/lab/process.h"

namespace homeport::lab {

double processor_ms(pid_t pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  // The second field, the name in brackets, may hold blanks.
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string skipped;
  double user = 0, system = 0;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double memory_mib(pid_t pid, const std::string& name) {
  std::istringstream lines(read_text("/proc/" + std::to_string(pid) + "/smaps_rollup"));
  std::string key;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    double kib = 0;
    if (words >> key >> kib && key == name) return kib / 1024;
  }
  throw LabFailure("no " + name + " of process " + std::to_string(pid));
}

double private_mib(pid_t pid) {
  return memory_mib(pid, "Private_Dirty:") + memory_mib(pid, "Private_Clean:");
}

}  // namespace homeport::lab
