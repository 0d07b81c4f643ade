# fish completion for awa-agent, made from its command line

# Whether the command so far is the first argument, with as many arguments
# after it as the second one says, if there is one.
function __awa_agent_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l path ''
    set -l count 0
    set -l skip
    for word in $words
        if set -q skip[1]
            set -e skip[1]
            continue
        end
        switch $word
            case --key-file --config --my-name --my-port --ephemeral --listen --cluster-name --watch --ping-timeout --web --on-event --label --name --port --for --reason --since --my-host --join --agent --host --data-dir --out --log-format --log-level --role -o --output --node
                set skip 1
            case '-*'
            case '*'
                set -l longer (string trim "$path $word")
                if contains -- $longer 'run' 'key' 'key new' 'key check' 'key cert' 'node' 'node list' 'node add' 'node set' 'node remove' 'node maintain' 'cluster' 'cluster name' 'changes' 'events' 'backup' 'restore' 'recover'
                    set path $longer
                else
                    set count (math $count + 1)
                end
        end
    end
    test "$path" = "$argv[1]"; or return
    not set -q argv[2]; or test $count = $argv[2]
end

complete -c awa-agent -f
complete -c awa-agent -n "__awa_agent_at '' 0" -a run -d 'Run the agent of this server'
complete -c awa-agent -n "__awa_agent_at '' 0" -a key -d 'Make the key of a cluster, and what is derived from it'
complete -c awa-agent -n "__awa_agent_at '' 0" -a node -d 'Read and edit the node list'
complete -c awa-agent -n "__awa_agent_at '' 0" -a cluster -d 'Name the cluster'
complete -c awa-agent -n "__awa_agent_at '' 0" -a changes -d 'Show who changed the node list, and when'
complete -c awa-agent -n "__awa_agent_at '' 0" -a events -d 'Show what happened to the nodes, as the agent asked saw it'
complete -c awa-agent -n "__awa_agent_at '' 0" -a backup -d 'Save the node list of a running agent to a file'
complete -c awa-agent -n "__awa_agent_at '' 0" -a restore -d 'Begin again with the node list of a backup, on a stopped agent'
complete -c awa-agent -n "__awa_agent_at '' 0" -a recover -d 'Make a stopped agent the only voter of a new history, when most voters are lost for good'
complete -c awa-agent -n "__awa_agent_at ''" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at ''" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'run'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'run'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'run'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'run'" -l config -r -F -d 'Configuration file'
complete -c awa-agent -n "__awa_agent_at 'run'" -l my-name -x -d 'Name of this node'
complete -c awa-agent -n "__awa_agent_at 'run'" -l my-host -x -a '(__fish_print_hostnames)' -d 'DNS name or IP address under which others reach this node'
complete -c awa-agent -n "__awa_agent_at 'run'" -l my-port -x -d 'Port under which others reach this node'
complete -c awa-agent -n "__awa_agent_at 'run'" -l ephemeral -x -d 'Have this node removed from the list once it has been offline for so long, such as 72h, for servers that come and go'
complete -c awa-agent -n "__awa_agent_at 'run'" -l listen -x -d 'Address to listen on'
complete -c awa-agent -n "__awa_agent_at 'run'" -l data-dir -x -a '(__fish_complete_directories)' -d 'Folder of the node list (/var/lib/are-we-alive)'
complete -c awa-agent -n "__awa_agent_at 'run'" -l first -d 'Begin a new cluster with this node, unless the data folder holds a list'
complete -c awa-agent -n "__awa_agent_at 'run'" -l cluster-name -x -d 'Name of the cluster, if it has none yet'
complete -c awa-agent -n "__awa_agent_at 'run'" -l join -x -a '(__fish_print_hostnames)' -d 'Agents of the cluster to join'
complete -c awa-agent -n "__awa_agent_at 'run'" -l take-over -d 'Replace the agent that holds this node\'s name or entry at once'
complete -c awa-agent -n "__awa_agent_at 'run'" -l insecure -d 'Without a key, allow listening on other addresses than loopback'
complete -c awa-agent -n "__awa_agent_at 'run'" -l watch -x -d 'Time between sweeps in the background (5s)'
complete -c awa-agent -n "__awa_agent_at 'run'" -l ping-timeout -x -d 'How long a node may take to answer (1s)'
complete -c awa-agent -n "__awa_agent_at 'run'" -l web -x -d 'Address of a second port over plain HTTP, where whoever reaches it can read'
complete -c awa-agent -n "__awa_agent_at 'run'" -l on-event -x -d 'Program that is run when something happened, with the events as JSON on its standard input'
complete -c awa-agent -n "__awa_agent_at 'run'" -l log-format -x -a 'text json' -d 'Format of the log on stderr'
complete -c awa-agent -n "__awa_agent_at 'run'" -l log-level -x -a 'debug info warn error' -d 'What is logged'
complete -c awa-agent -n "__awa_agent_at 'run'" -l label -x -d 'Label of this node'
complete -c awa-agent -n "__awa_agent_at 'key' 0" -a new -d 'Make the key of a cluster'
complete -c awa-agent -n "__awa_agent_at 'key' 0" -a check -d 'Derive the check key, which can only read, for monitoring hosts'
complete -c awa-agent -n "__awa_agent_at 'key' 0" -a cert -d 'Make a certificate as PEM files, for curl, Prometheus and the like'
complete -c awa-agent -n "__awa_agent_at 'key'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'key'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'key new' 0" -F
complete -c awa-agent -n "__awa_agent_at 'key new'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'key new'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'key check' 0" -F
complete -c awa-agent -n "__awa_agent_at 'key check'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'key check'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'key check'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'key cert'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'key cert'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'key cert'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'key cert'" -l role -x -a 'check member' -d 'What its holder may do'
complete -c awa-agent -n "__awa_agent_at 'key cert'" -l out -x -a '(__fish_complete_directories)' -d 'Folder for cert.pem, key.pem and ca.pem, none of which may exist'
complete -c awa-agent -n "__awa_agent_at 'node' 0" -a list -d 'Show the node list'
complete -c awa-agent -n "__awa_agent_at 'node' 0" -a add -d 'Add a node'
complete -c awa-agent -n "__awa_agent_at 'node' 0" -a set -d 'Change a node'
complete -c awa-agent -n "__awa_agent_at 'node' 0" -a remove -d 'Remove nodes from the list'
complete -c awa-agent -n "__awa_agent_at 'node' 0" -a maintain -d 'Put nodes under maintenance for a time'
complete -c awa-agent -n "__awa_agent_at 'node'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node list'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node list'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node list'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'node list'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'node list'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'node add' 1" -a '(__fish_print_hostnames)'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'node add'" -l label -x -d 'Label of the node'
complete -c awa-agent -n "__awa_agent_at 'node set' 0" -a '(timeout 2 awa-agent node list 2>/dev/null | awk \'$1 ~ /^[0-9]+$/ { print $2 }\')'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l name -x -d 'New name'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l host -x -a '(__fish_print_hostnames)' -d 'New DNS name or IP address'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l port -x -d 'New port'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l label -x -d 'Label to set'
complete -c awa-agent -n "__awa_agent_at 'node set'" -l ephemeral -x -d 'Have the node removed once it has been offline for so long, such as 72h'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -a '(timeout 2 awa-agent node list 2>/dev/null | awk \'$1 ~ /^[0-9]+$/ { print $2 }\')'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'node remove'" -l label -x -d 'Nodes with this label instead of names'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -a '(timeout 2 awa-agent node list 2>/dev/null | awk \'$1 ~ /^[0-9]+$/ { print $2 }\')'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l label -x -d 'Nodes with this label instead of names'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l for -x -d 'How long from now, such as 30m or 2h'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l reason -x -d 'Why, for those who see the node under maintenance'
complete -c awa-agent -n "__awa_agent_at 'node maintain'" -l off -d 'End it now'
complete -c awa-agent -n "__awa_agent_at 'cluster' 0" -a name -d 'Show or change the name of the cluster'
complete -c awa-agent -n "__awa_agent_at 'cluster'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'cluster'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'cluster name'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'cluster name'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'cluster name'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'cluster name'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'cluster name'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l since -x -d 'Only the changes after the one with this id'
complete -c awa-agent -n "__awa_agent_at 'changes'" -l follow -s f -d 'Wait for further changes, until interrupted'
complete -c awa-agent -n "__awa_agent_at 'events'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'events'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'events'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'events'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'events'" -l output -s o -x -a 'table json' -d 'Form of the answer'
complete -c awa-agent -n "__awa_agent_at 'events'" -l node -x -a '(timeout 2 awa-agent node list 2>/dev/null | awk \'$1 ~ /^[0-9]+$/ { print $2 }\')' -d 'Only what happened to the node of this name'
complete -c awa-agent -n "__awa_agent_at 'events'" -l since -x -d 'Only what happened since then'
complete -c awa-agent -n "__awa_agent_at 'events'" -l follow -s f -d 'Wait for further events, until interrupted'
complete -c awa-agent -n "__awa_agent_at 'events'" -l availability -d 'Show for which share of the time each node was online over 24 hours, 7 days and 30 days'
complete -c awa-agent -n "__awa_agent_at 'backup' 0" -F
complete -c awa-agent -n "__awa_agent_at 'backup'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'backup'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'backup'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'backup'" -l agent -x -a '(__fish_print_hostnames)' -d 'Agent to ask'
complete -c awa-agent -n "__awa_agent_at 'restore' 0" -F
complete -c awa-agent -n "__awa_agent_at 'restore'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'restore'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'restore'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'restore'" -l data-dir -x -a '(__fish_complete_directories)' -d 'Empty data folder of a stopped agent (/var/lib/are-we-alive)'
complete -c awa-agent -n "__awa_agent_at 'recover'" -l help -s h -d 'Show context-sensitive help'
complete -c awa-agent -n "__awa_agent_at 'recover'" -l version -s V -d 'Show the version'
complete -c awa-agent -n "__awa_agent_at 'recover'" -l key-file -r -F -d 'The cluster\'s key file'
complete -c awa-agent -n "__awa_agent_at 'recover'" -l data-dir -x -a '(__fish_complete_directories)' -d 'Data folder of a stopped agent (/var/lib/are-we-alive)'
complete -c awa-agent -n "__awa_agent_at 'recover'" -l force -d 'Begin a new history although a majority of the voters answers, or another agent holds a longer list'
