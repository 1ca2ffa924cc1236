// Frames of a channel and what is in them. Input: one character for what is expected ('h' hello,
// 'd' what a destination is told, 's' what a source is told, 'l' a lane), then the peer's bytes.
#include "migration/move/move.pb.h"
#include "overlay/channel/connection.h"
#include "overlay/channel/hello.h"
#include "tests/fuzz/fuzz.h"

#include <vector>

namespace homeport::overlay {
namespace {

using fuzz::require;

/// As Connection::receive() takes them, up to the first that is wrong.
template <class Message, class Take>
void read_frames(std::span<const std::byte> input, const FrameLimits& limits, Take take) {
  while (!input.empty()) {
    auto prefix = parse_frame_prefix(input, limits);
    if (!prefix) return require(!prefix.error().message.empty(), "an error is a sentence");
    require(prefix->header_size <= limits.header, "a header is within its limit");
    require(prefix->payload_size <= limits.payload, "a payload is within its limit");
    input = input.subspan(kFramePrefixSize);
    if (input.size() < std::size_t{prefix->header_size} + prefix->payload_size) return;
    Message message;
    if (!decode_header(input.first(prefix->header_size), message)) return;

    auto frame = encode_frame(message, prefix->payload_size);
    require(frame.has_value(), "what was received can be sent");
    Message again;
    auto sent = std::as_bytes(std::span(*frame));
    require(parse_frame_prefix(sent, limits).has_value(), "its prefix is good");
    require(decode_header(sent.subspan(kFramePrefixSize), again).has_value(), "it can be read");
    require(again.SerializeAsString() == message.SerializeAsString(), "it says the same");
    take(message);
    input = input.subspan(std::size_t{prefix->header_size} + prefix->payload_size);
  }
}

void take_hello(const Hello& hello) {
  const Hello asked = make_hello("hostC", Purpose::lane, "move 1");
  auto good = check_hello(hello, "hostA", asked.host());
  if (good) {
    require(hello.host() == "hostA", "a host is who its certificate says");
    require(hello.session().size() <= kMaxSessionSize, "a session's name is short");
  } else {
    Hello refusal = make_refusal(make_hello("hostB", Purpose::lane, {}), good.error());
    Hello told;
    const std::string encoded = refusal.SerializeAsString();
    require(encoded.size() <= kHelloLimits.header, "a refusal fits");
    require(decode_header(std::as_bytes(std::span(encoded)), told).has_value(),
            "a refusal can be read");
    require(!check_answer(told, asked, "hostB"), "a refusal is one");
  }
  auto answer = check_answer(hello, asked, "hostA");
  require(!answer || hello.refusal().empty(), "who refuses does not answer");
  require(!answer || hello.session() == asked.session(), "an answer is to what was asked");
}

}  // namespace
}  // namespace homeport::overlay

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  if (size == 0) return 0;
  auto input = fuzz::as_bytes(data + 1, size - 1);
  auto nothing = [](const auto&) {};
  switch (data[0]) {
    case 'h':
      overlay::read_frames<overlay::Hello>(input, overlay::kHelloLimits, overlay::take_hello);
      break;
    case 'd':
      overlay::read_frames<migration::ToDestination>(input, {}, nothing);
      break;
    case 's':
      overlay::read_frames<migration::ToSource>(input, {}, nothing);
      break;
    default:
      overlay::read_frames<migration::LaneMessage>(input, {}, nothing);
  }
  return 0;
}
