/* The short way in: a frame from another host is taken where it arrives, at the device of the
 * underlay, before the kernel's way through IP, UDP and VXLAN. Only the plain case is: whatever is
 * not for an application that is here, or is not as expected in any other way, is left alone and
 * goes through the VXLAN device, so that without this program everything works the same. */
#pragma once

#include "overlay/datapath/ebpf/arrival.h"
#include "overlay/datapath/ebpf/deliver.h"
#include "overlay/datapath/ebpf/too_big.h"
#include "overlay/datapath/ebpf/vxlan.h"

#define HP_PACKET_HOST 0 /* skb->pkt_type: to this device's MAC address */
#define HP_IP_MORE 0x2000

/* bpf_skb_adjust_room() of Linux 6.3: newer than the headers this is built with. */
#define HP_DECAP_TO_V4 (1ULL << 7)
#define HP_DECAP_TO_V6 (1ULL << 8)

/* What has to be readable behind the outer IP header. */
#define HP_READ (sizeof(struct hp_tunnel) + HP_READ_INNER)

/* Of the inner packet, which is IP and long enough: hp_read_inner() has looked. */
static __always_inline __u8 hp_inner_ecn(const struct ethhdr* inner) {
  const __u8* ip = (void*)(inner + 1);
  const __u8 traffic_class = inner->h_proto == bpf_htons(ETH_P_IP) ? ip[1] : ip[1] >> 4;
  return traffic_class & HP_ECN;
}

/* Whether the tunnel's headers are what one of our hosts sends for a frame that is nothing special:
 * the outer packet is `length` bytes from the UDP header on. */
static __always_inline int hp_is_plain(struct __sk_buff* skb, const struct hp_tunnel* tunnel,
                                       __u32 length, __u8 outer_ecn) {
  if (skb->gso_size || tunnel->udp.check || bpf_ntohs(tunnel->udp.len) != length) return 0;
  if (tunnel->flags != bpf_htonl(HP_VXLAN_FLAGS)) return 0;
  if (tunnel->vni & bpf_htonl(HP_VNI_MARK << 8 | 0xff)) return 0;
  /* Otherwise congestion that was met on the way has to be told inside (RFC 6040). */
  return outer_ecn == 0 || outer_ecn == hp_inner_ecn((void*)(tunnel + 1));
}

/* Takes the headers in front of the inner frame away: `outer` bytes are those of outer IP. */
static __always_inline long hp_decapsulate(struct __sk_buff* skb, const struct ethhdr* inner,
                                           int outer) {
  const struct ethhdr ethernet = *inner;
  const __u64 to = ethernet.h_proto == bpf_htons(ETH_P_IP) ? HP_DECAP_TO_V4 : HP_DECAP_TO_V6;
  /* The outer Ethernet header is what stays, with the inner one's contents. */
  const long failed = bpf_skb_adjust_room(skb, -(int)(outer + sizeof(struct hp_tunnel) + ETH_HLEN),
                                          BPF_ADJ_ROOM_MAC, to);
  return failed ?: bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0);
}

/* A packet to our VXLAN port at this host's VTEP. `outer`: length of the outer IP header. */
static __always_inline int hp_take(struct __sk_buff* skb, const struct hp_vtep* from,
                                   const struct hp_tunnel* tunnel, int outer, int plain,
                                   __u8 outer_ecn) {
  struct hp_host_address* known = bpf_map_lookup_elem(&hp_vteps, from);
  if (!known) return TC_ACT_UNSPEC;
  const struct ethhdr* frame = (void*)(tunnel + 1);
  const struct hp_inner inner = hp_read_inner(frame, (void*)(long)skb->data_end);
  if (!inner.flow) return TC_ACT_UNSPEC;
  const __u32 length = skb->len - ETH_HLEN - outer;
  const __u32 frames = hp_frames(skb, &inner, length - sizeof(*tunnel));
  if (!plain || inner.joins || hp_fast_off || !hp_is_first(inner.flow) ||
      !hp_is_plain(skb, tunnel, length, outer_ecn)) {
    return hp_leave_to_vxlan(inner.flow, frames);
  }
  const __u32 vni = bpf_ntohl(tunnel->vni) >> 8;
  struct hp_address_key key = {};
  struct hp_address* address = hp_find(frame, vni, &key);
  if (!address || address->remote || !hp_is_of_network(frame, vni)) {
    return hp_leave_to_vxlan(inner.flow, frames);
  }
  if (hp_decapsulate(skb, frame, outer)) return hp_drop(HP_COUNT_drop_malformed);
  hp_note_time(&known->heard);
  hp_count(HP_COUNT_delivered_fast);
  return hp_deliver(skb, &address->local);
}

