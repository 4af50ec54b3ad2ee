# fish completion for chatchain, chatchain-node and chatchain-client.
# SPDX-License-Identifier: MIT
set -l commands send history tail network
complete -c chatchain -f
complete -c chatchain -n "not __fish_seen_subcommand_from $commands" -l version -d 'Print name and version'
complete -c chatchain -s h -l help -d 'Print the options'
complete -c chatchain -n "not __fish_seen_subcommand_from $commands" -a send -d 'Send one message'
complete -c chatchain -n "not __fish_seen_subcommand_from $commands" -a history -d 'Print messages'
complete -c chatchain -n "not __fish_seen_subcommand_from $commands" -a tail -d 'Follow messages as they come'
complete -c chatchain -n "not __fish_seen_subcommand_from $commands" -a network -d 'Print the nodes and their state'

complete -c chatchain -n "__fish_seen_subcommand_from $commands" -l json -d 'Print JSON, one object a line'
complete -c chatchain -n "__fish_seen_subcommand_from $commands" -l url -x -d 'The proxy, or a node'
complete -c chatchain -n "__fish_seen_subcommand_from $commands" -l timeout -x -d 'How long to try, in seconds'

set -l messages "__fish_seen_subcommand_from send history tail"
complete -c chatchain -n $messages -l from -x -d 'The sender'
complete -c chatchain -n $messages -l to -x -d 'The recipient'
complete -c chatchain -n $messages -l room -x -d 'The room'

complete -c chatchain -n "__fish_seen_subcommand_from send" -l key -x -d 'The idempotency key'
complete -c chatchain -n "__fish_seen_subcommand_from send" -l timestamp -x -d 'The time that the sender gives, Unix seconds'
complete -c chatchain -n "__fish_seen_subcommand_from send" -l acks -x -a 'majority all 1 2 3' -d 'How many nodes must hold it'

set -l read "__fish_seen_subcommand_from history tail"
complete -c chatchain -n $read -l participant -x -d 'Only messages from or to this name'
complete -c chatchain -n $read -l since -x -d 'Only messages accepted then or later'
complete -c chatchain -n $read -l until -x -d 'Only messages accepted before'

complete -c chatchain -n "__fish_seen_subcommand_from history" -s n -l limit -x -a all -d 'At most so many messages'
complete -c chatchain -n "__fish_seen_subcommand_from history" -l order -x -a 'latest asc desc' -d 'The order'
complete -c chatchain -n "__fish_seen_subcommand_from history" -l cursor -x -d 'Go on there'
complete -c chatchain -n "__fish_seen_subcommand_from history" -l show-cursor -d 'Tell where to go on'

complete -c chatchain -n "__fish_seen_subcommand_from tail" -s n -l last -x -d 'Begin with so many messages'
complete -c chatchain -n "__fish_seen_subcommand_from tail" -l after -x -a begin -d 'Go on after this position'
complete -c chatchain -n "__fish_seen_subcommand_from tail" -l limit -x -d 'End after so many messages'
complete -c chatchain -n "__fish_seen_subcommand_from tail" -l state -r -F -d 'Keep in this file how far it came'

for program in chatchain-node chatchain-client
    complete -c $program -f
    complete -c $program -l listen -x -d 'Where to serve, HOST:PORT'
    complete -c $program -l log-level -x -a 'trace debug info warn error off' -d 'The least severe kind of line'
    complete -c $program -l config -r -F -d 'The configuration file'
    complete -c $program -l check-config -d 'Check the configuration, and exit'
    complete -c $program -l print-config -d 'Print every key at its default, and exit'
    complete -c $program -l version -d 'Print name and version'
    complete -c $program -l help -d 'Print the options'
end
complete -c chatchain-node -l node-id -x -d 'The name of this node'
complete -c chatchain-node -l peers -x -d 'All other nodes, HOST:PORT,...'
complete -c chatchain-node -l data-dir -x -a '(__fish_complete_directories)' -d 'Where the database lies'
complete -c chatchain-node -l sync-interval-ms -x -d 'How often each peer is asked, in milliseconds'
complete -c chatchain-node -l verify -d 'Check the data directory, and exit'
complete -c chatchain-node -l against -x -d 'With --verify: compare with a running node'
complete -c chatchain-node -l backup -r -F -d 'Copy the database to a new file, and exit'
complete -c chatchain-node -l restore -r -F -d 'Make a backup the database, and exit'
complete -c chatchain-client -l nodes -x -d 'All nodes of the cluster, HOST:PORT,...'
