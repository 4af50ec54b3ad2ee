#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows that the simulator's checkers can fail: breaks the code as each patch of
# tests/simulation/mutants says, builds the simulator, demands that it objects, and takes the patch
# back.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/mutants.sh [--seeds N] [NAME...]
  --seeds N  runs of each mode that a mutant must not survive (default 150)
  NAME       of tests/simulation/mutants/NAME.patch (default: all)
TEXT
}

seeds=150
names=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --seeds)
      [ "$#" -ge 2 ] || fail "--seeds needs a value; see --help"
      seeds=$2
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; fail "unknown argument $1" ;;
    *) names+=("$1"); shift ;;
  esac
done
if [ "${#names[@]}" -eq 0 ]; then
  for patch in tests/simulation/mutants/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

step "building"
cmake --preset release >/dev/null
program=build/release/bin/chatchain-simulate
applied=
restore() {
  if [ -n "$applied" ]; then patch --quiet -p1 --reverse <"$applied" && applied=; fi
}
trap restore EXIT

survivors=()
for name in "${names[@]}"; do
  file=tests/simulation/mutants/$name.patch
  [ -f "$file" ] || fail "there is no mutant \"$name\""
  expected=$(sed -n 's/^caught by: //p' "$file")
  patch --quiet -p1 --dry-run <"$file" >/dev/null || fail "$file does not fit the code any more"
  patch --quiet -p1 <"$file"
  applied=$file
  ninja -C build/release chatchain-simulate >/dev/null || fail "$name does not build"
  caught=
  for mode in safety liveness; do
    found=$("$program" --mode "$mode" --seed 1 --count "$seeds" \
      --until-violation 2>/dev/null | sed -n 's/^seed \([0-9]*\): \(.*\)/\1 \2/p' | head -1 || true)
    if [ -n "$found" ]; then
      caught="$mode ${found:0:110}"
      break
    fi
  done
  restore
  if [ -z "$caught" ]; then
    survivors+=("$name")
    echo "SURVIVES  $name"
    continue
  fi
  checker=${caught#* * }
  checker=${checker%%:*}
  if [[ ", $expected, " != *", $checker, "* ]]; then
    survivors+=("$name")
    echo "OTHERWISE $name: $caught (expected: $expected)"
    continue
  fi
  echo "caught    $name: $caught"
done
if [ "${#survivors[@]}" -gt 0 ]; then fail "not as expected: ${survivors[*]}"; fi
echo "ok: ${#names[@]} mutants"
