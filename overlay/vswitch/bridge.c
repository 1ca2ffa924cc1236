/* The database half of shim.h: ovs-vswitchd's own database, with the IDL that the library has for
 * it. */
#include <config.h>

#include "overlay/vswitch/shim.h"

#include <stdlib.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/poll-loop.h"
#include "ovsdb-idl.h"
#include "smap.h"
#include "timeval.h"
#include "util.h"
#include "vswitch-idl.h"

static const char mark[] = "homeport"; /* The key of external_ids that says a port is ours. */

struct hp_bridge {
  struct ovsdb_idl* idl;
  char* name;
};

long long hp_now(void) {
  return time_msec();
}

struct hp_bridge* hp_bridge_create(const char* database, const char* name) {
  static const struct ovsdb_idl_column* const columns[] = {
      &ovsrec_open_vswitch_col_bridges,
      &ovsrec_open_vswitch_col_next_cfg,
      &ovsrec_open_vswitch_col_cur_cfg,
      &ovsrec_bridge_col_name,
      &ovsrec_bridge_col_ports,
      &ovsrec_bridge_col_datapath_type,
      &ovsrec_bridge_col_fail_mode,
      &ovsrec_bridge_col_external_ids,
      &ovsrec_port_col_name,
      &ovsrec_port_col_interfaces,
      &ovsrec_port_col_external_ids,
      &ovsrec_interface_col_name,
      &ovsrec_interface_col_type,
      &ovsrec_interface_col_options,
      &ovsrec_interface_col_ofport,
      &ovsrec_interface_col_error,
  };
  struct hp_bridge* bridge = xzalloc(sizeof *bridge);
  bridge->name = xstrdup(name);
  bridge->idl = ovsdb_idl_create_unconnected(&ovsrec_idl_class, false);
  for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
    ovsdb_idl_add_column(bridge->idl, columns[i]);
  }
  ovsdb_idl_set_remote(bridge->idl, database, true);
  return bridge;
}

void hp_bridge_destroy(struct hp_bridge* bridge) {
  ovsdb_idl_destroy(bridge->idl);
  free(bridge->name);
  free(bridge);
}

void hp_bridge_run(struct hp_bridge* bridge) {
  ovsdb_idl_run(bridge->idl);
}

void hp_bridge_wait(struct hp_bridge* bridge) {
  ovsdb_idl_wait(bridge->idl);
}

/* One round of the poll loop; false once the deadline has passed. */
static bool wait_round(struct hp_bridge* bridge, long long deadline) {
  if (time_msec() >= deadline) {
    return false;
  }
  ovsdb_idl_wait(bridge->idl);
  poll_timer_wait_until(deadline);
  poll_block();
  return true;
}

/* Connected, and holding what the server has: an empty transaction could be sent. */
static bool in_sync(struct hp_bridge* bridge) {
  struct ovsdb_idl_txn* txn = ovsdb_idl_txn_create(bridge->idl);
  enum ovsdb_idl_txn_status status = ovsdb_idl_txn_commit(txn);
  ovsdb_idl_txn_destroy(txn);
  return status == TXN_UNCHANGED;
}

char* hp_bridge_sync(struct hp_bridge* bridge, long long deadline) {
  for (;;) {
    ovsdb_idl_run(bridge->idl);
    if (in_sync(bridge)) {
      return NULL;
    }
    if (!wait_round(bridge, deadline)) {
      int error = ovsdb_idl_get_last_error(bridge->idl);
      return xasprintf("the database of ovs-vswitchd does not answer%s%s", error ? ": " : "",
                       error ? ovs_strerror(error) : "");
    }
  }
}

static const struct ovsrec_bridge* find(struct hp_bridge* bridge) {
  const struct ovsrec_bridge* row;
  OVSREC_BRIDGE_FOR_EACH(row, bridge->idl) {
    if (!strcmp(row->name, bridge->name)) {
      return row;
    }
  }
  return NULL;
}

/* Commits what `txn` has become, has ovs-vswitchd look at its configuration, and waits until it
 * has. `txn` is NULL once it is over; TXN_TRY_AGAIN: the contents have changed meanwhile. */
