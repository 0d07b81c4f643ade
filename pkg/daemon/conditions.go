package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// conditions are the health codes that hold: what this agent finds of itself and
// of agents that are not on its list, what the lists of those on it have to do
// with its own, what they say of themselves, and how the voters are.
func (a *agent) conditions(look watch.Look) []awa.Condition {
	all := a.replica.Conditions()
	own := a.store.Meta().UID
	told := map[awa.Condition]bool{} // without their texts
	for _, c := range all {
		told[awa.Condition{Code: c.Code, Agent: c.Agent}] = true
	}
	add := func(c awa.Condition) {
		key := awa.Condition{Code: c.Code, Agent: c.Agent}
		if !told[key] && len(all) < awa.MaxConditions {
			told[key] = true
			all = append(all, c)
		}
	}
	for _, n := range look.Nodes {
		if n.Self == nil || n.Verdict != awa.Online || n.Self.UID == own {
			continue
		}
		if code := a.replica.Compare(*n.Self); code != "" {
			add(awa.Condition{Code: code, Agent: n.Node.Name, Text: code.Of(n.Node.Name)})
		}
		for _, code := range n.Self.Health {
			add(awa.Condition{Code: code, Agent: n.Node.Name, Text: code.Of(n.Node.Name)})
		}
	}
	if c := a.votersCondition(look); c.Code != "" {
		add(c)
	}
	order := awa.HealthCodes()
	slices.SortStableFunc(all, func(x, y awa.Condition) int {
		return slices.Index(order, x.Code) - slices.Index(order,
			y.Code)
	})
	return all
}

// votersCondition reports whether the list can be edited, and whether it still could
// be after one more loss. Before the first sweep nothing is known.
func (a *agent) votersCondition(look watch.Look) awa.Condition {
	voters := a.replica.Voters()
	if look.At.IsZero() || len(voters) == 0 {
		return awa.Condition{}
	}
	alive := map[string]bool{a.store.Meta().UID: true}
	agents := 0
	for _, n := range look.Nodes {
		if n.Node.UID == "" {
			continue
		}
		agents++
		if n.Verdict == awa.Online || n.Verdict == awa.Unreachable {
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
			"is back, or, if they are lost for good, awa-agent recover is run on one agent: %d of %d are needed, and these "+
			"are not alive: %s", need, len(voters), names)}
	case a.replica.Leaderless() > electionMost:
		return awa.Condition{Code: awa.NoLeader, Text: fmt.Sprintf("the list can't be edited: the voters have had no "+
			"leader for %v: look at their logs", a.replica.Leaderless().Round(time.Second))}
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

// electionMost is how long the voters may have no leader before that is told: an
// election takes some two seconds.
const electionMost = 10 * time.Second

// lastText says what awa.LastMajority means and what to do.
const lastText = "one more lost voter stops edits, so stop none until another agent has become a voter: "

// nameOf is the name of an agent by its uid, or the uid where its node is gone.
func (d *Daemon) nameOf(uid string) string {
	if n, ok := d.store.Agent(uid); ok {
		return n.Name
	}
	return uid + " (not on the list any more)"
}
