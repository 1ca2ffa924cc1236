#include "agent/trace/trace_message.h"

#include "overlay/datapath/datapath.h"
#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace homeport::agent {

namespace {

namespace asio_ip = boost::asio::ip;
namespace errc = boost::system::errc;
using overlay::TraceEnd;
using policy::Result;

constexpr std::array<std::pair<TraceEnd, const char*>, 7> kEnds = {
    {{TraceEnd::delivered, "delivered"},
     {TraceEnd::sent, "sent"},
     {TraceEnd::copied, "copied"},
     {TraceEnd::stack, "stack"},
     {TraceEnd::normal, "normal"},
     {TraceEnd::answered, "answered"},
     {TraceEnd::dropped, "dropped"}}};

/// The most counters that a packet has, and that counts name: more than there are.
constexpr int kMostCounters = 512;

TraceAddress to_message(const policy::IpAddress& address) {
  TraceAddress message;
  if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    message.set_bytes(bytes.data(), bytes.size());
  } else {
    const auto bytes = address.to_v6().to_bytes();
    message.set_bytes(bytes.data(), bytes.size());
  }
  return message;
}

std::optional<policy::IpAddress> from_message(const TraceAddress& message) {
  const std::string& bytes = message.bytes();
  if (bytes.size() == 4) {
    asio_ip::address_v4::bytes_type v4;
    std::copy(bytes.begin(), bytes.end(), v4.begin());
    return asio_ip::address_v4(v4);
  }
  if (bytes.size() == 16) {
    asio_ip::address_v6::bytes_type v6;
    std::copy(bytes.begin(), bytes.end(), v6.begin());
    return asio_ip::address_v6(v6);
  }
  return std::nullopt;
}

std::optional<policy::MacAddress> mac_of(const std::string& bytes) {
  policy::MacAddress mac;
  if (bytes.size() != mac.bytes.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), mac.bytes.begin());
  return mac;
}

std::string bytes_of(const policy::MacAddress& mac) {
  return {mac.bytes.begin(), mac.bytes.end()};
}

TracePacketTold to_message(const overlay::TracedPacket& packet) {
  TracePacketTold message;
  message.set_source_mac(bytes_of(packet.source_mac));
  message.set_destination_mac(bytes_of(packet.destination_mac));
  *message.mutable_source() = to_message(packet.source);
  *message.mutable_destination() = to_message(packet.destination);
  message.set_protocol(packet.protocol);
  message.set_length_bytes(packet.length);
  message.set_hops(packet.hops);
  message.set_dont_fragment(packet.dont_fragment);
  message.set_source_port(packet.source_port);
  message.set_destination_port(packet.destination_port);
  return message;
}

std::optional<overlay::TracedPacket> from_message(const TracePacketTold& message) {
  const auto source = from_message(message.source()),
             destination = from_message(message.destination());
  const auto source_mac = mac_of(message.source_mac()),
             destination_mac = mac_of(message.destination_mac());
  if (!source || !destination || !source_mac || !destination_mac ||
      source->is_v6() != destination->is_v6() || message.protocol() > 255 ||
      message.length_bytes() > 65535 || message.hops() > 255 || message.source_port() > 65535 ||
      message.destination_port() > 65535) {
    return std::nullopt;
  }
  overlay::TracedPacket packet;
  packet.source_mac = *source_mac;
  packet.destination_mac = *destination_mac;
  packet.source = *source;
  packet.destination = *destination;
  packet.protocol = static_cast<std::uint8_t>(message.protocol());
  packet.length = message.length_bytes();
  packet.hops = message.hops();
  packet.dont_fragment = message.dont_fragment();
  packet.source_port = static_cast<std::uint16_t>(message.source_port());
  packet.destination_port = static_cast<std::uint16_t>(message.destination_port());
  return packet;
}

policy::Error cannot_be() {
  return policy::make_error(errc::bad_message, "A packet that cannot be.");
}

Result<TraceStart> from_message(const TraceQuestionTold& message) {
  TraceQuestion question;
  question.from = message.from();
  const auto to = from_message(message.to());
  if (!to || message.protocol() > 255 || message.port() > 65535 || message.source_port() > 65535) {
    return cannot_be();
  }
  question.to = *to;
  if (message.has_source()) {
    const auto source = from_message(message.source());
    if (!source) return cannot_be();
    question.source = *source;
  }
  question.protocol = static_cast<std::uint8_t>(message.protocol());
  question.length = message.length_bytes();
  question.hops = message.hops();
  question.dont_fragment = message.dont_fragment();
  question.source_port = static_cast<std::uint16_t>(message.source_port());
  question.port = static_cast<std::uint16_t>(message.port());
  auto checked = check_question(std::move(question));
  if (!checked) return checked.error();
  return TraceStart(std::move(*checked));
}

Result<TraceStart> from_message(const TraceTunnelTold& message) {
  const auto vtep = from_message(message.vtep());
  auto packet = from_message(message.packet());
  if (!vtep || !packet || message.vni() < 1 || message.vni() > policy::kVniMax) return cannot_be();
  return TraceStart(TraceTunnel{{*vtep, message.vni(), message.marked()}, *packet});
}

