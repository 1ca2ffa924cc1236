/* Reading rows once: the third part of shim.h. */
#include "overlay/ovsdb/shim.h"

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "jsonrpc.h"
#include "openvswitch/json.h"
#include "ovsdb-session.h"
#include "svec.h"
#include "util.h"
#include "uuid.h"

struct hp_reader {
  struct jsonrpc_session* session;
};

struct hp_reader* hp_reader_open(const char* text, int probe_interval_ms) {
  struct svec remotes = SVEC_EMPTY_INITIALIZER;
  struct uuid cluster;

  ovsdb_session_parse_remote(text, &remotes, &cluster);
  /* As the IDL does, so that the hosts spread over the servers. */
  svec_shuffle(&remotes);
  struct hp_reader* reader = xmalloc(sizeof *reader);
  reader->session = jsonrpc_session_open_multiple(&remotes, true);
  jsonrpc_session_set_probe_interval(reader->session, probe_interval_ms);
  svec_destroy(&remotes);
  return reader;
}

void hp_reader_close(struct hp_reader* reader) {
  jsonrpc_session_close(reader->session);
  free(reader);
}

void hp_reader_run(struct hp_reader* reader) {
  jsonrpc_session_run(reader->session);
}

void hp_reader_wait(struct hp_reader* reader) {
  jsonrpc_session_wait(reader->session);
  jsonrpc_session_recv_wait(reader->session);
}

unsigned int hp_reader_connection(struct hp_reader* reader) {
  return jsonrpc_session_is_connected(reader->session) ? jsonrpc_session_get_seqno(reader->session)
                                                       : 0;
}

void hp_reader_turn_to_next(struct hp_reader* reader) {
  if (jsonrpc_session_get_n_remotes(reader->session) > 1) {
    jsonrpc_session_force_reconnect(reader->session);
  }
}

bool hp_reader_transact(struct hp_reader* reader, const char* params) {
  return jsonrpc_session_send(reader->session,
                              jsonrpc_create_request("transact", json_from_string(params), NULL)) ==
         0;
}

char* hp_reader_answer(struct hp_reader* reader, bool* failed) {
  struct jsonrpc_msg* message;
  char* text = NULL;

  while (!text && (message = jsonrpc_session_recv(reader->session)) != NULL) {
    /* A server sends nothing else that was not asked for. */
    if (message->type == JSONRPC_REPLY || message->type == JSONRPC_ERROR) {
      *failed = message->type == JSONRPC_ERROR;
      text = json_to_string(*failed ? message->error : message->result, 0);
    }
    jsonrpc_msg_destroy(message);
  }
  return text;
}
