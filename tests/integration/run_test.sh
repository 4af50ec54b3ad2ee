#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/run.sh shows a message travel, stays, and stops everything at Ctrl-C.
# Usage: run_test.sh REPOSITORY BIN_DIR
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

# Background commands of a shell without job control ignore SIGINT; a terminal's do not.
set -m
"$repository/scripts/run.sh" >"$work/output" 2>&1 &
run=$!
set +m
shown() { grep -q '^ChatChain runs' "$work/output" || ! kill -0 "$run" 2>/dev/null; }
SECONDS=0
eventually shown
cat "$work/output"
grep -q '"text":"Hello from' "$work/output"
# A node that came up after the proxy is noticed by the next probe.
all_ready() {
  curl --silent --fail --noproxy '*' --max-time 10 --output "$work/network" \
    "http://127.0.0.1:$CHATCHAIN_BASE_PORT/network" && [ "$(jq .ready "$work/network")" = 3 ]
}
eventually all_ready

kill -INT "-$run"
status=0
wait "$run" || status=$?
[ "$status" = 0 ]
if "$cluster" running; then
  echo "something still runs" >&2
  exit 1
fi
