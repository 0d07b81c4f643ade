package awa

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

const testUID = "2965c4ba819f866b0b62263dab403dee"

func goodSelf() Self {
	return Self{
		MacAddr: "1a:d6:6e:ce:b5:5f", State: 2, Time: 1795423597, TimeMS: 1795423597123, Name: "n1", UID: testUID,
		Instance: "faf9379e73b13049",
		Cluster:  "d92d900e040fdfbd9ea5060a2ad48f9b", History: History{1,
			"abc71fa72cf3fd26"}, Leader: testUID, Version: "1.2.3-rc1+deb12~2", LogIndex: 4,
		Voters: &VoterSet{Index: 3, Term: 1, UIDs: []string{testUID}},
	}
}

func goodStatus() ClusterStatus {
	self := goodSelf()
	return ClusterStatus{
		Cluster: "c", History: History{1, "ab"}, Agent: "n1", State: 3, Leader: "n1", Voters: []string{"n1"},
		SweptAt: time.Unix(1795423597, 0), Took: time.Second,
		Nodes: []NodeStatus{{Node: goodNode(), Verdict: Online, RTT: time.Millisecond, Since: time.Unix(1795423597, 0),
			Self: &self, Behind: 1, Skew: -time.Hour, SkewError: time.Millisecond}},
	}
}

func goodNode() Node {
	return Node{ID: 7, Name: "n7", Host: "10.0.0.7", Port: 25483, UID: testUID, Labels: map[string]string{"role": "db"},
		Maintenance: "2026-11-23T18:00:00Z", Changed: 3}
}

// bad are words that nobody may have for an id.
func bad() map[string]string {
	return map[string]string{
		"long": strings.Repeat("a", MaxWord+1), "a megabyte": strings.Repeat("a",
			1<<20), "an escape sequence": "a\x1b[2J", "a control character of two bytes": "a\u009b2J", "a line break": "a\nb",
		"a space": "a b", "no ASCII": "ä", "no UTF-8": "a\xff", "NUL": "a\x00",
	}
}

