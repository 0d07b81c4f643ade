#compdef check_awa
# zsh completion for check_awa, made from its command line

_check_awa() {
    _arguments -s -S \
        '*'{-H+,--hostname=}'[Agent to ask]:HOST[\:PORT]:_hosts' \
        '(-p --port)'{-p+,--port=}'[Port of an agent given without one]:PORT: ' \
        '(-t --timeout)'{-t+,--timeout=}'[The plugin has ended by then]:SECONDS: ' \
        '(-k --key-file)'{-k+,--key-file=}'[Check key or cluster key]:FILE:_files' \
        '(-w --warning)'{-w+,--warning=}'[WARNING when the number of nodes not alive (offline or a mismatch) is outside this range, such as 1 or 10%]:RANGE: ' \
        '(-c --critical)'{-c+,--critical=}'[CRITICAL when that number is outside this one]:RANGE: ' \
        '--unreachable-warning=[WARNING for the number of nodes that only other agents reach]:RANGE: ' \
        '--unreachable-critical=[CRITICAL for the same number]:RANGE: ' \
        '--behind-warning=[WARNING for the largest number of changes that the list of an online node lacks]:RANGE: ' \
        '--behind-critical=[CRITICAL for the same number]:RANGE: ' \
        '--skew-warning=[WARNING for the largest clock skew of an online node, in seconds]:RANGE: ' \
        '--skew-critical=[CRITICAL for the same skew]:RANGE: ' \
        '--rtt-warning=[WARNING for the longest round trip to an online node, in seconds]:RANGE: ' \
        '--rtt-critical=[CRITICAL for the same time]:RANGE: ' \
        '--no-majority-state=[State when fewer than a majority of the voters are alive, so that nobody can edit the list]:STATE:(ok warning critical unknown)' \
        '--stopped-state=[State when nodes are offline whose agents said that they were being stopped, and nothing worse holds]:STATE: ' \
        '*--health=[State when a health code holds, such as LAST_MAJORITY=warning]:CODE=STATE: ' \
        '--no-answer-state=[State when no agent answers]:STATE:(ok warning critical unknown)' \
        '--timeout-state=[State when no agent answers and the time was over for one of them]:STATE:(ok warning critical unknown)' \
        '*--node=[Only this node, as a host check does it]:NAME:{compadd -- $(timeout 2 awa-agent node list 2>/dev/null | awk '\''$1 ~ /^[0-9]+$/ { print $2 }'\'')}' \
        '*--label=[Only nodes with this label]:KEY=VALUE: ' \
        '*--exclude=[No nodes whose name matches, such as test*]:GLOB: ' \
        '(-o --output)'{-o+,--output=}'[nagios, table, influx, json or names]:FORMAT:(nagios table influx json names)' \
        '--perfdata=[cluster, or nodes for the round trip of each node as well, on later lines]:WHICH:(cluster nodes)' \
        '--problems[Only the nodes that are a problem, in the table and as names]' \
        '--sort=[problems, name, rtt or since]:ORDER:(problems name rtt since)' \
        '--color=[auto, always or never]:WHEN:(auto always never)' \
        '--mesh[Add who does not see whom, as all agents that answer report it]' \
        '--watch[Show the table in place, and look again every 2 s, or as often as --watch=SECONDS says, until q or Ctrl-C]' \
        '--wait=[Look again until the result is OK, for at most this time, such as 5m or 300]:TIME: ' \
        '*'{-v,--verbose}'[Add the table of all nodes to the plugin'\''s line]' \
        '(-V --version)'{-V,--version}'[Print the version]' \
        '(-h --help)'{-h,--help}'[Print this]'
}

_check_awa "$@"
