/* Shared by the parts of the shim; includes OVS headers, so it is for C only. */
#pragma once

#include <config.h>

#include "homeport_idl.h"
#include "openvswitch/json.h"
#include "ovsdb-data.h"
#include "ovsdb-idl-provider.h"
#include "ovsdb-idl.h"

struct hp_session {
  struct ovsdb_idl* idl;
};

/* NULL when the schema, the table or the replica does not have it. */
const struct ovsdb_idl_table_class* hp_find_table(const char* name);
const struct ovsdb_idl_column* hp_find_column(const struct ovsdb_idl_table_class* table,
                                              const char* name);
const struct ovsdb_idl_row* hp_find_row(struct hp_session* session,
                                        const struct ovsdb_idl_table_class* table,
                                        const char* text);
/* Parses `value` as a value of `column`. Returns NULL and initialises 'datum', or says what is
 * wrong. */
char* hp_parse_datum(struct ovsdb_datum* datum, const struct ovsdb_idl_column* column,
                     const struct json* value);
