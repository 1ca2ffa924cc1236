/* Packets that do not fit the tunnel: path MTU signals (RFC 1191, RFC 8201) sent back to the
 * application in the name of the destination, as the kernel's bridged tunnels do. What may not be
 * answered is fragmented outside, or over IPv6, where that is not possible, dropped. */
#pragma once

#include "overlay/datapath/ebpf/neighbor.h"

#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <stddef.h>

#define HP_ICMP_ECHO_REPLY 0
#define HP_ICMP_UNREACHABLE 3
#define HP_ICMP_ECHO 8
#define HP_ICMP_FRAGMENTATION_NEEDED 4
#define HP_IP_DF 0x4000
#define HP_IP_OFFSET 0x1fff
#define HP_IPV6_MIN_MTU 1280

/* What is quoted of the transport header: all of a TCP header up to its checksum must stay, for
 * the kernel may have left that checksum to be completed. */
#define HP_QUOTED 20

struct hp_too_big_v4 {
  struct ethhdr ethernet;
  struct iphdr ip;
  __u8 type;
  __u8 code;
  __u16 checksum;
  __be16 unused;
  __be16 mtu;
  struct iphdr quoted_ip;
  __u8 quoted[HP_QUOTED];
} __attribute__((packed));

struct hp_too_big_v6 {
  struct ethhdr ethernet;
  struct ipv6hdr ip;
  __u8 type;
  __u8 code;
  __u16 checksum;
  __be32 mtu;
  struct ipv6hdr quoted_ip;
  __u8 quoted[HP_QUOTED];
} __attribute__((packed));

enum hp_size_verdict {
  HP_FITS,     /* send it */
  HP_FRAGMENT, /* no answer is allowed: send it if the outer packet can be fragmented */
  HP_ANSWER_V4,
  HP_ANSWER_V6,
};

/* Bytes of transport header in front of each segment; 0 if unknown. */
static __always_inline __u32 hp_transport_header(struct __sk_buff* skb, __u8 protocol,
                                                 __u32 offset) {
  if (protocol == IPPROTO_UDP) return 8;
  if (protocol != IPPROTO_TCP) return 0;
  __u8 data_offset;
  if (bpf_skb_load_bytes(skb, offset + 12, &data_offset, 1)) return 0;
  return (data_offset >> 4) * 4;
}

/* Looks at a frame longer than the MTU. A GSO packet is one frame of many segments: what counts
 * is the length of each segment, not of the whole.
 *
 * The kernel fragments outer packets of IPv4 only. Over IPv6, an IPv4 packet that might have been
 * fragmented is answered as if it might not: its sender then fragments the next ones itself. */
static __always_inline enum hp_size_verdict hp_check_size(struct __sk_buff* skb, __u32 mtu,
                                                          __u32 outer_v6) {
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return HP_FRAGMENT;
    if (skb->gso_size) {
      __u32 transport = hp_transport_header(skb, ip.protocol, ETH_HLEN + ip.ihl * 4);
      if (ip.ihl * 4 + transport + skb->gso_size <= mtu) return HP_FITS;
    }
    __u16 fragment = bpf_ntohs(ip.frag_off);
    /* No answer to errors, to parts without a transport header, or with IP options. */
    if ((!(fragment & HP_IP_DF) && !outer_v6) || (fragment & HP_IP_OFFSET) || ip.ihl != 5)
      return HP_FRAGMENT;
    if (ip.protocol == IPPROTO_ICMP) {
      __u8 type;
      if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &type, 1)) return HP_FRAGMENT;
      if (type != HP_ICMP_ECHO && type != HP_ICMP_ECHO_REPLY) return HP_FRAGMENT;
    }
    return HP_ANSWER_V4;
  }
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr ip;
    /* Every IPv6 path carries 1280 bytes: if the tunnel does not, it fragments outside. */
    if (mtu < HP_IPV6_MIN_MTU) mtu = HP_IPV6_MIN_MTU;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return HP_FRAGMENT;
    if (skb->gso_size) {
      __u32 transport = hp_transport_header(skb, ip.nexthdr, ETH_HLEN + sizeof(ip));
      if (sizeof(ip) + transport + skb->gso_size <= mtu) return HP_FITS;
    } else if (skb->len <= mtu + ETH_HLEN) {
      return HP_FRAGMENT;
    }
    if (ip.nexthdr == IPPROTO_ICMPV6) {
      __u8 type;
      if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &type, 1)) return HP_FRAGMENT;
      if (!(type & ICMPV6_INFOMSG_MASK)) return HP_FRAGMENT;
    }
    return HP_ANSWER_V6;
  }
  return HP_FRAGMENT;
}

