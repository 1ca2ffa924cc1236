/* A frame that another host has sent: what is decided about it, the same at the VXLAN device
 * (hp_from_tunnel) and in front of it (hp_from_underlay), and what keeps the two in order. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/neighbor.h"

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

/* What of the inner frame has to be readable: up to the first byte behind an IPv6 header. A GSO
 * packet of TCP over IPv4 has 66 bytes in its linear part: more would have to be copied from its
 * data, and what is left of those is no longer joined to what was received before. */
#define HP_READ_INNER (ETH_HLEN + sizeof(struct ipv6hdr) + 1)

#define HP_TCP_FLAGS 13 /* offset of the flags in a header of TCP (RFC 9293) */
/* FIN, SYN, RST, PSH, URG: the kernel joins nothing to a segment with one of them. */
#define HP_TCP_ENDS 0x2f

/* Makes the first `length` bytes of the packet readable, if it has so many. Pointers into it are
 * invalid then. */
static __always_inline void hp_pull(struct __sk_buff* skb, __u32 length) {
  if (length > skb->len) length = skb->len;
  const __u64 readable = skb->data_end - skb->data;
  if (readable < length) bpf_skb_pull_data(skb, length);
}

/* The application that (vni, destination) is. */
static __always_inline struct hp_address* hp_find(const struct ethhdr* ethernet, __u32 vni,
                                                  struct hp_address_key* key) {
  key->vni = vni & ~HP_VNI_MARK;
  __builtin_memcpy(key->mac, ethernet->h_dest, 6);
  return bpf_map_lookup_elem(&hp_addresses, key);
}

/* Whether the frame may be from who it says: any of the network's applications, as which host one
 * is on is not the same everywhere while it moves; or the router of the host it comes from. */
static __always_inline int hp_is_of_network(const struct ethhdr* ethernet, __u32 vni) {
  struct hp_address_key source = {.vni = vni & ~HP_VNI_MARK};
  __builtin_memcpy(source.mac, ethernet->h_source, 6);
  return bpf_map_lookup_elem(&hp_addresses, &source) || hp_is_router(source.mac);
}

/* What of an inner frame tells how it comes in. */
struct hp_inner {
  /* What frames are on their way through the VXLAN device on this processor, of those with the same
   * source and destination IP as this one, of TCP or not, or that happen to share their slot. 0: it
   * is of a kind that always goes that way. */
  struct hp_flow* flow;
  __u32 headers; /* bytes in front of what the kernel cuts a GSO packet into */
  /* 1: of TCP, and the kernel may join what follows to it, where it waits for that (GRO); or it
   * only acknowledges. These have cost less on the short way, and yet throughput was 5 % lower: the
   * receiver, which sends them, has gone to sleep more often, and who sends has to wake it. */
  __u32 joins;
  __u32 tcp;
};

/* `plain`: 0 if the packet's protocol is TCP, but its header is elsewhere or may be. */
static __always_inline void hp_read_tcp(const __u8* tcp, const void* end, int plain,
                                        struct hp_inner* inner) {
  inner->tcp = inner->joins = 1;
  if (!plain || (void*)(tcp + HP_TCP_FLAGS + 1) > end) return;
  inner->headers += (tcp[HP_TCP_FLAGS - 1] >> 4) * 4;
  inner->joins = !(tcp[HP_TCP_FLAGS] & HP_TCP_ENDS);
}

static __always_inline struct hp_inner hp_read_inner(const struct ethhdr* ethernet,
                                                     const void* end) {
  struct hp_inner inner = {};
  __u32 hash;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    const struct iphdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end) return inner;
    inner.headers = ETH_HLEN + sizeof(*ip);
    if (ip->protocol == IPPROTO_TCP) {
      const int plain = *(__u8*)ip == 0x45 && !(ip->frag_off & bpf_htons(HP_IP_FRAGMENT));
      hp_read_tcp((void*)(ip + 1), end, plain, &inner);
    } else if (ip->protocol == IPPROTO_UDP || ip->protocol == IPPROTO_ICMP) {
      inner.headers += sizeof(struct udphdr);
    } else {
      return inner;
    }
    hash = ip->saddr * 0x85ebca6bu + ip->daddr;
  } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    const struct ipv6hdr* ip = (void*)(ethernet + 1);
    const __u8* behind = (void*)(ip + 1);
    if ((void*)(behind + 1) > end) return inner;
    inner.headers = ETH_HLEN + sizeof(*ip);
    const int fragment = ip->nexthdr == HP_NEXT_FRAGMENT;
    const __u8 next = fragment ? *behind : ip->nexthdr;
    if (next == IPPROTO_TCP) {
      hp_read_tcp(behind, end, !fragment, &inner);
    } else if (next == IPPROTO_UDP || next == IPPROTO_ICMPV6) {
      inner.headers += sizeof(struct udphdr);
    } else {
      return inner;
    }
    const __u32 *from = ip->saddr.in6_u.u6_addr32, *to = ip->daddr.in6_u.u6_addr32;
    hash = (from[0] ^ from[1] ^ from[2] ^ from[3]) * 0x85ebca6bu + (to[0] ^ to[1] ^ to[2] ^ to[3]);
  } else {
    return inner;
  }
  if (inner.tcp) hash = ~hash; /* What is sent by UDP does not wait for that. */
  const __u32 slot = (hash * 0x9e3779b1u) >> (32 - HP_FLOW_BITS);
  inner.flow = bpf_map_lookup_elem(&hp_flows, &slot);
  return inner;
}

/* As how many frames it counts: the kernel cuts a GSO packet of UDP into its datagrams on the way
 * to the VXLAN device, or does not, and joins segments of TCP there. `length`: of the frame. */
static __always_inline __u32 hp_frames(struct __sk_buff* skb, const struct hp_inner* inner,
                                       __u32 length) {
  const __u32 size = skb->gso_size;
  if (!size) return 1;
  return length > inner->headers ? (length - inner->headers + size - 1) / size : 1;
}

/* It goes through the VXLAN device, which queues it; what follows it must not overtake it. */
static __always_inline int hp_leave_to_vxlan(struct hp_flow* flow, __u32 frames) {
  flow->waiting += frames;
  flow->since = bpf_ktime_get_ns();
  return TC_ACT_UNSPEC;
}

/* Whether nothing waits in front of it. One that the kernel has dropped on the way never leaves, so
 * after a time in which none came the count begins anew. */
static __always_inline int hp_is_first(struct hp_flow* flow) {
  if (!flow->waiting) return 1;
  if (bpf_ktime_get_ns() - flow->since < HP_FLOW_WAITS_NS) return 0;
  flow->waiting = 0;
  return 1;
}

/* It has come out of the VXLAN device. */
static __always_inline void hp_leave_vxlan(struct __sk_buff* skb, const struct ethhdr* ethernet) {
  const struct hp_inner inner = hp_read_inner(ethernet, (void*)(long)skb->data_end);
  if (!inner.flow) return;
  const __u32 frames = hp_frames(skb, &inner, skb->len);
  inner.flow->waiting -= frames < inner.flow->waiting ? frames : inner.flow->waiting;
}
