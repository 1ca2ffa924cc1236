/* A wire that loses frames, at the switch's end of a link. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

/* Percent of the frames that the member sends and is sent. */
volatile unsigned int from_member_loss = 0;
volatile unsigned int to_member_loss = 0;

static int carry(unsigned int loss) {
  return bpf_get_prandom_u32() % 100 < loss ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int from_member(struct __sk_buff* skb) {
  return carry(from_member_loss);
}

SEC("tc")
int to_member(struct __sk_buff* skb) {
  return carry(to_member_loss);
}

char LICENSE[] SEC("license") = "GPL";
