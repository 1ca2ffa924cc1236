/* Frames to a group, broadcast or multicast: they go to the members of their network, here and on
 * other hosts, and nowhere else. What asks for a neighbor is answered, what announces is judged. */
#pragma once

#include "overlay/datapath/ebpf/announcement.h"
#include "overlay/datapath/ebpf/deliver.h"

/* To whom a frame is on its way. */
struct hp_group {
  struct __sk_buff* skb;
  struct hp_vtep from; /* the host it came from, if `relayed` */
  __u32 vni;
  __u32 traffic_class;
  __u32 relayed; /* by the host that an application moves away from: for that application alone */
  __u8 mac[6];   /* of the application that sends */
};

/* For each index of the network's ports here. An application takes part where its address says that
 * it is: not at a port that is held or that it has left. The one that sends does not, neither at
 * the port it sends from nor, after a move, where this host still believes it to be.
 *
 * To one that is moving away from here it is sent on. That goes without the mark, by which its new
 * host knows whom it is for: what the sender itself sends there, marked, is for the others. Nor
 * does a host relay it: it is taken as from here only where it comes from. */
static long hp_to_port(__u32 index, struct hp_group* group) {
  struct hp_member_key member = {.vni = group->vni, .index = index};
  __u32* ifindex = bpf_map_lookup_elem(&hp_network_ports, &member);
  if (!ifindex) return 0;
  struct hp_port* port = bpf_map_lookup_elem(&hp_ports, ifindex);
  if (!port || port->vni != group->vni || hp_same_mac(port->mac, group->mac)) return 0;
  struct hp_address_key key = {.vni = port->vni};
  __builtin_memcpy(key.mac, port->mac, 6);
  struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
  if (!address) return 0;
  if (group->relayed) {
    if (!port->held || !address->remote || !hp_same_vtep(&group->from, &address->vtep)) return 0;
    hp_count(HP_COUNT_delivered_held);
  } else if (address->remote) {
    if (!port->held && hp_set_tunnel(group->skb, &address->vtep, group->vni, group->traffic_class,
                                     HP_DIRECT) == 0) {
      bpf_clone_redirect(group->skb, hp_vxlan_ifindex, 0);
    }
    return 0;
  } else if (address->local.ifindex != *ifindex) {
    return 0;
  }
  hp_count_delivered(group->skb, port->slot);
  bpf_clone_redirect(group->skb, *ifindex, 0);
  return 0;
}

/* For each index of the network's hosts. Marked, so that no host sends it on. */
static long hp_to_host(__u32 index, struct hp_group* group) {
  struct hp_member_key key = {.vni = group->vni, .index = index};
  struct hp_vtep* host = bpf_map_lookup_elem(&hp_network_hosts, &key);
  if (host && hp_set_tunnel(group->skb, host, group->vni | HP_VNI_MARK, group->traffic_class,
                            HP_ANY_WAY) == 0) {
    bpf_clone_redirect(group->skb, hp_vxlan_ifindex, 0);
  }
  return 0;
}

/* Every copy is on its way: done with, not dropped. */
static __noinline int hp_from_port_to_group(struct hp_group* group, __u32 counter) {
  struct hp_network* network = bpf_map_lookup_elem(&hp_networks, &group->vni);
  if (network) {
    bpf_loop(network->ports, hp_to_port, group, 0);
    bpf_loop(network->hosts, hp_to_host, group, 0);
  }
  hp_count(counter);
  return TC_ACT_STOLEN;
}

/* ARP that neither asks nor announces is for one, and is not sent to all. */
static __always_inline int hp_is_arp(struct __sk_buff* skb) {
  return skb->protocol == bpf_htons(ETH_P_ARP) || skb->protocol == bpf_htons(ETH_P_RARP);
}

#define HP_ND_ROUTER_SOLICITATION 133
#define HP_ND_REDIRECT 137
#define HP_MLD_QUERY 130
#define HP_MLD_REPORT 131
#define HP_MLD_DONE 132
#define HP_MLD2_REPORT 143

/* Whether an IPv6 packet to a group can do no more than talk: advertisements of neighbors are
 * passed as announcements only, and what could be one behind other headers is not (RFC 6980 has the
 * same in mind). A listener's report has a router alert in front (RFC 2710, RFC 3810). */
