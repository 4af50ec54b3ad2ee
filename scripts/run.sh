#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, starts three nodes and the proxy, shows a message travel from one
# node to another, and stays until Ctrl-C, which stops everything. What CHATCHAIN_BASE_PORT,
# CHATCHAIN_RUN_DIR and CHATCHAIN_BIN_DIR mean: scripts/cluster.sh --help.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$#" -eq 0 ] || fail "no arguments, please: scripts/cluster.sh starts other numbers of nodes"

# The scripts below move to the repository: tell them where the caller meant.
CHATCHAIN_RUN_DIR=$(absolute "${CHATCHAIN_RUN_DIR:-$repo_root/run}")
export CHATCHAIN_RUN_DIR
if [ -n "${CHATCHAIN_BIN_DIR:-}" ]; then
  CHATCHAIN_BIN_DIR=$(absolute "$CHATCHAIN_BIN_DIR")
  export CHATCHAIN_BIN_DIR
fi
base_port=${CHATCHAIN_BASE_PORT:-8080}
proxy=http://127.0.0.1:$base_port
nodes=3

# Children say themselves, in one line, what went wrong.
if [ -z "${CHATCHAIN_BIN_DIR:-}" ]; then
  scripts/build.sh release chatchain-node chatchain-client chatchain || exit
fi

# Whatever ends this script stops the cluster: once, and not interrupted itself. The terminal may be
# gone by then, so nothing here depends on being able to write to it.
stop_cluster() {
  local status=$? report
  trap '' INT TERM HUP PIPE
  trap - EXIT ERR
  set +e
  echo "==> stopping" 2>/dev/null
  report=$(scripts/cluster.sh down 2>&1) || status=1
  echo "$report" 2>/dev/null
  exit "$status"
}

step "starting $nodes nodes and the proxy"
trap stop_cluster EXIT
trap 'exit 0' INT TERM HUP
if ! scripts/cluster.sh up "$nodes" --new; then
  # It has undone what it did; what runs is somebody else's.
  trap - EXIT
  exit 1
fi

http() { curl --silent --show-error --noproxy '*' --max-time 10 "$@"; }

# The id of the node that gave the answer whose header is in $1.
answering_node() { tr -d '\r' <"$1" | awk -F': *' 'tolower($1) == "chatchain-node" {print $2}'; }

show_one_message() {
  local work=$CHATCHAIN_RUN_DIR/first-message status id by other=0 end
  mkdir -p "$work"
  step "sending one message through the proxy"
  jq --null-input --arg text "Hello from $(hostname) at $(date +%T)" \
    '{sender: "user1", recipient: "user2", $text, timestamp: (now | floor)}' >"$work/request"
  status=$(http --dump-header "$work/header" --output "$work/answer" --write-out '%{http_code}' \
    --header 'Content-Type: application/json' --data-binary "@$work/request" "$proxy/messages") ||
    fail "the proxy does not answer: see scripts/cluster.sh logs proxy"
  if [ "$status" != 201 ]; then fail "the proxy answered $status: $(head -c 500 "$work/answer")"; fi
  id=$(jq -er .id "$work/answer")
  by=$(answering_node "$work/header")
  echo "    accepted by node ${by:-?} as $id"

  if [ "$by" = 0 ]; then other=1; fi
  step "reading it back from node $other"
  end=$((SECONDS + 15))
  until http --fail --output "$work/copy" "http://127.0.0.1:$((base_port + 1 + other))/messages/$id" 2>/dev/null; do
    if [ "$SECONDS" -ge "$end" ]; then fail "node $other does not have it after 15 s: see scripts/cluster.sh logs $other"; fi
    sleep 0.1
  done
  jq --compact-output --monochrome-output . "$work/copy"
}

show_one_message

cat <<TEXT

ChatChain runs.
  proxy    $proxy   <- talk to this one
$(for ((i = 0; i < nodes; i++)); do echo "  node $i   http://127.0.0.1:$((base_port + 1 + i))"; done)
  data and logs: $CHATCHAIN_RUN_DIR

  curl -s $proxy/messages
  curl -s $proxy/network
  scripts/cluster.sh kill 1, start 1, pause 2, resume 2, status   (in another terminal)

Ctrl-C stops everything.
TEXT

# Nodes may be killed and started from elsewhere; with none left there is nothing to wait for.
while scripts/cluster.sh running; do
  # In the background and waited for: a signal ends `wait` at once.
  sleep 1 &
  wait $! || true
done
echo "nothing runs any more"
