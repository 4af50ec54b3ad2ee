#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing and builds: scripts/build.sh [preset], by default release. The programs
# are then in build/<preset>/bin/.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

preset=${1:-release}
if [ "$#" -gt 1 ] || [[ "$preset" == -* ]]; then
  echo "usage: scripts/build.sh [release|dev|clang|asan|tsan]"
  [ "$preset" = --help ] && exit 0 || exit 2
fi

install_build_packages
if [ "$preset" = clang ]; then install_packages clang; fi
step "configuring build/$preset"
cmake --preset "$preset"
step "building build/$preset"
cmake --build --preset "$preset" --parallel "$(build_jobs)"
