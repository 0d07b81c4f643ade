package watch

import (
	"errors"
	"time"

	"are-we-alive/pkg/awa"
)

// slowSweep is after how many times of a ping a sweep takes no further node,
// when Config.MaxOpen leaves it so few pings at once that dead nodes hold it up:
// whoever asked would soon give up.
const slowSweep = 5

// lacks notes that a node could not be looked at since this agent lacks
// something: the node keeps the verdict that it had, and nobody gets anything
// of this sweep.
func (s *sweep) lacks(err error) {
	if fault, ok := errors.AsType[*awa.Fault](err); ok { // without the stage of a ping
		err = fault
	}
	s.short.CompareAndSwap(nil, &err)
}

// shortage returns the first reason that lacks got; nil for none.
func (s *sweep) shortage() error {
	if err := s.short.Load(); err != nil {
		return *err
	}
	return nil
}

// tooSlow reports whether the sweep takes no further node.
func (s *sweep) tooSlow() bool {
	return s.w.cfg.MaxOpen > 0 && time.Since(s.began) > slowSweep*s.w.cfg.PingTimeout
}
