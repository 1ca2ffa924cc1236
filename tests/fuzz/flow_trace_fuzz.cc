// What ovs-vswitchd prints of a packet's way through its flows.
#include "overlay/datapath/ovs/flow_trace.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using namespace homeport::overlay;
  using namespace homeport::overlay::ovs;
  const auto trace = read_trace(fuzz::as_text(data, size));
  if (!trace) return 0;
  for (const TraceLine& line : trace->lines) {
    fuzz::require(line.flow < trace->flows.size(), "every line is of a flow");
  }
  const BridgePorts ports{.numbers = {{"tap1", 11}}, .tunnel = 9, .host = 8};
  TracedPacket packet;
  packet.source = boost::asio::ip::make_address("10.0.0.1");
  packet.destination = boost::asio::ip::make_address("10.0.0.2");
  packet.length = 1500;
  const ToldTrace told = tell(*trace, {ports, nullptr}, FromPort{"tap1"}, packet);
  fuzz::require(told.trace.steps.size() <= trace->flows.size(), "a flow is one step");
  fuzz::require(told.flows.size() <= trace->flows.size(), "a flow is met once");
  (void)answered_mac(*trace);
  return 0;
}