// TestSelf_Check changes one field at a time of an answer that is right.
func TestSelf_Check(t *testing.T) {
	type change struct {
		do    func(*Self)
		field string // in the sentence; "" when it is still right
	}
	tests := map[string]change{
		"nothing": {func(*Self) {}, ""},
		"one that has not joined": {func(s *Self) {
			s.Cluster, s.History, s.Leader, s.Voters, s.State = "", History{}, "",
				nil, 0
		}, ""},
		"the original's fields only": {func(s *Self) { *s = Self{UID: s.UID, Name: s.Name} }, ""},
		"no uid":                     {func(s *Self) { s.UID = "" }, "uid"},
		"no name":                    {func(s *Self) { s.Name = "" }, "name"},
		"a name that is none":        {func(s *Self) { s.Name = "n1\x1b[2J" }, "name"},
		"the longest name":           {func(s *Self) { s.Name = strings.Repeat("n", MaxName) }, ""},
		"a longer name":              {func(s *Self) { s.Name = strings.Repeat("n", MaxName+1) }, "name"},
		"the largest state":          {func(s *Self) { s.State = MaxNumber }, ""},
		"a larger state":             {func(s *Self) { s.State = MaxNumber + 1 }, "db_state"},
		"2^64-1":                     {func(s *Self) { s.State = math.MaxUint64 }, "db_state"},
		"the largest log":            {func(s *Self) { s.LogIndex = MaxNumber }, ""},
		"a larger log":               {func(s *Self) { s.LogIndex = MaxNumber + 1 }, "log_index"},
		"1970":                       {func(s *Self) { s.Time, s.TimeMS = 0, 0 }, ""},
		"before 1970":                {func(s *Self) { s.Time = -1 }, "time"},
		"before 1970, in ms":         {func(s *Self) { s.TimeMS = -1 }, "time_ms"},
		"-2^63 ms":                   {func(s *Self) { s.TimeMS = math.MinInt64 }, "time_ms"},
		"the end of 9999":            {func(s *Self) { s.Time, s.TimeMS = MaxUnix, MaxUnix*1000+999 }, ""},
		"after 9999":                 {func(s *Self) { s.Time = MaxUnix + 1 }, "time"},
		"after 9999, in ms":          {func(s *Self) { s.TimeMS = (MaxUnix + 1) * 1000 }, "time_ms"},
		"2^63-1 ms":                  {func(s *Self) { s.TimeMS = math.MaxInt64 }, "time_ms"},
		"the largest epoch":          {func(s *Self) { s.History.Epoch = MaxEpoch }, ""},
		"a larger epoch":             {func(s *Self) { s.History.Epoch = MaxEpoch + 1 }, "epoch"},
		"a history without id":       {func(s *Self) { s.History.ID = "" }, "the id of the history"},
		"an id without history":      {func(s *Self) { s.History.ID = "a\nb" }, "the id of the history"},
		"the most voters":            {func(s *Self) { s.Voters.UIDs = make16(MaxVoters) }, ""},
		"more voters":                {func(s *Self) { s.Voters.UIDs = make16(MaxVoters + 1) }, "voters"},
		"a voter without uid":        {func(s *Self) { s.Voters.UIDs[0] = "" }, "a uid in voters"},
		"the largest voters' index":  {func(s *Self) { s.Voters.Index, s.Voters.Term = MaxNumber, MaxNumber }, ""},
		"a larger voters' index":     {func(s *Self) { s.Voters.Index = MaxNumber + 1 }, "the index of voters"},
		"a larger voters' term":      {func(s *Self) { s.Voters.Term = MaxNumber + 1 }, "the term of voters"},
	}
	for field, of := range map[string]func(*Self) *string{
		"uid": func(s *Self) *string { return &s.UID }, "macaddr": func(s *Self) *string { return &s.MacAddr },
		"instance": func(s *Self) *string { return &s.Instance },
		"cluster":  func(s *Self) *string { return &s.Cluster }, "leader": func(s *Self) *string { return &s.Leader },
		"version":               func(s *Self) *string { return &s.Version },
		"the id of the history": func(s *Self) *string { return &s.History.ID },
		"a uid in voters":       func(s *Self) *string { return &s.Voters.UIDs[0] },
	} {
		tests["the longest "+field] = change{func(s *Self) { *of(s) = strings.Repeat("a", MaxWord) }, ""}
		for name, word := range bad() {
			tests[field+": "+name] = change{func(s *Self) { *of(s) = word }, field}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			self := goodSelf()
			test.do(&self)
			checkSentence(t, self.Check(), test.field)
		})
	}
}

func make16(n int) []string {
	uids := make([]string, n)
	for i := range uids {
		uids[i] = fmt.Sprintf("%032x", i)
	}
	return uids
}

// checkSentence asserts that an error names a field in one short line, or that
// there is none.
func checkSentence(t *testing.T, err error, field string) {
	t.Helper()
	if field == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), field) {
		t.Fatalf("%v, want one of %s", err, field)
	}
	if text := err.Error(); len(text) > 500 || !utf8.ValidString(text) || strings.ContainsFunc(text,
		func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the sentence is not fit to be shown: %q", text)
	}
}

