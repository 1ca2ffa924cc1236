/* The asynchronous half of shim.h: packets that flows hand to the agent, and its answers. */
#include <config.h>

#include "overlay/vswitch/shim.h"

#include <stdlib.h>

#include "byte-order.h"
#include "flow.h"
#include "openflow/nicira-ext.h"
#include "openvswitch/match.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofp-packet.h"
#include "openvswitch/ofp-switch.h"
#include "openvswitch/ofp-util.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/rconn.h"
#include "util.h"

enum {
  messages_per_turn = 64,
  answers_on_the_way = 128, /* More than that wait for ovs-vswitchd to read: it has stopped. */
  longest_answer = 1500,
};

struct hp_listener {
  struct rconn* rconn;
  struct rconn_packet_counter* on_the_way;
  unsigned int connection; /* The last one that was introduced, by its number. */
  bool asked;              /* Whether it answers. */
  struct hp_listener_options options;
};

struct hp_listener* hp_listener_create(const char* target,
                                       const struct hp_listener_options* options) {
  struct hp_listener* listener = xzalloc(sizeof *listener);
  listener->options = *options;
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

static void send_back(struct hp_listener* listener, uint16_t port, const uint8_t* frame,
                      size_t length) {
  uint64_t stub[64 / 8];
  struct ofpbuf actions = OFPBUF_STUB_INITIALIZER(stub);
  ofpact_put_OUTPUT(&actions)->port = u16_to_ofp(port);
  struct ofputil_packet_out out = {
      .packet = frame,
      .packet_len = length,
      .buffer_id = UINT32_MAX,
      .ofpacts = actions.data,
      .ofpacts_len = actions.size,
  };
  match_init_catchall(&out.flow_metadata);
  match_set_in_port(&out.flow_metadata, OFPP_CONTROLLER);
  rconn_send_with_limit(listener->rconn, ofputil_encode_packet_out(&out, OFPUTIL_P_OF14_OXM),
                        listener->on_the_way, answers_on_the_way);
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
  const struct hp_punted punted = {
      .cookie = ntohll(in.cookie),
      .port = ofp_to_u16(in.flow_metadata.flow.in_port.ofp_port),
      .tag = in.userdata,
      .tag_length = in.userdata_len,
      .frame = in.packet,
      .frame_length = in.packet_len,
      .whole_length = length,
  };
  uint8_t frame[longest_answer];
  size_t n = listener->options.answer(listener->options.aux, &punted, frame, sizeof frame);
  if (n > 0) {
    send_back(listener, punted.port, frame, n);
  }
  /* What it points to is in the message. */
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
    listener->asked = false;
  }
}

void hp_listener_ask(struct hp_listener* listener) {
  if (!listener->asked && rconn_is_connected(listener->rconn)) {
    send_now(listener, ofputil_encode_echo_request(OFP14_VERSION));
  }
  listener->asked = true;
}

bool hp_listener_answered(const struct hp_listener* listener) {
  return !listener->asked;
}

bool hp_listener_run(struct hp_listener* listener) {
  rconn_run(listener->rconn);
  if (rconn_is_connected(listener->rconn) &&
      rconn_get_connection_seqno(listener->rconn) != listener->connection) {
    listener->connection = rconn_get_connection_seqno(listener->rconn);
    listener->asked = false; /* Both sides have greeted each other. */
    introduce(listener);
  }
  for (int i = 0; i < messages_per_turn; i++) {
    struct ofpbuf* message = rconn_recv(listener->rconn);
    if (!message) {
      return false;
    }
    hear(listener, message);
    ofpbuf_delete(message);
  }
  return true;
}
