// Which numbered datagrams passed a guest's tap, in which direction.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/lab/clients.h"
#include "tests/lab/namespace.h"

namespace homeport::lab {

/// The numbers seen on taps: tells a datagram lost or overtaken on the way from one inside a guest.
class TapRecord {
 public:
  /// How many passed a tap after a higher number had passed it in that direction.
  std::atomic<std::uint64_t> overtaken_to_guest{0}, overtaken_from_guest{0};

  void mark_to_guest(std::uint64_t number) { mark(to_guest_, number); }
  void mark_from_guest(std::uint64_t number) { mark(from_guest_, number); }
  bool to_guest(std::uint64_t number) const { return has(to_guest_, number); }
  bool from_guest(std::uint64_t number) const { return has(from_guest_, number); }

 private:
  void mark(std::vector<bool>& set, std::uint64_t number);
  bool has(const std::vector<bool>& set, std::uint64_t number) const;

  mutable std::mutex mutex_;  // watches of several hosts write to one record
  std::vector<bool> to_guest_, from_guest_;
};

/// A packet socket (packet(7)) for every device of a namespace; records the numbered datagrams
/// of devices whose kind is tun, whenever such a device comes or goes.
class TapWatch {
 public:
  TapWatch(const Namespace& inside, TapRecord& record);
  ~TapWatch();
  TapWatch(const TapWatch&) = delete;
  TapWatch& operator=(const TapWatch&) = delete;

 private:
  void work();

  TapRecord& record_;
  int socket_ = -1;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// Where the datagrams without an answer were lost.
struct LossPlaces {
  std::uint64_t before_tap = 0;    ///< on the way to the guest's tap
  std::uint64_t inside_guest = 0;  ///< between the tap and the guest's answer, QEMU included
  std::uint64_t after_tap = 0;     ///< on the way back
  std::uint64_t all() const { return before_tap + inside_guest + after_tap; }
  std::string to_string() const;
};

/// `to` and `from` bound the datagrams by when they were sent.
LossPlaces locate_losses(const DatagramReport& report, const TapRecord& taps,
                         Clock::time_point from = Clock::time_point::min(),
                         Clock::time_point to = Clock::time_point::max());

/// The same for each of the moves that began at `starts`, in order. A datagram belongs to the move
/// that began before it, those before all moves to the first: none is left out. What the guest's
/// own kernel dropped, `guest_drops` by its count, is not counted: it is not a loss of the
/// network's.
std::vector<LossPlaces> losses_per_move(const DatagramReport& report, const TapRecord& taps,
                                        const std::vector<Clock::time_point>& starts,
                                        std::uint64_t guest_drops);

}  // namespace homeport::lab
