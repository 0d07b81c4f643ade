package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/awa"
)

// prefix begins the labels of targets. Prometheus drops what begins with __
// after relabelling, where users pick what they want to keep.
const prefix = "__meta_awa_"

// group is an element of the array that http_sd reads
// (https://prometheus.io/docs/prometheus/latest/http_sd/).
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// Targets returns a cluster's node list as Prometheus' http_sd reads it, a group
// for each node:
//
//	[{"targets":["10.0.0.1:25483"],"labels":{
//	  "__meta_awa_node":"web1",             its name
//	  "__meta_awa_id":"1",
//	  "__meta_awa_host":"10.0.0.1",         an IPv6 address without brackets
//	  "__meta_awa_port":"25483",
//	  "__meta_awa_cluster":"7d0c1fe2a95b…", the cluster's id
//	  "__meta_awa_maintenance":"false",     or "true": at the moment now
//	  "__meta_awa_label_role":"database"    one for each label
//	}}]
//
// What may not stand in a label's name becomes _; of the labels that are then
// the same, the first in alphabetical order counts. A list without nodes is
// awa.ErrNoNodes, since Prometheus would drop all targets for an empty array.
func Targets(cluster, clusterName string, nodes []awa.Node, now time.Time) ([]byte, error) {
	if len(nodes) == 0 {
		return nil, awa.Faultf(awa.ErrNoNodes, "the node list is empty, so there is nothing to discover: add nodes with "+
			"awa-agent node add")
	}
	groups := make([]group, len(nodes))
	for i, n := range nodes {
		labels := map[string]string{
			prefix + "node":         n.Name,
			prefix + "id":           strconv.FormatUint(n.ID, 10),
			prefix + "host":         n.Host,
			prefix + "port":         n.Port.String(),
			prefix + "cluster":      cluster,
			prefix + "cluster_name": clusterName,
			prefix + "maintenance":  strconv.FormatBool(n.InMaintenance(now)),
		}
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			name := prefix + "label_" + strings.Map(labelRune, key)
			if _, taken := labels[name]; !taken {
				labels[name] = n.Labels[key]
			}
		}
		groups[i] = group{[]string{n.Addr()}, labels}
	}
	return json.Marshal(groups)
}

// labelRune replaces what may not stand in the name of a label.
func labelRune(r rune) rune {
	if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return r
	}
	return '_'
}
