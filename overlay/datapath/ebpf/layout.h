/* The layout of the maps, shared by the programs (C) and the loader (C++).
 *
 * A change of any key, value or meaning here needs a new HP_LAYOUT_VERSION: maps are pinned under
 * it and adopted by agents of the same layout only. */
#pragma once

#include <linux/types.h>

#define HP_LAYOUT_VERSION 5

#define HP_MAX_PORTS 4096       /* ports of this host */
#define HP_MAX_ADDRESSES 262144 /* (network, MAC) and (network, IP) pairs */
#define HP_MAX_NETWORKS 16384
#define HP_MAX_VTEPS 16384 /* hosts */
#define HP_MAX_UNDERLAY_ADDRESSES 65536
#define HP_MAX_PATHS 65536           /* (host, traffic class) pairs */
#define HP_MAX_LABELS 65536          /* of networks, to hosts that relay */
#define HP_MAX_RELAYS 65536          /* labels that this host has given out */
#define HP_MAX_PORT_RULES 8192       /* prefixes of transport ports */
#define HP_MAX_ASKS 65536            /* pairs of addresses that probes have come for */
#define HP_ANSWERS_BYTES (256 << 10) /* of probes, waiting to be taken: some 2,900 */
#define HP_MAX_NETWORK_HOSTS 1024    /* hosts that one network's announcements go to */
#define HP_MAX_ANNOUNCE_HOSTS 262144 /* the same, of all networks together */

#define HP_FLOW_BITS 10 /* of the index into hp_flows */
#define HP_FLOW_WAITS_NS 100000000ULL

#define HP_VNI_MARK 0x800000u /* on the wire: a frame that was forwarded once */

/* Network identifiers from here on, up to the mark, are labels: of what network a frame is, and for
 * which host, in the words of the host that relays it. */
#define HP_FIRST_LABEL 0x700000u

/* The router that every host is for its applications has one MAC address everywhere, so that an
 * application that moves goes on using it. Locally administered. */
#define HP_ROUTER_MAC \
  { 0x02, 0x48, 0x50, 0x00, 0x00, 0x01 }

/* hp_network, hp_port: flags. */
#define HP_NORMAL 1u      /* what is not for an application goes its normal way */
#define HP_HOST_ACCESS 2u /* hosts' own processes reach the applications, and are reached */

/* An underlay address the way struct bpf_tunnel_key holds it: IPv4 in word 0 in host order, IPv6
 * as 16 bytes in network order. */
struct hp_vtep {
  __u32 v6; /* 1 for IPv6, 0 for IPv4 */
  __u32 words[4];
};

/* hp_vteps: value; the key is any underlay address of a host. */
struct hp_host_address {
  struct hp_vtep host; /* the one that it goes by everywhere else in these maps: its VTEP */
  __u32 zero;
  /* Written by the programs: when a frame last came from the address, as bpf_ktime_get_coarse_ns()
   * tells it. 0: none has since this was written. */
  __u64 heard;
};

/* Classes of traffic, which may take different ways to a host: policy::TrafficClass. */
enum hp_traffic_class { HP_CLASS_DEFAULT, HP_CLASS_INTERACTIVE, HP_CLASS_BULK, HP_CLASSES };

/* hp_paths: key. */
struct hp_path_key {
  struct hp_vtep host; /* by its VTEP */
  __u32 traffic_class;
};

/* hp_paths: value. The outer headers that lead there: without an entry, the host's VTEP, from this
 * host's. */
struct hp_path {
  struct hp_vtep local;
  struct hp_vtep remote; /* of the same family */
  __u64 sent;            /* written by the programs, like `heard` above: when one last went there */
  __u32
      labels; /* not 0: a third host is there, which relays what these hp_labels have a name for */
  __u32 zero;
};

/* hp_port_rules: key, of a longest-prefix match. */
struct hp_port_rule_key {
  __u32 prefix; /* bits of what follows that count: HP_PORT_RULE_BITS, less those of the port that
                   are free */
  __u8 protocol;
  __u8 zero;
  __u16 port; /* in network order */
};
#define HP_PORT_RULE_BITS 32

/* hp_port_rules: value. Each port is in one prefix at most, which is a part of the rule's ports. */
struct hp_port_rule {
  __u16 first, last; /* the rule's */
  __u32 traffic_class;
};

/* hp_labels: key; the value is the label. A path to another host that relays has other labels: none
 * goes to a host that has not given it out. */
struct hp_label_key {
  __u32 labels; /* whose: of hp_path */
  __u32 vni;
};

