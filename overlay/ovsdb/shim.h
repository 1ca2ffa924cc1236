/* The door to the Open vSwitch libraries, beside overlay/vswitch/shim.h: their headers are not
 * C++-clean and they share globals, so everything that needs them is in C, behind plain types.
 *
 * Thread: every function here except hp_ovs_init() and hp_ovs_set_tls() belongs to the one thread
 * that runs the OVS poll loop (thread.h). Strings returned as char * are malloc'd: free() them.
 * Rows and values are JSON text in the notation of RFC 7047, section 5.1; UUIDs are their 36
 * characters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HP_UUID_LENGTH = 36 };

/* Once per process, before any other thread uses the library. The library's log goes to the file
 * `log_path` as lines "LEVEL|module|message". Signal dispositions are left as they were: the
 * library would take SIGTERM, SIGINT, SIGHUP, SIGALRM and SIGSEGV for itself (the fatal_signals of
 * its fatal-signal.c). */
void hp_ovs_init(const char* log_path);
/* One TLS identity for all connections of the process (PEM files). */
void hp_ovs_set_tls(const char* private_key, const char* certificate, const char* ca_certificate);

/* One round of the poll loop: announce what to wait for, then block. */
void hp_ovs_wait_readable(int fd);
void hp_ovs_wake_at_once(void);
void hp_ovs_wake_in(int milliseconds);
void hp_ovs_block(void);

/* The tables of the schema, by index. */
const char* hp_schema_database(void);
size_t hp_schema_tables(void);
const char* hp_schema_table(size_t index);

struct hp_session;
struct hp_session* hp_session_create(int probe_interval_ms);
void hp_session_destroy(struct hp_session*);
/* Replicates all columns of a table; false when the schema has none of that name. */
bool hp_session_monitor(struct hp_session*, const char* table);
/* `clauses`: a JSON array of [column, function, value], or of true; rows that fulfil any are
 * replicated. Returns NULL, or what is wrong with it. May be set anew at any time, and costs
 * nothing when it is as it was: `*pending` then says whether the server has still to answer. */
char* hp_session_set_condition(struct hp_session*, const char* table, const char* clauses,
                               bool* pending);
/* Another one when what `*pending` says may have changed, as long as the connection stands. */
unsigned int hp_session_condition_number(struct hp_session*);
void hp_session_connect(struct hp_session*, const char* remotes);
/* Accepts no server of a cluster but its leader, and no relay: leaves the one it is connected to
 * if that is another. It does so from the beginning until told otherwise. */
void hp_session_set_leader_only(struct hp_session*, bool leader_only);

/* Processes what has arrived and calls `changed` for each row that was inserted, modified or
 * deleted since the last call; what the row is now is for hp_session_row() to say. */
typedef void hp_changed(void* aux, const char* table, const char* uuid);
void hp_session_run(struct hp_session*, hp_changed* changed, void* aux);
void hp_session_wait(struct hp_session*);
/* Connected, and the replica holds what the server had. */
bool hp_session_in_sync(struct hp_session*);
bool hp_session_has_row(struct hp_session*, const char* table, const char* uuid);
/* The row as a JSON object of all its columns; NULL when there is none. */
char* hp_session_row(struct hp_session*, const char* table, const char* uuid);

/* A transaction is described step by step, then committed; hp_session_run() must not come in
 * between. After a step that is not HP_STEP_OK, hp_txn_destroy() it. `why` then says what is wrong.
 */
enum hp_step {
  HP_STEP_OK,
  HP_STEP_REFUSED, /* An expectation does not hold in the replica, the row is gone, or the one to
                    * insert is there. */
  HP_STEP_INVALID  /* No such table, column, or value of that type. */
};
enum hp_txn_state {
  HP_TXN_INCOMPLETE,
  HP_TXN_NOT_SENT, /* The session is not in sync. */
  HP_TXN_COMMITTED,
  HP_TXN_FAILED, /* The server refused it and changed nothing. */
  HP_TXN_UNKNOWN /* TXN_TRY_AGAIN: see Session::transact(). */
};
struct hp_txn;
struct hp_txn* hp_txn_create(struct hp_session*, const char* comment);
/* Expectations first: one on a column that this transaction writes must precede the write. */
enum hp_step hp_txn_expect(struct hp_txn*, const char* table, const char* uuid, const char* column,
                           const char* value, char** why);
/* `uuid` may be NULL. `columns` is a JSON object. */
enum hp_step hp_txn_insert(struct hp_txn*, const char* table, const char* uuid, const char* columns,
                           char** why);
enum hp_step hp_txn_update(struct hp_txn*, const char* table, const char* uuid, const char* columns,
                           char** why);
/* One key of a map from strings to strings; `value` NULL removes it. */
enum hp_step hp_txn_edit_map(struct hp_txn*, const char* table, const char* uuid,
                             const char* column, const char* key, const char* value, char** why);
enum hp_step hp_txn_delete(struct hp_txn*, const char* table, const char* uuid, char** why);
/* Sends it when called first; later says how far it is. `*message` is set for HP_TXN_FAILED. */
enum hp_txn_state hp_txn_commit(struct hp_txn*, char** message);
void hp_txn_wait(struct hp_txn*);
/* The UUID the server gave to the insert of that index, once committed. */
void hp_txn_inserted(struct hp_txn*, size_t index, char uuid[HP_UUID_LENGTH + 1]);
void hp_txn_destroy(struct hp_txn*);

/* A connection of its own for reading rows once: the IDL cannot select. It is made anew when it is
 * lost, at the next of the remotes; what was not answered then is lost. */
struct hp_reader;
struct hp_reader* hp_reader_open(const char* remotes, int probe_interval_ms);
void hp_reader_close(struct hp_reader*);
void hp_reader_run(struct hp_reader*);
void hp_reader_wait(struct hp_reader*);
/* 0: not connected; else which connection this is. */
unsigned int hp_reader_connection(struct hp_reader*);
/* Does nothing when there is no other remote. */
void hp_reader_turn_to_next(struct hp_reader*);
/* Sends a "transact" with these parameters (a JSON array), the next of this connection; false when
 * there is none. */
bool hp_reader_transact(struct hp_reader*, const char* params);
/* The next answer, in the order of the requests: its result as JSON text, or with `*failed` the
 * error. NULL when none has come. */
char* hp_reader_answer(struct hp_reader*, bool* failed);

#ifdef __cplusplus
}
#endif
