package awa

// VersionOriginal is the version of the program that this one comes from, which says
// no more of itself in answer to a ping than MacAddr, State and Time.
const VersionOriginal = "original"

// Version is the program's version, the same for agent and plugin.
const Version = "0.1.0"