static enum ovsdb_idl_txn_status commit(struct hp_bridge* bridge, struct ovsdb_idl_txn* txn,
                                        long long deadline, char** why) {
  const struct ovsrec_open_vswitch* root = ovsrec_open_vswitch_first(bridge->idl);
  ovsdb_idl_txn_increment(txn, &root->header_, &ovsrec_open_vswitch_col_next_cfg, true);
  enum ovsdb_idl_txn_status status;
  while ((status = ovsdb_idl_txn_commit(txn)) == TXN_INCOMPLETE) {
    ovsdb_idl_txn_wait(txn);
    if (!wait_round(bridge, deadline)) {
      *why = xstrdup("the database of ovs-vswitchd does not answer");
      break;
    }
    ovsdb_idl_run(bridge->idl);
  }
  if (status == TXN_SUCCESS) {
    int64_t wanted = ovsdb_idl_txn_get_increment_new_value(txn);
    for (;;) {
      ovsdb_idl_run(bridge->idl);
      root = ovsrec_open_vswitch_first(bridge->idl);
      if (root && root->cur_cfg >= wanted) {
        break;
      }
      if (!wait_round(bridge, deadline)) {
        *why = xstrdup("ovs-vswitchd does not follow its database: is it running?");
        break;
      }
    }
  } else if (status != TXN_TRY_AGAIN && !*why) {
    *why = xasprintf("the database of ovs-vswitchd refuses a change: %s",
                     ovsdb_idl_txn_get_error(txn));
  }
  ovsdb_idl_txn_destroy(txn);
  return status;
}

static char* describe_new(struct hp_bridge* bridge, struct ovsdb_idl_txn* txn,
                          const char* datapath_type) {
  const struct ovsrec_open_vswitch* root = ovsrec_open_vswitch_first(bridge->idl);
  if (!root) {
    return xstrdup(
        "the database of ovs-vswitchd is empty: start ovs-vswitchd, or initialise it "
        "with `ovs-vsctl init`");
  }
  /* The bridge's own device, like ovs-vsctl(8) makes it. */
  struct ovsrec_interface* interface = ovsrec_interface_insert(txn);
  ovsrec_interface_set_name(interface, bridge->name);
  ovsrec_interface_set_type(interface, "internal");
  struct ovsrec_port* port = ovsrec_port_insert(txn);
  ovsrec_port_set_name(port, bridge->name);
  ovsrec_port_set_interfaces(port, &interface, 1);
  struct ovsrec_bridge* row = ovsrec_bridge_insert(txn);
  ovsrec_bridge_set_name(row, bridge->name);
  ovsrec_bridge_set_datapath_type(row, datapath_type);
  ovsrec_bridge_set_fail_mode(row, "secure");
  ovsrec_bridge_set_ports(row, &port, 1);
  ovsrec_bridge_update_external_ids_setkey(row, mark, "bridge");
  ovsrec_open_vswitch_update_bridges_addvalue(root, row);
  return NULL;
}

/* "" is "system", ovs-vswitchd.conf.db(5). */
static const char* type_of(const struct ovsrec_bridge* row) {
  return row->datapath_type[0] ? row->datapath_type : "system";
}

bool hp_bridge_is_there(struct hp_bridge* bridge, const char* datapath_type) {
  ovsdb_idl_run(bridge->idl);
  const struct ovsrec_bridge* row = in_sync(bridge) ? find(bridge) : NULL;
  return row && !strcmp(type_of(row), datapath_type);
}

bool hp_bridge_has_device(struct hp_bridge* bridge, const char* device) {
  const struct ovsrec_interface* interface;
  ovsdb_idl_run(bridge->idl);
  OVSREC_INTERFACE_FOR_EACH(interface, bridge->idl) {
    if (!strcmp(interface->name, device)) {
      return interface->n_ofport && *interface->ofport > 0;
    }
  }
  return false;
}

char* hp_bridge_ensure(struct hp_bridge* bridge, const char* datapath_type, long long deadline) {
  for (;;) {
    const struct ovsrec_bridge* row = find(bridge);
    if (row) {
      if (strcmp(type_of(row), datapath_type)) {
        return xasprintf("the bridge %s has the datapath type %s, not %s as configured",
                         bridge->name, type_of(row), datapath_type);
      }
      return NULL;
    }
    struct ovsdb_idl_txn* txn = ovsdb_idl_txn_create(bridge->idl);
    char* why = describe_new(bridge, txn, datapath_type);
    if (why) {
      ovsdb_idl_txn_destroy(txn);
      return why;
    }
    if (commit(bridge, txn, deadline, &why) != TXN_TRY_AGAIN || why) {
      return why;
    }
    if (!wait_round(bridge, deadline)) {
      return xstrdup("the database of ovs-vswitchd changes too fast to add a bridge");
    }
    ovsdb_idl_run(bridge->idl);
  }
}

