// A trace as two agents send it to each other. Everything received is checked: addresses have their
// sizes, lists their limits, and what is shown to a person holds nothing that a terminal would
// obey.
#pragma once

#include "agent/trace/question.h"
#include "agent/trace/trace.pb.h"
#include "overlay/datapath/trace.h"
#include "policy/error.h"

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace homeport::agent {

/// The most steps and copies that one host tells of; a group may have a thousand.
inline constexpr int kTraceTold = 256;

struct TracedStep {
  std::string step, entry, found;
};

struct TracedCopy {
  std::string device;  ///< of that host; empty: it goes to `vtep`
  std::optional<policy::IpAddress> vtep;
  bool marked = false;
  std::string host;       ///< with that VTEP; filled in by who asked
  policy::Vni label = 0;  ///< under which that host relays it; 0: it does not
};

/// One host's part of a trace, in words.
struct TracedPart {
  std::vector<TracedStep> steps;
  std::string end;  ///< as TraceEnd names it; "unknown" for a host that has not answered
  std::vector<TracedCopy> copies;
  std::vector<std::string> counters;
};

struct TracedHost {
  std::string host;
  std::string sent_by = {};  ///< the host before it; empty for the first
  TracedPart found = {};
  std::optional<TracedPart> left = {};  ///< see TraceAnswer
  std::uint32_t left_out = 0;           ///< steps and copies that it has not told of
  std::string problem = {};             ///< why it has not answered
  std::optional<std::map<std::string, std::uint64_t>> counts = {};  ///< TraceCounts
  std::string counting_problem = {};
  bool counts_anew = false;  ///< they are not of the whole time: those of before were lost
};

const char* to_string(overlay::TraceEnd end);

/// What one agent is asked: to find the beginning, or what arrives through its tunnel.
struct TraceTunnel {
  overlay::FromTunnel origin;
  overlay::TracedPacket packet;
};
using TraceStart = std::variant<TraceQuestion, TraceTunnel>;

TraceRequest to_message(const TraceStart& start, bool count);
/// Errors: bad_message, invalid_argument.
policy::Result<TraceStart> from_message(const TraceRequest& request);

TraceReply to_message(const overlay::TraceAnswer& answer);
void put_counts(const overlay::TraceCounts& counts, TraceReply& reply);

/// What a host has told, and how the packet goes on from there.
struct TraceTold {
  TracedHost host;
  policy::Vni vni = 0;
  overlay::TracedPacket packet;
};
/// Errors: the peer's own; bad_message; protocol_not_supported from an agent that knows no traces.
policy::Result<TraceTold> from_message(const TraceReply& reply, const std::string& peer);

}  // namespace homeport::agent
