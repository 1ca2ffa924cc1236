/* Transactions: the second half of shim.h. */
#include "overlay/ovsdb/shim.h"

#include "overlay/ovsdb/shim_private.h"

#include <stdlib.h>
#include <string.h>

#include "openvswitch/shash.h"
#include "ovsdb-error.h"
#include "util.h"
#include "uuid.h"

struct hp_txn {
  struct hp_session* session;
  struct ovsdb_idl_txn* txn;
  bool committing;
  struct uuid* inserted; /* As known before the commit. */
  size_t n_inserted;
};

struct hp_txn* hp_txn_create(struct hp_session* session, const char* comment) {
  struct hp_txn* txn = xzalloc(sizeof *txn);
  txn->session = session;
  txn->txn = ovsdb_idl_txn_create(session->idl);
  if (comment[0]) {
    ovsdb_idl_txn_add_comment(txn->txn, "%s", comment);
  }
  return txn;
}

/* Finds a row to check or change. The IDL asserts that it is there and not deleted in this
 * transaction. */
static enum hp_step target(struct hp_txn* txn, const char* name, const char* uuid,
                           const struct ovsdb_idl_table_class** table,
                           const struct ovsdb_idl_row** row, char** why) {
  *table = hp_find_table(name);
  if (!*table) {
    *why = xasprintf("the schema has no table \"%s\"", name);
    return HP_STEP_INVALID;
  }
  *row = hp_find_row(txn->session, *table, uuid);
  if (!*row || !(*row)->new_datum) {
    *why = xasprintf("table %s has no row %s", name, uuid);
    return HP_STEP_REFUSED;
  }
  return HP_STEP_OK;
}

/* The column, which must be replicated in order to be read or written. */
static enum hp_step target_column(struct hp_txn* txn, const struct ovsdb_idl_table_class* table,
                                  const char* name, const struct ovsdb_idl_column** column,
                                  char** why) {
  *column = hp_find_column(table, name);
  if (!*column) {
    *why = xasprintf("table %s has no column \"%s\"", table->name, name);
    return HP_STEP_INVALID;
  }
  if (!ovsdb_idl_server_has_column(txn->session->idl, *column)) {
    *why = xasprintf(
        "the server's schema has no column \"%s\" in table %s: it is older than "
        "this program",
        name, table->name);
    return HP_STEP_INVALID;
  }
  return HP_STEP_OK;
}

enum hp_step hp_txn_expect(struct hp_txn* txn, const char* table_name, const char* uuid,
                           const char* column_name, const char* value, char** why) {
  const struct ovsdb_idl_table_class* table;
  const struct ovsdb_idl_column* column;
  const struct ovsdb_idl_row* row;
  enum hp_step step = target(txn, table_name, uuid, &table, &row, why);
  if (step == HP_STEP_OK) {
    step = target_column(txn, table, column_name, &column, why);
  }
  if (step != HP_STEP_OK) {
    return step;
  }
  /* The parser takes nothing but objects and arrays, and returns its errors as a JSON string. */
  char* wrapped = xasprintf("[%s]", value);
  struct json* json = json_from_string(wrapped);
  struct ovsdb_datum datum;
  *why = json->type == JSON_ARRAY && json->array.n == 1
             ? hp_parse_datum(&datum, column, json->array.elems[0])
             : xasprintf("%s is not JSON", value);
  json_destroy(json);
  free(wrapped);
  if (*why) {
    return HP_STEP_INVALID;
  }
  const struct ovsdb_datum* actual = ovsdb_idl_read(row, column);
  if (ovsdb_datum_equals(actual, &datum, &column->type)) {
    ovsdb_idl_txn_verify(row, column);
  } else {
    struct json* found = ovsdb_datum_to_json(actual, &column->type);
    char* text = json_to_string(found, 0);
    *why = xasprintf("column %s of row %s in table %s is %s, not %s", column_name, uuid, table_name,
                     text, value);
    free(text);
    json_destroy(found);
    step = HP_STEP_REFUSED;
  }
  ovsdb_datum_destroy(&datum, &column->type);
  return step;
}

static enum hp_step write_columns(struct hp_txn* txn, const struct ovsdb_idl_table_class* table,
                                  const struct ovsdb_idl_row* row, const char* columns,
                                  char** why) {
  struct json* json = json_from_string(columns);
  enum hp_step step = HP_STEP_OK;
  if (json->type != JSON_OBJECT) {
    *why = xstrdup("the columns of a row are a JSON object");
    step = HP_STEP_INVALID;
  } else {
    struct shash_node* node;
    SHASH_FOR_EACH(node, json_object(json)) {
      const struct ovsdb_idl_column* column;
      struct ovsdb_datum datum;
      step = target_column(txn, table, node->name, &column, why);
      if (step != HP_STEP_OK) {
        break;
      }
      char* error = hp_parse_datum(&datum, column, node->data);
      if (error) {
        *why = xasprintf("column %s of table %s: %s", node->name, table->name, error);
        free(error);
        step = HP_STEP_INVALID;
        break;
      }
      ovsdb_idl_txn_write(row, column, &datum);
    }
  }
  json_destroy(json);
  return step;
}

