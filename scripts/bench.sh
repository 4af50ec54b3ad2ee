#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds the release preset, measures it, and prints a table and the bars that
# it must reach; all figures go to build/release/bench.json. Arguments: scripts/bench.sh --help.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

arguments=("$@")
install_packages wrk python3
for argument in "${arguments[@]}"; do
  # Help needs no build.
  if [ "$argument" = --help ] || [ "$argument" = -h ]; then exec python3 tests/bench/bench.py --help; fi
done
scripts/build.sh release || exit # it has said why

step "measuring build/release"
exec python3 tests/bench/bench.py --bin-dir build/release/bin "${arguments[@]}"
