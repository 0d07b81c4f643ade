package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// childEnv tells a test binary that was started by a test what to do.
const childEnv = "AWA_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "writer":
		writerChild(os.Args[1], os.Args[2])
	case "limited":
		limitedChild(os.Args[1], os.Args[2])
	}
}

var testHistory = awa.History{Epoch: 1, ID: "5f3a0c21b7e94d10"}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refuses(t testing.TB, err error, code awa.Code, words ...string) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("got error %v, want one with code %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

// open opens a store that is checked and closed at the end of the test.
func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	ok(t, err)
	t.Cleanup(func() {
		if !s.closed {
			sound(t, s)
		}
		ok(t, s.Close())
	})
	return s
}

// founded opens a new store that holds the empty list of a cluster.
func founded(t testing.TB) *Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "awa.db"))
	ok(t, s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory}))
	return s
}

// reopen closes a store and opens its file again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	sound(t, s)
	ok(t, s.Close())
	return open(t, s.path)
}

// rewrite changes a key of a store's meta, as another program would, and opens
// the file again; "" removes it.
func rewrite(t testing.TB, s *Store, key, value string) *Store {
	t.Helper()
	sound(t, s)
	ok(t, s.Close())
	db, err := openBolt(s.path, false, nil)
	ok(t, err)
	ok(t, db.Update(func(tx *bolt.Tx) error {
		if err := in(tx, bucketMeta).Put([]byte(key), []byte(value)); err != nil {
			return err
		}
		if value == "" {
			if err := in(tx, bucketMeta).Delete([]byte(key)); err != nil {
				return err
			}
		}
		return in(tx, bucketMeta).Put([]byte(keySum), []byte(metaSum(tx)))
	}))
	ok(t, db.Close())
	return open(t, s.path)
}

// makePlain makes a file one of formatPlain, as the program before wrote it.
func makePlain(t testing.TB, path string) {
	t.Helper()
	db, err := openBolt(path, false, nil)
	ok(t, err)
	ok(t, db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{bucketChanges, bucketLog, bucketStable} {
			values := map[string][]byte{}
			ok(t, in(tx, name).ForEach(func(key, value []byte) error {
				values[string(key)] = append([]byte{}, value...)
				return nil
			}))
			for key, value := range values {
				if name == bucketChanges {
					id, err := parseIDKey([]byte(key))
					ok(t, err)
					c, _, err := decodeChange(id, value)
					ok(t, err)
					value, err = json.Marshal(changeValue{Action: c.Action, Data: c.Data, Index: c.Index, Term: c.Term, Key: c.Key,
						Asked: c.Asked})
					ok(t, err)
				} else {
					value = value[sumSize:]
				}
				ok(t, in(tx, name).Put([]byte(key), value))
			}
		}
		meta := in(tx, bucketMeta)
		ok(t, meta.Delete([]byte(keySum)))
		return meta.Put([]byte(keyFormat), []byte(formatPlain))
	}))
	ok(t, db.Close())
}

// sound checks what must hold of an open store at any time: bbolt finds no
// fault, and the disk, the memory and a replay of the changes say the same.
func sound(t testing.TB, s *Store) {
	t.Helper()
	ok(t, s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt: %v", err)
		}
		held, err := load(tx)
		if err != nil {
			return err
		}
		equal(t, "nodes on disk", inJSON(t, held.list.Nodes()), inJSON(t, s.Nodes()))
		equal(t, "state on disk", held.list.State(), s.State())
		equal(t, "digest on disk", held.digest, s.Position().Digest)
		m := s.Meta()
		if held.meta.Index > m.Index || held.meta.State > m.State {
			t.Errorf("the disk is at log index %d and state %d, the memory at %d and %d", held.meta.Index, held.meta.State,
				m.Index, m.State)
		}
		if s.proven == nil && s.meta.State == s.list.State() {
			equal(t, "proven state on disk", held.meta.State, m.State)
		}
		held.meta.Index, held.meta.Term, held.meta.State = m.Index, m.Term, m.State
		equal(t, "meta on disk", inJSON(t, held.meta), inJSON(t, m))
		return nil
	}))
	changes, err := s.Changes(0, 0)
	ok(t, err)
	equal(t, "number of changes", uint64(len(changes)), s.State())
	list := awa.NewList()
	replay := list.Draft()
	for _, c := range changes {
		ok(t, replay.Apply(c))
	}
	replay.Commit()
	equal(t, "nodes of a replay", inJSON(t, list.Nodes()), inJSON(t, s.Nodes()))
}

func inJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	ok(t, err)
	return string(b)
}

// edits returns entries that follow the store's applied index. An edit is
// written "CREATE key {…}", the key "-" for none.
func edits(s *Store, all ...string) []awa.Entry {
	entries := make([]awa.Entry, len(all))
	for i, text := range all {
		f := strings.SplitN(text, " ", 3)
		e := awa.Edit{Action: awa.Action(f[0]), Data: []byte(f[2])}
		if f[1] != "-" {
			e.Key = f[1]
		}
		entries[i] = awa.Entry{Index: s.Meta().Index + 1 + uint64(i), Term: 3, Edit: e}
	}
	return entries
}

// decide decides edits, none of which may be refused.
func decide(t testing.TB, s *Store, all ...string) []awa.Outcome {
	t.Helper()
	outcomes, err := s.Decide(edits(s, all...))
	ok(t, err)
	for i, o := range outcomes {
		if o.Err != nil {
			t.Fatalf("edit %d: %v", i, o.Err)
		}
	}
	return outcomes
}

// createNode is an edit that creates node n<i>.
func createNode(i int) string {
	return fmt.Sprintf(`CREATE k%d {"name":"n%d","host":"10.0.0.1","port":%d}`, i, i, i%60000+1)
}

// transactions counts the write transactions that f makes.
func transactions(t testing.TB, s *Store, f func()) int {
	t.Helper()
	newest := func() (id int) {
		ok(t, s.db.View(func(tx *bolt.Tx) error {
			id = tx.ID()
			return nil
		}))
		return id
	}
	before := newest()
	f()
	return newest() - before
}
