package watch_test

import (
	"context"
	"fmt"
	"testing"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/watch"
)

// instant answers every ping at once, so that what is measured is the sweep.
type instant struct{ selfs map[string]awa.Self }

func (p instant) Ping(_ context.Context, addr string, _ bool) (awa.Self, error) {
	return p.selfs[addr], nil
}

// BenchmarkSweep is the cost of a sweep beyond its pings:
// go test -bench Sweep ./pkg/watch
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d instant pings", n), func(b *testing.B) {
			nodes := nodes(n)
			p := instant{map[string]awa.Self{}}
			for _, n := range nodes {
				p.selfs[n.Addr()] = selfOf(n)
			}
			w := watch.New(watch.Config{
				Pinger: p,
				Nodes:  func() []awa.Node { return nodes },
				Self:   func() awa.Self { return selfOf(nodes[0]) },
			})
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				for _, st := range w.Sweep(ctx) {
					if st.Verdict != awa.Online {
						b.Fatalf("%s: %s", st.Node.Name, st.Error)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/ping")
		})
	}
}
