/* How a frame leaves the programs: to a device of this host, or through the tunnel to another. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"

/* Counts on the way: one per packet and program, no more. */
static __always_inline int hp_deliver(struct __sk_buff* skb, const struct hp_delivery* to) {
  __u32 slot = to->slot;
  struct hp_port_counters* counters = bpf_map_lookup_elem(&hp_port_counters, &slot);
  if (counters) {
    counters->delivered_packets++;
    counters->delivered_bytes += skb->len;
  }
  return to->peer ? bpf_redirect_peer(to->ifindex, 0) : bpf_redirect(to->ifindex, 0);
}

static __always_inline int hp_send(struct __sk_buff* skb, const struct hp_vtep* to, __u32 vni,
                                   __u32 vxlan_ifindex) {
  struct bpf_tunnel_key key = {.tunnel_id = vni, .tunnel_ttl = 64};
  __u64 flags = BPF_F_ZERO_CSUM_TX;
  if (to->v6) {
    __builtin_memcpy(key.remote_ipv6, to->words, 16);
    __builtin_memcpy(key.local_ipv6, hp_local_v6, 16);
    flags |= BPF_F_TUNINFO_IPV6;
  } else {
    key.remote_ipv4 = to->words[0];
    key.local_ipv4 = hp_local_v4;
  }
  if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  return bpf_redirect(vxlan_ifindex, 0);
}
