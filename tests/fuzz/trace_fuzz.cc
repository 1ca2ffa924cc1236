// What agents tell each other about a packet, beyond the encoding. Input: 'q' and a TraceRequest,
// or anything else and a TraceReply.
#include "agent/trace/trace_json.h"
#include "tests/fuzz/fuzz.h"

#include <boost/json/serialize.hpp>

#include <algorithm>

namespace homeport::agent {
namespace {

using fuzz::require;

void take(const TraceRequest& request) {
  auto start = from_message(request);
  if (!start) return require(!start.error().message.empty(), "a refusal is a sentence");
  if (const auto* tunnel = std::get_if<TraceTunnel>(&*start)) {
    require(tunnel->origin.vni >= 1 && tunnel->origin.vni <= policy::kVniMax, "a VNI is one");
    require(tunnel->packet.source.is_v6() == tunnel->packet.destination.is_v6(), "of one family");
    require(tunnel->packet.length <= 65535 && tunnel->packet.hops <= 255, "a packet can be");
  } else {
    const auto& question = std::get<TraceQuestion>(*start);
    require(!question.from.empty() && question.from.size() <= kTraceNameMax, "a name is bounded");
    require(question.length <= 65535 && question.hops >= 1, "a packet can be");
  }
  auto again = from_message(to_message(*start, request.count()));
  require(again.has_value() && again->index() == start->index(), "what is taken can be told on");
}

void take(const TraceReply& reply) {
  auto told = from_message(reply, "hostB");
  if (!told) return require(!told.error().message.empty(), "a refusal is a sentence");
  const TracedPart& found = told->host.found;
  require(found.steps.size() <= kTraceTold && found.copies.size() <= kTraceTold,
          "lists are bounded");
  for (const TracedCopy& copy : found.copies) {
    require(copy.device.empty() == copy.vtep.has_value(), "a copy goes to one place");
  }
  const std::string json = boost::json::serialize(to_json(TraceQuestion{}, {told->host}));
  require(std::ranges::none_of(json, [](char c) { return c >= 0 && c < ' '; }),
          "nothing that a terminal would obey");
}

template <class Message>
void parse_and_take(const std::uint8_t* data, std::size_t size) {
  Message message;
  if (message.ParseFromArray(data, static_cast<int>(size))) take(message);
}

}  // namespace
}  // namespace homeport::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport::agent;
  if (size == 0) return 0;
  if (data[0] == 'q') {
    parse_and_take<TraceRequest>(data + 1, size - 1);
  } else {
    parse_and_take<TraceReply>(data + 1, size - 1);
  }
  return 0;
}
