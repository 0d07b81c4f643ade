package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

func TestOpen_makes_a_file(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder+"/awa.db")
	info, err := os.Stat(s.path)
	ok(t, err)
	equal(t, "mode", info.Mode(), 0o600)
	left, err := os.ReadDir(folder)
	ok(t, err)
	equal(t, "number of files", len(left), 1)
	uid := s.Meta().UID
	equal(t, "uid after a restart", reopen(t, s).Meta().UID, uid)
}

// Several processes that start at once in one folder use one file, or say that
// it is in use.
func TestOpen_at_once(t *testing.T) {
	path := t.TempDir() + "/awa.db"
	type result struct {
		s   *Store
		err error
	}
	results := make(chan result)
	for range 4 {
		go func() {
			s, err := Open(path)
			results <- result{s, err}
		}()
	}
	var won *Store
	for range 4 {
		switch r := <-results; {
		case r.err != nil:
			refuses(t, r.err, awa.ErrInUse, path)
		case won != nil:
			t.Error("two hold the file")
		default:
			won = r.s
		}
	}
	if won == nil {
		t.Fatal("nobody holds the file")
	}
	sound(t, won)
	ok(t, won.Close())
}

func TestOpen_in_use(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	before := contents(t, s.path)
	start := time.Now()
	_, err := Open(s.path)
	refuses(t, err, awa.ErrInUse, s.path, "another process")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	equal(t, "the file", contents(t, s.path) == before, true)
}

func TestOpen_refuses(t *testing.T) {
	inBolt := func(f func(tx *bolt.Tx) error) func(path string) error {
		return func(path string) error {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(f), db.Close())
		}
	}
	put := func(bucket string, key []byte, value string) func(path string) error {
		return inBolt(func(tx *bolt.Tx) error { return in(tx, bucket).Put(key, []byte(value)) })
	}
	remove := func(bucket string, key []byte) func(path string) error {
		return inBolt(func(tx *bolt.Tx) error { return in(tx, bucket).Delete(key) })
	}
	content := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	// Each is done to a file with nodes 1 and 3, of changes 1, 4 and 3, in which
	// no digest and no sum tells of it: see TestOpen_altered.
	for name, c := range map[string]struct {
		do    func(path string) error
		code  awa.Code
		words string
	}{
		"an empty file": {content(""), awa.ErrDamaged, "empty"},
		"one byte":      {content("x"), awa.ErrDamaged, "backup"},
		"a text":        {content(strings.Repeat("not a database\n", 5000)), awa.ErrDamaged, "invalid database"},
		"zeros":         {content(strings.Repeat("\x00", 100_000)), awa.ErrDamaged, "joins the cluster with an empty one"},
		"a folder": {do: func(path string) error { os.Remove(path); return os.Mkdir(path, 0o700) }, code: awa.ErrDamaged,
			words: "is a folder"},
		"a pipe": {do: func(path string) error { os.Remove(path); return syscall.Mkfifo(path, 0o600) },
			code: awa.ErrDamaged, words: "a device"},
		"another bbolt file": {do: inBolt(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucketMeta)) }),
			code: awa.ErrDamaged, words: "holds no node list"},
		"a newer format":        {put(bucketMeta, []byte(keyFormat), "3"), awa.ErrFormat, `"3", this program knows version 2`},
		"no format":             {remove(bucketMeta, []byte(keyFormat)), awa.ErrDamaged, "no format version"},
		"no uid":                {remove(bucketMeta, []byte(keyUID)), awa.ErrDamaged, "no uid"},
		"no history":            {remove(bucketMeta, []byte(keyHistory)), awa.ErrDamaged, "not both"},
		"an unreadable history": {put(bucketMeta, []byte(keyHistory), "x"), awa.ErrDamaged, "not a history"},
		"no cluster": {inBolt(func(tx *bolt.Tx) error {
			b := in(tx, bucketMeta)
			b.Delete([]byte(keyCluster))
			return b.Delete([]byte(keyHistory))
		}), awa.ErrDamaged, "no cluster"},
		"an unreadable index":    {put(bucketMeta, []byte(keyIndex), "-1"), awa.ErrDamaged, "index"},
		"an index that is low":   {put(bucketMeta, []byte(keyIndex), "3"), awa.ErrDamaged, "log index 3"},
		"unreadable voters":      {put(bucketMeta, []byte(keyVoters), "{"), awa.ErrDamaged, "voters"},
		"a next id that is low":  {put(bucketMeta, []byte(keyNext), "3"), awa.ErrDamaged, "next id"},
		"a next id that is high": {put(bucketMeta, []byte(keyNext), "5"), awa.ErrDamaged, "next id"},
		"no log": {do: inBolt(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucketLog)) }), code: awa.ErrDamaged,
			words: "raft_log is missing"},
		"a log of other keys":    {put(bucketLog, []byte("x"), ""), awa.ErrDamaged, "raft_log"},
		"a missing change":       {remove(bucketChanges, idKey(2)), awa.ErrDamaged, "change 2 is missing"},
		"a missing last change":  {remove(bucketChanges, idKey(5)), awa.ErrDamaged, "don't fit"},
		"a change of another id": {put(bucketChanges, []byte("\x00\x06"), "{}"), awa.ErrDamaged, "0006 is not an id"},
		"an unreadable change":   {put(bucketChanges, idKey(2), "{"), awa.ErrDamaged, "change 2"},
		"an unknown action": {do: put(bucketChanges, idKey(2), `{"action":"MOVE","data":"{}"}`), code: awa.ErrDamaged,
			words: "MOVE"},
		"more deleted than made": {do: put(bucketChanges, idKey(1), `{"action":"DELETE","data":"{}"}`),
			code: awa.ErrDamaged, words: "change 1"},
		"unreadable data": {do: put(bucketChanges, idKey(2), `{"action":"CREATE","data":"{"}`), code: awa.ErrDamaged,
			words: "change 2"},
		"an unreadable node": {put(bucketNodes, idKey(1), "1"), awa.ErrDamaged, "node 1"},
		"a missing node":     {remove(bucketNodes, idKey(1)), awa.ErrDamaged, "don't fit"},
		"a node that was gone": {do: put(bucketNodes, idKey(2),
			`{"id":2,"name":"n2","host":"10.0.0.1","port":"3","changed":2}`), code: awa.ErrDamaged, words: "don't fit"},
		"a node of no change": {do: put(bucketNodes, idKey(1), `{"id":1,"name":"a","host":"h","port":"1"}`),
			code: awa.ErrDamaged, words: "node 1"},
		"a node of a change that is missing": {do: put(bucketNodes, idKey(1),
			`{"id":1,"name":"a","host":"h","port":"1","changed":9}`), code: awa.ErrDamaged, words: "node 1"},
		"a node of another change": {do: put(bucketNodes, idKey(1),
			`{"id":1,"name":"a","host":"h","port":"1","changed":3}`), code: awa.ErrDamaged, words: "node 1 is not " +
			"what change 3"},
		"another node": {do: put(bucketNodes, idKey(1), `{"id":1,"name":"b","host":"h","port":"1","changed":4}`),
			code: awa.ErrDamaged, words: "node 1 is not what change 4"},
		"two nodes of one name": {do: inBolt(func(tx *bolt.Tx) error {
			in(tx, bucketNodes).Put(idKey(3), []byte(`{"id":3,"name":"A","host":"h","port":"1","changed":3}`))
			return in(tx, bucketChanges).Put(idKey(3),
				[]byte(`{"action":"CREATE","data":"{\"id\":3,\"name\":\"A\",\"host\":\"h\",\"port\":\"1\"}"}`))
		}), code: awa.ErrDamaged, words: "two nodes"},
		"a bucket in a bucket": {inBolt(func(tx *bolt.Tx) error {
			_, err := in(tx, bucketStable).CreateBucket([]byte("x"))
			return err
		}), awa.ErrDamaged, "bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			s := founded(t)
			decide(t, s, createNode(1), createNode(2), createNode(3), `UPDATE - {"id":1,"name":"a","host":"h","port":"1"}`,
				`DELETE - {"id":2}`)
			ok(t, s.Close())
			makePlain(t, s.path)
			ok(t, c.do(s.path))
			before := contents(t, s.path)
			start := time.Now()
			_, err := Open(s.path)
			refuses(t, err, c.code, s.path, c.words)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			equal(t, "the file is unchanged", contents(t, s.path) == before, true)
		})
	}
}

