// A real Open vSwitch of a test's own: ovsdb-server and ovs-vswitchd with a directory of their own,
// in a network namespace. Its datapath is the one in ovs-vswitchd ("netdev"), which needs no kernel
// module. Both end with the object, and with the test program if that crashes.
#pragma once

#include "overlay/vswitch/bridge.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <sys/types.h>

#include <string>
#include <vector>

namespace homeport::test {

class TestSwitch {
 public:
  /// `net_namespace`: a descriptor, -1 for the namespace of the caller.
  explicit TestSwitch(int net_namespace = -1);
  ~TestSwitch();
  TestSwitch(const TestSwitch&) = delete;
  TestSwitch& operator=(const TestSwitch&) = delete;

  /// How a bridge of that name is reached.
  overlay::vswitch::BridgeOptions bridge(const std::string& name) const;
  /// ovs-vsctl and ovs-appctl with these arguments, which must succeed; what they print.
  std::string vsctl(std::vector<std::string> arguments) const;
  std::string appctl(std::vector<std::string> arguments) const;
  /// The same of ovs-ofctl: a command, a bridge, what follows.
  std::string ofctl(std::vector<std::string> arguments) const;
  /// By OpenFlow 1.0, which alone has some settings of ports.
  std::string ofctl10(std::vector<std::string> arguments) const;
  /// Ends ovs-vswitchd (kill -9), and starts it again.
  void kill_daemon();
  void start_daemon();
  /// Stops and continues the process of ovs-vswitchd.
  void freeze_daemon();
  void thaw_daemon();

 private:
  std::string file(const std::string& name) const { return directory_.path() / name; }
  pid_t spawn(std::vector<std::string> command) const;
  std::string run(std::vector<std::string> command) const;
  std::string ofctl(const std::string& version, std::vector<std::string> arguments) const;

  TemporaryDirectory directory_;
  int net_namespace_;
  pid_t server_ = -1, daemon_ = -1;
};

}  // namespace homeport::test
