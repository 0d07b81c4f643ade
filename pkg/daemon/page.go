package daemon

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"are-we-alive/pkg/api/server"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/events"
	"are-we-alive/pkg/page"
	"are-we-alive/pkg/report"
)

const (
	// pageRefresh is how often a browser loads the page again.
	pageRefresh = 10 * time.Second
	// pageEvents and pageEdits are how many events and edits the page shows.
	pageEvents = 20
	pageEdits  = 10
	// pageFresh is how long a page is shown again, and recentFresh what happened in the last
	// day; but pageFactor times as long as it takes to make them, where that is more.
	pageFresh   = time.Second
	recentFresh = 5 * time.Second
	pageFactor  = 10
)

// staleAfter is from when on a look in the background is too old, given how often there is
// one.
func staleAfter(every time.Duration) time.Duration { return max(30*time.Second, 4*every) }

// views makes the page that browsers show out of the last look in the background. However many
// visitors there are, it is made once a second at most for each setting, and makes no sweep.
type views struct {
	agent *agent
	maker *page.Page

	mu          sync.Mutex
	made        map[viewSettings]view
	recent      events.Recent
	recentUntil time.Time
}

// viewSettings are what the page leaves to its reader.
type viewSettings struct{ others, noRefresh bool }

// view is a page that was made.
type view struct {
	page  server.PageResult
	until time.Time
}

func newViews(a *agent) views {
	return views{agent: a, maker: page.New(), made: map[viewSettings]view{}}
}

