/* The asynchronous half of shim.h: packets that flows hand to the agent, its answers, packets that
 * come past the switch, and those that the agent sends by it. */
#include <config.h>

#include "overlay/vswitch/shim.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "byte-order.h"
#include "flow.h"
#include "openflow/nicira-ext.h"
#include "openvswitch/match.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofp-packet.h"
#include "openvswitch/ofp-switch.h"
#include "openvswitch/ofp-util.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/rconn.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

enum {
  messages_per_turn = 64,
  frames_on_the_way = 1024, /* More than that wait for ovs-vswitchd to read: it has stopped. */
  longest_frame = 60000,    /* It is in a message of 64 KiB at most. */
  ask_every = 500,          /* Milliseconds between questions whether ovs-vswitchd answers. */
};

struct hp_listener {
  struct rconn* rconn;
  struct rconn_packet_counter* on_the_way;
  unsigned int connection; /* The last one that was introduced, by its number. */
  bool asked;              /* Whether it answers, */
  long long asked_at;      /* and when; if it has been, when it answered. */
  bool silent;             /* It should have answered. */
  long long last_turn;
  struct hp_listener_options options;
  int arrivals; /* A socket, or -1. */
  hp_read_arrival* read_arrival;
  void* arrival_aux;
};

struct hp_listener* hp_listener_create(const char* target,
                                       const struct hp_listener_options* options) {
  struct hp_listener* listener = xzalloc(sizeof *listener);
  listener->options = *options;
  listener->arrivals = -1;
  /* No probes: ovs-vswitchd is on this host, and its socket is closed when it ends. */
  listener->rconn = rconn_create(0, 1, 0, 1u << OFP14_VERSION);
  listener->on_the_way = rconn_packet_counter_create();
  listener->connection = rconn_get_connection_seqno(listener->rconn);
  rconn_connect(listener->rconn, target, target);
  return listener;
}

void hp_listener_destroy(struct hp_listener* listener) {
  rconn_destroy(listener->rconn);
  rconn_packet_counter_destroy(listener->on_the_way);
  free(listener);
}

void hp_listener_wait(struct hp_listener* listener) {
  rconn_run_wait(listener->rconn);
  rconn_recv_wait(listener->rconn);
  poll_timer_wait_until(time_msec() + ask_every);
  if (listener->arrivals >= 0) {
    poll_fd_wait(listener->arrivals, POLLIN);
  }
}

static void send_now(struct hp_listener* listener, struct ofpbuf* message) {
  /* Where it cannot be sent the connection is lost, and begins anew. */
  rconn_send(listener->rconn, message, NULL);
}

/* Whose packets it wants, how they are to be told, and how the switch is set up: it sends none
 * until that has been said again with a length (settle()). */
static void introduce(struct hp_listener* listener) {
  send_now(listener, ofputil_encode_set_packet_in_format(OFP14_VERSION, OFPUTIL_PACKET_IN_NXT2));
  struct ofpbuf* id = ofpraw_alloc(OFPRAW_NXT_SET_CONTROLLER_ID, OFP14_VERSION, 0);
  struct nx_controller_id* body = ofpbuf_put_zeros(id, sizeof *body);
  body->controller_id = htons(listener->options.controller);
  send_now(listener, id);
  send_now(listener, ofpraw_alloc(OFPRAW_OFPT_GET_CONFIG_REQUEST, OFP14_VERSION, 0));
}

/* The whole switch has one way with fragments, which stays. */
static void settle(struct hp_listener* listener, const struct ofp_header* told) {
  struct ofputil_switch_config config;
  ofputil_decode_get_config_reply(told, &config);
  config.miss_send_len = UINT16_MAX;
  send_now(listener, ofputil_encode_set_config(&config, OFP14_VERSION));
}

static void put_field(struct ofpbuf* actions, enum mf_field_id id, const struct flow* from) {
  const struct mf_field* field = mf_from_id(id);
  union mf_value value;
  mf_get_value(field, from, &value);
  if (!is_all_zeros(&value, field->n_bytes)) {
    ofpact_put_set_field(actions, field, &value, NULL);
  }
}

/* Where frames go that are sent for a packet of which the switch told `from`. */
static void put_way(struct ofpbuf* actions, const struct flow* from, int table) {
  if (table < 0) {
    ofpact_put_OUTPUT(actions)->port = from->in_port.ofp_port;
    return;
  }
  put_field(actions, MFF_REG0, from);
  put_field(actions, MFF_TUN_DST, from);
  put_field(actions, MFF_TUN_IPV6_DST, from);
  struct ofpact_resubmit* on = ofpact_put_RESUBMIT(actions);
  on->in_port = OFPP_IN_PORT;
  on->table_id = table;
}

