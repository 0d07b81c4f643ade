package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// noAnswerWithin begins the words of a ping whose time was over (pkg/watch).
const noAnswerWithin = "no answer within "

// words are why a node is not online: "resolve: no such host". What they mean stands
// before them where that is sure.
func (r Result) words(n awa.NodeStatus) string {
	if n.Goodbye != nil && n.Verdict == awa.Offline {
		return n.Goodbye.Text(r.clock(n.Goodbye.At))
	}
	return n.Failure()
}

// today is how long ago a time of the day alone can be taken for.
const today = 20 * time.Hour

// clock is a moment as the reader's clock shows it: "at 12:03", or with its day where that
// is another one. It is "" for the zero time.
func (r Result) clock(at time.Time) string {
	local := at.In(r.at.Location())
	switch {
	case at.IsZero():
		return ""
	case r.at.Sub(at).Abs() < today:
		return "at " + local.Format("15:04")
	}
	return "on " + local.Format("2006-01-02 at 15:04")
}

// cause is why a node is not online in the words that it has in common with others.
func (r Result) cause(n awa.NodeStatus) string {
	silent := strings.HasPrefix(n.Error, noAnswerWithin)
	switch {
	case n.Goodbye != nil && n.Verdict == awa.Offline:
		return n.Goodbye.Text("")
	case n.Stage == awa.StageConnect && n.Error == awa.Refused:
		return awa.NotRunning
	case silent && n.Stage == awa.StageConnect:
		return "no answer"
	case silent && (n.Stage == awa.StageTLS || n.Stage == awa.StageReply):
		return "connects, then no answer"
	}
	return orWord(r.words(n), "no reason given")
}

// group is some nodes with one cause.
type group struct {
	cause string
	total int
	spans []span
}

// groupsOf groups nodes by their causes, the largest group first. There are none where
// no two nodes have one cause.
func (r Result) groupsOf(nodes []awa.NodeStatus) []group {
	names := map[string][]string{}
	for _, n := range nodes {
		c := r.cause(n)
		names[c] = append(names[c], n.Node.Name)
	}
	if len(names) == len(nodes) {
		return nil
	}
	var all []group
	for _, c := range slices.Sorted(maps.Keys(names)) {
		all = append(all, group{clip(plain(c), maxWhy), len(names[c]), spansOf(names[c])})
	}
	slices.SortStableFunc(all, func(a, b group) int { return cmp.Compare(b.total, a.total) })
	return all
}

// span is some names in a row: "n1-n9".
type span struct {
	text  string
	total int
}

// spansOf returns names in their natural order; three and more of which only a number
// differs, by one from each to the next, become one span.
func spansOf(names []string) []span {
	type numbered struct {
		name, stem string
		number     uint64
		ok         bool
	}
	all := make([]numbered, len(names))
	for i, name := range names {
		stem := strings.TrimRight(name, "0123456789")
		n, err := strconv.ParseUint(name[len(stem):], 10, 64)
		all[i] = numbered{name, stem, n, err == nil}
	}
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.stem, b.stem), cmp.Compare(a.number, b.number), cmp.Compare(a.name, b.name))
	})
	follows := func(a, b numbered) bool {
		if !a.ok || !b.ok || a.stem != b.stem || b.number != a.number+1 {
			return false
		}
		return len(a.name) == len(b.name) || a.name[len(a.stem)] != '0' && b.name[len(b.stem)] != '0'
	}
	var spans []span
	for len(all) > 0 {
		n := 1
		for n < len(all) && follows(all[n-1], all[n]) {
			n++
		}
		if n < 3 {
			n = 1
		}
		text := nodeName(all[0].name)
		if n > 1 {
			to := "-"
			if strings.Contains(all[0].stem, "-") {
				to = " to "
			}
			text += to + nodeName(all[n-1].name)
		}
		spans = append(spans, span{text, n})
		all = all[n:]
	}
	return spans
}

// inCommon says what nodes have in common, when that is true: ", all 40 of rack=r7".
// all are those that they are of; a label that every one of them has says nothing.
func inCommon(nodes, all []awa.NodeStatus) string {
	hit, having := map[Label]int{}, map[Label]int{}
	for _, n := range nodes {
		for key, value := range n.Node.Labels {
			hit[Label{key, value}]++
		}
	}
	for _, n := range all {
		for key, value := range n.Node.Labels {
			if l := (Label{key, value}); hit[l] > 0 {
				having[l]++
			}
		}
	}
	best, most := Label{}, 1
	for l, n := range hit {
		if n == having[l] && n < len(all) && (n > most || n == most && l.String() < best.String()) {
			best, most = l, n
		}
	}
	switch {
	case best == Label{}:
		return ""
	case most == len(nodes):
		return fmt.Sprintf(", all %d of %s", most, clip(plain(best.String()), maxShort))
	case 2*most > len(nodes):
		return fmt.Sprintf(", all %d of %s and %d more", most, clip(plain(best.String()), maxShort), len(nodes)-most)
	}
	return ""
}
