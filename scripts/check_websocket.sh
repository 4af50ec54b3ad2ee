#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Drives the WebSocket code with the independent client `ws` from npm, kept in build/npm-websocket.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly skipped=77
npm_dir=build/npm-websocket

skip() {
  echo "skipped: $*"
  exit "$skipped"
}

[ $# -eq 1 ] || {
  echo "usage: scripts/check_websocket.sh BIN_DIR"
  echo "Exits with 77, saying why, where npm or its packages cannot be had."
  exit 2
}
bin_dir=$(realpath "$1")
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  skip "no npm here (apt-get install npm)"
fi
wanted() { cat tests/websocket/package.json tests/websocket/package-lock.json | sha256sum; }
mkdir -p "$npm_dir"
exec 9>"$npm_dir/lock"
flock 9
if [ "$(cat "$npm_dir/installed" 2>/dev/null)" != "$(wanted)" ]; then
  cp tests/websocket/package.json tests/websocket/package-lock.json "$npm_dir/"
  npm --prefix "$npm_dir" ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    skip "npm could not install the packages of tests/websocket/package.json (no network?)"
  wanted >"$npm_dir/installed"
fi
exec 9>&-
NODE_PATH="$npm_dir/node_modules" exec node tests/websocket/conformance.js "$bin_dir"
