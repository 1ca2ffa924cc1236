/* The OpenFlow half of shim.h. */
#include <config.h>

#include "overlay/vswitch/shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "byte-order.h"
#include "flow.h"
#include "hash.h"
#include "openflow/openflow-1.1.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/match.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofp-errors.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofp-port.h"
#include "openvswitch/ofp-util.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vconn.h"
#include "timeval.h"
#include "util.h"

/* What bundles came with; the switch tells of flows in its terms. */
static const enum ofputil_protocol protocol = OFPUTIL_P_OF14_OXM;
static const enum ofp_version version = OFP14_VERSION;

struct hp_switch {
  struct vconn* vconn;
  uint32_t next_bundle;
};

/* Parses a flow the way ovs-ofctl does. Frees nothing of `fm` unless it returns NULL: see
 * release(). */
static char* parse(const struct hp_flow* flow, int command, struct ofputil_flow_mod* fm) {
  const bool deletes = command == OFPFC_DELETE_STRICT;
  char* text =
      xasprintf("table=%u,priority=%u,cookie=0x%016" PRIx64 "%s%s%s%s%s", flow->table,
                flow->priority, flow->cookie, deletes ? "/-1" : "", flow->match[0] ? "," : "",
                flow->match, deletes ? "" : ",actions=", deletes ? "" : flow->actions);
  enum ofputil_protocol usable;
  char* why = parse_ofp_flow_mod_str(fm, text, NULL, NULL, command, &usable);
  if (!why && !(usable & protocol)) {
    minimatch_destroy(&fm->match);
    free(CONST_CAST(struct ofpact*, fm->ofpacts));
    why = xstrdup("OpenFlow 1.4 cannot say it");
  }
  if (why) {
    char* said = why;
    why = xasprintf("the flow \"%s\" is wrong: %s", text, said);
    free(said);
  }
  free(text);
  return why;
}

static void release(struct ofputil_flow_mod* fm) {
  minimatch_destroy(&fm->match);
  free(CONST_CAST(struct ofpact*, fm->ofpacts));
}

static char* actions_text(const struct ofpact* ofpacts, size_t length) {
  struct ds text = DS_EMPTY_INITIALIZER;
  const struct ofpact_format_params params = {.s = &text};
  ofpacts_format(ofpacts, length, &params);
  return ds_steal_cstr(&text);
}

char* hp_flow_canonical(const struct hp_flow* flow, char** match, char** actions) {
  struct ofputil_flow_mod fm;
  char* why = parse(flow, OFPFC_ADD, &fm);
  if (why) {
    return why;
  }
  /* Over the wire and back: encoding chooses among actions that mean the same. */
  struct ofpbuf* message = ofputil_encode_flow_mod(&fm, protocol);
  release(&fm);
  ofpmsg_update_length(message);
  uint64_t stub[1024 / 8];
  struct ofpbuf ofpacts = OFPBUF_STUB_INITIALIZER(stub);
  enum ofperr error =
      ofputil_decode_flow_mod(&fm, message->data, protocol, NULL, NULL, &ofpacts, OFPP_MAX, 255);
  if (error) {
    why = xasprintf("the flow with the match \"%s\" and the actions \"%s\" is wrong: %s",
                    flow->match, flow->actions, ofperr_to_string(error));
  } else {
    *match = minimatch_to_string(&fm.match, NULL, OFP_DEFAULT_PRIORITY);
    *actions = actions_text(fm.ofpacts, fm.ofpacts_len);
    minimatch_destroy(&fm.match);
  }
  ofpbuf_uninit(&ofpacts);
  ofpbuf_delete(message);
  return why;
}

static char* open_version(const char* target, enum ofp_version spoken, long long deadline,
                          struct hp_switch** result) {
  struct vconn* vconn;
  long long patience = deadline - time_msec();
  int error = vconn_open_block(target, 1u << spoken, 0, patience > 0 ? patience : 0, &vconn);
  if (error) {
    return xasprintf("no OpenFlow connection by %s: %s", target, ovs_strerror(error));
  }
  *result = xzalloc(sizeof **result);
  (*result)->vconn = vconn;
  return NULL;
}

char* hp_switch_open(const char* target, long long deadline, struct hp_switch** result) {
  return open_version(target, version, deadline, result);
}

void hp_switch_close(struct hp_switch* connection) {
  vconn_close(connection->vconn);
  free(connection);
}

