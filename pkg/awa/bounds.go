package awa

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds on what one program says to another. An agent never goes beyond them,
// and whoever reads an answer that does takes it for that of another program.
const (
	// MaxWord is how many characters an id, a version or a code may have.
	MaxWord = 64
	// MaxText is how many bytes a sentence may have. A longer one is cut.
	MaxText = 1000
	// MaxNumber is the largest state, change, node id, Raft index or term. It
	// is the largest number of bbolt's and Raft's readers and of Influx.
	MaxNumber = math.MaxInt64
	// MaxEpoch is the largest epoch of a history. Each recovery adds one, and
	// none must ever pass the end of the numbers.
	MaxEpoch = math.MaxUint32
	// MaxNodes is how many nodes an answer may hold: twice as many as are
	// supported.
	MaxNodes = 20_000
	// MaxVoters is how many voters an answer may name. There are at most five,
	// and more only while one takes another's place.
	MaxVoters = 16
	// MaxSeenBy is how many agents may be named that gave a second opinion.
	MaxSeenBy = 64
	// MaxSees is how many nodes a ping may name that its sender does not see.
	MaxSees = 512
	// MaxFlapping is the most changes of a verdict that are counted.
	MaxFlapping = 1000
	// MaxRTT is the longest round trip, and the longest time of a sweep. No
	// call lasts as long.
	MaxRTT = time.Hour
	// MaxUnix is the last second of the year 9999, in Unix seconds. Times
	// begin at 0, the year 1970.
	MaxUnix = 253_402_300_799
)

