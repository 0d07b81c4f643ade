package store

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"

	bolt "go.etcd.io/bbolt"
)

// child starts this test binary again to do a job on a file.
func child(t *testing.T, job, path, argument string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], path, argument)
	cmd.Env = append(os.Environ(), childEnv+"="+job)
	cmd.Stderr = os.Stderr
	return cmd
}

// must ends a child that finds something wrong.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// writerChild writes edits and log entries until it is killed, and says after
// each batch the id of the newest change and the newest log index.
func writerChild(path, round string) {
	s, err := Open(path)
	must(err)
	if s.Meta().Cluster == "" {
		must(s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory}))
	}
	seed, err := strconv.ParseUint(round, 10, 64)
	must(err)
	r := rand.New(rand.NewPCG(seed, 2))
	for n := 0; ; n++ {
		batch := make([]awa.Entry, 1+r.IntN(6))
		log := make([][]byte, len(batch))
		for i := range batch {
			data := fmt.Sprintf(`{"name":"n%s-%d-%d","host":"h","port":1,"note":%q}`, round, n, i,
				strings.Repeat("x", r.IntN(3000)))
			batch[i] = awa.Entry{Index: s.Meta().Index + 1 + uint64(i), Term: seed, Edit: awa.Edit{Action: awa.Create,
				Data: []byte(data)}}
			if nodes := s.Nodes(); len(nodes) > 20 {
				batch[i].Edit = awa.Edit{Action: awa.Delete, Data: fmt.Appendf(nil, `{"id":%d}`, nodes[i].ID)}
			}
			log[i] = batch[i].Edit.Data
		}
		must(s.AppendLog(batch[0].Index, log))
		if r.IntN(10) == 0 {
			must(s.DeleteLog(0, batch[0].Index-1))
		}
		outcomes, err := s.Decide(batch)
		must(err)
		for _, o := range outcomes {
			must(o.Err)
		}
		newest := outcomes[len(outcomes)-1].Change
		_, err = fmt.Printf("%d %d\n", newest.ID, newest.Index)
		must(err)
	}
}

func TestStore_killed_writer_loses_nothing_acknowledged(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	path := t.TempDir() + "/awa.db"
	r := rand.New(rand.NewPCG(1, 3))
	kills := 0
	for round := range rounds {
		cmd := child(t, "writer", path, strconv.Itoa(round))
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		// Half of the kills come after some batches, half at any time: in the
		// first round while the file is made.
		kill := func() { ok(t, cmd.Process.Kill()) }
		after := r.IntN(25)
		if round%2 == 0 {
			after = -1
			defer time.AfterFunc(time.Duration(r.IntN(60_000))*time.Microsecond, kill).Stop()
		}
		var id, index uint64 // newest acknowledged
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			if n == after {
				kill()
			}
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			_, err = fmt.Sscan(line, &id, &index)
			ok(t, err)
		}
		if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: the child ended with %v before it was killed", round, err)
		}
		kills++
		s, err := Open(path)
		ok(t, err)
		sound(t, s)
		if s.State() < id || s.Meta().Index < index {
			t.Fatalf("round %d: change %d at log index %d was acknowledged, there is %d at %d", round, id, index, s.State(),
				s.Meta().Index)
		}
		if id > 0 {
			changes, err := s.Changes(id-1, 1)
			ok(t, err)
			equal(t, "index of the newest change", changes[0].Index, index)
			equal(t, "term of the newest change", changes[0].Term, uint64(round))
			_, last, err := s.LogBounds()
			ok(t, err)
			if last < index {
				t.Fatalf("round %d: the log ends at %d, %d was acknowledged", round, last, index)
			}
			// What was in the log and not yet in the list is decided again.
			for i := s.Meta().Index + 1; i <= last; i++ {
				if _, there, err := s.LogEntry(i); err != nil || !there {
					t.Fatalf("log entry %d: %t, %v", i, there, err)
				}
			}
		}
		ok(t, s.Close())
	}
	t.Logf("%d kills", kills)
}

