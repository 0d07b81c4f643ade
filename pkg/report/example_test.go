package report_test

import (
	"fmt"
	"os"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/report"
)

// exampleStatus is what an agent saw: one of two nodes is dead.
func exampleStatus() awa.ClusterStatus {
	return awa.ClusterStatus{Agent: "web1", Leader: "web1", Voters: []string{"web1"}, State: 2, Nodes: []awa.NodeStatus{
		{Node: awa.Node{ID: 1, Name: "web1", Host: "10.0.0.1", Port: 25483}, Verdict: awa.Online, RTT: time.Millisecond},
		{Node: awa.Node{ID: 2, Name: "db1", Host: "10.0.0.3", Port: 25483}, Verdict: awa.Offline,
			Stage: awa.StageConnect, Error: "no answer within 1s", Since: time.Now().Add(-4 * time.Minute)},
	}}
}

// A status is judged by rules, and the result is written in a format.
func ExampleEvaluate() {
	none, _ := report.ParseThreshold("0")
	rules := report.Rules{Dead: report.Limits{Critical: none}}
	result := report.Evaluate(exampleStatus(), report.Selection{}, rules, time.Now())
	fmt.Println(result.State, result.State.ExitCode())
	fmt.Println(result.Text())
	// Output:
	// CRITICAL 2
	// 1 of 2 nodes offline: db1 (connect: no answer within 1s)
}

func ExampleTable() {
	result := report.Evaluate(exampleStatus(), report.Selection{}, report.Rules{}, time.Now())
	if err := report.Table(os.Stdout, result, report.Options{}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 of 2 not online · leader web1 · 1 voter · list 2 · asked web1
	// Name  Status   Since  RTT     Host:Port       Labels  Why
	// db1   Offline  4 min  -       10.0.0.3:25483  -       connect: no answer within 1s
	// web1  Online   -      1.0 ms  10.0.0.1:25483  -
	// db1: look whether the machine is on and in the network, and whether a firewall lets port 25483 through
}

func ExampleParseFormat() {
	format, err := report.ParseFormat("influx")
	fmt.Println(format.Name, err)
	_, err = report.ParseFormat("xml")
	fmt.Println(err)
	// Output:
	// influx <nil>
	// "xml" is not a format: use nagios, table, influx, json or names
}
