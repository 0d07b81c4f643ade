package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-json"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// nodeCmd is awa-agent node.
type nodeCmd struct {
	List   nodeListCmd   `cmd:"" help:"Show the node list."`
	Add    nodeAddCmd    `cmd:"" help:"Add a node; an agent adds itself when it starts."`
	Set    nodeSetCmd    `cmd:"" help:"Change a node."`
	Remove nodeRemoveCmd `cmd:"" help:"Remove a node from the list."`

	Maintain nodeMaintainCmd `cmd:"" help:"Put a node under maintenance for a time: it is pinged and shown, and never a problem."`
}

// target is the agent that a command asks, and how it answers.
type target struct {
	keyFlag
	Agent  string `placeholder:"HOST[:PORT]" default:"127.0.0.1" env:"AWA_AGENT" help:"Agent to ask; any of the cluster will do (${default})."`
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json (${default})."`
}

// callTimeout bounds a command's call: an edit may wait for an election.
const callTimeout = 15 * time.Second

// open gives a client of a role and the agent's address.
func (t target) open(role trust.Role) (*api.Client, string, error) {
	host, port, err := awa.ParseAddr(t.Agent, awa.DefaultPort)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("--agent: %w", err)}
	}
	keys, err := t.keys()
	if err != nil || keys == nil {
		return api.NewClient(api.ClientConfig{}), awa.Addr(host, port), err
	}
	ring, err := trust.NewClient(keys, role)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("key file %s: %w", t.path(), err)}
	}
	secure := func(ctx context.Context, conn net.Conn, addr, uid string) (net.Conn, error) {
		return ring.Connect(ctx, conn, trust.Target{UID: uid, Addr: addr})
	}
	return api.NewClient(api.ClientConfig{Secure: secure}), awa.Addr(host, port), nil
}

// read is call for what the check role may do. A cluster key can do that too.
func (t target) read(ctx context.Context, f func(ctx context.Context, c *api.Client, addr string) error) error {
	return t.call(ctx, trust.Check, f)
}

// call runs f with a client of a role and a deadline, and says which agent
// failed.
func (t target) call(ctx context.Context, role trust.Role, f func(ctx context.Context, c *api.Client, addr string) error) error {
	c, addr, err := t.open(role)
	if err != nil {
		return err
	}
	defer c.Close()
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = f(bounded, c, addr)
	var ping *awa.PingError
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted before the agent answered: whether an edit was made is not known")
	case errors.As(err, &ping) && ping.Stage == awa.StageTLS: // which says what to do
		return fmt.Errorf("the agent at %s was not reached (%w)", addr, err)
	case errors.As(err, &ping):
		return fmt.Errorf("the agent at %s was not reached (%w): is it running, and is --agent right?", addr, err)
	}
	return err
}

// fetch gets all changes of an agent's list.
func fetch(ctx context.Context, c *api.Client, addr string) (awa.ChangeSet, error) {
	const page = 10_000
	all, err := c.Sync(ctx, addr, 0, page)
	for err == nil && uint64(len(all.Changes)) < all.State {
		var more awa.ChangeSet
		more, err = c.Sync(ctx, addr, uint64(len(all.Changes)), page)
		if err == nil && len(more.Changes) == 0 {
			err = fmt.Errorf("the agent at %s says its state is %d but gives only %d changes", addr, all.State, len(all.Changes))
		}
		all.Changes = append(all.Changes, more.Changes...)
	}
	all.State = max(all.State, uint64(len(all.Changes))) // edits were made meanwhile
	return all, err
}

// nodes gets an agent's list.
func nodes(ctx context.Context, c *api.Client, addr string) ([]awa.Node, error) {
	all, err := fetch(ctx, c, addr)
	if err != nil {
		return nil, err
	}
	l, err := awa.Replay(all.Changes)
	if err != nil {
		return nil, fmt.Errorf("the list of the agent at %s does not add up: %w", addr, err)
	}
	return l.Nodes(), nil
}

// nodeListCmd is awa-agent node list.
type nodeListCmd struct{ target }

// Run prints the list.
func (c *nodeListCmd) Run(ctx context.Context, std streams) error {
	return c.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		all, err := nodes(ctx, client, addr)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printJSON(std.out, all)
		}
		now := time.Now()
		return table(std.out, "Id\tName\tHost\tPort\tLabels", func(row func(...any)) {
			for _, n := range all {
				note := labelText(n.Labels)
				if n.InMaintenance(now) {
					note = strings.TrimSpace(note + " (under maintenance until " + n.Maintenance + ")")
				}
				row(n.ID, n.Name, n.Host, n.Port, note)
			}
		})
	})
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, " ")
}

