/* Which host each numbered datagram came from, at the switch's end of a link. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define OUTER_TRAFFIC_CLASS 15
#define OUTER_PROTOCOL 23 /* in the frame: Ethernet, IPv4 without options, UDP, VXLAN */
#define OUTER_SOURCE 26
#define INNER 64 /* IP */
#define UDP 17

/* By number: the outer source address, in network order. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1 << 20);
  __type(key, __u32);
  __type(value, __u32);
} sources SEC(".maps");

/* How many datagrams came with each code point. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} code_points SEC(".maps");

/* DatagramHeader of tests/lab/pattern.h. */
struct datagram {
  __u32 magic;
  __u32 reserved;
  __u64 number;
};
const volatile __u32 magic = 0;

SEC("tc")
int note(struct __sk_buff* skb) {
  __u8 traffic_class = 0, protocol = 0, version = 0, next = 0;
  bpf_skb_load_bytes(skb, OUTER_PROTOCOL, &protocol, 1);
  if (skb->protocol != __builtin_bswap16(0x0800) || protocol != UDP) return TC_ACT_UNSPEC;
  if (bpf_skb_load_bytes(skb, INNER, &version, 1)) return TC_ACT_UNSPEC;
  const __u32 v4 = version == 0x45;
  if (!v4 && version >> 4 != 6) return TC_ACT_UNSPEC;
  bpf_skb_load_bytes(skb, INNER + (v4 ? 9 : 6), &next, 1);
  struct datagram datagram;
  if (next != UDP ||
      bpf_skb_load_bytes(skb, INNER + (v4 ? 20 : 40) + 8, &datagram, sizeof(datagram)) ||
      datagram.magic != magic) {
    return TC_ACT_UNSPEC;
  }
  const __u32 number = datagram.number;
  __u32* source = bpf_map_lookup_elem(&sources, &number);
  if (source) bpf_skb_load_bytes(skb, OUTER_SOURCE, source, sizeof(*source));
  bpf_skb_load_bytes(skb, OUTER_TRAFFIC_CLASS, &traffic_class, 1);
  const __u32 code_point = traffic_class >> 2;
  __u64* count = bpf_map_lookup_elem(&code_points, &code_point);
  if (count) __sync_fetch_and_add(count, 1);
  return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
