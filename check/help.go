package main

import (
	"path/filepath"

	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

const description = `Asks an agent which servers of its cluster are alive.

Exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; with -o influx 0 whenever lines were printed. ` +
	`A node under maintenance never counts. When no agent answers, that is CRITICAL, and UNKNOWN when the time was over. When no agent accepts the key, that is UNKNOWN.

A RANGE is that of the plugin guidelines: 10 (alert below 0 or above 10), 10:, ~:10, 10:20, @10:20. Numbers of nodes may be percentages of the selected nodes: 10%.

    check_awa -v                        the agent on this host, for a person
    check_awa --watch                   the same, in place
    check_awa -H n1 -H n2 -w 0 -c 25%   the first agent that answers
    check_awa -H n1 --node n3           a host check of n3
    check_awa -H n1 --label role=db     only these nodes
    check_awa -H n1 --wait 5m           wait until all is well
    check_awa -H n1 -o influx           for Telegraf`

// explain adds what the program does, and what each flag takes and means.
func explain(program *kong.Application) {
	program.Help = description
	help := map[string]struct{ takes, means string }{
		"hostname": {"HOST[:PORT]", "Agent to ask: the first that answers. May be given several " +
			"times, or with commas between. Default: those of check.json, else the agent of this machine"},
		"port":    {"PORT", "Port of an agent given without one. Default: " + awa.DefaultPort.String()},
		"timeout": {"SECONDS", "The plugin has ended by then. Default: " + seconds(defaultTimeout)},
		"key-file": {"FILE", "Check key or cluster key; an empty name is none. Default: " + awa.CheckKeyFile +
			", then " + filepath.Base(awa.ClusterKeyFile) + ", where they exist"},
		"warning": {"RANGE", "WARNING when the number of nodes not alive (offline or a mismatch) is outside " +
			"this range, such as 1 or 10%. Default: none"},
		"critical":             {"RANGE", "CRITICAL when that number is outside this one; ~: is none. Default: 0"},
		"unreachable-warning":  {"RANGE", "WARNING for the number of nodes that only other agents reach. Default: 0"},
		"unreachable-critical": {"RANGE", "CRITICAL for the same number. Default: none"},
		"behind-warning": {"RANGE", "WARNING for the largest number of changes that the list of an online node " +
			"lacks. Default: none"},
		"behind-critical": {"RANGE", "CRITICAL for the same number. Default: none"},
		"skew-warning": {"RANGE", "WARNING for the largest clock skew of an online node, in seconds. Default: " +
			seconds(awa.DefaultMaxSkew)},
		"skew-critical": {"RANGE", "CRITICAL for the same skew. Default: none"},
		"rtt-warning":   {"RANGE", "WARNING for the longest round trip to an online node, in seconds. Default: none"},
		"rtt-critical":  {"RANGE", "CRITICAL for the same time. Default: none"},
		"no-majority-state": {"STATE", "State when fewer than a majority of the voters are alive, so that nobody can " +
			"edit the list: ok, warning, critical or unknown. Not judged with --node. Default: warning"},
		"stopped-state": {"STATE", "State when nodes are offline whose agents said that they were being stopped, and " +
			"nothing worse holds: ok, warning, critical or unknown. Default: critical, as for any node that is offline"},
		"health": {"CODE=STATE", "State when a health code holds, such as LAST_MAJORITY=warning; " +
			"may be given several times. The manual lists the codes and their defaults."},
		"no-answer-state": {"STATE", "State when no agent answers: ok, warning, critical or unknown. Default: critical"},
		"timeout-state":   {"STATE", "State when no agent answers and the time was over for one of them. Default: unknown"},
		"node":            {"NAME", "Only this node, as a host check does it; may be given several times."},
		"label":           {"KEY=VALUE", "Only nodes with this label; may be given several times, then all must be there."},
		"exclude":         {"GLOB", "No nodes whose name matches, such as test*; may be given several times."},
		"output": {"FORMAT", report.Alternatives(report.FormatNames()) + ". Default: " +
			report.DefaultFormat().Name},
		"perfdata": {"WHICH", "cluster, or nodes for the round trip of each node as well, on later lines. " +
			"Default: cluster"},
		"problems": {"", "Only the nodes that are a problem, in the table and as names."},
		"sort": {"ORDER", report.Alternatives(report.OrderNames()) + ": the order of the table and of the names. " +
			"Default: " + report.DefaultOrder().Name + " first, then by name"},
		"color": {"WHEN", "auto, always or never: colors in the table. Default: auto, which is on a terminal, " +
			"where NO_COLOR is not set"},
		"watch": {"", "Show the table in place, and look again every 2 s, or as often as --watch=SECONDS says, until q " +
			"or Ctrl-C. What changed is marked for some seconds."},
		"wait": {"TIME", "Look again until the result is OK, for at most this time, such as 5m or 300. The output and the " +
			"exit code are those of the last look."},
		"mesh": {"", "Add who does not see whom, as all agents that answer report it: the agents and " +
			"nodes that differ only."},
		"verbose": {"", "Add the table of all nodes to the plugin's line; twice: cut nothing, and add the health codes that " +
			"don't count."},
		"version": {"", "Print the version."},
		"help":    {"", "Print this."},
	}
	for _, f := range program.Flags {
		f.PlaceHolder, f.Help = help[f.Name].takes, help[f.Name].means
	}
}
