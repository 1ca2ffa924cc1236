// Frames that a switch hands to the agent because they do not fit the tunnel. Input: two bytes, how
// much longer the frame was; the tag, of eight bytes; the frame.
#include "overlay/datapath/ovs/too_big.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using namespace homeport::overlay::ovs;
  if (size < 10) return 0;
  const std::size_t more = static_cast<std::size_t>(data[0] << 8 | data[1]);
  const auto tag = read_tag(fuzz::as_text(data + 2, 8));
  fuzz::require(tag.has_value(), "every tag of its length is one");
  const std::string_view frame = fuzz::as_text(data + 10, size - 10);
  const auto told = answer_too_big(frame, frame.size() + more, *tag);
  if (!told) return 0;
  fuzz::require(told->size() <= 14 + 1280, "an answer fits every path");
  fuzz::require(told->size() > 14 + 20 + 8, "an answer quotes");
  const bool v6 = frame[12] == static_cast<char>(0x86);
  fuzz::require(frame.substr(14).starts_with(told->substr(v6 ? 62 : 42)), "what it answers");
  return 0;
}
