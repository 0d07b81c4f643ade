#compdef awa-agent
# zsh completion for awa-agent, made from its command line

_awa-agent() {
    local curcontext="$curcontext" state line
    local -A opt_args
    local -a commands=(
        'run:Run the agent of this server'
        'key:Make the key of a cluster, and what is derived from it'
        'node:Read and edit the node list'
        'cluster:Name the cluster'
        'changes:Show who changed the node list, and when'
        'events:Show what happened to the nodes, as the agent asked saw it'
        'backup:Save the node list of a running agent to a file'
        'restore:Begin again with the node list of a backup, on a stopped agent'
        'recover:Make a stopped agent the only voter of a new history, when most voters are lost for good'
    )
    _arguments -s -S -C \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            curcontext="${curcontext%:*}-$line[1]:"
            case $line[1] in
                run) _awa-agent_run ;;
                key) _awa-agent_key ;;
                node) _awa-agent_node ;;
                cluster) _awa-agent_cluster ;;
                changes) _awa-agent_changes ;;
                events) _awa-agent_events ;;
                backup) _awa-agent_backup ;;
                restore) _awa-agent_restore ;;
                recover) _awa-agent_recover ;;
            esac ;;
    esac
}

_awa-agent_run() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '--config=[Configuration file]:FILE:_files' \
        '--my-name=[Name of this node]:NAME: ' \
        '--my-host=[DNS name or IP address under which others reach this node]:HOST:_hosts' \
        '--my-port=[Port under which others reach this node]:PORT: ' \
        '--ephemeral=[Have this node removed from the list once it has been offline for so long, such as 72h, for servers that come and go]:TIME: ' \
        '--listen=[Address to listen on]:ADDR[\:PORT]: ' \
        '--data-dir=[Folder of the node list (/var/lib/are-we-alive)]:DIR:_files -/' \
        '--first[Begin a new cluster with this node, unless the data folder holds a list]' \
        '--cluster-name=[Name of the cluster, if it has none yet]:NAME: ' \
        '*--join=[Agents of the cluster to join]:HOST[\:PORT]:_hosts' \
        '--take-over[Replace the agent that holds this node'\''s name or entry at once]' \
        '--insecure[Without a key, allow listening on other addresses than loopback]' \
        '--watch=[Time between sweeps in the background (5s)]:TIME: ' \
        '--ping-timeout=[How long a node may take to answer (1s)]:TIME: ' \
        '--web=[Address of a second port over plain HTTP, where whoever reaches it can read]:ADDR[\:PORT]: ' \
        '--web-nodes=[Of which nodes /metrics has metrics of their own]:all|own|none:(all own none)' \
        '--on-event=[Program that is run when something happened, with the events as JSON on its standard input]:PROGRAM: ' \
        '--log-format=[Format of the log on stderr]:text|json:(text json)' \
        '--log-level=[What is logged]:debug|info|warn|error:(debug info warn error)' \
        '*--label=[Label of this node]:K=V: '
}

_awa-agent_key() {
    local curcontext="$curcontext" state line
    local -A opt_args
    local -a commands=(
        'new:Make the key of a cluster'
        'check:Derive the check key, which can only read, for monitoring hosts'
        'cert:Make a certificate as PEM files, for curl, Prometheus and the like'
    )
    _arguments -s -S -C \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            curcontext="${curcontext%:*}-$line[1]:"
            case $line[1] in
                new) _awa-agent_key_new ;;
                check) _awa-agent_key_check ;;
                cert) _awa-agent_key_cert ;;
            esac ;;
    esac
}

_awa-agent_key_new() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '1::FILE:_files'
}

_awa-agent_key_check() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '1::FILE:_files'
}

_awa-agent_key_cert() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '--role=[What its holder may do]:ROLE:(check member)' \
        '--out=[Folder for cert.pem, key.pem and ca.pem, none of which may exist]:DIR:_files -/'
}

