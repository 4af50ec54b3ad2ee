#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A cluster on this machine to play with: start it, break it, watch it heal. See usage() below.
#
# Each program has a pid file. A pid alone would not do: after a crash or a reboot it may belong to
# somebody else's process. So the file also holds the boot, the start time and the binary of the
# process, and only one that agrees in all of them is looked at, or sent a signal.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: scripts/cluster.sh COMMAND
  up [N]      start N nodes (default 3) and the proxy, those that do not run yet
  down        stop all of them: first asked to finish their work, killed after 12 s
  status      what runs, where, in which state, with how many messages
  running     nothing to see: succeeds if any of them runs
  logs [n]    the last lines of one log, or of all; with -f goes on showing new ones
  kill n      kill -9, as a crash does
  pause n     freeze it (SIGSTOP): it takes connections and never answers
  resume n    go on after pause
  start n     start it again after kill
  wipe n      delete the data of a node that does not run, as if its disk had been replaced
n is a node's number, from 0, or "proxy".

Environment:
  CHATCHAIN_BASE_PORT  port of the proxy, default 8080; node n has this + 1 + n
  CHATCHAIN_RUN_DIR    pid files, logs and data, default run/ in the repository
  CHATCHAIN_BIN_DIR    the programs, default build/release/bin/ in the repository
TEXT
}

readonly ready_timeout_s=20 drain_timeout_s=12
run_dir=$(absolute "${CHATCHAIN_RUN_DIR:-$repo_root/run}")
bin_dir=$(absolute "${CHATCHAIN_BIN_DIR:-$repo_root/build/release/bin}")
cluster_file=$run_dir/cluster # "SIZE BASE_PORT", written by `up`
boot_id=$(cat /proc/sys/kernel/random/boot_id)
size=0
base_port=8080

# ---- names: a program is called 0, 1, ... or proxy

label() { if [ "$1" = proxy ]; then echo proxy; else echo "node $1"; fi; }
file_stem() { if [ "$1" = proxy ]; then echo "$run_dir/proxy"; else echo "$run_dir/node-$1"; fi; }
pid_file() { echo "$(file_stem "$1").pid"; }
log_file() { echo "$(file_stem "$1").log"; }
data_dir() { echo "$run_dir/data/node-$1"; }
port_of() { if [ "$1" = proxy ]; then echo "$base_port"; else echo $((base_port + 1 + $1)); fi; }
address_of() { echo "127.0.0.1:$(port_of "$1")"; }

binary_of() {
  local name=chatchain-node
  if [ "$1" = proxy ]; then name=chatchain-client; fi
  [ -x "$bin_dir/$name" ] || fail "no program $bin_dir/$name: run scripts/build.sh first"
  realpath "$bin_dir/$name"
}

all_programs() {
  local i
  for ((i = 0; i < size; i++)); do echo "$i"; done
  echo proxy
}

# All nodes but $1 (none: all), as host:port,host:port
node_addresses() {
  local i list=""
  for ((i = 0; i < size; i++)); do
    if [ "$i" != "${1:-}" ]; then list+="${list:+,}$(address_of "$i")"; fi
  done
  echo "$list"
}

load_cluster() {
  [ -f "$cluster_file" ] || fail "no cluster in $run_dir yet: start one with scripts/cluster.sh up"
  read -r size base_port <"$cluster_file"
  [[ "$size" =~ ^[0-9]+$ && "$base_port" =~ ^[0-9]+$ ]] || fail "$cluster_file is damaged: delete it"
}

require_program() {
  [ -n "${1:-}" ] || fail "which one? a node's number, 0..$((size - 1)), or proxy"
  if [ "$1" = proxy ]; then return; fi
  [[ "$1" =~ ^(0|[1-9][0-9]{0,3})$ && "$1" -lt "$size" ]] ||
    fail "there is no node \"$1\": a node's number is 0..$((size - 1)), or proxy"
}

# ---- processes

# "STATE STARTTIME" of a pid; fails if there is none. The name in the second field may hold spaces
# and brackets, so count from the last bracket.
process_stat() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) }
  local fields
  read -ra fields <<<"$stat"
  echo "${fields[0]} ${fields[19]}"
}

