package report

import (
	"slices"

	"are-we-alive/pkg/awa"
)

// DefaultHealth is the state of every health code that this program knows.
func DefaultHealth() map[awa.HealthCode]State {
	all := map[awa.HealthCode]State{}
	for _, code := range awa.HealthCodes() {
		all[code] = stateOf(code.Severity())
	}
	return all
}

func stateOf(s awa.Severity) State {
	switch s {
	case awa.SeverityOK:
		return OK
	case awa.SeverityCritical:
		return Critical
	}
	return Warning
}

// condition is a health code that holds, and the state that follows.
type condition struct {
	awa.Condition
	state State
}

// healthState judges a code. One that only a later version knows counts as it
// says there by default, which this program can't know: as a warning.
func (r Rules) healthState(code awa.HealthCode) State {
	if r.Health == nil {
		return OK
	}
	if state, ok := r.Health[code]; ok {
		return state
	}
	return stateOf(code.Severity())
}

// conditions are the health codes that hold, the worst first. With a selection
// those count that are about a selected node; of the cluster as a whole nothing is
// said in a host check, and of a part of it only what counts. An agent under maintenance never is a problem.
func (r Result) conditions(selected []awa.NodeStatus, all []awa.Condition) []condition {
	var found []condition
	for _, c := range all {
		state := r.rules.healthState(c.Code)
		if c.Agent != "" {
			i := slices.IndexFunc(selected, func(n awa.NodeStatus) bool { return n.Node.Key() == awa.NameKey(c.Agent) })
			if i < 0 && (r.named || r.isListed(c.Agent)) || i >= 0 && selected[i].Node.InMaintenance(r.at) {
				continue
			}
		} else if r.named || state == OK && len(selected) < len(r.listed) {
			continue
		}
		found = append(found, condition{c, state})
	}
	slices.SortStableFunc(found, func(a, b condition) int { return worstFirst(a.state, b.state) })
	return found
}

// Condition is a health code that holds, as a person reads it.
type Condition struct {
	State      State // OK of one that does not count
	Code, Text string
}

// Conditions returns the health codes that hold, the worst first.
func (r Result) Conditions() []Condition {
	var all []Condition
	for _, c := range r.health {
		all = append(all, Condition{c.state, clip(plain(string(c.Code)), awa.MaxWord), clip(plain(c.Text), maxOnlyWhy)})
	}
	return all
}

// healthProblems is how many of the health codes that hold count as a problem.
func (r Result) healthProblems() int { return r.countHealth(func(condition) bool { return true }) }

// healthProblemsOf is healthProblems of those about one node.
func (r Result) healthProblemsOf(node string) int {
	return r.countHealth(func(c condition) bool { return awa.NameKey(c.Agent) == awa.NameKey(node) })
}

func (r Result) countHealth(counts func(condition) bool) (n int) {
	for _, c := range r.health {
		if c.state != OK && counts(c) {
			n++
		}
	}
	return n
}

// isListed reports whether a name is that of a node of the whole list.
func (r Result) isListed(name string) bool { return r.listed[awa.NameKey(name)] }

// text is the condition in one sentence.
func (c condition) text() string {
	return clip(plain(string(c.Code)), awa.MaxWord) + ": " + clip(plain(c.Text), maxOnlyWhy)
}
