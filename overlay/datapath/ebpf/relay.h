/* What another host sends here for a third, and has no better way to: it goes on at once. This host
 * needs to know nothing of the network that it is of. */
#pragma once

#include "overlay/datapath/ebpf/deliver.h"

/* How the frame is classed by its code points: its own, or the one outside. */
static __always_inline __u32 hp_class_of_relayed(struct __sk_buff* skb) {
  struct bpf_tunnel_key key = {};
  if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) &&
      bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
    return HP_CLASS_DEFAULT;
  }
  return hp_class_of(skb, hp_class_outside(key.tunnel_tos));
}

/* A frame under a label, from the host with that VTEP. It is not relayed a second time, and keeps
 * the mark, if it has it. */
static __noinline int hp_relay(struct __sk_buff* skb, const struct hp_vtep* from, __u32 vni) {
  const __u32 label = vni & ~HP_VNI_MARK, mark = vni & HP_VNI_MARK;
  const struct hp_relay* relay = bpf_map_lookup_elem(&hp_relays, &label);
  if (!relay || !hp_same_vtep(from, &relay->from)) return hp_drop(HP_COUNT_drop_unknown_label);
  if (hp_set_tunnel(skb, &relay->to, relay->vni | mark, hp_class_of_relayed(skb), HP_DIRECT)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  hp_count(HP_COUNT_relayed);
  return bpf_redirect(skb->ifindex, 0);
}
