#include "overlay/link/tap_queue.h"

#include <unistd.h>

#include <array>

namespace homeport::overlay {

std::size_t forward_waiting(int queue_fd, std::size_t most) {
  // The largest GSO packet with its headers (64 KiB), and the virtio-net header before it.
  static thread_local std::array<char, 80 * 1024> packet;
  std::size_t forwarded = 0;
  for (std::size_t i = 0; i < most; ++i) {
    const ssize_t size = ::read(queue_fd, packet.data(), packet.size());
    if (size <= 0) break;  // EAGAIN: empty
    if (::write(queue_fd, packet.data(), static_cast<std::size_t>(size)) == size) ++forwarded;
  }
  return forwarded;
}

}  // namespace homeport::overlay
