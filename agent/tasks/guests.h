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

  /// Resumes the guest that an ended agent had stopped on the way to a commit that it never sent:
  /// it is nobody else's, whatever the control database says once it is heard.
  boost::asio::awaitable<void> resume_interrupted(std::string application);

  /// Finds the guests that run here, started by an earlier agent or by somebody else. `but` are
  /// those of moves to here, which are taken up by the move.
  boost::asio::awaitable<void> adopt(std::set<std::string> but);

  /// Waits until it is certain whether the guest of an application runs here: a program that hangs
  /// may go on.
  boost::asio::awaitable<void> settle(std::string application);

  boost::asio::awaitable<policy::Result<void>> start(std::string application);
  boost::asio::awaitable<policy::Result<void>> stop(std::string application);

  /// The guest of an application that is here, adopted first if somebody else started it.
  boost::asio::awaitable<policy::Result<std::shared_ptr<migration::Vm>>> find(
      std::string application);
  bool running(const std::string& application) const { return guests_.contains(application); }
  /// The same for what lives behind a device of its own, and is where the control database says.
  bool present(const std::string& application) const;
  /// Those that run here, and those that an earlier agent started here.
  std::set<std::string> known() const;
  /// Drops a lost connection and waits as settle() does; nullptr when the guest has ended.
  boost::asio::awaitable<std::shared_ptr<migration::Vm>> reconnect(std::string application);

  /// A guest came to run here by a move.
  void add(const std::string& application, std::shared_ptr<migration::Vm> vm);
  /// The guest of a move has ended here because it runs elsewhere; removes its files.
  void departed(const std::string& application);

  /// Stops guests that run here although the control database, by a generation this host did not
  /// write, says that they are elsewhere. A move under way looks after its own.
  void obey();

  /// The ports of an application as the control database describes them.
  policy::Result<std::vector<migration::PortSpec>> ports_of(const std::string& application) const;

 private:
  boost::asio::awaitable<policy::Result<migration::Vm>> reach(std::string application);
  boost::asio::awaitable<bool> look_for(std::string application);
  bool elsewhere(const std::string& application) const;
  boost::asio::awaitable<void> fence(std::string application);
  void watch(std::string application, std::shared_ptr<migration::Vm> vm);
  void clean_up(const std::string& application);

  boost::asio::any_io_executor executor_;
  const ControlDatabase& database_;
  VirtualNetwork& network_;
  migration::QemuDriver& driver_;
  std::string host_;
  std::uint32_t mtu_limit_;
  std::map<std::string, std::shared_ptr<migration::Vm>> guests_;
  std::set<std::string> fenced_;   ///< stopped by obey()
  std::set<std::string> orphans_;  ///< run here and are not in the control database
};

}  // namespace homeport::agent