static char* lost(int error) {
  return xasprintf("the OpenFlow connection to ovs-vswitchd was lost: %s",
                   ovs_retval_to_string(error));
}

/* Waits for a message, or with `to_send` until there is room to send. */
static char* wait_round(struct hp_switch* connection, bool to_send, long long deadline) {
  if (time_msec() >= deadline) {
    return xstrdup("ovs-vswitchd does not answer by OpenFlow: is it running?");
  }
  vconn_run_wait(connection->vconn);
  vconn_recv_wait(connection->vconn);
  if (to_send) {
    vconn_send_wait(connection->vconn);
  }
  poll_timer_wait_until(deadline);
  poll_block();
  vconn_run(connection->vconn);
  return NULL;
}

/* The next message, if there is one already. */
static char* receive(struct hp_switch* connection, struct ofpbuf** message) {
  *message = NULL;
  int error = vconn_recv(connection->vconn, message);
  if (error == EAGAIN) {
    *message = NULL;
    return NULL;
  }
  return error ? lost(error) : NULL;
}

/* Something the switch objects to; the first is kept. */
static void note_refusal(const struct ofpbuf* message, char** refusal) {
  const struct ofp_header* header = message->data;
  enum ofptype type;
  if (*refusal || ofptype_decode(&type, header) || type != OFPTYPE_ERROR) {
    return;
  }
  struct ofpbuf payload;
  enum ofperr error = ofperr_decode_msg(header, &payload);
  *refusal = xasprintf("ovs-vswitchd refuses a change: %s",
                       error ? ofperr_to_string(error) : "for a reason it has no name for");
  if (error) {
    ofpbuf_uninit(&payload);
  }
}

/* Sends `message`, which it takes. Refusals that come meanwhile are noted, so that neither side
 * waits for the other to read. */
static char* transmit(struct hp_switch* connection, struct ofpbuf* message, char** refusal,
                      long long deadline) {
  ofpmsg_update_length(message);
  for (;;) {
    int error = vconn_send(connection->vconn, message);
    if (!error) {
      return NULL;
    }
    char* why = error == EAGAIN ? wait_round(connection, true, deadline) : lost(error);
    struct ofpbuf* heard = NULL;
    if (!why) {
      why = receive(connection, &heard);
    }
    if (heard) {
      note_refusal(heard, refusal);
      ofpbuf_delete(heard);
    }
    if (why) {
      ofpbuf_delete(message);
      return why;
    }
  }
}

/* Waits for the answer to the message with that transaction id. */
static char* await(struct hp_switch* connection, ovs_be32 xid, struct ofpbuf** answer,
                   char** refusal, long long deadline) {
  for (;;) {
    char* why = receive(connection, answer);
    if (!why && !*answer) {
      why = wait_round(connection, false, deadline);
      if (!why) {
        continue;
      }
    }
    if (why) {
      return why;
    }
    const struct ofp_header* header = (*answer)->data;
    if (header->xid == xid) {
      return NULL;
    }
    note_refusal(*answer, refusal);
    ofpbuf_delete(*answer);
  }
}

static ovs_be32 xid_of(const struct ofpbuf* message) {
  return ((const struct ofp_header*)message->data)->xid;
}

/* The flows of one part of a dump. */
static char* read_flows(struct ofpbuf* answer, hp_flow_seen* seen, void* aux, bool* more) {
  enum ofptype type;
  if (ofptype_decode(&type, answer->data) || type != OFPTYPE_FLOW_STATS_REPLY) {
    return xstrdup("ovs-vswitchd refuses to tell its flows");
  }
  *more = ofpmp_more(answer->data);
  uint64_t stub[1024 / 8];
  struct ofpbuf ofpacts = OFPBUF_STUB_INITIALIZER(stub);
  struct ofputil_flow_stats stats;
  int result;
  while (!(result = ofputil_decode_flow_stats_reply(&stats, answer, false, &ofpacts))) {
    char* match = match_to_string(&stats.match, NULL, OFP_DEFAULT_PRIORITY);
    char* actions = actions_text(stats.ofpacts, stats.ofpacts_len);
    const struct hp_flow flow = {
        .table = stats.table_id,
        .priority = stats.priority,
        .cookie = ntohll(stats.cookie),
        .match = match,
        .actions = actions,
        .packets = stats.packet_count == UINT64_MAX ? 0 : stats.packet_count,
        .bytes = stats.byte_count == UINT64_MAX ? 0 : stats.byte_count,
    };
    seen(aux, &flow);
    free(match);
    free(actions);
  }
  ofpbuf_uninit(&ofpacts);
  return result == EOF ? NULL : xstrdup("ovs-vswitchd tells of flows that cannot be read");
}

