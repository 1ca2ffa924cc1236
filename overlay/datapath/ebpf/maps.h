/* The maps and the settings of the programs. */
#pragma once

#include "overlay/datapath/ebpf/layout.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

/* Hashes are not preallocated: their limits are far above what most hosts hold. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_address_key);
  __type(value, struct hp_address);
} hp_addresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_PORTS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_address_key);
  __type(value, struct hp_delivery);
} hp_held SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_PORTS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct hp_port);
} hp_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_neighbor_key);
  __type(value, struct hp_mac);
} hp_neighbors SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_NETWORKS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct hp_network);
} hp_networks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_ANNOUNCE_HOSTS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_member_key);
  __type(value, struct hp_vtep);
} hp_network_hosts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_PORTS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_member_key);
  __type(value, __u32);
} hp_network_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_UNDERLAY_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_vtep);
  __type(value, struct hp_host_address);
} hp_vteps SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_PATHS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_path_key);
  __type(value, struct hp_path);
} hp_paths SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, HP_MAX_PORT_RULES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_port_rule_key);
  __type(value, struct hp_port_rule);
} hp_port_rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_LABELS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_label_key);
  __type(value, __u32);
} hp_labels SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_RELAYS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct hp_relay);
} hp_relays SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_ip);
  __type(value, struct hp_route);
} hp_routes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_VTEPS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_ip);
  __type(value, struct hp_host);
} hp_hosts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, HP_MAX_PORTS);
  __type(key, __u32);
  __type(value, struct hp_port_counters);
} hp_port_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, HP_COUNTER_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} hp_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1 << HP_FLOW_BITS);
  __type(key, __u32);
  __type(value, struct hp_flow);
} hp_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HP_MAX_ASKS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct hp_probe_pair);
  __type(value, struct hp_asked);
} hp_asks SEC(".maps");

/* Not pinned: the answers are for the process that has asked. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, HP_ANSWERS_BYTES);
} hp_probe_answers SEC(".maps");

/* Settings the loader writes through the skeleton, at any time: plain loads for the programs. */
__u32 hp_vxlan_ifindex;
__u32 hp_host_ifindex; /* the device of the host's own processes; 0: there is none */
__u32 hp_fast_off;     /* not 0: all frames of other hosts go through the VXLAN device */
__u32 hp_fast_send;    /* not 0: plain frames go straight to the device of the underlay */
__u32 hp_udp_port;     /* of VXLAN */
__u32 hp_first_source_port, hp_source_ports; /* those that the VXLAN device chooses among */
__u32 hp_has_paths;                          /* not 0: hp_paths has entries */
__u32 hp_has_port_rules;                     /* not 0: hp_port_rules has entries */
__u32 hp_local_v4;    /* outer source address in host order; 0: the routing chooses */
__u32 hp_local_v6[4]; /* in network order; all 0: the routing chooses */

static __always_inline void hp_count(__u32 counter) {
  __u64* value = bpf_map_lookup_elem(&hp_counters, &counter);
  if (value) ++*value;
}

/* Of what is written to a map's value for each packet. The clock goes on a few hundred times a
 * second, so processors that write the same value do not fight over it more often than that. */
static __always_inline void hp_note_time(volatile __u64* when) {
  const __u64 now = bpf_ktime_get_coarse_ns();
  if (*when != now) *when = now;
}

static __always_inline int hp_drop(__u32 counter) {
  hp_count(counter);
  return TC_ACT_SHOT;
}
