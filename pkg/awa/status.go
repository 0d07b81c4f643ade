package awa

import "time"

// Verdict is what a sweep found out about a node.
type Verdict string

// The verdicts.
const (
	// Online: it answered our ping, as itself.
	Online Verdict = "online"
	// Unreachable: it did not answer us, but answered another agent.
	Unreachable Verdict = "unreachable"
	// Mismatch: something answered, and it was not this node's agent.
	Mismatch Verdict = "mismatch"
	// Offline: it answered nobody who was asked.
	Offline Verdict = "offline"
	// Unjudged is a node that could not be looked at before the answer was due.
	Unjudged Verdict = "unjudged"
)

// Stage is the part of a ping that failed.
type Stage string

// The stages of a ping in their order. StageNone is a ping that succeeded.
const (
	StageNone    Stage = ""
	StageResolve Stage = "resolve"
	StageConnect Stage = "connect"
	StageTLS     Stage = "tls"
	StageReply   Stage = "reply"
)

// PingError says at which stage a ping failed, with the system's own words.
type PingError struct {
	Stage Stage
	Err   error
}

// Error returns the stage and the cause: "connect: connection refused".
func (e *PingError) Error() string { return string(e.Stage) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PingError) Unwrap() error { return e.Err }

// Self is what an agent says of itself in answer to a ping. The first three
// keys are the original program's.
type Self struct {
	MacAddr string `json:"macaddr"` // of the first network interface that has one
	State   uint64 `json:"db_state"`
	Time    int64  `json:"time"`    // Unix seconds
	TimeMS  int64  `json:"time_ms"` // the same in milliseconds
	Name    string `json:"name"`
	UID     string `json:"uid"`
	// Instance is made again at each start: so a restart is seen, and an agent knows itself
	// from another one that was given a copy of its data folder.
	Instance string `json:"instance"`
	// Started and Booted are when the agent and its machine were started, in Unix seconds
	// by the clock of Time; 0 is not known.
	Started int64 `json:"started,omitempty"`
	Booted  int64 `json:"booted,omitempty"`
	// Boot is made again by the kernel when the machine starts; "" is not known.
	Boot    string  `json:"boot,omitempty"`
	Cluster string  `json:"cluster"` // "" until it holds a list
	History History `json:"history"`
	Leader  string  `json:"leader"` // uid of the leader it knows of, "" for none
	Version string  `json:"version"`
	// WebPort is where browsers find its page, at the node's host; 0 when there is none, or others
	// can't reach it.
	WebPort Port `json:"web_port,omitempty"`
	// LogIndex is the newest entry of its Raft log on disk, 0 when it has none.
	LogIndex uint64 `json:"log_index"`
	// LogTerm is the term of that entry, 0 also of a version that leaves it out.
	LogTerm uint64 `json:"log_term,omitempty"`
	// Digest is that of its list. A version that knows none leaves it out.
	Digest Digest `json:"digest"`
	// Fork is where its history began, of one after the first.
	Fork *Position `json:"fork,omitempty"`
	// Voters is there in a leader's own answer only.
	Voters *VoterSet `json:"voters,omitempty"`
	// Health are the conditions that it finds of itself.
	Health []HealthCode `json:"health,omitempty"`
	// Sees are the ids of the nodes that were not online when it looked last, at
	// most MaxSees; nil when it has not looked yet.
	Sees []uint64 `json:"sees"`
	// Ailing are the ids of the nodes whose agents found conditions of themselves then, at
	// most MaxSees.
	Ailing []uint64 `json:"ailing,omitempty"`
}

// IsOriginal reports whether the original program answered.
func (s Self) IsOriginal() bool { return s.UID == "" && s.Version == VersionOriginal }

// Position is where a list is or was: its state, and its digest there.
type Position struct {
	State  uint64 `json:"state"`
	Digest Digest `json:"digest"`
}

// Position is that of the list.
func (s Self) Position() Position { return Position{s.State, s.Digest} }

