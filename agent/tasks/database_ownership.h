// The fence of a move over the control database.
#pragma once

#include "agent/control/database.h"
#include "migration/move/edges.h"

#include <functional>
#include <string>

namespace homeport::agent {

/// Used on the control executor only.
class DatabaseOwnership : public migration::Ownership {
 public:
  /// `own_status` is this host's Host_Status row: writing it again is the round trip that answers()
  /// makes.
  DatabaseOwnership(ControlDatabase& database, std::function<HostStatus()> own_status)
      : database_(database), own_status_(std::move(own_status)) {}

  boost::asio::awaitable<migration::CommitOutcome> pass(std::string application, std::string from,
                                                        std::string to,
                                                        policy::Generation generation) override;
  boost::asio::awaitable<policy::Result<migration::Owner>> owner(std::string application) override;
  std::optional<migration::Owner> last_seen(const std::string& application) const override;
  boost::asio::awaitable<bool> answers(std::chrono::milliseconds timeout) override;

 private:
  ControlDatabase& database_;
  std::function<HostStatus()> own_status_;
};

}  // namespace homeport::agent
