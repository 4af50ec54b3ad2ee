#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Tests of the chat page in client/web/.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/check_page.sh modules | browser BIN_DIR PICTURES_DIR [CASE]
  modules   the page's modules without a browser, by the test runner of Node
  browser   the page in Debian's Chromium, driven by playwright-core from npm (kept in
            build/npm-browser), with the programs in BIN_DIR; pictures go to PICTURES_DIR; CASE is
            part of the name of the cases to run
Exits with 77, saying what is missing, where it cannot run. scripts/test.sh installs all it needs.
TEXT
}

readonly skipped=77 least_node_version=18.17.0
npm_dir=build/npm-browser

skip() {
  echo "skipped: $*"
  exit "$skipped"
}

need_node() {
  command -v node >/dev/null || skip "no node here (apt-get install nodejs)"
  local version
  version=$(node -p process.versions.node)
  printf '%s\n' "$least_node_version" "$version" | sort --check=quiet --version-sort ||
    skip "node $version is older than $least_node_version"
}

# What is installed follows from these two files alone. Playwright's own browsers are not downloaded:
# playwright-core has no install script, and none would be run.
wanted() { cat tests/web/browser/package.json tests/web/browser/package-lock.json | sha256sum; }

install_tools() {
  command -v npm >/dev/null || skip "no npm here (apt-get install npm)"
  mkdir -p "$npm_dir"
  exec 9>"$npm_dir/lock"
  flock 9
  if [ "$(cat "$npm_dir/installed" 2>/dev/null)" != "$(wanted)" ]; then
    cp tests/web/browser/package.json tests/web/browser/package-lock.json "$npm_dir/"
    npm --prefix "$npm_dir" ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
      skip "npm could not install the packages of tests/web/browser/package.json (no network?)"
    wanted >"$npm_dir/installed"
  fi
  exec 9>&-
}

case "${1:-} $#" in
  "-h 1" | "--help 1") usage ;;
  "modules 1")
    need_node
    exec node --test tests/web/unit/*.test.mjs
    ;;
  "browser 3" | "browser 4")
    bin_dir=$(absolute "$2")
    pictures_dir=$(absolute "$3")
    need_node
    browser=$(command -v chromium) || skip "no Chromium here (apt-get install chromium)"
    install_tools
    NODE_PATH="$repo_root/$npm_dir/node_modules" exec node tests/web/browser/page_test.js \
      "$browser" "$bin_dir" "$pictures_dir" "${4:-}"
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
