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

/* What of the inner frame has to be readable: up to the first byte behind an IPv6 header. */
#define HP_READ_INNER (ETH_HLEN + sizeof(struct ipv6hdr) + 1)

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

/* What frames are on their way through the VXLAN device on this processor, of those with the same
 * source and destination IP as this one or that happen to share their slot. 0: it is of a kind that
 * always goes that way. */
static __always_inline struct hp_flow* hp_flow_of(const struct ethhdr* ethernet, const void* end) {
  __u32 hash;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    const struct iphdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end) return 0;
    if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_ICMP) return 0;
    hash = ip->saddr * 0x85ebca6bu + ip->daddr;
  } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    const struct ipv6hdr* ip = (void*)(ethernet + 1);
    const __u8* behind = (void*)(ip + 1);
    if ((void*)(behind + 1) > end) return 0;
    const __u8 next = ip->nexthdr == HP_NEXT_FRAGMENT ? *behind : ip->nexthdr;
    if (next != IPPROTO_UDP && next != IPPROTO_ICMPV6) return 0;
    const __u32 *from = ip->saddr.in6_u.u6_addr32, *to = ip->daddr.in6_u.u6_addr32;
    hash = (from[0] ^ from[1] ^ from[2] ^ from[3]) * 0x85ebca6bu + (to[0] ^ to[1] ^ to[2] ^ to[3]);
  } else {
    return 0;
  }
  const __u32 slot = (hash * 0x9e3779b1u) >> (32 - HP_FLOW_BITS);
  return bpf_map_lookup_elem(&hp_flows, &slot);
}

/* As how many frames it may come out of the VXLAN device: the kernel cuts a GSO packet of UDP into
 * its datagrams on that way, or does not. `length`: of the frame. */
static __always_inline __u32 hp_frames(struct __sk_buff* skb, const struct ethhdr* ethernet,
                                       __u32 length) {
  const __u32 size = skb->gso_size;
  if (!size) return 1;
  const __u32 v4 = ethernet->h_proto == bpf_htons(ETH_P_IP);
  const __u32 headers =
      ETH_HLEN + (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + sizeof(struct udphdr);
  return length > headers ? (length - headers + size - 1) / size : 1;
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
  struct hp_flow* flow = hp_flow_of(ethernet, (void*)(long)skb->data_end);
  if (!flow) return;
  const __u32 frames = hp_frames(skb, ethernet, skb->len);
  flow->waiting -= frames < flow->waiting ? frames : flow->waiting;
}
