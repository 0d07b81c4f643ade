//go:build system

package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is one line of the truth table.
type row struct {
	name   string
	breaks func(*cluster)
	expect []expect
	// within is the time from the fault until check_awa has said so, with the
	// start of the program.
	within time.Duration
	// quiet are agents whose logs must not say of any node that it is not
	// online, from the moment at which the fault is there to the end.
	quiet []int
	mend  func(*cluster)
}

// expect is what check_awa must say of a fault.
type expect struct {
	ask   []int // the agents that it asks, by number, the first that answers
	nodes []node
	// alarm is the exit code: 0 OK, 1 WARNING, 2 CRITICAL.
	alarm    int
	says     string // a part of the plugin's text
	view     string // the agent whose view it is; "" for the first one asked
	isolated bool   // that agent reaches no other
	args     []string
	count    int      // of nodes, 5 when 0
	health   []string // the codes that count, exactly; nil for any
	also     []string // more parts of the text
	times    int      // it must be said so often in a row; once when 0
	quick    bool     // the check takes no longer than a node that answers
	more     func(answer) error
}

// node is what check_awa must say of a node. All that an expect doesn't name
// must be online.
type node struct {
	name    string
	verdict string
	stage   string // "" for any
	error   string // a part of the reason
	more    func(nodeAnswer) error
}

// TestTable breaks five healthy hosts in one way after the other, and mends
// them again.
func TestTable(t *testing.T) {
	c := newCluster(t)
	var report strings.Builder
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) { report.WriteString(c.play(t, r)) })
	}
	fmt.Printf("\nThe truth table; times in seconds.\n%-58s %-34s %6s %6s %6s\n%s\n",
		"fault", "asked: verdict", "known", "check", "mended", report.String())
}

