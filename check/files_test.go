package main

import (
	"context"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// TestShortage is about agents that could not be asked, or could not look
// themselves: nothing is known of the cluster then.
func TestShortage(t *testing.T) {
	fault := &awa.Fault{Code: awa.ErrShortage, Text: "too many open files"}
	ours, theirs := refuse(&awa.PingError{Stage: awa.StageConnect, Err: fault}), refuse(fault)
	for name, c := range map[string]struct {
		first, second func(context.Context) (awa.ClusterStatus, error) // nil refuses the connection
		args          string
		want          report.State
		says          string
	}{
		"of ours":                      {ours, ours, "", report.Unknown, "connect: too many open files"},
		"of the agents'":               {theirs, theirs, "", report.Unknown, "too many open files"},
		"whatever a dead agent counts": {theirs, theirs, "--no-answer-state ok", report.Unknown, "too many open files"},
		"and a dead agent":             {nil, theirs, "", report.Unknown, "too many open files"},
		"and an agent that answers":    {theirs, after(0, cluster(3)), "", report.OK, "3 of 3"},
		"none":                         {nil, nil, "", report.Critical, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			agents := &fake{agents: map[string]func(context.Context) (awa.ClusterStatus, error){"10.0.0.1:25483": c.first,
				"10.0.0.2:25483": c.second}}
			code, out, _ := checkWith(t, t.Context(), agents, append([]string{"-H", "10.0.0.1", "-H", "10.0.0.2"},
				strings.Fields(c.args)...)...)
			if code != c.want.ExitCode() || !strings.Contains(out, c.says) {
				t.Errorf("%d, want %d and %q: %s", code, c.want.ExitCode(), c.says, out)
			}
		})
	}
}