// TestClusterStatus_Check changes one field at a time.
func TestClusterStatus_Check(t *testing.T) {
	names := func(n int) []string { return strings.Split(strings.Repeat("n1,", n-1)+"n1", ",") }
	for name, test := range map[string]struct {
		do    func(*ClusterStatus)
		field string
	}{
		"nothing":               {func(*ClusterStatus) {}, ""},
		"of one without a list": {func(s *ClusterStatus) { *s = ClusterStatus{Agent: "n1"} }, ""},
		"cluster":               {func(s *ClusterStatus) { s.Cluster = "c\x1b" }, "cluster"},
		"history":               {func(s *ClusterStatus) { s.History.Epoch = math.MaxUint64 }, "history"},
		"no agent":              {func(s *ClusterStatus) { s.Agent = "" }, "agent"},
		"agent":                 {func(s *ClusterStatus) { s.Agent = "\x1b[31mn1" }, "agent"},
		"leader":                {func(s *ClusterStatus) { s.Leader = "a b" }, "leader"},
		"state":                 {func(s *ClusterStatus) { s.State = MaxNumber + 1 }, "state"},
		"the most voters":       {func(s *ClusterStatus) { s.Voters = names(MaxVoters) }, ""},
		"more voters":           {func(s *ClusterStatus) { s.Voters = names(MaxVoters + 1) }, "voters"},
		"a voter":               {func(s *ClusterStatus) { s.Voters[0] = "|" }, "voters"},
		"swept in 2999":         {func(s *ClusterStatus) { s.SweptAt = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC) }, ""},
		"swept at the end":      {func(s *ClusterStatus) { s.SweptAt = time.Unix(MaxUnix, 999_999_999) }, ""},
		"swept after it":        {func(s *ClusterStatus) { s.SweptAt = time.Unix(MaxUnix+1, 0) }, "swept_at"},
		"swept before 1970":     {func(s *ClusterStatus) { s.SweptAt = time.Unix(-1, 0) }, "swept_at"},
		"an hour":               {func(s *ClusterStatus) { s.Took = MaxRTT }, ""},
		"longer":                {func(s *ClusterStatus) { s.Took = MaxRTT + 1 }, "took_ms"},
		"shorter than nothing":  {func(s *ClusterStatus) { s.Took = -1 }, "took_ms"},
		"the most nodes":        {func(s *ClusterStatus) { s.Nodes = many(s.Nodes[0], MaxNodes) }, ""},
		"more nodes":            {func(s *ClusterStatus) { s.Nodes = many(s.Nodes[0], MaxNodes+1) }, "nodes"},
		"a node's id":           {func(s *ClusterStatus) { s.Nodes[0].Node.ID = 0 }, "id"},
		"a node's name":         {func(s *ClusterStatus) { s.Nodes[0].Node.Name = "n7\n" }, "name"},
		"a node's host":         {func(s *ClusterStatus) { s.Nodes[0].Node.Host = "\x1b]0;x\x07" }, "host"},
		"a node's port":         {func(s *ClusterStatus) { s.Nodes[0].Node.Port = 0 }, "port"},
		"a node's uid":          {func(s *ClusterStatus) { s.Nodes[0].Node.UID = "u" }, "uid"},
		"a node's label":        {func(s *ClusterStatus) { s.Nodes[0].Node.Labels = map[string]string{"a": "\x1b"} }, "label"},
		"the name of a label":   {func(s *ClusterStatus) { s.Nodes[0].Node.Labels = map[string]string{"a b": "c"} }, "label"},
		"a long label": {func(s *ClusterStatus) { s.Nodes[0].Node.Labels["a"] = strings.Repeat("x", MaxLabelValue+1) },
			"label"},
		"a node's maintenance":    {func(s *ClusterStatus) { s.Nodes[0].Node.Maintenance = "for ever" }, "maintenance"},
		"a node's change":         {func(s *ClusterStatus) { s.Nodes[0].Node.Changed = MaxNumber + 1 }, "changed"},
		"a later version's word":  {func(s *ClusterStatus) { s.Nodes[0].Verdict, s.Nodes[0].Stage = "asleep", "wake" }, ""},
		"no verdict":              {func(s *ClusterStatus) { s.Nodes[0].Verdict = "" }, "verdict"},
		"a verdict":               {func(s *ClusterStatus) { s.Nodes[0].Verdict = "on\x1bline" }, "verdict"},
		"a stage":                 {func(s *ClusterStatus) { s.Nodes[0].Stage = "a b" }, "stage"},
		"a long round trip":       {func(s *ClusterStatus) { s.Nodes[0].RTT = MaxRTT + 1 }, "rtt_ms"},
		"a round trip back":       {func(s *ClusterStatus) { s.Nodes[0].RTT = -1 }, "rtt_ms"},
		"an error of the skew":    {func(s *ClusterStatus) { s.Nodes[0].SkewError = MaxRTT + 1 }, "skew_error_ms"},
		"the largest skew":        {func(s *ClusterStatus) { s.Nodes[0].Skew = math.MinInt64 }, ""},
		"since before 1970":       {func(s *ClusterStatus) { s.Nodes[0].Since = time.Unix(-1, 0) }, "since"},
		"the most behind":         {func(s *ClusterStatus) { s.Nodes[0].Behind = MaxNumber }, ""},
		"more behind":             {func(s *ClusterStatus) { s.Nodes[0].Behind = MaxNumber + 1 }, "behind"},
		"asked below 0":           {func(s *ClusterStatus) { s.Nodes[0].Asked = -1 }, "asked"},
		"asked too many":          {func(s *ClusterStatus) { s.Nodes[0].Asked = MaxSeenBy + 1 }, "asked"},
		"seen by the most":        {func(s *ClusterStatus) { s.Nodes[0].SeenBy = names(MaxSeenBy) }, ""},
		"seen by more":            {func(s *ClusterStatus) { s.Nodes[0].SeenBy = names(MaxSeenBy + 1) }, "seen_by"},
		"seen by nobody possible": {func(s *ClusterStatus) { s.Nodes[0].SeenBy = []string{"a|b"} }, "seen_by"},
		"an answer":               {func(s *ClusterStatus) { s.Nodes[0].Self.State = math.MaxUint64 }, "db_state"},
	} {
		t.Run(name, func(t *testing.T) {
			status := goodStatus()
			test.do(&status)
			checkSentence(t, status.Check(), test.field)
		})
	}
}

