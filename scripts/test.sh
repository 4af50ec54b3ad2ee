#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, and runs the tests.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--preset P] [--label L]... [--name REGEX] [--target T]...
  --preset P    release (default), dev, clang, asan or tsan
  --label L     only tests with this label (unit, integration, ...); several are joined by "or"
  --name REGEX  only tests whose name matches
  --target T    builds only that, for a run that needs no more
With CI=true, and nothing else said, the unit tests and the corpora of the fuzz targets are then run once more under
AddressSanitizer and UndefinedBehaviorSanitizer.
TEXT
}

preset=release
labels=()
selection=()
targets=()
everything=$(($# == 0))
while [ "$#" -gt 0 ]; do
  case $1 in
    --preset | --label | --name | --target) [ "$#" -ge 2 ] || fail "$1 needs a value; see --help" ;;&
    --preset) preset=$2; shift 2 ;;
    --label) labels+=("$2"); shift 2 ;;
    --name) selection+=(--tests-regex "$2"); shift 2 ;;
    --target) targets+=("$2"); shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument $1" ;;
  esac
done
if [ "${#labels[@]}" -gt 0 ]; then
  selection+=(--label-regex "^($(IFS='|'; echo "${labels[*]}"))$")
fi

start=$SECONDS
scripts/build.sh "$preset" "${targets[@]}" || exit # it has said why
install_test_packages

step "testing build/$preset"
# ThreadSanitizer of this compiler cannot live with much address randomisation.
launcher=()
if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
  launcher=(setarch "$(uname -m)" -R)
fi
log=build/$preset/test.log
status=0
"${launcher[@]}" ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
  --parallel "$(build_jobs)" "${selection[@]}" 2>&1 | tee "$log" || status=$?

summary=$(grep -E '^[0-9]+% tests passed' "$log" || echo "no test ran")
if [ "$status" -ne 0 ]; then fail "$summary, after $((SECONDS - start)) s; the whole output is in $log"; fi
echo "ok: $summary, in $((SECONDS - start)) s with the build"
if [ "${CI:-}" = true ] && [ "$everything" -eq 1 ]; then scripts/check.sh asan-unit || exit; fi
