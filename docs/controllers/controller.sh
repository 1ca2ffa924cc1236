#!/bin/sh
# controller.sh create | move HOST | remove: a virtual machine, with nothing but ovsdb-client.
set -eu
db=${DB:-unix:/var/lib/homeport/homeport.sock}

# One transaction of these operations. When the server refuses, ovsdb-client ends with 0 all the same;
# the "details" of an error tell.
transact() {
  reply=$(ovsdb-client transact "$db" "[\"Homeport\", $1]")
  case $reply in *'"details":'*) echo "$reply" >&2 && exit 1 ;; esac
}

# Asks for a task and returns when it has ended. Its UUID is chosen here, so that the wish cannot be
# entered twice. The server does the waiting: for a status to be there, and for it to be finished.
run_task() { # KIND [ARGUMENT]
  task=$(cat /proc/sys/kernel/random/uuid)
  transact '{"op": "insert", "table": "Task", "uuid": "'"$task"'", "row": {"kind": "'"$1"'",
    "application": "vm1", "arguments": ["map", ['"${2-}"']], "requested_by": "controller.sh"}}'
  of='"table": "Task_Status", "where": [["task", "==", "'$task'"]], "columns"'
  until='{"op": "wait", "timeout": 600000, "until": "!=", '$of': ["finished"], "rows"'
  transact "$until: []}, $until: [{\"finished\": [\"set\", []]}]},
    {\"op\": \"select\", $of: [\"state\", \"error\"]}"
  ended=$reply
  transact '{"op": "delete", "table": "Task", "where": [["_uuid", "==", ["uuid", "'"$task"'"]]]}'
  case $ended in *'"state":"succeeded"'*) echo "$1: done" ;; *) echo "$1: $ended" >&2 && exit 1 ;; esac
}

case ${1-} in
create)
  transact '
    {"op": "insert", "table": "Network",
     "row": {"name": "net1", "vni": 100, "subnets": ["set", ["10.1.0.0/24", "fd01::/64"]]}},
    {"op": "insert", "table": "Application",
     "row": {"name": "vm1", "driver": "qemu", "launch_profile": "qemu-tiny",
             "properties": ["map", [["memory_mib", "256"], ["vcpus", "1"]]]}},
    {"op": "insert", "table": "Binding",
     "row": {"name": "vm1", "application": "vm1", "network": "net1", "mac": "52:54:00:00:01:05",
             "prior_addresses": ["set", ["10.1.0.5", "fd01::5"]], "location": "hostA"}}'
  run_task start
  ;;
move)
  run_task move '["destination", "'"$2"'"]'
  ;;
remove)
  run_task stop
  transact '
    {"op": "delete", "table": "Binding", "where": [["application", "==", "vm1"]]},
    {"op": "delete", "table": "Application", "where": [["name", "==", "vm1"]]},
    {"op": "delete", "table": "Network", "where": [["name", "==", "net1"]]}'
  ;;
*)
  echo "usage: $0 create | move HOST | remove" >&2
  exit 2
  ;;
esac
