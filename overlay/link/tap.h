// Taps: the devices virtual machines are connected through (Documentation/networking/tuntap.rst).
#pragma once

#include "overlay/link/link.h"
#include "overlay/link/unique_fd.h"

#include <cstdint>
#include <string>

namespace homeport::overlay {

/// Packets a tap can hold while its guest is stopped: 2 s at 10,000 packets/s.
inline constexpr std::uint32_t kTapQueueLength = 20'000;

struct TapOptions {
  std::string name;
  std::uint32_t mtu = 1500;
  std::uint32_t tx_queue_length = kTapQueueLength;
};

/// Creates a persistent tap with one queue and virtio-net headers, as QEMU expects, and brings it
/// up. It outlives the caller; delete_device() removes it. IPv6 address generation is off, so that
/// the host sends nothing of its own into the tap. errc::file_exists when the name is taken.
///
/// A tap that nobody has open drops everything: open its queue before traffic is sent to it.
Result<Link> create_tap(const TapOptions& options);

/// Opens the tap's queue (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), close-on-exec, non-blocking. The
/// descriptor can be handed to QEMU (`-netdev tap,fd=` or QMP `getfd`). Only one process reads: a
/// second open of the same tap is refused by the kernel with errc::device_or_resource_busy, but
/// copies of one descriptor share the queue and keep it alive.
Result<UniqueFd> open_tap_queue(const std::string& name);

/// Puts a frame that means nothing into the tap (an EtherType for experiments, IEEE 802, to no
/// address), for what its being read tells. QEMU reads the next frame only when the guest has been
/// given the one before; while the guest is not running it reads one ahead and keeps it.
///
/// - A stopped guest whose device state is still to be loaded: the frame read ahead will reach it
///   garbled, because it may have agreed on another virtio-net header. This is that frame.
/// - A guest that is about to be stopped: once this frame is read, every one before it is in the
///   guest's memory and none in QEMU's own queue, where it would be lost.
///
/// Blocks for one RCU grace period (up to 50 ms): the kernel waits for it where a packet socket
/// ends.
Result<void> put_blank_frame(const std::string& name);

/// Whether the reader has taken everything out of the queue. `queue_fd` is any copy of the
/// queue's descriptor. Exact at the moment of the call, also when packets are segmented for
/// guests without offloads (which makes comparing packet counters unreliable).
Result<bool> tap_queue_empty(int queue_fd);

/// Returns when every frame the kernel was handling at the time of the call has reached the queue
/// it was going to: after a change of the datapath, no frame that saw the state before is still on
/// its way to a tap. Without it a frame may enter a queue that was just found empty. Blocks for one
/// RCU grace period (membarrier(2), or the end of a packet socket where the kernel was booted with
/// nohz_full=): up to 50 ms, microseconds where they are expedited.
Result<void> wait_for_frames_in_flight();

}  // namespace homeport::overlay
