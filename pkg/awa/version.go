package awa

// Version is the program's version, the same for agent and plugin.
const Version = "0.1.0"
