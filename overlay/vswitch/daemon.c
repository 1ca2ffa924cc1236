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

static char* await(struct jsonrpc* rpc, long long deadline) {
  for (;;) {
    struct jsonrpc_msg* answer;
    jsonrpc_run(rpc);
    int error = jsonrpc_recv(rpc, &answer);
    if (!error) {
      bool done = answer->type == JSONRPC_REPLY;
      jsonrpc_msg_destroy(answer);
      return done ? NULL : xstrdup("ovs-vswitchd cannot wait for its revalidators");
    }
    if (error != EAGAIN) {
      return xasprintf("the control connection to ovs-vswitchd was lost: %s",
                       ovs_retval_to_string(error));
    }
    if (time_msec() >= deadline) {
      return xstrdup("the revalidators of ovs-vswitchd do not get to an end");
    }
    jsonrpc_wait(rpc);
    jsonrpc_recv_wait(rpc);
    poll_timer_wait_until(deadline);
    poll_block();
  }
}

char* hp_vswitchd_revalidated(const char* socket_path, long long deadline) {
  char* name = xasprintf("unix:%s", socket_path);
  struct stream* stream = NULL;
  int error = stream_open_block(stream_open(name, &stream, 0), deadline - time_msec(), &stream);
  char* why = NULL;
  if (error) {
    why = xasprintf("no control connection by %s: %s", name, ovs_strerror(error));
  } else {
    struct jsonrpc* rpc = jsonrpc_open(stream);
    jsonrpc_send(rpc, jsonrpc_create_request("revalidator/wait", json_array_create_empty(), NULL));
    why = await(rpc, deadline);
    jsonrpc_close(rpc);
  }
  free(name);
  return why;
}
