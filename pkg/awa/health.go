package awa

import (
	"fmt"
	"slices"
)

// HealthCode names a condition of the cluster or of an agent, as against one
// of a node. The manual has a section for each.
type HealthCode string

// The health codes.
const (
	// NoMajority: too few voters are alive to decide an edit.
	NoMajority HealthCode = "NO_MAJORITY"
	// NoLeader: the voters have not elected a leader.
	NoLeader HealthCode = "NO_LEADER"
	// LastMajority: one more lost voter stops edits.
	LastMajority HealthCode = "LAST_MAJORITY"
	// DiskFull: an agent can't write, since its disk has no room.
	DiskFull HealthCode = "DISK_FULL"
	// DiskReadOnly: an agent can't write, since its disk takes no writes.
	DiskReadOnly HealthCode = "DISK_READONLY"
	// DataDamaged: an agent found that its files are not what it wrote.
	DataDamaged HealthCode = "DATA_DAMAGED"
	// Diverged: an agent's list contradicts that of the cluster.
	Diverged HealthCode = "DIVERGED"
	// OtherHistory: an agent follows another history of the same cluster.
	OtherHistory HealthCode = "OTHER_HISTORY"
	// OtherCluster: an agent with our key belongs to another cluster.
	OtherCluster HealthCode = "OTHER_CLUSTER"
	// Duplicate: two agents claim one node.
	Duplicate HealthCode = "DUPLICATE"
	// Unlisted: an agent with our key is not on the list.
	Unlisted HealthCode = "UNLISTED"
	// NotReached: others can't reach an agent at the address that it registered.
	NotReached HealthCode = "NOT_REACHED"
	// Isolated: the agent asked reaches no other one.
	Isolated HealthCode = "ISOLATED"
	// ClockSkew: the clock of an agent differs from that of the agent asked.
	ClockSkew HealthCode = "CLOCK_SKEW"
	// Behind: the list of an agent lacks changes.
	Behind HealthCode = "BEHIND"
	// NoKey: the agent asked has no key.
	NoKey HealthCode = "NO_KEY"
)

// Severity is how bad a condition is unless a user says otherwise: "ok",
// "warning" or "critical".
type Severity string

// The severities.
const (
	SeverityOK       Severity = "ok"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// healthCode is what there is to say of a code by default.
type healthCode struct {
	code     HealthCode
	severity Severity
	text     string // what it means of an agent, whose name stands for %s
}

// healthCodes are all codes, in the order in which they are reported.
var healthCodes = []healthCode{
	{OtherCluster, SeverityCritical, "%s belongs to another cluster: empty the data folder of the agent that is wrong, " +
		"and have it join"},
	{OtherHistory, SeverityCritical, "%s follows another history of this cluster: empty the data folder of the agent " +
		"that is wrong, and have it join"},
	{Diverged, SeverityCritical, "the list of %s contradicts that of the cluster: its log says what becomes of it"},
	{DataDamaged, SeverityCritical, "a file of %s is damaged: empty its data folder, and have it join"},
	{Duplicate, SeverityCritical, "%s says that another agent claims its node: stop the one that is wrong"},
	{DiskFull, SeverityCritical, "the disk of %s is full, so it can't follow the list: make room, it goes on by itself"},
	{DiskReadOnly, SeverityCritical, "the disk of %s takes no writes, so it can't follow the list: look at its disk, " +
		"and restart it"},
	{NoMajority, SeverityWarning, "%s reaches no majority of the voters: the list can't be edited"},
	{NoLeader, SeverityWarning, "%s knows no leader: the list can't be edited"},
	{NotReached, SeverityWarning, "%s says that others can't reach it at the address on the list: correct " +
		"its my_host or " +
		"my_port, or the firewall"},
	{Unlisted, SeverityWarning, "%s says that it is not on the list: stop it, or start it with --join"},
	{LastMajority, SeverityOK, "%s says that one more lost voter stops edits"},
	{Isolated, SeverityOK, "%s reaches no other agent, so the fault may be its own: look at its network"},
	{ClockSkew, SeverityOK, "the clock of %s is wrong, or that of the agent asked: look at its NTP service"},
	{Behind, SeverityOK, "the list of %s lacks changes: look at its log when that lasts"},
	{NoKey, SeverityOK, "%s has no key, so everybody who reaches its port may edit the list: make one with awa-agent " +
		"key new"},
}

// HealthCodes are all codes that this program knows, the gravest first.
func HealthCodes() []HealthCode {
	all := make([]HealthCode, len(healthCodes))
	for i, h := range healthCodes {
		all[i] = h.code
	}
	return all
}

// Quiet reports whether a plugin's line leaves the code out unless a state was set for
// it: it has said the same with other words, or it is the same at each check.
func (c HealthCode) Quiet() bool {
	return c == Isolated || c == ClockSkew || c == Behind || c == NoKey
}

// Severity is that of the code by default. One that this program does not know
// is of a later version, and may matter: it is a warning.
func (c HealthCode) Severity() Severity {
	if i := c.index(); i >= 0 {
		return healthCodes[i].severity
	}
	return SeverityWarning
}

// Of is the sentence about another agent that reports this code of itself.
func (c HealthCode) Of(agent string) string {
	if i := c.index(); i >= 0 {
		return fmt.Sprintf(healthCodes[i].text, agent)
	}
	return fmt.Sprintf("%s reports %s: see the manual of its version", agent, c)
}

func (c HealthCode) index() int {
	return slices.IndexFunc(healthCodes, func(h healthCode) bool { return h.code == c })
}

// Condition is a health code that holds now.
type Condition struct {
	Code HealthCode `json:"code"`
	// Agent is the name of the agent that it is about, "" when it is about the
	// cluster.
	Agent string `json:"agent,omitempty"`
	// Text is one sentence: what is wrong, and what to do.
	Text string `json:"text"`
}

// MaxConditions is how many an answer may hold, and how many codes a ping.
const MaxConditions = 64

func (c Condition) check() error {
	if err := checkWord("the code of a health condition", string(c.Code), false); err != nil {
		return err
	}
	if c.Agent != "" && CheckName(c.Agent) != nil {
		return fmt.Errorf("the agent of a health condition is wrong: %w", CheckName(c.Agent))
	}
	return nil
}

// VotersText is the subject of a sentence on how many of all voters are needed, with its
// verb: "2 of 3 voters are".
func VotersText(need, all int) string {
	if all == 1 {
		return "the only voter is"
	}
	return fmt.Sprintf("%d of %d voters are", need, all)
}
