package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
	"are-we-alive/pkg/trust"
)

// patience is how long one agent is asked alone before the next is asked
// beside it.
const patience = 500 * time.Millisecond

// answer is what came of asking the agent of that index.
type answer struct {
	agent    int
	status   awa.ClusterStatus
	err      error
	panicked any
}

// What ask ends with when it has no status.
var (
	errNoAgent = errors.New("no agent answers")
	errTooLate = errors.New("no agent answers in time")
	errKey     = errors.New("no agent accepts the key")
	// errShort says that this process or an agent lacks descriptors or the like,
	// and nothing of the cluster.
	errShort = errors.New("something is missing to ask with")
)

// without is the result when ask ended with an error and without a status.
func (c config) without(failures []report.Failure, err error) report.Result {
	switch {
	case errors.Is(err, errShort):
		return report.NoAnswer(failures, report.Unknown, time.Now())
	case errors.Is(err, errKey):
		return report.KeyRefused(failures, time.Now())
	case errors.Is(err, errTooLate):
		return report.NoAnswer(failures, c.tooLate, time.Now())
	}
	return report.NoAnswer(failures, c.noAnswer, time.Now())
}

// ask returns the first answer of an agent that has a status, and the agents that failed
// before, in the order of the command line. They are asked one after the
// other: the next at once when one fails, and beside it when it has not
// answered for a while. With errNoAgent all have failed, with errTooLate one of
// them because the time was over, with errShort one since something was missing
// to ask with, and with errKey each of them because of the key: they run, and
// nothing is known of the cluster.
//
// The view of an agent that reaches no other one is poor, and so is that of one that is
// alone on its list or not on it, or contradicts the cluster. The next agent is asked for
// a better view. Only when there is none, the poor one is used, and is not a failure.
//
// An agent that hangs is not waited for: the process must end in time, and
// its end ends whatever is left.
func ask(ctx context.Context, agents fetcher, cfg config,
	start time.Time) (answer, []report.Failure, error) {
	// What remains after the call ends in time is for those who notice that
	// late, and then for printing.
	margin := min(cfg.timeout/5, 200*time.Millisecond)
	callCtx, cancel := context.WithDeadline(ctx, start.Add(cfg.timeout-margin))
	defer cancel()
	over := time.NewTimer(time.Until(start.Add(cfg.timeout - margin/2)))
	defer over.Stop()
	// Everyone shall have been asked when half the time is over.
	turn := min(patience, cfg.timeout/time.Duration(2*len(cfg.agents)))
	next := time.NewTimer(0)
	defer next.Stop()

	answers := make(chan answer, len(cfg.agents))
	errs := make([]error, len(cfg.agents))
	var alone *answer // the first one that is poor, while others are asked
	for asked, failed := 0, 0; failed < len(cfg.agents); {
		select {
		case <-next.C:
			if asked < len(cfg.agents) {
				go fetch(callCtx, agents, cfg, asked, answers)
				asked++
				next.Reset(turn)
			}
		case a := <-answers:
			if a.panicked != nil {
				panic(a.panicked)
			}
			if a.err == nil && !poorView(a.status, cfg) {
				return a, failures(cfg, errs), nil
			}
			if a.err == nil && alone == nil {
				alone = &a
			}
			if errs[a.agent] = a.err; a.err == nil {
				errs[a.agent] = report.ErrDoubtful
				if a.status.Isolated {
					errs[a.agent] = report.ErrIsolated
				}
			}
			failed++
			next.Reset(0)
		case <-ctx.Done():
			return answer{}, nil, ctx.Err()
		case <-over.C:
			for i := range errs {
				if errs[i] == nil {
					errs[i] = context.DeadlineExceeded
				}
			}
			failed = len(errs)
		}
	}
	if alone != nil {
		errs[alone.agent] = nil
		return *alone, failures(cfg, errs), nil
	}
	return answer{}, failures(cfg, errs), noAnswer(errs)
}

// noAnswer returns why no agent answered, when each has failed with an error: see ask.
func noAnswer(errs []error) error {
	switch {
	case slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, awa.ErrShortage) }):
		return errShort
	case slices.ContainsFunc(errs, awa.IsTimeout):
		return errTooLate
	case !slices.ContainsFunc(errs, func(err error) bool { return !isKeyRefused(err) }):
		return errKey
	}
	return errNoAgent
}

// poorView reports whether another agent, if there is one, may know better: a
// founder that lost its disk, say, has a cluster of its own until the others call.
// One that was asked for some nodes alone reports no others, and may know none of them.
func poorView(s awa.ClusterStatus, cfg config) bool {
	few := 1
	if len(cfg.selection.Names) > 0 {
		few = 0
	}
	return s.Isolated || len(cfg.agents) > 1 && len(s.Nodes) <= few ||
		slices.ContainsFunc(s.Health, func(c awa.Condition) bool {
			own := c.Agent == "" || awa.NameKey(c.Agent) == awa.NameKey(s.Agent)
			switch c.Code {
			case awa.OtherCluster, awa.Diverged, awa.OtherHistory:
				return own
			case awa.Unlisted:
				return own && c.Agent != "" // else it is about a stranger
			}
			return false
		})
}

// maxAsked is how many nodes an agent is asked for by their names: with more of them it
// is asked for all nodes, since the names would not fit into a request.
const maxAsked = 50

// fetch asks one agent. A panic is handed on, so that it ends the check as
// one of its own does.
func fetch(ctx context.Context, agents fetcher, cfg config, i int, to chan<- answer) {
	a := answer{agent: i}
	defer func() {
		a.panicked = recover()
		to <- a
	}()
	names := cfg.selection.Names
	if len(names) > maxAsked || cfg.options.Mesh { // which is of all nodes
		names = nil
	}
	a.status, a.err = agents.ClusterStatus(ctx, cfg.agents[i], false, names...)
}

// failures names the agents that failed and why. A time that was over is reported
// as the user set it.
func failures(cfg config, errs []error) []report.Failure {
	var all []report.Failure
	for i, err := range errs {
		if err == nil {
			continue
		}
		if awa.IsTimeout(err) {
			late := fmt.Errorf("no answer within %v", cfg.timeout)
			var ping *awa.PingError
			if errors.As(err, &ping) {
				late = &awa.PingError{Stage: ping.Stage, Err: late}
			}
			err = late
		}
		all = append(all, report.Failure{Agent: cfg.agents[i], Err: err})
	}
	return all
}

// isKeyRefused reports whether an agent and this side do not accept each
// other's key. What an answer says does not count, since nobody has vouched
// for who sent it.
func isKeyRefused(err error) bool {
	why, ok := errors.AsType[*trust.Failure](err)
	return ok && (why.Code == trust.ErrOtherKey || why.Code == trust.ErrRefused)
}
