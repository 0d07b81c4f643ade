package store

import (
	"fmt"
	"os"
	"testing"

	"are-we-alive/pkg/awa"
)

func BenchmarkStore_Decide(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := founded(b)
			var all []string
			for i := range 100 {
				all = append(all, createNode(i))
			}
			decide(b, s, all...)
			batch := make([]awa.Entry, size)
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					data := fmt.Appendf(nil, `{"id":%d,"name":"n%d","host":"10.0.0.1","port":"25483"}`, i+1, i)
					batch[i] = awa.Entry{Index: s.Meta().Index + 1 + uint64(i), Term: 1, Edit: awa.Edit{Action: awa.Update,
						Data: data}}
				}
				_, err := s.Decide(batch)
				ok(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/edit")
		})
	}
}

func BenchmarkStore_AppendLog(b *testing.B) {
	s := founded(b)
	entry := [][]byte{make([]byte, 200)}
	for i := uint64(1); b.Loop(); i++ {
		ok(b, s.AppendLog(i, entry))
	}
}

// A list with a long past: the check of the file at a start.
func BenchmarkOpen(b *testing.B) {
	for _, changes := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
			s := founded(b)
			for i := 0; i < changes; i += 100 {
				var all []string
				for j := range 100 {
					if i < 1000 {
						all = append(all, createNode(i+j))
					} else {
						all = append(all, fmt.Sprintf(`UPDATE u%d {"id":%d,"name":"n%d","host":"10.0.0.1","port":1}`, i+j, j+1, j))
					}
				}
				decide(b, s, all...)
			}
			ok(b, s.Close())
			info, err := os.Stat(s.path)
			ok(b, err)
			b.ReportAllocs()
			for b.Loop() {
				s, err := Open(s.path)
				ok(b, err)
				ok(b, s.Close())
			}
			b.ReportMetric(float64(info.Size()), "file-bytes")
		})
	}
}
