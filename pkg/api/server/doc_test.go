package server

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"are-we-alive/pkg/awa"
)

// docLines are the lines of the package's documentation, with each run of
// blanks as one.
func docLines(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.Join(strings.Fields(strings.TrimPrefix(line, "//")), " "))
	}
	return lines
}

// TestDoc_bounds holds the bounds that the documentation states to the
// constants: whoever changes one must change what it promises.
func TestDoc_bounds(t *testing.T) {
	lines := docLines(t)
	all, web := standardLimits(), webLimits(maxWebConns)
	for _, want := range []string{
		fmt.Sprintf("connections without a role yet %d (maxPending), of one address %d (maxPendingPerAddr)",
			all[pending].all, all[pending].perAddr),
		fmt.Sprintf("connections of check keys %d (maxChecks), of one address %d (maxChecksPerAddr)", all[checking].all,
			all[checking].perAddr),
		fmt.Sprintf("connections of members %d (the rest of maxConns), of one address %d (maxMembersPerAddr)",
			all[trusted].all, all[trusted].perAddr),
		fmt.Sprintf("Raft streams of members %d (maxStreams), of one address %d (maxStreamsPerAddr)", all[streaming].all,
			all[streaming].perAddr),
		fmt.Sprintf("a handshake, and a whole request %v (readTimeout)", readTimeout),
		fmt.Sprintf("the time between two requests %v (idleTimeout)", idleTimeout),
		fmt.Sprintf("a request's head %d bytes (maxHeader)", maxHeader),
		fmt.Sprintf("a request's body %d bytes (maxBody)", maxBody),

		fmt.Sprintf("of an answer in memory, for its reader %d bytes (pageBytes), and one element more", pageBytes),
		fmt.Sprintf("of an answer in the kernel %d bytes (sendBuffer), and as much again", sendBuffer),
		fmt.Sprintf("a reader who reads nothing %v (writeTimeout)", writeTimeout),
		fmt.Sprintf("a reader who is slow %d bytes a second (minRate), after that time", minRate),
		fmt.Sprintf("sweeps and lists that readers hold %d bytes (maxRetained), the oldest are given up", maxRetained),

		fmt.Sprintf("open connections in all %d, the oldest is closed (webLimits)", web[pending].all),
		fmt.Sprintf("open connections of one address %d, the oldest is closed (webLimits)", web[pending].perAddr),
		fmt.Sprintf("a request's body %d bytes (maxWebBody)", maxWebBody),
		fmt.Sprintf("the age of a page %v (freshMost)", freshMost),
		fmt.Sprintf("pages that readers hold %d bytes (maxRetained), the oldest are given up", maxRetained),
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the documentation does not say: %s", want)
		}
	}
	if freshFactor < 9 {
		t.Errorf("pages take one part in %d of a processor, not a tenth", freshFactor+1)
	}
}

// TestDoc_calls has a line for every call, with its role and its own bounds.
func TestDoc_calls(t *testing.T) {
	lines := docLines(t)
	bounds := map[string][]string{
		"POST /push": {fmt.Sprintf("a change of %d bytes", awa.MaxData), fmt.Sprintf("%v (editTimeout)", editTimeout)},
		"POST /v1/changes": {fmt.Sprintf("an edit of %d bytes", awa.MaxData), fmt.Sprintf("%v (editTimeout)", editTimeout),
			fmt.Sprintf("%d times (maxHops)", maxHops)},
		"POST /v1/probe": {fmt.Sprintf("%d ids (maxProbe)", maxProbe), fmt.Sprintf("%v (probeTimeout)", probeTimeout)},
	}
	for _, r := range routes() {
		call := r.method + " " + r.path
		i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, call+" "+string(r.role)+" ") })
		if i < 0 {
			t.Errorf("the documentation has no line for %s, which needs the role %s", call, r.role)
			continue
		}
		for _, want := range bounds[call] {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: the documentation does not say %s: %s", call, want, lines[i])
			}
		}
	}
}
