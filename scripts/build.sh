#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing and builds: scripts/build.sh [preset [target...]], by default release and
# all that the preset has. The programs are then in build/<preset>/bin/.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

preset=${1:-release}
if [[ "$preset" == -* ]]; then
  echo "usage: scripts/build.sh [release|dev|clang|asan|tsan|fuzz [TARGET...]]"
  [ "$preset" = --help ] && exit 0 || exit 2
fi
targets=()
if [ "$#" -gt 1 ]; then targets=(--target "${@:2}"); fi

install_build_packages
if [ "$preset" = clang ] || [ "$preset" = fuzz ]; then install_packages clang; fi
step "configuring build/$preset"
cmake --preset "$preset"
step "building build/$preset"
cmake --build --preset "$preset" --parallel "$(build_jobs)" "${targets[@]}"
