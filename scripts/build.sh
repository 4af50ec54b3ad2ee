#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing and builds: scripts/build.sh [preset [target...]], by default all of
# release. The programs are then in build/<preset>/bin/.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

preset=${1:-release}
if [[ "$preset" == -* ]]; then
  echo "usage: scripts/build.sh [release|dev|clang|asan|tsan|fuzz [target...]]"
  [ "$preset" = --help ] && exit 0 || exit 2
fi
targets=("${@:2}")

install_build_packages
if [ "$preset" = clang ] || [ "$preset" = fuzz ]; then install_packages clang; fi
# Two builds in one folder would read each other's half-written files.
mkdir -p "build/$preset"
exec {build_lock}>"build/$preset/.lock"
if ! flock --nonblock "$build_lock"; then
  step "waiting for another build of build/$preset"
  flock "$build_lock"
fi
step "configuring build/$preset"
cmake --preset "$preset"
step "building build/$preset"
cmake --build --preset "$preset" --parallel "$(build_jobs)" ${targets[@]:+--target "${targets[@]}"}