static void send_frame(struct hp_listener* listener, ofp_port_t in_port,
                       const struct ofpbuf* actions, const uint8_t* frame, size_t length) {
  if (length > longest_frame) {
    return;
  }
  struct ofputil_packet_out out = {
      .packet = frame,
      .packet_len = length,
      .buffer_id = UINT32_MAX,
      .ofpacts = actions->data,
      .ofpacts_len = actions->size,
  };
  match_init_catchall(&out.flow_metadata);
  match_set_in_port(&out.flow_metadata, in_port);
  rconn_send_with_limit(listener->rconn, ofputil_encode_packet_out(&out, OFPUTIL_P_OF14_OXM),
                        listener->on_the_way, frames_on_the_way);
}

static void send_frames(struct hp_listener* listener, const struct flow* from,
                        const struct hp_replies* replies) {
  uint64_t stub[256 / 8];
  struct ofpbuf actions = OFPBUF_STUB_INITIALIZER(stub);
  put_way(&actions, from, replies->table);
  ofp_port_t in_port = replies->table < 0 ? OFPP_CONTROLLER : from->in_port.ofp_port;
  for (size_t i = 0; i < replies->n; i++) {
    send_frame(listener, in_port, &actions, replies->frames[i].bytes, replies->frames[i].length);
  }
  ofpbuf_uninit(&actions);
}

static void answer(struct hp_listener* listener, const struct ofp_header* message) {
  struct ofputil_packet_in in;
  size_t length;
  uint32_t buffer;
  struct ofpbuf continuation;
  if (ofputil_decode_packet_in(message, true, NULL, NULL, &in, &length, &buffer, &continuation)) {
    return;
  }
  const struct flow_tnl* tunnel = &in.flow_metadata.flow.tunnel;
  const struct in6_addr source = flow_tnl_src(tunnel), destination = flow_tnl_dst(tunnel);
  const int on_the_way = rconn_packet_counter_n_packets(listener->on_the_way);
  const struct hp_punted punted = {
      .cookie = ntohll(in.cookie),
      .port = ofp_to_u16(in.flow_metadata.flow.in_port.ofp_port),
      .tag = in.userdata,
      .tag_length = in.userdata_len,
      .frame = in.packet,
      .frame_length = in.packet_len,
      .whole_length = length,
      .room = on_the_way < frames_on_the_way ? frames_on_the_way - on_the_way : 0,
      .tunnel_source = source.s6_addr,
      .tunnel_destination = destination.s6_addr,
  };
  struct hp_replies replies = {.table = -1};
  listener->options.answer(listener->options.aux, &punted, &replies);
  send_frames(listener, &in.flow_metadata.flow, &replies);
  /* What `in` points to is in the message. */
}

void hp_listener_take(struct hp_listener* listener, int fd, hp_read_arrival* read, void* aux) {
  listener->arrivals = fd;
  listener->read_arrival = read;
  listener->arrival_aux = aux;
}

static void put_source(struct ofpbuf* actions, const struct sockaddr_storage* from) {
  if (from->ss_family == AF_INET) {
    const struct sockaddr_in* v4 = (const struct sockaddr_in*)from;
    ofpact_put_set_field(actions, mf_from_id(MFF_TUN_SRC), &v4->sin_addr, NULL);
  } else {
    const struct sockaddr_in6* v6 = (const struct sockaddr_in6*)from;
    ofpact_put_set_field(actions, mf_from_id(MFF_TUN_IPV6_SRC), &v6->sin6_addr, NULL);
  }
}

static void send_arrival(struct hp_listener* listener, const struct hp_arrival* arrival,
                         const struct sockaddr_storage* from) {
  uint64_t stub[256 / 8];
  struct ofpbuf actions = OFPBUF_STUB_INITIALIZER(stub);
  const ovs_be64 key = htonll(arrival->key);
  ofpact_put_set_field(&actions, mf_from_id(MFF_TUN_ID), &key, NULL);
  put_source(&actions, from);
  struct ofpact_resubmit* on = ofpact_put_RESUBMIT(&actions);
  on->in_port = OFPP_IN_PORT;
  on->table_id = 0;
  send_frame(listener, u16_to_ofp(arrival->port), &actions, arrival->frame, arrival->length);
  ofpbuf_uninit(&actions);
}

static void put_outer(struct ofpbuf* actions, enum mf_field_id v4, enum mf_field_id v6,
                      const uint8_t* address) {
  struct in6_addr mapped;
  memcpy(&mapped, address, sizeof mapped);
  if (IN6_IS_ADDR_V4MAPPED(&mapped)) {
    const ovs_be32 value = in6_addr_get_mapped_ipv4(&mapped);
    ofpact_put_set_field(actions, mf_from_id(v4), &value, NULL);
  } else {
    ofpact_put_set_field(actions, mf_from_id(v6), &mapped, NULL);
  }
}