func many(n NodeStatus, times int) []NodeStatus {
	all := make([]NodeStatus, times)
	for i := range all {
		all[i] = n
	}
	return all
}

func TestCheckNodes(t *testing.T) {
	nodes := func(n int) []Node {
		all := make([]Node, n)
		for i := range all {
			all[i] = Node{ID: uint64(i + 1), Name: "n", Host: "h", Port: 1}
		}
		return all
	}
	twice := nodes(3)
	twice[1].ID = 1
	wrong := nodes(3)
	wrong[2].Host = "\x1b"
	checkSentence(t, CheckNodes(nil), "")
	checkSentence(t, CheckNodes(nodes(MaxNodes)), "")
	checkSentence(t, CheckNodes(nodes(MaxNodes+1)), "20001 elements")
	checkSentence(t, CheckNodes(twice), "node 1 stands behind node 1")
	checkSentence(t, CheckNodes(wrong), "element 2")
}

func TestCheckOpinions(t *testing.T) {
	good := Opinion{ID: 7, Verdict: Online, RTT: time.Millisecond}
	for name, test := range map[string]struct {
		all   []Opinion
		field string
	}{
		"none":                   {nil, ""},
		"one":                    {[]Opinion{good}, ""},
		"all":                    {[]Opinion{{ID: 8, Verdict: Mismatch, Stage: StageTLS}, good}, ""},
		"one that nobody wanted": {[]Opinion{{ID: 9, Verdict: Online}}, "node 9 was not asked"},
		"one twice":              {[]Opinion{good, good}, "node 7 was not asked"},
		"no verdict":             {[]Opinion{{ID: 7}}, "verdict"},
		"another verdict":        {[]Opinion{{ID: 7, Verdict: "dead\x1b"}}, "verdict"},
		"a stage":                {[]Opinion{{ID: 7, Verdict: Offline, Stage: "\n"}}, "stage"},
		"a round trip":           {[]Opinion{{ID: 7, Verdict: Online, RTT: MaxRTT + 1}}, "rtt_ms"},
	} {
		t.Run(name, func(t *testing.T) { checkSentence(t, CheckOpinions(test.all, []uint64{7, 8}), test.field) })
	}
}

