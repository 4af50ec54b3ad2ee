#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows that the simulator's checkers can fail: for each patch of tests/simulation/mutants, breaks a
# copy of the source file, links it into the simulator in place of the true one, and demands that
# each of the checkers named there objects; and that no checker is left out. The tree is not touched.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/mutants.sh [--seeds N] [NAME...]
  --seeds N  runs that a mutant must not survive (default 150)
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

readonly build=build/release
[ -x "$build/bin/chatchain-simulate" ] || fail "there is no $build/bin/chatchain-simulate; run scripts/build.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ninja -C "$build" -t commands chatchain-simulate | grep -v '^ninja:' >"$work/commands"
link=$(tail -1 "$work/commands")
readonly main_object=tests/simulation/CMakeFiles/chatchain-simulate.dir/main.cc.o

survivors=()
for name in "${names[@]}"; do
  file=tests/simulation/mutants/$name.patch
  [ -f "$file" ] || fail "there is no mutant \"$name\""
  expected=$(sed -n 's/^caught by: //p' "$file")
  mode=$(sed -n 's/^mode: //p' "$file")
  # Where a fault has to be more frequent than it is.
  read -ra options < <(sed -n 's/^options: //p' "$file") || true
  source_file=$(sed -n 's|^+++ b/||p' "$file")
  cp "$source_file" "$work/mutant.cc"
  patch --quiet "$work/mutant.cc" <"$file" >/dev/null || fail "$file does not fit the code any more"
  compile=$(grep -F -- "-c $repo_root/$source_file" "$work/commands" | head -1 |
    sed "s|-c $repo_root/$source_file|-c $work/mutant.cc|; s| -o [^ ]*| -o $work/mutant.o|;
      s| -MF [^ ]*| -MF $work/mutant.d|; s| -MT [^ ]*| -MT $work/mutant.o|")
  (cd "$build" && eval "$compile") || fail "$name does not build"
  # Before the libraries, so that the true object is never looked for.
  linking=${link/"$main_object"/"$main_object $work/mutant.o"}
  (cd "$build" && eval "${linking//"-o bin/chatchain-simulate"/"-o $work/simulate"}") ||
    fail "$name does not link"
  "$work/simulate" --mode "${mode:-safety}" "${options[@]}" --count "$seeds" --until "${expected//, /,}" >"$work/out" \
    2>/dev/null || true
  while IFS= read -r checker; do
    caught=$(grep -m1 -E "^seed [0-9]+: $checker: " "$work/out" || true)
    if [ -n "$caught" ]; then
      echo "caught    $name: ${caught:0:150}"
    else
      others=$(sed -n 's/^seed [0-9]*: \([a-z_ ]*\): .*/\1/p' "$work/out" | sort | uniq -c | tr -s ' \n' ' ')
      echo "SURVIVES  $name: $checker does not object (others:${others:- none})"
      survivors+=("$name")
    fi
  done < <(tr ',' '\n' <<<"${expected//, /,}")
done
# Every checker that the simulator has must be what some mutant is there for.
while IFS= read -r checker; do
  grep -qE "^caught by: (.*, )?$checker(,|$)" tests/simulation/mutants/*.patch || {
    echo "NO MUTANT for the checker \"$checker\""
    survivors+=("$checker")
  }
done < <(cat tests/simulation/*.cc | tr -d '\n' |
  grep -oE '(Violation|add)\( *"[a-z_ ]+",' | sed 's/^[^"]*"\(.*\)",$/\1/' | sort -u)
if [ "${#survivors[@]}" -gt 0 ]; then fail "not as expected: ${survivors[*]}"; fi
echo "ok: ${#names[@]} mutants"
