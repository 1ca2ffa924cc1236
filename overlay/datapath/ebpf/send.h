/* The short way out: a frame to another host gets its outer headers here, and goes to the device
 * of the underlay that the kernel's routing names, instead of through the VXLAN device. On the wire
 * it is what that device would have made of it. Whatever is not plain is left to that device, so
 * that with this off everything works the same.
 *
 * Nothing overtakes: both ways end in the queue of the same device before the program's caller goes
 * on, and the kernel hashes both alike, for that queue and for the outer source port. */
#pragma once

#include "overlay/datapath/ebpf/arrival.h"
#include "overlay/datapath/ebpf/deliver.h"
#include "overlay/datapath/ebpf/vxlan.h"

#define HP_LEFT_TO_VXLAN (-1)
#define HP_AF_INET 2
#define HP_AF_INET6 10
#define HP_TTL 64
#define HP_ECT_0 2

/* bpf_fib_lookup() of Linux 6.4: newer than the headers this is built with. An older kernel refuses
 * it, and everything goes through the VXLAN device. */
#define HP_FIB_SKIP_NEIGH (1u << 2)

/* The device that what the host itself sends comes from, by the routing's rules: "iif lo". The
 * kernel answers for a device with forwarding only, which the agent sees to. */
#define HP_LOOPBACK_IFINDEX 1

/* The kernel does not tell a program the MTU that a route of IPv4 has of its own ("mtu" of
 * ip-route(8)), only its device's and what it has learned. No route that carries a tunnel has a
 * lower one than this; what is longer goes through the VXLAN device, which fragments it there. */
#define HP_LONGEST_V4 1280

struct hp_outer_v4 {
  struct iphdr ip;
  struct hp_tunnel tunnel;
  struct ethhdr inner;
};
struct hp_outer_v6 {
  struct ipv6hdr ip;
  struct hp_tunnel tunnel;
  struct ethhdr inner;
};
/* Without padding behind. */
#define HP_OUTER_V4 (sizeof(struct iphdr) + sizeof(struct hp_tunnel) + ETH_HLEN)
#define HP_OUTER_V6 (sizeof(struct ipv6hdr) + sizeof(struct hp_tunnel) + ETH_HLEN)

/* One after the other: the stack of all programs in a chain of calls is 512 bytes. */
union hp_scratch {
  struct bpf_fib_lookup route;
  struct hp_outer_v4 v4;
  struct hp_outer_v6 v6;
};

/* What the outer headers are made of. */
struct hp_sending {
  __u32 vni;
  __u16 source; /* UDP port, in network order */
  __u8 tos;     /* DSCP and ECN */
  struct bpf_redir_neigh next;
  __u32 out; /* ifindex */
};

/* The outer source port by which routers and receivers tell flows apart: that of the VXLAN device
 * for the same frame (udp_flow_src_port() of the kernel). 0: it has another way to choose one. */
static __always_inline __u16 hp_source_port(struct __sk_buff* skb) {
  __u32 hash = bpf_get_hash_recalc(skb);
  if (!hash || !hp_source_ports) return 0;
  hash ^= hash << 16;
  return bpf_htons((__u16)((__u64)hash * hp_source_ports >> 32) + hp_first_source_port);
}

/* Congestion that the frame can tell of, and has not met yet (RFC 6040). */
static __always_inline __u8 hp_outer_ecn(__u16 protocol, const __u8* ip) {
  const __u8 ecn = (protocol == bpf_htons(ETH_P_IP) ? ip[1] : ip[1] >> 4) & HP_ECN;
  return ecn == HP_ECN ? HP_ECT_0 : ecn;
}

static __always_inline void hp_fill_tunnel(struct hp_tunnel* tunnel,
                                           const struct hp_sending* sending, __u32 length) {
  tunnel->udp.source = sending->source;
  tunnel->udp.dest = bpf_htons(hp_udp_port);
  tunnel->udp.len = bpf_htons(length);
  tunnel->udp.check = 0;
  tunnel->flags = bpf_htonl(HP_VXLAN_FLAGS);
  tunnel->vni = bpf_htonl(sending->vni << 8);
}

