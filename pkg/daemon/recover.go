package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/consensus"
	"are-we-alive/pkg/store"
)

// Recovered is what Recover has done.
type Recovered struct {
	History  awa.History // that this agent begins
	State    uint64      // of its list, which stays
	Answered []string    // the agents of the list that answered, by name
	Silent   []string    // those that did not
}

// recoverWithin is how long each agent may take to answer.
const recoverWithin = 2 * time.Second

// Recover makes the stopped agent of a data folder the only voter of a new
// history, which keeps its list: for a cluster that has lost the majority of its
// voters for good. It asks the agents on the list first, and refuses, unless
// forced, while a majority of the voters answers, while another agent holds a
// longer list, or where one has begun a later history already. ask is a ping.
func Recover(ctx context.Context, dataDir string, ask func(ctx context.Context, addr string) (awa.Self, error),
	force bool) (done Recovered, err error) {
	path := filepath.Join(dataDir, "awa.db")
	empty := fmt.Errorf("%s holds no node list, so there is nothing to recover: run it on a server that has one, or "+
		"restore a backup; nothing was changed", dataDir)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return done, empty
	}
	st, err := store.Open(path)
	if errors.Is(err, awa.ErrInUse) {
		return done, fmt.Errorf("the agent of %s runs: stop it first (systemctl stop awa-agent), then try again; "+
			"nothing was changed", dataDir)
	}
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	m := st.Meta()
	if m.Cluster == "" {
		return done, empty
	}
	answers, silent := survey(ctx, m, st.Nodes(), ask)
	done.Silent = silent
	epoch := m.Epoch
	for _, self := range answers {
		done.Answered = append(done.Answered, self.Name)
		epoch = max(epoch, self.History.Epoch)
	}
	if !force {
		if err := mayRecover(st, answers); err != nil {
			return done, err
		}
	}
	done.State = st.State()
	done.History, err = consensus.Recover(st, filepath.Join(dataDir, "raft"), epoch+1)
	return done, err
}

// HighestEpoch is the highest epoch of a history of a backup's cluster that its
// agents know, or that of the backup: a restore must begin a higher one.
func HighestEpoch(ctx context.Context, set awa.ChangeSet, ask func(ctx context.Context, addr string) (awa.Self,
	error)) (uint64, error) {
	list, err := awa.Replay(set.Changes)
	if err != nil {
		return 0, err
	}
	epoch := set.History.Epoch
	answers, _ := survey(ctx, awa.Meta{Cluster: set.Cluster}, list.Nodes(), ask)
	for _, self := range answers {
		epoch = max(epoch, self.History.Epoch)
	}
	return epoch, nil
}

// survey pings the agents of a list at once, except the one whose list it is,
// and returns what those say that are of its cluster, and the names of those that
// don't answer.
func survey(ctx context.Context, m awa.Meta, nodes []awa.Node,
	ask func(ctx context.Context, addr string) (awa.Self, error)) (answers []awa.Self, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, n := range nodes {
		if n.UID == "" || n.UID == m.UID {
			continue
		}
		all.Go(func() {
			self, err := ask(ctx, n.Addr())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || self.Cluster != m.Cluster {
				silent = append(silent, n.Name)
				return
			}
			answers = append(answers, self)
		})
	}
	all.Wait()
	slices.SortFunc(answers, func(a, b awa.Self) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(silent)
	return answers, silent
}

// mayRecover says why the agent of a list should not begin a history, given what
// the others answer.
func mayRecover(st *store.Store, answers []awa.Self) error {
	m := st.Meta()
	state := st.State()
	voters := m.Voters
	for _, self := range answers {
		if self.History.Epoch > m.History.Epoch {
			return fmt.Errorf("agent %s follows the later history %s already: start this agent, which then follows it too; "+
				"nothing was changed (--force begins another one still)", self.Name, self.History)
		}
		if v := self.Voters; v != nil && self.History == m.History && v.Index > voters.Index {
			voters = *v
		}
	}
	alive, here := 0, slices.Contains(voters.UIDs, m.UID)
	var names []string
	for _, self := range answers {
		if self.History == m.History && slices.Contains(voters.UIDs, self.UID) {
			alive++
			names = append(names, self.Name)
		}
	}
	need := len(voters.UIDs)/2 + 1
	switch {
	case len(voters.UIDs) > 0 && alive >= need:
		return fmt.Errorf("%d of %d voters answer (%s), which is a majority: start this agent, it follows them; nothing "+
			"was changed (if they elect no leader for minutes, --force begins a new history "+
			"still)", alive, len(voters.UIDs), strings.Join(names, ", "))
	case len(voters.UIDs) > 1 && here && alive+1 >= need:
		return fmt.Errorf("with this agent %d of %d voters are there (%s answer), which is a majority: start this agent; "+
			"nothing was changed (if they elect no leader for minutes, --force begins a new history "+
			"still)", alive+1, len(voters.UIDs), strings.Join(names, ", "))
	}
	for _, self := range answers {
		if self.History == m.History && self.State > state {
			return fmt.Errorf("agent %s holds change %d, and this one only change %d: run awa-agent recover there instead; "+
				"nothing was changed (--force begins with this list still, and the changes after it go to a file "+
				"there)", self.Name, self.State, state)
		}
	}
	return nil
}
