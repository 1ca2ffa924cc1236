// A network namespace of the lab.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "tests/lab/cleanup.h"

namespace homeport::lab {

/// A named network namespace (visible in `ip netns`), deleted with the object. Its loopback is up
/// and its TCP uses cubic (or reno), whatever the machine's default is: over veth, bbr paces
/// against a round-trip time of microseconds and retransmits without need.
///
/// A flow stays on one processor (RPS, Documentation/networking/scaling.rst), as on a network card
/// with several queues. Without, a veth hands each packet to the processor its sender is on, and
/// one that has changed processors overtakes what the busy one has still to do: packets of a flow
/// in another order, with no move anywhere near.
class Namespace {
 public:
  /// `name` as in ip-netns(8); must not exist yet. Throws LabFailure.
  explicit Namespace(std::string name);
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;

  const std::string& name() const { return name_; }
  int fd() const { return fd_; }

  /// Runs `work` on a thread inside the namespace and waits for it; passes exceptions on. Mounts
  /// are those of the caller, so that bpffs stays visible (`ip netns exec` would hide it).
  void run(const std::function<void()>& work) const;

  /// Writes /proc/sys/`key` (with slashes) of this namespace.
  void set_sysctl(std::string_view key, std::string_view value) const;

  /// `ip -n NAME ...` and `tc -n NAME ...` with the words of `arguments`; return what they print.
  std::string ip(const std::string& arguments) const;
  std::string tc(const std::string& arguments) const;

  /// Ends every process inside the namespace with SIGKILL and waits until they are gone.
  void kill_processes() const;

 private:
  std::string name_;
  int fd_ = -1;
  Cleanup cleanup_;
};

}  // namespace homeport::lab
