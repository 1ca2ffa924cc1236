// The lanes of one move on the source's side: one on each of the paths that lane_choice.h chooses,
// opened, watched, and opened again. Each takes the next pages when it has room, so that all are
// busy as long as there is work.
//
//   wanted --> connecting --> open --> lost: an error, silence, or its path is wanted no more
//      ^            |                    |
//      '-- later ---'                    '--> what it has sent and the destination has not
//      '---------------------------------'    confirmed goes back into the ledger
//
// Every lane asks again and again, between pages, to confirm what it has sent (a flush): what is
// sent twice when a lane is lost is little. A round is done when all of it is confirmed.
//
// While the guest runs lanes keep the queues on their way short; while it is stopped they get
// through as fast as any connection of this host.
//
// Lives on the bulk executor and is used only there.
#pragma once

#include "migration/memory/page_ledger.h"
#include "migration/move/lane_choice.h"
#include "migration/move/lane_paths.h"
#include "overlay/channel/channel.h"
#include "overlay/log/line.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

namespace homeport::migration {

struct LaneTimes {
  /// So long there may be no lane at all: with the guest running, and stopped.
  std::chrono::milliseconds patience{15'000}, patience_stopped{1000};
  /// How long the destination may take to write what it has received into memory.
  std::chrono::milliseconds flush{15'000};
  std::chrono::milliseconds report{250};                   ///< from one report to the next
  std::chrono::milliseconds retry{100}, retry_most{2000};  ///< of a path, doubled each time
};

struct LaneSetup {
  boost::asio::any_io_executor executor;                  ///< the bulk executor
  overlay::log::About about;                              ///< the move, for the log
  std::vector<boost::asio::ip::tcp::endpoint> endpoints;  ///< where the destination takes lanes
  overlay::ConnectOptions connect;
  std::optional<overlay::TlsContext> tls;
  overlay::PeerCheck peer_check;
  /// Called on the bulk executor with all lanes that there are or were, the oldest first, each time
  /// one comes or goes, a few times a second, and at the end; or empty.
  std::function<void(std::vector<LaneReport>)> report;
  LaneTimes times = {};
};

class LaneSet : public std::enable_shared_from_this<LaneSet> {
 public:
  explicit LaneSet(LaneSetup setup);
  ~LaneSet();
  LaneSet(const LaneSet&) = delete;
  LaneSet& operator=(const LaneSet&) = delete;

  /// See LanePaths::Changed; until it is called there are none.
  void use_paths(std::vector<LanePath> paths);
  /// Begins to connect, at the first call, and waits until a lane stands.
  boost::asio::awaitable<policy::Result<void>> open();

  enum class Guest { runs, is_stopped };
  /// Between pages, to look at the guest's memory; what fails ends the round.
  using Look = std::function<policy::Result<void>()>;
  /// Sends the round that has begun; done when the destination has it in its guest's memory, but
  /// for what was put back because a lane was lost. `look` is called every `interval`. The ledger
  /// and the memory it is over stay until the last lane has let go of them. Errors: timed_out where
  /// there was no lane for too long or nothing is confirmed; eof or permission_denied where the
  /// destination has let go of the move.
  boost::asio::awaitable<policy::Result<void>> send_round(std::shared_ptr<PageLedger> ledger,
                                                          Guest guest, Look look,
                                                          std::chrono::milliseconds interval);

  /// Queues are kept short no more, also while the guest runs: other traffic leaves too little.
  void press();

  /// Ends all lanes, and what waits for them with operation_canceled. Must be called.
  void close();

  std::uint64_t bytes_sent() const;  ///< frames, before encryption
  std::size_t open_lanes() const;

 private:
  struct Lane;
  using LanePtr = std::shared_ptr<Lane>;
  using Clock = std::chrono::steady_clock;
  struct Later {
    LaneRoute route;
    Clock::time_point at;
    Clock::duration wait;
  };

  // Coroutines on their own; the lane is alive as long as one of its.
  static boost::asio::awaitable<void> keep(std::shared_ptr<LaneSet> self);
  static boost::asio::awaitable<void> serve(std::shared_ptr<LaneSet> self, LanePtr lane);
  static boost::asio::awaitable<void> feed(std::shared_ptr<LaneSet> self, LanePtr lane);
  boost::asio::awaitable<policy::Result<void>> connect(Lane& lane);

  void review();
  void begin_wanted(const std::vector<LaneRoute>& wanted);
  void check_silence(Clock::time_point now);
  void report();
  LaneReport& known(const Lane& lane);
  void lose(LanePtr lane, policy::Error why);
  bool tried_before(const LaneRoute& route) const;
  void try_later(const LaneRoute& route);
  void fail(policy::Error why);
  policy::Result<void> check_lanes() const;
  void set_manners(Lane& lane);
  bool leave_to_others(const Lane& lane) const;
  bool confirmed() const;
  void wake();

  LaneSetup setup_;
  std::vector<LanePath> paths_;
  std::list<LanePtr> lanes_;  ///< connecting or open
  std::vector<Later> later_;
  std::vector<LaneReport> known_;  ///< at most kMostKnown lanes that there are or were
  std::shared_ptr<PageLedger> ledger_;
  bool begun_ = false;
  bool feeding_ = false;
  Guest guest_ = Guest::runs;
  bool presses_ = false;
  bool told_manners_ = false;             ///< that lanes cannot have them
  std::optional<policy::Error> failure_;  ///< the end of it all
  std::optional<policy::Error> last_;     ///< why there is no lane
  Clock::time_point without_since_;       ///< a lane; of what is waited for
  Clock::time_point confirmed_at_{};      ///< the last flush, on any lane
  Clock::time_point reported_{};
  std::uint64_t bytes_before_ = 0;  ///< of lanes that are gone
  // They never expire; cancelled when there is something to look at.
  boost::asio::steady_timer keeper_, progress_;
};

}  // namespace homeport::migration
