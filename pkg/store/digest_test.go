package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// digests are those of a store's list at each of its states.
func digests(t testing.TB, s *Store) []awa.Digest {
	t.Helper()
	all := make([]awa.Digest, s.State()+1)
	for state := range all {
		d, held, err := s.DigestAt(uint64(state))
		ok(t, err)
		equal(t, "held", held, true)
		all[state] = d
	}
	return all
}

// replayed are the digests that a store's changes make.
func replayed(t testing.TB, s *Store) []awa.Digest {
	t.Helper()
	changes, err := s.Changes(0, 0)
	ok(t, err)
	all := []awa.Digest{awa.FirstDigest(s.Meta().Cluster)}
	for _, c := range changes {
		all = append(all, all[len(all)-1].Next(c))
	}
	return all
}

func TestStore_DigestAt(t *testing.T) {
	s := founded(t)
	equal(t, "digests of an empty list", digests(t, s), []awa.Digest{awa.FirstDigest("c1")})
	decide(t, s, createNode(1), createNode(2), `DELETE - {"id":1}`)
	decide(t, s, createNode(4))
	equal(t, "digests", digests(t, s), replayed(t, s))
	if d, held, err := s.DigestAt(5); held || err != nil {
		t.Errorf("the digest of a state that is not there: %s, %v, %v", d, held, err)
	}
	before := digests(t, s)
	s = reopen(t, s)
	equal(t, "digests after a restart", digests(t, s), before)

	other := open(t, t.TempDir()+"/awa.db")
	changes, err := s.Changes(0, 0)
	ok(t, err)
	for i := range changes {
		changes[i].Index, changes[i].Term = 0, 0
	}
	ok(t, other.Init(awa.ChangeSet{Cluster: "c1", History: testHistory, Changes: changes}))
	equal(t, "digests of the list from elsewhere", digests(t, other), before)
}

// A list that gives way to what Raft decided has the digests of what is there.
func TestStore_DigestAt_replaced(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	ok(t, s.Apply([]awa.Change{
		{ID: 2, Action: awa.Create, Data: `{"id":2,"name":"forged","host":"h","port":"1"}`},
		{ID: 3, Action: awa.Create, Data: `{"id":3,"name":"too","host":"h","port":"1"}`},
	}))
	decide(t, s, createNode(2))
	equal(t, "state", s.State(), 2)
	equal(t, "digests", digests(t, s), replayed(t, s))
	ok(t, s.Apply([]awa.Change{{ID: 3, Action: awa.Delete, Data: `{"id":1}`}}))
	ok(t, s.DropLearned())
	equal(t, "digests", digests(t, s), replayed(t, s))
}

// What the disk alters is found when it is read, not only by the next Open.
// Who reads while the list is cut, and made that of another cluster, meets no
// damage.
func TestStore_Rebase_read(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1), createNode(2), createNode(3), createNode(4))
	changes, err := s.Changes(0, 0)
	ok(t, err)
	done, read := make(chan struct{}), make(chan error)
	go func() {
		var err error
		for reads := 0; err == nil; reads++ {
			select {
			case <-done:
				if reads > 0 {
					read <- nil
					return
				}
			default:
			}
			if _, _, err = s.DigestAt(3); err == nil {
				_, err = s.Changes(uint64(reads%4), 0)
			}
		}
		read <- err
	}()
	clusters := []string{"c1", "c2"}
	for i := range 300 {
		cut := uint64(0)
		if i%2 == 0 {
			cut = 2
		}
		ok(t, s.Rebase(4, cut, clusters[(i+1)/2%2], testHistory, awa.Position{}))
		equal(t, "state", s.State(), cut)
		ok(t, s.Apply(changes))
	}
	close(done)
	ok(t, <-read)
	ok(t, s.Damaged())
}

