// Package metrics shows an agent to Prometheus: what it saw of the cluster as
// metrics, and the node list as targets for service discovery.
//
// It owns the names of metrics and labels, which the alerts and dashboards of
// users hang on. It asks nobody and listens nowhere: it is handed a status,
// and returns the bytes of an answer. It alone uses client_golang.
package metrics

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"are-we-alive/pkg/awa"
)

// ContentType is the media type of what Exporter.Text returns.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Exporter returns an agent's metrics. It is safe for concurrent use.
type Exporter struct {
	registry *prometheus.Registry
	one      sync.Mutex // see Text
}

// Of says of which nodes an agent has the metrics that are one for each node. A cluster of n
// agents that has all of all of them is n × n series.
type Of string

// The values of Of.
const (
	OfAll  Of = "all"
	OfOwn  Of = "own" // the agent's own
	OfNone Of = "none"
)

// in returns those of the nodes of a status.
func (o Of) in(st awa.ClusterStatus) []awa.NodeStatus {
	switch o {
	case OfNone:
		return nil
	case OfOwn:
		own := func(n awa.NodeStatus) bool { return n.Node.Key() == awa.NameKey(st.Agent) }
		if i := slices.IndexFunc(st.Nodes, own); i >= 0 {
			return st.Nodes[i : i+1]
		}
		return nil
	}
	return st.Nodes
}

// New makes an Exporter. status is called once for each Text, and must give
// what is known without asking anybody: the last background sweep. Its Cluster
// is "" while the agent holds no list, its SweptAt zero before the end of the
// first sweep. now is the clock that maintenance ends by.
func New(status func() awa.ClusterStatus, now func() time.Time, nodes Of) *Exporter {
	e := &Exporter{registry: prometheus.NewRegistry()}
	e.registry.MustRegister(
		newCollector(func() view {
			st := status()
			return view{st, now(), nodes.in(st)}
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return e
}

// Text returns all metrics in Prometheus' text format: those of this package, and
// the usual ones of Go and of the process.
func (e *Exporter) Text() ([]byte, error) {
	// One at a time: with a thousand nodes it is some ten milliseconds of work,
	// and however many strangers ask, they get one processor at most.
	e.one.Lock()
	defer e.one.Unlock()
	families, err := e.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	return b.Bytes(), nil
}

// collector makes all metrics of a scrape from one view, so that they agree
// with each other, and a node that left the list leaves the metrics too.
type collector struct {
	view     func() view
	families []family
	descs    []*prometheus.Desc // one for each family
}

func newCollector(see func() view) *collector {
	c := &collector{view: see, families: families()}
	for _, f := range c.families {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	v := c.view()
	for i, f := range c.families {
		f.collect(v, func(value float64, labels ...string) {
			m, err := prometheus.NewConstMetric(c.descs[i], prometheus.GaugeValue, value, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			metrics <- m
		})
	}
}
