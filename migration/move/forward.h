// What a guest has left unread goes to where it is now.
#pragma once

#include "overlay/link/unique_fd.h"

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <vector>

namespace homeport::migration {

/// Sends on what waits in the queues of taps, see overlay::forward_waiting(): all of it, a few
/// packets at a time, for a guest that was slow may have left thousands, and no queue on the way
/// takes those at once. Returns how many.
boost::asio::awaitable<std::size_t> forward_all(const std::vector<overlay::UniqueFd>& queues);

}  // namespace homeport::migration