/// Returns how many steps and copies had to be left out.
std::uint32_t put(const overlay::Trace& trace, TracePart& part) {
  std::size_t left_out = 0;
  for (const overlay::TraceStep& step : trace.steps) {
    if (part.steps_size() == kTraceTold) {
      ++left_out;
      continue;
    }
    TraceStepTold& told = *part.add_steps();
    told.set_step(std::string(step.step));
    told.set_entry(step.entry);
    told.set_found(step.found);
  }
  part.set_end(to_string(trace.end));
  for (const overlay::TraceCopy& copy : trace.copies) {
    if (part.copies_size() == kTraceTold) {
      ++left_out;
      continue;
    }
    TraceCopyTold& told = *part.add_copies();
    told.set_device(copy.device);
    if (copy.vtep) *told.mutable_vtep() = to_message(*copy.vtep);
    told.set_marked(copy.marked);
    told.set_label(copy.label);
  }
  for (const std::string& counter : trace.counters) {
    if (part.counters_size() < kMostCounters) part.add_counters(counter);
  }
  part.set_vni(trace.vni);
  *part.mutable_packet() = to_message(trace.packet);
  return static_cast<std::uint32_t>(left_out);
}

std::optional<TracedPart> from_message(const TracePart& message) {
  const bool known =
      std::ranges::any_of(kEnds, [&](const auto& end) { return message.end() == end.second; });
  if (!known || message.steps_size() > kTraceTold || message.copies_size() > kTraceTold ||
      message.counters_size() > kMostCounters) {
    return std::nullopt;
  }
  TracedPart part;
  part.end = message.end();
  for (const TraceStepTold& step : message.steps()) {
    part.steps.push_back({policy::printable(step.step(), 64), policy::printable(step.entry(), 256),
                          policy::printable(step.found(), 256)});
  }
  for (const TraceCopyTold& told : message.copies()) {
    TracedCopy copy{policy::printable(told.device(), 64),
                    from_message(told.vtep()),
                    told.marked(),
                    {},
                    told.label()};
    if (copy.device.empty() != copy.vtep.has_value()) return std::nullopt;
    if (copy.label != 0 && !overlay::is_label(copy.label)) return std::nullopt;
    part.copies.push_back(std::move(copy));
  }
  for (const std::string& counter : message.counters()) {
    part.counters.push_back(policy::printable(counter, 64));
  }
  return part;
}

}  // namespace

const char* to_string(TraceEnd end) {
  return std::ranges::find(kEnds, end, &std::pair<TraceEnd, const char*>::first)->second;
}

TraceRequest to_message(const TraceStart& start, bool count) {
  TraceRequest request;
  request.set_count(count);
  if (const auto* tunnel = std::get_if<TraceTunnel>(&start)) {
    TraceTunnelTold& told = *request.mutable_tunnel();
    *told.mutable_vtep() = to_message(tunnel->origin.vtep);
    told.set_vni(tunnel->origin.vni);
    told.set_marked(tunnel->origin.marked);
    *told.mutable_packet() = to_message(tunnel->packet);
    return request;
  }
  const auto& question = std::get<TraceQuestion>(start);
  TraceQuestionTold& told = *request.mutable_question();
  told.set_from(question.from);
  *told.mutable_to() = to_message(question.to);
  if (question.source) *told.mutable_source() = to_message(*question.source);
  told.set_protocol(question.protocol);
  told.set_length_bytes(question.length);
  told.set_hops(question.hops);
  told.set_dont_fragment(question.dont_fragment);
  told.set_source_port(question.source_port);
  told.set_port(question.port);
  return request;
}

Result<TraceStart> from_message(const TraceRequest& request) {
  switch (request.start_case()) {
    case TraceRequest::kQuestion:
      return from_message(request.question());
    case TraceRequest::kTunnel:
      return from_message(request.tunnel());
    default:
      return policy::make_error(errc::bad_message, "A question of a kind that is not known here.");
  }
}

TraceReply to_message(const overlay::TraceAnswer& answer) {
  TraceReply reply;
  reply.set_left_out(put(answer.found, *reply.mutable_found()));
  if (answer.left) put(*answer.left, *reply.mutable_left());
  return reply;
}

void put_counts(const overlay::TraceCounts& counts, TraceReply& reply) {
  reply.set_counted(true);
  for (const auto& [name, count] : counts) (*reply.mutable_counts())[name] = count;
}

Result<TraceTold> from_message(const TraceReply& reply, const std::string& peer) {
  if (!reply.problem().empty()) {
    return policy::make_error(errc::io_error, policy::printable(reply.problem()));
  }
  if (!reply.has_found()) {
    return policy::make_error(errc::protocol_not_supported,
                              fmt::format("The agent of {} knows no traces: upgrade it.", peer));
  }
  auto found = from_message(reply.found());
  auto packet = from_message(reply.found().packet());
  std::optional<TracedPart> left;
  if (reply.has_left()) left = from_message(reply.left());
  const policy::Vni vni = reply.found().vni();
  if (!found || !packet || (reply.has_left() && !left) || vni > policy::kVniMax ||
      reply.counts().size() > static_cast<std::size_t>(kMostCounters)) {
    return policy::make_error(errc::bad_message,
                              fmt::format("{} tells a trace that cannot be.", peer));
  }
  TraceTold told{{.host = peer, .found = std::move(*found), .left = std::move(left)}, vni, *packet};
  told.host.left_out = reply.left_out();
  told.host.counting_problem = policy::printable(reply.counting_problem());
  if (reply.counted()) {
    auto& counts = told.host.counts.emplace();
    for (const auto& [name, count] : reply.counts()) counts[policy::printable(name, 64)] = count;
  }
  return told;
}

}  // namespace homeport::agent
