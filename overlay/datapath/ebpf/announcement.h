/* Announcements: gratuitous ARP (RFC 5227, section 3), unsolicited neighbor advertisement (RFC
 * 4861, section 7.2.6) and RARP, with which virtual machine monitors announce a guest. They are
 * passed only when they say what the bindings say. */
#pragma once

#include "overlay/datapath/ebpf/neighbor.h"

#include <linux/in.h>

enum hp_judgement { HP_NO_ANNOUNCEMENT, HP_TRUE_ANNOUNCEMENT, HP_FORGED_ANNOUNCEMENT };

static __always_inline int hp_owns(const struct hp_neighbor_key* ip, const __u8* mac) {
  struct hp_mac* owner = bpf_map_lookup_elem(&hp_neighbors, ip);
  return owner && hp_same_mac(owner->mac, mac);
}

static __always_inline int hp_owns_v4(__u32 vni, const __u8* ip, const __u8* mac) {
  struct hp_neighbor_key key = {.vni = vni, .ip = {[10] = 0xff, [11] = 0xff}};
  __builtin_memcpy(key.ip + 12, ip, 4);
  return hp_owns(&key, mac);
}

static __always_inline int hp_owns_v6(__u32 vni, const void* ip, const __u8* mac) {
  struct hp_neighbor_key key = {.vni = vni};
  __builtin_memcpy(key.ip, ip, 16);
  return hp_owns(&key, mac);
}

static __always_inline int hp_unset_v4(const __u8* ip) {
  return !(ip[0] | ip[1] | ip[2] | ip[3]);
}

/* `mac` is the MAC address the frame may speak for. */
static __noinline int hp_judge_arp(struct __sk_buff* skb, __u32 vni, const __u8* mac) {
  struct hp_arp_frame frame;
  if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame))) return HP_NO_ANNOUNCEMENT;
  const __u8 everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (!hp_same_mac(frame.ethernet.h_dest, everybody) ||
      frame.hardware != bpf_htons(HP_ARP_ETHERNET) || frame.protocol != bpf_htons(ETH_P_IP) ||
      frame.hardware_length != 6 || frame.protocol_length != 4) {
    return HP_NO_ANNOUNCEMENT;
  }
  int is_own = hp_same_mac(frame.ethernet.h_source, mac) && hp_same_mac(frame.sender_mac, mac);
  if (frame.ethernet.h_proto == bpf_htons(ETH_P_RARP)) {
    /* Asks for the addresses of its own MAC address; usually has none to tell. */
    if (frame.operation != bpf_htons(HP_RARP_REQUEST)) return HP_NO_ANNOUNCEMENT;
    is_own = is_own && hp_same_mac(frame.target_mac, mac) &&
             (hp_unset_v4(frame.sender_ip) || hp_owns_v4(vni, frame.sender_ip, mac)) &&
             (hp_unset_v4(frame.target_ip) || hp_owns_v4(vni, frame.target_ip, mac));
  } else {
    if (__builtin_memcmp(frame.sender_ip, frame.target_ip, 4) != 0 ||
        (frame.operation != bpf_htons(HP_ARP_REQUEST) &&
         frame.operation != bpf_htons(HP_ARP_REPLY))) {
      return HP_NO_ANNOUNCEMENT;
    }
    is_own = is_own && hp_owns_v4(vni, frame.sender_ip, mac);
  }
  return is_own ? HP_TRUE_ANNOUNCEMENT : HP_FORGED_ANNOUNCEMENT;
}

static __noinline int hp_judge_nd(struct __sk_buff* skb, __u32 vni, const __u8* mac) {
  struct hp_nd_frame frame;
  if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame))) return HP_NO_ANNOUNCEMENT;
  const __u8 all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
  struct in6_addr to, from, target;
  __builtin_memcpy(&to, &frame.ip.daddr, 16);
  __builtin_memcpy(&from, &frame.ip.saddr, 16);
  __builtin_memcpy(&target, &frame.target, 16);
  if (!hp_same_mac(frame.ethernet.h_dest, all_nodes_mac) ||
      to.s6_addr32[0] != bpf_htonl(0xff020000) || to.s6_addr32[1] || to.s6_addr32[2] ||
      to.s6_addr32[3] != bpf_htonl(1) || frame.ip.nexthdr != IPPROTO_ICMPV6 ||
      frame.ip.hop_limit != 255 || frame.ip.payload_len != bpf_htons(HP_ND_MESSAGE_LENGTH) ||
      frame.type != HP_ND_ADVERTISEMENT || frame.code != 0 ||
      (frame.flags & HP_ND_FLAGS_SOLICITED) || frame.option_type != HP_ND_TARGET_LINK_ADDRESS ||
      frame.option_length != 1) {
    return HP_NO_ANNOUNCEMENT;
  }
  if (hp_link_local(frame.target.s6_addr)) return HP_NO_ANNOUNCEMENT; /* in no binding */
  /* It may come from the announced address, another of the sender's, or a link-local one. */
  const int link_local = hp_link_local(from.s6_addr);
  return hp_same_mac(frame.ethernet.h_source, mac) && hp_same_mac(frame.option_mac, mac) &&
                 hp_owns_v6(vni, &target, mac) && (link_local || hp_owns_v6(vni, &from, mac))
             ? HP_TRUE_ANNOUNCEMENT
             : HP_FORGED_ANNOUNCEMENT;
}

