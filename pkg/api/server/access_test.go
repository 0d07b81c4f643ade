package server

import (
	"maps"
	"testing"

	"are-we-alive/pkg/awa"
)

// Routes are the calls and their roles, for the tests outside of this package.
func Routes() map[string]awa.Role {
	all := map[string]awa.Role{}
	for _, r := range routes() {
		all[r.method+" "+r.path] = r.role
	}
	return all
}

// TestRoutes holds the roles fast. A new call must be entered here; what it is
// tried with follows in TestAccess.
func TestRoutes(t *testing.T) {
	want := map[string]awa.Role{
		"GET /ping":        awa.RoleCheck,
		"GET /status":      awa.RoleCheck,
		"GET /sync":        awa.RoleCheck,
		"POST /push":       awa.RoleMember,
		"GET /v1/status":   awa.RoleCheck,
		"GET /v1/nodes":    awa.RoleCheck,
		"GET /v1/changes":  awa.RoleCheck,
		"POST /v1/changes": awa.RoleMember,
		"POST /v1/probe":   awa.RoleMember,
		"GET /v1/view":     awa.RoleCheck,
		"POST /v1/raft":    awa.RoleMember,
		"GET /v1/events":   awa.RoleCheck,

		"GET /v1/availability": awa.RoleCheck,
		"POST /v1/goodbye":     awa.RoleMember,
		"GET /v1/notified":     awa.RoleMember,
		"POST /v1/notified":    awa.RoleMember,
	}
	if have := Routes(); !maps.Equal(have, want) || len(routes()) != len(want) {
		t.Errorf("the calls are %v, want %v", have, want)
	}
	for _, r := range routes() {
		if r.role != awa.RoleCheck && r.role != awa.RoleMember {
			t.Errorf("%s %s has no role", r.method, r.path)
		}
		if r.role == awa.RoleCheck && r.method != "GET" {
			t.Errorf("%s %s may change something, and needs no more than a check key", r.method, r.path)
		}
	}
}
