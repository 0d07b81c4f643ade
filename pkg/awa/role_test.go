package awa

import "testing"

func TestRole_May(t *testing.T) {
	for _, c := range []struct {
		has, need Role
		want      bool
	}{
		{has: RoleMember, need: RoleMember, want: true}, {has: RoleMember, need: RoleCheck, want: true}, {has: RoleCheck,
			need: RoleCheck, want: true}, {has: RoleCheck, need: RoleMember},
		{"", RoleCheck, false}, {"", "", false}, {RoleMember, "", false}, {RoleCheck, "", false}, {"root", RoleCheck, false},
	} {
		if c.has.May(c.need) != c.want {
			t.Errorf("%q may what needs %q: %t", c.has, c.need, !c.want)
		}
	}
}
