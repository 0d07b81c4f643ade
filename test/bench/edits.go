package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

const (
	mostWriters = 64
	block       = 50 // edits and syncs that take turns
)

// editors edit the list of a cluster, each a node of its own.
type editors struct {
	client        *api.Client
	leader, other string // addresses of voters
	all           []string
	acknowledged  atomic.Int64
}

// edits measures edits beside the sync of a file on the same disk.
func edits(ctx context.Context, b *bench) (err error) {
	e := &editors{client: api.NewClient(api.ClientConfig{})}
	defer e.client.Close()
	c, err := startVoters(ctx, b.dir, e.client)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := e.prepare(ctx, c); err != nil {
		return err
	}
	disk, err := openYardstick(filepath.Join(b.dir, "yardstick"))
	if err != nil {
		return err
	}
	defer disk.close()

	var took, passedOn []time.Duration
	var alone, crowd, cpu []float64
	for range b.runs {
		some, err := e.alone(ctx, b.each, e.leader, disk)
		if err != nil {
			return err
		}
		took, alone = append(took, some...), append(alone, rate(some))
		many, each, err := e.crowd(ctx, b.each)
		if err != nil {
			return err
		}
		crowd, cpu = append(crowd, many), append(cpu, ms(each))
		if some, err = e.alone(ctx, b.each/3, e.other, disk); err != nil {
			return err
		}
		passedOn = append(passedOn, some...)
	}
	if err := e.check(ctx); err != nil {
		return err
	}

	sync := median(disk.appends)
	b.figure("fdatasync after appending 4 KiB, median", fmt.Sprintf("%.3f ms", ms(sync)))
	b.figure("fdatasync after writing 4 KiB in place, median", fmt.Sprintf("%.3f ms", ms(median(disk.inPlace))))
	b.figure("edit at the leader, 1 writer, p50", fmt.Sprintf("%.2f ms", ms(median(took))))
	b.figure("edit at the leader, 1 writer, p99", fmt.Sprintf("%.2f ms", ms(percentile(took, 99))))
	b.atMost("that p50 in fdatasyncs (appending)", float64(median(took))/float64(sync), 6, "%.1f")
	b.figure("… and in fdatasyncs (in place)", fmt.Sprintf("%.1f", float64(median(took))/float64(median(disk.inPlace))))
	b.figure("edit at another voter, 1 writer, p50", fmt.Sprintf("%.2f ms", ms(median(passedOn))))
	b.figure("1 writer", fmt.Sprintf("%.0f edits/s", median(alone)))
	b.atLeast("64 writers", median(crowd), 10_000, "%.0f edits/s")
	b.figure("64 writers, CPU time of an edit, agents and writers", fmt.Sprintf("%.3f ms", median(cpu)))
	if err := digestCost(ctx, b, e.leader, time.Duration(median(cpu)*float64(time.Millisecond))); err != nil {
		return err
	}
	b.note("(%d edits in all; medians of %d runs of %v, syncs and edits in turns of %d)", e.acknowledged.Load(), b.runs,
		b.each, block)
	return nil
}

// prepare finds the leader and makes a node for each writer.
func (e *editors) prepare(ctx context.Context, c *cluster) error {
	for _, d := range c.daemons {
		self, err := e.client.Ping(ctx, d.Addr(), false)
		if err != nil {
			return err
		}
		e.all = append(e.all, d.Addr())
		if self.Leader == self.UID {
			e.leader = d.Addr()
		} else {
			e.other = d.Addr()
		}
	}
	if e.leader == "" {
		return errors.New("the cluster lost its leader")
	}
	e.acknowledged.Store(3) // the agents' own registrations
	for i := range mostWriters {
		data := fmt.Sprintf(`{"name":"writer%d","host":"10.0.0.1","port":"25483"}`, i)
		if err := e.edit(ctx, e.leader, awa.Create, data); err != nil {
			return err
		}
	}
	return nil
}

// edit makes one edit with a key, as the command line does.
func (e *editors) edit(ctx context.Context, addr string, action awa.Action, data string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, _, err := e.client.Edit(ctx, addr, awa.Edit{Action: action, Data: []byte(data), Key: awa.NewUID()}, 0)
	if err == nil {
		e.acknowledged.Add(1)
	}
	return err
}

