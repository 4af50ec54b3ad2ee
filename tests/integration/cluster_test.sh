#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Plays with scripts/cluster.sh as a person would, and looks whether the cluster and the messages
# survive. Usage: cluster_test.sh REPOSITORY BIN_DIR
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

say() { echo "--- $*"; }
http() { curl --silent --show-error --noproxy '*' --max-time 10 "$@"; }
node_url() { echo "http://127.0.0.1:$((CHATCHAIN_BASE_PORT + 1 + $1))"; }

# The answer of a command that must fail, which must say $1.
must_refuse() {
  local words=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "succeeded, but must not: $*" >&2
    return 1
  fi
  [[ "$output" == *"error: "*"$words"* ]] || {
    echo "says \"$output\", not \"$words\": $*" >&2
    return 1
  }
}

# One column of `status` for one program.
status_of() { "$cluster" status | awk -v name="$1" -v column="$2" '{sub(/^node /, "")} $1 == name {print $column}'; }
state_is() { [ "$(status_of "$1" 3)" = "$2" ]; }
messages_are() { [ "$(status_of "$1" 6)" = "$2" ]; }

send() {
  http --fail --output /dev/null --header 'Content-Type: application/json' \
    --data "{\"sender\":\"test\",\"recipient\":\"you\",\"text\":\"$1\"}" \
    "http://127.0.0.1:$CHATCHAIN_BASE_PORT/messages"
}

say "commands before there is a cluster"
must_refuse "no cluster in" "$cluster" status
must_refuse "unknown command" "$cluster" explode
must_refuse "N is 1..64" "$cluster" up 0

say "up"
"$cluster" up
for program in 0 1 2 proxy; do state_is "$program" running; done
[[ "$("$cluster" up)" == *"node 0 already runs"* ]]
must_refuse "a cluster of 3 runs here" "$cluster" up 2
must_refuse "already runs here" "$cluster" up 3 --new
must_refuse "there is no node" "$cluster" kill 3
must_refuse "which one" "$cluster" kill
send one
for node in 0 1 2; do eventually messages_are "$node" 1; done

say "kill and start"
"$cluster" kill 1
state_is 1 dead
must_refuse "does not run" "$cluster" kill 1
send two
"$cluster" start 1
eventually messages_are 1 2

say "pause and resume"
"$cluster" pause 2
state_is 2 paused
must_refuse "runs" "$cluster" wipe 2
send three
"$cluster" resume 2
eventually messages_are 2 3

say "wipe"
"$cluster" kill 0
"$cluster" wipe 0
[ ! -e "$work/run/data/node-0" ]
"$cluster" start 0
eventually messages_are 0 3
must_refuse "keeps no data" "$cluster" wipe proxy

say "the proxy dies too"
"$cluster" kill proxy
state_is proxy dead
"$cluster" start proxy
send four
for node in 0 1 2; do eventually messages_are "$node" 4; done

say "a pid that now belongs to somebody else is left alone"
# A crash: the process ends, its pid file stays; then another process gets a file that names it.
"$cluster" kill 1
sleep 600 &
stranger=$!
echo "$stranger $(awk '{print $22}' "/proc/$stranger/stat") $(cat /proc/sys/kernel/random/boot_id) $CHATCHAIN_BIN_DIR/chatchain-node" \
  >"$work/run/node-1.pid"
state_is 1 dead
must_refuse "does not run" "$cluster" kill 1
kill -0 "$stranger"
read -r pid start boot binary <"$work/run/node-2.pid"
echo "$pid $((start + 1)) $boot $binary" >"$work/run/node-2.pid"
must_refuse "does not run" "$cluster" kill 2
kill -0 "$pid"
echo "$pid $start $boot $binary" >"$work/run/node-2.pid"

say "a port that somebody else has"
python3 -c '
import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("taken", flush=True)
time.sleep(600)' $((CHATCHAIN_BASE_PORT + 2)) >"$work/taken" &
holder=$!
eventually grep -q taken "$work/taken"
must_refuse "(pid $holder)" "$cluster" start 1
kill "$holder"
wait "$holder" 2>/dev/null || true
"$cluster" start 1
eventually messages_are 1 4

say "down, with one of them paused"
"$cluster" pause 1
"$cluster" down
kill -0 "$stranger"
kill "$stranger"
for program in 0 1 2 proxy; do state_is "$program" dead; done
if "$cluster" running; then exit 1; fi
[ -z "$(find "$work/run" -name '*.pid')" ]

say "up again finds the messages"
"$cluster" up
for node in 0 1 2; do eventually messages_are "$node" 4; done
http --fail "$(node_url 0)/messages" | jq -e '.messages | length == 4' >/dev/null
"$cluster" down
say ok