# The pid of a program that runs (or is paused); fails if it does not, or if the pid file is stale.
running_pid() {
  local pid start boot binary state now exe
  read -r pid start boot binary 2>/dev/null <"$(pid_file "$1")" || return 1
  if [[ ! "$pid" =~ ^[0-9]+$ ]] || [ "$boot" != "$boot_id" ]; then return 1; fi
  read -r state now < <(process_stat "$pid") || return 1
  # A rebuilt binary leaves its old process with this mark behind the name.
  exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  if [ "$now" != "$start" ] || [ "${exe% (deleted)}" != "$binary" ] || [ "$state" = Z ]; then return 1; fi
  echo "$pid"
}

is_running() { running_pid "$1" >/dev/null; }

state_of() {
  local pid state
  pid=$(running_pid "$1") || { echo dead; return; }
  read -r state _ < <(process_stat "$pid") || { echo dead; return; }
  case $state in T | t) echo paused ;; *) echo running ;; esac
}

# Sends a signal to a program if it still is that program.
signal() {
  local pid
  pid=$(running_pid "$2") || return 1
  kill "-$1" "$pid" 2>/dev/null
}

# wait_until SECONDS COMMAND...: false if the command has not succeeded by then.
wait_until() {
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
  shift
  until "$@"; do
    if [ "${EPOCHREALTIME/[.,]/}" -ge "$end" ]; then return 1; fi
    sleep 0.05
  done
}

is_gone() { ! is_running "$1"; }
is_paused() { [ "$(state_of "$1")" = paused ]; }
is_not_paused() { ! is_paused "$1"; }

# Who listens where 127.0.0.1:PORT would, e.g. `python3 (pid 12)`; fails if nobody does.
port_holder() {
  local inode pid
  # 0A is LISTEN; the addresses are 127.0.0.1 and "any", as IPv4 and as IPv6.
  inode=$(awk -v port="$(printf '%04X' "$1")" \
    '$4 == "0A" && $2 ~ "^(0+|(0{16}FFFF0{4})?0100007F):" port "$" {print $10; exit}' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null) || true
  if [ -z "$inode" ]; then return 1; fi
  pid=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1 | cut -d/ -f3) || true
  if [ -n "$pid" ]; then echo "$(cat "/proc/$pid/comm") (pid $pid)"; else echo "another user's program"; fi
}

# ---- launching

# exec'd or gone: until then the process is still a copy of this shell.
has_exec() {
  local exe
  exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 0
  [ "$exe" = "$2" ]
}

require_free_port() {
  local holder
  if holder=$(port_holder "$(port_of "$1")"); then
    fail "$(label "$1") cannot start: $(address_of "$1") is in use by $holder"
  fi
}

# An interrupt must not come between the start of a program and the note of its pid.
launching=false
interrupted=0
on_interrupt() {
  interrupted=$1
  if ! "$launching"; then exit "$1"; fi
}

launch() {
  local name=$1 binary pid state start arguments
  binary=$(binary_of "$name")
  if [ "$name" = proxy ]; then
    arguments=(--listen "$(address_of proxy)" --nodes "$(node_addresses)")
  else
    arguments=(--node-id "$name" --peers "$(node_addresses "$name")" --data-dir "$(data_dir "$name")")
    # Elsewhere a node's address follows from its number.
    if [ "$base_port" -ne 8080 ]; then arguments+=(--listen "$(address_of "$name")"); fi
    mkdir -p "$run_dir/data"
  fi
  echo "--- $(date -u +%FT%TZ) ${binary##*/} ${arguments[*]}" >>"$(log_file "$name")"
  launching=true
  # A session of its own: neither Ctrl-C nor the end of this terminal reaches it. The lock stays here.
  setsid "$binary" "${arguments[@]}" </dev/null >>"$(log_file "$name")" 2>&1 9>&- &
  pid=$!
  # One that is dead by now has no start time; whatever its pid file says, it does not run.
  read -r state start < <(process_stat "$pid") || start=0
  echo "$pid $start $boot_id $binary" >"$(pid_file "$name").new"
  mv "$(pid_file "$name").new" "$(pid_file "$name")"
  if ! wait_until 5 has_exec "$pid" "$binary"; then
    kill -9 "$pid" || true
    fail "$(label "$name") did not start: $binary does not execute"
  fi
  launching=false
  if [ "$interrupted" -ne 0 ]; then exit "$interrupted"; fi
}

