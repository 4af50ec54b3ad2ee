#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks docs/openapi.yaml with tools from npm, kept in build/npm: nothing is installed globally.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/check_openapi.sh lint | proxy BIN_DIR
  lint           is the document valid, complete in itself, and do its examples fit it?
  proxy BIN_DIR  do the programs in BIN_DIR answer as documented? Sends requests to a node and to
                 the proxy through a validating proxy.
Exits with 77, saying why, where npm or its packages cannot be had.
TEXT
}

readonly skipped=77 least_node_version=18.17.0
npm_dir=build/npm

skip() {
  echo "skipped: $*"
  exit "$skipped"
}

# What is installed follows from these two files alone; the lock names exact versions with their hashes.
wanted() { cat tests/openapi/package.json tests/openapi/package-lock.json | sha256sum; }
is_current() { [ "$(cat "$npm_dir/installed" 2>/dev/null)" = "$(wanted)" ]; }

install_tools() {
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    skip "no npm here (apt-get install npm)"
  fi
  local version
  version=$(node -p process.versions.node)
  printf '%s\n' "$least_node_version" "$version" | sort --check=quiet --version-sort ||
    skip "node $version is older than $least_node_version"
  mkdir -p "$npm_dir"
  exec 9>"$npm_dir/lock"
  flock 9 # two tests may come here at once
  if ! is_current; then
    step "installing the npm tools into $npm_dir"
    cp tests/openapi/package.json tests/openapi/package-lock.json "$npm_dir/"
    if ! npm --prefix "$npm_dir" ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
      skip "npm could not install the packages of tests/openapi/package.json (no network?)"
    fi
    wanted >"$npm_dir/installed"
  fi
  exec 9>&-
}

lint() {
  step "linting docs/openapi.yaml"
  REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
    "$npm_dir/node_modules/.bin/redocly" lint --config tests/openapi/redocly.yaml docs/openapi.yaml
}

case "${1:-} $#" in
  "-h 1" | "--help 1") usage ;;
  "lint 1")
    install_tools
    lint
    ;;
  "proxy 2")
    bin_dir=$(absolute "$2")
    install_tools
    step "answers of the programs in $2, as docs/openapi.yaml has them"
    python3 tests/openapi/prism_test.py --bin-dir "$bin_dir" --prism "$npm_dir/node_modules/.bin/prism"
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
