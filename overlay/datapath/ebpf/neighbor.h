/* ARP (RFC 826) and neighbor discovery (RFC 4861), answered in place from hp_neighbors. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <linux/ipv6.h>

#define HP_ND_SOLICITATION 135
#define HP_ND_ADVERTISEMENT 136
#define HP_ND_FLAGS_SOLICITED 0x40
#define HP_ND_FLAGS_OVERRIDE 0x20
#define HP_ND_TARGET_LINK_ADDRESS 2

#define HP_NEXT_FRAGMENT 44   /* IPv6's fragment header (RFC 8200) */
#define HP_IP_FRAGMENT 0x3fff /* of frag_off: not 0 in a fragment of IPv4 */

#define HP_EXTENSION_HEADERS 4 /* looked behind; a packet with more of them is no honest one */

#define HP_ARP_ETHERNET 1
#define HP_ARP_REQUEST 1
#define HP_ARP_REPLY 2
#define HP_RARP_REQUEST 3

/* ARP and RARP (RFC 903) for IPv4 over Ethernet. (<linux/if_arp.h> pulls in libc headers.) */
struct hp_arp_frame {
  struct ethhdr ethernet;
  __be16 hardware;
  __be16 protocol;
  __u8 hardware_length;
  __u8 protocol_length;
  __be16 operation;
  __u8 sender_mac[6];
  __u8 sender_ip[4];
  __u8 target_mac[6];
  __u8 target_ip[4];
} __attribute__((packed));

/* A solicitation without options, or an advertisement with its one option. */
struct hp_nd_frame {
  struct ethhdr ethernet;
  struct ipv6hdr ip;
  __u8 type;
  __u8 code;
  __u16 checksum;
  __u8 flags;
  __u8 reserved[3];
  struct in6_addr target;
  __u8 option_type;
  __u8 option_length; /* in 8 bytes */
  __u8 option_mac[6];
} __attribute__((packed));

#define HP_ND_SOLICITATION_LENGTH (sizeof(struct hp_nd_frame) - 8)
#define HP_ND_MESSAGE_LENGTH 32

static __always_inline int hp_same_mac(const __u8* a, const __u8* b) {
  return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] &&
         a[5] == b[5];
}

static __always_inline int hp_is_router(const __u8* mac) {
  const __u8 router[6] = HP_ROUTER_MAC;
  return hp_same_mac(mac, router);
}

/* What an answer may be instead of a verdict. */
#define HP_NOT_ASKED (-2)  /* no ARP request, no neighbor solicitation */
#define HP_UNANSWERED (-3) /* for an address that is not known here */

static __always_inline __u16 hp_fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* The checksum of an ICMPv6 message of at most 512 bytes: RFC 4443, section 2.3. `addresses` are
 * source and destination, one after the other. */
static __always_inline __u16 hp_icmp6_checksum(const void* addresses, void* message, __u32 length) {
  struct {
    struct in6_addr source;
    struct in6_addr destination;
    __be32 length;
    __be32 next_header;
  } pseudo;
  __builtin_memcpy(&pseudo.source, addresses, 32);
  pseudo.length = bpf_htonl(length);
  pseudo.next_header = bpf_htonl(IPPROTO_ICMPV6);
  __s64 sum = bpf_csum_diff(0, 0, (__be32*)&pseudo, sizeof(pseudo), 0);
  sum = bpf_csum_diff(0, 0, message, length, sum);
  return ~hp_fold(sum);
}

static __always_inline int hp_send_back(struct __sk_buff* skb, const void* frame, __u32 length,
                                        __u32 counter) {
  if (bpf_skb_store_bytes(skb, 0, frame, length, BPF_F_RECOMPUTE_CSUM)) {
    hp_count(HP_COUNT_drop_malformed);
    return TC_ACT_SHOT;
  }
  hp_count(counter);
  return bpf_redirect(skb->ifindex, 0);
}

