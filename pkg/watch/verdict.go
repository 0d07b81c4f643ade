package watch

import (
	"errors"
	"fmt"
	"time"

	"are-we-alive/pkg/awa"
)

// attempt is what came of one attempt at a ping.
type attempt struct {
	self *awa.Self // who answered; nil when nobody did
	rtt  time.Duration
	end  time.Time
	at   time.Time // the same by Config.Clock

	err   error // nil when it was answered; else:
	stage awa.Stage
	text  string // the system's own words
	late  bool   // it ended because the time of the ping was over
}

// explain splits a Pinger's error. Its sentence may hold what a stranger said.
func explain(err error) (awa.Stage, string) {
	if pe, ok := errors.AsType[*awa.PingError](err); ok {
		return pe.Stage, awa.CleanText(pe.Err.Error())
	}
	return awa.StageReply, awa.CleanText(err.Error())
}

// verdictOf is what one ping that failed says of its node. A reason in a code
// was given by something that is there: by TLS, or as an answer that no agent
// of ours sends to a ping. Anything else is silence.
func verdictOf(stage awa.Stage, err error) awa.Verdict {
	code, reason := errors.AsType[awa.Code](err)
	if reason && (stage == awa.StageTLS || code == awa.ErrNoAgent || code == awa.ErrForbidden) {
		return awa.Mismatch
	}
	return awa.Offline
}

// better returns the one of a ping's two attempts that was answered, or else
// the more telling failure: the one that came further, and at the same stage
// the one that is not mere silence. After a connection that broke, the answer to another one says
// more. An attempt that this agent could not make
// leaves the other one without its second chance, so that silence alone proves
// nothing.
func better(first, second attempt) attempt {
	switch {
	case first.err == nil:
		return first
	case second.err == nil:
		return second
	case errors.Is(second.err, awa.ErrShortage) && !first.definite():
		return second
	case errors.Is(first.err, awa.ErrShortage) && second.definite():
		return second
	case errors.Is(first.err, awa.ErrShortage), errors.Is(second.err, awa.ErrShortage):
		return first
	case first.broken() && second.definite(): // its agent ended under the first one
		return second
	case depth(second.stage) > depth(first.stage):
		return second
	case second.stage == first.stage && first.late && !second.late:
		return second
	}
	return first
}

// definite reports whether a failure is an answer, after which nobody need try
// again.
func (a attempt) definite() bool {
	code, reason := errors.AsType[awa.Code](a.err)
	if reason {
		return code != awa.ErrShortage
	}
	return !a.late && (a.stage == awa.StageResolve || a.stage == awa.StageConnect)
}

// broken reports whether a failure is that of a connection which was open and ended.
func (a attempt) broken() bool {
	_, reason := errors.AsType[awa.Code](a.err)
	return !reason && !a.late && (a.stage == awa.StageReply || a.stage == awa.StageTLS)
}

// depth returns the order of the stages.
func depth(s awa.Stage) int {
	switch s {
	case awa.StageResolve:
		return 1
	case awa.StageConnect:
		return 2
	case awa.StageTLS:
		return 3
	case awa.StageReply:
		return 4
	}
	return 0
}

// stranger says who answered instead of the node, "" when it was the node
// itself. An agent is known by its uid; by its name only as long as the list
// has no uid, since a name may have been changed a moment ago. cluster is
// ours, "" when we are of none yet.
func stranger(node *awa.Node, self *awa.Self, cluster string) string {
	who := self.Name
	if awa.CheckName(who) != nil { // whatever answers there chose it, so it is not shown
		who = "one without a proper name"
	}
	switch {
	case self.IsOriginal() && node.UID == "":
		return ""
	case self.IsOriginal():
		return "the original program answers there, which knows no uid"
	case self.Cluster != cluster && self.Cluster != "" && cluster != "":
		return fmt.Sprintf("an agent of another cluster answers there (%s)", who)
	case node.UID == "" && awa.NameKey(self.Name) == node.Key(), node.UID != "" && self.UID == node.UID:
		return ""
	case awa.NameKey(self.Name) == node.Key():
		who += " with another uid"
	}
	if self.Cluster == "" || cluster == "" {
		return "another agent answers there: " + who
	}
	return fmt.Sprintf("another agent answers there: %s of this cluster", who)
}
