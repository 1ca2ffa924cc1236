// The flows that every host has: docs/ovs-datapath.md has them as a drawing.
#include "overlay/datapath/ovs/pipeline.h"

#include "overlay/datapath/ovs/words.h"

#include <fmt/format.h>

namespace homeport::overlay::ovs {

namespace {

void emit_unicast(const Emitter& add, std::int64_t tunnel) {
  add(kEntry, kEntryPriority, fmt::format("in_port={}", tunnel), go(kFromTunnel));

  add(kFromPort, 2, std::string(kToGroup), go(kGroup));
  add(kFromPort, 0, "", count(Counter::drop_forged_source));
  add(kFromTunnel, 0, "", count(Counter::drop_unknown_vtep));

  add(kAddress, 2, fmt::format("{},{}", known(kTunnelled), kToGroup), go(kGroup));
  add(kAddress, 1, known(0, kTunnelled), count(Counter::drop_unknown_address));
  add(kAddress, 0, "", count(Counter::drop_unknown_network));

  add(kRoute, 1, known(0, kTunnelled | kElsewhere), go(kDeliver));
  add(kRoute, 1, known(kElsewhere, kTunnelled | kElsewhere), go(kSend));
  add(kRoute, 1, known(kTunnelled), go(kSource));

  add(kSource, 1, known(kForged), count(Counter::drop_unknown_address));
  add(kSource, 0, "", count(Counter::drop_forged_source));

  add(kArrived, 6, known(kForged), count(Counter::drop_forged_announcement));
  add(kArrived, 5, known(0, kElsewhere), go(kDeliver));
  add(kArrived, 3, known(kMarked), count(Counter::drop_forwarded_twice));
  add(kArrived, 2, "",
      fmt::format("{},{},{},output:{}", count(Counter::forwarded), kForgetPort, kKeyMarked,
                  tunnel));

  add(kSend, 1, "", fmt::format("{},output:{}", kKey, tunnel));
}

void emit_group(const Emitter& add) {
  add(kGroup, 3, known(0, kTunnelled), go(kNeighbor));
  add(kGroup, 1, known(kTunnelled), count(Counter::drop_unknown_network));

  // What has the form of an announcement, whoever sends it.
  const std::string form(kUntagged);
  add(kNeighbor, 9, fmt::format("rarp,{},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=3", form), go(kJudge));
  const std::string advertisement = fmt::format(
      "icmp6,icmp_type=136,icmp_code=0,nw_ttl=255,{},dl_dst=33:33:00:00:00:01,"
      "ipv6_dst=ff02::1",
      form);
  add(kNeighbor, 10, advertisement + ",nd_tll=00:00:00:00:00:00", count(Counter::drop_multicast));
  add(kNeighbor, 9, advertisement, go(kJudge));
  // Requests for what no address of the network has, and everything else.
  add(kNeighbor, 2, fmt::format("arp,arp_op=1,{}", known(0, kTunnelled)),
      count(Counter::drop_unknown_neighbor));
  add(kNeighbor, 2,
      fmt::format("icmp6,icmp_type=135,icmp_code=0,nw_ttl=255,{}", known(0, kTunnelled)),
      count(Counter::drop_unknown_neighbor));
  add(kNeighbor, 1, "", count(Counter::drop_multicast));

  // Not true: of an address that is not its sender's. From another host, the sender may be unknown.
  const std::string forged = fmt::format("{},{}", learn(kForged), go(kSource));
  for (Table table : {kJudge, kSender}) {
    add(table, 1, known(0, kTunnelled), count(Counter::drop_forged_announcement));
    add(table, 1, known(kTunnelled), forged);
  }
  add(kSender, 2, "ipv6,ipv6_src=fe80::/10", go(kAnnounce));
  add(kAnnounce, 1, "",
      fmt::format("{},check_pkt_larger({})->NXM_NX_REG1[4],{}", count(Counter::announcements),
                  kLongestAnnouncement, go(kCopy)));
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
  add(kAnswer, 5, fmt::format("{},{}", solicitation, known(0, kOwn)),
      count(Counter::drop_forged_source));
  if (!answers_nd) {
    add(kAnswer, 1, solicitation, pass_on);
    return;
  }
  // Duplicate address detection: all nodes are told (RFC 4861, section 7.2.4). Such a solicitation
  // has no option that could become that of the answer, and needs none.
  add(kAnswer, 4, solicitation + ",ipv6_src=::,nd_sll=00:00:00:00:00:00",
      fmt::format("set_field:33:33:00:00:00:01->eth_dst,{}->NXM_OF_ETH_SRC[],"
                  "move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[],set_field:ff02::1->ipv6_dst,"
                  "set_field:136->icmpv6_type,{}",
                  owner, answered));
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
  emit_unicast(add, ports.tunnel);
  emit_group(add);
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
