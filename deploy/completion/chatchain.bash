# bash completion for chatchain, chatchain-node and chatchain-client.            -*- shell-script -*-
# SPDX-License-Identifier: MIT

# _chatchain_words WORDS: what of WORDS begins as the word under the cursor does.
_chatchain_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}

_chatchain_files() {
  mapfile -t COMPREPLY < <(compgen "$1" -- "${COMP_WORDS[COMP_CWORD]}")
  compopt -o filenames 2>/dev/null
}

_chatchain() {
  local common='--json --url --timeout --help -h'
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    _chatchain_words 'send history tail network --help -h --version'
    return
  fi
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    --acks) _chatchain_words 'majority all 1 2 3' && return ;;
    --order) _chatchain_words 'latest asc desc' && return ;;
    --after) _chatchain_words 'begin' && return ;;
    --state) _chatchain_files -f && return ;;
    --from | --to | --room | --participant | --since | --until | --limit | --last | -n | --cursor | --key | \
      --timestamp | --url | --timeout) return ;;
  esac
  case ${COMP_WORDS[COMP_CWORD]} in
    -*) ;;
    *) return ;;
  esac
  case ${COMP_WORDS[1]} in
    send) _chatchain_words "--from --to --room --key --timestamp --acks $common" ;;
    history)
      _chatchain_words "--from --to --room --participant --since --until --limit -n --order --cursor --show-cursor $common"
      ;;
    tail)
      _chatchain_words "--from --to --room --participant --since --until --last -n --after --limit --state $common"
      ;;
    network) _chatchain_words "$common" ;;
  esac
}

# What both servers have.
_chatchain_server() {
  COMPREPLY=()
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    --config | --backup | --restore) _chatchain_files -f && return ;;
    --data-dir) _chatchain_files -d && return ;;
    --log-level) _chatchain_words 'trace debug info warn error off' && return ;;
    --node-id | --peers | --nodes | --listen | --sync-interval-ms | --against) return ;;
  esac
  _chatchain_words "$1 --listen --log-level --config --check-config --print-config --version --help"
}

_chatchain_node() {
  _chatchain_server '--node-id --peers --data-dir --sync-interval-ms --verify --against --backup --restore'
}
_chatchain_client() { _chatchain_server '--nodes'; }

complete -F _chatchain chatchain
complete -F _chatchain_node chatchain-node
complete -F _chatchain_client chatchain-client
