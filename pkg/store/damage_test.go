package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

const testPage = 4096

// goodFile returns the bytes of a file of many pages: trees of several levels,
// values over several pages, free pages, small and empty buckets.
func goodFile(t testing.TB) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	path := filepath.Join(t.TempDir(), "awa.db")
	s, err := Open(path)
	ok(t, err)
	ok(t, s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory}))
	for i := range 12 {
		var all []string
		for j := range 8 {
			n := i*8 + j
			all = append(all, fmt.Sprintf(`CREATE k%d {"name":"n%d","host":"10.0.0.1","port":1,"note":%q}`, n, n,
				strings.Repeat("x", r.IntN(900))))
		}
		decide(t, s, all...)
		ok(t, s.AppendLog(uint64(i*8), [][]byte{make([]byte, 9000), []byte("entry")}))
	}
	decide(t, s, `DELETE - {"id":3}`)
	ok(t, s.SetStable("term", []byte("5")))
	ok(t, s.Close())
	b, err := os.ReadFile(path)
	ok(t, err)
	ok(t, os.Remove(path))
	// The end of the file is a hole: no page there has ever been written.
	for len(b) > testPage && strings.Trim(string(b[len(b)-testPage:]), "\x00") == "" {
		b = b[:len(b)-testPage]
	}
	return b
}

// opens writes bytes to a file and opens it. It must be refused in time and
// untouched, or be sound.
func opens(t testing.TB, path string, b []byte) bool {
	t.Helper()
	written(t, path, b)
	start := time.Now()
	s, err := Open(path)
	took := time.Since(start)
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil {
		for i := range byte(2) { // makes both meta pages again
			ok(t, s.SetStable("written after the damage", []byte{i}))
		}
		sound(t, s)
		ok(t, s.Close())
		return true
	}
	if !errors.Is(err, awa.ErrDamaged) && !errors.Is(err, awa.ErrFormat) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), unreadable) {
		t.Errorf("only a panic told of the damage: %v", err)
	}
	if contents(t, path) != string(b) {
		t.Error("the file was changed")
	}
	return false
}

func TestOpen_damaged(t *testing.T) {
	good := goodFile(t)
	pages := len(good) / testPage
	path := filepath.Join(t.TempDir(), "awa.db")
	if !opens(t, path, good) {
		t.Fatal("the good file is refused")
	}
	damaged := func(f func(b []byte)) []byte {
		b := append([]byte(nil), good...)
		f(b)
		return b
	}
	trials := 60
	if testing.Short() {
		trials = 20
	}
	for name, spoil := range map[string]func(r *rand.Rand, i int) []byte{
		"cut off at a page": func(_ *rand.Rand, i int) []byte { return good[:i%pages*testPage] },
		"cut off":           func(r *rand.Rand, _ int) []byte { return good[:r.IntN(len(good))] },
		"a page of zeros": func(_ *rand.Rand, i int) []byte {
			return damaged(func(b []byte) { clear(b[i%pages*testPage:][:testPage]) })
		},
		"a page of another place": func(r *rand.Rand, i int) []byte {
			return damaged(func(b []byte) { copy(b[i%pages*testPage:][:testPage], b[r.IntN(pages)*testPage:]) })
		},
		"a page of noise": func(r *rand.Rand, i int) []byte {
			return damaged(func(b []byte) { noise(r, b[i%pages*testPage:][:testPage]) })
		},
		"noise after the page's id": func(r *rand.Rand, i int) []byte {
			return damaged(func(b []byte) { noise(r, b[i%pages*testPage+8:][:r.IntN(200)+1]) })
		},
		"a bit of the page's head": func(r *rand.Rand, i int) []byte {
			return damaged(func(b []byte) { b[i%pages*testPage+r.IntN(96)] ^= 1 << r.IntN(8) })
		},
		"a bit": func(r *rand.Rand, _ int) []byte {
			return damaged(func(b []byte) { b[r.IntN(len(b))] ^= 1 << r.IntN(8) })
		},
		"bits everywhere": func(r *rand.Rand, _ int) []byte {
			return damaged(func(b []byte) {
				for range 50 {
					b[r.IntN(len(b))] ^= 1 << r.IntN(8)
				}
			})
		},
		"only noise": func(r *rand.Rand, _ int) []byte {
			b := damaged(func([]byte) {})[:r.IntN(40_000)]
			noise(r, b)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 5))
			refused := 0
			for i := range trials {
				if !opens(t, path, spoil(r, i)) {
					refused++
				}
				if t.Failed() {
					t.Fatalf("at trial %d", i)
				}
			}
			t.Logf("%d of %d refused", refused, trials)
			if refused == 0 {
				t.Error("no damage was seen")
			}
		})
	}
}

