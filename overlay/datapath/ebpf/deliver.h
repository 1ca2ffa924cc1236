/* How a frame leaves the programs: to a device of this host, or through the tunnel to another. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/traffic_class.h"

/* Counts on the way: one per packet and program, no more. */
static __always_inline void hp_count_delivered(struct __sk_buff* skb, __u32 slot) {
  struct hp_port_counters* counters = bpf_map_lookup_elem(&hp_port_counters, &slot);
  if (!counters) return;
  counters->delivered_packets++;
  counters->delivered_bytes += skb->len;
}

static __always_inline int hp_deliver(struct __sk_buff* skb, const struct hp_delivery* to) {
  hp_count_delivered(skb, to->slot);
  return to->peer ? bpf_redirect_peer(to->ifindex, 0) : bpf_redirect(to->ifindex, 0);
}

/* The way to a host for a class of traffic; 0: from this host's VTEP to that host's. `vni`, which
 * may have the mark, becomes what the network is called there. 0 instead of it: no host may relay
 * it. */
static __always_inline struct hp_path* hp_path_to(const struct hp_vtep* host, __u32 traffic_class,
                                                  __u32* vni) {
  if (!hp_has_paths) return 0;
  const struct hp_path_key key = {.host = *host, .traffic_class = traffic_class};
  struct hp_path* path = bpf_map_lookup_elem(&hp_paths, &key);
  if (!path || !path->labels) return path;
  if (!vni) return 0;
  const struct hp_label_key network = {.labels = path->labels, .vni = *vni & ~HP_VNI_MARK};
  const __u32* label = bpf_map_lookup_elem(&hp_labels, &network);
  if (!label) return 0;
  *vni = *label | (*vni & HP_VNI_MARK);
  return path;
}

/* Whether the host itself is sent to, or one may relay it. */
#define HP_DIRECT 1
#define HP_ANY_WAY 0

/* The outer headers the VXLAN device will add. 0 if that was possible. */
static __always_inline long hp_set_tunnel(struct __sk_buff* skb, const struct hp_vtep* host,
                                          __u32 vni, __u32 traffic_class, int direct) {
  struct hp_path* path = hp_path_to(host, traffic_class, direct ? 0 : &vni);
  const struct hp_vtep* to = path ? &path->remote : host;
  if (path) hp_note_time(&path->sent);
  struct bpf_tunnel_key key = {
      .tunnel_id = vni, .tunnel_ttl = 64, .tunnel_tos = hp_dscp(traffic_class) << 2};
  __u64 flags = BPF_F_ZERO_CSUM_TX;
  if (to->v6) {
    __builtin_memcpy(key.remote_ipv6, to->words, 16);
    __builtin_memcpy(key.local_ipv6, path ? path->local.words : hp_local_v6, 16);
    flags |= BPF_F_TUNINFO_IPV6;
  } else {
    key.remote_ipv4 = to->words[0];
    key.local_ipv4 = path ? path->local.words[0] : hp_local_v4;
  }
  return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags);
}

/* Its own function, for the stack of those that call it: see union hp_scratch. */
static __noinline int hp_send(struct __sk_buff* skb, const struct hp_vtep* to, __u32 vni,
                              __u32 traffic_class, __u32 vxlan_ifindex) {
  if (hp_set_tunnel(skb, to, vni, traffic_class, HP_ANY_WAY)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  return bpf_redirect(vxlan_ifindex, 0);
}

static __always_inline int hp_same_vtep(const struct hp_vtep* a, const struct hp_vtep* b) {
  return a->v6 == b->v6 && a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
         a->words[2] == b->words[2] && a->words[3] == b->words[3];
}
