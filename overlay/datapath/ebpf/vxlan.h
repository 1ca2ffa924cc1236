/* The tunnel's headers behind the outer IP header, for the short ways in and out. */
#pragma once

#include <linux/types.h>
#include <linux/udp.h>

#define HP_VXLAN_FLAGS 0x08000000u /* there is a VNI, and nothing else (RFC 7348) */
#define HP_ECN 3

struct hp_tunnel {
  struct udphdr udp;
  __be32 flags;
  __be32 vni; /* in the upper 24 bits */
  /* Behind it, the inner frame: not a member, as it would be aligned. */
};

/* Of an IPv4 header of 20 bytes: 0xffff if its checksum is right, and what to invert for a right
 * one if that field is 0. */
static __always_inline __u16 hp_header_sum(const void* ip) {
  const __u32* words = ip;
  __u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
