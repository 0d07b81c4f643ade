package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// nodeCmd is awa-agent node.
type nodeCmd struct {
	List   nodeListCmd   `cmd:"" help:"Show the node list."`
	Add    nodeAddCmd    `cmd:"" help:"Add a node; an agent adds itself when it starts."`
	Set    nodeSetCmd    `cmd:"" help:"Change a node."`
	Remove nodeRemoveCmd `cmd:"" help:"Remove nodes from the list."`

	Maintain nodeMaintainCmd `cmd:"" help:"${help_maintain}"`
}

// nodeListCmd is awa-agent node list.
type nodeListCmd struct{ target }

// Run prints the list.
func (c *nodeListCmd) Run(ctx context.Context, std streams) error {
	return c.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		set, err := client.Nodes(ctx, addr)
		if err != nil {
			return err
		}
		all := set.Nodes
		if c.Output == "json" {
			return printJSON(std.out, all)
		}
		now := time.Now()
		err = table(std.out, "Id\tName\tHost\tPort\tLabels", func(row func(...any)) {
			for _, n := range all {
				row(n.ID, n.Name, n.Host, n.Port, noteOf(n, now))
			}
		})
		if err == nil && slices.ContainsFunc(all, func(n awa.Node) bool { return len(n.Configured) > 0 }) {
			_, err = fmt.Fprintln(std.out, "* set in the configuration of the node's agent")
		}
		return err
	})
}

// noteOf is what the list says of a node besides its address. What the configuration of its
// agent sets has an asterisk.
func noteOf(n awa.Node, now time.Time) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		parts = append(parts, key+"="+n.Labels[key]+asterisk(n.LabelConfigured(key)))
	}
	if n.Ephemeral != "" {
		parts = append(parts, "(ephemeral: "+n.Ephemeral+asterisk(n.EphemeralConfigured())+")")
	}
	if n.InMaintenance(now) {
		parts = append(parts, "(under maintenance "+n.UntilAndWhy(n.Maintenance)+")")
	}
	return strings.Join(parts, " ")
}

func asterisk(configured bool) string {
	if configured {
		return "*"
	}
	return ""
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, " ")
}

// nodeAddCmd is awa-agent node add.
type nodeAddCmd struct {
	target
	Name  string            `arg:"" help:"Name of the node."`
	Host  string            `arg:"" help:"DNS name or IP address of the node."`
	Port  string            `arg:"" optional:"" default:"${port}" help:"Port of its agent (${default})."`
	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"Label of the node; may be repeated."`
}

// Run adds the node.
func (c *nodeAddCmd) Run(ctx context.Context, std streams) error {
	if err := awa.CheckReachable(c.Host); err != nil {
		return usageError{err}
	}
	fields := map[string]any{"name": c.Name, "host": c.Host, "port": c.Port}
	if len(c.Label) > 0 {
		fields["labels"] = c.Label
	}
	return c.call(ctx, awa.RoleMember, func(ctx context.Context, client *api.Client, addr string) error {
		m, err := nodeEdit{action: awa.Create, fields: fields}.edit(ctx, client, addr)
		if err != nil {
			return err
		}
		return c.print(std, m, isAt(m.node))
	})
}

// nodeSetCmd is awa-agent node set.
type nodeSetCmd struct {
	target
	Node  string            `arg:"" name:"name" complete:"node" help:"Name of the node as it is now."`
	Name  string            `placeholder:"NAME" help:"New name."`
	Host  string            `placeholder:"HOST" help:"New DNS name or IP address."`
	Port  string            `placeholder:"PORT" help:"New port."`
	Label map[string]string `placeholder:"K=V" mapsep:"none" help:"Label to set; K= removes it; may be repeated."`

	Ephemeral string `placeholder:"TIME" help:"${help_set_ephemeral}"`
}

// Run changes the node.
func (c *nodeSetCmd) Run(ctx context.Context, std streams) error {
	if c.Name == "" && c.Host == "" && c.Port == "" && c.Ephemeral == "" && len(c.Label) == 0 {
		return usageError{errors.New("nothing to change: give --name, --host, --port, --label or --ephemeral")}
	}
	if err := awa.CheckReachable(c.Host); err != nil {
		return usageError{err}
	}
	return c.editNodes(ctx, selection{Name: []string{c.Node}}, awa.Update, c.fields, func(m made) error {
		return c.print(std, m, isAt(m.node))
	})
}

// fields are those of the edit of a node. What the configuration of its agent sets is not
// to be changed here: it would be back at the next start.
func (c *nodeSetCmd) fields(n awa.Node) (map[string]any, error) {
	const configured = "%s of %s is set in the configuration of its agent (%s): change it there, and restart the agent"
	fields := map[string]any{"name": n.Name, "host": n.Host, "port": n.Port}
	for key, value := range map[string]string{"name": c.Name, "host": c.Host, "port": c.Port, "ephemeral": c.Ephemeral} {
		if value != "" {
			fields[key] = value
		}
	}
	switch {
	case c.Ephemeral != "" && n.EphemeralConfigured():
		return nil, fmt.Errorf(configured, "ephemeral", n.Name, "ephemeral")
	case c.Ephemeral == "never":
		fields["ephemeral"] = ""
	}
	if len(c.Label) == 0 {
		return fields, nil
	}
	labels := maps.Clone(n.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for k, v := range c.Label {
		if n.LabelConfigured(k) {
			return nil, fmt.Errorf(configured, "the label "+k, n.Name, "labels")
		}
		if labels[k] = v; v == "" {
			delete(labels, k)
		}
	}
	fields["labels"] = labels
	return fields, nil
}

// nodeRemoveCmd is awa-agent node remove.
type nodeRemoveCmd struct {
	target
	selection
}

// Run removes the nodes.
func (c *nodeRemoveCmd) Run(ctx context.Context, std streams) error {
	nothing := func(awa.Node) (map[string]any, error) { return map[string]any{}, nil }
	return c.editNodes(ctx, c.selection, awa.Delete, nothing, func(m made) error {
		if err := c.print(std, m, "Removed "+m.node.Name); err != nil || m.node.UID == "" {
			return err
		}
		return c.call(ctx, awa.RoleMember, func(ctx context.Context, client *api.Client, _ string) error {
			ctx, cancel := context.WithTimeout(ctx, aliveWait)
			defer cancel()
			if self, err := client.Ping(ctx, m.node.Addr(), true); err == nil && self.UID == m.node.UID {
				fmt.Fprintf(std.err, "%s still answers at %s: stop its agent. Until it is started with --join, it stays off the "+
					"list and says so.\n", printable(m.node.Name), printable(m.node.Addr()))
			}
			return nil
		})
	})
}

// aliveWait is how long a node that was removed may take to show that it is alive.
const aliveWait = time.Second

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