/* The kernel's answer where the outer packet goes. 0 if it goes to a neighbor, in one piece. */
static __always_inline long hp_find_route(struct __sk_buff* skb, struct bpf_fib_lookup* route,
                                          struct hp_sending* sending, __u32 length) {
  route->l4_protocol = IPPROTO_UDP;
  route->sport = sending->source;
  route->dport = bpf_htons(hp_udp_port);
  route->tot_len = length;
  route->ifindex = HP_LOOPBACK_IFINDEX;
  if (bpf_fib_lookup(skb, route, sizeof(*route), HP_FIB_SKIP_NEIGH)) return -1;
  sending->out = route->ifindex;
  sending->next.nh_family = route->family; /* The next hop of an IPv4 packet may have IPv6. */
  __builtin_memcpy(sending->next.ipv6_nh, route->ipv6_dst, 16);
  return 0;
}

static __always_inline int hp_copy_ethernet(struct __sk_buff* skb, struct ethhdr* copy) {
  const struct ethhdr* ethernet = (void*)(long)skb->data;
  if ((void*)(ethernet + 1) > (void*)(long)skb->data_end) return -1;
  *copy = *ethernet;
  return 0;
}

/* Makes `room` bytes of room behind the Ethernet header, for headers that end in another. 0 if that
 * was possible: if not, nothing has changed. */
static __always_inline long hp_make_room(struct __sk_buff* skb, __u32 room, __u64 family) {
  return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC,
                             family | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
                                 BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN));
}

/* 0, or HP_LEFT_TO_VXLAN and nothing has changed; otherwise the frame is lost. */
static __always_inline int hp_encapsulate_v4(struct __sk_buff* skb, const struct hp_vtep* to,
                                             __u32 from, struct hp_sending* sending,
                                             union hp_scratch* scratch) {
  struct hp_outer_v4* outer = &scratch->v4;
  const __u32 length = skb->len + HP_OUTER_V4 - ETH_HLEN;
  if (!from || length > HP_LONGEST_V4) return HP_LEFT_TO_VXLAN;
  scratch->route = (struct bpf_fib_lookup){
      .family = HP_AF_INET, .ipv4_src = bpf_htonl(from), .ipv4_dst = bpf_htonl(to->words[0])};
  if (hp_find_route(skb, &scratch->route, sending, length)) return HP_LEFT_TO_VXLAN;

  *(__u8*)&outer->ip = 0x45;
  outer->ip.tos = sending->tos;
  outer->ip.tot_len = bpf_htons(length);
  outer->ip.id = bpf_get_prandom_u32(); /* It may be fragmented on its way. */
  outer->ip.frag_off = 0;
  outer->ip.ttl = HP_TTL;
  outer->ip.protocol = IPPROTO_UDP;
  outer->ip.check = 0;
  outer->ip.saddr = bpf_htonl(from);
  outer->ip.daddr = bpf_htonl(to->words[0]);
  outer->ip.check = ~hp_header_sum(&outer->ip);
  hp_fill_tunnel(&outer->tunnel, sending, length - sizeof(outer->ip));
  if (hp_copy_ethernet(skb, &outer->inner) ||
      hp_make_room(skb, HP_OUTER_V4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)) {
    return HP_LEFT_TO_VXLAN;
  }
  return bpf_skb_store_bytes(skb, ETH_HLEN, outer, HP_OUTER_V4, 0) != 0;
}

