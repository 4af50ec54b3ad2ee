#compdef chatchain chatchain-node chatchain-client
# SPDX-License-Identifier: MIT
local -a common read server commands
common=(
  '--json[print JSON, one object a line]'
  '--url[the proxy, or a node]:URL:'
  '--timeout[how long to try]:seconds:'
  '(-h --help)'{-h,--help}'[print the options]'
)
read=(
  '--from[only messages of this sender]:name:'
  '--to[only messages to this recipient]:name:'
  '--room[only messages to this room]:name:'
  '*--participant[only messages from or to this name]:name:'
  '--since[only messages accepted then or later]:time:'
  '--until[only messages accepted before]:time:'
)
server=(
  '--listen[where to serve]:HOST\:PORT:'
  '--log-level[the least severe kind of line]:level:(trace debug info warn error off)'
  '--config[the configuration file]:file:_files'
  '--check-config[check the configuration, and exit]'
  '--print-config[print every key at its default, and exit]'
  '--version[print name and version]'
  '--help[print the options]'
)
commands=(
  'send:send one message'
  'history:print messages'
  'tail:follow messages as they come'
  'network:print the nodes and their state'
)

case $service in
  chatchain-node)
    _arguments $server \
      '--node-id[the name of this node]:id:' \
      '--peers[all other nodes]:HOST\:PORT,...:' \
      '--data-dir[where the database lies]:folder:_files -/' \
      '--sync-interval-ms[how often each peer is asked]:milliseconds:' \
      '--verify[check the data directory, and exit]' \
      '--against[compare with a running node]:URL:' \
      '--backup[copy the database to a new file, and exit]:file:_files' \
      '--restore[make a backup the database, and exit]:file:_files'
    return
    ;;
  chatchain-client)
    _arguments $server \
      '--nodes[all nodes of the cluster]:HOST\:PORT,...:'
    return
    ;;
esac

if (( CURRENT == 2 )); then
  _describe command commands
  _arguments '(-h --help)'{-h,--help}'[print the commands]' '--version[print name and version]'
  return
fi
shift words
(( CURRENT-- ))
case $words[1] in
  send)
    _arguments $common \
      '--from[who sends]:name:' \
      '--to[who is to have it]:name:' \
      '--room[the room that it goes to]:name:' \
      '--key[the idempotency key]:key:' \
      '--timestamp[the time that the sender gives]:Unix seconds:' \
      '--acks[how many nodes must hold it]:nodes:(majority all 1 2 3)' \
      '*:text:'
    ;;
  history)
    _arguments $common $read \
      '(-n --limit)'{-n,--limit}'[at most so many messages]:number:(all)' \
      '--order[the order]:order:(latest asc desc)' \
      '--cursor[go on there]:token:' \
      '--show-cursor[tell where to go on]'
    ;;
  tail)
    _arguments $common $read \
      '(-n --last)'{-n,--last}'[begin with so many messages]:number:' \
      '--after[go on after this position]:token:(begin)' \
      '--limit[end after so many messages]:number:' \
      '--state[keep in this file how far it came]:file:_files'
    ;;
  network)
    _arguments $common
    ;;
esac
