#include "overlay/ovsdb/shim.h"

#include "overlay/ovsdb/shim_private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fatal-signal.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "ovsdb-condition.h"
#include "ovsdb-error.h"
#include "stream-ssl.h"
#include "util.h"
#include "uuid.h"

/* The library. */

void hp_ovs_init(const char* log_path) {
  static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGSEGV};
  struct sigaction saved[ARRAY_SIZE(taken)];

  for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
    sigaction(taken[i], NULL, &saved[i]);
  }
  vlog_set_levels(NULL, VLF_SYSLOG, VLL_OFF);
  vlog_set_levels(NULL, VLF_CONSOLE, VLL_OFF);
  vlog_set_levels(NULL, VLF_FILE, VLL_INFO);
  vlog_set_pattern(VLF_FILE, "%p|%c|%m");
  vlog_set_log_file(log_path);
  fatal_signal_init();
  for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
    sigaction(taken[i], &saved[i], NULL);
  }
}

void hp_ovs_set_tls(const char* private_key, const char* certificate, const char* ca_certificate) {
  stream_ssl_set_key_and_cert(private_key, certificate);
  stream_ssl_set_ca_cert_file(ca_certificate, false);
}

void hp_ovs_wait_readable(int fd) {
  poll_fd_wait(fd, POLLIN);
}

void hp_ovs_wake_at_once(void) {
  poll_immediate_wake();
}

void hp_ovs_wake_in(int milliseconds) {
  poll_timer_wait(milliseconds);
}

void hp_ovs_block(void) {
  poll_block();
}

/* The schema. */

const char* hp_schema_database(void) {
  return homeport_idl_class.database;
}

size_t hp_schema_tables(void) {
  return homeport_idl_class.n_tables;
}

const char* hp_schema_table(size_t index) {
  return homeport_idl_class.tables[index].name;
}

const struct ovsdb_idl_table_class* hp_find_table(const char* name) {
  for (size_t i = 0; i < homeport_idl_class.n_tables; i++) {
    if (!strcmp(homeport_idl_class.tables[i].name, name)) {
      return &homeport_idl_class.tables[i];
    }
  }
  return NULL;
}

const struct ovsdb_idl_column* hp_find_column(const struct ovsdb_idl_table_class* table,
                                              const char* name) {
  for (size_t i = 0; i < table->n_columns; i++) {
    if (!strcmp(table->columns[i].name, name)) {
      return &table->columns[i];
    }
  }
  return NULL;
}

char* hp_parse_datum(struct ovsdb_datum* datum, const struct ovsdb_idl_column* column,
                     const struct json* value) {
  struct ovsdb_error* error = ovsdb_datum_from_json(datum, &column->type, value, NULL);
  return error ? ovsdb_error_to_string_free(error) : NULL;
}

/* Sessions. */

struct hp_session* hp_session_create(int probe_interval_ms) {
  struct hp_session* session = xzalloc(sizeof *session);
  session->idl = ovsdb_idl_create_unconnected(&homeport_idl_class, false);
  ovsdb_idl_set_probe_interval(session->idl, probe_interval_ms);
  return session;
}

void hp_session_destroy(struct hp_session* session) {
  ovsdb_idl_destroy(session->idl);
  free(session);
}

bool hp_session_monitor(struct hp_session* session, const char* name) {
  const struct ovsdb_idl_table_class* table = hp_find_table(name);
  for (size_t i = 0; table && i < table->n_columns; i++) {
    ovsdb_idl_track_add_column(session->idl, &table->columns[i]);
  }
  return table != NULL;
}

static char* add_clause(struct ovsdb_idl_condition* condition,
                        const struct ovsdb_idl_table_class* table, const struct json* clause) {
  if (clause->type == JSON_TRUE) {
    ovsdb_idl_condition_add_clause_true(condition);
    return NULL;
  }
  if (clause->type != JSON_ARRAY || clause->array.n != 3 ||
      clause->array.elems[0]->type != JSON_STRING || clause->array.elems[1]->type != JSON_STRING) {
    return xstrdup("a clause is [column, function, value]");
  }
  const char* name = json_string(clause->array.elems[0]);
  const struct ovsdb_idl_column* column = hp_find_column(table, name);
  if (!column) {
    return xasprintf("table %s has no column \"%s\"", table->name, name);
  }
  enum ovsdb_function function;
  struct ovsdb_error* error =
      ovsdb_function_from_string(json_string(clause->array.elems[1]), &function);
  if (error) {
    return ovsdb_error_to_string_free(error);
  }
  struct ovsdb_datum datum;
  char* why = hp_parse_datum(&datum, column, clause->array.elems[2]);
  if (!why) {
    ovsdb_idl_condition_add_clause(condition, function, column, &datum);
    ovsdb_datum_destroy(&datum, &column->type);
  }
  return why;
}