/* hp_relays: value; the key is the label. What comes under it from one host goes on to another. */
struct hp_relay {
  struct hp_vtep from; /* by its VTEP, and so is the other */
  struct hp_vtep to;
  __u32 vni;
};

/* hp_asks: key. An address of this host and one of another, which has sent probes from there. */
struct hp_probe_pair {
  struct hp_vtep local, remote;
};

/* hp_asks: value. */
struct hp_asked {
  __u64 count;
  __u64 last; /* as bpf_ktime_get_ns() tells it */
};

/* hp_addresses, hp_held: key. */
struct hp_address_key {
  __u32 vni;
  __u8 mac[6];
  __u8 zero[2];
};

/* How a frame gets to a device of this host. */
struct hp_delivery {
  __u32 ifindex;
  __u32 slot; /* index into hp_port_counters */
  __u32 peer; /* 1: a veth whose other end is in another namespace, reached without a queue */
};

/* hp_addresses: value. */
struct hp_address {
  __u64 generation;
  __u32 remote; /* 1: at `vtep`; 0: here, at `local` */
  struct hp_delivery local;
  struct hp_vtep vtep;
  __u32 relayed; /* 1: what other hosts send here for it is sent on to `vtep` */
};

/* hp_ports: value; the key is the ifindex. */
struct hp_port {
  __u32 vni;
  __u32 slot;
  __u32 mtu; /* of its network; 0 does not check */
  __u32 held;
  __u32 flags; /* of its network */
  __u32 traffic_class;
  __u8 mac[6];
  __u8 zero[2];
};

/* hp_neighbors: key; the value is struct hp_mac. IPv4 addresses are IPv4-mapped (RFC 4291). */
struct hp_neighbor_key {
  __u32 vni;
  __u8 ip[16];
};
struct hp_mac {
  __u8 mac[6];
  __u8 zero[2];
};

/* hp_networks: value; the key is the VNI. */
struct hp_network {
  __u32 mtu;
  __u32 hosts; /* entries of hp_network_hosts to look at: the highest index and one */
  __u32 ports; /* the same of hp_network_ports */
  __u32 flags;
};

/* hp_network_hosts, hp_network_ports: key; the value is struct hp_vtep, or the ifindex of a port.
 * Not every index below the network's `hosts` or `ports` has an entry: who stays keeps its index
 * when another goes. */
struct hp_member_key {
  __u32 vni;
  __u32 index;
};

/* hp_routes, hp_hosts: key. IPv4 addresses are IPv4-mapped (RFC 4291). */
struct hp_ip {
  __u8 bytes[16];
};

/* hp_routes: value. Where what the host's own processes send goes: to an application. */
struct hp_route {
  __u32 vni;
  __u8 mac[6];
  __u8 zero[2];
};

/* hp_hosts: value. Whose address it is: a host's. */
struct hp_host {
  __u32 here; /* 1: this host's */
  struct hp_vtep vtep;
};

/* hp_port_counters: per CPU, indexed by slot. */
struct hp_port_counters {
  __u64 delivered_packets;
  __u64 delivered_bytes;
  __u64 received_packets;
  __u64 received_bytes;
};

/* hp_flows: per CPU. What is on its way through the VXLAN device there, of the frames whose inner
 * IP addresses have this slot. */
struct hp_flow {
  __u64 since; /* when the last of them came, as bpf_ktime_get_ns() tells it */
  __u64 waiting;
};

/* hp_counters: per CPU, one number each. The names are those of overlay::TotalCounters. */
#define HP_COUNTERS(X)        \
  X(forwarded)                \
  X(relayed)                  \
  X(delivered_held)           \
  X(delivered_fast)           \
  X(sent_fast)                \
  X(neighbor_answers)         \
  X(announcements)            \
  X(multicast)                \
  X(routed)                   \
  X(probes)                   \
  X(too_big_answers)          \
  X(fragmented)               \
  X(drop_unknown_port)        \
  X(drop_unknown_address)     \
  X(drop_elsewhere)           \
  X(drop_unknown_neighbor)    \
  X(drop_forged_source)       \
  X(drop_forged_announcement) \
  X(drop_multicast)           \
  X(drop_expired)             \
  X(drop_unknown_network)     \
  X(drop_unknown_vtep)        \
  X(drop_unknown_label)       \
  X(drop_forwarded_twice)     \
  X(drop_too_big)             \
  X(drop_malformed)

enum hp_counter {
#define X(name) HP_COUNT_##name,
  HP_COUNTERS(X)
#undef X
      HP_COUNTER_COUNT
};