static __always_inline int hp_encapsulate_v6(struct __sk_buff* skb, const struct hp_vtep* to,
                                             const __u32* from, struct hp_sending* sending,
                                             union hp_scratch* scratch) {
  struct hp_outer_v6* outer = &scratch->v6;
  const __u32 length = skb->len + HP_OUTER_V6 - ETH_HLEN;
  if (!(from[0] | from[1] | from[2] | from[3]) || length > 0xffff) {
    return HP_LEFT_TO_VXLAN;
  }
  scratch->route = (struct bpf_fib_lookup){.family = HP_AF_INET6};
  __builtin_memcpy(scratch->route.ipv6_src, from, 16);
  __builtin_memcpy(scratch->route.ipv6_dst, to->words, 16);
  if (hp_find_route(skb, &scratch->route, sending, length)) return HP_LEFT_TO_VXLAN;

  *(__be32*)&outer->ip = bpf_htonl(6u << 28 | (__u32)sending->tos << 20);
  outer->ip.payload_len = bpf_htons(length - sizeof(outer->ip));
  outer->ip.nexthdr = IPPROTO_UDP;
  outer->ip.hop_limit = HP_TTL;
  __builtin_memcpy(&outer->ip.saddr, from, 16);
  __builtin_memcpy(&outer->ip.daddr, to->words, 16);
  hp_fill_tunnel(&outer->tunnel, sending, length - sizeof(outer->ip));
  if (hp_copy_ethernet(skb, &outer->inner) ||
      hp_make_room(skb, HP_OUTER_V6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)) {
    return HP_LEFT_TO_VXLAN;
  }
  return bpf_skb_store_bytes(skb, ETH_HLEN, outer, HP_OUTER_V6, 0) != 0;
}

/* A verdict, or HP_LEFT_TO_VXLAN: then the frame is as it was. GSO packets are left, which the
 * device's offloads are for, and those with a mark, by which a host's routing may choose. */
static __noinline int hp_send_short(struct __sk_buff* skb, const struct hp_port* port,
                                    const struct hp_vtep* host, __u32 traffic_class) {
  if (!hp_fast_send || skb->gso_size || skb->mark || skb->vlan_present) return HP_LEFT_TO_VXLAN;
  const __u16 protocol = skb->protocol;
  if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6)) return HP_LEFT_TO_VXLAN;
  const __u8* ip = (void*)(long)skb->data + ETH_HLEN;
  if ((void*)(ip + 10) > (void*)(long)skb->data_end) return HP_LEFT_TO_VXLAN;
  struct hp_sending sending = {.vni = port->vni,
                               .tos = hp_outer_ecn(protocol, ip) | hp_dscp(traffic_class) << 2};
  sending.source = hp_source_port(skb);
  if (!sending.source) return HP_LEFT_TO_VXLAN;
  union hp_scratch scratch;
  struct hp_path* path = hp_path_to(host, traffic_class, &sending.vni);
  const struct hp_vtep* to = path ? &path->remote : host;
  /* Now, not when it has been sent: nothing more is kept on the stack that way. */
  if (path) hp_note_time(&path->sent);
  const int done = to->v6 ? hp_encapsulate_v6(skb, to, path ? path->local.words : hp_local_v6,
                                              &sending, &scratch)
                          : hp_encapsulate_v4(skb, to, path ? path->local.words[0] : hp_local_v4,
                                              &sending, &scratch);
  if (done == HP_LEFT_TO_VXLAN) return HP_LEFT_TO_VXLAN;
  if (done) return hp_drop(HP_COUNT_drop_malformed);
  hp_count(HP_COUNT_sent_fast);
  return bpf_redirect_neigh(sending.out, &sending.next, sizeof(sending.next), 0);
}

/* What an application here has sent to one on another host. */
static __always_inline int hp_send_from_port(struct __sk_buff* skb, const struct hp_port* port,
                                             const struct hp_vtep* host) {
  const __u32 traffic_class = hp_class_of(skb, port->traffic_class);
  const int verdict = hp_send_short(skb, port, host, traffic_class);
  if (verdict != HP_LEFT_TO_VXLAN) return verdict;
  return hp_send(skb, host, port->vni, traffic_class, hp_vxlan_ifindex);
}
