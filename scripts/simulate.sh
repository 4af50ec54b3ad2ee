#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the simulator for a while, with new seeds, on all cores. A run that fails is shortened to its
# smallest number of steps, and its line for tests/simulation/regressions.txt is printed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/simulate.sh [--minutes M] [--seed S] [--steps N] [--jobs J] [--no-build]
  --minutes M  how long (default 10)
  --seed S     the first seed (default: taken from the time)
  --steps N    events until faults stop (default 3000)
  --jobs J     processes (default: one a core)
  --no-build   the programs of build/release as they are
TEXT
}

minutes=10
seed=$(($(date +%s) * 1000))
steps=3000
jobs=$(nproc)
build=1
while [ "$#" -gt 0 ]; do
  case $1 in
    --minutes | --seed | --steps | --jobs)
      [ "$#" -ge 2 ] || fail "$1 needs a value; see --help"
      [[ $2 =~ ^[0-9]+$ ]] || fail "$1 takes a whole number"
      declare "${1#--}=$2"
      shift 2
      ;;
    --no-build) build=0; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument $1" ;;
  esac
done

if [ "$build" -eq 1 ]; then scripts/build.sh release || exit; fi
program=build/release/bin/chatchain-simulate
[ -x "$program" ] || fail "there is no $program; run it without --no-build"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

readonly chunk=50
end=$((SECONDS + minutes * 60))
# One process: every jobs-th chunk of seeds, both modes in turn, until the time is over.
run() {
  local job=$1 turn=0 first mode
  while [ "$SECONDS" -lt "$end" ]; do
    first=$((seed + (turn * jobs + job) * chunk))
    mode=safety
    if [ $((turn % 2)) -eq 1 ]; then mode=liveness; fi
    if ! "$program" --seed "$first" --count "$chunk" --steps "$steps" --mode "$mode" --shrink \
      >"$work/out.$job" 2>/dev/null; then
      cat "$work/out.$job" >>"$work/failed.$job"
    fi
    echo "$chunk" >>"$work/done.$job"
    turn=$((turn + 1))
  done
}
for ((job = 0; job < jobs; job++)); do run "$job" & done
wait

runs=$(cat "$work"/done.* | awk '{sum += $1} END {print sum + 0}')
if compgen -G "$work/failed.*" >/dev/null; then
  cat "$work"/failed.*
  echo "for tests/simulation/regressions.txt:"
  # again: chatchain-simulate --seed S --steps N --mode M
  awk '/^again:/ {print $8, $4, $6, "..."}' "$work"/failed.*
  fail "of $runs seeds some failed, from $seed on"
fi
echo "ok: $runs seeds from $seed on"
