// Frames that a switch hands to the agent because they do not fit the tunnel. Input: two bytes, how
// much longer the frame was; the tag, of nine bytes; the frame.
#include "overlay/datapath/ovs/arrivals.h"
#include "overlay/datapath/ovs/fragment.h"
#include "overlay/datapath/ovs/too_big.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace homeport;
using namespace homeport::overlay::ovs;

/// Parts that together are the packet.
void look_at(const std::vector<std::string>& parts, std::string_view frame, std::size_t mtu) {
  fuzz::require(parts.size() > 1 && parts.size() <= kMostFragments, "as many as are wanted");
  auto at = [](std::string_view bytes, std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i]));
  };
  auto header = [&](std::string_view bytes) { return (at(bytes, 14) & 0xf) * 4; };
  const std::size_t before = ((at(frame, 20) << 8 | at(frame, 21)) & 0x1fff) * 8;
  std::string payload;
  for (const std::string& part : parts) {
    fuzz::require(part.size() <= mtu + 14, "parts fit");
    fuzz::require(part.size() == 14 + (at(part, 16) << 8 | at(part, 17)), "of their length");
    fuzz::require(((at(part, 20) << 8 | at(part, 21)) & 0x1fff) * 8 == before + payload.size(),
                  "one after the other");
    payload += part.substr(14 + header(part));
  }
  fuzz::require(frame.substr(14 + header(frame)).starts_with(payload), "of the payload");
  fuzz::require(14 + header(frame) + payload.size() == 14 + (at(frame, 16) << 8 | at(frame, 17)),
                "all of it");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The same bytes as what another host has sent.
  if (const auto packet = read_vxlan(fuzz::as_text(data, size))) {
    fuzz::require(packet->key < 1u << 24 && packet->frame.size() + 8 == size,
                  "all behind the header");
  }
  if (size < 11) return 0;
  const std::size_t more = static_cast<std::size_t>(data[0] << 8 | data[1]);
  const auto tag = read_tag(fuzz::as_text(data + 2, 9));
  fuzz::require(tag.has_value(), "every tag of its length is one");
  const std::string_view frame = fuzz::as_text(data + 11, size - 11);
  const auto told = answer_too_big(frame, frame.size() + more, *tag);
  if (const auto parts = cut(frame, tag->mtu)) {
    fuzz::require(!told, "what is carried is not answered");
    look_at(*parts, frame, tag->mtu);
  }
  if (!told) return 0;
  fuzz::require(told->size() <= 14 + 1280, "an answer fits every path");
  fuzz::require(told->size() > 14 + 20 + 8, "an answer quotes");
  const bool v6 = frame[12] == static_cast<char>(0x86);
  fuzz::require(frame.substr(14).starts_with(told->substr(v6 ? 62 : 42)), "what it answers");
  return 0;
}
