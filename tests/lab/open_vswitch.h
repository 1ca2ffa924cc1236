// Open vSwitch on a host of the lab, for its agent's datapath of that kind.
#pragma once

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/lab/cleanup.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// A database and an ovs-vswitchd of the host's own, with the datapath in ovs-vswitchd ("netdev").
/// That one sends the tunnel's packets itself and needs the underlay in a bridge of its own:
/// `br-phy` takes over the device and its address, as docs/ovs-datapath.md says.
class OpenVSwitch {
 public:
  OpenVSwitch(const Namespace& host, std::filesystem::path directory, const std::string& underlay,
              const std::string& address);

  /// A bridge of its own for a further device of the underlay, which takes over its address.
  void add_underlay(const std::string& bridge, const std::string& device,
                    const std::string& address);

  const std::filesystem::path& directory() const { return directory_; }

  /// ovs-vsctl, ovs-appctl to ovs-vswitchd, and ovs-ofctl by OpenFlow 1.4 (a command, then what
  /// follows the bridge), with the words of `arguments`; return what they print.
  std::string vsctl(const std::string& arguments) const;
  std::string appctl(const std::string& arguments) const;
  std::string ofctl(const std::string& command, const std::string& bridge,
                    const std::string& arguments = {}) const;
  /// Whether it knows the MAC address of a host to send the tunnel's packets to.
  bool knows_neighbor(const std::string& address) const;
  /// SIGSTOP: ovs-vswitchd answers nobody and carries nothing, until go_on().
  void freeze() { daemon_->send_signal(SIGSTOP); }
  void go_on() { daemon_->send_signal(SIGCONT); }
  /// Whether Homeport takes what that device sends.
  bool takes(const std::string& device) const;

 private:
  Command program(const std::string& name) const;
  Command vsctl_command(const std::string& arguments) const;
  ProcessOptions options(const std::string& log) const;
  std::string socket(const std::string& name) const;

  void enlarge_buffers();

  Cleanup cleanup_;
  const Namespace& host_;
  std::filesystem::path directory_;
  std::unique_ptr<Process> database_, daemon_;
};

}  // namespace homeport::lab