func TestOpen_says_why_it_can_not(t *testing.T) {
	folder := t.TempDir()
	link := folder + "/link"
	ok(t, os.Symlink(folder+"/nowhere", link))
	file := folder + "/file"
	ok(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		path  string
		cause error
		words string
	}{
		"no folder":          {folder + "/a/awa.db", fs.ErrNotExist, "the folder " + folder + "/a does not exist"},
		"a file as a folder": {file + "/awa.db", syscall.ENOTDIR, "open " + file},
		"a link to nothing":  {link, fs.ErrNotExist, "open " + link},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.path)
			if !errors.Is(err, c.cause) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A file to which another version of this program wrote a node with its keys
// in another order is as good.
func TestOpen_takes_other_JSON_of_the_same_node(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	ok(t, s.update(func(tx *bolt.Tx) error {
		return in(tx, bucketNodes).Put(idKey(1), []byte(`{"changed":1, "port":"2","name":"n1","host":"10.0.0.1","id":1}`))
	}))
	ok(t, s.Close())
	open(t, s.path)
}

// bbolt's own tools write the list of free pages to the file.
func TestOpen_takes_a_file_with_a_list_of_free_pages(t *testing.T) {
	s := founded(t)
	for i := range 50 {
		decide(t, s, createNode(i))
	}
	want := s.Nodes()
	ok(t, s.Close())
	db, err := bolt.Open(s.path, 0o600, nil)
	ok(t, err)
	ok(t, db.Update(func(tx *bolt.Tx) error { return in(tx, bucketSightings).Put(idKey(1), []byte("{}")) }))
	if !strings.HasPrefix(filepath.Base(db.Path()), "awa") || db.Stats().FreePageN == 0 {
		t.Error("there are no free pages")
	}
	ok(t, db.Close())
	s = open(t, s.path)
	equal(t, "nodes", s.Nodes(), want)
	decide(t, s, createNode(50))
}

// A file that vanishes while it is opened must not be replaced by an empty one.
func TestOpenBolt_makes_no_file(t *testing.T) {
	path := t.TempDir() + "/awa.db"
	if db, err := openBolt(path, false, nil); db != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, %v", db, err)
	}
}

func contents(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	ok(t, err)
	if !info.Mode().IsRegular() {
		return info.Mode().String()
	}
	b, err := os.ReadFile(path)
	ok(t, err)
	return string(b)
}
