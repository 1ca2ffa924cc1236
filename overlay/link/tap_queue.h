// What waits in the receive queue of a guest that will not read it any more.
#pragma once

#include <cstddef>

namespace homeport::overlay {

/// Reads packets out of the queue, `most` of them, and writes each back into the same tap, where it
/// enters the network as if the guest had sent it: it goes to wherever the network now says that
/// its destination address is. `queue_fd` is any copy of the queue's descriptor; packets travel
/// with the virtio-net header they have. Returns how many were sent on. Call only once the address
/// of the guest is elsewhere: it would come straight back otherwise.
///
/// A burst must fit the queues behind it: net.core.netdev_max_backlog, 1,000 packets, is the least.
std::size_t forward_waiting(int queue_fd, std::size_t most);

}  // namespace homeport::overlay