static char* options_text(const struct smap* options) {
  const struct smap_node** nodes = smap_sort(options);
  struct ds text = DS_EMPTY_INITIALIZER;
  for (size_t i = 0; i < smap_count(options); i++) {
    ds_put_format(&text, "%s%s=%s", i ? "," : "", nodes[i]->key, nodes[i]->value);
  }
  free(nodes);
  return ds_steal_cstr(&text);
}

void hp_bridge_ports(struct hp_bridge* bridge, hp_port_seen* seen, void* aux) {
  const struct ovsrec_bridge* row = find(bridge);
  for (size_t i = 0; row && i < row->n_ports; i++) {
    const struct ovsrec_port* port = row->ports[i];
    for (size_t j = 0; j < port->n_interfaces; j++) {
      const struct ovsrec_interface* interface = port->interfaces[j];
      char* options = options_text(&interface->options);
      const struct hp_bridge_port found = {
          .name = interface->name,
          .type = strcmp(interface->type, "system") ? interface->type : "",
          .owner = smap_get_def(&port->external_ids, mark, ""),
          .options = options,
          .error = interface->error ? interface->error : "",
          .number = interface->n_ofport && *interface->ofport > 0 ? *interface->ofport : -1,
      };
      seen(aux, &found);
      free(options);
    }
  }
}

static void add_port(struct ovsdb_idl_txn* txn, const struct ovsrec_bridge* row,
                     const struct hp_bridge_port* wanted) {
  struct ovsrec_interface* interface = ovsrec_interface_insert(txn);
  ovsrec_interface_set_name(interface, wanted->name);
  ovsrec_interface_set_type(interface, wanted->type);
  struct smap options = SMAP_INITIALIZER(&options);
  char* text = xstrdup(wanted->options);
  char* rest = text;
  for (char* pair; (pair = strsep(&rest, ",")) && pair[0];) {
    char* value = strchr(pair, '=');
    *value++ = '\0';
    smap_add(&options, pair, value);
  }
  free(text);
  ovsrec_interface_set_options(interface, &options);
  smap_destroy(&options);

  struct ovsrec_port* port = ovsrec_port_insert(txn);
  ovsrec_port_set_name(port, wanted->name);
  ovsrec_port_set_interfaces(port, &interface, 1);
  ovsrec_port_update_external_ids_setkey(port, mark, wanted->owner);
  ovsrec_bridge_update_ports_addvalue(row, port);
}

static void remove_port(const struct ovsrec_bridge* row, const char* name) {
  for (size_t i = 0; i < row->n_ports; i++) {
    const struct ovsrec_port* port = row->ports[i];
    if (!strcmp(port->name, name) && smap_get(&port->external_ids, mark)) {
      /* The database drops the rows that nothing refers to any more. */
      ovsrec_bridge_update_ports_delvalue(row, port);
    }
  }
}

char* hp_bridge_change(struct hp_bridge* bridge, const struct hp_bridge_port* added, size_t n_added,
                       const char* const* removed, size_t n_removed, long long deadline) {
  for (;;) {
    const struct ovsrec_bridge* row = find(bridge);
    if (!row || !ovsrec_open_vswitch_first(bridge->idl)) {
      return xasprintf("there is no bridge %s", bridge->name);
    }
    struct ovsdb_idl_txn* txn = ovsdb_idl_txn_create(bridge->idl);
    for (size_t i = 0; i < n_removed; i++) {
      remove_port(row, removed[i]);
    }
    for (size_t i = 0; i < n_added; i++) {
      add_port(txn, row, &added[i]);
    }
    char* why = NULL;
    if (commit(bridge, txn, deadline, &why) != TXN_TRY_AGAIN || why) {
      return why;
    }
    if (!wait_round(bridge, deadline)) {
      return xstrdup("the database of ovs-vswitchd changes too fast to add ports");
    }
    ovsdb_idl_run(bridge->idl);
  }
}
