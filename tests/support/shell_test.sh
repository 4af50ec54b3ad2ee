# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the shell tests share; sourced with the repository and the folder of the programs as $1 and $2.
# Gives each test a cluster of its own: a run directory, free ports, nothing left behind.
set -Eeuo pipefail
trap 'echo "FAILED at line $LINENO: $BASH_COMMAND" >&2' ERR

repository=$1
cluster=$repository/scripts/cluster.sh
work=$(mktemp -d)
export CHATCHAIN_BIN_DIR=$2 CHATCHAIN_RUN_DIR=$work/run
# Only what is asked for below, not what the machine's configuration says.
export CHATCHAIN_CONFIG=

finish() {
  local status=$?
  trap - ERR
  "$cluster" down >/dev/null 2>&1 || true
  if [ "$status" -ne 0 ]; then tail -n 40 "$work"/run/*.log >&2 || true; fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

# Four free ports in a row, below those that the system hands out by itself.
CHATCHAIN_BASE_PORT=$(python3 -c '
import random, socket
def free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False
print(next(p for p in iter(lambda: random.randrange(10000, 30000), 0) if all(free(p + i) for i in range(4))))')
export CHATCHAIN_BASE_PORT

# eventually COMMAND...: waits for it to succeed, 20 s at most.
eventually() {
  local end=$((SECONDS + 20))
  until "$@"; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "not within 20 s: $*" >&2
      return 1
    fi
    sleep 0.05
  done
}