/* A verdict, or HP_NOT_ASKED or HP_UNANSWERED. */
static __noinline int hp_answer_arp(struct __sk_buff* skb, __u32 vni) {
  struct hp_arp_frame frame;
  if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame))) return hp_drop(HP_COUNT_drop_malformed);
  if (frame.hardware != bpf_htons(HP_ARP_ETHERNET) || frame.protocol != bpf_htons(ETH_P_IP) ||
      frame.hardware_length != 6 || frame.protocol_length != 4) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  if (frame.operation != bpf_htons(HP_ARP_REQUEST)) return HP_NOT_ASKED;

  struct hp_neighbor_key key = {.vni = vni, .ip = {[10] = 0xff, [11] = 0xff}};
  __builtin_memcpy(key.ip + 12, frame.target_ip, 4);
  struct hp_mac* owner = bpf_map_lookup_elem(&hp_neighbors, &key);
  if (!owner) return HP_UNANSWERED;
  /* A probe for one's own address (RFC 5227): silence means it is free. */
  if (hp_same_mac(owner->mac, frame.sender_mac)) return hp_drop(HP_COUNT_probes);

  __builtin_memcpy(frame.ethernet.h_dest, frame.sender_mac, 6);
  __builtin_memcpy(frame.ethernet.h_source, owner->mac, 6);
  frame.operation = bpf_htons(HP_ARP_REPLY);
  __u8 asked[4];
  __builtin_memcpy(asked, frame.target_ip, 4);
  __builtin_memcpy(frame.target_mac, frame.sender_mac, 6);
  __builtin_memcpy(frame.target_ip, frame.sender_ip, 4);
  __builtin_memcpy(frame.sender_mac, owner->mac, 6);
  __builtin_memcpy(frame.sender_ip, asked, 4);
  return hp_send_back(skb, &frame, sizeof(frame), HP_COUNT_neighbor_answers);
}

static __always_inline int hp_link_local(const __u8* ipv6) {
  return ipv6[0] == 0xfe && (ipv6[1] & 0xc0) == 0x80;
}

/* The same. An address of link-local scope is in no binding: it counts as HP_NOT_ASKED. */
static __noinline int hp_answer_nd(struct __sk_buff* skb, __u32 vni) {
  struct hp_nd_frame frame = {};
  if (bpf_skb_load_bytes(skb, 0, &frame, HP_ND_SOLICITATION_LENGTH)) return HP_NOT_ASKED;
  if (frame.ip.nexthdr != IPPROTO_ICMPV6 || frame.ip.hop_limit != 255 || frame.code != 0 ||
      frame.type != HP_ND_SOLICITATION) {
    return HP_NOT_ASKED;
  }

  struct hp_neighbor_key key = {.vni = vni};
  __builtin_memcpy(key.ip, &frame.target, 16);
  struct hp_mac* owner = bpf_map_lookup_elem(&hp_neighbors, &key);
  if (!owner) return hp_link_local(key.ip) ? HP_NOT_ASKED : HP_UNANSWERED;
  /* Duplicate address detection (RFC 4862) for one's own address: silence means it is free. */
  if (hp_same_mac(owner->mac, frame.ethernet.h_source)) return hp_drop(HP_COUNT_probes);

  struct in6_addr asker;
  __builtin_memcpy(&asker, &frame.ip.saddr, 16);
  __u32 unspecified =
      !(asker.s6_addr32[0] | asker.s6_addr32[1] | asker.s6_addr32[2] | asker.s6_addr32[3]);
  if (unspecified) { /* Duplicate address detection: all nodes are told (RFC 4861, 7.2.4). */
    __builtin_memset(&asker, 0, sizeof(asker));
    asker.s6_addr[0] = 0xff;
    asker.s6_addr[1] = 0x02;
    asker.s6_addr[15] = 1;
    __u8 all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
    __builtin_memcpy(frame.ethernet.h_dest, all_nodes, 6);
  } else {
    __builtin_memcpy(frame.ethernet.h_dest, frame.ethernet.h_source, 6);
  }
  __builtin_memcpy(frame.ethernet.h_source, owner->mac, 6);
  frame.ip.payload_len = bpf_htons(HP_ND_MESSAGE_LENGTH);
  __builtin_memcpy(&frame.ip.saddr, &frame.target, 16);
  __builtin_memcpy(&frame.ip.daddr, &asker, 16);
  frame.type = HP_ND_ADVERTISEMENT;
  frame.flags = HP_ND_FLAGS_OVERRIDE | (unspecified ? 0 : HP_ND_FLAGS_SOLICITED);
  frame.option_type = HP_ND_TARGET_LINK_ADDRESS;
  frame.option_length = 1;
  __builtin_memcpy(frame.option_mac, owner->mac, 6);
  frame.checksum = 0;
  frame.checksum = hp_icmp6_checksum(&frame.ip.saddr, &frame.type, HP_ND_MESSAGE_LENGTH);
  /* The solicitation may have had no option (a probe) or more than one (a nonce). */
  if (bpf_skb_change_tail(skb, sizeof(frame), 0)) return hp_drop(HP_COUNT_drop_malformed);
  return hp_send_back(skb, &frame, sizeof(frame), HP_COUNT_neighbor_answers);
}
