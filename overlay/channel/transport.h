// What the kernel knows of a channel's TCP connection, and how its packets are marked.
#pragma once

#include "policy/error.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace homeport::overlay {

/// By tcp_info (linux/tcp.h), of what this side sends, where it does not say otherwise.
struct TransportFigures {
  std::uint64_t acknowledged = 0;    ///< bytes, since the connection stands
  std::uint64_t queued = 0;          ///< bytes that were written and are not acknowledged yet
  std::chrono::microseconds busy{};  ///< in which there were any of them
  /// Of that, the time in which the peer had no room: it, and not the path, set the pace.
  std::chrono::microseconds held_up_by_peer{};
  std::uint64_t bytes_per_second = 0;  ///< as delivered lately
  bool sender_limited = false;         ///< by how much there was to send
  std::uint64_t received = 0;          ///< bytes from the peer, since the connection stands
  /// Since the last acknowledgement of the peer's, also one of nothing new, and its last data.
  std::chrono::milliseconds since_acknowledged{}, since_received{};
};

/// Of the socket of a TCP connection.
policy::Result<TransportFigures> transport_figures(int socket);

/// Bulk's mark on the packets of a lane: a router that knows of it, or this host's own queues, let
/// others go first. For sockets of both address families, before or after they are connected.
policy::Result<void> mark_as_bulk(int socket, bool ipv6);

/// So little of what is written waits in the kernel without having been sent: of several lanes each
/// takes what it can carry, and what it takes is gone soon.
policy::Result<void> keep_little_unsent(int socket);

/// The congestion control that a connection has, by the kernel's name for it (tcp(7)).
policy::Result<std::string> congestion_control(int socket);
/// Gives it another, also while it sends. Errors: no_such_file_or_directory where the kernel does
/// not have it, operation_not_permitted where this process may not use it.
policy::Result<void> use_congestion_control(int socket, const std::string& name);

/// One that measures what the path carries and sends that much (BBR, tcp_bbr of the kernel). Others
/// send more and more until something is lost: until the queue before the narrowest link is full,
/// and whatever else is sent there waits behind it.
inline constexpr char kShortQueues[] = "bbr";

}  // namespace homeport::overlay
