// Starts VMs from launch profiles and finds those that run already.
//
// A VM has a name, and with it: a folder of its own in the runtime directory (monitor socket, log),
// a memory file in the memory directory, a cgroup. Its process is a session of its own in that
// cgroup and outlives the agent, which finds it again by its monitor's socket.
#pragma once

#include "migration/vm/launch_profile.h"
#include "migration/vm/vm.h"
#include "policy/address.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace homeport::migration {

struct QemuDriverOptions {
  std::filesystem::path profile_dir = "/etc/homeport/launch.d";
  std::filesystem::path runtime_dir = "/run/homeport/vms";
  std::filesystem::path memory_dir = "/dev/shm/homeport";  ///< on a tmpfs
  /// In a cgroup v2 hierarchy; each VM gets a folder below. Empty: VMs stay in the agent's cgroup.
  std::filesystem::path cgroup_dir = "/sys/fs/cgroup/homeport-guests";
  std::chrono::milliseconds start_timeout{10'000};  ///< from exec until the monitor answers
};

struct VmSpec {
  std::string name;                   ///< see is_plain_name()
  policy::Generation generation = 0;  ///< makes the memory file's name unique
  std::string launch_profile;
  std::uint64_t memory_mib = 0;
  std::uint32_t vcpus = 1;
  std::vector<LaunchNic> nics;  ///< tap_fd: an attached tap queue, stays the caller's
};

enum class LaunchMode {
  boot,      ///< stopped before its first instruction; cont() starts it
  incoming,  ///< waits for load_device_state()
};

class QemuDriver {
 public:
  explicit QemuDriver(QemuDriverOptions options);

  /// Creates the memory file (exclusively, 0600), starts the program, waits until its monitor
  /// answers. On failure everything made is removed again and the error quotes the program's last
  /// words. "Destination out of memory" is errc::not_enough_memory, found out before the start.
  boost::asio::awaitable<policy::Result<Vm>> launch(VmSpec spec, LaunchMode mode);

  /// The running VM behind a monitor socket, whoever started it.
  boost::asio::awaitable<policy::Result<Vm>> adopt(std::string name,
                                                   std::filesystem::path qmp_socket);
  /// The same for one that launch() started, now or before the agent was restarted.
  boost::asio::awaitable<policy::Result<Vm>> adopt(std::string name);

  /// Names that have a runtime folder here, running or not; sorted.
  std::vector<std::string> known() const;
  /// Removes what a VM that is gone left behind (runtime folder, memory files, cgroup). Fails with
  /// errc::device_or_resource_busy when something still answers on its monitor's socket.
  policy::Result<void> remove(const std::string& name);

  std::filesystem::path qmp_socket(const std::string& name) const;
  std::filesystem::path log_file(const std::string& name) const;
  std::filesystem::path memory_file(const std::string& name, policy::Generation generation) const;

 private:
  QemuDriverOptions options_;
};

}  // namespace homeport::migration
