// What another host says about paths. Input: the bytes of its statement.
#include "overlay/negotiation/codec.h"
#include "overlay/negotiation/negotiator.h"
#include "tests/fuzz/fuzz.h"

#include <chrono>

namespace {

using namespace homeport;
using namespace homeport::overlay;
using fuzz::require;

constexpr policy::Time kNow{std::chrono::hours(1)};

policy::IpAddress own_address(int last) {
  return boost::asio::ip::make_address_v4("192.0.2." + std::to_string(last));
}

/// The peer's name comes first, so that it controls; or second.
void negotiate(const PathStatement& statement, const char* peer) {
  PathNegotiator negotiator("hostB", peer, 5);
  negotiator.on(OffersEnds{{{.address = own_address(1), .interface = "eth0"},
                            {.address = own_address(2), .interface = "eth1"}}},
                kNow);
  auto actions = negotiator.on(PeerSays{statement}, kNow + std::chrono::seconds(1));
  require(actions.look_again > kNow + std::chrono::seconds(1), "time goes on");
  for (policy::TrafficClass traffic : policy::kTrafficClasses) {
    require(negotiator.ranked(traffic).size() <= policy::kMostPaths, "paths are bounded");
    const auto& path = negotiator.agreement(traffic).choice().path;
    require(!path || find(negotiator.ranked(traffic), path), "only what both offer is used");
  }
  if (!actions.say) return;
  const std::string said = encode(*actions.say);
  require(decode(std::as_bytes(std::span(said))).has_value(), "what is said can be read");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto statement = decode(fuzz::as_bytes(data, size));
  if (!statement) {
    require(!statement.error().message.empty(), "an error is a sentence");
    return 0;
  }
  require(!statement->ends || statement->ends->size() <= policy::kMostEnds, "ends are bounded");
  require(!statement->reports || statement->reports->size() <= policy::kMostPaths,
          "reports are bounded");
  const std::string again = encode(*statement);
  const auto same = decode(std::as_bytes(std::span(again)));
  require(same && *same == *statement, "what was read can be written and read again");
  negotiate(*statement, "hostA");
  negotiate(*statement, "hostC");
  return 0;
}
