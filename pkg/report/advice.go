package report

import (
	"fmt"
	"strings"

	"are-we-alive/pkg/awa"
)

// Advice is what to do about nodes that are not online for the same reason.
type Advice struct {
	Nodes string // "web5-web8"
	Text  string // "systemctl start awa-agent starts it, journalctl -u awa-agent says why it ended"
}

// maxAdvice is for how many reasons there is advice, of those with the most nodes.
const maxAdvice = 3

// Advice says what to do about the nodes that are a problem, the largest groups first. There is none
// when the agent asked reaches nobody, since then the fault may be its own.
func (r Result) Advice() (all []Advice) {
	if r.Status == nil || r.Status.Isolated {
		return nil
	}
	names := map[string][]string{} // of the nodes, by the advice
	for _, n := range r.Status.Nodes {
		if text := r.adviceOn(n); text != "" && r.problem(n) {
			names[text] = append(names[text], n.Node.Name)
		}
	}
	for _, text := range largestFirst(names)[:min(maxAdvice, len(names))] {
		all = append(all, Advice{spansText(spansOf(names[text]), maxWhy), clip(plain(text), maxOnlyWhy)})
	}
	return all
}

// adviceOn says what to do about a node, by what its ping came to.
func (r Result) adviceOn(n awa.NodeStatus) string {
	asked := orWord(r.Status.Agent, "the agent asked")
	silent := strings.HasPrefix(n.Error, noAnswerWithin)
	switch {
	case n.Verdict == awa.Unjudged:
		return "give the check more time with -t: " + asked + " could not ask all nodes within it"
	case n.Verdict == awa.Unreachable:
		return "look at the network between " + asked + " and this node: routes, firewalls"
	case n.Verdict == awa.Mismatch:
		return "correct the address with awa-agent node set, or stop what answers there; an agent of another cluster joins " +
			"this one once its data folder is empty"
	case n.Goodbye.Restarting(r.at):
		return "wait: the agent is starting again"
	case n.Goodbye != nil:
		return "the agent was stopped, so it is not a failure: systemctl start awa-agent starts it again"
	case n.Stage == awa.StageConnect && n.Error == awa.Refused:
		return "systemctl start awa-agent starts the agent, and journalctl -u awa-agent says why it ended"
	case n.Stage == awa.StageConnect:
		return fmt.Sprintf("look whether the machine is on and in the network, and whether a firewall lets port %s through",
			n.Node.Port)
	case n.Stage == awa.StageResolve:
		return "look at the name servers of " + asked + ", or set an address with awa-agent node set --host"
	case silent:
		return "the machine or the agent hangs: look at its load and its log"
	case n.Stage == awa.StageTLS:
		return "compare the key file with that of " + asked + ", and look at the agent's log"
	}
	return "look at the agent's log: journalctl -u awa-agent"
}
