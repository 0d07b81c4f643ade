//go:build system

package hostile

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/trust"
	"are-we-alive/test/program"
)

const (
	// editWithin is how long an edit may take once a leader is there.
	editWithin = 20 * time.Second
	// lieFor is how long a lying agent is pinged: some twenty sweeps, and four
	// times as long as a voter takes to act on what it believes.
	lieFor = 4 * time.Second
)

// memberOf makes a client that is a member, and says in its requests that it is
// who.
func memberOf(t *testing.T, keys string, who awa.Caller) *api.Client {
	t.Helper()
	cfg := api.ClientConfig{Caller: func() awa.Caller { return who }}
	if keys != "" {
		all, err := trust.ReadFile(keys, false)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := trust.NewClient(all, awa.RoleMember)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Secure = ring.Secure
	}
	c := api.NewClient(cfg)
	t.Cleanup(c.Close)
	return c
}

// raftCluster starts four agents and waits until three of them vote.
func raftCluster(t *testing.T, keys string, client *api.Client) []*program.Agent {
	t.Helper()
	all := program.Cluster(t, keys, 4)
	testaid.Await(t, 60*time.Second, func() error {
		leader := leaderOf(t, client, all)
		if leader == nil {
			return fmt.Errorf("nobody leads")
		}
		self := pingAgent(t, client, leader)
		if n := len(self.Voters.UIDs); n != 3 {
			return fmt.Errorf("there are %d voters", n)
		}
		return nil
	})
	return all
}

func pingAgent(t *testing.T, client *api.Client, a *program.Agent) awa.Self {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	self, err := client.Ping(ctx, a.Addr(), true)
	if err != nil {
		t.Fatalf("ping %s: %v", a.Name, err)
	}
	return self
}

// leaderOf is the agent that leads, nil when none says so.
func leaderOf(t *testing.T, client *api.Client, all []*program.Agent) *program.Agent {
	t.Helper()
	for _, a := range all {
		if self := pingAgent(t, client, a); self.Leader == self.UID && self.Voters != nil {
			return a
		}
	}
	return nil
}

// editAtEach adds a node at each of the agents, each within its time.
func editAtEach(t *testing.T, client *api.Client, when string, all []*program.Agent) {
	t.Helper()
	for _, a := range all {
		e := awa.Edit{Action: awa.Create, Data: fmt.Appendf(nil,
			`{"name":%q,"host":"127.0.0.1","port":1,"maintenance":"2099-01-01T00:00:00Z"}`, "x"+awa.NewUID()[:12]),
			Key: awa.NewUID()}
		var id uint64
		testaid.Await(t, editWithin, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			var err error
			if id, _, err = client.Edit(ctx, a.Addr(), e, 0); err != nil {
				return fmt.Errorf("%s: edit at %s: %w", when, a.Name, err)
			}
			return nil
		})
		if id == 0 {
			t.Errorf("%s: the edit at %s has no id", when, a.Name)
		}
	}
}

// sameLists waits until all agents hold the same changes.
func sameLists(t *testing.T, client *api.Client, when string, all []*program.Agent) {
	t.Helper()
	testaid.Await(t, 30*time.Second, func() error {
		var first awa.ChangeSet
		for i, a := range all {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			set, err := client.Sync(ctx, a.Addr(), awa.Position{}, 0)
			cancel()
			if err != nil {
				return err
			}
			if i == 0 {
				first = set
			}
			if !slices.Equal(first.Changes, set.Changes) {
				return fmt.Errorf("%s: the lists of %s (state %d) and %s (state %d) differ", when, all[0].Name, first.State,
					a.Name, set.State)
			}
		}
		return nil
	})
}

// restart stops agents and starts them again, all at once.
func restart(all []*program.Agent) {
	for _, a := range all {
		a.Kill()
	}
	for _, a := range all {
		a.Start()
	}
}

