package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// mesh is who does not see whom: what every agent that answered told of the nodes, as
// against what all of them see alike.
type mesh struct {
	told   int      // agents that told what they see
	nobody []string // names of the nodes that none of them sees
	rows   []meshRow
}

// meshRow is some agents that don't see the same nodes.
type meshRow struct {
	agents []string
	blind  []string // the names of those nodes
}

// meshOf makes the mesh of a whole status. A node does not count for itself.
func meshOf(st awa.ClusterStatus) mesh {
	type view struct {
		agent string
		id    uint64
		not   map[uint64]bool
		until uint64 // the last id that it told of; what comes after is not known
	}
	var views []view
	for _, n := range st.Nodes {
		if n.Verdict != awa.Online || n.Self == nil {
			continue
		}
		v := view{agent: n.Node.Name, id: n.Node.ID, not: map[uint64]bool{}, until: awa.MaxNumber}
		switch sees := n.Self.Sees; {
		case awa.NameKey(n.Node.Name) == awa.NameKey(st.Agent): // whose look this is
			for _, other := range st.Nodes {
				v.not[other.Node.ID] = other.Verdict != awa.Online
			}
		case sees == nil:
			continue
		default:
			for _, id := range sees {
				v.not[id] = true
			}
			if len(sees) >= awa.MaxSees {
				v.until = slices.Max(sees)
			}
		}
		views = append(views, v)
	}
	m := mesh{told: len(views)}
	differs := map[uint64]bool{}
	for _, n := range st.Nodes {
		blind, seen := 0, 0
		for _, v := range views {
			switch {
			case v.id == n.Node.ID || n.Node.ID > v.until:
			case v.not[n.Node.ID]:
				blind++
			default:
				seen++
			}
		}
		if blind > 0 && seen == 0 && n.Verdict != awa.Online {
			m.nobody = append(m.nobody, n.Node.Name)
		}
		differs[n.Node.ID] = blind > 0 && !(seen == 0 && n.Verdict != awa.Online)
	}
	for _, v := range views {
		var blind []string
		for _, n := range st.Nodes {
			if differs[n.Node.ID] && v.id != n.Node.ID && v.not[n.Node.ID] {
				blind = append(blind, n.Node.Name)
			}
		}
		i := slices.IndexFunc(m.rows, func(r meshRow) bool { return slices.Equal(r.blind, blind) })
		switch {
		case len(blind) == 0:
		case i < 0:
			m.rows = append(m.rows, meshRow{[]string{v.agent}, blind})
		default:
			m.rows[i].agents = append(m.rows[i].agents, v.agent)
		}
	}
	return m
}

// meshWidth is the widest line of the mesh, in bytes.
const meshWidth = 80

// Mesh writes who does not see whom, in lines of at most 80 characters: a line for the
// nodes that nobody sees, and one for each group of agents that does not see other
// nodes than the rest do. What an agent does not see it told in answer to the ping, at
// most awa.MaxSees nodes, so this costs no further request.
//
//	mesh of 3 agents: they do not see all nodes alike
//	n1 does not see n3
//	n3 does not see n1
func Mesh(w io.Writer, r Result) error {
	if r.Status == nil || r.named {
		return nil
	}
	m := r.mesh
	var b strings.Builder
	how := "they see all nodes alike"
	if len(m.rows) > 0 {
		how = "they do not see all nodes alike"
	}
	fmt.Fprintf(&b, "mesh of %s: %s\n", countText(m.told, "agent"), how)
	if len(m.nobody) > 0 {
		const head = "nobody sees "
		b.WriteString(head + spansText(spansOf(m.nobody), meshWidth-len(head)) + "\n")
	}
	for _, row := range m.rows {
		verb := " does not see "
		if len(row.agents) > 1 {
			verb = " do not see "
		}
		agents := spansText(spansOf(row.agents), meshWidth/2-len(verb))
		b.WriteString(agents + verb + spansText(spansOf(row.blind), meshWidth-len(agents)-len(verb)) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// objectMesh is the mesh in JSON.
type objectMesh struct {
	Agents int             `json:"agents"` // that told what they see
	Nobody []string        `json:"nobody_sees"`
	Rows   []objectMeshRow `json:"rows"`
}

type objectMeshRow struct {
	Agents []string `json:"agents"`
	Blind  []string `json:"do_not_see"`
}

// objectMesh returns the mesh as JSON shows it.
func (r Result) objectMesh() *objectMesh {
	if !r.ShowMesh {
		return nil
	}
	o := &objectMesh{Agents: r.mesh.told, Nobody: append([]string{}, r.mesh.nobody...), Rows: []objectMeshRow{}}
	for _, row := range r.mesh.rows {
		o.Rows = append(o.Rows, objectMeshRow{row.agents, row.blind})
	}
	return o
}
