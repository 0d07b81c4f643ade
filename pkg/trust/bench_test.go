package trust

import (
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// A handshake costs both sides' work here, since they share the process.
func BenchmarkHandshake(b *testing.B) {
	k := NewKey()
	agent, client := newAgent(b, uidA, "n1", k), newClient(b, awa.RoleCheck, k.Check())
	addr, _ := serve(b, "127.0.0.1:0", agent.Server())
	for name, target := range map[string]Target{"full": {UID: uidA}, "resumed": {UID: uidA, Addr: addr}} {
		visit := func(b *testing.B) {
			if m := call(b, addr, client.Client(target)); m.clientErr != nil {
				b.Fatal(m.clientErr)
			}
		}
		b.Run(name+"/one after the other", func(b *testing.B) {
			visit(b)
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				visit(b)
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
		b.Run(name+"/at once", func(b *testing.B) {
			visit(b)
			b.SetParallelism(16)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					visit(b)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// cpu is the processor time of this process, which says more than the clock
// does on a machine that others use.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What the configuration for one connection costs beside its handshake.
func BenchmarkKeyring_Client(b *testing.B) {
	client := newClient(b, awa.RoleCheck, NewKey())
	b.ReportAllocs()
	for b.Loop() {
		client.Client(Target{UID: uidA, Addr: "127.0.0.1:25483"})
	}
}

// Memory of idle connections: the heap and the stacks that go away when one
// side's connections do. A server's connection has a goroutine that waits in
// Read, as in an HTTP server; a client's has none.
func BenchmarkIdle(b *testing.B) {
	const conns = 500
	k := NewKey()
	agent, client := newAgent(b, uidA, "n1", k), newClient(b, awa.RoleCheck, k.Check())
	used := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first moves the pools' content only to where the second drops it
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for b.Loop() {
		ln := listen(b)
		before := used()
		var servers sync.WaitGroup
		clients := make([]*tls.Conn, conns)
		for i := range clients {
			accepted := make(chan *tls.Conn, 1)
			go func() {
				c, err := ln.Accept()
				if err != nil {
					b.Error(err)
				}
				accepted <- tls.Server(c, agent.Server())
			}()
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			clients[i] = tls.Client(raw, client.Client(Target{UID: uidA}))
			server := <-accepted
			greeted := make(chan struct{})
			servers.Go(func() {
				defer server.Close()
				buf := make([]byte, 1)
				server.Read(buf)
				server.Write(buf)
				close(greeted)
				server.Read(buf) // until the client goes
			})
			clients[i].SetDeadline(time.Now().Add(patience))
			if _, err := clients[i].Write([]byte{'!'}); err != nil {
				b.Fatal(err)
			}
			if _, err := clients[i].Read(make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			<-greeted
		}
		both := used()
		for _, c := range clients {
			c.CloseWrite()
		}
		servers.Wait()
		client := used()
		runtime.KeepAlive(clients)
		for _, c := range clients {
			c.NetConn().Close()
		}
		ln.Close()
		b.ReportMetric((both-client)/conns/1024, "server-KiB/conn")
		b.ReportMetric((client-before)/conns/1024, "client-KiB/conn")
	}
}

// Memory of a session that a client keeps for the next handshake.
func BenchmarkSession(b *testing.B) {
	const sessions = 500
	k := NewKey()
	agent := newAgent(b, uidA, "n1", k)
	addr, _ := serve(b, "127.0.0.1:0", agent.Server())
	for b.Loop() {
		client := newClient(b, awa.RoleCheck, k.Check())
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range sessions {
			agent.SetIdentity(uidA, "n1") // a certificate of its own, as in a cluster
			if m := call(b, addr, client.Client(Target{UID: uidA, Addr: addr + string(rune('A'+i))})); m.clientErr != nil {
				b.Fatal(m.clientErr)
			}
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(client)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/sessions/1024, "KiB/session")
	}
}