char* hp_session_set_condition(struct hp_session* session, const char* name, const char* clauses,
                               bool* pending) {
  const struct ovsdb_idl_table_class* table = hp_find_table(name);
  if (!table) {
    return xasprintf("the schema has no table \"%s\"", name);
  }
  struct json* json = json_from_string(clauses);
  char* why = NULL;
  if (json->type != JSON_ARRAY) {
    why = xstrdup("a condition is an array of clauses");
  } else {
    struct ovsdb_idl_condition condition = OVSDB_IDL_CONDITION_INIT(&condition);
    for (size_t i = 0; i < json->array.n && !why; i++) {
      why = add_clause(&condition, table, json->array.elems[i]);
    }
    if (!why) {
      unsigned int due = ovsdb_idl_set_condition(session->idl, table, &condition);
      *pending = due != ovsdb_idl_get_condition_seqno(session->idl);
    }
    ovsdb_idl_condition_destroy(&condition);
  }
  json_destroy(json);
  return why;
}

unsigned int hp_session_condition_number(struct hp_session* session) {
  return ovsdb_idl_get_condition_seqno(session->idl);
}

void hp_session_connect(struct hp_session* session, const char* remotes) {
  ovsdb_idl_set_remote(session->idl, remotes, true);
}

void hp_session_set_leader_only(struct hp_session* session, bool leader_only) {
  ovsdb_idl_set_leader_only(session->idl, leader_only);
}

void hp_session_run(struct hp_session* session, hp_changed* changed, void* aux) {
  ovsdb_idl_run(session->idl);
  for (size_t i = 0; i < homeport_idl_class.n_tables; i++) {
    const struct ovsdb_idl_table_class* table = &homeport_idl_class.tables[i];
    const struct ovsdb_idl_row* row;
    for (row = ovsdb_idl_track_get_first(session->idl, table); row;
         row = ovsdb_idl_track_get_next(row)) {
      char uuid[HP_UUID_LENGTH + 1];
      snprintf(uuid, sizeof uuid, UUID_FMT, UUID_ARGS(&row->uuid));
      changed(aux, table->name, uuid);
    }
  }
  ovsdb_idl_track_clear(session->idl);
}

void hp_session_wait(struct hp_session* session) {
  ovsdb_idl_wait(session->idl);
}

bool hp_session_in_sync(struct hp_session* session) {
  /* The IDL tells whether it could send a transaction only by trying. One without changes is never
   * sent: it is TXN_UNCHANGED when it could have been. */
  struct ovsdb_idl_txn* txn = ovsdb_idl_txn_create(session->idl);
  enum ovsdb_idl_txn_status status = ovsdb_idl_txn_commit(txn);
  ovsdb_idl_txn_destroy(txn);
  return status == TXN_UNCHANGED;
}

const struct ovsdb_idl_row* hp_find_row(struct hp_session* session,
                                        const struct ovsdb_idl_table_class* table,
                                        const char* text) {
  struct uuid uuid;
  const struct ovsdb_idl_row* row =
      uuid_from_string(&uuid, text) ? ovsdb_idl_get_row_for_uuid(session->idl, table, &uuid) : NULL;
  return row && !ovsdb_idl_row_is_synthetic(row) ? row : NULL;
}

bool hp_session_has_row(struct hp_session* session, const char* name, const char* uuid) {
  const struct ovsdb_idl_table_class* table = hp_find_table(name);
  const struct ovsdb_idl_row* row = table ? hp_find_row(session, table, uuid) : NULL;
  return row && row->new_datum;
}

char* hp_session_row(struct hp_session* session, const char* name, const char* uuid) {
  const struct ovsdb_idl_table_class* table = hp_find_table(name);
  const struct ovsdb_idl_row* row = table ? hp_find_row(session, table, uuid) : NULL;
  if (!row || !row->new_datum) {
    return NULL;
  }
  struct json* json = json_object_create();
  for (size_t i = 0; i < table->n_columns; i++) {
    const struct ovsdb_idl_column* column = &table->columns[i];
    json_object_put(json, column->name,
                    ovsdb_datum_to_json(ovsdb_idl_read(row, column), &column->type));
  }
  char* text = json_to_string(json, 0);
  json_destroy(json);
  return text;
}
