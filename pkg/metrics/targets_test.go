package metrics_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/metrics"
)

func TestTargets(t *testing.T) {
	const meta = `"__meta_awa_cluster":"c0ffee","__meta_awa_cluster_name":"prod-eu","__meta_awa_host":`
	for name, c := range map[string]struct {
		node awa.Node
		want string
	}{
		"a node": {awa.Node{ID: 1, Name: "web1", Host: "10.0.0.1", Port: 25483},
			`[{"targets":["10.0.0.1:25483"],"labels":{` + meta +
				`"10.0.0.1","__meta_awa_id":"1","__meta_awa_maintenance":"false","__meta_awa_node":"web1","__meta_awa_port":"25483"}}]`},
		"IPv6 in brackets": {awa.Node{ID: 18446744073709551615, Name: "v6", Host: "2001:db8::7", Port: 1},
			`[{"targets":["[2001:db8::7]:1"],"labels":{` + meta +
				`"2001:db8::7","__meta_awa_id":"18446744073709551615","__meta_awa_maintenance":"false",` +
				`"__meta_awa_node":"v6","__meta_awa_port":"1"}}]`},
		"under maintenance": {awa.Node{ID: 2, Name: "n", Host: "h", Port: 65535,
			Maintenance: now.Add(time.Minute).Format(time.RFC3339)},
			`[{"targets":["h:65535"],"labels":{` + meta +
				`"h","__meta_awa_id":"2","__meta_awa_maintenance":"true","__meta_awa_node":"n","__meta_awa_port":"65535"}}]`},
		"maintenance that is over": {awa.Node{ID: 2, Name: "n", Host: "h", Port: 1,
			Maintenance: now.Add(-time.Minute).Format(time.RFC3339)},
			`[{"targets":["h:1"],"labels":{` + meta +
				`"h","__meta_awa_id":"2","__meta_awa_maintenance":"false","__meta_awa_node":"n","__meta_awa_port":"1"}}]`},
		"labels": {awa.Node{ID: 3, Name: "n", Host: "h", Port: 1, Labels: map[string]string{"role": "db", "a.b": "later",
			"a-b": "first", "Site_9": "x \"y\" \\ ü", "node": "of the label"}},
			`[{"targets":["h:1"],"labels":{` + meta +
				`"h","__meta_awa_id":"3","__meta_awa_label_Site_9":"x \"y\" \\ ü","__meta_awa_label_a_b":"first",` +
				`"__meta_awa_label_node":"of the label","__meta_awa_label_role":"db","__meta_awa_maintenance":"false",` +
				`"__meta_awa_node":"n","__meta_awa_port":"1"}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := metrics.Targets("c0ffee", "prod-eu", []awa.Node{c.node}, now)
			if err != nil || string(got) != c.want {
				t.Errorf("%v\n%s, want\n%s", err, got, c.want)
			}
		})
	}
	t.Run("one group for each node, in their order", func(t *testing.T) {
		var nodes []awa.Node
		for _, n := range cluster(40).Nodes {
			nodes = append(nodes, n.Node)
		}
		b, err := metrics.Targets("c0ffee", "prod-eu", nodes, now)
		var groups []struct {
			Targets []string
			Labels  map[string]string
		}
		if err == nil {
			err = json.Unmarshal(b, &groups)
		}
		if err != nil || len(groups) != 40 {
			t.Fatalf("%d groups, %v", len(groups), err)
		}
		for i, g := range groups {
			if len(g.Targets) != 1 || g.Targets[0] != nodes[i].Addr() || g.Labels["__meta_awa_node"] != nodes[i].Name {
				t.Errorf("group %d: %+v", i, g)
			}
		}
	})
	t.Run("no node is an error, and never an empty array", func(t *testing.T) {
		got, err := metrics.Targets("c0ffee", "prod-eu", nil, now)
		const want = "the node list is empty, so there is nothing to discover: add nodes with awa-agent node add"
		if got != nil || !errors.Is(err, awa.ErrNoNodes) || err.Error() != want {
			t.Errorf("%s, %v", got, err)
		}
	})
}