http() { curl --silent --noproxy '*' --max-time 2 "$@"; }
is_ready() { http --fail --output /dev/null "http://$(address_of "$1")/readyz"; }
is_ready_or_gone() { is_ready "$1" || is_gone "$1"; }

wait_ready() {
  wait_until "$ready_timeout_s" is_ready_or_gone "$1" ||
    fail "$(label "$1") is not ready after $ready_timeout_s s: see $(log_file "$1")"
  is_running "$1" ||
    fail "$(label "$1") did not start: $(tail -n 1 "$(log_file "$1")") (log: $(log_file "$1"))"
}

# ---- stopping, and starting, which stops again what does not come up

# Asks all of them to stop, waits together for all of them, and kills those that do not.
stop_programs() {
  local name asked=() deadline=$((SECONDS + drain_timeout_s))
  for name in "$@"; do
    # One that is paused cannot hear: wake it after it was asked.
    if signal TERM "$name"; then
      signal CONT "$name" || true
      asked+=("$name")
    fi
  done
  if [ "${#asked[@]}" -eq 0 ]; then echo "nothing runs"; fi
  for name in "${asked[@]}"; do
    if wait_until $((deadline > SECONDS ? deadline - SECONDS : 0)) is_gone "$name"; then
      echo "$(label "$name") stopped"
      continue
    fi
    signal KILL "$name" || true
    wait_until 5 is_gone "$name" || fail "$(label "$name") survives kill -9"
    echo "$(label "$name") did not stop within $drain_timeout_s s: killed"
  done
  for name in "$@"; do rm -f "$(pid_file "$name")"; done
}

launched=()
# What does not come up, or is interrupted on the way, leaves nothing running behind.
undo_start() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT ERR
  stop_programs "${launched[@]}" >&2 || true
  exit "$status"
}

# Starts those that do not run yet, all of them first, and then waits until each is ready.
start_programs() {
  local name absent=()
  for name in "$@"; do
    if is_running "$name"; then
      echo "$(label "$name") already runs ($(state_of "$name"))"
    else
      require_free_port "$name"
      absent+=("$name")
    fi
  done
  trap undo_start EXIT
  trap 'on_interrupt 130' INT
  trap 'on_interrupt 143' TERM HUP
  for name in "${absent[@]}"; do
    launched+=("$name")
    launch "$name"
  done
  for name in "${launched[@]}"; do
    wait_ready "$name"
    echo "$(label "$name") is ready on $(address_of "$name")"
  done
  trap - EXIT INT TERM HUP
}

# ---- commands

command_up() {
  local wanted=3 wanted_port=${CHATCHAIN_BASE_PORT:-8080} only_new=false argument name names old_size=0
  for argument in "$@"; do
    case $argument in
      # For run.sh, which stops at its end what it started, and nobody else's cluster.
      --new) only_new=true ;;
      *) wanted=$argument ;;
    esac
  done
  [[ "$wanted" =~ ^[1-9][0-9]?$ && "$wanted" -le 64 ]] || fail "N is 1..64, not \"$wanted\""
  if [ -f "$cluster_file" ]; then
    load_cluster
    old_size=$size
    for name in $(all_programs); do
      if ! is_running "$name"; then continue; fi
      if "$only_new"; then fail "$(label "$name") already runs here: scripts/cluster.sh down stops it"; fi
      if [ "$size" -ne "$wanted" ]; then
        fail "a cluster of $size runs here, and every node is told its peers at its start: first scripts/cluster.sh down"
      fi
      if [ "$base_port" -ne "${CHATCHAIN_BASE_PORT:-$base_port}" ]; then
        fail "a cluster runs here on port $base_port: first scripts/cluster.sh down"
      fi
      wanted_port=$base_port
    done
  fi
  size=$wanted
  base_port=$wanted_port
  [[ "$base_port" =~ ^[0-9]{1,5}$ && "$base_port" -ge 1 && $((base_port + size)) -le 65535 ]] ||
    fail "CHATCHAIN_BASE_PORT=$base_port: must be 1..$((65535 - size))"
  binary_of 0 >/dev/null
  binary_of proxy >/dev/null
  echo "$size $base_port" >"$cluster_file.new"
  mv "$cluster_file.new" "$cluster_file"

  mapfile -t names < <(all_programs)
  start_programs "${names[@]}"
  if [ "$old_size" -gt "$size" ]; then echo "the data of nodes $size..$((old_size - 1)) stays in $run_dir/data"; fi
}

