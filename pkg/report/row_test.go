package report_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// clusterOf is a cluster with these names.
func clusterOf(names ...string) awa.ClusterStatus {
	st := cluster(len(names))
	for i, name := range names {
		st.Nodes[i].Node.Name = name
	}
	return st
}

func namesOf(rows []report.Row) (names []string) {
	for _, row := range rows {
		names = append(names, row.Name)
	}
	return names
}

func TestRows_order(t *testing.T) {
	st := clusterOf("web10", "Web2", "db", "a1b2", "a1b10", "web02", "web1")
	kill(st, 0, awa.StageConnect, "connection refused")
	kill(st, 2, awa.StageConnect, "connection refused")
	maintain(st, 2)
	st.Nodes[2].Since = now.Add(-time.Second)
	kill(st, 5, awa.StageConnect, "no answer within 1s")
	st.Nodes[5].Verdict, st.Nodes[5].SeenBy = awa.Unreachable, []string{"db"}
	st.Nodes[1].Skew = time.Minute
	st.Nodes[1].RTT = time.Second
	r := report.Evaluate(st, all, rules(t, "", "0"), now)
	for name, want := range map[string]string{
		"problems": "web10 Web2 web02 db a1b2 a1b10 web1",
		"name":     "a1b2 a1b10 db web1 Web2 web02 web10",
		"rtt":      "Web2 web1 a1b10 a1b2 db web02 web10",
		"since":    "db web02 web10 a1b2 a1b10 web1 Web2",
	} {
		order, err := report.ParseOrder(name)
		if err != nil {
			t.Fatal(err)
		}
		rows := r.Rows(order, false)
		if name == "problems" { // web02 and Web2 are the same to a WARNING
			slices.SortStableFunc(rows[1:3], func(a, b report.Row) int { return strings.Compare(a.Name, b.Name) })
		}
		if got := strings.Join(namesOf(rows), " "); got != want {
			t.Errorf("by %s: %s, want %s", name, got, want)
		}
	}
	if got := strings.Join(namesOf(r.Rows(report.DefaultOrder(), true)), " "); got != "web10 web02 Web2" {
		t.Errorf("the problems are %s", got)
	}
	var b bytes.Buffer
	if err := report.Names(&b, r, report.Options{Problems: true}); err != nil || b.String() != "web10\nweb02\nWeb2\n" {
		t.Errorf("%v: %s", err, &b)
	}
}

// Without a problem a table of the problems has no rows, and no head.
func TestTable_noProblems(t *testing.T) {
	var b bytes.Buffer
	r := report.Evaluate(cluster(3), all, rules(t, "", "0"), now)
	if err := report.Table(&b, r, report.Options{Problems: true}); err != nil ||
		b.String() != "3 nodes online · leader n2 · 3 voters · list 3 · asked n1\n" {
		t.Errorf("%v: %s", err, &b)
	}
}

func TestAdvice(t *testing.T) {
	at := func(stage awa.Stage, why string, change func(*awa.NodeStatus)) awa.ClusterStatus {
		st := clusterOf("n1", "n2")
		kill(st, 1, stage, why)
		if change != nil {
			change(&st.Nodes[1])
		}
		return st
	}
	goodbye := func(why awa.StopReason) func(*awa.NodeStatus) {
		return func(n *awa.NodeStatus) { n.Goodbye = &awa.Goodbye{At: now.Add(-time.Second), Reason: why} }
	}
	for name, test := range map[string]struct {
		status awa.ClusterStatus
		want   string // in the advice; "" is none
	}{
		"all is well":      {cluster(2), ""},
		"refused":          {at(awa.StageConnect, "connection refused", nil), "n2: systemctl start awa-agent"},
		"silent":           {at(awa.StageConnect, "no answer within 1s", nil), "whether a firewall lets port 25483 through"},
		"no route":         {at(awa.StageConnect, "no route to host", nil), "whether the machine is on"},
		"unknown name":     {at(awa.StageResolve, "no such host", nil), "the name servers of n1"},
		"hangs":            {at(awa.StageTLS, "no answer within 1s", nil), "hangs"},
		"hangs, answering": {at(awa.StageReply, "no answer within 1s", nil), "hangs"},
		"another key":      {at(awa.StageTLS, "the agent there has another key", nil), "compare the key file with that of n1"},
		"stopped":          {at(awa.StageConnect, "connection refused", goodbye(awa.StopShutdown)), "is not a failure"},
		"restarting":       {at(awa.StageConnect, "connection refused", goodbye(awa.StopRestart)), "wait: "},
		"cut off": {at(awa.StageConnect, "no answer within 1s", func(n *awa.NodeStatus) { n.Verdict = awa.Unreachable }),
			"the network between n1 and this node"},
		"another agent": {at(awa.StageReply, "another agent answers there", func(n *awa.NodeStatus) { n.Verdict = awa.Mismatch }),
			"correct the address"},
		"maintenance": {at(awa.StageConnect, "connection refused", func(n *awa.NodeStatus) {
			n.Node.Maintenance = now.Add(time.Hour).Format(time.RFC3339)
		}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			advice := report.Evaluate(test.status, all, rules(t, "", "0"), now).Advice()
			switch {
			case len(advice) == 0 && test.want == "":
			case len(advice) != 1 || !strings.Contains(advice[0].Nodes+": "+advice[0].Text, test.want):
				t.Errorf("it says %q", advice)
			}
			test.status.Isolated = true
			if advice := report.Evaluate(test.status, all, rules(t, "", "0"), now).Advice(); len(advice) > 0 {
				t.Errorf("from an agent that reaches nobody it says %q", advice)
			}
		})
	}
	st := cluster(20)
	for i := range 12 {
		kill(st, i+1, awa.StageConnect, []string{"connection refused", "no answer within 1s"}[i/10])
	}
	advice := report.Evaluate(st, all, rules(t, "", "0"), now).Advice()
	if len(advice) != 2 || advice[0].Nodes != "n2-n11" || advice[1].Nodes != "n12, n13" {
		t.Errorf("of two groups it says %q", advice)
	}
}