func written(t testing.TB, path string, b []byte) string {
	t.Helper()
	ok(t, os.WriteFile(path, b, 0o600))
	return path
}

func noise(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// Damage that noise would hardly hit on, and which makes bbolt run in circles
// or off the file.
func TestOpen_damaged_with_care(t *testing.T) {
	good := goodFile(t)
	path := filepath.Join(t.TempDir(), "awa.db")
	try := func(what string, f func(b []byte)) {
		t.Helper()
		b := append([]byte(nil), good...)
		f(b)
		if opens(t, path, b) {
			t.Errorf("%s is taken", what)
		}
	}
	b := good[:len(good)-testPage]
	if _, err := Open(written(t, path, b)); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("a file that lacks a page: %v", err)
	}
	put32, put64 := binary.NativeEndian.PutUint32, binary.NativeEndian.PutUint64
	used := reachable(t, path, good)
	branches := 0
	for _, id := range used {
		at := int(id) * testPage
		p := parsePage(good[at:][:testPage])
		end := uint64(len(good) / testPage)
		for _, n := range []uint32{uint32(end - id), uint32(end), math.MaxUint32} {
			try(fmt.Sprintf("page %d with overflow %d", id, n), func(b []byte) { put32(b[at+12:], n) })
		}
		for _, flags := range []byte{0, branchPage ^ leafPage ^ good[at+8], branchPage | leafPage, freelistPage,
			good[at+8] | 0x80} {
			try(fmt.Sprintf("page %d of kind %d", id, flags), func(b []byte) { b[at+8] = flags })
		}
		try(fmt.Sprintf("page %d as another one", id), func(b []byte) { b[at+4] = 1 })
		if p.flags == branchPage {
			try(fmt.Sprintf("page %d without elements", id), func(b []byte) { copy(b[at+10:], "\x00\x00") })
		}
		try(fmt.Sprintf("page %d with all elements there can be", id), func(b []byte) { put32(b[at+10:], math.MaxUint32) })
		for _, i := range []int{0, p.count / 2, p.count - 1} {
			if p.count == 0 {
				continue
			}
			e := at + pageHeader + i*elementSize
			for field := range 4 {
				if p.flags == leafPage || field < 2 {
					try(fmt.Sprintf("page %d, element %d, field %d", id, i, field),
						func(b []byte) { put32(b[e+4*field:], math.MaxUint32) })
				}
			}
			pos, size := e+4, e+8
			if p.flags == branchPage {
				pos, size = e, e+4
			}
			try(fmt.Sprintf("page %d, element %d in the head", id, i), func(b []byte) { put32(b[pos:], 0) })
			if i == 0 {
				try(fmt.Sprintf("page %d, element %d without a key", id, i), func(b []byte) { put32(b[size:], 0) })
			}
			if p.flags == branchPage {
				branches++
				for _, to := range []uint64{0, 1, id, uint64(used[0]), uint64(used[1]), end, math.MaxUint64} {
					if to != binary.NativeEndian.Uint64(good[e+8:]) {
						try(fmt.Sprintf("page %d leads to %d", id, to), func(b []byte) { put64(b[e+8:], to) })
					}
				}
				try(fmt.Sprintf("page %d with a key out of order", id), func(b []byte) {
					e, err := parsePage(b[at:][:testPage]).element(i)
					ok(t, err)
					for k := range e.key {
						e.key[k] ^= 0xff
					}
				})
			}
		}
	}
	if branches == 0 {
		t.Error("the file has no branch")
	}
}

// A meta page with a right checksum and wrong content.
func TestOpen_damaged_meta_pages(t *testing.T) {
	good := goodFile(t)
	path := filepath.Join(t.TempDir(), "awa.db")
	used := reachable(t, path, good)
	put32, put64 := binary.NativeEndian.PutUint32, binary.NativeEndian.PutUint64
	meta := func(what string, f func(m []byte)) {
		t.Helper()
		b := append([]byte(nil), good...)
		for i := range 2 {
			m := b[i*testPage+pageHeader:][:metaSize]
			f(m)
			h := fnv.New64a()
			h.Write(m[:56])
			put64(m[56:], h.Sum64())
		}
		if opens(t, path, b) {
			t.Errorf("%s is taken", what)
		}
	}
	for _, to := range []uint64{0, 1, uint64(used[1]), uint64(len(good) / testPage), math.MaxUint64} {
		meta(fmt.Sprintf("the root at %d", to), func(m []byte) { put64(m[16:], to) })
	}
	for _, n := range []uint64{0, 3, 1 << 40, 1 << 52, 1 << 62, math.MaxUint64} {
		meta(fmt.Sprintf("%d pages", n), func(m []byte) { put64(m[40:], n) })
	}
	for _, n := range []uint64{0, 1, uint64(used[0]), 1 << 40} {
		meta(fmt.Sprintf("the list of free pages at %d", n), func(m []byte) { put64(m[32:], n) })
	}
	for _, n := range []uint32{0, 1, 100, 512, 8192, 1 << 31, math.MaxUint32} {
		meta(fmt.Sprintf("pages of %d bytes", n), func(m []byte) { put32(m[8:], n) })
	}
	meta("another version of bbolt", func(m []byte) { put32(m[4:], 3) })
}

