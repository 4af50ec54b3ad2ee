#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds the release preset, and torments the real programs: longer than
# the ordinary tests do. See docs/testing.md.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly round_minutes=3 # its history is checked in memory

usage() {
  cat <<'TEXT'
usage: scripts/torture.sh [--minutes M] [--seed S] [--network KIND] [--cuts N] [--steps N] [--no-connections]
  --minutes M     load, nemesis and checked history, in rounds of at most 3 minutes; default 10
  --seed S        of the first round, the next has S + 1; default: a random one
  --network KIND  namespaces (root), relays, or auto (default): the first where it is possible
  --cuts N        power cuts, default 20; 0: none. They need root
  --steps N       kills and pauses below a proxy of which no client may notice one, default 150; 0: none
  --no-connections  leave out 10,000 idle connections, 100,000 connects, and slow clients by the hundred
As root, all that it makes is in namespaces that end with it.
TEXT
}

minutes=10
seed=$RANDOM$RANDOM
network=auto
cuts=20
steps=150
connections=--full
while [ "$#" -gt 0 ]; do
  case $1 in
    --minutes | --seed | --network | --cuts | --steps)
      [ "$#" -ge 2 ] || fail "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift 2
      ;;
    --no-connections) connections=; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument $1" ;;
  esac
done
for value in minutes seed cuts steps; do
  [[ ${!value} =~ ^[0-9]+$ ]] || fail "--$value needs a whole number, not \"${!value}\""
done

scripts/build.sh release || exit # it has said why
bin=build/release/bin
torture=tests/torture

if [ "$cuts" -gt 0 ]; then
  step "$cuts power cuts"
  status=0
  python3 -B $torture/power_cut.py --bin-dir $bin --cuts "$cuts" || status=$?
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then fail "power cuts: see above"; fi
fi

if [ "$steps" -gt 0 ]; then
  step "$steps kills and pauses below a proxy"
  CHATCHAIN_CHAOS_STEPS=$steps $bin/chatchain-integration-tests '[chaos]' ||
    fail "a client has noticed: see above"
fi

if [ -n "$connections" ]; then
  step "connections by the thousand"
  python3 -B $torture/connections.py --bin-dir $bin $connections || fail "connections: see above"
fi

left=$minutes
while [ "$left" -gt 0 ]; do
  now=$((left < round_minutes ? left : round_minutes))
  step "torture, $now of $left minutes"
  python3 -B $torture/torture.py --bin-dir $bin --minutes "$now" --seed "$seed" --network "$network" ||
    fail "the round with seed $seed: see above"
  left=$((left - now))
  seed=$((seed + 1))
done
echo "ok: $cuts cuts, $steps steps, $minutes minutes"
