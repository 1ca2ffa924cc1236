// The agent as a whole.
#pragma once

#include "agent/config.h"
#include "migration/move/source_move.h"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>

namespace homeport::agent {

/// One agent on one host, on a control thread that runs `control`. Guests, ports and programmed
/// traffic outlive it.
class Agent {
 public:
  /// Builds everything and begins; throws boost::system::system_error with one sentence for the
  /// operator if it cannot. `hold` is for tests: called at named points of a move.
  Agent(boost::asio::io_context& control, const Config& config, migration::HoldPoint hold = {});
  ~Agent();

  /// Ends what is under way as well as it can, for a few seconds at most, and calls `done`, with
  /// false if something is under way still: the agent must then not be destroyed.
  void shut_down(std::function<void(bool all_ended)> done);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace homeport::agent
