// Launch profiles: how a host starts a VM. One TOML file each in /etc/homeport/launch.d, written by
// the host's operator. The control database only names a profile; no part of a command line ever
// comes from it except the values below, each of which becomes text inside one argument. No shell
// is involved.
#pragma once

#include "policy/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::migration {

struct LaunchProfile {
  std::string name;
  std::filesystem::path program;       ///< absolute
  std::vector<std::string> arguments;  ///< with {placeholders}; "{{" and "}}" are braces
  std::string user, group;             ///< empty: as the agent
  std::map<std::string, std::string> environment;  ///< all there is, plus PATH
};

struct LaunchNic {
  int tap_fd = -1;
  std::string device;  ///< the tap's name
  std::string mac;
  std::uint32_t mtu = 0;
};

/// What the placeholders stand for. {tap_fd}, {tap}, {mac} and {mtu} are those of the first
/// interface, {tap_fd.1}, {mac.1} ... those of the second, and so on.
struct LaunchValues {
  std::string name;                   // {name}
  std::filesystem::path memory_path;  // {memory_path}: the file that is the guest's RAM
  std::uint64_t memory_mib = 0;       // {memory_mib}
  std::uint32_t vcpus = 1;            // {vcpus}
  std::filesystem::path qmp;          // {qmp}: the monitor's socket, which the driver opens itself
  std::filesystem::path runtime_dir;  // {runtime_dir}: a folder of this VM's own
  std::vector<LaunchNic> nics;
};

/// Parses one profile. An error names `source`, the line and the key. Unknown keys and unknown
/// placeholders are errors.
policy::Result<LaunchProfile> parse_launch_profile(std::string_view text, std::string name,
                                                   const std::string& source);

/// Reads `directory`/`name`.toml. `name` may not contain anything but letters, digits, '.', '-' and
/// '_', so that it cannot lead out of the directory.
policy::Result<LaunchProfile> load_launch_profile(const std::filesystem::path& directory,
                                                  const std::string& name);

/// The profile's arguments with the placeholders filled in. An error names the argument, for
/// instance when it speaks of an interface the VM has not got.
policy::Result<std::vector<std::string>> expand(const LaunchProfile& profile,
                                                const LaunchValues& values);

/// True for a name made of letters, digits, '.', '-' and '_' that does not start with a '.' or '-'.
bool is_plain_name(std::string_view name);

}  // namespace homeport::migration
