// Probes as a switch hands them to the agent: the frame, or its first bytes.
#include "overlay/datapath/probe_frame.h"
#include "tests/fuzz/fuzz.h"

using namespace homeport;
using namespace homeport::overlay;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view frame = fuzz::as_text(data, size);
  const auto said = read_probe(frame);
  if (!said) return 0;
  fuzz::require(size >= 46, "a probe is whole");
  fuzz::require(!said->heard || *said->heard > 0, "what has come is one at least");
  // As this host would have asked it, behind the VXLAN header: the protocol, and all but `heard`.
  const auto v4 = boost::asio::ip::address_v4();
  const std::string asked = probe_datagram({{v4, v4}, said->token, 0}, said->sent);
  fuzz::require(frame.substr(12, 6) == asked.substr(8 + 12, 6), "of this form");
  fuzz::require(frame.substr(22, 16) == asked.substr(8 + 22, 16), "and what it says");
  return 0;
}
