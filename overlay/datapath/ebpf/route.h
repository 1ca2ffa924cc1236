/* The router that every host is: between the subnets of a network, and between applications and the
 * hosts' own processes. Frames to its MAC address go by their IP destination (RFC 1812). */
#pragma once

#include "overlay/datapath/ebpf/deliver.h"
#include "overlay/datapath/ebpf/neighbor.h"
#include "overlay/datapath/ebpf/send.h"
#include "overlay/datapath/ebpf/too_big.h"

#define HP_ICMP6_ECHO 128
#define HP_ICMP6_ECHO_REPLY 129

/* What routing looks at. */
struct hp_packet {
  struct hp_neighbor_key from, to;
  __u8 protocol;
  __u8 ttl;
  __u8 v6;
};

/* 0 unless it is no IP packet. `vni` is that of both keys. */
static __always_inline int hp_read_packet(struct __sk_buff* skb, __u32 vni,
                                          struct hp_packet* packet) {
  packet->from.vni = packet->to.vni = vni;
  if (skb->vlan_present) return -1;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return -1;
    packet->from.ip[10] = packet->from.ip[11] = packet->to.ip[10] = packet->to.ip[11] = 0xff;
    __builtin_memcpy(packet->from.ip + 12, &ip.saddr, 4);
    __builtin_memcpy(packet->to.ip + 12, &ip.daddr, 4);
    packet->protocol = ip.protocol;
    packet->ttl = ip.ttl;
    return 0;
  }
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return -1;
    __builtin_memcpy(packet->from.ip, &ip.saddr, 16);
    __builtin_memcpy(packet->to.ip, &ip.daddr, 16);
    packet->protocol = ip.nexthdr;
    packet->ttl = ip.hop_limit;
    packet->v6 = 1;
    return 0;
  }
  return -1;
}

/* One hop less. 0 if that was possible. */
static __always_inline long hp_pass_hop(struct __sk_buff* skb, const struct hp_packet* packet) {
  const __u8 less = packet->ttl - 1;
  if (packet->v6) return bpf_skb_store_bytes(skb, ETH_HLEN + 7, &less, 1, BPF_F_RECOMPUTE_CSUM);
  const __u16 was = bpf_htons(packet->ttl << 8), is = bpf_htons(less << 8);
  long failed = bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), was, is, 2);
  return failed ?: bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &less, 1, 0);
}

static __always_inline long hp_readdress(struct __sk_buff* skb, const __u8* to) {
  struct {
    __u8 to[6];
    __u8 from[6];
  } addresses = {.from = HP_ROUTER_MAC};
  __builtin_memcpy(addresses.to, to, 6);
  return bpf_skb_store_bytes(skb, 0, &addresses, sizeof(addresses), 0);
}

/* To the host's own stack. The device has the router's MAC address. */
static __always_inline int hp_to_stack(struct __sk_buff* skb) {
  if (!hp_host_ifindex) return hp_drop(HP_COUNT_drop_unknown_address);
  return bpf_redirect(hp_host_ifindex, BPF_F_INGRESS);
}

