#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# All checks that are not tests of the release build: scripts/check.sh [STEP...], by default all of
# them. Each installs what it needs.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly all_steps=(format includes shell clang tidy asan tsan package readme)
# Parts of the above, and what takes its time: only where they are named.
readonly more_steps=(asan-unit tsan-unit fuzz)
readonly fuzz_seconds=${CHATCHAIN_FUZZ_SECONDS:-60}

usage() {
  cat <<'TEXT'
usage: scripts/check.sh [STEP...]
       scripts/check.sh --fuzz
  format    clang-format changes nothing
  includes  lower folders do not include higher ones
  shell     shellcheck has nothing to say
  clang     builds with clang, thread-safety analysis included
  tidy      clang-tidy has nothing to say
  asan      unit, simulation and integration tests under AddressSanitizer and UndefinedBehaviorSanitizer
  tsan      the same under ThreadSanitizer
  package   the Debian packages can be built
  readme    the commands of the README work
and, only where it is named:
  asan-unit, tsan-unit   of asan and tsan, the unit tests and the corpora of the fuzz targets
  fuzz, --fuzz           each fuzz target runs for 60 s (CHATCHAIN_FUZZ_SECONDS); what it finds
                         is in build/fuzz/found/
TEXT
}

# Sources and headers in version control; in a tarball, all of them.
sources() {
  local roots=(common node client tests)
  if git -c safe.directory="$repo_root" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git -c safe.directory="$repo_root" ls-files "${roots[@]}"
  else
    find "${roots[@]}" -type f
  fi | grep -E "$1"
}

check_format() {
  install_packages clang-format
  sources '\.(h|cc)$' | xargs clang-format --dry-run -Werror
}

check_includes() {
  install_packages python3
  python3 scripts/check_includes.py
}

check_shell() {
  install_packages shellcheck
  shellcheck scripts/*.sh .ci/run
  shellcheck --shell=bash deploy/completion/chatchain.bash
  find tests -name '*.sh' -exec shellcheck {} +
}

check_clang() { scripts/build.sh clang || exit; }

check_tidy() {
  install_build_packages
  install_packages clang clang-tidy
  cmake --preset clang >/dev/null
  # Programs only: Catch2's macros are not worth a clean bill.
  sources '^(common|node|client)/.*\.cc$' |
    xargs --max-procs="$(build_jobs)" --max-args=4 clang-tidy --quiet -p build/clang
}

# Tests of the scripts, and those that measure or only read documents, learn nothing from a sanitizer.
readonly sanitized_unit='^(unit|fuzz-.*)$'
readonly sanitized='^(unit|fuzz-.*|simulation.*|integration:.*)$'
sanitized_unit_tests() {
  scripts/test.sh --preset "$1" --target chatchain-unit-tests --target chatchain-fuzz \
    --name "$sanitized_unit" || exit
}
# What nodes and proxies report that a test kills, or whose exit code it does not look at, counts too.
sanitized_tests() {
  local preset=$1 reports=build/$1/reports
  rm -rf "$reports"
  mkdir -p "$reports"
  local to=log_path=$repo_root/$reports/report
  ASAN_OPTIONS=$to UBSAN_OPTIONS=$to TSAN_OPTIONS=$to scripts/test.sh --preset "$preset" --name "$sanitized" || exit
  local report
  for report in "$reports"/*; do
    [ -e "$report" ] || continue
    cat "$report"
    fail "a program under test has reported what is above; all reports are in $reports/"
  done
}
check_asan() { sanitized_tests asan; }
check_tsan() { sanitized_tests tsan; }
check_asan-unit() { sanitized_unit_tests asan; }
check_tsan-unit() { sanitized_unit_tests tsan; }

check_fuzz() {
  scripts/build.sh fuzz || exit
  local program target found=build/fuzz/found
  mkdir -p "$found"
  for program in build/fuzz/bin/fuzz-*; do
    target=${program##*/fuzz-}
    step "fuzzing $target for $fuzz_seconds s"
    mkdir -p "build/fuzz/corpus/$target"
    # New inputs go to the first directory; tests/fuzz/corpus stays as it is.
    "$program" -max_total_time="$fuzz_seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -verbosity=1 -artifact_prefix="$found/$target-" "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
      >"$found/$target.log" 2>&1 || {
      tail -n 40 "$found/$target.log"
      fail "the target $target failed; the input is in $found/"
    }
    grep -E 'number_of_executed_units|new_units_added' "$found/$target.log"
  done
}

check_package() {
  scripts/build.sh release || exit
  install_packages dpkg-dev file
  rm -rf build/package
  cpack --config build/release/CPackConfig.cmake -B build/package
  local package
  for package in build/package/*.deb; do
    dpkg-deb --info "$package" | grep -E '^ (Package|Version|Depends):'
    dpkg-deb --contents "$package" | awk '$1 !~ /^d/ {print "  " $6}'
  done
}

check_readme() {
  scripts/build.sh release || exit
  scripts/readme.sh || exit
}

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  usage
  exit 0
fi
if [ "${1:-}" = --fuzz ]; then set -- fuzz "${@:2}"; fi
steps=("$@")
if [ "${#steps[@]}" -eq 0 ]; then steps=("${all_steps[@]}"); fi
for name in "${steps[@]}"; do
  [[ " ${all_steps[*]} ${more_steps[*]} " == *" $name "* ]] ||
    fail "unknown step \"$name\"; there are: ${all_steps[*]} ${more_steps[*]}"
done
for name in "${steps[@]}"; do
  step "check: $name"
  "check_$name"
done
echo "ok: ${steps[*]}"