static __always_inline int hp_take_v4(struct __sk_buff* skb) {
  hp_pull(skb, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr));
  struct iphdr* ip = (void*)(long)skb->data + ETH_HLEN;
  struct hp_tunnel* tunnel = (void*)(ip + 1);
  if ((void*)(&tunnel->udp + 1) > (void*)(long)skb->data_end) return TC_ACT_UNSPEC;
  /* Only the first of several fragments has a UDP header: what it marks as waiting is the whole. */
  if (*(__u8*)ip != 0x45 || ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(HP_IP_OFFSET) ||
      !ip->daddr || ip->daddr != bpf_htonl(hp_local_v4) ||
      tunnel->udp.dest != bpf_htons(hp_udp_port)) {
    return TC_ACT_UNSPEC;
  }
  hp_pull(skb, ETH_HLEN + sizeof(struct iphdr) + HP_READ);
  ip = (void*)(long)skb->data + ETH_HLEN;
  tunnel = (void*)(ip + 1);
  if ((void*)(tunnel + 1) + ETH_HLEN > (void*)(long)skb->data_end) return TC_ACT_UNSPEC;
  const struct hp_vtep from = {.words = {bpf_ntohl(ip->saddr)}};
  const int plain = !(ip->frag_off & bpf_htons(HP_IP_MORE)) && hp_header_sum(ip) == 0xffff &&
                    bpf_ntohs(ip->tot_len) == skb->len - ETH_HLEN;
  return hp_take(skb, &from, tunnel, sizeof(*ip), plain, ip->tos & HP_ECN);
}

static __always_inline int hp_take_v6(struct __sk_buff* skb) {
  hp_pull(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr));
  struct ipv6hdr* ip = (void*)(long)skb->data + ETH_HLEN;
  struct hp_tunnel* tunnel = (void*)(ip + 1);
  if ((void*)(&tunnel->udp + 1) > (void*)(long)skb->data_end) return TC_ACT_UNSPEC;
  const __u32* to = ip->daddr.in6_u.u6_addr32;
  if (*(__u8*)ip >> 4 != 6 || !(to[0] | to[1] | to[2] | to[3]) || ip->nexthdr != IPPROTO_UDP ||
      tunnel->udp.dest != bpf_htons(hp_udp_port) || to[0] != hp_local_v6[0] ||
      to[1] != hp_local_v6[1] || to[2] != hp_local_v6[2] || to[3] != hp_local_v6[3]) {
    return TC_ACT_UNSPEC;
  }
  hp_pull(skb, ETH_HLEN + sizeof(struct ipv6hdr) + HP_READ);
  ip = (void*)(long)skb->data + ETH_HLEN;
  tunnel = (void*)(ip + 1);
  if ((void*)(tunnel + 1) + ETH_HLEN > (void*)(long)skb->data_end) return TC_ACT_UNSPEC;
  struct hp_vtep from = {.v6 = 1};
  __builtin_memcpy(from.words, &ip->saddr, 16);
  const int plain = bpf_ntohs(ip->payload_len) == skb->len - ETH_HLEN - sizeof(*ip);
  return hp_take(skb, &from, tunnel, sizeof(*ip), plain, ((__u8*)ip)[1] >> 4 & HP_ECN);
}