// reachable returns the pages that the trees of a good file are made of, the
// root first.
func reachable(t *testing.T, path string, good []byte) []uint64 {
	t.Helper()
	ok(t, os.WriteFile(path, good, 0o600))
	var file *os.File
	db, err := openBolt(path, true, &file)
	ok(t, err)
	defer db.Close()
	var ids []uint64
	ok(t, db.View(func(tx *bolt.Tx) error {
		root := uint64(tx.Cursor().Bucket().Root())
		c := &pages{file: file, size: testPage, seen: make([]bool, tx.Size()/testPage)}
		_, err := c.walk(root, 0, nil, true)
		ids = append(ids, root)
		for id, seen := range c.seen {
			head := parsePage(good[id*testPage:])
			if seen && head.id == uint64(id) && head.id != root && (head.flags == leafPage || head.flags == branchPage) {
				ids = append(ids, head.id)
			}
		}
		return err
	}))
	return ids
}

// The list of free pages is used by bbolt to write over them.
func TestOpen_damaged_list_of_free_pages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "awa.db")
	ok(t, os.WriteFile(path, goodFile(t), 0o600))
	db, err := bolt.Open(path, 0o600, nil) // writes the list
	ok(t, err)
	ok(t, db.Close())
	b, err := os.ReadFile(path)
	ok(t, err)
	newest := uint64(0)
	var list, root uint64
	for i := range 2 {
		m := b[i*testPage+pageHeader:]
		if txid := binary.NativeEndian.Uint64(m[48:]); txid > newest {
			newest, list, root = txid, binary.NativeEndian.Uint64(m[32:]), binary.NativeEndian.Uint64(m[16:])
		}
	}
	if !opens(t, path, b) {
		t.Fatal("the file is refused before the damage")
	}
	at := int(list) * testPage
	for name, f := range map[string]func(b []byte){
		"a page in use":      func(b []byte) { binary.NativeEndian.PutUint64(b[at+pageHeader:], root) },
		"the list itself":    func(b []byte) { binary.NativeEndian.PutUint64(b[at+pageHeader:], list) },
		"a page twice":       func(b []byte) { copy(b[at+pageHeader:][:8], b[at+pageHeader+8:]) },
		"a meta page":        func(b []byte) { binary.NativeEndian.PutUint64(b[at+pageHeader:], 1) },
		"no page":            func(b []byte) { binary.NativeEndian.PutUint64(b[at+pageHeader:], math.MaxUint64) },
		"too many":           func(b []byte) { binary.NativeEndian.PutUint16(b[at+10:], math.MaxUint16-1) },
		"far too many":       func(b []byte) { copy(b[at+10:], strings.Repeat("\xff", 20)) },
		"another kind":       func(b []byte) { b[at+8] = leafPage },
		"more than one kind": func(b []byte) { b[at+8] |= leafPage },
	} {
		t.Run(name, func(t *testing.T) {
			b := append([]byte(nil), b...)
			f(b)
			if opens(t, path, b) {
				t.Error("it is taken")
			}
		})
	}
}

// Memory that the disk can't deliver is an error, not the end of the process.
func TestGuard(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "short"))
	ok(t, err)
	defer f.Close()
	ok(t, f.Truncate(testPage))
	m, err := syscall.Mmap(int(f.Fd()), 0, 2*testPage, syscall.PROT_READ, syscall.MAP_SHARED)
	ok(t, err)
	defer syscall.Munmap(m)
	var sum byte
	err = guard(func() error {
		sum += m[testPage]
		return nil
	})
	var damaged damageError
	if !errors.As(err, &damaged) {
		t.Errorf("got %v, %d", err, sum)
	}
	ok(t, guard(func() error { return nil }))
}

// FuzzOpen lays bytes over a good file.
func FuzzOpen(f *testing.F) {
	good := goodFile(f)
	f.Add(uint32(2*testPage), []byte("\xff\xff"))
	f.Add(uint32(3*testPage+8), []byte{branchPage, 0, 1, 0})
	f.Add(uint32(0), make([]byte, testPage))
	f.Add(uint32(len(good)-10), []byte(`{"action":"DELETE","data":"{}"}`))
	path := filepath.Join(f.TempDir(), "awa.db")
	f.Fuzz(func(t *testing.T, at uint32, over []byte) {
		b := append([]byte(nil), good...)
		copy(b[int(at)%len(b):], over)
		opens(t, path, b)
	})
}
