// Probes of a way between two hosts, inside the overlay's own encapsulation: what is measured is
// what traffic gets.
//
// An ask is a VXLAN packet of network 0, which no application has, from one address of this host to
// one of another. The other host's datapath sends it back the way it came, without its agent, and
// this one's datapath notes when the answer came: how busy the agents are is not measured along.
#pragma once

#include "policy/address.h"
#include "policy/error.h"

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace homeport::overlay {

/// Of the same family.
struct ProbePair {
  policy::IpAddress local, remote;
  std::weak_ordering operator<=>(const ProbePair&) const = default;
  bool operator==(const ProbePair&) const = default;
};

/// Moments are of the steady clock, which is CLOCK_MONOTONIC, as bpf_ktime_get_ns() tells it.
using ProbeTime = std::chrono::steady_clock::time_point;

struct ProbeAsk {
  ProbePair pair;
  std::uint64_t token = 0;  ///< comes back in the answer: who does not see asks cannot forge one
  /// Bytes of the outer IP packet; what is smaller than the smallest is that. What is longer than
  /// the smallest is never cut on its way (DF). The answer is of the same size.
  std::uint32_t size = 0;
};

struct ProbeAnswer {
  ProbePair pair;  ///< of the ask
  std::uint64_t token = 0;
  /// Received by the kernel's datapath; where Open vSwitch is that, by this process.
  ProbeTime sent{}, received{};
  std::uint32_t size = 0;  ///< bytes of the outer IP packet, as asked
  /// How many asks of this pair have come to the other host, this one included, since some moment:
  /// what it is by more than before is what has arrived since. None: its datapath does not count.
  std::optional<std::uint64_t> heard = {};
};

/// Asks of another host that have come here, and were answered.
struct ProbesHeard {
  ProbePair pair;           ///< `remote` has asked `local`
  std::uint64_t count = 0;  ///< since some moment: from 0 again when the pair has been left out
  ProbeTime last{};
};

/// What applications' traffic shows of a way without being asked.
struct WayUsed {
  ProbePair pair;
  std::optional<ProbeTime> sent = {};  ///< when a frame was last sent from `local` to `remote`
  /// When a frame last came from `remote`, to whichever address of this host.
  std::optional<ProbeTime> heard = {};
  /// Both are told within some milliseconds and right to that; otherwise within a second.
  bool prompt = true;
};

/// Used from the datapath's thread. Calls take some system calls each and wait for nothing.
class ProbeWire {
 public:
  virtual ~ProbeWire() = default;

  /// Errors: message_size where this host's own interface cannot carry that size, and what the
  /// kernel says where it cannot send from there to there (network_unreachable, no address...).
  /// Where a switch sends, what it cannot send is lost without an error, and
  /// operation_not_supported says that asks of that size cannot go as traffic does.
  virtual policy::Result<void> ask(const ProbeAsk& ask) = 0;

  /// Readable (poll(2)) when there may be answers to take.
  virtual int answers_fd() const = 0;
  /// Hands over the answers that have come; some thousands at most, and the rest the next time.
  virtual void take_answers(const std::function<void(const ProbeAnswer&)>& take) = 0;

  /// Of all pairs that asks have come for; a pair that is silent for long may be left out.
  virtual policy::Result<std::vector<ProbesHeard>> heard() = 0;
  /// Of those pairs that are the way of some host and class (Datapath::set_path()); one that has
  /// just become it is told of within a second or so. Empty where the datapath does not tell.
  virtual policy::Result<std::vector<WayUsed>> used() = 0;
};

}  // namespace homeport::overlay