static __noinline int hp_harmless_v6(struct __sk_buff* skb, const struct hp_group* group) {
  struct ipv6hdr ip;
  struct {
    __u8 next;
    __u8 more; /* in 8 bytes, behind the first 8 */
  } options;
  __u8 type;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
  switch (ip.nexthdr) {
    case IPPROTO_ICMPV6:
      if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &type, 1)) return 0;
      if (type < HP_ND_ROUTER_SOLICITATION || type > HP_ND_REDIRECT) return 1;
      if (type == HP_ND_ADVERTISEMENT || type == HP_ND_REDIRECT || ip.hop_limit != 255) return 0;
      /* A question says where the asker is, too. */
      if (type != HP_ND_SOLICITATION) return 1;
      return !(ip.saddr.s6_addr32[0] | ip.saddr.s6_addr32[1] | ip.saddr.s6_addr32[2] |
               ip.saddr.s6_addr32[3]) ||
             hp_link_local(ip.saddr.s6_addr) || hp_owns_v6(group->vni, &ip.saddr, group->mac);
    case IPPROTO_HOPOPTS:
      if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &options, sizeof(options)) ||
          bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip) + 8, &type, 1)) {
        return 0;
      }
      return options.next == IPPROTO_ICMPV6 && options.more == 0 &&
             (type == HP_MLD_QUERY || type == HP_MLD_REPORT || type == HP_MLD_DONE ||
              type == HP_MLD2_REPORT);
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_DSTOPTS:
      return 0;
    default:
      return 1;
  }
}

static __always_inline int hp_from_port_multicast(struct __sk_buff* skb, const struct hp_port* port,
                                                  const __u8* source) {
  struct hp_group group = {
      .skb = skb, .vni = port->vni, .traffic_class = hp_class_of(skb, port->traffic_class)};
  __builtin_memcpy(group.mac, port->mac, 6);
  const int is_own = hp_same_mac(source, port->mac);
  switch (hp_judge(skb, group.vni, group.mac)) {
    case HP_FORGED_ANNOUNCEMENT:
      return hp_drop(HP_COUNT_drop_forged_announcement);
    case HP_TRUE_ANNOUNCEMENT:
      return hp_from_port_to_group(&group, HP_COUNT_announcements);
  }
  int answered = HP_NOT_ASKED;
  if (skb->vlan_present == 0) {
    if (skb->protocol == bpf_htons(ETH_P_ARP)) answered = hp_answer_arp(skb, group.vni);
    if (skb->protocol == bpf_htons(ETH_P_IPV6)) answered = hp_answer_nd(skb, group.vni);
  }
  if (answered >= 0) return answered;
  if (!is_own) return hp_drop(HP_COUNT_drop_forged_source);
  if (port->flags & HP_NORMAL) return TC_ACT_OK;
  if (answered == HP_UNANSWERED) return hp_drop(HP_COUNT_drop_unknown_neighbor);
  if (hp_is_arp(skb) || (skb->protocol == bpf_htons(ETH_P_IPV6) && !hp_harmless_v6(skb, &group))) {
    return hp_drop(HP_COUNT_drop_multicast);
  }
  /* Nobody is told that a packet to a group is too big: it is fragmented outside, over IPv4. */
  return hp_from_port_to_group(&group, HP_COUNT_multicast);
}

/* The same from another host. It has judged by its bindings; here they may be different, and are
 * what counts. Goes to ports only. */
static __always_inline int hp_from_tunnel_multicast(struct __sk_buff* skb,
                                                    const struct hp_vtep* from, __u32 marked_vni,
                                                    const __u8* source) {
  struct hp_group group = {.skb = skb,
                           .vni = marked_vni & ~HP_VNI_MARK,
                           .from = *from,
                           .traffic_class = hp_class_of(skb, HP_CLASS_DEFAULT),
                           .relayed = !(marked_vni & HP_VNI_MARK)};
  __builtin_memcpy(group.mac, source, 6);
  struct hp_network* network = bpf_map_lookup_elem(&hp_networks, &group.vni);
  if (!network) return hp_drop(HP_COUNT_drop_unknown_network);
  struct hp_address_key key = {.vni = group.vni};
  __builtin_memcpy(key.mac, group.mac, 6);
  if (!bpf_map_lookup_elem(&hp_addresses, &key)) return hp_drop(HP_COUNT_drop_unknown_address);
  const int judgement = hp_judge(skb, group.vni, group.mac);
  if (judgement == HP_FORGED_ANNOUNCEMENT) return hp_drop(HP_COUNT_drop_forged_announcement);
  if (judgement == HP_NO_ANNOUNCEMENT && hp_is_arp(skb)) return hp_drop(HP_COUNT_drop_multicast);
  bpf_loop(network->ports, hp_to_port, &group, 0);
  hp_count(judgement == HP_TRUE_ANNOUNCEMENT ? HP_COUNT_announcements : HP_COUNT_multicast);
  return TC_ACT_STOLEN;
}
