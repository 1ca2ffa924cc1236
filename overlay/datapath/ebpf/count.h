/* Which packets of a trace are counted, and where: shared by count.bpf.c (C) and its loader (C++).
 * Never pinned: it has no version. */
#pragma once

#include "overlay/datapath/ebpf/layout.h"

#include <linux/types.h>

struct hp_counted_packet {
  __u32 vni; /* of the tunnel it comes from, without the mark; 0: any, or none */
  __u32 protocol;
  __u8 from[16], to[16]; /* IPv4 addresses are IPv4-mapped (RFC 4291) */
};

/* Slots of hp_counted: after those of enum hp_counter. */
#define HP_COUNTED_ENDS(X) X(packets) X(delivered) X(sent) X(copied) X(normal)

enum hp_counted_slot {
  HP_COUNTED_begin = HP_COUNTER_COUNT - 1,
#define X(name) HP_COUNTED_##name,
  HP_COUNTED_ENDS(X)
#undef X
      HP_COUNTED_SLOTS
};