func TestStore_altered_while_open(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1), createNode(2), createNode(3))
	ok(t, s.SetStable("term", []byte("5")))
	ok(t, s.AppendLog(7, [][]byte{[]byte("entry")}))
	good := map[string][]byte{}
	alter := func(bucket string, key []byte, old, new string) {
		ok(t, s.update(func(tx *bolt.Tx) error {
			v := append([]byte{}, in(tx, bucket).Get(key)...)
			good[bucket] = v
			altered := strings.Replace(string(v), old, new, 1)
			if altered == string(v) {
				return fmt.Errorf("%q holds no %s", v, old)
			}
			return in(tx, bucket).Put(key, []byte(altered))
		}))
	}
	alter(bucketChanges, idKey(2), "10.0.0.1", "10.0.0.9")
	for name, read := range map[string]func() error{
		"Changes": func() error { _, err := s.Changes(0, 0); return err },
		"Page":    func() error { _, err := s.Page(1, 10); return err },
	} {
		if err := read(); err == nil {
			t.Errorf("%s passes an altered change on", name)
		} else {
			refuses(t, err, awa.ErrDamaged, s.path, "change 2")
		}
	}
	alter(bucketStable, []byte("term"), "5", "6")
	_, _, err := s.Stable("term")
	refuses(t, err, awa.ErrDamaged, s.path, "term")
	alter(bucketLog, idKey(7), "entry", "Entry")
	_, _, err = s.LogEntry(7)
	refuses(t, err, awa.ErrDamaged, s.path, bucketLog)
	ok(t, s.update(func(tx *bolt.Tx) error { // for the checks at the end
		for bucket, key := range map[string][]byte{bucketChanges: idKey(2), bucketStable: []byte("term"),
			bucketLog: idKey(7)} {
			ok(t, in(tx, bucket).Put(key, good[bucket]))
		}
		return nil
	}))
}

// A value that is another than was written is damage, wherever it stands and
// however well it reads.
func TestOpen_altered(t *testing.T) {
	for name, c := range map[string]struct {
		bucket   string
		key      []byte
		old, new string
		words    string
	}{
		"the data of a change":      {bucketChanges, idKey(2), "10.0.0.1", "10.0.0.9", "change 2"},
		"the key of a change":       {bucketChanges, idKey(2), `"k2"`, `"k3"`, "change 2"},
		"the action of a change":    {bucketChanges, idKey(4), "UPDATE", "CREATE", "change 4"},
		"the digest of a change":    {bucketChanges, idKey(2), `"digest":"`, `"Digest":"0`, "change 2"},
		"the place of a change":     {bucketChanges, idKey(2), `"index":2`, `"index":3`, "change 2"},
		"the term of a change":      {bucketChanges, idKey(2), `"term":3`, `"term":2`, "change 2"},
		"the last change":           {bucketChanges, idKey(4), "n1", "n9", "change 4"},
		"the cluster":               {bucketMeta, []byte(keyCluster), "c1", "c2", "bucket meta"},
		"the history":               {bucketMeta, []byte(keyHistory), "1-", "2-", "bucket meta"},
		"the applied index":         {bucketMeta, []byte(keyProven), `"index":4`, `"index":5`, "bucket meta"},
		"an entry of the log":       {bucketLog, idKey(7), "entry", "Entry", "entry 7"},
		"a vote":                    {bucketStable, []byte("vote"), "n1", "n2", "vote"},
		"the sum before a vote":     {bucketStable, []byte("vote"), "n1", "", "vote"},
		"a node, as before":         {bucketNodes, idKey(2), "10.0.0.1", "10.0.0.9", "node 2"},
		"the version, to the older": {bucketMeta, []byte(keyFormat), "2", "1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := founded(t)
			decide(t, s, createNode(1), createNode(2), createNode(3), `UPDATE - {"id":1,"name":"n1","host":"h","port":"1"}`)
			ok(t, s.AppendLog(7, [][]byte{[]byte("entry")}))
			ok(t, s.SetStable("vote", []byte("n1")))
			ok(t, s.Close())
			db, err := bolt.Open(s.path, 0o600, nil)
			ok(t, err)
			ok(t, db.Update(func(tx *bolt.Tx) error {
				v := string(in(tx, c.bucket).Get(c.key))
				if !strings.Contains(v, c.old) {
					return fmt.Errorf("%q holds no %s", v, c.old)
				}
				return in(tx, c.bucket).Put(c.key, []byte(strings.Replace(v, c.old, c.new, 1)))
			}))
			ok(t, db.Close())
			_, err = Open(s.path)
			refuses(t, err, awa.ErrDamaged, s.path, c.words, "damaged", "move the data folder away", "joins the cluster")
		})
	}
}

