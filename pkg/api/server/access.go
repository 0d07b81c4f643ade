package server

import (
	"net"

	"github.com/valyala/fasthttp"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// admit is the one place that decides who may call what. Without a role
// nothing of the request is looked at, so that the refusal is the same for
// every one; with a role, nothing but its path and method.
func (h *handler) admit(ctx *fasthttp.RequestCtx) (route, awa.Role, error) {
	role, err := h.roleOf(ctx)
	if err != nil {
		return route{}, "", err
	}
	if !markAuthorized(ctx.Conn(), role) {
		ctx.SetConnectionClose()
		return route{}, "", awa.Faultf(wire.CodeTooMany, "this address has a request under way on each connection that "+
			"one caller may have: wait for their answers, or ask another agent")
	}
	r, err := h.find(string(ctx.Path()), string(ctx.Method()), ctx)
	if err == nil && !role.May(r.role) {
		err = awa.Faultf(awa.ErrForbidden, "%s %s needs the cluster key, and this client has a check key, which can only "+
			"read: use the key file of a server of the cluster", r.method, r.path)
	}
	return r, role, err
}

// roleOf asks for the caller's role again at each request, since its key may
// have been removed while the connection was open.
func (h *handler) roleOf(ctx *fasthttp.RequestCtx) (awa.Role, error) {
	if h.role == nil {
		return awa.RoleMember, nil
	}
	if state := ctx.TLSConnectionState(); state != nil {
		if role, ok := h.role(*state); ok {
			return role, nil
		}
	}
	ctx.SetConnectionClose() // the client must show another certificate
	return "", awa.Faultf(awa.ErrForbidden, "this agent does not accept the key of this connection any more: use the "+
		"key file that the servers of the cluster have now, and connect again")
}

// markAuthorized marks the connection below as that of a client with a role, and
// reports whether there is room for one more of its connections.
func markAuthorized(conn net.Conn, role awa.Role) bool {
	c := guardedBelow(conn)
	return c == nil || c.authorize(role)
}
