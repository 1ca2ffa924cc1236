/* The datapath's programs: at tc ingress of every port, of the VXLAN device and of the devices of
 * the underlay, and at tc egress of the device that the routes of the host's own processes lead to.
 * docs/life-of-a-packet.md walks through them. */
#include "overlay/datapath/ebpf/answer.h"
#include "overlay/datapath/ebpf/arrival.h"
#include "overlay/datapath/ebpf/deliver.h"
#include "overlay/datapath/ebpf/group.h"
#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/relay.h"
#include "overlay/datapath/ebpf/route.h"
#include "overlay/datapath/ebpf/send.h"
#include "overlay/datapath/ebpf/underlay.h"

/* count.bpf.c has the same programs as functions. */
#ifndef HP_PROGRAM
#define HP_PROGRAM SEC("tc") int
#endif

/* A frame an application sent. */
HP_PROGRAM hp_from_port(struct __sk_buff* skb) {
  __u32 ifindex = skb->ifindex;
  struct hp_port* port = bpf_map_lookup_elem(&hp_ports, &ifindex);
  if (!port) return hp_drop(HP_COUNT_drop_unknown_port);
  __u32 slot = port->slot;
  struct hp_port_counters* counters = bpf_map_lookup_elem(&hp_port_counters, &slot);
  if (counters) {
    counters->received_packets++;
    counters->received_bytes += skb->len;
  }

  struct ethhdr* ethernet = (void*)(long)skb->data;
  if ((void*)(ethernet + 1) > (void*)(long)skb->data_end) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  if (ethernet->h_dest[0] & 1) return hp_from_port_multicast(skb, port, ethernet->h_source);
  /* An application speaks for itself only. What waited in its tap, and is sent on after a move, is
   * addressed to it. */
  if (!hp_same_mac(ethernet->h_source, port->mac) && !hp_same_mac(ethernet->h_dest, port->mac)) {
    return hp_drop(HP_COUNT_drop_forged_source);
  }
  if (hp_claims_anothers(skb, ethernet, port->vni)) {
    return hp_drop(HP_COUNT_drop_forged_announcement);
  }

  struct hp_address_key key = {.vni = port->vni};
  __builtin_memcpy(key.mac, ethernet->h_dest, 6);
  struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
  if (!address) {
    if (hp_is_router(key.mac)) return hp_route_from_port(skb, port);
    return port->flags & HP_NORMAL ? TC_ACT_OK : hp_drop(HP_COUNT_drop_unknown_address);
  }
  if (!address->remote) return hp_deliver(skb, &address->local);
  int verdict;
  if (!hp_fits(skb, port, &address->vtep, &verdict)) return verdict;
  return hp_send_from_port(skb, port, &address->vtep);
}

/* A packet that this host's own processes have sent, or that it forwards, to the address of an
 * application: its routes lead to the device whose egress this is (host_port.h). Its MTU is the
 * route's. */
HP_PROGRAM hp_from_host(struct __sk_buff* skb) {
  struct hp_packet packet = {};
  if (hp_read_packet(skb, 0, &packet)) return hp_drop(HP_COUNT_drop_malformed);
  struct hp_route* route = bpf_map_lookup_elem(&hp_routes, (struct hp_ip*)packet.to.ip);
  if (!route) return hp_drop(HP_COUNT_drop_unknown_address);
  struct hp_address_key key = {.vni = route->vni};
  __builtin_memcpy(key.mac, route->mac, 6);
  struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
  if (!address) return hp_drop(HP_COUNT_drop_unknown_address);
  if (hp_readdress(skb, key.mac)) return hp_drop(HP_COUNT_drop_malformed);
  hp_count(HP_COUNT_routed);
  if (address->remote) {
    return hp_send(skb, &address->vtep, key.vni, hp_class_of(skb, HP_CLASS_DEFAULT),
                   hp_vxlan_ifindex);
  }
  hp_count_delivered(skb, address->local.slot);
  return bpf_redirect(address->local.ifindex, 0); /* redirect_peer is for ingress only */
}

