/* The class of traffic that a packet has by its transport ports. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/neighbor.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

/* Bytes of the shortest header of a transport that has ports; 0: it has none. */
static __always_inline __u32 hp_least_transport(__u8 protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return 20;
    case IPPROTO_UDP:
      return 8;
    case IPPROTO_SCTP:
      return 12;
  }
  return 0;
}

/* Where the header of a transport is, and where the packet ends. */
struct hp_transport {
  __u32 at, end;
  __u8 protocol;
};

/* 0 if it is seen. A packet in fragments shows it in the first alone: all of them count as without,
 * and stay together. */
static __always_inline int hp_find_transport(struct __sk_buff* skb, struct hp_transport* found) {
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return -1;
    if ((ip.frag_off & bpf_htons(HP_IP_FRAGMENT)) || ip.ihl < 5) return -1;
    found->at = ETH_HLEN + ip.ihl * 4;
    found->end = ip.tot_len ? ETH_HLEN + bpf_ntohs(ip.tot_len) : skb->len;
    found->protocol = ip.protocol;
    return 0;
  }
  if (skb->protocol != bpf_htons(ETH_P_IPV6)) return -1;
  struct {
    __u8 next;
    __u8 length;
    __be16 fragment;
  } extension;
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return -1;
  __u32 at = ETH_HLEN + sizeof(ip);
  found->end = ip.payload_len ? at + bpf_ntohs(ip.payload_len) : skb->len;
  __u8 next = ip.nexthdr;
  for (int i = 0; i <= HP_EXTENSION_HEADERS; i++) {
    switch (next) {
      case IPPROTO_HOPOPTS:
      case IPPROTO_ROUTING:
      case IPPROTO_DSTOPTS:
      case IPPROTO_AH:
      case IPPROTO_FRAGMENT:
        break;
      default:
        found->at = at;
        found->protocol = next;
        return 0;
    }
    if (bpf_skb_load_bytes(skb, at, &extension, sizeof(extension))) return -1;
    if (next == IPPROTO_FRAGMENT) {
      if (extension.fragment) return -1; /* an atomic one is no fragment (RFC 6946) */
      at += 8;
    } else if (next == IPPROTO_AH) {
      at += (extension.length + 2) * 4;
    } else {
      at += (extension.length + 1) * 8;
    }
    next = extension.next;
  }
  return -1;
}

static __always_inline const struct hp_port_rule* hp_find_rule(__u8 protocol, __be16 port) {
  const struct hp_port_rule_key key = {
      .prefix = HP_PORT_RULE_BITS, .protocol = protocol, .port = port};
  return bpf_map_lookup_elem(&hp_port_rules, &key);
}

/* By which of two rules decides: fewer ports, then a lower first one. */
static __always_inline __u32 hp_rule_order(const struct hp_port_rule* rule) {
  return (__u32)(rule->last - rule->first) << 16 | rule->first;
}

/* `otherwise` where no rule has one of its ports. Its own function, for the stack of those that
 * call it. */
static __noinline __u32 hp_class_by_port(struct __sk_buff* skb, __u32 otherwise) {
  struct hp_transport found = {};
  struct {
    __be16 source, destination;
  } ports;
  if (hp_find_transport(skb, &found)) return otherwise;
  const __u32 least = hp_least_transport(found.protocol);
  if (!least || found.at + least > found.end || found.end > skb->len ||
      bpf_skb_load_bytes(skb, found.at, &ports, sizeof(ports))) {
    return otherwise;
  }
  const struct hp_port_rule* to = hp_find_rule(found.protocol, ports.destination);
  const struct hp_port_rule* from = hp_find_rule(found.protocol, ports.source);
  if (!to || (from && hp_rule_order(from) < hp_rule_order(to))) to = from;
  return to ? to->traffic_class : otherwise;
}