// play breaks, asks, mends, and returns the row with what was measured: the time
// from the fault until check_awa said so, how long that check took, and the
// time from the mending until all agents see all online.
func (c *cluster) play(t *testing.T, r row) string {
	whole := c.t
	c.on(t)
	defer c.on(whole)
	for _, a := range c.agents {
		c.awaitAll(a) // also when the row before failed
	}
	mended := false
	mend := func() {
		if !mended {
			mended = true
			r.mend(c)
		}
	}
	defer mend() // also when the row fails

	r.breaks(c)
	broken := time.Now()
	from := map[int]int{}
	for _, number := range r.quiet {
		from[number] = c.n(number).log.len()
	}
	var lines []string
	for i, e := range r.expect {
		if i > 0 {
			broken = time.Now() // each agent that is asked has its own time
		}
		took, err := c.until(e, broken, r.within)
		known := time.Since(broken)
		if err != nil {
			t.Errorf("%s: after %.3f s: %v", r.name, known.Seconds(), err)
		}
		lines = append(lines, fmt.Sprintf("%-34s %6.3f %6.3f", e, known.Seconds(), took.Seconds()))
	}
	mend()
	begin := time.Now()
	for _, a := range c.agents {
		c.awaitAll(a)
	}
	back := time.Since(begin)
	for _, number := range r.quiet {
		for _, s := range c.n(number).log.sightings(from[number]) {
			t.Errorf("%s: a false alarm in the log of n%d: %+v", r.name, number, s)
		}
	}

	name, word := r.name, ""
	if t.Failed() {
		word = "  FAILED"
	}
	var out strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&out, "%-58s %s", name, line)
		if name = ""; i == 0 {
			fmt.Fprintf(&out, " %6.3f%s", back.Seconds(), word)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// on makes a test the one that failures belong to.
func (c *cluster) on(t *testing.T) {
	c.t, c.net.t = t, t
	for _, h := range append(c.hosts(), c.net.bridge) {
		h.t = t
	}
}

// until asks until check_awa says what it must, and the time is over. It returns
// how long the last check took.
func (c *cluster) until(e expect, since time.Time, within time.Duration) (time.Duration, error) {
	asked := make([]*agent, len(e.ask))
	for i, number := range e.ask {
		asked[i] = c.n(number)
	}
	for right := 0; ; {
		got := c.askWith(e.args, asked...)
		late := time.Since(since) > within
		err := e.check(got, asked[0].name)
		if right++; err == nil && right < e.times {
			continue
		}
		if err != nil && e.times > 0 {
			return got.took, err
		}
		if err == nil && late {
			err = fmt.Errorf("right, but it took more than %v", within)
		}
		if err == nil || late {
			return got.took, err
		}
	}
}

// check compares what check_awa said with the truth.
func (e expect) check(got answer, first string) error {
	view := e.view
	if view == "" {
		view = first
	}
	switch {
	case got.Agent != view:
		return fmt.Errorf("it is the view of %q, not of %q: %s", got.Agent, view, got.Text)
	case got.State != e.alarm:
		return fmt.Errorf("the exit code is %d, not %d: %s", got.State, e.alarm, got.Text)
	case !strings.Contains(got.Text, e.says):
		return fmt.Errorf("%q doesn't say %q", got.Text, e.says)
	case got.Isolated != e.isolated:
		return fmt.Errorf("isolated is %v: %s", got.Isolated, got.Text)
	case len(got.Nodes) != cmp.Or(e.count, 5):
		return fmt.Errorf("it names %d nodes: %s", len(got.Nodes), got.Text)
	case e.quick && got.took > slack:
		return fmt.Errorf("it took %v: %s", got.took, got.Text)
	}
	for _, part := range e.also {
		if !strings.Contains(got.Text, part) {
			return fmt.Errorf("%q doesn't say %q", got.Text, part)
		}
	}
	var codes []string
	for _, h := range got.Health {
		if h.State > 0 && !slices.Contains(codes, h.Code) {
			codes = append(codes, h.Code)
		}
	}
	if e.health != nil && !slices.Equal(codes, e.health) {
		return fmt.Errorf("the health codes are %v, not %v: %s", codes, e.health, got.Text)
	}
	if e.more != nil {
		if err := e.more(got); err != nil {
			return err
		}
	}
	for _, want := range e.nodes {
		if !slices.ContainsFunc(got.Nodes, func(n nodeAnswer) bool { return n.Name == want.name }) {
			return fmt.Errorf("it names no %s: %s", want.name, got.Text)
		}
	}
	for _, n := range got.Nodes {
		want := node{name: n.Name, verdict: "online"}
		if i := slices.IndexFunc(e.nodes, func(w node) bool { return w.name == n.Name }); i >= 0 {
			want = e.nodes[i]
		}
		if err := want.check(n); err != nil {
			return err
		}
	}
	return nil
}

func (want node) check(n nodeAnswer) error {
	switch {
	case n.Verdict != want.verdict,
		want.stage != "" && n.Stage != want.stage,
		!strings.Contains(n.Error, want.error):
		return fmt.Errorf("%s is %s (%s: %s), not %s (%s: …%s…)", n.Name, n.Verdict, n.Stage, n.Error, want.verdict,
			want.stage, want.error)
	case want.more != nil:
		return want.more(n)
	}
	return nil
}

// String is the expectation in a few words: "n1: n3 offline".
func (e expect) String() string {
	var asked, words []string
	for _, number := range e.ask {
		asked = append(asked, fmt.Sprintf("n%d", number))
	}
	for _, n := range e.nodes {
		if n.verdict != "online" {
			words = append(words, n.name+" "+n.verdict)
		}
	}
	switch {
	case e.isolated:
		words = []string{"isolated"}
	case len(words) == 0:
		words = []string{"all online"}
	case len(words) > 2:
		words = []string{fmt.Sprintf("%d not online", len(words))}
	}
	return strings.Join(asked, ",") + ": " + strings.Join(words, ", ")
}