_awa-agent_node() {
    local curcontext="$curcontext" state line
    local -A opt_args
    local -a commands=(
        'list:Show the node list'
        'add:Add a node'
        'set:Change a node'
        'remove:Remove nodes from the list'
        'maintain:Put nodes under maintenance for a time'
    )
    _arguments -s -S -C \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            curcontext="${curcontext%:*}-$line[1]:"
            case $line[1] in
                list) _awa-agent_node_list ;;
                add) _awa-agent_node_add ;;
                set) _awa-agent_node_set ;;
                remove) _awa-agent_node_remove ;;
                maintain) _awa-agent_node_maintain ;;
            esac ;;
    esac
}

_awa-agent_node_list() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)'
}

_awa-agent_node_add() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '*--label=[Label of the node]:K=V: ' \
        '1::NAME:( )' \
        '2::HOST:_hosts' \
        '3::PORT:( )'
}

_awa-agent_node_set() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '--name=[New name]:NAME: ' \
        '--host=[New DNS name or IP address]:HOST:_hosts' \
        '--port=[New port]:PORT: ' \
        '*--label=[Label to set]:K=V: ' \
        '--ephemeral=[Have the node removed once it has been offline for so long, such as 72h]:TIME: ' \
        '1::NAME:{compadd -- $(timeout 2 awa-agent node list 2>/dev/null | awk '\''$1 ~ /^[0-9]+$/ { print $2 }'\'')}'
}

_awa-agent_node_remove() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '*--label=[Nodes with this label instead of names]:K=V: ' \
        '*:NAME:{compadd -- $(timeout 2 awa-agent node list 2>/dev/null | awk '\''$1 ~ /^[0-9]+$/ { print $2 }'\'')}'
}

_awa-agent_node_maintain() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '*--label=[Nodes with this label instead of names]:K=V: ' \
        '--for=[How long from now, such as 30m or 2h]:TIME: ' \
        '--reason=[Why, for those who see the node under maintenance]:TEXT: ' \
        '--off[End it now]' \
        '*:NAME:{compadd -- $(timeout 2 awa-agent node list 2>/dev/null | awk '\''$1 ~ /^[0-9]+$/ { print $2 }'\'')}'
}

_awa-agent_cluster() {
    local curcontext="$curcontext" state line
    local -A opt_args
    local -a commands=(
        'name:Show or change the name of the cluster'
    )
    _arguments -s -S -C \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            curcontext="${curcontext%:*}-$line[1]:"
            case $line[1] in
                name) _awa-agent_cluster_name ;;
            esac ;;
    esac
}

_awa-agent_cluster_name() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '1::NAME:( )'
}

_awa-agent_changes() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '--since=[Only the changes after the one with this id]:N: ' \
        '(-f --follow)'{-f,--follow}'[Wait for further changes, until interrupted]'
}

_awa-agent_events() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-o --output)'{-o+,--output=}'[Form of the answer]:table|json:(table json)' \
        '*--node=[Only what happened to the node of this name]:NAME:{compadd -- $(timeout 2 awa-agent node list 2>/dev/null | awk '\''$1 ~ /^[0-9]+$/ { print $2 }'\'')}' \
        '--since=[Only what happened since then]:TIME: ' \
        '(-f --follow)'{-f,--follow}'[Wait for further events, until interrupted]' \
        '--availability[Show for which share of the time each node was online over 24 hours, 7 days and 30 days]'
}

_awa-agent_backup() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '*--agent=[Agent to ask]:HOST[\:PORT]:_hosts' \
        '1::FILE:_files'
}

_awa-agent_restore() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '--data-dir=[Empty data folder of a stopped agent (/var/lib/are-we-alive)]:DIR:_files -/' \
        '1::FILE:_files'
}

_awa-agent_recover() {
    _arguments -s -S \
        '(-h --help)'{-h,--help}'[Show context-sensitive help]' \
        '(-V --version)'{-V,--version}'[Show the version]' \
        '--key-file=[The cluster'\''s key file]:FILE:_files' \
        '--data-dir=[Data folder of a stopped agent (/var/lib/are-we-alive)]:DIR:_files -/' \
        '--force[Begin a new history although a majority of the voters answers, or another agent holds a longer list]'
}

_awa-agent "$@"
