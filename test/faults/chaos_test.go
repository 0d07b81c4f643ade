//go:build system

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// chaos is a cluster to which everything happens, and what is known of it.
type chaos struct {
	*cluster
	rand    *rand.Rand
	kept    map[*agent]string // a copy of a data folder, from some time ago
	saved   string            // a backup of the history of now, from some time ago
	happens map[string]int
	seen    map[position]string // each list that an agent had, and whose it was
	differ  int                 // how often lists that contradict each other were seen
}

// TestChaos has everything happen to five agents in random order, while each of
// them takes edits. In the end all lists are the same and hold every acknowledged
// edit once, except those that only a majority had that was rolled back, or given
// up by restore or recover: these stand in a file that was set aside. Every list
// that an agent had meanwhile is the beginning of the one in the end, or of one
// that was set aside. check_awa never says OK while lists contradict each other.
func TestChaos(t *testing.T) {
	lasts := lasting(t, envChaos, 4*time.Minute)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(envSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", envSeed, err)
		}
	}
	fmt.Printf("The chaos lasts %v; its seed is %d (%s=%d has it happen again).\n", lasts, seed, envSeed, seed)
	c := &chaos{cluster: newSmallCluster(t, 5), rand: rand.New(rand.NewPCG(seed, 15)), kept: map[*agent]string{},
		happens: map[string]int{}, seen: map[position]string{}}
	for _, a := range c.agents {
		a.log.expected = true // it says so loudly when it gives way
		a.onTmpfs(16<<20 + int(lasts/time.Minute)<<20)
	}
	c.startAll()
	c.settled()
	var writers []*writer
	for _, a := range c.agents {
		writers = append(writers, startWriter(t, a))
	}
	for end := time.Now().Add(lasts); time.Now().Before(end) && !t.Failed(); {
		c.happen()
	}
	c.heal()
	healed := time.Now()
	acked, sent := map[string]bool{}, 0
	for _, w := range writers {
		said := w.end(t)
		sent += len(said["sent"])
		for _, key := range said["acked"] {
			acked[key] = true
		}
	}
	final := c.awaitSame()
	same := time.Since(healed)
	c.account(final, acked)
	fmt.Printf("It happened: %v. %d edits were sent, %d acknowledged; the list has %d changes. %d lists were seen; lists "+
		"contradicted each other %d times. All were the same %.1f s after all was well.\n", c.happens, sent, len(acked),
		len(final.Changes), len(c.seen), c.differ, same.Seconds())
	if len(acked) < int(lasts.Seconds()) {
		t.Errorf("only %d edits were acknowledged", len(acked))
	}
}

// happen has one thing happen to the cluster, and waits until it is over.
func (c *chaos) happen() {
	victim := c.agents[c.rand.IntN(len(c.agents))]
	events := []struct {
		name string
		do   func(*agent)
	}{
		{"kill -9", c.killOne}, {"kill -9", c.killOne}, {"kill -9 of two", c.killTwo},
		{"SIGSTOP", c.freeze}, {"partition", c.part}, {"partition", c.part},
		{"rolled back", c.rollBack}, {"reinstalled", c.reinstall}, {"its disk is full", c.fillDisk},
		{"restored", c.restore}, {"recovered", c.recover},
	}
	e := events[c.rand.IntN(len(events))]
	c.happens[e.name]++
	c.t.Logf("%s: %s %s", time.Now().Format(time.TimeOnly), e.name, victim.name)
	e.do(victim)
	c.pause(3 * time.Second)
}

// pause lets what has happened last for up to so long, and compares the lists
// meanwhile.
func (c *chaos) pause(most time.Duration) {
	over := time.NewTimer(time.Duration(c.rand.Int64N(int64(most))))
	defer over.Stop()
	for {
		c.neverOKWhileDifferent()
		select {
		case <-over.C:
			return
		default:
		}
	}
}

// heal ends all that is going on.
func (c *chaos) heal() {
	for _, h := range c.hosts() {
		h.open()
	}
	for _, a := range c.agents {
		a.signal(syscall.SIGCONT)
		a.revive()
	}
}
