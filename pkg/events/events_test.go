package events_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/awatest/testaid"
	"are-we-alive/pkg/events"
)

// shelf is a Store without a disk.
type shelf struct {
	mu      sync.Mutex
	all     []awa.Event
	until   time.Time
	err     error // of every write
	entered chan struct{}
	leave   chan struct{} // when not nil, a write hangs until it is closed
}

func (s *shelf) AppendEvents(all []awa.Event, _ int, _ time.Time) error {
	if s.leave != nil {
		s.entered <- struct{}{}
		<-s.leave
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, e := range all {
		e.ID = uint64(len(s.all) + 1)
		s.all = append(s.all, e)
	}
	return nil
}

func (s *shelf) Events(q awa.EventQuery) (awa.EventSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := awa.EventSet{Through: max(q.After, uint64(len(s.all)))}
	for _, e := range s.all {
		if q.Wants(e) {
			set.Events = append(set.Events, e)
		}
	}
	return set, nil
}

func (s *shelf) KeepWatched(until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.until = until
	}
	return s.err
}

func (s *shelf) Watched() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until, nil
}

// watched is how long ago it was written that the agent watches.
func (s *shelf) watched() time.Duration {
	until, _ := s.Watched()
	return time.Since(until)
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// running runs a Log in a bubble, and returns what ends it.
func running(t *testing.T, s *shelf, log *testaid.Log) (*events.Log, func()) {
	t.Helper()
	l := events.New(s, time.Now, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return l, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &shelf{}, &testaid.Log{}
		l, end := running(t, s, log)
		l.Begin(awa.Node{ID: 1, Name: "n1"})
		l.Add(awa.Event{Kind: awa.EventOffline}, awa.Event{Kind: awa.EventOnline})
		<-time.After(500 * time.Millisecond)
		if s.count() != 0 {
			t.Errorf("it has written %+v, and waits for nothing", s.all)
		}
		<-time.After(501 * time.Millisecond)
		synctest.Wait()
		if s.count() != 3 || s.all[0].Why != "for the first time" || s.all[0].Lasted != 0 {
			t.Errorf("it keeps %+v", s.all)
		}
		<-time.After(90*time.Second - 1001*time.Millisecond)
		if since := s.watched(); since != 30*time.Second {
			t.Errorf("it was written %v ago that it watches", since)
		}
		l.Add(awa.Event{Kind: awa.EventStopped}) // just before the end
		end()
		if s.count() != 4 || s.watched() != 0 {
			t.Errorf("at the end it keeps %+v, and watches until %v ago", s.all, s.watched())
		}

		<-time.After(time.Hour)
		l, end = running(t, s, log)
		l.Begin(awa.Node{ID: 1, Name: "n1"})
		end()
		if e := s.all[4]; e.Kind != awa.EventWatching || time.Duration(e.Lasted) != time.Hour {
			t.Errorf("after an hour it begins with %+v", e)
		}
		if log.String() != "" {
			t.Errorf("logged: %s", log)
		}
	})
}

// A full disk keeps nobody waiting. What happened meanwhile is kept once there is room.
func TestLog_diskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &shelf{}, &testaid.Log{}
		l, end := running(t, s, log)
		s.fail(errors.New("no space left on device"))
		for range events.MaxPending + 7 {
			l.Add(awa.Event{Kind: awa.EventOffline})
		}
		<-time.After(2 * time.Second)
		l.Add(awa.Event{Kind: awa.EventOffline})
		<-time.After(2 * time.Second)
		if n := strings.Count(log.String(), "no space left"); n != 1 || s.count() != 0 {
			t.Errorf("it logged %d times: %s", n, log)
		}
		s.fail(nil)
		<-time.After(2 * time.Minute)
		if s.count() != events.MaxPending || !strings.Contains(log.String(), "lost=8") {
			t.Errorf("%d events are kept; logged: %s", s.count(), log)
		}
		l.Add(awa.Event{Kind: awa.EventOnline})
		end()
		if s.count() != events.MaxPending+1 {
			t.Errorf("%d events are kept at the end", s.count())
		}
	})
}

