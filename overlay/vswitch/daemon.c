/* The control socket of ovs-vswitchd, for shim.h: what ovs-appctl(8) speaks. */
#include <config.h>

#include "overlay/vswitch/shim.h"

#include <errno.h>

#include "jsonrpc.h"
#include "openvswitch/json.h"
#include "openvswitch/poll-loop.h"
#include "stream.h"
#include "timeval.h"
#include "util.h"

/* What the answer says: to print, or why not. */
static char* read_answer(const struct jsonrpc_msg* answer, char** printed) {
  const struct json* text = answer->type == JSONRPC_REPLY ? answer->result : answer->error;
  const char* said = text && text->type == JSON_STRING ? json_string(text) : "";
  if (answer->type != JSONRPC_REPLY) {
    return xasprintf("ovs-vswitchd refuses: %s", said);
  }
  if (printed) {
    *printed = xstrdup(said);
  }
  return NULL;
}

static char* await(struct jsonrpc* rpc, long long deadline, char** printed) {
  for (;;) {
    struct jsonrpc_msg* answer;
    jsonrpc_run(rpc);
    int error = jsonrpc_recv(rpc, &answer);
    if (!error) {
      char* why = read_answer(answer, printed);
      jsonrpc_msg_destroy(answer);
      return why;
    }
    if (error != EAGAIN) {
      return xasprintf("the control connection to ovs-vswitchd was lost: %s",
                       ovs_retval_to_string(error));
    }
    if (time_msec() >= deadline) {
      return xstrdup(
          "ovs-vswitchd does not get to an end with what it was asked by its control socket");
    }
    jsonrpc_wait(rpc);
    jsonrpc_recv_wait(rpc);
    poll_timer_wait_until(deadline);
    poll_block();
  }
}

char* hp_vswitchd_ask(const char* socket_path, const char* command, const char* const* arguments,
                      size_t n_arguments, long long deadline, char** printed) {
  char* name = xasprintf("unix:%s", socket_path);
  struct stream* stream = NULL;
  int error = stream_open_block(stream_open(name, &stream, 0), deadline - time_msec(), &stream);
  char* why = NULL;
  if (error) {
    why = xasprintf("no control connection by %s: %s", name, ovs_strerror(error));
  } else {
    struct jsonrpc* rpc = jsonrpc_open(stream);
    struct json* parameters = json_array_create_empty();
    for (size_t i = 0; i < n_arguments; i++) {
      json_array_add(parameters, json_string_create(arguments[i]));
    }
    jsonrpc_send(rpc, jsonrpc_create_request(command, parameters, NULL));
    why = await(rpc, deadline, printed);
    jsonrpc_close(rpc);
  }
  free(name);
  return why;
}
