// Sends a running guest's memory to the destination of a move: rounds of pages that were written
// since the last, until what is left fits the downtime that the move may cost.
//
// Lives on the bulk executor (a thread of its own), where it reads guest memory in place and sends
// it on lanes (lane_set.h); only progress(), use_paths() and cancel() may be called from other
// threads.
#pragma once

#include "migration/memory/dirty_tracker.h"
#include "migration/memory/guest_memory.h"
#include "migration/memory/page_ledger.h"
#include "migration/move/lane_set.h"
#include "migration/vm/ram_map.h"
#include "overlay/channel/channel.h"
#include "overlay/link/unique_fd.h"
#include "overlay/log/line.h"
#include "policy/convergence.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace homeport::migration {

struct CopierSetup {
  boost::asio::any_io_executor executor;  ///< the bulk executor
  overlay::log::About about;              ///< the move, for the log
  pid_t pid = 0;                          ///< the guest's process
  std::vector<RamBlock> blocks;           ///< its memory, in the order agreed with the destination
  std::vector<overlay::UniqueFd> files;   ///< the file behind each block
  /// Reads from disk may land in memory that was reported as written before: keep a hash of what
  /// was sent and compare after each barrier.
  bool pinned_io = false;
  /// Brings the guest's I/O to rest for a moment and lets it go on.
  std::function<boost::asio::awaitable<policy::Result<void>>()> barrier;

  std::vector<boost::asio::ip::tcp::endpoint>
      lane_endpoints;  ///< where the destination takes lanes
  overlay::ConnectOptions lane;
  std::optional<overlay::TlsContext> tls;
  overlay::PeerCheck peer_check;
  std::function<void(std::vector<LaneReport>)> report;  ///< LaneSetup::report
  policy::ConvergenceLimits limits;
};

struct CopyProgress {
  std::uint64_t ram_bytes = 0;         ///< size of the guest's memory
  std::uint64_t bytes_sent = 0;        ///< on all lanes, before encryption
  std::uint64_t bytes_left = 0;        ///< known to be still to send
  std::uint64_t bytes_per_second = 0;  ///< lately
  std::uint32_t rounds = 0;
};

class MemoryCopier : public std::enable_shared_from_this<MemoryCopier> {
 public:
  explicit MemoryCopier(CopierSetup setup);
  MemoryCopier(const MemoryCopier&) = delete;
  MemoryCopier& operator=(const MemoryCopier&) = delete;
  ~MemoryCopier();

  /// What LanePaths::Changed says.
  void use_paths(std::vector<LanePath> paths);

  /// Opens the lanes and attaches to the guest at the first call. Ends when it is time to stop
  /// the guest; may be called again when the stop had to be put off.
  boost::asio::awaitable<policy::Result<void>> copy_until_converged();
  /// With the guest stopped: everything that is left. Done when the destination has it in place;
  /// the lanes are closed then.
  boost::asio::awaitable<policy::Result<void>> copy_rest();

  /// The copy under way, and any later one, ends with operation_canceled.
  void cancel();
  CopyProgress progress() const;

 private:
  /// The guest's memory here, and what of it is to be sent.
  struct Captured {
    std::vector<GuestMemory> memory;
    PageLedger ledger;
  };

  boost::asio::awaitable<policy::Result<void>> open();
  policy::Result<void> attach();
  boost::asio::awaitable<policy::Result<void>> send_round(LaneSet::Guest guest);
  policy::Result<void> scan();
  policy::Result<void> check_cancelled() const;
  void publish();

  CopierSetup setup_;
  std::shared_ptr<LaneSet> lanes_;
  std::optional<DirtyTracker> tracker_;
  std::shared_ptr<Captured> captured_;
  std::shared_ptr<PageLedger> ledger_;  ///< of captured_, which it keeps
  std::chrono::steady_clock::time_point began_{}, rate_since_{};
  std::uint64_t rate_from_ = 0;  ///< bytes that were sent by then
  std::vector<policy::CopyRound> rounds_;

  /// What progress() and cancel() share with the bulk thread: single figures, each true by itself.
  struct Shared {
    std::atomic<bool> cancelled{false};
    std::atomic<std::uint64_t> ram_bytes{0}, bytes_sent{0}, bytes_left{0}, bytes_per_second{0};
    std::atomic<std::uint32_t> rounds{0};
  } shared_;
};

}  // namespace homeport::migration
