package server

import (
	"runtime"
	"slices"
	"sync"
)

// maxRetained bounds the results of sweeps, lists and metrics that are in
// memory only because their readers have not read them yet, in bytes. All who
// ask at the same moment share one; readers who don't read could hold one each.
const maxRetained = 32 << 20

// nodeBytes is about what a node costs in the result of a sweep, in bytes: its
// status, what it said of itself, and the texts in both.
const nodeBytes = 1 << 10

// maxWorking is how many processors may work on the pages of long answers.
func maxWorking() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// result is what answers are made of while they are sent. Results with the
// same key are one; without a key it is not counted.
type result struct {
	key    any
	weight int // bytes
}

// retained keeps account of the results that answers under way hold in
// memory. When there are too many, the answers that are made of the oldest are
// given up: whoever is still reading a result after so many newer ones is the
// slowest, and a new reader gets in however many don't read.
type retained struct {
	most int

	mu    sync.Mutex
	total int
	all   []*held // the oldest first
}

// held is a result with those who read it.
type held struct {
	result
	readers map[*func()]struct{} // each by what ends it
}

func newRetained(most int) *retained { return &retained{most: most} }

// enter counts a reader of a result; cut ends it. The returned function says
// that it has done.
func (r *retained) enter(of result, cut func()) (leave func()) {
	if of.key == nil {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.all, func(h *held) bool { return h.key == of.key })
	if i < 0 {
		i = len(r.all)
		r.all = append(r.all, &held{of, map[*func()]struct{}{}})
		r.total += of.weight
	}
	h, self := r.all[i], &cut
	h.readers[self] = struct{}{}
	for r.total > r.most && r.all[0] != h {
		for end := range r.all[0].readers {
			(*end)()
		}
		r.drop(0)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(h.readers, self)
		if i := slices.Index(r.all, h); i >= 0 && len(h.readers) == 0 {
			r.drop(i)
		}
	}
}

// drop forgets a result; the caller holds mu.
func (r *retained) drop(i int) {
	r.total -= r.all[i].weight
	r.all = slices.Delete(r.all, i, i+1)
}
