/* Counts the packets of one trace: the datapath's own programs with something before and after, for
 * these packets only. Each is attached (TCX, Linux 6.6) in front of the filter of the datapath
 * while somebody traces, and is gone with the process that holds its link; all other packets are
 * passed on to that filter. The maps and settings are those of the datapath. */
#define HP_PROGRAM static __always_inline int
#include "overlay/datapath/ebpf/count.h"
#include "overlay/datapath/ebpf/datapath.bpf.c"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, HP_COUNTED_SLOTS);
  __type(key, __u32);
  __type(value, __u64);
} hp_counted SEC(".maps");

/* What the datapath has counted before: a program does not give up its processor, nor does another
 * packet's program run on it meanwhile. */
struct hp_before {
  __u64 counters[HP_COUNTER_COUNT];
};
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct hp_before);
} hp_before SEC(".maps");

/* Which packets; set before loading. */
const volatile struct hp_counted_packet hp_wanted;

static __always_inline int hp_has_tunnel_key(struct __sk_buff* skb, struct bpf_tunnel_key* key) {
  return bpf_skb_get_tunnel_key(skb, key, sizeof(*key), 0) == 0 ||
         bpf_skb_get_tunnel_key(skb, key, sizeof(*key), BPF_F_TUNINFO_IPV6) == 0;
}

static __always_inline int hp_is_wanted(struct __sk_buff* skb) {
  if (hp_wanted.vni) {
    struct bpf_tunnel_key key = {};
    if (!hp_has_tunnel_key(skb, &key)) return 0;
    if ((key.tunnel_id & ~HP_VNI_MARK) != hp_wanted.vni) return 0;
  }
  struct hp_packet packet = {};
  if (hp_read_packet(skb, 0, &packet)) return 0;
  if (packet.protocol != hp_wanted.protocol) return 0;
  for (int i = 0; i < 16; ++i) {
    if (packet.from.ip[i] != hp_wanted.from[i] || packet.to.ip[i] != hp_wanted.to[i]) return 0;
  }
  return 1;
}

/* 0 for any other packet. */
static __always_inline struct hp_before* hp_count_before(struct __sk_buff* skb) {
  __u32 zero = 0;
  struct hp_before* before = bpf_map_lookup_elem(&hp_before, &zero);
  if (!before || !hp_is_wanted(skb)) return 0;
  for (__u32 i = 0; i < HP_COUNTER_COUNT; ++i) {
    __u32 slot = i;
    __u64* value = bpf_map_lookup_elem(&hp_counters, &slot);
    if (value) before->counters[i] = *value;
  }
  return before;
}

static __always_inline void hp_add(__u32 slot, __u64 count) {
  __u64* value = bpf_map_lookup_elem(&hp_counted, &slot);
  if (value) *value += count;
}

/* Sent on, by what is counted: in few words, for the stack. */
_Static_assert(HP_COUNT_forwarded == 0 && HP_COUNT_relayed == 1, "they come first");
static __always_inline int hp_is_sent_on(__u32 counter) {
  return counter <= HP_COUNT_relayed;
}

/* Returns what TCX knows for the verdict: of "done with" it would run the filter behind as well. */
static __always_inline int hp_count_after(struct __sk_buff* skb, const struct hp_before* before,
                                          int from_tunnel, int verdict) {
  int answered = 0, sent = 0;
  for (__u32 i = 0; i < HP_COUNTER_COUNT; ++i) {
    __u32 slot = i;
    __u64* value = bpf_map_lookup_elem(&hp_counters, &slot);
    if (!value || *value == before->counters[i]) continue;
    /* A trace tells the same of both ways out. */
    if (i != HP_COUNT_sent_fast) hp_add(i, *value - before->counters[i]);
    answered |= i == HP_COUNT_too_big_answers || i == HP_COUNT_neighbor_answers;
    sent |= hp_is_sent_on(i) || i == HP_COUNT_sent_fast;
  }
  hp_add(HP_COUNTED_packets, 1);
  switch (verdict) {
    case TC_ACT_OK:
      hp_add(HP_COUNTED_normal, 1);
      break;
    case TC_ACT_STOLEN:
      hp_add(HP_COUNTED_copied, 1);
      return TC_ACT_SHOT;
    case TC_ACT_REDIRECT:
      if (!answered) {
        /* What comes from the tunnel has a key already. */
        struct bpf_tunnel_key key = {};
        if (!from_tunnel) sent |= hp_has_tunnel_key(skb, &key);
        hp_add(sent ? HP_COUNTED_sent : HP_COUNTED_delivered, 1);
      }
      break;
  }
  return verdict;
}

SEC("tc")
int hp_counted_from_port(struct __sk_buff* skb) {
  struct hp_before* before = hp_count_before(skb);
  return before ? hp_count_after(skb, before, 0, hp_from_port(skb)) : TC_ACT_UNSPEC;
}

SEC("tc")
int hp_counted_from_host(struct __sk_buff* skb) {
  struct hp_before* before = hp_count_before(skb);
  return before ? hp_count_after(skb, before, 0, hp_from_host(skb)) : TC_ACT_UNSPEC;
}

SEC("tc")
int hp_counted_from_tunnel(struct __sk_buff* skb) {
  struct hp_before* before = hp_count_before(skb);
  return before ? hp_count_after(skb, before, 1, hp_from_tunnel(skb)) : TC_ACT_UNSPEC;
}