func TestChangeSet_Check(t *testing.T) {
	change := func(id uint64) Change {
		return Change{ID: id, Action: Create, Data: fmt.Sprintf(`{"id":%d,"name":"n%d","host":"h","port":1}`, id, id),
			Index: 9, Term: 2, Key: "k"}
	}
	for name, test := range map[string]struct {
		do    func(*ChangeSet)
		field string
	}{
		"two":                {func(*ChangeSet) {}, ""},
		"none":               {func(s *ChangeSet) { s.Changes, s.State = nil, 0 }, ""},
		"a gap":              {func(s *ChangeSet) { s.Changes[1] = change(5) }, "change 5 was sent where change 4 must stand"},
		"an old one":         {func(s *ChangeSet) { s.Changes[0] = change(2) }, "change 2"},
		"one twice":          {func(s *ChangeSet) { s.Changes[1] = change(3) }, "change 3"},
		"too many":           {func(s *ChangeSet) { s.Changes = append(s.Changes, change(5), change(6)) }, "4 changes"},
		"a state before":     {func(s *ChangeSet) { s.State = 3 }, "state is 3"},
		"a state far ahead":  {func(s *ChangeSet) { s.State = MaxNumber }, ""},
		"no state":           {func(s *ChangeSet) { s.State = MaxNumber + 1 }, "state"},
		"data that is none":  {func(s *ChangeSet) { s.Changes[1].Data = "[]" }, "change 4"},
		"data without node":  {func(s *ChangeSet) { s.Changes[1].Data = `{"name":"n","host":"h","port":1}` }, "change 4"},
		"the longest data":   {func(s *ChangeSet) { s.Changes[1].Data = padded(change(4).Data, MaxData) }, ""},
		"longer data":        {func(s *ChangeSet) { s.Changes[1].Data = padded(change(4).Data, MaxData+1) }, "change 4"},
		"an action":          {func(s *ChangeSet) { s.Changes[1].Action = "\x1b" }, "change 4"},
		"the longest key":    {func(s *ChangeSet) { s.Changes[1].Key = strings.Repeat("k", MaxKey) }, ""},
		"a longer key":       {func(s *ChangeSet) { s.Changes[1].Key = strings.Repeat("k", MaxKey+1) }, "key of change 4"},
		"a key with a space": {func(s *ChangeSet) { s.Changes[1].Key = "a b" }, "key of change 4"},
		"the largest place":  {func(s *ChangeSet) { s.Changes[1].Index, s.Changes[1].Term = MaxNumber, MaxNumber }, ""},
		"a larger index":     {func(s *ChangeSet) { s.Changes[1].Index = MaxNumber + 1 }, "index"},
		"a larger term":      {func(s *ChangeSet) { s.Changes[1].Term = MaxNumber + 1 }, "term"},
		"a cluster":          {func(s *ChangeSet) { s.Cluster = "c\r\n" }, "cluster"},
		"a history":          {func(s *ChangeSet) { s.History.ID = "\x00" }, "history"},
	} {
		t.Run(name, func(t *testing.T) {
			set := ChangeSet{Cluster: "c", History: History{1, "ab"}, State: 4, Changes: []Change{change(3), change(4)}}
			test.do(&set)
			checkSentence(t, set.Check(2, 3), test.field)
		})
	}
}

// padded adds spaces to a JSON object.
func padded(data string, size int) string {
	return data[:len(data)-1] + strings.Repeat(" ", size-len(data)) + "}"
}

