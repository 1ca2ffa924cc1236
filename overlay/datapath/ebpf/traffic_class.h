/* The class of traffic that a frame is of, which chooses its way to another host. */
#pragma once

#include "overlay/datapath/ebpf/layout.h"
#include "overlay/datapath/ebpf/port_rule.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>

/* Code points by which an application says it itself (RFC 4594, RFC 8622). */
#define HP_DSCP_LOWER_EFFORT 1
#define HP_DSCP_CS1 8
#define HP_DSCP_AF21 18
#define HP_DSCP_CS4 32
#define HP_DSCP_CS5 40
#define HP_DSCP_VOICE_ADMIT 44
#define HP_DSCP_EF 46

/* Of the outer header: low-latency data for interactive traffic, lower effort for bulk, which
 * routers that know of neither treat like all other. */
static __always_inline __u8 hp_dscp(__u32 traffic_class) {
  if (traffic_class == HP_CLASS_INTERACTIVE) return HP_DSCP_AF21;
  if (traffic_class == HP_CLASS_BULK) return HP_DSCP_LOWER_EFFORT;
  return 0;
}

/* What another host has made of it outside. */
static __always_inline __u32 hp_class_outside(__u8 tos) {
  switch (tos >> 2) {
    case HP_DSCP_AF21:
      return HP_CLASS_INTERACTIVE;
    case HP_DSCP_LOWER_EFFORT:
      return HP_CLASS_BULK;
  }
  return HP_CLASS_DEFAULT;
}

/* That of the packet's own code point, where it says one; otherwise that of the rule for one of its
 * transport ports, or `of_port`: the application's. */
static __always_inline __u32 hp_class_of(struct __sk_buff* skb, __u32 of_port) {
  const __u8* ip = (void*)(long)skb->data + ETH_HLEN;
  if ((void*)(ip + 2) > (void*)(long)skb->data_end) return of_port;
  __u8 dscp;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    dscp = ip[1] >> 2;
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    dscp = (ip[0] << 2 | ip[1] >> 6) & 0x3f;
  } else {
    return of_port;
  }
  switch (dscp) {
    case HP_DSCP_AF21:
    case HP_DSCP_CS4:
    case HP_DSCP_CS5:
    case HP_DSCP_VOICE_ADMIT:
    case HP_DSCP_EF:
      return HP_CLASS_INTERACTIVE;
    case HP_DSCP_LOWER_EFFORT:
    case HP_DSCP_CS1:
      return HP_CLASS_BULK;
  }
  return hp_has_port_rules ? hp_class_by_port(skb, of_port) : of_port;
}