/* Adds the flows of one part of a dump, which is left as it was. */
static char* digest_flows(const struct ofpbuf* answer, struct hp_digest* digest, bool* more) {
  struct ofpbuf rest = ofpbuf_const_initializer(answer->data, answer->size);
  enum ofpraw raw;
  if (ofpraw_pull(&raw, &rest) || raw != OFPRAW_OFPST13_FLOW_REPLY) {
    return xstrdup("ovs-vswitchd refuses to tell its flows");
  }
  *more = ofpmp_more(answer->data);
  while (rest.size) {
    struct ofp11_flow_stats* flow = rest.data;
    const size_t length = rest.size < sizeof *flow ? 0 : ntohs(flow->length);
    if (length < sizeof *flow || length > rest.size) {
      return xstrdup("ovs-vswitchd tells of flows that cannot be read");
    }
    const struct ofp11_flow_stats told = *flow;
    flow->duration_sec = flow->duration_nsec = 0;
    flow->packet_count = flow->byte_count = 0;
    ovs_u128 hash;
    hash_bytes128(flow, length, 0, &hash);
    *flow = told;
    digest->flows++;
    digest->low += hash.u64.lo;
    digest->high += hash.u64.hi;
    ofpbuf_pull(&rest, length);
  }
  return NULL;
}

static char* request_flows(struct hp_switch* connection,
                           const struct ofputil_flow_stats_request* request, hp_flow_seen* seen,
                           void* aux, struct hp_digest* digest, long long deadline) {
  struct ofpbuf* message = ofputil_encode_flow_stats_request(request, protocol);
  ovs_be32 xid = xid_of(message);
  char* refusal = NULL;
  char* why = transmit(connection, message, &refusal, deadline);
  for (bool more = true; more && !why;) {
    struct ofpbuf* answer;
    why = await(connection, xid, &answer, &refusal, deadline);
    if (why) {
      break;
    }
    if (digest) {
      why = digest_flows(answer, digest, &more);
    }
    if (seen && !why) {
      why = read_flows(answer, seen, aux, &more);
    }
    ofpbuf_delete(answer);
  }
  free(refusal);
  return why;
}

char* hp_switch_dump(struct hp_switch* connection, uint8_t table, uint64_t cookie, uint64_t mask,
                     hp_flow_seen* seen, void* aux, struct hp_digest* digest, long long deadline) {
  struct ofputil_flow_stats_request request = {
      .cookie = htonll(cookie),
      .cookie_mask = htonll(mask),
      .out_port = OFPP_ANY,
      .out_group = OFPG_ANY,
      .table_id = table,
  };
  match_init_catchall(&request.match);
  return request_flows(connection, &request, seen, aux, digest, deadline);
}

char* hp_switch_dump_within(struct hp_switch* connection, const struct hp_flow* place,
                            hp_flow_seen* seen, void* aux, long long deadline) {
  struct ofputil_flow_mod fm;
  char* why = parse(place, OFPFC_DELETE_STRICT, &fm);
  if (why) {
    return why;
  }
  struct ofputil_flow_stats_request request = {
      .out_port = OFPP_ANY, .out_group = OFPG_ANY, .table_id = place->table};
  minimatch_expand(&fm.match, &request.match);
  release(&fm);
  return request_flows(connection, &request, seen, aux, NULL, deadline);
}

/* Sends a request whose answer says no more than that it was done. */
static char* ask(struct hp_switch* connection, struct ofpbuf* request, char** refusal,
                 long long deadline) {
  ovs_be32 xid = xid_of(request);
  char* why = transmit(connection, request, refusal, deadline);
  struct ofpbuf* answer;
  if (!why) {
    why = await(connection, xid, &answer, refusal, deadline);
  }
  if (!why) {
    note_refusal(answer, refusal);
    ofpbuf_delete(answer);
  }
  return why;
}

static struct ofpbuf* control(uint32_t bundle, uint16_t type) {
  struct ofputil_bundle_ctrl_msg request = {
      .bundle_id = bundle, .type = type, .flags = OFPBF_ATOMIC | OFPBF_ORDERED};
  return ofputil_encode_bundle_ctrl_request(version, &request);
}