// goodList is the file of a list, and the digest of it.
func goodList(t testing.TB) (file []byte, digest awa.Digest) {
	t.Helper()
	s := founded(t)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		decide(t, s, fmt.Sprintf(`CREATE k%d {"name":"n%d","host":"10.0.0.1","port":1,"note":%q}`, i, i,
			strings.Repeat("x", r.IntN(200))))
		ok(t, s.AppendLog(uint64(i+1), [][]byte{binary.BigEndian.AppendUint64(nil, r.Uint64())}))
		ok(t, s.SetStable("CurrentTerm", binary.BigEndian.AppendUint64(nil, uint64(i))))
	}
	digest = s.Position().Digest
	ok(t, s.Close())
	file, err := os.ReadFile(s.path)
	ok(t, err)
	return file, digest
}

// None of many files with a few flipped bits runs with another list.
func TestOpen_flipped(t *testing.T) {
	good, want := goodList(t)
	for len(good) > testPage && strings.Trim(string(good[len(good)-testPage:]), "\x00") == "" {
		good = good[:len(good)-testPage]
	}
	path := t.TempDir() + "/awa.db"
	refused, unharmed := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := append([]byte(nil), good...)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		written(t, path, b)
		s, err := Open(path)
		if err != nil {
			refuses(t, err, awa.ErrDamaged, path, "damaged", "move the data folder away")
			refused++
			continue
		}
		unharmed++ // in a free page
		equal(t, "digest", s.Position().Digest, want)
		_, err = s.Changes(0, 0)
		ok(t, err)
		ok(t, s.Close())
	}
	t.Logf("%d refused, %d unharmed", refused, unharmed)
	if refused < 20 {
		t.Error("so few can't be")
	}
}

// A file of the version before is made one of this version, also when that was
// cut short at any of its writes.
func TestOpen_upgrades(t *testing.T) {
	build := func(t *testing.T, n int) (path string, want []awa.Change) {
		s := founded(t)
		for i := 0; i < n; i += 500 {
			var all []string
			for j := range min(500, n-i) {
				all = append(all, createNode(i+j))
			}
			decide(t, s, all...)
		}
		ok(t, s.AppendLog(7, [][]byte{[]byte("entry"), nil}))
		ok(t, s.SetStable("term", []byte("5")))
		want, err := s.Changes(0, 0)
		ok(t, err)
		ok(t, s.Close())
		makePlain(t, s.path)
		return s.path, want
	}
	check := func(t *testing.T, path string, want []awa.Change) {
		t.Helper()
		s := open(t, path)
		got, err := s.Changes(0, 0)
		ok(t, err)
		equal(t, "changes", got, want)
		for at, digest := range replayed(t, s) {
			if at%97 == 0 || at > len(want)-3 {
				d, _, err := s.DigestAt(uint64(at))
				ok(t, err)
				equal(t, "digest", d, digest)
			}
		}
		entry, _, err := s.LogEntry(7)
		ok(t, err)
		equal(t, "entry", string(entry), "entry")
		term, _, err := s.Stable("term")
		ok(t, err)
		equal(t, "term", string(term), "5")
	}
	for _, n := range []int{0, 1, pageSize} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path, want := build(t, n)
			check(t, path, want)
		})
	}
	t.Run("cut short", func(t *testing.T) {
		path, want := build(t, pageSize+1)
		held, err := examine(path)
		ok(t, err)
		db, err := openBolt(path, false, nil)
		ok(t, err)
		s := &Store{path: path, db: db, list: held.list, digest: held.digest, meta: held.meta, high: held.high}
		ok(t, s.update(func(tx *bolt.Tx) error { // the first batch of upgrade
			_, _, err := putDigests(tx, 0, awa.FirstDigest("c1"))
			return err
		}))
		ok(t, db.Close())
		check(t, path, want)
	})
}
