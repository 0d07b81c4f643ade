package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestServer_bombs sends JSON that is nested without end, or is made of
// nothing but empty elements, in as large a body as is taken: a stack that
// overflows would end the process.
func TestServer_bombs(t *testing.T) {
	agent := newFake(t)
	addr, _ := serve(t, agent, nil)
	before := agent.state()
	fill := func(begin, more string) string {
		return begin + strings.Repeat(more, (1<<20-len(begin))/len(more))
	}
	for name, body := range map[string]string{
		"arrays":              fill("", "["),
		"objects":             fill("", `{"a":`),
		"arrays in nodes":     fill(`{"nodes":`, "["),
		"arrays in data":      fill(`{"action":"CREATE","data":`, "["),
		"objects in data":     fill(`{"action":"CREATE","data":`, `{"a":`),
		"arrays in an action": fill(`{"action":`, "["),
		"empty elements":      fill(`{"nodes":[0`, ",{}"),
		"the same key":        fill(`{"id":1`, `,"id":1`),
		"a long number":       fill(`{"id":`, "9"),
	} {
		for _, path := range []string{"/v1/changes", "/push", "/v1/probe"} {
			t.Run(name+" to "+path, func(t *testing.T) {
				resp, err := http.Post("http://"+addr+path, "application/json", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusBadRequest || len(text) > 1000 {
					t.Errorf("%v, %d %.300s", err, resp.StatusCode, text)
				}
			})
		}
	}
	if after := agent.state(); after != before {
		t.Errorf("the list is now\n%s", after)
	}
	if resp, err := http.Get(fmt.Sprintf("http://%s/ping", addr)); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a ping after all that: %v", err)
	} else {
		resp.Body.Close()
	}
}
