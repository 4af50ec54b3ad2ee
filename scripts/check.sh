#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# All checks that are not tests of the release build: scripts/check.sh [STEP...], by default all of
# them. Each installs what it needs.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly all_steps=(format includes shell clang tidy asan tsan package readme)

usage() {
  cat <<'TEXT'
usage: scripts/check.sh [STEP...]
  format    clang-format changes nothing
  includes  lower folders do not include higher ones
  shell     shellcheck has nothing to say
  clang     builds with clang, thread-safety analysis included
  tidy      clang-tidy has nothing to say
  asan      the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
  tsan      the unit tests under ThreadSanitizer
  package   the Debian packages can be built
  readme    the commands of the README work
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

check_asan() { scripts/test.sh --preset asan --label unit || exit; }
check_tsan() { scripts/test.sh --preset tsan --label unit || exit; }

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
steps=("$@")
if [ "${#steps[@]}" -eq 0 ]; then steps=("${all_steps[@]}"); fi
for name in "${steps[@]}"; do
  [[ " ${all_steps[*]} " == *" $name "* ]] || fail "unknown step \"$name\"; there are: ${all_steps[*]}"
done
for name in "${steps[@]}"; do
  step "check: $name"
  "check_$name"
done
echo "ok: ${steps[*]}"