// VoterSet is a committed Raft configuration. Of two sets of one history the
// one of the higher index is newer.
type VoterSet struct {
	Index uint64   `json:"index"`
	Term  uint64   `json:"term"` // the leader's term when it said so
	UIDs  []string `json:"uids"`
}

// StatusQuery is what a status is asked for. The zero StatusQuery is a live sweep of all
// nodes.
type StatusQuery struct {
	Cached bool // the last background sweep instead
	// Within is how long the caller waits; 0 is not known. Nodes that could not be looked at
	// by then are Unjudged.
	Within time.Duration
	Nodes  []string // the names of those to ask, as far as the list has them; none is all
}

// NodeStatus is a node with what a sweep found out about it.
type NodeStatus struct {
	Node    Node
	Verdict Verdict
	Stage   Stage // where the ping failed; StageNone when online
	// Error is why, in the system's own words. An online node has a Stage and an
	// Error only where it is the agent asked, which can't reach its own address.
	Error string
	RTT   time.Duration // of the answer; 0 when there was none
	// Since is when the verdict was first seen, or when the agent was started if that was
	// later; zero when unknown.
	Since time.Time
	Self  *Self // the answer there, of a mismatch another agent's; nil when there was none
	// Goodbye is what the agent of a node that is not online said last, if it did.
	Goodbye *Goodbye
	// Flapping is how often the verdict has changed lately, when that is so often that the
	// node counts as flapping; else 0.
	Flapping int

	// Told is how many other agents told the verdict of a node that the agent asked left to
	// them, as it does with most nodes of a long list (WatchShare); 0 of one that it pinged.
	Told int

	// Of a node that is not online: how many other agents gave a second
	// opinion, and the names of those that it answered.
	Asked  int
	SeenBy []string

	// Of an online node: how many changes it lacks, and how far its clock is
	// ahead of the clock of the agent that looked (behind it when negative),
	// give or take SkewError. A SkewError of 0 is a skew that is not known.
	Behind          uint64
	Skew, SkewError time.Duration
}

// Opinion is what an agent that was asked for a second opinion found out about
// a node.
type Opinion struct {
	ID      uint64 // of the node
	Verdict Verdict
	Stage   Stage         // as in NodeStatus
	Error   string        // as in NodeStatus
	RTT     time.Duration // of the answer; 0 when there was none
}

// Sighting is what is remembered of a node while its agents restart.
type Sighting struct {
	ID      uint64 // of the node
	UID     string // its agent's then, "" when it had none
	Verdict Verdict
	Since   time.Time
	// Instance and Boot are those of its agent's last answer, "" when they are not known.
	Instance, Boot string
	Goodbye        *Goodbye // as in NodeStatus
}

// ClusterStatus is one agent's view of the whole cluster.
type ClusterStatus struct {
	Cluster string
	// ClusterName is how people call it, "" for no name.
	ClusterName string
	History     History
	Agent       string   // name of the agent that looked
	State       uint64   // of its list
	Leader      string   // name of the leader, "" when none is known
	Voters      []string // names of the voters, as far as known
	// Insecure reports whether the agent has no key and was allowed to do without:
	// everybody who reaches it may edit the list.
	Insecure bool
	// Isolated reports whether the agent reached no other one, though its list has
	// others: the fault is likelier its own.
	Isolated bool
	SweptAt  time.Time
	Took     time.Duration
	Health   []Condition  // the gravest first
	Nodes    []NodeStatus // by node id
}

// Meta is what a data folder says of itself and of the list in it.
type Meta struct {
	Cluster string // "" until there is a list
	History History
	Fork    Position // where the history began; zero for the first of a cluster
	UID     string
	// Epoch is the highest of the histories of this cluster that this agent has
	// ever followed or met.
	Epoch uint64
	// Index and Term are the place in the Raft log up to which this agent's own
	// Raft has decided the list, and State is the list's state there: 0 on an
	// agent that was never a voter. Changes after State were learned from other
	// agents, and are held against Raft's log once this agent takes part.
	Index, Term, State uint64
	Voters             VoterSet // the newest that this agent's Raft has agreed on
}
