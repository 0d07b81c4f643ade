package awa

// Role is what somebody who was let in may do.
type Role string

// The roles.
const (
	// RoleMember may do everything: agents, and who edits the list.
	RoleMember Role = "member"
	// RoleCheck may read only: monitoring.
	RoleCheck Role = "check"
)

// String returns the word that stands in a key file.
func (r Role) String() string { return string(r) }

// May reports whether r is enough for what needs the role need.
func (r Role) May(need Role) bool {
	return r == RoleMember && (need == RoleMember || need == RoleCheck) || r == RoleCheck && need == RoleCheck
}