// CleanText makes a sentence of another program fit to be shown: at most
// MaxText bytes on one line of valid UTF-8, in which nothing is invisible or
// speaks to a terminal.
func CleanText(s string) string {
	if len(s) > MaxText {
		const mark = "…"
		end := MaxText - len(mark)
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + mark
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// checkWord says what is wrong with an id or another short word, if anything.
// "" is one only when it may be missing.
func checkWord(field, s string, missing bool) error {
	if s == "" && missing {
		return nil
	}
	if s == "" || len(s) > MaxWord || strings.ContainsFunc(s, func(r rune) bool { return !isWordRune(r) }) {
		return fmt.Errorf("%s is %q: it must be 1 to %d letters, digits and some of . _ : + ~ -", field, Clip(s), MaxWord)
	}
	return nil
}

func isWordRune(r rune) bool {
	return r < utf8.RuneSelf && (isNameByte(byte(r)) || strings.ContainsRune(":+~", r))
}

// checkNumber says what is wrong with a state, an id, an index or a term.
func checkNumber(field string, n uint64) error {
	if n > MaxNumber {
		return fmt.Errorf("%s is %d: it must be at most %d", field, n, int64(MaxNumber))
	}
	return nil
}

// checkSpan says what is wrong with a round trip or the time of a sweep.
func checkSpan(field string, d time.Duration) error {
	if d < 0 || d > MaxRTT {
		return fmt.Errorf("%s is %v: it must be from 0 to %v", field, d, MaxRTT)
	}
	return nil
}

// checkTime says what is wrong with a moment. The zero time is none.
func checkTime(field string, t time.Time) error {
	if !t.IsZero() && (t.Unix() < 0 || t.Unix() > MaxUnix) {
		return fmt.Errorf("%s is in the year %d: it must be from 1970 to 9999", field, t.UTC().Year())
	}
	return nil
}

// checkHistory says what is wrong with a history.
func checkHistory(h History) error {
	if h.Epoch > MaxEpoch {
		return fmt.Errorf("the epoch of the history is %d: it must be at most %d", h.Epoch, int64(MaxEpoch))
	}
	return checkWord("the id of the history", h.ID, h == History{})
}

// Check says whether this can be the code of an error.
func (c Code) Check() error { return checkWord("code", string(c), false) }

// Check says which field of a ping's answer is out of its range, if any.
func (s Self) Check() error {
	err := errors.Join(
		checkWord("uid", s.UID, s.IsOriginal()),
		checkWord("macaddr", s.MacAddr, true),
		checkWord("instance", s.Instance, true), checkWord("boot", s.Boot, true),
		checkWord("cluster", s.Cluster, true),
		checkHistory(s.History),
		checkWord("leader", s.Leader, true),
		checkWord("version", s.Version, true),
		checkNumber("db_state", s.State),
		checkNumber("log_index", s.LogIndex), checkNumber("log_term", s.LogTerm),
	)
	switch {
	case err != nil:
		return first(err)
	case CheckName(s.Name) != nil && !(s.IsOriginal() && s.Name == ""):
		return fmt.Errorf("name is wrong: %w", CheckName(s.Name))
	case s.Time < 0 || s.Time > MaxUnix:
		return fmt.Errorf("time is %d: it must be from 0 to %d", s.Time, int64(MaxUnix))
	case s.Started < 0 || s.Started > MaxUnix || s.Booted < 0 || s.Booted > MaxUnix:
		return fmt.Errorf("started is %d and booted is %d: they must be from 0 to %d", s.Started, s.Booted, int64(MaxUnix))
	case s.TimeMS < 0 || s.TimeMS/1000 > MaxUnix:
		return fmt.Errorf("time_ms is %d: it must be from 0 to %d", s.TimeMS, int64(MaxUnix*1000+999))
	case len(s.Health) > MaxConditions:
		return fmt.Errorf("health has %d codes: at most %d are allowed", len(s.Health), MaxConditions)
	case len(s.Sees) > MaxSees:
		return fmt.Errorf("sees has %d ids: at most %d are allowed", len(s.Sees), MaxSees)
	case len(s.Ailing) > MaxSees:
		return fmt.Errorf("ailing has %d ids: at most %d are allowed", len(s.Ailing), MaxSees)
	case s.Fork != nil && checkNumber("fork", s.Fork.State) != nil:
		return checkNumber("fork", s.Fork.State)
	}
	for _, code := range s.Health {
		if err := checkWord("a code of health", string(code), false); err != nil {
			return err
		}
	}
	for _, id := range s.Sees {
		if err := checkNumber("an id in sees", id); err != nil {
			return err
		}
	}
	for _, id := range s.Ailing {
		if err := checkNumber("an id in ailing", id); err != nil {
			return err
		}
	}
	if s.Voters != nil {
		return s.Voters.check()
	}
	return nil
}

// first returns the first of joined errors: one is enough to say what is wrong.
func first(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()[0]
	}
	return err
}

func (v VoterSet) check() error {
	if err := errors.Join(checkNumber("the index of voters", v.Index), checkNumber("the term of voters",
		v.Term)); err != nil {
		return first(err)
	}
	if len(v.UIDs) > MaxVoters {
		return fmt.Errorf("voters has %d uids: at most %d are allowed", len(v.UIDs), MaxVoters)
	}
	for _, uid := range v.UIDs {
		if err := checkWord("a uid in voters", uid, false); err != nil {
			return err
		}
	}
	return nil
}

// Check returns which field of a node is out of its range, if any.
func (n Node) Check() error {
	if err := errors.Join(checkNumber("id", n.ID), checkNumber("changed", n.Changed)); err != nil {
		return first(err)
	}
	for _, f := range nodeFields {
		if err := f.checkIn(&n); err != nil {
			return err
		}
	}
	return nil
}

// CheckNodes says what is wrong with the nodes of a list, if anything: each has
// its ranges, and they stand by id.
func CheckNodes(nodes []Node) error {
	if len(nodes) > MaxNodes {
		return fmt.Errorf("nodes has %d elements: at most %d are allowed", len(nodes), MaxNodes)
	}
	last := uint64(0)
	for i, n := range nodes {
		if err := n.Check(); err != nil {
			return fmt.Errorf("element %d of nodes: %w", i, err)
		}
		if n.ID <= last {
			return fmt.Errorf("node %d stands behind node %d", n.ID, last)
		}
		last = n.ID
	}
	return nil
}

// Check says what is wrong with a node list as an agent returns it, if anything.
func (s NodeSet) Check() error {
	err := errors.Join(checkWord("cluster", s.Cluster, false), checkHistory(s.History), checkNumber("state", s.State),
		CheckNodes(s.Nodes))
	if err != nil {
		return first(err)
	}
	for i, n := range s.Nodes {
		if n.Changed == 0 || n.Changed > s.State {
			return fmt.Errorf("element %d of nodes: changed is %d, and the list is at change %d", i, n.Changed, s.State)
		}
	}
	return nil
}

func (n NodeStatus) check() error {
	if err := n.Node.Check(); err != nil {
		return err
	}
	err := errors.Join(
		checkWord("verdict", string(n.Verdict), false), // a later version may know more of them
		checkWord("stage", string(n.Stage), true),
		checkSpan("rtt_ms", n.RTT), checkSpan("skew_error_ms", n.SkewError),
		checkTime("since", n.Since),
		checkNumber("behind", n.Behind),
	)
	switch {
	case err != nil:
		return first(err)
	case n.Told < 0 || n.Told > MaxNodes:
		return fmt.Errorf("told is %d: it must be from 0 to %d", n.Told, MaxNodes)
	case n.Asked < 0 || n.Asked > MaxSeenBy:
		return fmt.Errorf("asked is %d: it must be from 0 to %d", n.Asked, MaxSeenBy)
	case len(n.SeenBy) > MaxSeenBy:
		return fmt.Errorf("seen_by has %d names: at most %d are allowed", len(n.SeenBy), MaxSeenBy)
	case n.Flapping < 0 || n.Flapping > MaxFlapping:
		return fmt.Errorf("flapping is %d: it must be from 0 to %d", n.Flapping, MaxFlapping)
	case n.Goodbye != nil && n.Goodbye.Check() != nil:
		return n.Goodbye.Check()
	case n.Self != nil && n.Self.Check() != nil:
		return fmt.Errorf("status is wrong: %w", n.Self.Check())
	}
	for _, name := range n.SeenBy {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("seen_by is wrong: %w", err)
		}
	}
	return nil
}

