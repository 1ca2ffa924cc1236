// The VMs that run on this host, by application.
#pragma once

#include "agent/control/database.h"
#include "agent/network/virtual_network.h"
#include "migration/vm/qemu_driver.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only.
class Guests {
 public:
  Guests(boost::asio::any_io_executor executor, const ControlDatabase& database,
         VirtualNetwork& network, migration::QemuDriver& driver, std::string host,
         std::uint32_t mtu_limit);

  /// Finds the guests that an earlier agent started. `but` are those of moves that are under way,
  /// which are taken up by the move.
  boost::asio::awaitable<void> adopt(std::set<std::string> but);

  boost::asio::awaitable<policy::Result<void>> start(std::string application);
  boost::asio::awaitable<policy::Result<void>> stop(std::string application);

  /// The guest of an application that is here, adopted first if somebody else started it.
  boost::asio::awaitable<policy::Result<std::shared_ptr<migration::Vm>>> find(
      std::string application);
  bool running(const std::string& application) const { return guests_.contains(application); }

  /// A guest came to run here by a move.
  void add(const std::string& application, std::shared_ptr<migration::Vm> vm);
  /// The guest of a move has ended here because it runs elsewhere; removes its files.
  void departed(const std::string& application);
  /// A move away from here has ended: cleans up after a guest whose process ended meanwhile.
  void move_ended(const std::string& application);

  /// Stops guests that run here although the control database, by a generation this host did not
  /// write, says that they are elsewhere. A move under way looks after its own.
  void obey();

  /// The ports of an application as the control database describes them.
  policy::Result<std::vector<migration::PortSpec>> ports_of(const std::string& application) const;

 private:
  void watch(std::string application, std::shared_ptr<migration::Vm> vm);
  void clean_up(const std::string& application);

  boost::asio::any_io_executor executor_;
  const ControlDatabase& database_;
  VirtualNetwork& network_;
  migration::QemuDriver& driver_;
  std::string host_;
  std::uint32_t mtu_limit_;
  std::map<std::string, std::shared_ptr<migration::Vm>> guests_;
  std::set<std::string> fenced_;  ///< stopped by obey()
};

/// A positive whole number among an application's properties, such as "memory_mib".
policy::Result<std::uint64_t> number_property(const Application& application,
                                              const std::string& name, std::uint64_t fallback);

}  // namespace homeport::agent
