// The flows that every host has: docs/ovs-datapath.md has them as a drawing.
#include "overlay/datapath/ovs/pipeline.h"

#include "overlay/datapath/ebpf/probe.h"
#include "overlay/datapath/ovs/records.h"
#include "overlay/datapath/ovs/words.h"

#include <fmt/format.h>

namespace homeport::overlay::ovs {

namespace {

void emit_unicast(const Emitter& add, const BridgePorts& ports) {
  add(kEntry, kEntryPriority, fmt::format("in_port={}", ports.tunnel), go(kFromTunnel));

  add(kFromPort, 2, std::string(kToGroup), go(kGroup));
  add(kFromPort, 0, "", count(Counter::drop_forged_source));
  add(kFromTunnel, 0, "", count(Counter::drop_unknown_vtep));

  // The labels are those that have these bits, of 23.
  static_assert(kFirstLabel == 0x700000 && kLastLabel == 0x7fffff);
  add(kAddress, 4, fmt::format("reg0={0:#x}/{0:#x},{1}", kFirstLabel, kFromThere), go(kRelay));
  add(kRelay, 0, "", count(Counter::drop_unknown_label));
  add(kAddress, 3, fmt::format("{},dl_dst={}", kFromHere, kRouterMac.to_string()), go(kRouter));
  add(kAddress, 2, fmt::format("{},{}", kFromThere, kToGroup), go(kGroup));
  add(kAddress, 2, known(kNormalWay, kTunnelled | kNormalWay), go(kLeave));
  add(kAddress, 1, kFromHere, count(Counter::drop_unknown_address));
  add(kAddress, 0, "", count(Counter::drop_unknown_network));

  // From which its receiver learns where an address is.
  const std::string unjudged = known(0, kTunnelled | kTrue);
  add(kRoute, 3, fmt::format("arp,{},{}", unjudged, kUntagged), go(kClaim));
  for (int type : {135, 136}) {
    add(kRoute, 3, fmt::format("icmp6,icmp_type={},{},{}", type, unjudged, kUntagged), go(kClaim));
  }
  const std::string pass = fmt::format("{},{}", learn(kTrue), go(kRoute));
  add(kClaim, 1, "icmp6,icmp_type=136", go(kTarget));
  add(kClaim, 0, "", pass);
  add(kTarget, 0, "", pass);

  add(kRoute, 1, known(0, kTunnelled | kElsewhere), go(kDeliver));
  add(kRoute, 1, known(kElsewhere, kTunnelled | kElsewhere), go(kSend));
  add(kRoute, 1, kFromThere, go(kSource));

  // The router of the host that it comes from speaks for a host's own processes.
  add(kSource, 2, fmt::format("{},dl_src={}", known(0, kToMany), kRouterMac.to_string()),
      go(kArrived));
  add(kSource, 1, known(kToMany), count(Counter::drop_unknown_address));
  add(kSource, 0, "", count(Counter::drop_forged_source));

  add(kArrived, 6, known(kToMany), fmt::format("{},{}", learn(kOwn), go(kNeighbor)));
  add(kArrived, 5, known(0, kElsewhere), go(kDeliver));
  add(kArrived, 3, known(kMarked), count(Counter::drop_forwarded_twice));
  add(kArrived, 1, "", count(Counter::drop_elsewhere));

  add(kSend, 1, "", go(kFit));
  add(kFit, 2, known(kTooBig), "drop");
  add(kFit, 1, "", fmt::format("{},{}{}", kKey, tunnel_source(ports), kWay));
  // As if Homeport had no flows: the registers are as they were, but for the one bit.
  add(kLeave, 1, "",
      fmt::format("set_field:0->reg0,set_field:{:#x}->reg1,resubmit(,0)",
                  static_cast<std::uint32_t>(kLeft)));
}

/// What goes into the tunnel has its key and the VTEP of the host it goes to. The outer header's
/// code point is no field that flows could set: each that there is has a port of its own.
void emit_tunnel(const Emitter& add, const BridgePorts& ports) {
  for (const auto& [code_point, traffic_class] : policy::kCodePoints) {
    for (const char* family : {"ip", "ipv6"}) {
      add(kClass, kSaidPriority, fmt::format("{},ip_dscp={}", family, code_point),
          set_class(traffic_class));
    }
  }
  add(kPath, 1, "", go(kTunnel));
  for (const auto& [traffic_class, tunnel] : ports.class_tunnels) {
    add(kTunnel, 2, fmt::format("reg7={:#x}", static_cast<unsigned>(traffic_class)),
        fmt::format("output:{}", tunnel));
  }
  add(kLabel, 0, "", go(kTunnel));
  add(kTunnel, 1, "", fmt::format("output:{}", ports.tunnel));
}

/// Probes, of a known host: an ask goes back the way it came. The fields of the family that it is
/// not of are 0 both, and may change places too.
void emit_probes(const Emitter& add, const BridgePorts& ports) {
  const auto frame = [](const policy::MacAddress& to) {
    return fmt::format("dl_type={:#x},dl_dst={}", HP_PROBE_PROTOCOL, to.to_string());
  };
  const auto hand_over = [&](std::uint8_t tag) {
    return fmt::format("controller(max_len={},id={},userdata={:02x},meter_id={})", kProbeBytes,
                       kController, tag, meter_of(ports.tunnel));
  };
  constexpr policy::MacAddress ask{HP_PROBE_ASK_MAC}, answer{HP_PROBE_ANSWER_MAC};
  std::string turn;
  for (const auto& [field, spare] : {std::pair("NXM_NX_TUN_IPV4", "NXM_NX_REG8"),
                                     std::pair("NXM_NX_TUN_IPV6", "NXM_NX_XXREG2")}) {
    turn += fmt::format("move:{0}_SRC[]->{1}[],move:{0}_DST[]->{0}_SRC[],move:{1}[]->{0}_DST[],",
                        field, spare);
  }
  // Sent first: its copy may take longer.
  add(kProbe, 1, frame(ask),
      fmt::format("{}set_field:{}->eth_dst,IN_PORT,{}", turn, answer.to_string(),
                  hand_over(kAskTag)));
  add(kProbe, 1, frame(answer), hand_over(kAnswerTag));
  add(kProbe, 0, "", count(Counter::drop_unknown_network));
}

/// Broadcast and multicast: what asks is answered, what announces is judged, the rest is passed to
/// the network if it can do no more than talk.
void emit_group(const Emitter& add) {
  add(kGroup, 3, kFromHere, go(kNeighbor));
  add(kGroup, 1, kFromThere, count(Counter::drop_unknown_network));

  // What has the form of an announcement, whoever sends it. Of link-local addresses there is none.
  const std::string form(kUntagged);
  add(kNeighbor, 9, fmt::format("rarp,{},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=3", form), go(kJudge));
  const std::string advertisement = fmt::format(
      "icmp6,icmp_type=136,icmp_code=0,nw_ttl=255,{},dl_dst=33:33:00:00:00:01,"
      "ipv6_dst=ff02::1",
      form);
  add(kNeighbor, 10, advertisement + ",nd_tll=00:00:00:00:00:00", go(kOther));
  add(kNeighbor, 10, advertisement + ",nd_target=fe80::/10", go(kOther));
  add(kNeighbor, 9, advertisement, go(kJudge));
  add(kNeighbor, 1, "", go(kOther));

  add(kJudge, 1, "", count(Counter::drop_forged_announcement));
  add(kSender, 2, fmt::format("{},ipv6,ipv6_src=fe80::/10", known(0, kToRouter)), go(kSpoken));
  add(kSender, 2, fmt::format("{},ipv6,ipv6_src=::", known(kQuestion)), go(kSpoken));
  add(kSender, 1, known(kToRouter), count(Counter::drop_forged_source));
  add(kSender, 1, known(kQuestion), count(Counter::drop_multicast));
  add(kSender, 0, "", count(Counter::drop_forged_announcement));
  add(kSpoken, 2, known(kToRouter), go(kHop));
  add(kSpoken, 2, known(kQuestion), fmt::format("{},{}", count(Counter::multicast), go(kCopy)));
  add(kSpoken, 1, "",
      fmt::format("{},check_pkt_larger({})->NXM_NX_REG1[4],{}", count(Counter::announcements),
                  kLongestAnnouncement, go(kCopy)));
  // By the host that an application moves away from, a frame is sent on for that application alone.
  add(kMember, 4, known(kTunnelled, kTunnelled | kMarked), "drop");
}

/// The rest of what is sent to a group.
void emit_other(const Emitter& add) {
  // Asked of the router alone: what is not answered by now is not.
  add(kOther, 14, fmt::format("arp,{}", known(kToRouter)), count(Counter::drop_unknown_neighbor));
  add(kOther, 13, known(kToRouter), count(Counter::drop_unknown_address));
  add(kOther, 12, known(0, kTunnelled | kOwn), count(Counter::drop_forged_source));
  add(kOther, 11, known(kNormalWay, kTunnelled | kNormalWay), go(kLeave));
  // Requests for what no address of the network has. Nobody's binding has link-local ones.
  const std::string ask = fmt::format("icmp6,icmp_type=135,nw_ttl=255,{}", kFromHere);
  add(kOther, 7, fmt::format("arp,arp_op=1,{},{}", kFromHere, kUntagged),
      count(Counter::drop_unknown_neighbor));
  const std::string question = fmt::format("{},{}", learn(kQuestion), go(kSender));
  add(kOther, 8, fmt::format("{},nd_target=fe80::/10", ask), question);
  add(kOther, 7, fmt::format("{},icmp_code=0,{}", ask, kUntagged),
      count(Counter::drop_unknown_neighbor));
  add(kOther, 6, ask, question);
  // ARP that neither asks nor announces is for one. What could pass for an advertisement of
  // another's address, and where a switch does not look: fragments.
  for (const char* what : {"arp", "rarp"}) add(kOther, 5, what, count(Counter::drop_multicast));
  add(kOther, 9, fmt::format("ipv6,{},ip_frag=yes", kFromHere), count(Counter::drop_multicast));
  const std::string pass = fmt::format("{},{}", count(Counter::multicast), go(kCopy));
  for (int type : {133, 134}) {  // of routers, and for them (RFC 4861)
    add(kOther, 6, fmt::format("icmp6,{},icmp_type={},nw_ttl=255", kFromHere, type), pass);
  }
  for (int type : {133, 134, 135, 136, 137}) {
    add(kOther, 5, fmt::format("icmp6,{},icmp_type={}", kFromHere, type),
        count(Counter::drop_multicast));
  }
  add(kOther, 1, "", pass);
}

/// What is sent to the router that every host is, and what the host's own processes send.
void emit_router(const Emitter& add, std::int64_t host) {
  // A neighbor that is known already is asked alone whether it is still there.
  const std::string ask = fmt::format("{},{}", learn(kToRouter | kOwn), go(kNeighbor));
  add(kRouter, 3, "arp", ask);
  add(kRouter, 3, "icmp6,icmp_type=135,icmp_code=0,nw_ttl=255", ask);
  const std::string route = fmt::format("{},{}", learn(kToRouter), go(kSender));
  for (const char* family : {"ip", "ipv6"}) {
    add(kRouter, 2, family, route);
    for (int left : {0, 1}) {
      add(kHop, 5, fmt::format("{},nw_ttl={}", family, left), count(Counter::drop_expired));
    }
    add(kHop, 1, fmt::format("{},{}", family, known(kNormalWay)),
        fmt::format("{},dec_ttl,{}", count(Counter::routed), go(kToHost)));
  }
  add(kRouter, 1, "", count(Counter::drop_unknown_address));
  add(kHop, 0, "", count(Counter::drop_unknown_address));

  add(kHome, 0, "", count(Counter::drop_unknown_address));
  add(kPeer, 0, "", count(Counter::drop_forged_source));
  if (host == 0) {
    add(kToHost, 1, "", count(Counter::drop_unknown_address));
    return;
  }
  add(kEntry, kEntryPriority, fmt::format("in_port={}", host), go(kFromHost));
  add(kFromHost, 0, "", count(Counter::drop_unknown_address));
  add(kToHost, 1, "",
      fmt::format("set_field:{0}->eth_src,set_field:{0}->eth_dst,{1},output:{2}",
                  kRouterMac.to_string(), kForgetPort, host));
}

void emit_answers(const Emitter& add, bool answers_nd) {
  const std::string owner = "move:OXM_OF_PKT_REG1[0..47]";
  const std::string answered = count(Counter::neighbor_answers) + ",IN_PORT";
  add(kAnswer, 1, "arp",
      fmt::format("move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_DST[],{0}->NXM_OF_ETH_SRC[],"
                  "load:0x2->NXM_OF_ARP_OP[],"
                  "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],{0}->NXM_NX_ARP_SHA[],"
                  "move:NXM_OF_ARP_TPA[]->NXM_NX_REG4[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
                  "move:NXM_NX_REG4[]->NXM_OF_ARP_SPA[],{1}",
                  owner, answered));
  // A solicitation that a switch cannot answer is one of its sender's for the address' owner.
  const std::string solicitation = "icmp6,icmp_type=135,icmp_code=0";
  const std::string pass_on = fmt::format("{}->NXM_OF_ETH_DST[],{}", owner, go(kAddress));
  add(kAnswer, 6, fmt::format("{},{}", solicitation, known(0, kOwn)),
      count(Counter::drop_forged_source));
  // The router has nobody to hand it to.
  const std::string unanswered = count(Counter::drop_unknown_neighbor);
  const std::string of_router =
      fmt::format("{},xreg1=0x{}", solicitation, hex(kRouterMac.to_string()));
  if (!answers_nd) {
    add(kAnswer, 4, of_router, unanswered);
    add(kAnswer, 1, solicitation, pass_on);
    return;
  }
  // Duplicate address detection: all nodes are told (RFC 4861, section 7.2.4). Such a solicitation
  // has no option that could become that of the answer, and needs none.
  add(kAnswer, 5, solicitation + ",ipv6_src=::,nd_sll=00:00:00:00:00:00",
      fmt::format("set_field:33:33:00:00:00:01->eth_dst,{}->NXM_OF_ETH_SRC[],"
                  "move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[],set_field:ff02::1->ipv6_dst,"
                  "set_field:136->icmpv6_type,{}",
                  owner, answered));
  add(kAnswer, 4, of_router + ",nd_sll=00:00:00:00:00:00", unanswered);
  add(kAnswer, 3, solicitation + ",nd_sll=00:00:00:00:00:00", pass_on);
  add(kAnswer, 1, solicitation,
      fmt::format("move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],{}->NXM_OF_ETH_SRC[],"
                  "move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],"
                  "move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[],set_field:136->icmpv6_type,{}",
                  owner, go(kAdvertise)));
  // Solicited and override; the sender's link-layer address option becomes the target's.
  add(kAdvertise, 1, "icmp6,icmp_type=136",
      fmt::format("set_field:0x60000000->nd_reserved,set_field:2->nd_options_type,"
                  "{}->NXM_NX_ND_TLL[],{}",
                  owner, answered));
}

}  // namespace

void emit_pipeline(FlowImage& image, const BridgePorts& ports) {
  const Emitter add(image, "the pipeline");
  emit_unicast(add, ports);
  emit_tunnel(add, ports);
  emit_probes(add, ports);
  emit_group(add);
  emit_other(add);
  emit_router(add, ports.host);
  emit_answers(add, ports.answers_nd);
  for (Counter counter : {
#define X(name) Counter::name,
           HOMEPORT_OVS_COUNTERS(X)
#undef X
       }) {
    add(kCount, 1, fmt::format("reg6={}", static_cast<unsigned>(counter)), "drop");
  }
}

}  // namespace homeport::overlay::ovs