// A file whose maker was killed is either not there or good.
func TestOpen_after_a_kill_while_the_file_is_made(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	missing := 0
	for range 20 {
		path := t.TempDir() + "/awa.db"
		cmd := child(t, "writer", path, "0")
		ok(t, cmd.Start())
		<-time.After(time.Duration(r.IntN(12_000)) * time.Microsecond)
		ok(t, cmd.Process.Kill())
		cmd.Wait()
		if _, err := os.Stat(path); err != nil {
			missing++
		}
		s, err := Open(path)
		ok(t, err)
		sound(t, s)
		ok(t, s.Close())
	}
	t.Logf("%d of 20 files were not made yet", missing)
}

// limitedChild fills a file up to a limit on its size, as on a full disk, and
// then raises the limit.
func limitedChild(path, limit string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(path)
	must(err)
	must(s.Init(awa.ChangeSet{Cluster: "c1", History: testHistory}))
	note := strings.Repeat("x", 9000)
	batch := func() []awa.Entry {
		var all []awa.Entry
		for i := range uint64(4) {
			index := s.Meta().Index + 1 + i
			data := fmt.Sprintf(`{"name":"n%d","host":"h","port":1,"note":%q}`, index, note)
			all = append(all, awa.Entry{Index: index, Term: 1, Edit: awa.Edit{Action: awa.Create, Data: []byte(data)}})
		}
		return all
	}
	_, err = s.Decide(batch())
	must(err)

	var old syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	low := old
	low.Cur, err = strconv.ParseUint(limit, 10, 64)
	must(err)
	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low))
	full := error(nil)
	for n := 0; full == nil; n++ {
		state, nodes, m := s.State(), len(s.Nodes()), s.Meta()
		if _, full = s.Decide(batch()); full != nil {
			if s.State() != state || len(s.Nodes()) != nodes || s.Meta().Index != m.Index {
				must(fmt.Errorf("a failed write changed the memory"))
			}
		}
		if n > 1000 {
			must(fmt.Errorf("the disk is never full"))
		}
	}
	if !strings.Contains(full.Error(), path) || !strings.Contains(full.Error(), syscall.EFBIG.Error()) {
		must(fmt.Errorf("the error does not name the file and the cause: %w", full))
	}
	if s.AppendLog(1, [][]byte{make([]byte, 1<<20)}) == nil || s.SetStable("k", make([]byte, 1<<20)) == nil {
		must(fmt.Errorf("a full disk takes a log entry"))
	}
	if voters := (awa.VoterSet{Index: 1, UIDs: []string{strings.Repeat("u", 1<<20)}}); s.SetVoters(voters) == nil ||
		s.Meta().Voters.Index != 0 {
		must(fmt.Errorf("a full disk takes voters"))
	}

	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
	state := s.State()
	outcomes, err := s.Decide(batch())
	must(err)
	if outcomes[0].Err != nil || s.State() != state+4 {
		must(fmt.Errorf("after the limit was raised: %w, state %d after %d", outcomes[0].Err, s.State(), state))
	}
	must(s.Close())
	os.Exit(0)
}

func TestStore_full_disk_changes_nothing(t *testing.T) {
	for name, limit := range map[string]string{
		"while pages are written":   "300000", // in the middle of the first map
		"while the file is growing": strconv.Itoa(firstMap),
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/awa.db"
			cmd := child(t, "limited", path, limit)
			ok(t, cmd.Run())
			s := open(t, path)
			if s.State() < 8 {
				t.Errorf("only %d changes", s.State())
			}
			equal(t, "nodes", uint64(len(s.Nodes())), s.State())
		})
	}
}

// Where a failed commit may have left its meta page on the disk, nothing more
// is written: the memory and the disk may differ.
func TestStore_doubtful_write_is_the_last(t *testing.T) {
	s := founded(t)
	decide(t, s, createNode(1))
	id := 0
	ok(t, s.update(func(tx *bolt.Tx) error {
		id = tx.ID()
		return in(tx, bucketStable).Put([]byte("k"), withSum([]byte("k"), nil))
	}))
	ok(t, s.undone(id+1, syscall.EIO)) // as if transaction id+1 had left no trace
	s.failed = s.undone(id, syscall.EIO)
	if _, err := s.Decide(edits(s, createNode(2))); err == nil || !strings.Contains(err.Error(), "restart the agent") ||
		!strings.Contains(err.Error(), syscall.EIO.Error()) {
		t.Errorf("a write after a doubtful one gives %v", err)
	}
	equal(t, "state", s.State(), 1)
	equal(t, "state after a restart", reopen(t, s).State(), 1)
}