/* The router itself is asked whether it is there (RFC 792, RFC 4443). */
static __noinline int hp_answer_echo(struct __sk_buff* skb, const struct hp_packet* packet) {
  const __u32 ip = ETH_HLEN, at = ETH_HLEN + (packet->v6 ? 40 : 20);
  const __u8 ask = packet->v6 ? HP_ICMP6_ECHO : HP_ICMP_ECHO;
  const __u8 answer = packet->v6 ? HP_ICMP6_ECHO_REPLY : HP_ICMP_ECHO_REPLY;
  struct {
    __u8 version;
    __u8 type;
    __u8 source[6];
  } frame;
  if (bpf_skb_load_bytes(skb, ip, &frame.version, 1) ||
      bpf_skb_load_bytes(skb, at, &frame.type, 1) || bpf_skb_load_bytes(skb, 6, frame.source, 6)) {
    return hp_drop(HP_COUNT_drop_unknown_address);
  }
  if (packet->protocol != (packet->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || frame.type != ask ||
      (!packet->v6 && frame.version != 0x45)) {
    return hp_drop(HP_COUNT_drop_unknown_address);
  }
  /* The addresses change places, which no checksum notices; the type is the high byte of a word. */
  long failed;
  if (packet->v6) {
    failed = bpf_skb_store_bytes(skb, ip + 8, packet->to.ip, 16, 0)
                 ?: bpf_skb_store_bytes(skb, ip + 24, packet->from.ip, 16, 0);
  } else {
    failed = bpf_skb_store_bytes(skb, ip + 12, packet->to.ip + 12, 4, 0)
                 ?: bpf_skb_store_bytes(skb, ip + 16, packet->from.ip + 12, 4, 0);
  }
  failed = failed ?:
           bpf_l4_csum_replace(skb, at + 2, bpf_htons(ask << 8), bpf_htons(answer << 8), 2) ?:
           bpf_skb_store_bytes(skb, at, &answer, 1, 0) ?: hp_readdress(skb, frame.source);
  if (failed) return hp_drop(HP_COUNT_drop_malformed);
  hp_count(HP_COUNT_neighbor_answers);
  return bpf_redirect(skb->ifindex, 0);
}

/* Whether it goes there over IPv6. Its own function, for the stack. */
static __noinline int hp_goes_over_v6(const struct hp_vtep* host, __u32 traffic_class, __u32 vni) {
  const struct hp_path* path = hp_path_to(host, traffic_class, &vni);
  return path ? path->remote.v6 : host->v6;
}

/* Whether the packet fits the tunnel to `host`; if not, `verdict` is what was done with it. The
 * answer is made of the frame as it came. */
static __always_inline int hp_fits(struct __sk_buff* skb, const struct hp_port* port,
                                   const struct hp_vtep* host, int* verdict) {
  const __u32 mtu = port->mtu;
  if (!mtu || skb->len <= mtu + ETH_HLEN) return 1;
  const __u32 outer_v6 =
      hp_goes_over_v6(host, hp_class_of(skb, port->traffic_class), port->vni) != 0;
  switch (hp_check_size(skb, mtu, outer_v6)) {
    case HP_FITS:
      return 1;
    case HP_FRAGMENT:
      if (outer_v6) break;
      hp_count(HP_COUNT_fragmented);
      return 1;
    case HP_ANSWER_V4:
      *verdict = hp_answer_too_big_v4(skb, mtu);
      return 0;
    case HP_ANSWER_V6:
      *verdict = hp_answer_too_big_v6(skb, mtu);
      return 0;
  }
  *verdict = hp_drop(HP_COUNT_drop_too_big);
  return 0;
}

/* A frame that an application has sent to its router. */
static __noinline int hp_route_from_port(struct __sk_buff* skb, const struct hp_port* port) {
  /* A neighbor that is known already is asked alone whether it is still there. */
  if (skb->protocol == bpf_htons(ETH_P_ARP)) {
    const int answered = hp_answer_arp(skb, port->vni);
    return answered >= 0 ? answered : hp_drop(HP_COUNT_drop_unknown_neighbor);
  }
  struct hp_packet packet = {};
  if (hp_read_packet(skb, port->vni, &packet)) return hp_drop(HP_COUNT_drop_unknown_address);
  if (packet.v6 && packet.protocol == IPPROTO_ICMPV6) {
    const int answered = hp_answer_nd(skb, port->vni);
    if (answered >= 0) return answered;
  }
  /* It speaks for its own addresses only. */
  struct hp_mac* owner = bpf_map_lookup_elem(&hp_neighbors, &packet.from);
  if (!owner || !hp_same_mac(owner->mac, port->mac)) return hp_drop(HP_COUNT_drop_forged_source);

  owner = bpf_map_lookup_elem(&hp_neighbors, &packet.to);
  if (owner && hp_is_router(owner->mac)) return hp_answer_echo(skb, &packet);
  if (packet.ttl <= 1) return hp_drop(HP_COUNT_drop_expired);

  struct hp_vtep* remote = 0;
  struct hp_delivery* local = 0;
  struct hp_address_key key = {.vni = port->vni, .mac = HP_ROUTER_MAC};
  if (owner) {
    __builtin_memcpy(key.mac, owner->mac, 6);
    struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
    if (!address) return hp_drop(HP_COUNT_drop_unknown_address);
    if (address->remote) {
      remote = &address->vtep;
    } else {
      local = &address->local;
    }
  } else if (port->flags & HP_HOST_ACCESS) {
    struct hp_host* host = bpf_map_lookup_elem(&hp_hosts, (struct hp_ip*)packet.to.ip);
    if (host && !host->here) remote = &host->vtep;
    if (!host && !(port->flags & HP_NORMAL)) return hp_drop(HP_COUNT_drop_unknown_address);
  } else if (!(port->flags & HP_NORMAL)) {
    return hp_drop(HP_COUNT_drop_unknown_address);
  }
  int verdict;
  if (remote && !hp_fits(skb, port, remote, &verdict)) return verdict;
  if (hp_pass_hop(skb, &packet) || hp_readdress(skb, key.mac)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  hp_count(HP_COUNT_routed);
  if (remote) return hp_send_from_port(skb, port, remote);
  return local ? hp_deliver(skb, local) : hp_to_stack(skb);
}

/* A frame from another host to the router: for this host's own processes. */
static __noinline int hp_route_from_tunnel(struct __sk_buff* skb, __u32 vni) {
  struct hp_network* network = bpf_map_lookup_elem(&hp_networks, &vni);
  if (!network) return hp_drop(HP_COUNT_drop_unknown_network);
  struct hp_packet packet = {};
  if (!(network->flags & HP_HOST_ACCESS) || hp_read_packet(skb, vni, &packet)) {
    return hp_drop(HP_COUNT_drop_unknown_address);
  }
  struct hp_host* host = bpf_map_lookup_elem(&hp_hosts, (struct hp_ip*)packet.to.ip);
  if (!host || !host->here) return hp_drop(HP_COUNT_drop_unknown_address);
  if (!bpf_map_lookup_elem(&hp_neighbors, &packet.from))
    return hp_drop(HP_COUNT_drop_forged_source);
  hp_count(HP_COUNT_routed);
  return hp_to_stack(skb);
}