// Check says which field of a status is out of its range, if any. Sentences in
// it are left to CleanText.
func (s ClusterStatus) Check() error {
	err := errors.Join(
		checkWord("cluster", s.Cluster, true), checkWord("cluster_name", s.ClusterName, true), checkHistory(s.History),
		checkNumber("state", s.State),
		checkTime("swept_at", s.SweptAt), checkSpan("took_ms", s.Took),
	)
	switch {
	case err != nil:
		return first(err)
	case len(s.Voters) > MaxVoters:
		return fmt.Errorf("voters has %d names: at most %d are allowed", len(s.Voters), MaxVoters)
	case len(s.Nodes) > MaxNodes:
		return fmt.Errorf("nodes has %d elements: at most %d are allowed", len(s.Nodes), MaxNodes)
	case CheckName(s.Agent) != nil:
		return fmt.Errorf("agent is wrong: %w", CheckName(s.Agent))
	case s.Leader != "" && CheckName(s.Leader) != nil:
		return fmt.Errorf("leader is wrong: %w", CheckName(s.Leader))
	}
	for _, name := range s.Voters {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("voters is wrong: %w", err)
		}
	}
	if len(s.Health) > MaxConditions {
		return fmt.Errorf("health has %d elements: at most %d are allowed", len(s.Health), MaxConditions)
	}
	for _, c := range s.Health {
		if err := c.check(); err != nil {
			return err
		}
	}
	for i, n := range s.Nodes {
		if err := n.check(); err != nil {
			return fmt.Errorf("element %d of nodes: %w", i, err)
		}
	}
	return nil
}

// CheckOpinions says what is wrong with the opinions of an agent that was
// asked about nodes by their ids, if anything: it may leave some out.
func CheckOpinions(all []Opinion, asked []uint64) error {
	open := make(map[uint64]bool, len(asked))
	for _, id := range asked {
		open[id] = true
	}
	for _, o := range all {
		if !open[o.ID] {
			return fmt.Errorf("an opinion of node %d was not asked for", o.ID)
		}
		delete(open, o.ID) // one each
		switch o.Verdict {
		case Online, Unreachable, Mismatch, Offline:
		default:
			return fmt.Errorf("%q is not a verdict", Clip(string(o.Verdict)))
		}
		if err := errors.Join(checkWord("stage", string(o.Stage), true), checkSpan("rtt_ms", o.RTT)); err != nil {
			return first(err)
		}
	}
	return nil
}

// Check says what is wrong with changes that were asked for by the state that
// they follow, if anything. At most limit are allowed.
func (s ChangeSet) Check(since uint64, limit int) error {
	if err := errors.Join(checkWord("cluster", s.Cluster, true), checkHistory(s.History),
		checkNumber("state", s.State)); err != nil {
		return first(err)
	}
	if len(s.Changes) > limit {
		return fmt.Errorf("%d changes were sent: at most %d were asked for", len(s.Changes), limit)
	}
	for _, c := range s.Changes {
		if since++; c.ID != since {
			return fmt.Errorf("change %d was sent where change %d must stand", c.ID, since)
		}
		if err := c.check(); err != nil {
			return err
		}
	}
	if n := len(s.Changes); n > 0 && s.State < since {
		return fmt.Errorf("state is %d, but change %d was sent", s.State, since)
	}
	return nil
}

func (c Change) check() error {
	if err := errors.Join(checkNumber("the index of a change", c.Index), checkNumber("the term of a change",
		c.Term)); err != nil {
		return first(err)
	}
	if !usableKey(c.Key) {
		return fmt.Errorf("the key of change %d must be at most %d visible ASCII characters", c.ID, MaxKey)
	}
	if _, _, _, err := c.Node(); err != nil {
		return fmt.Errorf("change %d can't be read: %w", c.ID, err)
	}
	return nil
}

// usableKey reports whether s can be an idempotency key; "" is none.
func usableKey(s string) bool {
	return len(s) <= MaxKey && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// CheckOutcome returns why an answer can't be what became of the edit, if so: the
// id of the change, and the node after it, nil for a DELETE. So nobody who
// just answers acknowledges it.
func (e Edit) CheckOutcome(id uint64, n *Node) error {
	p, err := e.Parse()
	switch {
	case err != nil:
		return err
	case id == 0 || id > MaxNumber:
		return fmt.Errorf("the edit can't be change %d", id)
	case e.ID != 0 && id != e.ID:
		return fmt.Errorf("the edit was to be change %d, and is answered as change %d", e.ID, id)
	case e.Action == Delete && n != nil:
		return errors.New("a removal is answered with a node")
	case e.Action == Delete:
		return nil
	case n == nil:
		return errors.New("the answer to an edit names no node")
	}
	if err := n.Check(); err != nil {
		return err
	}
	return p.data.checkNode(n)
}

// checkNode returns which field that an edit asks for a node does not have, if any.
func (d data) checkNode(n *Node) error {
	for _, f := range nodeFields {
		same := f.same(n, &d.node) || f.key == "name" && n.Key() == d.node.Key()
		if d.has(f.key) && !same {
			return fmt.Errorf("the node was to have the %s %v, and is answered with %v", f.key, f.text(&d.node), f.text(n))
		}
	}
	return nil
}
