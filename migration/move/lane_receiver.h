// Receives guest memory on lanes, on a thread of its own, into the memory of the moves that are
// expected.
//
// A move has as many lanes as its source opens. One that breaks off is nothing but that: the source
// sends again, on another, what it does not know to have arrived, and by a newer epoch, so that it
// does not matter what of the old one still comes. One that carries what no source may send ends
// the move.
//
// The lane server's handler and what else is here run on the lanes' executor, so that nothing
// needs a lock; the control thread reaches it by co_spawn.
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
  /// Called on the lanes' executor when what came on a lane cannot be taken in.
  std::function<void(policy::Error)> on_failure;
};

class LaneReceiver {
 public:
  void expect(LaneTarget target);
  /// Closes the move's lanes and lets go of its memory.
  void forget(const std::string& move_id);

  /// The source has said that it has sent everything. Its lanes are closed, and from now on nothing
  /// is written to the move's memory any more, whatever is still on its way: the guest may run on
  /// it soon. An error unless every page of it has been received.
  policy::Result<void> seal(const std::string& move_id);

  /// Serves one lane until it ends.
  boost::asio::awaitable<void> serve(overlay::Channel lane);

 private:
  struct Incoming {
    LaneTarget target;
    bool sealed = false;
    std::vector<std::shared_ptr<overlay::Channel>> lanes;
  };

  static boost::asio::awaitable<policy::Result<void>> receive_pages(
      std::shared_ptr<Incoming> incoming, std::shared_ptr<overlay::Channel> lane);
  static void close_lanes(Incoming& incoming);

  std::map<std::string, std::shared_ptr<Incoming>> incoming_;
};

}  // namespace homeport::migration
