// OVN on Open vSwitch, from the distribution's packages.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/cutover/system.h"
#include "tests/lab/cleanup.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// How OVN is told of a move (ovn-nb(5), Logical_Switch_Port, options).
enum class OvnMove {
  /// requested-chassis names both hosts and activation-strategy is rarp: the port is ready on the
  /// destination before the move, and blocked there until the application sends a RARP request.
  activation,
  /// requested-chassis is changed from the one host to the other at the moment of the move.
  rebinding,
};

/// Geneve tunnels, three chassis and the two databases with ovn-northd on a network of their own.
/// The datapath is Open vSwitch's in userspace (datapath_type=netdev), so that it runs where the
/// kernel has no openvswitch module. Daemons have the niceness that their own start scripts give
/// them (ovs-ctl(8), ovn-ctl(8)).
class OvnSystem : public System {
 public:
  /// `root`: where OVN's packages are unpacked.
  OvnSystem(const std::filesystem::path& root, OvnMove how);
  const Containers& containers() const override { return hosts_.containers(); }
  void move(Place to, MovingFlow& flow) override;

 private:
  std::filesystem::path program(const std::string& name) const { return root_ / "usr/bin" / name; }
  std::filesystem::path host_directory(std::size_t host) const;
  void start(Command command, const std::string& name, const std::filesystem::path& run_directory,
             const Namespace& inside);
  void start_database(const std::string& name, const std::filesystem::path& schema,
                      const std::filesystem::path& directory, const Namespace& inside,
                      const std::string& remote = {});
  void start_central();
  void start_chassis(std::size_t host);
  void add_network();
  std::string vsctl(std::size_t host, const std::string& arguments) const;
  std::string nbctl(const std::string& arguments) const;
  std::string sbctl(const std::string& arguments) const;
  /// Waits until the southbound database has that of the application's port.
  void wait_binding(const std::string& columns) const;
  std::string chassis(Place place) const { return chassis_.at(index(place)); }

  std::filesystem::path root_;
  OvnMove how_;
  Place place_ = Place::a;
  std::filesystem::path directory_;
  Cleanup cleanup_;
  Switch management_;
  PlainHosts hosts_;
  std::vector<std::string> chassis_;  // their rows' UUIDs
  std::vector<std::unique_ptr<Process>> daemons_;
  Cleanup ending_;  // of the daemons, a client before its server
};

}  // namespace homeport::lab