enum hp_step hp_txn_insert(struct hp_txn* txn, const char* name, const char* text,
                           const char* columns, char** why) {
  const struct ovsdb_idl_table_class* table = hp_find_table(name);
  struct uuid uuid;
  if (!table) {
    *why = xasprintf("the schema has no table \"%s\"", name);
    return HP_STEP_INVALID;
  }
  if (text && !uuid_from_string(&uuid, text)) {
    *why = xasprintf("\"%s\" is not a UUID", text);
    return HP_STEP_INVALID;
  }
  if (text && ovsdb_idl_get_row_for_uuid(txn->session->idl, table, &uuid)) {
    *why = xasprintf("table %s has a row %s already", name, text);
    return HP_STEP_REFUSED;
  }
  const struct ovsdb_idl_row* row = text ? ovsdb_idl_txn_insert_persist_uuid(txn->txn, table, &uuid)
                                         : ovsdb_idl_txn_insert(txn->txn, table, NULL);
  txn->inserted = xrealloc(txn->inserted, (txn->n_inserted + 1) * sizeof *txn->inserted);
  txn->inserted[txn->n_inserted++] = row->uuid;
  return write_columns(txn, table, row, columns, why);
}

enum hp_step hp_txn_update(struct hp_txn* txn, const char* table_name, const char* uuid,
                           const char* columns, char** why) {
  const struct ovsdb_idl_table_class* table;
  const struct ovsdb_idl_row* row;
  enum hp_step step = target(txn, table_name, uuid, &table, &row, why);
  return step == HP_STEP_OK ? write_columns(txn, table, row, columns, why) : step;
}

enum hp_step hp_txn_edit_map(struct hp_txn* txn, const char* table_name, const char* uuid,
                             const char* column_name, const char* key, const char* value,
                             char** why) {
  const struct ovsdb_idl_table_class* table;
  const struct ovsdb_idl_column* column;
  const struct ovsdb_idl_row* row;
  enum hp_step step = target(txn, table_name, uuid, &table, &row, why);
  if (step == HP_STEP_OK) {
    step = target_column(txn, table, column_name, &column, why);
  }
  if (step != HP_STEP_OK) {
    return step;
  }
  if (column->type.key.type != OVSDB_TYPE_STRING || column->type.value.type != OVSDB_TYPE_STRING) {
    *why = xasprintf("column %s of table %s is not a map from strings to strings", column_name,
                     table_name);
    return HP_STEP_INVALID;
  }
  /* The IDL takes the datum over. */
  struct ovsdb_datum* datum = xmalloc(sizeof *datum);
  union ovsdb_atom key_atom = {.s = ovsdb_atom_string_create(key)};
  if (value) {
    union ovsdb_atom value_atom = {.s = ovsdb_atom_string_create(value)};
    ovsdb_datum_init_empty(datum);
    ovsdb_datum_add_unsafe(datum, &key_atom, &value_atom, &column->type, NULL);
    ovsdb_atom_destroy(&value_atom, OVSDB_TYPE_STRING);
    ovsdb_idl_txn_write_partial_map(row, column, datum);
  } else {
    struct ovsdb_type keys = {.key = column->type.key, .n_max = 1};
    ovsdb_datum_init_empty(datum);
    ovsdb_datum_add_unsafe(datum, &key_atom, NULL, &keys, NULL);
    ovsdb_idl_txn_delete_partial_map(row, column, datum);
  }
  ovsdb_atom_destroy(&key_atom, OVSDB_TYPE_STRING);
  return HP_STEP_OK;
}

enum hp_step hp_txn_delete(struct hp_txn* txn, const char* table_name, const char* uuid,
                           char** why) {
  const struct ovsdb_idl_table_class* table;
  const struct ovsdb_idl_row* row;
  enum hp_step step = target(txn, table_name, uuid, &table, &row, why);
  if (step == HP_STEP_OK) {
    ovsdb_idl_txn_delete(row);
  }
  return step;
}

enum hp_txn_state hp_txn_commit(struct hp_txn* txn, char** message) {
  bool first = !txn->committing;
  txn->committing = true;
  switch (ovsdb_idl_txn_commit(txn->txn)) {
    case TXN_INCOMPLETE:
      return HP_TXN_INCOMPLETE;
    case TXN_SUCCESS:
    case TXN_UNCHANGED:
      return HP_TXN_COMMITTED;
    case TXN_TRY_AGAIN:
      /* At once: it never left. Later: the connection was lost or the server's own check of an
       * expectation failed; the IDL does not say which. */
      return first ? HP_TXN_NOT_SENT : HP_TXN_UNKNOWN;
    case TXN_NOT_LOCKED:
    case TXN_UNCOMMITTED:
    case TXN_ABORTED:
    case TXN_ERROR:
      break;
  }
  *message = xstrdup(ovsdb_idl_txn_get_error(txn->txn));
  return HP_TXN_FAILED;
}

void hp_txn_wait(struct hp_txn* txn) {
  ovsdb_idl_txn_wait(txn->txn);
}

void hp_txn_inserted(struct hp_txn* txn, size_t index, char uuid[HP_UUID_LENGTH + 1]) {
  const struct uuid* known = &txn->inserted[index];
  const struct uuid* real = ovsdb_idl_txn_get_insert_uuid(txn->txn, known);
  snprintf(uuid, HP_UUID_LENGTH + 1, UUID_FMT, UUID_ARGS(real ? real : known));
}

void hp_txn_destroy(struct hp_txn* txn) {
  if (!txn->committing) {
    ovsdb_idl_txn_abort(txn->txn);
  }
  ovsdb_idl_txn_destroy(txn->txn);
  free(txn->inserted);
  free(txn);
}
