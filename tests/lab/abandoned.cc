// Removing what a lab left whose process was killed before it could clean up.
#include <sys/mount.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/lab/cleanup.h"
#include "tests/lab/lab.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> abandoned_below(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(directory, missing)) {
    if (is_abandoned(entry.path().filename())) found.push_back(entry.path());
  }
  return found;
}

/// Ends the processes that are in the namespace at `place`, then removes it.
void remove_namespace(const fs::path& place) {
  const auto pids = run_command({"ip", "netns", "pids", place.filename().string()});
  std::istringstream numbers(pids.out);
  for (pid_t pid = 0; numbers >> pid;) ::kill(pid, SIGKILL);
  run_command({"ip", "netns", "del", place.filename().string()});
}

void unmount_below(const fs::path& directory) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    const auto fields = words(line);
    if (fields.size() > 1 && fields[1].starts_with(directory.string() + "/")) {
      umount2(fields[1].c_str(), MNT_DETACH);
    }
  }
}

}  // namespace

void remove_abandoned_labs() {
  for (const auto& place : abandoned_below("/run/netns")) remove_namespace(place);
  for (const auto& place : abandoned_below(fs::temp_directory_path())) {
    unmount_below(place);
    std::error_code error;
    fs::remove_all(place, error);
  }
  for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    for (const auto& place : abandoned_below(root)) {
      remove_control_group(place);
    }
  }
}

}  // namespace homeport::lab