/* The kernel may still complete the quoted transport checksum (CHECKSUM_PARTIAL) over what is
 * left of the packet when it hands the answer to the device, which would break the ICMP checksum
 * computed here. This value is the one that completing does not change: c = ~(sum + c), so
 * 2c = -sum modulo 65535, whose inverse of 2 is 32768. Whoever reads the quote looks at ports and
 * sequence numbers, not at this. */
static __always_inline void hp_settle_quoted_checksum(__u8* quoted, __u8 protocol) {
  __u16* checksum;
  if (protocol == IPPROTO_TCP) {
    checksum = (__u16*)(quoted + 16);
  } else if (protocol == IPPROTO_UDP) {
    checksum = (__u16*)(quoted + 6);
  } else {
    return;
  }
  *checksum = 0;
  __u64 sum = hp_fold(bpf_csum_diff(0, 0, (__be32*)quoted, HP_QUOTED, 0));
  *checksum = ((65535 - sum) * 32768) % 65535;
}

static __always_inline void hp_turn_around(struct ethhdr* answer, const struct ethhdr* frame) {
  __builtin_memcpy(answer->h_dest, frame->h_source, 6);
  __builtin_memcpy(answer->h_source, frame->h_dest, 6);
  answer->h_proto = frame->h_proto;
}

static __noinline int hp_answer_too_big_v4(struct __sk_buff* skb, __u32 mtu) {
  struct hp_too_big_v4 answer = {};
  struct ethhdr ethernet;
  if (bpf_skb_load_bytes(skb, 0, &ethernet, sizeof(ethernet)) ||
      bpf_skb_load_bytes(skb, ETH_HLEN, &answer.quoted_ip, sizeof(struct iphdr) + HP_QUOTED) ||
      bpf_skb_change_tail(skb, ETH_HLEN + sizeof(struct iphdr) + HP_QUOTED, 0) ||
      bpf_skb_change_head(skb, sizeof(struct iphdr) + 8, 0)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  hp_turn_around(&answer.ethernet, &ethernet);
  hp_settle_quoted_checksum(answer.quoted, answer.quoted_ip.protocol);
  answer.type = HP_ICMP_UNREACHABLE;
  answer.code = HP_ICMP_FRAGMENTATION_NEEDED;
  answer.mtu = bpf_htons(mtu);
  answer.checksum = ~hp_fold(bpf_csum_diff(
      0, 0, (__be32*)&answer.type, sizeof(answer) - offsetof(struct hp_too_big_v4, type), 0));
  answer.ip.version = 4;
  answer.ip.ihl = 5;
  answer.ip.tot_len = bpf_htons(sizeof(answer) - ETH_HLEN);
  answer.ip.ttl = 64;
  answer.ip.protocol = IPPROTO_ICMP;
  answer.ip.saddr = answer.quoted_ip.daddr;
  answer.ip.daddr = answer.quoted_ip.saddr;
  answer.ip.check =
      ~hp_fold(bpf_csum_diff(0, 0, (void*)&answer + ETH_HLEN, sizeof(struct iphdr), 0));
  return hp_send_back(skb, &answer, sizeof(answer), HP_COUNT_too_big_answers);
}

static __noinline int hp_answer_too_big_v6(struct __sk_buff* skb, __u32 mtu) {
  struct hp_too_big_v6 answer = {};
  struct ethhdr ethernet;
  const __u32 message = sizeof(answer) - offsetof(struct hp_too_big_v6, type);
  if (bpf_skb_load_bytes(skb, 0, &ethernet, sizeof(ethernet)) ||
      bpf_skb_load_bytes(skb, ETH_HLEN, &answer.quoted_ip, sizeof(struct ipv6hdr) + HP_QUOTED) ||
      bpf_skb_change_tail(skb, ETH_HLEN + sizeof(struct ipv6hdr) + HP_QUOTED, 0) ||
      bpf_skb_change_head(skb, sizeof(struct ipv6hdr) + 8, 0)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  hp_turn_around(&answer.ethernet, &ethernet);
  hp_settle_quoted_checksum(answer.quoted, answer.quoted_ip.nexthdr);
  answer.ip.version = 6;
  answer.ip.payload_len = bpf_htons(message);
  answer.ip.nexthdr = IPPROTO_ICMPV6;
  answer.ip.hop_limit = 64;
  __builtin_memcpy(&answer.ip.saddr, &answer.quoted_ip.daddr, 16);
  __builtin_memcpy(&answer.ip.daddr, &answer.quoted_ip.saddr, 16);
  answer.type = ICMPV6_PKT_TOOBIG;
  answer.mtu = bpf_htonl(mtu < HP_IPV6_MIN_MTU ? HP_IPV6_MIN_MTU : mtu);
  answer.checksum = hp_icmp6_checksum(&answer.ip.saddr, &answer.type, message);
  return hp_send_back(skb, &answer, sizeof(answer), HP_COUNT_too_big_answers);
}