// page returns the page.
func (v *views) page(query []server.Param) (server.PageResult, error) {
	var s viewSettings
	for _, p := range query {
		s.others = s.others || p.Name == page.ParamOthers && p.Value == page.ShowOthers
		s.noRefresh = s.noRefresh || p.Name == page.ParamRefresh && p.Value == page.NoRefresh
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	began := time.Now()
	if made, ok := v.made[s]; ok && began.Before(made.until) {
		return made.page, nil
	}
	data, err := v.data(s)
	if err != nil {
		return server.PageResult{}, err
	}
	body, err := v.maker.Render(data)
	if err != nil {
		return server.PageResult{}, fmt.Errorf("make the page: %w", err)
	}
	made := view{page: server.PageResult{Body: body, MediaType: page.ContentType, Policy: v.maker.Policy(),
		Refresh: data.Refresh}}
	made.until = time.Now().Add(max(pageFresh, pageFactor*time.Since(began)))
	v.made[s] = made
	return made.page, nil
}

// data is what the page shows. The caller holds v.mu.
func (v *views) data(s viewSettings) (page.Data, error) {
	a := v.agent
	now := a.clock()
	d := page.Data{Now: now, Agent: a.listedName(), ShowOthers: s.others, Refresh: pageRefresh}
	if s.noRefresh {
		d.Refresh = 0
	}
	status, err := a.lastStatus()
	if err != nil {
		d.Severity, d.Headline = page.Unknown, report.NoResult(err.Error(), now).Headline()
		return d, nil
	}
	rules, selection, err := (report.Settings{}).Parse()
	if err != nil {
		return d, err
	}
	if err := v.readRecent(status.Nodes); err != nil {
		return d, err
	}
	r := report.Evaluate(status, selection, rules, now)
	rows := r.Rows(report.DefaultOrder(), false)
	d.Severity, d.Headline, d.Summary = severityOf(r.State), r.Headline(), r.Summary(rows)
	d.Cluster, d.Voters = clusterText(status.ClusterName, status.Cluster), strings.Join(status.Voters, ", ")
	d.SweptAt, d.Stale = status.SweptAt, now.Sub(status.SweptAt) > a.staleAfter
	for _, row := range rows {
		n := v.node(row)
		if row.State == report.OK {
			d.Others = append(d.Others, n)
		} else {
			d.Problems = append(d.Problems, n)
		}
	}
	for _, a := range r.Advice() {
		d.Advice = append(d.Advice, page.Advice{Severity: d.Severity, About: a.Nodes, Text: a.Text})
	}
	for _, c := range r.Conditions() {
		d.Advice = append(d.Advice, page.Advice{Severity: severityOf(c.State), About: c.Code, Text: c.Text})
	}
	if d.Mesh, err = meshLines(r); err != nil {
		return d, err
	}
	for _, e := range v.recent.Last {
		d.Events = append(d.Events, page.Event{At: e.At, Text: report.EventText(e)})
	}
	d.Edits, err = v.edits()
	return d, err
}

// lastStatus returns what the last look in the background saw. It fails when there was none yet.
func (a *agent) lastStatus() (awa.ClusterStatus, error) {
	if err := a.hasList(); err != nil {
		return awa.ClusterStatus{}, err
	}
	last := a.watch.Last()
	if last.At.IsZero() {
		return awa.ClusterStatus{}, awa.Faultf(awa.ErrStarting, "agent %s was just started and has not seen the nodes yet: "+
			"ask again in a few seconds", a.name)
	}
	return a.status(last), nil
}

// readRecent reads what happened in the last day, unless that was done a moment ago. The caller
// holds v.mu.
func (v *views) readRecent(nodes []awa.NodeStatus) error {
	began := time.Now()
	if began.Before(v.recentUntil) {
		return nil
	}
	recent, err := v.agent.events.Recent(nodes, v.agent.clock().Add(-page.Day), pageEvents)
	if err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	v.recent, v.recentUntil = recent, time.Now().Add(max(recentFresh, pageFactor*time.Since(began)))
	return nil
}

// node is a row of the page. The caller holds v.mu.
func (v *views) node(row report.Row) page.Node {
	n := page.Node{
		Name: row.Name, Status: row.Status, Severity: severityOf(row.State), Online: row.NodeStatus.Verdict == awa.Online,
		Since: row.Since, RTT: row.RTT, Why: row.Why, Spans: v.recent.Spans[row.NodeStatus.Node.ID],
		Addr: row.Addr, Labels: strings.ReplaceAll(row.Labels, ",", ", "), // where the line may break
	}
	if self := row.NodeStatus.Self; n.Online && self != nil && self.WebPort != 0 {
		host, _, _ := strings.Cut(row.NodeStatus.Node.Host, "%") // a zone means something on one machine alone
		n.URL = "http://" + awa.Addr(host, self.WebPort) + "/"
	}
	return n
}

func severityOf(s report.State) page.Severity { return page.Severity(s.String()) }

// meshLines says who does not see whom, where that differs.
func meshLines(r report.Result) ([]string, error) {
	if !r.Differs() {
		return nil, nil
	}
	var b bytes.Buffer
	if err := report.Mesh(&b, r, report.Options{}); err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	return lines[1:], nil // the first says that they differ
}

// clusterText is how the cluster is called, with its id.
func clusterText(name, id string) string {
	if name == "" {
		return id
	}
	return name + " (" + id + ")"
}

// edits are the last edits of the list, the newest first.
func (v *views) edits() ([]page.Event, error) {
	state := v.agent.store.State()
	changes, err := v.changes(state - min(state, pageOfEdits))
	if err != nil {
		return nil, fmt.Errorf("read the last changes: %w", err)
	}
	nodes := map[uint64]awa.Node{} // as the last changes have made them
	var all []page.Event
	for _, c := range changes {
		n, by, at, err := c.Node()
		if err != nil {
			return nil, err
		}
		before, known := nodes[n.ID]
		name := cmp.Or(before.Name, n.Name, fmt.Sprintf("node %d", n.ID))
		nodes[n.ID] = n
		what := map[awa.Action]string{awa.Create: "added", awa.Update: "changed", awa.Delete: "removed"}[c.Action]
		e := page.Event{Text: name + " was " + what}
		if by != "" {
			e.Text += " by " + by
		}
		switch clusterName := c.ClusterName(); {
		case clusterName != "":
			e.Text += "; the cluster's name became " + clusterName
		case known && c.Action == awa.Update:
			e.Text += ": " + awa.DifferencesText(before, n)
		}
		e.At, _ = time.Parse(time.RFC3339, at) // none is fine
		all = append(all, e)
	}
	all = all[max(0, len(all)-pageEdits):]
	slices.Reverse(all)
	return all, nil
}

// changes returns all changes after a state.
func (v *views) changes(since uint64) (all []awa.Change, err error) {
	for {
		some, err := v.agent.store.Page(since, pageOfEdits)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all = append(all, some...)
		since = some[len(some)-1].ID
	}
}

// pageOfEdits is how many changes are read, so that what they changed is known.
const pageOfEdits = 200