// table prints aligned columns; the head's are separated by tabs.
func table(w io.Writer, head string, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = fmt.Sprint(c)
		}
		fmt.Fprintln(t, strings.Join(texts, "\t"))
	})
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// nodeAddCmd is awa-agent node add.
type nodeAddCmd struct {
	target
	Name  string            `arg:"" help:"Name of the node."`
	Host  string            `arg:"" help:"DNS name or IP address of the node."`
	Port  string            `arg:"" optional:"" default:"25483" help:"Port of its agent (${default})."`
	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"Label of the node; may be repeated."`
}

// Run adds the node.
func (c *nodeAddCmd) Run(ctx context.Context, std streams) error {
	fields := map[string]any{"name": c.Name, "host": c.Host, "port": c.Port}
	if len(c.Label) > 0 {
		fields["labels"] = c.Label
	}
	return c.call(ctx, trust.Member, func(ctx context.Context, client *api.Client, addr string) error {
		return c.edit(ctx, std, client, addr, change{action: awa.Create, fields: fields, key: awa.NewUID()})
	})
}

// nodeSetCmd is awa-agent node set.
type nodeSetCmd struct {
	target
	Node  string            `arg:"" name:"name" help:"Name of the node as it is now."`
	Name  string            `placeholder:"NAME" help:"New name."`
	Host  string            `placeholder:"HOST" help:"New DNS name or IP address."`
	Port  string            `placeholder:"PORT" help:"New port."`
	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"Label to set; K= removes it; may be repeated."`
}

// Run changes the node.
func (c *nodeSetCmd) Run(ctx context.Context, std streams) error {
	if c.Name == "" && c.Host == "" && c.Port == "" && len(c.Label) == 0 {
		return usageError{errors.New("nothing to change: give --name, --host, --port or --label")}
	}
	return c.editNode(ctx, std, c.Node, awa.Update, func(n awa.Node) map[string]any {
		fields := map[string]any{"name": n.Name, "host": n.Host, "port": n.Port}
		for key, value := range map[string]string{"name": c.Name, "host": c.Host, "port": c.Port} {
			if value != "" {
				fields[key] = value
			}
		}
		if len(c.Label) > 0 {
			labels := maps.Clone(n.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			for k, v := range c.Label {
				labels[k] = v
				if v == "" {
					delete(labels, k)
				}
			}
			fields["labels"] = labels
		}
		return fields
	})
}

// nodeRemoveCmd is awa-agent node remove.
type nodeRemoveCmd struct {
	target
	Node string `arg:"" name:"name" help:"Name of the node."`
}

// Run removes the node.
func (c *nodeRemoveCmd) Run(ctx context.Context, std streams) error {
	return c.editNode(ctx, std, c.Node, awa.Delete, func(awa.Node) map[string]any { return map[string]any{} })
}

// editNode edits a node by its name, on what the list says of it now. When
// somebody else was faster, it reads again, so that no edit is undone unseen.
func (t target) editNode(ctx context.Context, std streams, name string, a awa.Action, fields func(awa.Node) map[string]any) error {
	return t.call(ctx, trust.Member, func(ctx context.Context, client *api.Client, addr string) error {
		for {
			all, err := nodes(ctx, client, addr)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(n awa.Node) bool { return n.Key() == awa.NameKey(name) })
			if i < 0 {
				return fmt.Errorf("the list has no node %s: awa-agent node list shows the names", name)
			}
			f := fields(all[i])
			f["id"] = all[i].ID
			err = t.edit(ctx, std, client, addr, change{action: a, fields: f, key: awa.NewUID(), ifChanged: all[i].Changed})
			if !errors.Is(err, awa.ErrConflict) || ctx.Err() != nil {
				return err
			}
		}
	})
}

// change is an edit that a command asks for.
type change struct {
	action    awa.Action
	fields    map[string]any
	key       string
	ifChanged uint64
}

// edit sends an edit and prints what came of it. It repeats what may be lost
// on the way: the key makes that safe.
func (t target) edit(ctx context.Context, std streams, client *api.Client, addr string, ch change) error {
	ch.fields["by"] = editor()
	b, err := json.Marshal(ch.fields)
	if err != nil {
		return err
	}
	e := awa.Edit{Action: ch.action, Data: b, Key: ch.key, IfChanged: ch.ifChanged}
	if err := e.Check(); err != nil {
		return usageError{err}
	}
	var id uint64
	var node awa.Node
	for try := 0; ; try++ {
		id, node, err = client.Edit(ctx, addr, e, 0)
		var lost *awa.PingError
		if err == nil || try == 2 || ctx.Err() != nil || !(errors.As(err, &lost) && lost.Stage == awa.StageReply) {
			break
		}
	}
	switch {
	case err != nil:
		return err
	case t.Output == "json" && ch.action == awa.Delete:
		return printJSON(std.out, map[string]any{"id": id})
	case t.Output == "json":
		return printJSON(std.out, map[string]any{"id": id, "node": node})
	case ch.action == awa.Delete:
		_, err = fmt.Fprintf(std.out, "Removed (change %d).\n", id)
	default:
		_, err = fmt.Fprintf(std.out, "%s is node %d at %s (change %d).\n", node.Name, node.ID, node.Addr(), id)
	}
	return err
}

// editor says who edits: user@host.
func editor() string {
	name := "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// printJSONLine prints v on one line.
func printJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