/* Whether the frame is an announcement, and one that `mac` may make. */
static __always_inline int hp_judge(struct __sk_buff* skb, __u32 vni, const __u8* mac) {
  /* The biggest is the advertisement: nobody's payload travels behind a short one. Bindings say
   * nothing about VLANs. */
  if (skb->len > sizeof(struct hp_nd_frame) || skb->vlan_present) return HP_NO_ANNOUNCEMENT;
  switch (skb->protocol) {
    case bpf_htons(ETH_P_ARP):
    case bpf_htons(ETH_P_RARP):
      return hp_judge_arp(skb, vni, mac);
    case bpf_htons(ETH_P_IPV6):
      return hp_judge_nd(skb, vni, mac);
    default:
      return HP_NO_ANNOUNCEMENT;
  }
}

/* Whether an address is another's than `mac`. Of one in no binding nothing is known. */
static __always_inline int hp_is_anothers(const struct hp_neighbor_key* ip, const __u8* mac) {
  struct hp_mac* owner = bpf_map_lookup_elem(&hp_neighbors, ip);
  return owner && !hp_same_mac(owner->mac, mac);
}

static __noinline int hp_claims_anothers_v4(struct __sk_buff* skb, __u32 vni) {
  struct hp_arp_frame frame;
  if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame))) return 0;
  struct hp_neighbor_key key = {.vni = vni, .ip = {[10] = 0xff, [11] = 0xff}};
  __builtin_memcpy(key.ip + 12, frame.sender_ip, 4);
  return hp_is_anothers(&key, frame.ethernet.h_source) || hp_is_anothers(&key, frame.sender_mac);
}

static __noinline int hp_claims_anothers_v6(struct __sk_buff* skb, __u32 vni) {
  struct {
    struct ethhdr ethernet;
    struct ipv6hdr ip;
  } __attribute__((packed)) frame;
  struct {
    __u8 next;
    __u8 more; /* in 8 bytes, behind the first 8 */
  } extension;
  struct {
    __u8 type, code;
    __u16 checksum;
    __u32 flags;
    struct in6_addr target;
  } message;
  if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame))) return 0;
  __u32 at = sizeof(frame);
  __u8 next = frame.ip.nexthdr;
  for (int i = 0; next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
       ++i) {
    if (i == HP_EXTENSION_HEADERS) return 1;
    if (bpf_skb_load_bytes(skb, at, &extension, sizeof(extension))) return 0;
    next = extension.next;
    at += 8 + extension.more * 8;
  }
  /* No host takes a fragment for one (RFC 6980). */
  if (next != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, at, &message, sizeof(message))) return 0;
  if (message.type != HP_ND_SOLICITATION && message.type != HP_ND_ADVERTISEMENT) return 0;
  struct hp_neighbor_key key = {.vni = vni};
  __builtin_memcpy(key.ip, &frame.ip.saddr, 16);
  if (hp_is_anothers(&key, frame.ethernet.h_source)) return 1;
  if (message.type == HP_ND_SOLICITATION) return 0;
  __builtin_memcpy(key.ip, &message.target, 16);
  return hp_is_anothers(&key, frame.ethernet.h_source);
}

/* Whether a frame to one station tells it that another's address is at its sender's: ARP, or a
 * solicitation or an advertisement of neighbors, from which it would learn that. */
static __always_inline int hp_claims_anothers(struct __sk_buff* skb, const struct ethhdr* ethernet,
                                              __u32 vni) {
  if (skb->vlan_present) return 0;
  if (skb->protocol == bpf_htons(ETH_P_ARP)) return hp_claims_anothers_v4(skb, vni);
  if (skb->protocol != bpf_htons(ETH_P_IPV6)) return 0;
  const struct ipv6hdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) <= (void*)(long)skb->data_end) {
    switch (ip->nexthdr) { /* Most packets are of these, and there is nothing to look at. */
      case IPPROTO_TCP:
      case IPPROTO_UDP:
      case HP_NEXT_FRAGMENT:
        return 0;
    }
  }
  return hp_claims_anothers_v6(skb, vni);
}
