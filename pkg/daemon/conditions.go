package daemon

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// conditions are the health codes that hold: what this agent finds of itself and
// of agents that are not on its list, what the lists of those on it have to do
// with its own, what they say of themselves, and how the voters are.
func (a *agent) conditions(result watch.Result) []awa.Condition {
	var all []awa.Condition
	own := a.store.Meta().UID
	told := map[awa.Condition]bool{} // those about an agent without their texts
	add := func(c awa.Condition) {
		key := c
		if c.Agent != "" {
			key.Text = ""
		}
		if !told[key] && len(all) < awa.MaxConditions {
			told[key] = true
			all = append(all, c)
		}
	}
	for _, c := range a.found() {
		add(c)
	}
	for _, n := range result.Nodes {
		if n.Self == nil || n.Verdict != awa.Online || n.Self.UID == own {
			continue
		}
		if code := a.Compare(*n.Self); code != "" {
			add(awa.Condition{Code: code, Agent: n.Node.Name, Text: code.Of(n.Node.Name)})
		}
		for _, code := range n.Self.Health {
			add(awa.Condition{Code: code, Agent: n.Node.Name, Text: code.Of(n.Node.Name)})
		}
	}
	if c := a.votersCondition(result); c.Code != "" {
		add(c)
	}
	for _, c := range a.quiet(result) {
		add(c)
	}
	order := awa.HealthCodes()
	slices.SortStableFunc(all, func(x, y awa.Condition) int {
		return slices.Index(order, x.Code) - slices.Index(order,
			y.Code)
	})
	return all
}

// notReached says that others can't reach this agent at the address of its entry, and
// what to set.
func (a *agent) notReached() awa.Condition {
	n := a.watch.NotReached()
	if n.Of == 0 {
		return awa.Condition{}
	}
	host, _, _ := net.SplitHostPort(n.Addr)
	advice := "something else answers there, so set my_host and my_port to the address of this agent"
	switch {
	case saysLoopback(host):
		advice = "each machine takes that for itself, so set my_host to the name or address of this one"
	case n.Stage == awa.StageResolve:
		advice = "set my_host to a name that their name servers know, or to an address"
	case n.Stage == awa.StageConnect:
		advice = "open that port in the firewall, or set my_host and my_port to an address that they can reach"
	}
	by := strings.Join(n.By[:min(len(n.By), namedMost)], ", ")
	if more := len(n.By) - namedMost; more > 0 {
		by += fmt.Sprintf(" and %d more", more)
	}
	text := fmt.Sprintf("%d of %s cannot reach this agent at %s (%s: %s): %s; %s",
		len(n.By), countOf(n.Of, "agent"), n.Addr, n.Stage, n.Error, by, advice)
	return awa.Condition{Code: awa.NotReached, Agent: a.listedName(), Text: text}
}

// quiet are the conditions that a status has as numbers too.
func (a *agent) quiet(result watch.Result) []awa.Condition {
	var all []awa.Condition
	own := a.listedName()
	tell := func(code awa.HealthCode, name string) {
		all = append(all, awa.Condition{Code: code, Agent: name, Text: code.Of(name)})
	}
	if result.Isolated {
		tell(awa.Isolated, own)
	}
	if !a.hasKey {
		tell(awa.NoKey, own)
	}
	for _, n := range result.Nodes {
		if n.Verdict != awa.Online {
			continue
		}
		if n.SkewError > 0 && n.Skew.Abs()-n.SkewError > awa.DefaultMaxSkew {
			tell(awa.ClockSkew, n.Node.Name)
		}
		if n.Behind > 0 {
			tell(awa.Behind, n.Node.Name)
		}
	}
	return all
}

// namedMost is how many agents a sentence names.
const namedMost = 3

// found are the conditions that this agent finds without a look at the nodes: of itself,
// and of agents that are not on its list.
func (a *agent) found() []awa.Condition {
	uid := a.store.Meta().UID
	all := a.Conditions()
	if c := a.notReached(); c.Code != "" {
		all = append(all, c)
	}
	for i := range all {
		if all[i].Agent == uid { // it is not on the list
			all[i].Agent = a.listedName()
		}
	}
	return all
}

// ownConditions are those that this agent finds of itself.
func (a *agent) ownConditions() []awa.Condition {
	own := a.listedName()
	return slices.DeleteFunc(a.found(), func(c awa.Condition) bool { return c.Agent != own })
}

// votersCondition reports whether the list can be edited, and whether it still could
// be after one more loss. Before the first sweep nothing is known.
func (a *agent) votersCondition(result watch.Result) awa.Condition {
	voters := a.Voters()
	if result.At.IsZero() {
		return awa.Condition{}
	}
	if len(voters) == 0 { // only a leader names the voters to others
		return a.noLeader()
	}
	alive := map[string]bool{a.store.Meta().UID: true}
	agents := 0
	for _, n := range result.Nodes {
		if n.Node.UID == "" {
			continue
		}
		agents++
		if n.Verdict == awa.Online || n.Verdict == awa.Unreachable || n.Verdict == awa.Unjudged {
			alive[n.Node.UID] = true
		}
	}
	var missing []string
	for _, uid := range voters {
		if !alive[uid] {
			missing = append(missing, a.nameOf(uid))
		}
	}
	need, live := len(voters)/2+1, len(voters)-len(missing)
	names := strings.Join(missing, ", ")
	switch {
	case live < need:
		return awa.Condition{Code: awa.NoMajority, Text: fmt.Sprintf("the list can't be edited until a voter "+
			"is back, or, if they are lost for good, awa-agent recover is run on one agent: %s needed; not "+
			"alive: %s", awa.VotersText(need, len(voters)), names)}
	case a.noLeader().Code != "":
		return a.noLeader()
	case live > need || agents < 3:
		return awa.Condition{}
	case len(missing) > 0:
		return awa.Condition{Code: awa.LastMajority, Text: fmt.Sprintf(lastText+"%d of %d voters are alive and needed, "+
			"and these are not: %s", live, len(voters), names)}
	}
	why := "there is only one"
	if len(voters) > 1 {
		why = fmt.Sprintf("all %d are needed", len(voters))
	}
	return awa.Condition{Code: awa.LastMajority, Text: lastText + why}
}

// noLeader says for how long no leader has been known, if that is long.
func (a *agent) noLeader() awa.Condition {
	without := a.Leaderless()
	if without <= electionMost {
		return awa.Condition{}
	}
	return awa.Condition{Code: awa.NoLeader, Text: fmt.Sprintf("the list can't be edited: there has been no leader for "+
		"%v: look at the logs of the voters", without.Round(time.Second))}
}

// electionMost is how long the voters may have no leader before that is a condition: an
// election takes some two seconds.
const electionMost = 10 * time.Second

// lastText says what awa.LastMajority means and what to do.
const lastText = "one more lost voter stops edits, so stop none until another agent has become a voter: "

// nameOf is the name of an agent by its uid, or the uid where its node is gone.
func (a *agent) nameOf(uid string) string {
	if n, ok := a.store.Agent(uid); ok {
		return n.Name
	}
	return uid + " (not on the list any more)"
}
