package api

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Nodes asks an agent for its node list, without a sweep: it costs the same
// however many changes made the list.
func (c *Client) Nodes(ctx context.Context, addr string) (awa.NodeSet, error) {
	var body wire.NodesBody
	err := c.call(ctx, addr, request{path: wire.PathNodes}, func(r *response) error {
		if err := json.Unmarshal(r.body, &body); err != nil || body.Cluster == "" {
			return errNoAgent
		}
		return checkNodes(body)
	})
	if err != nil {
		return awa.NodeSet{}, err
	}
	return awa.NodeSet(body), nil
}

// checkNodes says why nodes can't be an agent's list: it holds each once, by
// id, and in the form in which it was let in.
func checkNodes(body wire.NodesBody) error {
	last := uint64(0)
	for _, n := range body.Nodes {
		if n.ID <= last || n.Changed == 0 || n.Changed > body.State || n.Port == 0 {
			return errNoAgent
		}
		if err := errors.Join(awa.CheckName(n.Name), awa.CheckHost(n.Host), awa.CheckLabels(n.Labels)); err != nil {
			return errNoAgent
		}
		last = n.ID
	}
	return nil
}

// hostOf is what a request says it is for: the address that was connected to.
// Agents without a key refuse requests for a name that is not theirs, since a
// web page could have sent them, and they don't know every name by which they
// are called here: /etc/hosts and DNS may hold others. addr is for a
// connection that is not TCP.
func hostOf(conn net.Conn, addr string) string {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !tcp.AddrPort().IsValid() {
		return addr
	}
	at := tcp.AddrPort()
	// The zone means something on this machine alone (RFC 6874, section 4).
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()).String()
}
