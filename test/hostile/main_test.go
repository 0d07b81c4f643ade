//go:build system

// Package hostile lets strangers, holders of a key and lying peers loose on
// whole agents, plain and with TLS, and holds what that costs and what is
// believed against the bounds that the agents promise: processor time and
// memory from /proc, a live check_awa beside it, the list afterwards.
//
// It needs Go alone, and goes to loopback only: `make hostile-test`.
package hostile

import (
	"os"
	"testing"

	"are-we-alive/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// eachKey runs a test against agents without a key and with one.
func eachKey(t *testing.T, test func(t *testing.T, keys string)) {
	t.Run("plain", func(t *testing.T) { test(t, "") })
	t.Run("tls", func(t *testing.T) { test(t, program.NewKey(t)) })
}
