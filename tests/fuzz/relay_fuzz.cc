// What another host says about relaying. Input: the bytes of its statement.
#include "overlay/datapath/datapath.h"
#include "overlay/negotiation/codec.h"
#include "overlay/negotiation/relay_talk.h"
#include "tests/fuzz/fuzz.h"

#include <algorithm>
#include <chrono>

namespace {

using namespace homeport;
using namespace homeport::overlay;
using fuzz::require;

constexpr policy::Time kNow{std::chrono::hours(1)};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto statement = decode_relay(fuzz::as_bytes(data, size));
  if (!statement) {
    require(!statement.error().message.empty(), "an error is a sentence");
    return 0;
  }
  require(statement->asks.size() <= kMostRelayedHosts, "asks are bounded");
  require(statement->answers.size() <= kMostRelayedHosts, "answers are bounded");
  std::size_t labels = 0;
  for (const RelayAnswer& answer : statement->answers) {
    labels += answer.labels.size();
    for (const auto& [network, label] : answer.labels) {
      require(network < kFirstLabel, "a network is none of the labels");
      require(label >= kFirstLabel && label <= kLastLabel, "a label is one");
    }
  }
  require(labels <= kMostRelayLabels, "labels are bounded");
  const std::string again = encode(*statement);
  const auto same = decode_relay(std::as_bytes(std::span(again)));
  require(same && *same == *statement, "what was read can be written and read again");

  RelayTalk talk(5);
  talk.ask({{"hostB", {7}}});
  talk.heard(*statement, kNow);
  const auto said = talk.speak(kNow + std::chrono::seconds(1));
  require(said.has_value(), "what is asked is said");
  require(talk.due() > kNow + std::chrono::seconds(1), "time goes on");
  return 0;
}
