package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-json"
)

// dashboard is what a test reads of the shipped dashboard for Grafana.
type dashboard struct {
	UID, Title string
	Panels     []dashboardPanel
	Templating struct {
		List []struct {
			Name, Type, Definition string
		}
	}
}

type dashboardPanel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []struct{ RefID, Expr string }
	Options     map[string]any
	FieldConfig struct{ Defaults map[string]any }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "packaging", "grafana", "are-we-alive.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGrafana holds the dashboard to what Grafana wants of one: ids that differ, panels that
// do not lie on one another, and a data source that the reader chooses.
func TestGrafana(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || len(d.Panels) < 10 {
		t.Fatalf("it has %d panels: %+v", len(d.Panels), d)
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 ||
			p.Datasource.UID != "${datasource}" {
			t.Errorf("the panel %+v is not complete, or not the only one of its id", p)
		}
		ids[p.ID] = true
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || !strings.Contains(q.Expr, `awa_cluster="$cluster"`) {
				t.Errorf("the query %s of %s is not of the cluster alone: %s", q.RefID, p.Title, q.Expr)
			}
			refs[q.RefID] = true
		}
		at := p.GridPos
		if at.X < 0 || at.W < 1 || at.H < 1 || at.X+at.W > 24 {
			t.Errorf("the panel %s is at %+v", p.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("the panel %s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if got := strings.Join(names, " "); got != "datasource cluster agent" {
		t.Errorf("its variables are %s", got)
	}
}
