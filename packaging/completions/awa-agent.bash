# bash completion for awa-agent, made from its command line
_awa_agent() {
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
        --key-file|--config)
            compopt -o default
            return ;;
        --my-name|--my-port|--ephemeral|--listen|--cluster-name|--watch|--ping-timeout|--web|--on-event|--label|--name|--port|--for|--reason|--since)
            return ;;
        --my-host|--join|--agent|--host)
            mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
            return ;;
        --data-dir|--out)
            compopt -o dirnames
            return ;;
        --web-nodes)
            mapfile -t COMPREPLY < <(compgen -W 'all own none' -- "$cur")
            return ;;
        --log-format)
            mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$cur")
            return ;;
        --log-level)
            mapfile -t COMPREPLY < <(compgen -W 'debug info warn error' -- "$cur")
            return ;;
        --role)
            mapfile -t COMPREPLY < <(compgen -W 'check member' -- "$cur")
            return ;;
        -o|--output)
            mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$cur")
            return ;;
        --node)
            mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }')" -- "$cur")
            return ;;
    esac

    # The command so far, and how many arguments follow it.
    local path='' count=0 skip='' i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == [=:] ]]; then
            skip=1
        elif [[ $skip ]]; then
            skip=
        else
            case $word in
                --key-file|--config|--my-name|--my-port|--ephemeral|--listen|--cluster-name|--watch|--ping-timeout|--web|--on-event|--label|--name|--port|--for|--reason|--since|--my-host|--join|--agent|--host|--data-dir|--out|--web-nodes|--log-format|--log-level|--role|-o|--output|--node) skip=1 ;;
                -*) ;;
                *)
                    case "${path:+$path }$word" in
                        'run') path='run' ;;
                        'key') path='key' ;;
                        'key new') path='key new' ;;
                        'key check') path='key check' ;;
                        'key cert') path='key cert' ;;
                        'node') path='node' ;;
                        'node list') path='node list' ;;
                        'node add') path='node add' ;;
                        'node set') path='node set' ;;
                        'node remove') path='node remove' ;;
                        'node maintain') path='node maintain' ;;
                        'cluster') path='cluster' ;;
                        'cluster name') path='cluster name' ;;
                        'changes') path='changes' ;;
                        'events') path='events' ;;
                        'backup') path='backup' ;;
                        'restore') path='restore' ;;
                        'recover') path='recover' ;;
                        *) ((count += 1)) ;;
                    esac ;;
            esac
        fi
    done

    local words=''
    if [[ $cur == -* ]]; then
        case $path in
            '') words='-h --help -V --version' ;;
            'run') words='-h --help -V --version --key-file --config --my-name --my-host --my-port --ephemeral --listen --data-dir --first --cluster-name --join --take-over --insecure --watch --ping-timeout --web --web-nodes --on-event --log-format --log-level --label' ;;
            'key') words='-h --help -V --version' ;;
            'key new') words='-h --help -V --version' ;;
            'key check') words='-h --help -V --version --key-file' ;;
            'key cert') words='-h --help -V --version --key-file --role --out' ;;
            'node') words='-h --help -V --version' ;;
            'node list') words='-h --help -V --version --key-file --agent -o --output' ;;
            'node add') words='-h --help -V --version --key-file --agent -o --output --label' ;;
            'node set') words='-h --help -V --version --key-file --agent -o --output --name --host --port --label --ephemeral' ;;
            'node remove') words='-h --help -V --version --key-file --agent -o --output --label' ;;
            'node maintain') words='-h --help -V --version --key-file --agent -o --output --label --for --reason --off' ;;
            'cluster') words='-h --help -V --version' ;;
            'cluster name') words='-h --help -V --version --key-file --agent -o --output' ;;
            'changes') words='-h --help -V --version --key-file --agent -o --output --since -f --follow' ;;
            'events') words='-h --help -V --version --key-file --agent -o --output --node --since -f --follow --availability' ;;
            'backup') words='-h --help -V --version --key-file --agent' ;;
            'restore') words='-h --help -V --version --key-file --data-dir' ;;
            'recover') words='-h --help -V --version --key-file --data-dir --force' ;;
        esac
    else
        case $path:$count in
            '':0) words='run key node cluster changes events backup restore recover' ;;
            'key':0) words='new check cert' ;;
            'key new':0) compopt -o default; return ;;
            'key check':0) compopt -o default; return ;;
            'node':0) words='list add set remove maintain' ;;
            'node add':1) mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur"); return ;;
            'node set':0) words=$(timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }') ;;
            'node remove':*) words=$(timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }') ;;
            'node maintain':*) words=$(timeout 2 awa-agent node list 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $2 }') ;;
            'cluster':0) words='name' ;;
            'backup':0) compopt -o default; return ;;
            'restore':0) compopt -o default; return ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _awa_agent awa-agent
