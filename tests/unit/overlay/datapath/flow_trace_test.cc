// What a switch prints of a packet, told in steps.
#include "overlay/datapath/ovs/flow_trace.h"

#include "overlay/datapath/ovs/pipeline.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <string>

namespace homeport::overlay::ovs {
namespace {

using boost::asio::ip::make_address;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kSent = R"(Flow: udp,in_port=LOCAL,vlan_tci=0x0000

bridge("br-int")
----------------
 0. reg1=0/0x400,in_port=11, priority 45000, cookie 0x4850000000000001
    set_field:0x2a->reg0
    set_field:0->reg1
    resubmit(,200)
    200. in_port=11,dl_src=02:00:00:00:00:01, priority 1, cookie 0x4850000000000002
            resubmit(,202)
        202. reg0=0x2a,dl_dst=02:00:00:00:00:02, priority 3, cookie 0x4850000100000007
            set_field:192.0.2.2->tun_dst
            load:0x1->NXM_NX_REG1[2]
            resubmit(,203)
            203. reg1=0x4/0x5, priority 1, cookie 0x4850000000000003
                    resubmit(,216)
                216. reg0=0x2a,reg1=0/0x1, priority 2, cookie 0x4850000000000004
                    check_pkt_larger(1444)->NXM_NX_REG1[11]
                    resubmit(,226)
                    226. reg0=0x2a,reg1=0x800/0x800,in_port=11, priority 3, cookie 0x4850000000000005
                            controller(id=18512)
                    resubmit(,226)
                226. priority 1, cookie 0x4850000000000006
                    move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31]
                     -> NXM_NX_TUN_ID[0..31] is now 0x2a
                    resubmit(,231)
                    231. No match.
                            drop
                    resubmit(,232)
                    232. priority 1, cookie 0x4850000000000007
                            resubmit(,233)
                        233. priority 1, cookie 0x4850000000000008
                            output:9
                             -> output to native tunnel
                             -> tunneling to 192.0.2.2 via br-phy

                bridge("br-phy")
                ----------------
                 0. priority 0
                    NORMAL
                     -> no learned MAC for destination, flooding
            note:61.64

Final flow: udp,reg0=0x2a,in_port=11,dl_src=02:48:50:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_ttl=63
Megaflow: recirc_id=0
Datapath actions: drop
)";

TracedPacket packet(std::uint32_t length, bool dont_fragment = true) {
  return {.source_mac = {{2, 0, 0, 0, 0, 1}},
          .destination_mac = {{2, 0, 0, 0, 0, 2}},
          .source = make_address("10.0.0.1"),
          .destination = make_address("10.0.0.2"),
          .length = length,
          .dont_fragment = dont_fragment};
}

ToldTrace told(const std::string& printed, const TracedPacket& packet,
               const FlowImage* left = nullptr) {
  static const BridgePorts ports{.numbers = {{"tap1", 11}}, .tunnel = 9, .host = 8};
  const auto trace = read_trace(printed);
  return trace ? tell(*trace, {ports, left}, FromPort{"tap1"}, packet) : ToldTrace{};
}

std::vector<std::string> steps(const Trace& trace) {
  std::vector<std::string> steps;
  for (const TraceStep& step : trace.steps) steps.emplace_back(step.step);
  return steps;
}

TEST(FlowTrace, WhatFitsIsSentToTheHost) {
  const ToldTrace sent = told(kSent, packet(1430));
  EXPECT_EQ(sent.trace.end, TraceEnd::sent);
  EXPECT_EQ(sent.trace.vni, 42u);
  EXPECT_THAT(sent.trace.copies, ElementsAre(TraceCopy{{}, make_address("192.0.2.2"), false}));
  EXPECT_THAT(steps(sent.trace), ElementsAre("port", "source", "destination", "delivery"));
  EXPECT_EQ(sent.trace.steps[2].entry,
            "table=202 cookie=0x4850000100000007 priority=3,reg0=0x2a,dl_dst=02:00:00:00:00:02");
  EXPECT_EQ(sent.trace.steps[2].found, "of Homeport; to the host at 192.0.2.2");
  EXPECT_THAT(sent.trace.counters, IsEmpty());
  // As it goes on.
  EXPECT_EQ(sent.trace.packet.hops, 63u);
  EXPECT_EQ(sent.trace.packet.source_mac.to_string(), "02:48:50:00:00:01");
  // Of this bridge alone, and of the ways that are gone.
  EXPECT_EQ(sent.flows.size(), 8u);
}

TEST(FlowTrace, WhatDoesNotFitIsAnsweredOrCut) {
  const ToldTrace answered = told(kSent, packet(1431));
  EXPECT_EQ(answered.trace.end, TraceEnd::answered);
  EXPECT_THAT(steps(answered.trace), ElementsAre("port", "source", "destination", "size"));
  EXPECT_THAT(answered.trace.counters, ElementsAre("too_big_answers"));
  EXPECT_THAT(answered.trace.copies, IsEmpty());
  const ToldTrace cut = told(kSent, packet(9000, false));
  EXPECT_EQ(cut.trace.end, TraceEnd::sent);
  EXPECT_THAT(steps(cut.trace), ElementsAre("port", "source", "destination", "size", "delivery"));
  EXPECT_THAT(cut.trace.counters, ElementsAre("fragmented"));
}