static char* add_change(struct hp_switch* connection, uint32_t bundle,
                        const struct hp_flow_change* change, char** refusal, long long deadline) {
  struct ofputil_flow_mod fm;
  char* why = parse(&change->flow, change->remove ? OFPFC_DELETE_STRICT : OFPFC_ADD, &fm);
  if (why) {
    return why;
  }
  struct ofpbuf* message = ofputil_encode_flow_mod(&fm, protocol);
  release(&fm);
  ofpmsg_update_length(message);
  struct ofputil_bundle_add_msg add = {
      .bundle_id = bundle, .flags = OFPBF_ATOMIC | OFPBF_ORDERED, .msg = message->data};
  struct ofpbuf* request = ofputil_encode_bundle_add(version, &add);
  ofpbuf_delete(message);
  return transmit(connection, request, refusal, deadline);
}

char* hp_switch_commit(struct hp_switch* connection, const struct hp_flow_change* changes, size_t n,
                       long long deadline, bool* refused) {
  uint32_t bundle = connection->next_bundle++;
  char* refusal = NULL;
  char* why = ask(connection, control(bundle, OFPBCT_OPEN_REQUEST), &refusal, deadline);
  for (size_t i = 0; i < n && !why && !refusal; i++) {
    why = add_change(connection, bundle, &changes[i], &refusal, deadline);
  }
  /* A message that is refused is only left out of the bundle: know before committing. */
  if (!why) {
    why = ask(connection, ofputil_encode_barrier_request(version), &refusal, deadline);
  }
  if (!why) {
    uint16_t end = refusal ? OFPBCT_DISCARD_REQUEST : OFPBCT_COMMIT_REQUEST;
    why = ask(connection, control(bundle, end), &refusal, deadline);
  }
  *refused = !why && refusal;
  if (why) {
    free(refusal);
    return why;
  }
  return refusal;
}

struct flooding {
  bool set;
  struct hp_flooding* ports;
  size_t n;
};

/* Notes a port whose configuration is another than the one that is wanted, and sends it that one
 * with `set`. */
static char* look_at_port(struct hp_switch* connection, const struct ofputil_phy_port* port,
                          bool set, struct hp_flooding* wanted, char** refusal,
                          long long deadline) {
  wanted->differs = !(port->config & OFPUTIL_PC_NO_FLOOD) != wanted->flooded;
  if (!wanted->differs || !set) {
    return NULL;
  }
  const struct ofputil_port_mod change = {
      .port_no = port->port_no,
      .hw_addr = port->hw_addr,
      .config = wanted->flooded ? 0 : OFPUTIL_PC_NO_FLOOD,
      .mask = OFPUTIL_PC_NO_FLOOD,
  };
  return transmit(connection, ofputil_encode_port_mod(&change, OFPUTIL_P_OF10_STD), refusal,
                  deadline);
}

/* The ports of one part of their description. */
static char* look_at_ports(struct hp_switch* connection, struct ofpbuf* answer,
                           const struct flooding* wanted, char** refusal, long long deadline,
                           bool* more) {
  enum ofptype type;
  if (ofptype_pull(&type, answer) || type != OFPTYPE_PORT_DESC_STATS_REPLY) {
    return xstrdup("ovs-vswitchd refuses to tell its ports");
  }
  *more = ofpmp_more(answer->header);
  struct ofputil_phy_port port;
  int result;
  char* why = NULL;
  while (!why && !(result = ofputil_pull_phy_port(OFP10_VERSION, answer, &port))) {
    for (size_t i = 0; i < wanted->n && !why; i++) {
      if (wanted->ports[i].number == ofp_to_u16(port.port_no)) {
        why = look_at_port(connection, &port, wanted->set, &wanted->ports[i], refusal, deadline);
      }
    }
  }
  if (!why && result != EOF) {
    why = xstrdup("ovs-vswitchd tells of ports that cannot be read");
  }
  return why;
}