command_down() {
  local names
  mapfile -t names < <(all_programs)
  stop_programs "${names[@]}"
}

command_status() {
  local name pid state ready messages body
  printf '%-8s %-8s %-8s %-16s %-12s %s\n' NAME PID STATE ADDRESS READY MESSAGES
  for name in $(all_programs); do
    pid=$(running_pid "$name") || pid=-
    state=$(state_of "$name")
    ready=- messages=-
    if [ "$state" = running ]; then
      body=$(http "http://$(address_of "$name")/readyz") || body=""
      ready=$(jq -er .state <<<"$body" 2>/dev/null) || ready="no answer"
      if [ "$name" != proxy ]; then
        body=$(http "http://$(address_of "$name")/nodes") || body=""
        messages=$(jq -er .self.messages <<<"$body" 2>/dev/null) || messages=-
      fi
    fi
    printf '%-8s %-8s %-8s %-16s %-12s %s\n' "$(label "$name")" "$pid" "$state" \
      "$(address_of "$name")" "$ready" "$messages"
  done
}

command_running() {
  local name
  for name in $(all_programs); do
    if is_running "$name"; then return; fi
  done
  exit 1
}

command_logs() {
  local name names=() options=(-n 50)
  for name in "$@"; do
    case $name in
      -f) options+=(-F) ;;
      *) require_program "$name" && names+=("$name") ;;
    esac
  done
  if [ "${#names[@]}" -eq 0 ]; then mapfile -t names < <(all_programs); fi
  local files=()
  for name in "${names[@]}"; do
    if [ -f "$(log_file "$name")" ]; then files+=("$(log_file "$name")"); fi
  done
  [ "${#files[@]}" -gt 0 ] || fail "no log yet"
  tail "${options[@]}" "${files[@]}"
}

command_kill() {
  signal KILL "$1" || fail "$(label "$1") does not run"
  wait_until 5 is_gone "$1" || fail "$(label "$1") survives kill -9"
  rm -f "$(pid_file "$1")"
  echo "$(label "$1") is dead"
}

command_pause() {
  signal STOP "$1" || fail "$(label "$1") does not run"
  wait_until 5 is_paused "$1" || fail "$(label "$1") does not pause"
  echo "$(label "$1") is paused: it takes connections and does not answer"
}

command_resume() {
  signal CONT "$1" || fail "$(label "$1") does not run"
  wait_until 5 is_not_paused "$1" || fail "$(label "$1") stays paused"
  echo "$(label "$1") goes on"
}

command_wipe() {
  [ "$1" != proxy ] || fail "the proxy keeps no data"
  if is_running "$1"; then fail "node $1 runs: first scripts/cluster.sh kill $1"; fi
  rm -rf "$(data_dir "$1")"
  echo "the data of node $1 is gone; scripts/cluster.sh start $1 begins with an empty node"
}

main() {
  local command=${1:-} tool
  if [ "$#" -gt 0 ]; then shift; fi
  current_step="cluster.sh $command"
  case $command in
    up | down | status | running | logs | kill | pause | resume | start | wipe) ;;
    -h | --help | help) usage; exit 0 ;;
    *) usage >&2; fail "unknown command \"$command\"" ;;
  esac
  for tool in curl jq; do
    command -v "$tool" >/dev/null || fail "needs $tool: apt-get install $tool"
  done
  mkdir -p "$run_dir"
  if [ "$command" != up ]; then load_cluster; fi
  case $command in
    status | running | logs) ;;
    *)
      exec 9>"$run_dir/lock"
      flock --timeout 60 9 || fail "another scripts/cluster.sh is at work in $run_dir"
      ;;
  esac
  case $command in
    up | down | status | running | logs) "command_$command" "$@" ;;
    start) require_program "${1:-}" && start_programs "$1" ;;
    *) require_program "${1:-}" && "command_$command" "$1" ;;
  esac
}

main "$@"
