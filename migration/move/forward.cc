#include "migration/move/forward.h"

#include "overlay/link/tap.h"
#include "overlay/link/tap_queue.h"
#include "overlay/pause.h"

#include <chrono>

namespace homeport::migration {

namespace {

constexpr std::size_t kBurst = 64;

}  // namespace

boost::asio::awaitable<std::size_t> forward_all(const std::vector<overlay::UniqueFd>& queues) {
  std::size_t forwarded = 0;
  for (const overlay::UniqueFd& queue : queues) {
    // Bounded, so that an address that is not elsewhere after all cannot keep this going for ever.
    for (std::size_t bursts = 0; bursts < 2 * overlay::kTapQueueLength / kBurst; ++bursts) {
      forwarded += overlay::forward_waiting(queue.get(), kBurst);
      const auto empty = overlay::tap_queue_empty(queue.get());
      if (!empty || *empty) break;
      co_await overlay::pause(std::chrono::milliseconds(1));
    }
  }
  co_return forwarded;
}

}  // namespace homeport::migration
