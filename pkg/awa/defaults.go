package awa

import "time"

// The defaults that command lines, configuration and packages share.
const (
	// DefaultPort is the port of an agent that names no other: ALIVE on a telephone
	// keypad.
	DefaultPort Port = 25483
	// DefaultWebPort is the port for Prometheus.
	DefaultWebPort Port = 25484
	// DefaultWatch is the time from one background sweep to the next.
	DefaultWatch = 5 * time.Second
	// DefaultPingTimeout is the time of one ping.
	DefaultPingTimeout = time.Second
	// DefaultMaxSkew is how far the clock of an agent may be from that of the one that
	// looks before it is a problem.
	DefaultMaxSkew = 5 * time.Second
	// DefaultAgent is the agent that a program asks when none is named.
	DefaultAgent = "127.0.0.1"
)

// Where the packages put files, and the programs look for them.
const (
	DataDir = "/var/lib/are-we-alive"

	configDir      = "/etc/are-we-alive/"
	ConfigFile     = configDir + ConfigName
	ConfigName     = "cluster_info.json"
	ClusterKeyFile = configDir + "cluster.key"
	CheckKeyFile   = configDir + "check.key"
	// CheckConfigFile says which agents a client asks, and with what key.
	CheckConfigFile = configDir + "check.json"
)
