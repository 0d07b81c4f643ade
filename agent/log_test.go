package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a log's reader that may stop reading, or go away.
type pipe struct {
	text strings.Builder
	gone bool
	hold chan struct{} // when not nil, a line is only read once this is closed
}

func (p *pipe) Write(line []byte) (int, error) {
	if p.hold != nil {
		<-p.hold
	}
	if p.gone {
		return 0, errors.New("broken pipe")
	}
	return p.text.Write(line)
}

func noteLost(out io.Writer, lost int) error {
	_, err := fmt.Fprintf(out, "%d lost\n", lost)
	return err
}

func TestLogLines(t *testing.T) {
	var p pipe
	l := newLogLines(&p, noteLost)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "line %d\n", i)
		fmt.Fprintf(l, "line %d\n", i)
	}
	l.close()
	if got := p.text.String(); got != want.String() {
		t.Errorf("the log is\n%s", got)
	}
	fmt.Fprint(l, "after the end\n")
	l.close()
	if got := p.text.String(); got != want.String() {
		t.Errorf("after the end the log is\n%s", got)
	}
}

// A reader that doesn't read holds nobody up. What fits into the queue comes
// when it reads again, and what did not is counted at its place.
func TestLogLines_stuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 10
		line := func(s string) string { return s + strings.Repeat(".", size-len(s)-1) + "\n" }
		p := pipe{hold: make(chan struct{})}
		l := newLogLines(&p, noteLost)
		for range maxLogQueue / size {
			fmt.Fprint(l, line("kept"))
		}
		synctest.Wait() // one of them is being written, and still counts
		for range 7 {
			fmt.Fprint(l, line("dropped"))
		}
		close(p.hold)
		synctest.Wait()
		fmt.Fprint(l, line("later"))
		synctest.Wait()
		want := strings.Repeat(line("kept"), maxLogQueue/size) + "7 lost\n" + line("later")
		if got := p.text.String(); got != want {
			t.Errorf("the log has %d bytes, want %d; it ends with %q", len(got), len(want), got[max(0, len(got)-2*size):])
		}
		l.close()
	})
}

// The end of a program waits for a reader that doesn't read, but not for ever.
func TestLogLines_stuckAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{hold: make(chan struct{})}
		l := newLogLines(&p, noteLost)
		fmt.Fprint(l, "last\n")
		began := time.Now()
		l.close()
		if took := time.Since(began); took != logFlush {
			t.Errorf("the end took %v", took)
		}
		close(p.hold)
		<-l.ended
		if got := p.text.String(); got != "last\n" {
			t.Errorf("the log is %q", got)
		}
	})
}

func TestLogLines_gone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{gone: true}
		l := newLogLines(&p, noteLost)
		for range 3 {
			fmt.Fprint(l, "gone\n")
			synctest.Wait()
		}
		p.gone = false
		fmt.Fprint(l, "back\n")
		synctest.Wait()
		p.gone = true
		fmt.Fprint(l, "gone again\n")
		synctest.Wait()
		p.gone = false
		l.close()
		if got := p.text.String(); got != "3 lost\nback\n1 lost\n" {
			t.Errorf("the log is %q", got)
		}
	})
}
