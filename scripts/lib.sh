# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the scripts share; sourced, never run. A script that sources it runs in the repository's root
# and ends with one line `error: ...` if any of its commands fails.

set -Eeuo pipefail
caller_dir=$PWD
repo_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # for the scripts that source this
readonly caller_dir repo_root
cd "$repo_root"

current_step="${0##*/}"
main_bash_pid=$BASHPID

# A subshell that failed and said why; the shell around it only passes it on.
readonly already_told=97

# A command failed that nobody took care of: say which one, once, and not again in each subshell.
on_error() {
  local status=$1 line=$2 command=$3
  if [ "$status" -eq "$already_told" ]; then
    if [ "$BASHPID" = "$main_bash_pid" ]; then exit 1; fi
  elif [ "$BASHPID" = "$main_bash_pid" ]; then
    echo "error: $current_step: failed with status $status at ${0##*/}:$line: ${command%%$'\n'*}" >&2
  fi
  exit "$status"
}
trap 'on_error $? $LINENO "$BASH_COMMAND"' ERR

step() {
  current_step=$*
  echo "==> $*"
}

fail() {
  echo "error: $*" >&2
  if [ "$BASHPID" != "$main_bash_pid" ]; then exit "$already_told"; fi
  exit 1
}

# A caller's relative path, as an absolute one.
absolute() {
  case $1 in
    /*) echo "$1" ;;
    *) echo "$caller_dir/$1" ;;
  esac
}

# Compilers of this code take up to 1 GiB each: no more of them than processors or memory allow.
build_jobs() {
  local jobs available_gib
  jobs=$(nproc)
  available_gib=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
  if [ "$available_gib" -lt "$jobs" ]; then jobs=$available_gib; fi
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  echo "$jobs"
}

is_installed() {
  dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Installs the Debian packages named that are missing. Needs neither root nor network if none is.
install_packages() {
  local package missing=() as_root=()
  command -v dpkg-query >/dev/null || fail "this needs Debian 12 (no dpkg-query here); for other systems see scripts/packages.txt"
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ "${#missing[@]}" -eq 0 ]; then return; fi

  step "installing ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "not root, and no sudo: as root, run apt-get install ${missing[*]}"
    echo "    with sudo, because this is not root; it may ask for your password"
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  "${as_root[@]}" "${apt[@]}" update || fail "apt-get update failed: see above (is there a network?)"
  "${as_root[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]}: see above"
}

# The packages for building, running and testing.
install_build_packages() {
  local packages
  mapfile -t packages < <(grep -v '^#' scripts/packages.txt)
  install_packages "${packages[@]}"
}

# The packages that only tests need.
install_test_packages() {
  local packages
  mapfile -t packages < <(grep -v '^#' scripts/packages-test.txt)
  # Debian's own would clash with a Node from elsewhere.
  command -v node >/dev/null || packages+=(nodejs)
  command -v npm >/dev/null || packages+=(npm)
  install_packages "${packages[@]}"
}
