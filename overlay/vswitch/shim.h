/* The door to Open vSwitch itself, for what overlay/ovsdb/shim.h is to its databases: the ports of
 * one bridge through the database of ovs-vswitchd, and its flows through OpenFlow.
 *
 * Thread: every function belongs to the one thread of overlay/ovsdb/thread.h. Those that take a
 * deadline (milliseconds of hp_now()) block it, no longer than that. Where a function returns
 * char *, NULL is success and anything else says why not, for a person; strings returned are
 * malloc'd: free() them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The clock of deadlines. */
long long hp_now(void);

/* The database half. */

struct hp_bridge;
/* `database` is that of ovs-vswitchd, "unix:PATH". Connects, and again whenever that is lost, while
 * hp_bridge_run() and hp_bridge_wait() take their turns in the poll loop. */
struct hp_bridge* hp_bridge_create(const char* database, const char* name);
void hp_bridge_destroy(struct hp_bridge*);
void hp_bridge_run(struct hp_bridge*);
void hp_bridge_wait(struct hp_bridge*);
/* Waits until the replica holds what the server has. */
char* hp_bridge_sync(struct hp_bridge*, long long deadline);
/* Makes the bridge if there is none: without ports, and forwarding nothing by itself. One that
 * exists must have that datapath type. */
char* hp_bridge_ensure(struct hp_bridge*, const char* datapath_type, long long deadline);

struct hp_bridge_port {
  const char* name;
  const char* type;    /* "" for a network device */
  const char* owner;   /* the value of external_ids:homeport, "" for other people's */
  const char* options; /* "key=value" in order of the keys, separated by commas */
  const char* error;   /* why ovs-vswitchd cannot use it, or "" */
  int64_t number;      /* OpenFlow port, -1 while it has none */
};
typedef void hp_port_seen(void* aux, const struct hp_bridge_port*);
void hp_bridge_ports(struct hp_bridge*, hp_port_seen* seen, void* aux);
/* Whether one of the bridges has that device, as the replica knows it: their own ones included. */
bool hp_bridge_has_device(struct hp_bridge*, const char* device);
/* Whether the replica holds what the server has, and in it the bridge with that datapath type.
 * Waits for nobody, and changes nothing. */
bool hp_bridge_is_there(struct hp_bridge*, const char* datapath_type);

/* Adds `added` (marked with their owner) and takes the ports named in `removed` out of the bridge,
 * if they are marked; then waits until ovs-vswitchd has done so. With neither, has it look at its
 * devices again. */
char* hp_bridge_change(struct hp_bridge*, const struct hp_bridge_port* added, size_t n_added,
                       const char* const* removed, size_t n_removed, long long deadline);

/* The OpenFlow half. */

struct hp_flow {
  uint8_t table;
  uint16_t priority;
  uint64_t cookie;
  const char* match;   /* in the words of ovs-ofctl(8) and ovs-fields(7), "" for every packet */
  const char* actions; /* those of ovs-actions(7) */
  uint64_t packets;
  uint64_t bytes;
};

/* How the switch would tell of the flow: `*match` and `*actions` as a dump has them. */
char* hp_flow_canonical(const struct hp_flow*, char** match, char** actions);

struct hp_switch;
/* `target` is the bridge's management socket, "unix:PATH". */
char* hp_switch_open(const char* target, long long deadline, struct hp_switch**);
void hp_switch_close(struct hp_switch*);

typedef void hp_flow_seen(void* aux, const struct hp_flow*);
/* Of flows in whatever order, but for what they have counted and how old they are. */
struct hp_digest {
  uint64_t flows; /* how many */
  uint64_t low, high;
};
/* Every flow of the table (255: of all) whose cookie is `cookie` where `mask` has ones. Wants
 * either of `seen` and `digest`, or both; a digest alone is the cheaper. */
char* hp_switch_dump(struct hp_switch*, uint8_t table, uint64_t cookie, uint64_t mask,
                     hp_flow_seen* seen, void* aux, struct hp_digest* digest, long long deadline);
/* Every flow of the table of `place` that takes no packets but some of those that its match does.
 */
char* hp_switch_dump_within(struct hp_switch*, const struct hp_flow* place, hp_flow_seen* seen,
                            void* aux, long long deadline);

struct hp_flow_change {
  struct hp_flow flow; /* of one to remove: table, priority, match, and the cookie it must have */
  bool remove;
};
/* All of them or none, in their order, and for packets at one moment (a bundle, OpenFlow 1.4). A
 * flow that is there already is replaced and keeps its counts. After an error that is not the
 * switch's own refusal (`*refused`), the outcome is not known: close it. */
char* hp_switch_commit(struct hp_switch*, const struct hp_flow_change* changes, size_t n,
                       long long deadline, bool* refused);