func TestEdit_CheckOutcome(t *testing.T) {
	const create = `{"name":"n7","host":"10.0.0.7","port":25483,"uid":"` + testUID +
		`","labels":{"role":"db"},"maintenance":"2026-11-23T18:00:00Z"}`
	update := `{"id":7,` + create[1:]
	for name, test := range map[string]struct {
		action Action
		data   string
		asked  uint64 // Edit.ID
		id     uint64
		do     func(*Node) *Node
		field  string
	}{
		"made":                 {Create, create, 0, 3, nil, ""},
		"made as asked":        {Create, create, 3, 3, nil, ""},
		"another id":           {Create, create, 4, 3, nil, "was to be change 4"},
		"no id":                {Create, create, 0, 0, nil, "change 0"},
		"too large an id":      {Create, create, 0, MaxNumber + 1, nil, "change 9223372036854775808"},
		"no node":              {Create, create, 0, 3, func(*Node) *Node { return nil }, "no node"},
		"node 0":               {Create, create, 0, 3, func(n *Node) *Node { *n = Node{}; return n }, "id"},
		"another name":         {Create, create, 0, 3, func(n *Node) *Node { n.Name = "n8"; return n }, "name n7"},
		"the name in capitals": {Create, create, 0, 3, func(n *Node) *Node { n.Name = "N7"; return n }, ""},
		"a name that is none":  {Create, create, 0, 3, func(n *Node) *Node { n.Name = "\x1b[31m"; return n }, "name"},
		"another host":         {Create, create, 0, 3, func(n *Node) *Node { n.Host = "10.0.0.8"; return n }, "host"},
		"another port":         {Create, create, 0, 3, func(n *Node) *Node { n.Port++; return n }, "port"},
		"another uid":          {Create, create, 0, 3, func(n *Node) *Node { n.UID = strings.Repeat("0", 32); return n }, "uid"},
		"other labels":         {Create, create, 0, 3, func(n *Node) *Node { n.Labels["role"] = "web"; return n }, "labels"},
		"another end":          {Create, create, 0, 3, func(n *Node) *Node { n.Maintenance = ""; return n }, "maintenance"},
		"changed":              {Update, update, 0, 3, nil, ""},
		"another node":         {Update, update, 0, 3, func(n *Node) *Node { n.ID = 8; return n }, "id 7"},
		"what was left open":   {Update, `{"id":7,"name":"n7","host":"10.0.0.7","port":25483}`, 0, 3, nil, ""},
		"labels that were kept": {action: Update, data: `{"id":7,"name":"n7","host":"10.0.0.7","port":25483,"labels":null}`,
			id: 3, field: "labels"},
		"removed":              {Delete, `{"id":7}`, 0, 3, func(*Node) *Node { return nil }, ""},
		"removed, with a node": {Delete, `{"id":7}`, 0, 3, nil, "removal"},
		"removed by nothing":   {Delete, `{"id":7}`, 0, 0, func(*Node) *Node { return nil }, "change 0"},
	} {
		t.Run(name, func(t *testing.T) {
			n := goodNode()
			have := &n
			if test.do != nil {
				have = test.do(have)
			}
			err := Edit{Action: test.action, Data: []byte(test.data), ID: test.asked}.CheckOutcome(test.id, have)
			checkSentence(t, err, test.field)
		})
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"connection refused":           "connection refused",
		"\x1b]0;x\x07\x1b[31mred":      "?]0;x??[31mred",
		"c1 \u009b31m csi":             "c1 ?31m csi",
		"a\r\nb\tc\u2028d":             "a  b c d",
		"\u202egnp.exe":                "?gnp.exe",
		"\xff\xfe\x00":                 "???",
		"grüße, 漢字":                    "grüße, 漢字",
		strings.Repeat("x", MaxText):   strings.Repeat("x", MaxText),
		strings.Repeat("x", MaxText+1): strings.Repeat("x", MaxText-3) + "…",
		strings.Repeat("漢", MaxText):   strings.Repeat("漢", (MaxText-3)/3) + "…",
	} {
		got := CleanText(in)
		if got != want || len(got) > MaxText {
			t.Errorf("%.50q became %.50q (%d bytes)", in, got, len(got))
		}
		if again := CleanText(got); again != got {
			t.Errorf("%q became %q", got, again)
		}
	}
}
