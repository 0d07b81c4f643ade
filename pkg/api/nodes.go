package api

import (
	"context"
	"net"
	"net/netip"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Nodes asks an agent for its node list, without a sweep: it costs the same
// however many changes made the list.
func (c *Client) Nodes(ctx context.Context, addr string) (awa.NodeSet, error) {
	return c.nodes(ctx, addr, false)
}

// NodesOf is Nodes by an agent that is ready to give up its own list: whose list
// the answer is does not matter.
func (c *Client) NodesOf(ctx context.Context, addr string) (awa.NodeSet, error) {
	return c.nodes(ctx, addr, true)
}

func (c *Client) nodes(ctx context.Context, addr string, newcomer bool) (awa.NodeSet, error) {
	var set awa.NodeSet
	err := c.call(ctx, addr, request{path: wire.PathNodes, newcomer: newcomer}, func(r *response) error {
		var body wire.NodesBody
		if err := decode(r, NodesBound(), &body); err != nil {
			return err
		}
		set = awa.NodeSet(body)
		return believe(set.Check())
	})
	if err != nil {
		return awa.NodeSet{}, err
	}
	return set, nil
}

// hostOf is what a request says it is for: the address that was connected to.
// Agents without a key refuse requests for a name that is not theirs, since a
// web page could have sent them, and they don't know every name by which they
// are called here: /etc/hosts and DNS may hold others. addr is for a
// connection that is not TCP.
func hostOf(conn net.Conn, addr string) string {
	if at, err := netip.ParseAddrPort(addr); err == nil && at.Addr().Zone() == "" && !at.Addr().Is4In6() {
		return addr
	}
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !tcp.AddrPort().IsValid() {
		return addr
	}
	at := tcp.AddrPort()
	// The zone means something on this machine alone (RFC 6874, section 4).
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()).String()
}
