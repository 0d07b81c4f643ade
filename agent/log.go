package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxLogQueue is how many bytes of lines may wait for the log's reader:
	// thousands of lines, more than an agent logs in hours. Lines beyond are
	// dropped and counted.
	maxLogQueue = 1 << 20
	// logFlush is how long the lines that wait may take to be written when a
	// program ends. A reader that reads needs a moment.
	logFlush = time.Second
)

// logLines writes lines one by one, in their order, in a goroutine of its own:
// whoever logs never waits for the reader of the log, which may be slow, stuck
// or gone. A line that can't be written is lost, and the next one is tried.
type logLines struct {
	out io.Writer
	// note writes to out that lines were lost, before the line that follows
	// them. It may be nil.
	note func(out io.Writer, lost int) error

	more  chan struct{} // holds a token when something changed
	ended chan struct{}

	mu     sync.Mutex
	queue  []logLine
	size   int // bytes of the queue, and of the line that is being written
	lost   int // lines since the newest one of the queue
	closed bool
}

type logLine struct {
	text []byte // nil for the end of the log
	lost int    // lines that were lost before this one
}

func newLogLines(out io.Writer, note func(out io.Writer, lost int) error) *logLines {
	l := &logLines{out: out, note: note, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run()
	return l
}

// Write queues one line. It never fails and never waits.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	if l.closed || l.size+len(line) > maxLogQueue {
		l.lost++
	} else {
		l.queue = append(l.queue, logLine{bytes.Clone(line), l.lost})
		l.size += len(line)
		l.lost = 0
	}
	l.mu.Unlock()
	l.wake()
	return len(line), nil
}

// close waits until all lines are written, for at most logFlush. Lines that
// come later are dropped.
func (l *logLines) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake()
	select {
	case <-l.ended:
	case <-time.After(logFlush):
	}
}

func (l *logLines) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// run writes what is queued until the log is closed.
func (l *logLines) run() {
	defer close(l.ended)
	for lost := 0; ; {
		line := l.next()
		lost += line.lost
		if lost > 0 && l.note != nil && l.note(l.out, lost) == nil {
			lost = 0
		}
		if line.text == nil {
			return
		}
		if _, err := l.out.Write(line.text); err != nil {
			lost++
		}
		l.mu.Lock()
		l.size -= len(line.text)
		l.mu.Unlock()
	}
}

// next waits for the next line.
func (l *logLines) next() logLine {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			line := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			return line
		}
		if l.closed {
			line := logLine{lost: l.lost}
			l.mu.Unlock()
			return line
		}
		l.mu.Unlock()
		<-l.more
	}
}
