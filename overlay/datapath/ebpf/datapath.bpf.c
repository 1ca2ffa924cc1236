/* The datapath's two programs, at tc ingress of every port and of the VXLAN device.
 * docs/life-of-a-packet.md walks through them. */
#include "overlay/datapath/ebpf/announcement.h"
#include "overlay/datapath/ebpf/deliver.h"
#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/too_big.h"

/* A frame an application sent. */
SEC("tc")
int hp_from_port(struct __sk_buff* skb) {
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
  if (ethernet->h_dest[0] & 1) return hp_from_port_multicast(skb, port);
  /* An application speaks for itself only. What waited in its tap, and is sent on after a move, is
   * addressed to it. */
  if (!hp_same_mac(ethernet->h_source, port->mac) && !hp_same_mac(ethernet->h_dest, port->mac)) {
    return hp_drop(HP_COUNT_drop_forged_source);
  }

  struct hp_address_key key = {.vni = port->vni};
  __builtin_memcpy(key.mac, ethernet->h_dest, 6);
  struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
  if (!address) return hp_drop(HP_COUNT_drop_unknown_address);
  if (!address->remote) return hp_deliver(skb, &address->local);

  if (port->mtu && skb->len > port->mtu + ETH_HLEN) {
    switch (hp_check_size(skb, port->mtu, address->vtep.v6)) {
      case HP_FITS:
        break;
      case HP_FRAGMENT:
        if (address->vtep.v6) return hp_drop(HP_COUNT_drop_too_big);
        hp_count(HP_COUNT_fragmented);
        break;
      case HP_ANSWER_V4:
        return hp_answer_too_big_v4(skb, port->mtu);
      case HP_ANSWER_V6:
        return hp_answer_too_big_v6(skb, port->mtu);
    }
  }
  return hp_send(skb, &address->vtep, key.vni, hp_vxlan_ifindex);
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

static __always_inline int hp_same_vtep(const struct hp_vtep* a, const struct hp_vtep* b) {
  return a->v6 == b->v6 && a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
         a->words[2] == b->words[2] && a->words[3] == b->words[3];
}

/* Why (vni, destination) is not known here. */
static __always_inline int hp_drop_unknown(const struct hp_address_key* key) {
  if (!bpf_map_lookup_elem(&hp_networks, &key->vni)) return hp_drop(HP_COUNT_drop_unknown_network);
  return hp_drop(HP_COUNT_drop_unknown_address);
}

/* A frame that another host sent, decapsulated. */
SEC("tc")
int hp_from_tunnel(struct __sk_buff* skb) {
  struct hp_vtep from = {};
  __u32 vni;
  if (hp_get_tunnel(skb, &from, &vni)) return hp_drop(HP_COUNT_drop_malformed);
  if (!bpf_map_lookup_elem(&hp_vteps, &from)) return hp_drop(HP_COUNT_drop_unknown_vtep);

  struct ethhdr* ethernet = (void*)(long)skb->data;
  if ((void*)(ethernet + 1) > (void*)(long)skb->data_end) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  struct hp_address_key key = {.vni = vni & ~HP_VNI_MARK};
  __builtin_memcpy(key.mac, ethernet->h_dest, 6);
  struct hp_address* address = bpf_map_lookup_elem(&hp_addresses, &key);
  if (!address) {
    if (key.mac[0] & 1) return hp_from_tunnel_multicast(skb, vni, ethernet->h_source);
    return hp_drop_unknown(&key);
  }
  /* Any of the network's applications: which host one is on is not the same everywhere while it
   * moves. */
  struct hp_address_key source = {.vni = key.vni};
  __builtin_memcpy(source.mac, ethernet->h_source, 6);
  if (!bpf_map_lookup_elem(&hp_addresses, &source)) return hp_drop(HP_COUNT_drop_forged_source);
  if (!address->remote) return hp_deliver(skb, &address->local);

  /* The application is elsewhere. If it is on its way here, what its owner has redirected waits
   * at the held port: frames that are marked, and those that come from the owner itself. */
  __u32 marked = vni & HP_VNI_MARK;
  if (marked || hp_same_vtep(&from, &address->vtep)) {
    struct hp_delivery* held = bpf_map_lookup_elem(&hp_held, &key);
    if (held) {
      hp_count(HP_COUNT_delivered_held);
      return hp_deliver(skb, held);
    }
  }
  /* Otherwise it is sent on, once: possibly back to the host it came from, which is where the
   * application is going when a neighbour of its new home has sent this. */
  if (marked) return hp_drop(HP_COUNT_drop_forwarded_twice);
  hp_count(HP_COUNT_forwarded);
  return hp_send(skb, &address->vtep, vni | HP_VNI_MARK, skb->ifindex);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
