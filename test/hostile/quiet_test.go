//go:build system

package hostile

import (
	"testing"
	"time"

	"are-we-alive/test/program"
)

// TestQuiet is the yardstick: what agents cost that nobody bothers.
func TestQuiet(t *testing.T) {
	eachKey(t, func(t *testing.T, keys string) {
		a := program.Cluster(t, keys, 3)[0]
		end := a.Witness(keys, time.Second)
		before := a.CPU()
		<-time.After(2 * time.Second)
		t.Logf("%v of processor time, %d KiB, %d descriptors", a.CPU()-before, a.RSS()>>10, a.Descriptors())
		if end() == 0 {
			t.Error("nobody asked")
		}
	})
}
