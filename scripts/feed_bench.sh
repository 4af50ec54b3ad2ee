#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How long until a message is with everybody who follows one node, and what 5,000 of them cost.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 1 ] || {
  echo "usage: scripts/feed_bench.sh [BIN_DIR]"
  exit 2
}
bin_dir=$(realpath "${1:-build/release/bin}")
work=$(mktemp -d)
node=
stop() {
  if [ -n "$node" ]; then kill "$node" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT

"$bin_dir/chatchain-node" --config "" --node-id 0 --peers "" --listen 127.0.0.1:0 \
  --data-dir "$work/data" 2>"$work/log" &
node=$!
for _ in $(seq 100); do
  address=$(sed -n 's/^listening on //p' "$work/log")
  [ -z "$address" ] || break
  sleep 0.1
done
[ -n "$address" ] || fail "the node did not start: $(cat "$work/log")"

step "200 event streams, 100 messages/s for 20 s"
"$bin_dir/chatchain-feed-load" "$address" 200 100 20
step "5,000 event streams, 10 messages/s for 20 s"
"$bin_dir/chatchain-feed-load" "$address" 5000 10 20
grep -E "VmHWM|Threads" "/proc/$node/status"