void hp_listener_send(struct hp_listener* listener, const struct hp_departure* departure) {
  uint64_t stub[512 / 8];
  struct ofpbuf actions = OFPBUF_STUB_INITIALIZER(stub);
  const ovs_be64 key = htonll(departure->key);
  ofpact_put_set_field(&actions, mf_from_id(MFF_TUN_ID), &key, NULL);
  put_outer(&actions, MFF_TUN_SRC, MFF_TUN_IPV6_SRC, departure->source);
  put_outer(&actions, MFF_TUN_DST, MFF_TUN_IPV6_DST, departure->destination);
  struct ofpact_resubmit* on = ofpact_put_RESUBMIT(&actions);
  on->in_port = OFPP_IN_PORT;
  on->table_id = departure->table;
  send_frame(listener, OFPP_CONTROLLER, &actions, departure->frame, departure->length);
  ofpbuf_uninit(&actions);
}

/* One datagram of the socket; false: there is none. */
static bool receive_arrival(struct hp_listener* listener) {
  static uint8_t datagram[65536]; /* Of the one thread. */
  struct sockaddr_storage from;
  socklen_t from_length = sizeof from;
  ssize_t length = recvfrom(listener->arrivals, datagram, sizeof datagram, 0,
                            (struct sockaddr*)&from, &from_length);
  if (length < 0) {
    return false;
  }
  struct hp_arrival arrival;
  if (listener->read_arrival(listener->arrival_aux, datagram, length, &arrival)) {
    send_arrival(listener, &arrival, &from);
  }
  return true;
}

static void note_answer(struct hp_listener* listener) {
  listener->asked = false;
  listener->asked_at = time_msec();
  listener->silent = false;
}

static void hear(struct hp_listener* listener, const struct ofpbuf* message) {
  const struct ofp_header* header = message->data;
  enum ofptype type;
  if (ofptype_decode(&type, header)) {
    return;
  }
  if (type == OFPTYPE_PACKET_IN) {
    answer(listener, header);
  } else if (type == OFPTYPE_GET_CONFIG_REPLY) {
    settle(listener, header);
  } else if (type == OFPTYPE_ECHO_REQUEST) {
    send_now(listener, ofputil_encode_echo_reply(header));
  } else if (type == OFPTYPE_ECHO_REPLY) {
    note_answer(listener);
  }
}

static void ask(struct hp_listener* listener) {
  if (listener->asked || !rconn_is_connected(listener->rconn)) {
    return;
  }
  send_now(listener, ofputil_encode_echo_request(OFP14_VERSION));
  listener->asked = true;
  listener->asked_at = time_msec();
}

/* After what there was to hear has been heard. */
static void judge_silence(struct hp_listener* listener) {
  const long long now = time_msec();
  if (now - listener->last_turn > listener->options.silent_after && listener->asked) {
    listener->asked_at = now; /* Nobody has listened. */
  }
  listener->last_turn = now;
  if (listener->asked && now - listener->asked_at >= listener->options.silent_after) {
    listener->silent = true;
  } else if (!listener->asked && now - listener->asked_at >= ask_every) {
    ask(listener);
  }
}

void hp_listener_note_slow(struct hp_listener* listener) {
  ask(listener);
  listener->asked = listener->silent = true;
}

bool hp_listener_answers(struct hp_listener* listener) {
  hp_listener_run(listener);
  if (listener->silent || !rconn_is_connected(listener->rconn)) {
    return !listener->silent;
  }
  ask(listener);
  while (listener->asked && !listener->silent && rconn_is_connected(listener->rconn)) {
    rconn_run_wait(listener->rconn);
    rconn_recv_wait(listener->rconn);
    poll_timer_wait_until(
        MIN(listener->asked_at + listener->options.silent_after, time_msec() + ask_every));
    poll_block();
    hp_listener_run(listener);
  }
  return !listener->silent;
}

bool hp_listener_run(struct hp_listener* listener) {
  rconn_run(listener->rconn);
  if (rconn_is_connected(listener->rconn) &&
      rconn_get_connection_seqno(listener->rconn) != listener->connection) {
    listener->connection = rconn_get_connection_seqno(listener->rconn);
    note_answer(listener); /* Both sides have greeted each other. */
    introduce(listener);
  }
  bool more = listener->arrivals >= 0;
  for (int i = 0; more && i < messages_per_turn; i++) {
    more = receive_arrival(listener);
  }
  for (int i = 0; i < messages_per_turn; i++) {
    struct ofpbuf* message = rconn_recv(listener->rconn);
    if (!message) {
      judge_silence(listener);
      return more;
    }
    hear(listener, message);
    ofpbuf_delete(message);
  }
  return true;
}
