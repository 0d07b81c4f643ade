package server

import (
	"testing"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// stateWhenHeard notes its state at the time that it is told of a caller.
type stateWhenHeard struct {
	*fakeAgent
	state uint64
}

func (f *stateWhenHeard) Heard(awa.Caller) { f.state = f.Self().State }

// Else every push would make the agent ask for what it is just being given.
func TestServer_tells_of_the_caller_after_its_push(t *testing.T) {
	agent := &stateWhenHeard{fakeAgent: newFake(t)}
	addr, _ := serve(t, agent, nil)
	self := agent.Self()
	client := api.NewClient(api.ClientConfig{Caller: func() awa.Caller {
		return awa.Caller{UID: "0123456789abcdef0123456789abcdef", Cluster: self.Cluster, History: self.History, State: 3}
	}})
	defer client.Close()
	push := awa.Change{ID: 3, Action: awa.Delete, Data: `{"id":2}`}
	if err := client.Push(t.Context(), addr, push); err != nil {
		t.Fatal(err)
	}
	if agent.state != 3 {
		t.Errorf("it held state %d, not the pushed 3", agent.state)
	}
}
