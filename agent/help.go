package main

import (
	"github.com/alecthomas/kong"

	"are-we-alive/pkg/awa"
)

// vars are what the tags of the command line name as ${…}: the defaults, and the help texts
// that don't fit into a tag.
func vars() kong.Vars {
	const dataDir = " (" + awa.DataDir + ")."
	const logFormat, logLevel, webNodes = "text", "info", "all"
	return kong.Vars{
		"version": "awa-agent " + awa.Version, "port": awa.DefaultPort.String(),
		"watch": awa.DefaultWatch.String(), "ping_timeout": awa.DefaultPingTimeout.String(), "data_dir": awa.DataDir,
		"key_file": awa.ClusterKeyFile, "web_nodes": webNodes, "log_format": logFormat, "log_level": logLevel,

		"help_agent": "Agent to ask; any of the cluster will do. Of several the first that answers. By default those of " +
			"check.json, else the one of this machine.",
		"help_key_file": "The cluster's key file; " + awa.ClusterKeyFile + " where there is one, and an empty name for none.",
		"help_role":     "What its holder may do: check (read only) or member (everything).",

		"help_config":  "Configuration file; else ./" + awa.ConfigName + ", else " + awa.ConfigFile + ", if there is one.",
		"help_my_host": "DNS name or IP address under which others reach this node; the host's name by default.",
		"help_my_port": "Port under which others reach this node; that of --listen by default, else " +
			awa.DefaultPort.String() + ".",
		"help_label": "Label of this node; may be repeated. In the configuration: \"labels\": {\"role\": \"db\"}. Labels that " +
			"are set by hand stay beside these.",
		"help_ephemeral": "Have this node removed from the list once it has been offline for so long, such as 72h, for servers " +
			"that come and go. Never unless given.",
		"help_listen": "Address to listen on; by default every address with a key or --insecure, and my_host with " +
			"neither.",
		"help_data_dir":     "Folder of the node list" + dataDir,
		"help_first":        "Begin a new cluster with this node, unless the data folder holds a list.",
		"help_cluster_name": "Name of the cluster, if it has none yet; see awa-agent cluster name.",
		"help_join":         "Agents of the cluster to join; one that answers is enough.",
		"help_insecure": "Without a key, allow listening on other addresses than loopback: everybody who reaches the " +
			"port may then edit the list. With one, allow a key file that others can read.",
		"help_watch":        "Time between sweeps in the background (" + awa.DefaultWatch.String() + ").",
		"help_ping_timeout": "How long a node may take to answer (" + awa.DefaultPingTimeout.String() + ").",
		"help_web": "Address of a second port over plain HTTP, where whoever reaches it can read: a page for browsers (/), and " +
			"/metrics, /sd, /check and /healthz for Prometheus and health checks. 127.0.0.1, or :" +
			awa.DefaultWebPort.String() + " for every address; port " + awa.DefaultWebPort.String() + " by default. None unless " +
			"given.",
		"help_web_nodes": "Of which nodes /metrics has metrics of their own: all, own (this node alone) or none (" +
			webNodes + "). Scraped at every agent of a large cluster, those of all are nodes times nodes.",
		"help_on_event": "Program that is run when something happened, with the events as JSON on its standard input; on the " +
			"leader alone, so set it on all agents.",
		"help_since": "Only what happened since then: how long ago, such as 24h or 7d, or a time such as " +
			"2026-11-25T18:00:00Z.",
		"help_availability": "Show for which share of the time each node was online over 24 hours, 7 days and 30 days.",

		"help_log_format": "Format of the log on stderr: text or json (" + logFormat + ").",
		"help_log_level":  "What is logged: debug, info, warn or error (" + logLevel + ").",

		"help_event_node": "Only what happened to the node of this name; may be repeated.",
		"help_maintain": "Put nodes under maintenance for a time: they are pinged and shown, and never a " +
			"problem.",
		"help_set_ephemeral": "Have the node removed once it has been offline for so long, such as 72h; never " +
			"ends that.",
		"help_label_selection": "Nodes with this label instead of names; with all of several.",

		"help_recover_data_dir": "Data folder of a stopped agent" + dataDir,
		"help_recover_force": "Begin a new history although a majority of the voters answers, or another agent holds a " +
			"longer list.",
		"help_restore_data_dir": "Empty data folder of a stopped agent" + dataDir,
	}
}
