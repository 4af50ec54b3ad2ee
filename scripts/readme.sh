#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the README: every block marked ```sh, in order, in one shell, against a cluster of three nodes
# and the proxy. Blocks with another mark (```console, ```text) are for the eye only. With
# CHATCHAIN_BASE_PORT the cluster listens there, and the addresses in the commands follow.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readme=$repo_root/README.md
[ -f "$readme" ] || fail "no README.md"

work=$(mktemp -d)
export CHATCHAIN_RUN_DIR=$work/run
cleanup() {
  local status=$?
  trap - EXIT ERR
  scripts/cluster.sh down >"$work/down" 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT

awk '
  /^```sh$/ { inside = 1; printf "echo \"--- README.md:%d\"\n", NR; next }
  /^```/    { inside = 0; next }
  inside    { print }
' "$readme" >"$work/commands"
base_port=${CHATCHAIN_BASE_PORT:-8080}
for i in 3 2 1 0; do sed -i "s/127\\.0\\.0\\.1:808$i/127.0.0.1:$((base_port + i))/g" "$work/commands"; done
blocks=$(grep -c '^echo "--- README' "$work/commands") || fail "README.md has no block marked \`\`\`sh"

# Its commands find the programs, and those find the proxy.
PATH=$(absolute "${CHATCHAIN_BIN_DIR:-$repo_root/build/release/bin}"):$PATH
export PATH CHATCHAIN_URL=http://127.0.0.1:$base_port

step "starting a cluster for the README"
scripts/cluster.sh up 3 --new || exit 1
step "running $blocks blocks of README.md"
bash -euo pipefail "$work/commands" </dev/null || fail "the last block named above does not work"
echo
echo "ok: $blocks blocks of README.md work"