// A change that somebody pushes, with an index that the voters' log has not
// reached or with other content than was decided, stops no later edit, at
// whichever agent, and is in no list.
func TestForgedPush(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		client := memberOf(t, keys, awa.Caller{})
		all := raftCluster(t, keys, client)
		end := all[0].Witness(keys, 3*time.Second)
		leader := pingAgent(t, client, leaderOf(t, client, all))
		for name, index := range map[string]uint64{"far": 1 << 62, "ahead": leader.LogIndex + 1000,
			"next": leader.LogIndex + 1, "highest": 1<<64 - 1} {
			for i, a := range all {
				self := pingAgent(t, client, a)
				liar := memberOf(t, keys, awa.Caller{UID: leader.UID, Cluster: self.Cluster, History: self.History,
					State: self.State})
				forged := awa.Change{
					ID: self.State + 1, Action: awa.Update, Index: index, Term: 1 << 40, Key: awa.NewUID(),
					Data: fmt.Sprintf(`{"id":1,"name":"forged-%s-%d","host":"127.0.0.1","port":"2"}`, name, i),
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				err := liar.Push(ctx, a.Addr(), forged)
				cancel()
				if err == nil {
					t.Errorf("agent %s took the forged change with index %d", a.Name, index)
				}
			}
			editAtEach(t, client, "after a push with the index "+name, all)
		}
		sameLists(t, client, "after forged pushes", all)
		if end() == 0 {
			t.Error("nobody asked")
		}
		restart(all)
		editAtEach(t, client, "after a restart", all)
		sameLists(t, client, "after a restart", all)
	})
}

// pretender is an agent on the list, at its own address and with a certificate of
// the cluster, that says it leads.
type pretender struct {
	self awa.Self
	addr net.Addr
}

// newPretender listens; it lies from the first ping on.
func newPretender(t *testing.T, keys string, like awa.Self) *pretender {
	t.Helper()
	like.UID, like.Name, like.Instance = awa.NewUID(), "liar", "liar"
	like.Leader, like.State, like.LogIndex = like.UID, 1<<62, 1<<62
	like.Voters = &awa.VoterSet{Index: 1 << 62, Term: 1<<64 - 1, UIDs: []string{like.UID}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &pretender{like, ln.Addr()}
	if keys != "" {
		all, err := trust.ReadFile(keys, false)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := trust.NewAgent(all, like.UID, like.Name)
		if err != nil {
			t.Fatal(err)
		}
		ln = tls.NewListener(ln, ring.Server())
	}
	ctx, stop := context.WithCancel(context.Background())
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/ping":
				now := l.self
				now.Time, now.TimeMS = time.Now().Unix(), time.Now().UnixMilli()
				json.NewEncoder(w).Encode(map[string]awa.Self{"status": now})
			case "/sync": // never answers
				select {
				case <-ctx.Done():
				case <-r.Context().Done():
				}
			default:
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"error":"no","code":"no_majority"}`)
			}
		}),
		ErrorLog: nil,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(ln)
	}()
	t.Cleanup(func() {
		stop()
		server.Close()
		<-done
	})
	return l
}

// An agent on the list that answers each ping as the leader, with itself as
// the only voter of an index that nobody can reach and a list ahead of all,
// stops no edit: neither while it lies, nor after the next death of the leader,
// nor after a restart of all.
func TestLyingLeader(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		t.Parallel()
		client := memberOf(t, keys, awa.Caller{})
		all := raftCluster(t, keys, client)
		first := leaderOf(t, client, all)
		l := newPretender(t, keys, pingAgent(t, client, first))
		_, port, err := net.SplitHostPort(l.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), editWithin)
		defer cancel()
		_, _, err = client.Edit(ctx, first.Addr(), awa.Edit{
			Action: awa.Create, Key: awa.NewUID(),
			Data: fmt.Appendf(nil, `{"name":"liar","host":"127.0.0.1","port":%q,"uid":%q}`, port, l.self.UID),
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for n := 0; time.Since(began) < lieFor; n++ { // edits all the time
			editAtEach(t, client, "while it lies", all)
		}
		leader := leaderOf(t, client, all)
		if leader == nil {
			t.Fatal("the voters lost their leader")
		}
		leader.Kill()
		rest := slices.DeleteFunc(slices.Clone(all), func(a *program.Agent) bool { return a == leader })
		editAtEach(t, client, "after the death of the leader", rest)
		for _, a := range rest {
			if self := pingAgent(t, client, a); self.Leader == l.self.UID {
				t.Errorf("agent %s takes the liar for the leader", a.Name)
			}
		}
		leader.Start()
		restart(all)
		editAtEach(t, client, "after a restart", all)
		sameLists(t, client, "after a restart", all)
	})
}
