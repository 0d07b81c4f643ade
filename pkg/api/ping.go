package api

import (
	"cmp"
	"context"
	"strings"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api/internal/wire"
	"are-we-alive/pkg/awa"
)

// Ping asks an agent for a sign of life. With fresh no kept connection is used.
func (c *Client) Ping(ctx context.Context, addr string, fresh bool) (awa.Self, error) {
	var body wire.PingBody
	err := c.call(ctx, addr, request{path: wire.PathPing, fresh: fresh}, func(r *response) error {
		err := decode(r, PingBound(), &body)
		if err != nil || body.Status.UID == "" {
			self, ok := c.original(r.body)
			if !ok {
				return cmp.Or(err, errNoAgent)
			}
			body.Status = self
		}
		if len(r.body) > ownPing { // its strings would keep all of it
			body.Status = detached(body.Status)
		}
		return believe(body.Status.Check())
	})
	if err != nil {
		return awa.Self{}, pingError(err)
	}
	return body.Status, nil
}

// original reads the answer of a server of the original program, which there can only
// be without a key. It says that it has state -1 while its list is empty.
func (c *Client) original(body []byte) (awa.Self, bool) {
	var b struct {
		Status struct {
			MacAddr string  `json:"macaddr"`
			State   *int64  `json:"db_state"`
			Time    int64   `json:"time"`
			UID     *string `json:"uid"`
		} `json:"status"`
	}
	if c.cfg.Secure != nil || PingBound().check(body) != nil || json.Unmarshal(body, &b) != nil {
		return awa.Self{}, false
	}
	s := b.Status
	if s.UID != nil || s.MacAddr == "" || s.State == nil || *s.State < -1 || s.Time <= 0 {
		return awa.Self{}, false
	}
	return awa.Self{MacAddr: s.MacAddr, State: uint64(max(*s.State, 0)), Time: s.Time, Version: awa.VersionOriginal}, true
}

// pingError turns the refusal of a ping into an error about whoever answers there.
// Our agents refuse a ping only because of its key. Any other code must not be taken
// for a condition of this process, such as awa.ErrShortage.
func pingError(err error) error {
	refusal, ok := err.(*awa.Fault)
	if !ok || refusal.Code == awa.ErrForbidden {
		return err
	}
	text := "what answers there refuses a ping: " + refusal.Text
	return &awa.PingError{Stage: awa.StageReply, Err: &awa.Fault{Code: awa.ErrNoAgent, Text: text}}
}

// ownPing is far more than a ping's answer of ours has, in bytes.
const ownPing = 4 << 10

// detached copies the strings of a ping's answer.
func detached(s awa.Self) awa.Self {
	for _, field := range []*string{&s.MacAddr, &s.Name, &s.UID, &s.Instance, &s.Boot,
		&s.Cluster, &s.History.ID, &s.Leader, &s.Version} {
		*field = strings.Clone(*field)
	}
	if s.Voters != nil {
		for i, uid := range s.Voters.UIDs {
			s.Voters.UIDs[i] = strings.Clone(uid)
		}
	}
	return s
}
