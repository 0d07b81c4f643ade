package main

import (
	"context"
	"errors"
	"fmt"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
)

// clusterCmd is awa-agent cluster.
type clusterCmd struct {
	Name clusterNameCmd `cmd:"" help:"Show or change the name of the cluster."`
}

// clusterNameCmd is awa-agent cluster name.
type clusterNameCmd struct {
	target
	NewName string `arg:"" optional:"" name:"name" help:"New name, which stands in all outputs from then on."`
}

// Run shows or changes the name.
func (c *clusterNameCmd) Run(ctx context.Context, std streams) error {
	if c.NewName == "" {
		return c.show(ctx, std)
	}
	if err := awa.CheckClusterName(c.NewName); err != nil {
		return usageError{err}
	}
	var m made
	err := c.call(ctx, awa.RoleMember, func(ctx context.Context, client *api.Client, addr string) error {
		set, err := client.Nodes(ctx, addr)
		if err != nil {
			return unsentError{err}
		}
		if len(set.Nodes) == 0 {
			return errors.New("the list has no node yet: start the first agent, then name the cluster")
		}
		// The name stands in a change of some node, which stays as it is.
		m, err = editNode(ctx, client, addr, set.Nodes[0], awa.Update, func(n awa.Node) (map[string]any, error) {
			return map[string]any{"name": n.Name, "host": n.Host, "port": n.Port, "cluster_name": c.NewName}, nil
		})
		return err
	})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std.out, map[string]any{"id": m.change, "cluster_name": c.NewName})
	}
	return c.print(std, m, "The name of the cluster is "+c.NewName)
}

// show prints the name and the id.
func (c *clusterNameCmd) show(ctx context.Context, std streams) error {
	return c.read(ctx, func(ctx context.Context, client *api.Client, addr string) error {
		st, err := client.ClusterStatus(ctx, addr, true)
		switch {
		case err != nil:
			return err
		case c.Output == "json":
			return printJSON(std.out, map[string]any{"cluster": st.Cluster, "cluster_name": st.ClusterName})
		case st.ClusterName == "":
			_, err = fmt.Fprintf(std.out, "The cluster %s has no name.\n", printable(st.Cluster))
		default:
			_, err = fmt.Fprintf(std.out, "%s\n", printable(st.ClusterName))
		}
		return err
	})
}