// update changes a writer's node; its id is behind those of the agents.
func (e *editors) update(ctx context.Context, addr string, writer, i int) error {
	return e.edit(ctx, addr, awa.Update,
		fmt.Sprintf(`{"id":%d,"name":"writer%d","host":"10.0.0.1","port":"25483","labels":{"round":"%d"}}`, writer+4,
			writer, i))
}

// alone has one writer edit at addr, in turns with the disk's syncs.
func (e *editors) alone(ctx context.Context, d time.Duration, addr string,
	disk *yardstick) (took []time.Duration, err error) {
	for begin := time.Now(); time.Since(begin) < d; {
		for i := range block {
			at := time.Now()
			if err := e.update(ctx, addr, 0, i); err != nil {
				return nil, err
			}
			took = append(took, time.Since(at))
		}
		if err := e.quiet(ctx); err != nil { // else their syncs are slowed down
			return nil, err
		}
		if err := disk.measure(block); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// rate is how many a second there are of what took so long each.
func rate(took []time.Duration) float64 {
	var all time.Duration
	for _, t := range took {
		all += t
	}
	return float64(len(took)) / all.Seconds()
}

// crowd has all writers edit at the leader. It returns their edits per second,
// and the CPU time of an edit in all of this process, which says more than
// the former while others use the machine.
func (e *editors) crowd(ctx context.Context, d time.Duration) (float64, time.Duration, error) {
	var writers errgroup.Group
	before, begin, used := e.acknowledged.Load(), time.Now(), cpuUsed()
	for w := range mostWriters {
		writers.Go(func() error {
			for i := 0; time.Since(begin) < d; i++ {
				if err := e.update(ctx, e.leader, w, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := writers.Wait()
	took := time.Since(begin)
	err = errors.Join(err, e.quiet(ctx))
	made := e.acknowledged.Load() - before
	return float64(made) / took.Seconds(), (cpuUsed() - used) / time.Duration(max(made, 1)), err
}

// cpuUsed is the time in user and system mode of this process so far.
func cpuUsed() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quiet waits until all voters hold the same state.
func (e *editors) quiet(ctx context.Context) error {
	return until(ctx, 10*time.Second, "the same state at all voters", func() bool {
		states := map[uint64]bool{}
		for _, addr := range e.all {
			if self, err := e.client.Ping(ctx, addr, false); err == nil {
				states[self.State] = true
			}
		}
		return len(states) == 1 && !states[0]
	})
}

// check looks whether each acknowledged edit is on the list, and no more.
func (e *editors) check(ctx context.Context) error {
	self, err := e.client.Ping(ctx, e.leader, false)
	if err != nil {
		return err
	}
	if want := e.acknowledged.Load(); self.State != uint64(want) {
		return fmt.Errorf("%d edits were acknowledged, and the list holds %d changes", want, self.State)
	}
	return nil
}

// yardstick is a file on the disk that is measured.
type yardstick struct {
	file             *os.File
	end              int64
	appends, inPlace []time.Duration
}

func openYardstick(path string) (*yardstick, error) {
	f, err := os.Create(path)
	return &yardstick{file: f}, err
}

func (y *yardstick) close() { y.file.Close() }

// measure takes n samples of each kind.
func (y *yardstick) measure(n int) error {
	for range n {
		took, err := y.write(y.end)
		if err != nil {
			return err
		}
		y.appends = append(y.appends, took)
		y.end += pageSize
		if took, err = y.write(0); err != nil {
			return err
		}
		y.inPlace = append(y.inPlace, took)
	}
	return nil
}

const pageSize = 4096

// write writes a page and waits until the disk has it.
func (y *yardstick) write(at int64) (time.Duration, error) {
	begin := time.Now()
	_, err := y.file.WriteAt(make([]byte, pageSize), at)
	if err == nil {
		err = syscall.Fdatasync(int(y.file.Fd()))
	}
	return time.Since(begin), err
}