/* Whether NORMAL and FLOOD send to a port what they send to all. */
struct hp_flooding {
  int64_t number; /* OpenFlow port */
  bool flooded;
  bool differs; /* set by the call: it was not as wanted */
};
/* Looks at the ports, and with `set` makes them be as wanted; those that there are not are left
 * out. By OpenFlow 1.0, which alone has it. ovs-vswitchd forgets it when it ends. */
char* hp_switch_flooding(const char* target, bool set, struct hp_flooding* ports, size_t n,
                         long long deadline);

/* Meters, each with one band that drops what is more than `rate` packets a second. */
struct hp_meter {
  uint32_t id;
  uint32_t rate; /* and as many at once */
  uint64_t dropped;
};
typedef void hp_meter_seen(void* aux, const struct hp_meter*);
/* All that there are: what they are set to (`counts` false), or what they have dropped. */
char* hp_switch_meters(struct hp_switch*, bool counts, hp_meter_seen* seen, void* aux,
                       long long deadline);
enum hp_meter_command { HP_METER_ADD, HP_METER_MODIFY, HP_METER_DELETE };
/* One that is deleted takes the flows with it that refer to it. */
char* hp_switch_set_meter(struct hp_switch*, enum hp_meter_command, const struct hp_meter*,
                          long long deadline);

/* Packets that flows hand to the agent. */

struct hp_punted {
  uint64_t cookie;    /* of the flow */
  uint16_t port;      /* OpenFlow port that it came from */
  const uint8_t* tag; /* the action's userdata */
  size_t tag_length;
  const uint8_t* frame; /* as the flow had it, up to the action's max_len */
  size_t frame_length;
  size_t whole_length;
  size_t room; /* how many frames can be sent now */
  /* As the flow had them: 16 bytes, IPv4 addresses mapped (RFC 4291); all 0 where it has none. */
  const uint8_t *tunnel_source, *tunnel_destination;
};
struct hp_frame {
  const uint8_t* bytes;
  size_t length; /* no more than 60,000: longer ones are not sent */
};
struct hp_replies {
  const struct hp_frame* frames; /* not freed: good until the next call */
  size_t n;
  int table; /* that they go on in, with the packet's port, reg0 and tunnel destination;
              * -1: out of the port that the packet came from */
};
/* Says what is to be sent. Must not block. */
typedef void hp_answer_punted(void* aux, const struct hp_punted*, struct hp_replies*);

struct hp_listener_options {
  uint16_t controller;    /* hears the actions controller(id=...) with this number */
  long long silent_after; /* milliseconds without an answer of ovs-vswitchd */
  hp_answer_punted* answer;
  void* aux;
};
struct hp_listener;
/* Connects to the bridge's management socket, and again whenever that is lost, while
 * hp_listener_run() and hp_listener_wait() take their turns in the poll loop. */
struct hp_listener* hp_listener_create(const char* target, const struct hp_listener_options*);
void hp_listener_destroy(struct hp_listener*);
/* A frame that came through a tunnel. */
struct hp_arrival {
  uint16_t port; /* the tunnel's OpenFlow port */
  uint64_t key;
  const uint8_t* frame;
  size_t length;
};
/* Says what is in a datagram; false: nothing. Must not block. */
typedef bool hp_read_arrival(void* aux, const uint8_t* datagram, size_t length, struct hp_arrival*);
/* Has datagrams of that UDP socket, which does not block, go on in table 0 as if they had come
 * through the tunnel. It stays the caller's. */
void hp_listener_take(struct hp_listener*, int fd, hp_read_arrival* read, void* aux);
/* A frame to be sent through a tunnel. */
struct hp_departure {
  uint8_t table; /* that sends it there */
  uint64_t key;
  const uint8_t *source, *destination; /* the outer addresses: 16 bytes, IPv4 ones mapped */
  const uint8_t* frame;
  size_t length; /* no more than 60,000: longer ones are not sent */
};
/* Has it go on in that table, which belongs to no port then. What cannot be sent is lost. */
void hp_listener_send(struct hp_listener*, const struct hp_departure*);
/* Answers some of what has come; true: there may be more. */
bool hp_listener_run(struct hp_listener*);
void hp_listener_wait(struct hp_listener*);
/* While they take their turns, ovs-vswitchd is asked twice a second whether it answers. */

/* Whether it is there: waits for its answer for a moment if it has not been silent for long. */
bool hp_listener_answers(struct hp_listener*);
/* It has been too slow for something else: it is silent until it answers. */
void hp_listener_note_slow(struct hp_listener*);

/* The daemon. */

/* What ovs-appctl(8) asks by the daemon's control socket, and in `*printed` (malloc'd), unless that
 * is NULL, what it would print. Of "revalidator/wait", which returns when ovs-vswitchd has gone
 * once more over what its datapath has cached of the flows, a round that was under way already may
 * be the one that ends the wait. */
char* hp_vswitchd_ask(const char* socket_path, const char* command, const char* const* arguments,
                      size_t n_arguments, long long deadline, char** printed);

#ifdef __cplusplus
}
#endif
