package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/backoff"
	"are-we-alive/pkg/consensus"
)

// Join fetches the list from one of the contacts, asked in random order,
// again with growing pauses while none answers. It returns when the list is
// here, or with ctx's error. After each round without a list it calls failed with why.
func Join(ctx context.Context, cfg Config, failed func(string)) error {
	for pauses := newJoinPauses(); ; {
		joined, tried := joinAny(ctx, cfg, syncTimeout)
		if joined || ctx.Err() != nil {
			return ctx.Err()
		}
		failed(strings.Join(tried, ", "))
		wait := pauses.Next()
		cfg.Log.Warn("no agent to join answers, trying again; a new cluster needs one agent that is started with --first",
			"tried", strings.Join(tried, ", "), "wait", wait.Round(time.Millisecond))
		if err := backoff.Wait(ctx, wait); err != nil {
			return err
		}
	}
}

// JoinNow is Join, but asks each contact just once, and reports whether one had
// the list.
func JoinNow(ctx context.Context, cfg Config) (joined bool, err error) {
	joined, failed := joinAny(ctx, cfg, 2*time.Second)
	if !joined {
		cfg.Log.Info("no agent to join answers with a list", "tried", strings.Join(failed, ", "))
	}
	return joined, ctx.Err()
}

// joinAny asks the contacts in random order until one has the list, and waits
// for each for so long.
func joinAny(ctx context.Context, cfg Config, patience time.Duration) (joined bool, failed []string) {
	for _, i := range rand.Perm(len(cfg.Contacts)) {
		addr := cfg.Contacts[i]
		err := joinFrom(ctx, cfg, addr, patience)
		if err == nil || ctx.Err() != nil {
			return err == nil, failed
		}
		failed = append(failed, fmt.Sprintf("%s (%v)", addr, err))
	}
	return false, failed
}

// newJoinPauses returns the pauses before the contacts are asked again.
func newJoinPauses() *backoff.Backoff { return backoff.New(time.Second, 30*time.Second) }

func joinFrom(ctx context.Context, cfg Config, addr string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	set, err := cfg.Peers.Sync(ctx, addr, awa.Position{}, page)
	if err != nil {
		return err
	}
	if set.Cluster == "" {
		return awa.NotJoined("")
	}
	if err := consensus.Forget(cfg.List, cfg.Dir); err != nil {
		return err
	}
	if err := cfg.List.Init(set); err != nil {
		return err
	}
	cfg.Log.Info("joined", "from", addr, "cluster", set.Cluster, "state", set.State)
	for cfg.List.State() < set.State {
		more, err := cfg.Peers.Sync(ctx, addr, cfg.List.Position(), page)
		if err == nil && len(more.Changes) > 0 {
			err = cfg.List.Apply(more.Changes)
		}
		if err != nil || len(more.Changes) == 0 {
			return nil // pings show soon who has the rest
		}
	}
	return nil
}

// Meet asks the contacts, in random order, what they hold, again with growing
// pauses while none answers: this agent may have been away while all others
// moved. It fails with awa.ErrOtherCluster when one belongs to a cluster that
// was bootstrapped apart.
func (r *Replica) Meet(ctx context.Context) error {
	for pauses := newJoinPauses(); ; {
		met := 0
		var failed []string
		for _, i := range rand.Perm(len(r.cfg.Contacts)) {
			addr := r.cfg.Contacts[i]
			self, err := r.ping(ctx, addr)
			switch m := r.list.Meta(); {
			case err != nil:
				failed = append(failed, fmt.Sprintf("%s (%v)", addr, err))
			case self.UID == r.uid && self.Instance == r.cfg.Instance: // all agents may have the same contacts
			case self.Cluster != "" && self.Cluster != m.Cluster && self.Digest != (awa.Digest{}) && r.alone():
				met++
				r.Answered(addr, self) // reconcile looks which of the two stays
			case self.Cluster != "" && self.Cluster != m.Cluster:
				return awa.Faultf(awa.ErrOtherCluster, "agent %s at %s belongs to cluster %s, this agent's list to cluster "+
					"%s, and two clusters never mix: to move this server there, start it with an "+
					"empty data folder", self.Name, addr, self.Cluster, m.Cluster)
			default:
				met++
				r.Answered(addr, self)
			}
		}
		if met > 0 || len(failed) == 0 || ctx.Err() != nil {
			return nil
		}
		wait := pauses.Next()
		r.log.Warn("none of the agents to join answers, trying again",
			"tried", strings.Join(failed, ", "), "wait", wait.Round(time.Millisecond))
		if backoff.Wait(ctx, wait) != nil {
			return nil
		}
	}
}

func (r *Replica) ping(ctx context.Context, addr string) (awa.Self, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return r.cfg.Peers.Ping(ctx, addr, true)
}
