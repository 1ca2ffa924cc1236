/* Probes of the ways between hosts, where they come out of the VXLAN device: an ask is counted and
 * sent back the way it came, an answer is handed to the agent, which has asked. Neither takes more
 * than any other packet, and no answer is answered. */
#pragma once

#include "overlay/datapath/ebpf/maps.h"
#include "overlay/datapath/ebpf/neighbor.h"
#include "overlay/datapath/ebpf/probe.h"

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>

enum hp_probe_kind { HP_NO_PROBE, HP_PROBE_ASK, HP_PROBE_ANSWER };

static __always_inline enum hp_probe_kind hp_probe_kind(const struct ethhdr* ethernet, __u32 vni) {
  const __u8 ask[6] = HP_PROBE_ASK_MAC, answer[6] = HP_PROBE_ANSWER_MAC;
  if (vni != HP_PROBE_VNI) return HP_NO_PROBE;
  if (hp_same_mac(ethernet->h_dest, ask)) return HP_PROBE_ASK;
  return hp_same_mac(ethernet->h_dest, answer) ? HP_PROBE_ANSWER : HP_NO_PROBE;
}

/* One more ask of that pair. Returns how many have come; 0: there is no room to count them. */
static __always_inline __u64 hp_count_ask(const struct hp_probe_pair* pair) {
  struct hp_asked* asked = bpf_map_lookup_elem(&hp_asks, pair);
  if (!asked) {
    const struct hp_asked none = {};
    bpf_map_update_elem(&hp_asks, pair, &none, BPF_NOEXIST);
    asked = bpf_map_lookup_elem(&hp_asks, pair);
    if (!asked) return 0;
  }
  asked->last = bpf_ktime_get_ns();
  return __sync_fetch_and_add(&asked->count, 1) + 1;
}

/* Back from where it came to, to where it came from, and in one piece like it. */
static __always_inline int hp_answer_ask(struct __sk_buff* skb, const struct hp_probe_pair* pair) {
  const __u8 answer[6] = HP_PROBE_ANSWER_MAC;
  const __be64 heard = bpf_cpu_to_be64(hp_count_ask(pair));
  struct bpf_tunnel_key back = {.tunnel_id = HP_PROBE_VNI, .tunnel_ttl = 64};
  __u64 flags = BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT;
  if (pair->remote.v6) {
    __builtin_memcpy(back.remote_ipv6, pair->remote.words, 16);
    __builtin_memcpy(back.local_ipv6, pair->local.words, 16);
    flags |= BPF_F_TUNINFO_IPV6;
  } else {
    back.remote_ipv4 = pair->remote.words[0];
    back.local_ipv4 = pair->local.words[0];
  }
  if (bpf_skb_store_bytes(skb, 0, answer, sizeof(answer), 0) ||
      bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct hp_probe, heard), &heard, sizeof(heard),
                          0) ||
      bpf_skb_set_tunnel_key(skb, &back, sizeof(back), flags)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  return bpf_redirect(skb->ifindex, 0);
}

/* One that finds no room is lost, as it might have been on its way. */
static __always_inline int hp_hand_over(struct __sk_buff* skb, const struct hp_probe* probe,
                                        const struct hp_probe_pair* pair) {
  struct hp_probe_answer answer = {.pair = *pair,
                                   .token = bpf_be64_to_cpu(probe->token),
                                   .sent = bpf_be64_to_cpu(probe->sent),
                                   .received = bpf_ktime_get_ns(),
                                   .heard = bpf_be64_to_cpu(probe->heard),
                                   .length = skb->len};
  bpf_ringbuf_output(&hp_probe_answers, &answer, sizeof(answer), 0);
  return TC_ACT_STOLEN;
}

/* A probe of that kind from a known host. */
static __noinline int hp_take_probe(struct __sk_buff* skb, const struct hp_vtep* from,
                                    enum hp_probe_kind kind) {
  struct hp_probe probe;
  if (skb->protocol != bpf_htons(HP_PROBE_PROTOCOL) || skb->vlan_present ||
      bpf_skb_load_bytes(skb, ETH_HLEN, &probe, sizeof(probe)) ||
      probe.magic != bpf_htonl(HP_PROBE_MAGIC)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  struct bpf_tunnel_key key = {};
  if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), from->v6 ? BPF_F_TUNINFO_IPV6 : 0)) {
    return hp_drop(HP_COUNT_drop_malformed);
  }
  struct hp_probe_pair pair = {.local = {.v6 = from->v6}, .remote = *from};
  if (from->v6) {
    __builtin_memcpy(pair.local.words, key.local_ipv6, 16);
  } else {
    pair.local.words[0] = key.local_ipv4;
  }
  return kind == HP_PROBE_ASK ? hp_answer_ask(skb, &pair) : hp_hand_over(skb, &probe, &pair);
}
