# bash completion for check_awa, made from its command line
_check_awa() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # bash makes words of the = and the : in --flag=value and HOST:PORT.
    if [[ $prev == : || $cur == : ]]; then
        return
    elif [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi

    case $prev in
        -H|--hostname)
            mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
            return ;;
        -p|--port|-t|--timeout|-w|--warning|-c|--critical|--unreachable-warning|--unreachable-critical|--behind-warning|--behind-critical|--skew-warning|--skew-critical|--rtt-warning|--rtt-critical|--stopped-state|--health|--label|--exclude|--wait)
            return ;;
        -k|--key-file)
            compopt -o default
            return ;;
        --no-majority-state|--no-answer-state|--timeout-state)
            mapfile -t COMPREPLY < <(compgen -W 'ok warning critical unknown' -- "$cur")
            return ;;
        --node)
            mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }')" -- "$cur")
            return ;;
        -o|--output)
            mapfile -t COMPREPLY < <(compgen -W 'nagios table influx json names' -- "$cur")
            return ;;
        --perfdata)
            mapfile -t COMPREPLY < <(compgen -W 'cluster nodes' -- "$cur")
            return ;;
        --sort)
            mapfile -t COMPREPLY < <(compgen -W 'problems name rtt since' -- "$cur")
            return ;;
        --color)
            mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$cur")
            return ;;
    esac

    local words=''
    if [[ $cur == -* ]]; then
        words='-H --hostname -p --port -t --timeout -k --key-file -w --warning -c --critical --unreachable-warning --unreachable-critical --behind-warning --behind-critical --skew-warning --skew-critical --rtt-warning --rtt-critical --no-majority-state --stopped-state --health --no-answer-state --timeout-state --node --label --exclude -o --output --perfdata --problems --sort --color --mesh --watch --wait -v --verbose -V --version -h --help'
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _check_awa check_awa