/* Where a frame came from: outer source address and VNI with its mark. */
static __always_inline int hp_get_tunnel(struct __sk_buff* skb, struct hp_vtep* from, __u32* vni) {
  struct bpf_tunnel_key key = {};
  if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0) {
    from->words[0] = key.remote_ipv4;
  } else if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6) == 0) {
    from->v6 = 1;
    __builtin_memcpy(from->words, key.remote_ipv6, 16);
  } else {
    return -1;
  }
  *vni = key.tunnel_id;
  return 0;
}

/* Why (vni, destination) is not known here. */
static __always_inline int hp_drop_unknown(const struct hp_address_key* key) {
  if (!bpf_map_lookup_elem(&hp_networks, &key->vni)) return hp_drop(HP_COUNT_drop_unknown_network);
  return hp_drop(HP_COUNT_drop_unknown_address);
}

/* A packet from the underlay, of whatever kind: one that another host has sent to an application
 * here is decapsulated and delivered, all others are none of ours, or hp_from_tunnel's. */
HP_PROGRAM hp_from_underlay(struct __sk_buff* skb) {
  if (skb->pkt_type != HP_PACKET_HOST || skb->vlan_present) return TC_ACT_UNSPEC;
  if (skb->protocol == bpf_htons(ETH_P_IP)) return hp_take_v4(skb);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return hp_take_v6(skb);
  return TC_ACT_UNSPEC;
}

/* A frame that another host sent, decapsulated. */
HP_PROGRAM hp_from_tunnel(struct __sk_buff* skb) {
  struct hp_vtep from = {};
  __u32 vni;
  if (hp_get_tunnel(skb, &from, &vni)) return hp_drop(HP_COUNT_drop_malformed);
  struct hp_host_address* known = bpf_map_lookup_elem(&hp_vteps, &from);
  if (!known) return hp_drop(HP_COUNT_drop_unknown_vtep);
  const struct hp_vtep* host = &known->host;

  hp_pull(skb, HP_READ_INNER);
  struct ethhdr* ethernet = (void*)(long)skb->data;
  if ((void*)(ethernet + 1) > (void*)(long)skb->data_end) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  hp_leave_vxlan(skb, ethernet);
  const enum hp_probe_kind probe = hp_probe_kind(ethernet, vni);
  if (probe != HP_NO_PROBE) return hp_take_probe(skb, &from, probe);
  hp_note_time(&known->heard);
  struct hp_address_key key = {};
  struct hp_address* address = hp_find(ethernet, vni, &key);
  if (!address) {
    if (key.vni >= HP_FIRST_LABEL) return hp_relay(skb, host, vni);
    if (key.mac[0] & 1) return hp_from_tunnel_multicast(skb, host, vni, ethernet->h_source);
    if (hp_is_router(key.mac)) return hp_route_from_tunnel(skb, key.vni);
    return hp_drop_unknown(&key);
  }
  if (!hp_is_of_network(ethernet, vni)) return hp_drop(HP_COUNT_drop_forged_source);
  if (!address->remote) return hp_deliver(skb, &address->local);

  /* The application is elsewhere. If it is on its way here, what its owner has redirected waits
   * at the held port: frames that are marked, and those that come from the owner itself. A third
   * host may have relayed these: so from wherever they come, unless this host would send such on.
   */
  __u32 marked = vni & HP_VNI_MARK;
  if (marked || !address->relayed || hp_same_vtep(host, &address->vtep)) {
    struct hp_delivery* held = bpf_map_lookup_elem(&hp_held, &key);
    if (held) {
      hp_count(HP_COUNT_delivered_held);
      return hp_deliver(skb, held);
    }
  }
  if (marked) return hp_drop(HP_COUNT_drop_forwarded_twice);
  if (!address->relayed) return hp_drop(HP_COUNT_drop_elsewhere);
  /* It was here until just now. Sent on, once: possibly back to the host it came from, which is
   * where the application is going when a neighbour of its new home has sent this. */
  hp_count(HP_COUNT_forwarded);
  return hp_send(skb, &address->vtep, vni | HP_VNI_MARK, hp_class_of(skb, HP_CLASS_DEFAULT),
                 skb->ifindex);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
