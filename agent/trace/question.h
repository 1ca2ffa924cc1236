// A packet somebody asks about, and where it starts, found in what the control database says. Pure.
#pragma once

#include "agent/control/database.h"
#include "overlay/datapath/trace.h"
#include "policy/error.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace homeport::agent {

/// As a person gives it.
struct TraceQuestion {
  std::string from;  ///< an application, one of its bindings, or "host": a host's own processes
  policy::IpAddress to;
  std::optional<policy::IpAddress> source = {};  ///< none: the first that fits
  std::uint8_t protocol = 17;
  std::uint32_t length = 100;  ///< of the IP packet, bytes
  std::uint32_t hops = 64;
  bool dont_fragment = true;
  std::uint16_t port = 0, source_port = 0;  ///< 0: one that no rule is for
  std::string at = {};  ///< the host whose processes send; empty: the one that is asked
  bool operator==(const TraceQuestion&) const = default;
};

inline constexpr char kFromHost[] = "host";
inline constexpr std::size_t kTraceNameMax = 255;  ///< bytes of a name in a question

/// The parameters of /v1/trace but `live`: from, to, and source, protocol (tcp, udp, sctp, icmp),
/// port, source_port, length, hops, fragment (yes, no), at. Errors say what is wrong in words that
/// are not the asker's.
policy::Result<TraceQuestion> parse_question(
    const std::map<std::string, std::string, std::less<>>& parameters);
/// Checks what another host sends as one.
policy::Result<TraceQuestion> check_question(TraceQuestion question);

/// "tcp", "udp", "icmp", or the number.
std::string protocol_name(std::uint8_t protocol);

/// The host whose agent knows where the packet starts; `here` is the one that is asked. Errors:
/// no_such_file_or_directory for an application that is not known, or is nowhere.
policy::Result<std::string> host_of(const TraceQuestion& question, const Contents& contents,
                                    const std::string& here);

struct TraceBeginning {
  overlay::TraceOrigin origin;
  overlay::TracedPacket packet;
};

/// The packet as it enters the datapath of `host`. Errors: the application is not known, or has no
/// address of the family.
policy::Result<TraceBeginning> begin_trace(const TraceQuestion& question, const Contents& contents,
                                           const std::string& host);

}  // namespace homeport::agent