TEST(FlowTrace, FlowsAreNamedByWhoseTheyAre) {
  FlowImage left;
  left[{202, 3, "reg0=0x2a,dl_dst=02:00:00:00:00:02"}].owner = "the address";
  EXPECT_THAT(told(kSent, packet(100), &left).trace.steps[2].found, HasSubstr("of the address;"));
  EXPECT_THAT(told(kSent, packet(100), &left).trace.steps[1].found, HasSubstr("not the agent's"));
  std::string others = kSent;
  others.replace(others.find("0x4850000100000007"), 18, "0x77");
  const ToldTrace told_others = told(others, packet(100));
  EXPECT_THAT(told_others.trace.steps[2].found, HasSubstr("somebody else"));
  EXPECT_EQ(told_others.flows.size(), 7u);
}

TEST(FlowTrace, DropsHaveTheNameOfTheirCounter) {
  const ToldTrace dropped = told(fmt::format(R"(
bridge("br-int")
----------------
 0. in_port=11, priority 45000, cookie 0x4850000000000001
    resubmit(,200)
    200. priority 0, cookie 0x4850000000000001
            set_field:0x{0:x}->reg6
            resubmit(,217)
        217. reg6=0x{0:x}, priority 1, cookie 0x4850000000000001
            drop

Final flow: unchanged
)",
                                             static_cast<unsigned>(Counter::drop_forged_source)),
                                 packet(100));
  EXPECT_EQ(dropped.trace.end, TraceEnd::dropped);
  EXPECT_THAT(dropped.trace.counters, ElementsAre("drop_forged_source"));
  const ToldTrace none = told("bridge(\"b\")\n---\n 0. No match.\n    drop\n", packet(100));
  EXPECT_EQ(none.trace.end, TraceEnd::dropped);
  EXPECT_THAT(none.trace.steps.at(0).found, HasSubstr("no flow takes it"));
}

TEST(FlowTrace, WhatIsRelayedIsToldByItsLabel) {
  const auto printed = read_trace(fmt::format(R"(Flow: udp,tun_src=192.0.2.1,in_port=9

bridge("br-int")
----------------
 0. in_port=9, priority 45000, cookie 0x485043c300000000
    resubmit(,201)
201. tun_src=192.0.2.1, priority 1, cookie 0x4850284c00000000
    move:NXM_NX_TUN_ID[0..22]->NXM_NX_REG0[0..22]
     -> NXM_NX_REG0[0..22] is now 0x700005
    resubmit(,202)
202. reg0=0x700000/0x700000,reg1=0x1/0x1, priority 4, cookie 0x485043c300000000
    resubmit(,235)
235. reg0=0x700005,tun_src=192.0.2.1, priority 1, cookie 0x4850c0db00000000
    set_field:{0:#x}->reg6
    resubmit(,217)
    217. reg6={0:#x}, priority 1, cookie 0x485043c300000000
            drop
    load:0x2a->NXM_NX_TUN_ID[0..22]
    set_field:192.0.2.3->tun_dst
    resubmit(,232)
    232. priority 1, cookie 0x485043c300000000
            resubmit(,233)
        233. priority 1, cookie 0x485043c300000000
            output:9
             -> output to native tunnel

        bridge("br-phy")
        ----------------
         0. priority 0
            NORMAL
    note:72.65

Final flow: unchanged
)",
                                              static_cast<unsigned>(Counter::relayed)));
  ASSERT_TRUE(printed);
  const BridgePorts ports{.numbers = {{"tap1", 11}}, .tunnel = 9, .host = 8};
  const FromTunnel origin{make_address("192.0.2.1"), 0x700005, true};
  const Trace trace = tell(*printed, {ports, nullptr}, origin, packet(100)).trace;
  EXPECT_THAT(steps(trace), ElementsAre("vtep", "vtep", "destination", "label", "delivery"));
  EXPECT_EQ(trace.end, TraceEnd::sent);
  EXPECT_EQ(trace.vni, 42u);
  EXPECT_THAT(trace.counters, ElementsAre("relayed"));
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{{}, make_address("192.0.2.3"), true}));
}

TEST(FlowTrace, TheAnswerToAQuestionIsRead) {
  const auto asked = read_trace(R"(
bridge("br-int")
----------------
 0. in_port=11, priority 45000
    set_field:0x5254000105->xreg1
    drop
)");
  ASSERT_TRUE(asked);
  EXPECT_EQ(answered_mac(*asked)->to_string(), "00:52:54:00:01:05");
  EXPECT_FALSE(answered_mac(*read_trace(kSent)));
}

TEST(FlowTrace, AnotherFormIsNone) {
  EXPECT_FALSE(read_trace(""));
  EXPECT_FALSE(read_trace("bridge(\"b\")\n    resubmit(,200)\n"));
  EXPECT_FALSE(read_trace("Bad openflow flow syntax"));
}

}  // namespace
}  // namespace homeport::overlay::ovs
