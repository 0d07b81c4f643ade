package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testaid"
)

// cluster is some agents that share a list.
type cluster struct {
	t      *testing.T
	agents []*agent
}

// newCluster starts n agents, a1 first, and waits until all of them hold a
// list of n nodes; args are further ones for run.
func newCluster(t *testing.T, n int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range n {
		how := []string{"--first"}
		if i > 0 {
			how = []string{"--join", c.agents[0].addr()}
		}
		a := newAgent(t, fmt.Sprintf("a%d", i+1), append(how, args...)...)
		a.start()
		c.agents = append(c.agents, a)
		c.awaitNodes(len(c.agents)) // one after the other, so that a1 is node 1
	}
	return c
}

// awaitNodes waits until every agent holds so many nodes.
func (c *cluster) awaitNodes(n int) {
	c.t.Helper()
	c.await(30*time.Second, func(a *agent) error {
		st, err := a.status(true)
		if err == nil && len(st.Nodes) != n {
			err = fmt.Errorf("agent %s holds %d nodes, not %d", a.name, len(st.Nodes), n)
		}
		return err
	})
}

// await waits until f has no error for any agent.
func (c *cluster) await(most time.Duration, f func(*agent) error) {
	c.t.Helper()
	testaid.Await(c.t, most, func() error {
		for _, a := range c.agents {
			if err := f(a); err != nil {
				return fmt.Errorf("agent %s: %w", a.name, err)
			}
		}
		return nil
	})
}

// awaitVoters waits until every agent knows of n voters and of the leader. It
// takes as long as an agent must be online to become one: 10 s.
func (c *cluster) awaitVoters(n int) {
	c.t.Helper()
	c.await(time.Minute, func(a *agent) error {
		st, err := a.status(true)
		if err == nil && (len(st.Voters) != n || st.Leader == "") {
			err = fmt.Errorf("it knows of the voters %v and the leader %q", st.Voters, st.Leader)
		}
		return err
	})
}

// awaitLeader waits until all agents know of one and the same leader, other
// than the one named, and returns it first, then the others.
func (c *cluster) awaitLeader(not string) (leader *agent, others []*agent) {
	c.t.Helper()
	testaid.Await(c.t, 30*time.Second, func() error {
		names := map[string]bool{}
		for _, a := range c.agents {
			if !a.alive() {
				continue
			}
			st, err := a.status(true)
			if err != nil {
				return err
			}
			names[st.Leader] = true
		}
		leader, others = nil, nil
		for _, a := range c.agents {
			if len(names) == 1 && names[a.name] && a.name != not {
				leader = a
			} else {
				others = append(others, a)
			}
		}
		if leader == nil {
			return fmt.Errorf("the agents see as leaders %v", names)
		}
		return nil
	})
	return leader, others
}

// status is what is used here of GET /v1/status.
type status struct {
	Agent, Leader string
	State         uint64
	Voters        []string
	SweptAt       string  `json:"swept_at"`
	TookMS        float64 `json:"took_ms"`
	Nodes         []struct {
		ID                             uint64
		Name, Host, Port, Verdict, UID string
		Status                         *struct{ UID string }
	}
}

// status asks the agent for the cluster's; cached for its last sweep's.
func (a *agent) status(cached bool) (st status, err error) {
	path := "/v1/status"
	if cached {
		path += "?cached=1"
	}
	b, err := a.get(path)
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

// client is for single questions; each has 5 s.
var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the agent; an answer other than 200 is an error.
func (a *agent) get(path string) ([]byte, error) {
	resp, err := client.Get("http://" + a.addr() + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", path, resp.StatusCode, b)
	}
	return b, err
}

// state is the id of the newest change that the agent holds.
func (a *agent) state() (uint64, error) {
	b, err := a.get("/ping")
	if err != nil {
		return 0, err
	}
	var ping struct {
		Status struct {
			State uint64 `json:"db_state"`
		}
	}
	err = json.Unmarshal(b, &ping)
	return ping.Status.State, err
}

// list waits until all agents hold one and the same sequence of changes, of
// at least the given state, byte by byte, and returns it.
func (c *cluster) list(atLeast uint64) []change {
	c.t.Helper()
	c.await(30*time.Second, func(a *agent) error {
		state, err := a.state()
		if err == nil && state < atLeast {
			err = fmt.Errorf("its state is %d, not %d", state, atLeast)
		}
		return err
	})
	var first []byte
	testaid.Await(c.t, 30*time.Second, func() error {
		var all [][]byte
		for _, a := range c.agents {
			b, err := a.get("/sync?state=-1")
			if err != nil {
				return err
			}
			all = append(all, b)
		}
		first = all[0]
		for i, b := range all[1:] {
			if !bytes.Equal(b, first) {
				return fmt.Errorf("agents %s and %s hold other lists:\n%s", c.agents[0].name, c.agents[i+1].name,
					difference(first, b))
			}
		}
		return nil
	})
	var changes []change
	if err := json.Unmarshal(first, &changes); err != nil {
		c.t.Fatal(err)
	}
	for i, ch := range changes {
		if ch.ID != uint64(i)+1 {
			c.t.Fatalf("the id of change %d is %d", i+1, ch.ID)
		}
	}
	return changes
}

// difference shows two texts from where they differ.
func difference(a, b []byte) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	show := func(b []byte) string { return fmt.Sprintf("%.300s", b[min(max(0, n-50), len(b)):]) }
	return fmt.Sprintf("…%s\n…%s", show(a), show(b))
}

// change is an element of the answer of GET /sync.
type change struct {
	ID           uint64
	Action, Data string
	Key          string
}

// UnmarshalJSON reads [id, action, data, Raft index, term, idempotency key].
func (c *change) UnmarshalJSON(b []byte) error {
	var index, term uint64
	return json.Unmarshal(b, &[]any{&c.ID, &c.Action, &c.Data, &index, &term, &c.Key})
}

// edit sends an edit to the agent, and returns the id of its change. Its error
// is a refusal when it was answered.
func (a *agent) edit(ctx context.Context, with *http.Client, action, data, key string) (editAnswer, error) {
	body := fmt.Sprintf(`{"action":%q,"data":%s}`, action, data)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.addr()+"/v1/changes", strings.NewReader(body))
	if err != nil {
		return editAnswer{}, err
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := with.Do(req)
	if err != nil {
		return editAnswer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return editAnswer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		r := refusal{Status: resp.StatusCode}
		if err := json.Unmarshal(b, &r); err != nil || r.Code == "" || r.Text == "" {
			return editAnswer{}, fmt.Errorf("%d %q is not a refusal", resp.StatusCode, b)
		}
		return editAnswer{}, r
	}
	var answer editAnswer
	err = json.Unmarshal(b, &answer)
	return answer, err
}

// editAnswer is the answer of POST /v1/changes.
type editAnswer struct {
	ID   uint64
	Node struct{ ID uint64 }
}

// refusal is the answer to what was not done.
type refusal struct {
	Status int    `json:"-"`
	Text   string `json:"error"`
	Code   string
}

func (r refusal) Error() string { return strconv.Itoa(r.Status) + " " + r.Code + ": " + r.Text }