char* hp_switch_flooding(const char* target, bool set, struct hp_flooding* ports, size_t n,
                         long long deadline) {
  const struct flooding wanted = {.set = set, .ports = ports, .n = n};
  struct hp_switch* connection;
  char* why = open_version(target, OFP10_VERSION, deadline, &connection);
  if (why) {
    return why;
  }
  struct ofpbuf* request = ofputil_encode_port_desc_stats_request(OFP10_VERSION, OFPP_ANY);
  ovs_be32 xid = xid_of(request);
  char* refusal = NULL;
  why = transmit(connection, request, &refusal, deadline);
  for (bool more = true; more && !why;) {
    struct ofpbuf* answer;
    why = await(connection, xid, &answer, &refusal, deadline);
    if (!why) {
      why = look_at_ports(connection, answer, &wanted, &refusal, deadline, &more);
      ofpbuf_delete(answer);
    }
  }
  if (!why && set) {
    why = ask(connection, ofputil_encode_barrier_request(OFP10_VERSION), &refusal, deadline);
  }
  hp_switch_close(connection);
  if (why) {
    free(refusal);
    return why;
  }
  return refusal;
}

/* The meters of one part of an answer. */
static char* read_meters(struct ofpbuf* answer, bool counts, hp_meter_seen* seen, void* aux,
                         bool* more) {
  const enum ofptype wanted = counts ? OFPTYPE_METER_STATS_REPLY : OFPTYPE_METER_CONFIG_STATS_REPLY;
  enum ofptype type;
  if (ofptype_decode(&type, answer->data) || type != wanted) {
    return xstrdup("ovs-vswitchd refuses to tell its meters");
  }
  *more = ofpmp_more(answer->data);
  uint64_t stub[256 / 8];
  struct ofpbuf bands = OFPBUF_STUB_INITIALIZER(stub);
  int result;
  do {
    struct ofputil_meter_config config = {.n_bands = 0};
    struct ofputil_meter_stats stats = {.n_bands = 0};
    result = counts ? ofputil_decode_meter_stats(answer, &stats, &bands)
                    : ofputil_decode_meter_config(answer, &config, &bands);
    if (!result) {
      const struct hp_meter meter = {
          .id = counts ? stats.meter_id : config.meter_id,
          .rate = config.n_bands == 1 && (config.flags & OFPMF13_PKTPS) &&
                          config.bands[0].burst_size == config.bands[0].rate
                      ? config.bands[0].rate
                      : 0,
          .dropped = stats.n_bands ? stats.bands[0].packet_count : 0,
      };
      seen(aux, &meter);
    }
  } while (!result);
  ofpbuf_uninit(&bands);
  return result == EOF ? NULL : xstrdup("ovs-vswitchd tells of meters that cannot be read");
}

char* hp_switch_meters(struct hp_switch* connection, bool counts, hp_meter_seen* seen, void* aux,
                       long long deadline) {
  struct ofpbuf* request = ofputil_encode_meter_request(
      version, counts ? OFPUTIL_METER_STATS : OFPUTIL_METER_CONFIG, OFPM13_ALL);
  ovs_be32 xid = xid_of(request);
  char* refusal = NULL;
  char* why = transmit(connection, request, &refusal, deadline);
  for (bool more = true; more && !why;) {
    struct ofpbuf* answer;
    why = await(connection, xid, &answer, &refusal, deadline);
    if (!why) {
      why = read_meters(answer, counts, seen, aux, &more);
      ofpbuf_delete(answer);
    }
  }
  free(refusal);
  return why;
}

char* hp_switch_set_meter(struct hp_switch* connection, enum hp_meter_command command,
                          const struct hp_meter* meter, long long deadline) {
  static const uint16_t commands[] = {
      [HP_METER_ADD] = OFPMC13_ADD,
      [HP_METER_MODIFY] = OFPMC13_MODIFY,
      [HP_METER_DELETE] = OFPMC13_DELETE,
  };
  struct ofputil_meter_band band = {
      .type = OFPMBT13_DROP, .rate = meter->rate, .burst_size = meter->rate};
  struct ofputil_meter_mod change = {
      .command = commands[command],
      .meter = {.meter_id = meter->id,
                .flags = OFPMF13_PKTPS | OFPMF13_BURST | OFPMF13_STATS,
                .n_bands = command == HP_METER_DELETE ? 0 : 1,
                .bands = &band},
  };
  char* refusal = NULL;
  char* why = transmit(connection, ofputil_encode_meter_mod(version, &change), &refusal, deadline);
  if (!why) {
    why = ask(connection, ofputil_encode_barrier_request(version), &refusal, deadline);
  }
  if (why) {
    free(refusal);
    return why;
  }
  return refusal;
}
