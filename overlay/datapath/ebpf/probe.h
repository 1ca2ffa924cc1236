/* Probes of a way between two hosts, as they are on the wire: shared by the programs (C) and by
 * those who send and read them (C++). overlay/datapath/probe_wire.h says what they are for.
 *
 * An ask is an Ethernet frame in a VXLAN packet of network 0. Who is asked sends it back with
 * another destination address, and writes how many have come, if it counts them. */
#pragma once

#include "overlay/datapath/ebpf/layout.h"

#include <linux/types.h>

#define HP_PROBE_VNI 0           /* no application's: they have 1 and more */
#define HP_PROBE_PROTOCOL 0x88b5 /* EtherType "local experimental 1" of IEEE 802 */

/* Locally administered, the same on every host. Frames of both kinds come from the router's. */
#define HP_PROBE_ASK_MAC \
  { 0x02, 0x48, 0x50, 0x00, 0x00, 0x02 }
#define HP_PROBE_ANSWER_MAC \
  { 0x02, 0x48, 0x50, 0x00, 0x00, 0x03 }

#define HP_PROBE_MAGIC 0x48500001u /* "HP", version 1 */

/* Behind the Ethernet header; what follows is there for the size. */
struct hp_probe {
  __be32 magic;
  __u32 zero;
  __be64 token;
  __be64 sent;  /* nanoseconds of the asking host's clock */
  __be64 heard; /* of an answer: asks that have come, this one included; 0: they are not counted */
};

/* hp_probe_answers: an answer that has come to this host. */
struct hp_probe_answer {
  struct hp_probe_pair pair;
  __u64 token;
  __u64 sent;
  __u64 received; /* as bpf_ktime_get_ns() tells it */
  __u64 heard;
  __u32 length; /* of the frame */
  __u32 zero;
};
