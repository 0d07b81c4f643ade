package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// mesh is who does not see whom: what every agent that answered reported of the nodes, as
// against what all of them see alike.
type mesh struct {
	told   int      // agents that reported what they see
	nobody []string // names of the nodes that none of them sees
	rows   []meshRow
}

// meshRow is some agents that don't see the same nodes.
type meshRow struct {
	agents []string
	blind  []string // the names of those nodes
}

// meshView is what one agent reported of the nodes.
type meshView struct {
	agent string
	id    uint64
	not   map[uint64]bool // ids of the nodes that it does not see
	looks awa.WatchShare  // the nodes that it looks at
	until uint64          // the last id that it reported; what comes after is not known
}

// sees reports whether the agent sees a node; known is false of itself, and when it
// has not reported.
func (v meshView) sees(id uint64) (sees, known bool) {
	not := v.not[id]
	return !not, v.id != id && id <= v.until && (not || v.looks.Has(id))
}

// meshViews are what the agents of a status reported, and what the agent asked saw itself.
func meshViews(st awa.ClusterStatus) []meshView {
	var all []meshView
	for _, n := range st.Nodes {
		if n.Verdict != awa.Online || n.Self == nil {
			continue
		}
		v := meshView{agent: n.Node.Name, id: n.Node.ID, not: map[uint64]bool{}, until: awa.MaxNumber,
			looks: awa.WatchShareOf(n.Node.UID, len(st.Nodes))}
		sees := n.Self.Sees
		switch {
		case awa.NameKey(n.Node.Name) == awa.NameKey(st.Agent):
			v.looks = awa.WatchShareOf("", 0) // all: it has just looked
			for _, other := range st.Nodes {
				if other.Verdict != awa.Online {
					v.not[other.Node.ID] = true
				}
			}
		case sees == nil:
			continue
		case len(sees) >= awa.MaxSees:
			v.until = slices.Max(sees)
			fallthrough
		default:
			for _, id := range sees {
				v.not[id] = true
			}
		}
		all = append(all, v)
	}
	return all
}

// meshOf makes the mesh of a whole status. A node that is not online and that nobody
// sees does not count as a difference.
func meshOf(st awa.ClusterStatus) mesh {
	views := meshViews(st)
	m := mesh{told: len(views)}
	blind := make([][]string, len(views)) // what each does not see, though others do
	missed := map[uint64]bool{}           // by the id of a node: somebody does not see it
	for _, v := range views {
		for id := range v.not {
			missed[id] = true
		}
	}
	for _, n := range st.Nodes {
		if !missed[n.Node.ID] {
			continue // a thousand agents that see it are not worth asking
		}
		var not []int // the views of those that don't see it
		seen := false
		for i, v := range views {
			sees, known := v.sees(n.Node.ID)
			seen = seen || known && sees
			if known && !sees {
				not = append(not, i)
			}
		}
		if len(not) > 0 && !seen && n.Verdict != awa.Online {
			m.nobody = append(m.nobody, n.Node.Name)
			continue
		}
		for _, i := range not {
			blind[i] = append(blind[i], n.Node.Name)
		}
	}
	for i, v := range views {
		if len(blind[i]) > 0 {
			m.add(v.agent, blind[i])
		}
	}
	return m
}

// add adds an agent to the row of those that don't see the same nodes.
func (m *mesh) add(agent string, blind []string) {
	i := slices.IndexFunc(m.rows, func(r meshRow) bool { return slices.Equal(r.blind, blind) })
	if i < 0 {
		m.rows = append(m.rows, meshRow{blind: blind})
		i = len(m.rows) - 1
	}
	m.rows[i].agents = append(m.rows[i].agents, agent)
}

// meshWidth is the widest line of the mesh, in bytes.
const meshWidth = 80

// Mesh writes who does not see whom, in lines of at most 80 characters: a line for the
// nodes that nobody sees, and one for each group of agents that does not see other
// nodes than the rest do. What an agent does not see it reported in answer to the ping, at
// most awa.MaxSees nodes, so this costs no further request.
//
//	mesh of 3 agents: they do not see all nodes alike
//	n1 does not see n3
//	n3 does not see n1
func Mesh(w io.Writer, r Result, _ Options) error {
	if r.Status == nil {
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

// Differs reports whether the agents that answered do not see all nodes alike.
func (r Result) Differs() bool { return len(r.mesh.rows) > 0 }

// objectMesh is the mesh in JSON.
type objectMesh struct {
	Agents int             `json:"agents"` // that reported what they see
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
