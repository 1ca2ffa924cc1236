// Receives guest memory on lanes, on a thread of its own, into the memory of the moves that are
// expected.
//
// The lane server's handler and expect()/forget() all run on the lanes' executor, so that nothing
// here needs a lock; the control thread reaches it by co_spawn.
#pragma once

#include "migration/memory/guest_memory.h"
#include "migration/memory/page_store.h"
#include "overlay/channel/channel.h"

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace homeport::migration {

/// The memory that one move is received into.
struct LaneTarget {
  std::string move_id;
  std::string source;  ///< the only host whose lanes are taken
  std::vector<GuestMemory> memory;
  std::unique_ptr<PageStore> store;  ///< over `memory`
  /// Called on the lanes' executor when a lane ends otherwise than in good order.
  std::function<void(policy::Error)> on_failure;
};

class LaneReceiver {
 public:
  void expect(LaneTarget target);
  /// Closes the move's lanes and lets go of its memory.
  void forget(const std::string& move_id);

  /// An error unless every page of the move's memory has been received.
  policy::Result<void> check_complete(const std::string& move_id) const;

  /// Serves one lane until it ends.
  boost::asio::awaitable<void> serve(overlay::Channel lane);

 private:
  struct Incoming {
    LaneTarget target;
    std::vector<std::shared_ptr<overlay::Channel>> lanes;
  };

  std::map<std::string, std::shared_ptr<Incoming>> incoming_;
};

}  // namespace homeport::migration