// A disk that hangs keeps nobody waiting either.
func TestLog_diskHangs(t *testing.T) {
	s := &shelf{entered: make(chan struct{}, 1), leave: make(chan struct{})}
	l := events.New(s, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	l.Add(awa.Event{Kind: awa.EventOffline})
	<-s.entered
	for range 3 * events.MaxPending { // returns
		l.Add(awa.Event{Kind: awa.EventOnline})
	}
	close(s.leave)
	go func() {
		for range s.entered {
		}
	}()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(s.entered)
	if n := s.count(); n != events.MaxPending+1 {
		t.Errorf("%d events are kept", n)
	}
}

func TestTally(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	seconds := func(d time.Duration) awa.Seconds { return awa.Seconds(d) }
	const id, day = 7, 24 * time.Hour
	verdict := func(at time.Time, v, before awa.Verdict, lasted time.Duration) awa.Event {
		return awa.Event{At: at, Kind: awa.EventKind(v), NodeID: id, Node: "n7", Verdict: v, Before: before,
			Lasted: seconds(lasted)}
	}
	watching := func(at time.Time, gap time.Duration) awa.Event {
		return awa.Event{At: at, Kind: awa.EventWatching, NodeID: 1, Node: "n1", Lasted: seconds(gap)}
	}
	online := awa.NodeStatus{Node: awa.Node{ID: id, Name: "n7"}, Verdict: awa.Online, Since: ago(40 * day)}
	offline := online
	offline.Verdict = awa.Offline
	flapping := online
	flapping.Flapping = 8
	for name, c := range map[string]struct {
		events          []awa.Event
		now             awa.NodeStatus
		online, watched [3]time.Duration // over 24 hours, 7 days, 30 days
	}{
		"no events":          {nil, online, [3]time.Duration{day, 7 * day, 30 * day}, [3]time.Duration{day, 7 * day, 30 * day}},
		"no events, offline": {nil, offline, [3]time.Duration{}, [3]time.Duration{day, 7 * day, 30 * day}},
		"a day ago to two hours ago": {
			[]awa.Event{verdict(ago(26*time.Hour), awa.Offline, awa.Online, 10*day), verdict(ago(2*time.Hour), awa.Online,
				awa.Offline, day)}, online,
			[3]time.Duration{2 * time.Hour, 6 * day, 10*day + 2*time.Hour},
			[3]time.Duration{day, 7 * day, 11*day + 2*time.Hour},
		},
		"nobody watched for six hours": {
			[]awa.Event{verdict(ago(20*time.Hour), awa.Online, "", 0), watching(ago(10*time.Hour), 6*time.Hour)}, online,
			[3]time.Duration{14 * time.Hour, 14 * time.Hour, 14 * time.Hour},
			[3]time.Duration{14 * time.Hour, 14 * time.Hour, 14 * time.Hour},
		},
		"it died while nobody watched": {
			[]awa.Event{verdict(ago(20*time.Hour), awa.Online, "", 0), watching(ago(10*time.Hour), 6*time.Hour),
				verdict(ago(10*time.Hour), awa.Offline, awa.Online, 10*time.Hour)}, offline,
			[3]time.Duration{4 * time.Hour, 4 * time.Hour, 4 * time.Hour},
			[3]time.Duration{14 * time.Hour, 14 * time.Hour, 14 * time.Hour},
		},
		"a restart": {
			[]awa.Event{verdict(ago(10*time.Hour), awa.Online, "", 0), {At: ago(time.Hour), Kind: awa.EventRestarted, NodeID: id,
				Verdict: awa.Online, Before: awa.Online, Away: seconds(time.Minute)}}, online,
			[3]time.Duration{10*time.Hour - time.Minute, 10*time.Hour - time.Minute, 10*time.Hour - time.Minute},
			[3]time.Duration{10 * time.Hour, 10 * time.Hour, 10 * time.Hour},
		},
		"it is flapping": {
			[]awa.Event{verdict(ago(10*time.Hour), awa.Online, "", 0), {At: ago(time.Hour), Kind: awa.EventFlapping, NodeID: id,
				Verdict: awa.Offline, Before: awa.Online}}, flapping,
			[3]time.Duration{9 * time.Hour, 9 * time.Hour, 9 * time.Hour},
			[3]time.Duration{9 * time.Hour, 9 * time.Hour, 9 * time.Hour},
		},
		"it was flapping when nobody watched any more": {
			[]awa.Event{verdict(ago(10*time.Hour), awa.Online, "", 0), {At: ago(2 * time.Hour), Kind: awa.EventFlapping,
				NodeID: id, Verdict: awa.Offline, Before: awa.Online}, watching(ago(time.Hour), 30*time.Minute)}, online,
			[3]time.Duration{9*time.Hour + 30*time.Minute, 9*time.Hour + 30*time.Minute, 9*time.Hour + 30*time.Minute},
			[3]time.Duration{9*time.Hour + 30*time.Minute, 9*time.Hour + 30*time.Minute, 9*time.Hour + 30*time.Minute},
		},
		"it was removed, and its successor has another id": {
			[]awa.Event{verdict(ago(10*time.Hour), awa.Online, "", 0), {At: ago(time.Hour), Kind: awa.EventRemoved, NodeID: id}},
			awa.NodeStatus{Node: awa.Node{ID: 8, Name: "n7"}, Verdict: awa.Online, Since: ago(time.Minute)},
			[3]time.Duration{time.Minute, time.Minute, time.Minute}, [3]time.Duration{time.Minute, time.Minute, time.Minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tally := events.NewTally(now)
			for _, e := range c.events {
				tally.Add(e)
			}
			shares := tally.Shares([]awa.NodeStatus{c.now})[0]
			for i, s := range shares.Shares {
				if time.Duration(s.Online) != c.online[i] || time.Duration(s.Watched) != c.watched[i] {
					t.Errorf("over %v: online for %v of %v, want %v of %v", awa.ShareSpans[i], time.Duration(s.Online),
						time.Duration(s.Watched), c.online[i], c.watched[i])
				}
			}
			if err := awa.CheckShares([]awa.NodeShare{shares}); err != nil {
				t.Error(err)
			}
			since := ago(awa.ShareSpans[0])
			kept := &shelf{all: slices.Clone(c.events)}
			for i := range kept.all {
				kept.all[i].ID = uint64(i + 1)
			}
			recent, err := events.New(kept, func() time.Time { return now }, nil).Recent([]awa.NodeStatus{c.now}, since, 1)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(kept.all); n > 0 && (len(recent.Last) != 1 || recent.Last[0].ID != uint64(n)) {
				t.Errorf("the last event is %v", recent.Last)
			}
			spans := recent.Spans[c.now.Node.ID]
			var online, watched time.Duration
			for i, s := range spans {
				if i > 0 && s.From.Before(spans[i-1].To) || !s.From.Before(s.To) || s.From.Before(since) || s.To.After(now) {
					t.Errorf("the spans are %v", spans)
				}
				if watched += s.To.Sub(s.From); s.Verdict == awa.Online {
					online += s.To.Sub(s.From)
				}
			}
			if online != c.online[0] || watched != c.watched[0] {
				t.Errorf("the spans have it online for %v of %v: %v", online, watched, spans)
			}
		})
	}
}
