package consensus

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"are-we-alive/pkg/awatest/testlist"

	"github.com/hashicorp/raft"
)

func TestRaftLog(t *testing.T) {
	l := raftLog{disk: testlist.Open(t), fail: func(err error) { t.Error(err) }}
	check := func(first, last uint64) {
		t.Helper()
		f, err1 := l.FirstIndex()
		g, err2 := l.LastIndex()
		if f != first || g != last || err1 != nil || err2 != nil {
			t.Errorf("the log goes from %d to %d, not from %d to %d (%v, %v)", f, g, first, last, err1, err2)
		}
	}
	check(0, 0)
	if err := l.StoreLogs(nil); err != nil {
		t.Error(err)
	}
	at := time.Unix(1795423597, 5)
	logs := []*raft.Log{
		{Index: 7, Term: 2, Type: raft.LogCommand, Data: []byte("a"), AppendedAt: at},
		{Index: 8, Term: 3, Type: raft.LogConfiguration, Data: []byte("b"), Extensions: []byte("more"), AppendedAt: at},
		{Index: 9, Term: 3, Type: raft.LogNoop, AppendedAt: at},
	}
	if err := l.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	check(7, 9)
	for _, want := range logs {
		var got raft.Log
		if err := l.GetLog(want.Index, &got); err != nil {
			t.Fatal(err)
		}
		if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || !got.AppendedAt.Equal(at) ||
			!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) {
			t.Errorf("stored %+v, got %+v", want, got)
		}
	}
	if err := l.GetLog(6, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that is not there gave %v", err)
	}
	if err := l.DeleteRange(7, 8); err != nil {
		t.Fatal(err)
	}
	check(9, 9)
}

func TestRaftLog_Stable(t *testing.T) {
	l := raftLog{disk: testlist.Open(t), fail: func(err error) { t.Error(err) }}
	if _, err := l.Get([]byte("k")); err == nil || err.Error() != "not found" { // raft compares the text
		t.Errorf("an absent value gave %v", err)
	}
	if _, err := l.GetUint64([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("an absent number gave %v", err)
	}
	if err := l.SetUint64([]byte("k"), 1<<40); err != nil {
		t.Fatal(err)
	}
	if n, err := l.GetUint64([]byte("k")); n != 1<<40 || err != nil {
		t.Errorf("the number is %d (%v)", n, err)
	}
	if err := l.Set([]byte("k"), []byte("short")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetUint64([]byte("k")); err == nil {
		t.Error("five bytes were read as a number")
	}
}

// A vote that can't be kept must not be given: the goroutine that asked for it
// ends, and the agent stops.
func TestRaftLog_DiskFails(t *testing.T) {
	st := testlist.Open(t)
	failed := make(chan error, 1)
	l := raftLog{disk: st, fail: func(err error) { failed <- err }}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan bool, 1)
	voted := false
	go func() {
		defer func() { ended <- true }()
		l.Set([]byte("CurrentTerm"), bigEndian(1))
		voted = true
	}()
	<-ended
	if voted {
		t.Error("it went on")
	}
	if err := <-failed; err == nil {
		t.Error("the agent was not told to stop")
	}
}

func FuzzDecodeLog(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeLog(&raft.Log{Term: 3, Type: raft.LogCommand, Data: []byte("data")}))
	f.Add(encodeLog(&raft.Log{Term: 3, Extensions: []byte("more"), Data: []byte("data")}))
	f.Add(bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l raft.Log
		if err := decodeLog(5, b, &l); err != nil {
			return
		}
		if !bytes.Equal(encodeLog(&l), b) {
			t.Errorf("%x became %+v", b, l)
		}
	})
}
