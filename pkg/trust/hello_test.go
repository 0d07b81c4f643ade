package trust

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

// firstWords is what a client of ours sends first: one record with its hello.
func firstWords(t *testing.T) []byte {
	t.Helper()
	a, b := pair(t)
	defer a.Close()
	go func() {
		c := tls.Client(b, newClient(t, awa.RoleCheck, NewKey()).Client(Target{UID: uidA}))
		c.Handshake()
		c.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(a, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(a, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// withMore is a hello with more extensions at its end.
func withMore(hello []byte, more ...[]byte) []byte {
	added := bytes.Join(more, nil)
	out := append(slices.Clone(hello), added...)
	grow := func(at, size int) { // a length of so many bytes
		n := 0
		for _, b := range out[at : at+size] {
			n = n<<8 | int(b)
		}
		n += len(added)
		for i := size - 1; i >= 0; i-- {
			out[at+i] = byte(n)
			n >>= 8
		}
	}
	grow(3, 2)           // the record's
	grow(6, 3)           // the hello's
	at := 5 + 4 + 2 + 32 // behind version and random
	at += 1 + int(out[at])
	at += 2 + int(binary.BigEndian.Uint16(out[at:]))
	at += 1 + int(out[at])
	grow(at, 2) // the extensions'
	return out
}

// extension is one of a hello; lists count their bytes in two bytes.
func extension(id uint16, list bool, content []byte) []byte {
	if list {
		content = append(binary.BigEndian.AppendUint16(nil, uint16(len(content))), content...)
	}
	e := binary.BigEndian.AppendUint16(nil, id)
	return append(binary.BigEndian.AppendUint16(e, uint16(len(content))), content...)
}

// Whatever a hello of the size that is read holds, it costs no more than a few
// of ours do: those have a key exchange and a signature made, too.
func TestKeyring_hello(t *testing.T) {
	const room, times = maxHandshake - 600, 6
	agent, hello := newAgent(t, uidA, "n1", NewKey()), firstWords(t)
	agent.tickets.SetSessionTicketKeys(make([][32]byte, 8)) // as many as eight days leave
	var unknown [][]byte
	for i := range room / 4 {
		unknown = append(unknown, extension(uint16(0x1000+i), false, nil))
	}
	ticket := slices.Concat([]byte{0x05, 0xa0}, make([]byte, 0x5a0), make([]byte, 4)) // and its age
	binder := append([]byte{32}, make([]byte, 32)...)
	tickets := slices.Concat(
		binary.BigEndian.AppendUint16(nil, uint16(5*len(ticket))), bytes.Repeat(ticket, 5),
		binary.BigEndian.AppendUint16(nil, uint16(5*len(binder))), bytes.Repeat(binder, 5))
	cost := func(sent []byte) time.Duration {
		return fewest(func() time.Duration {
			a, b := pair(t)
			go func() {
				b.Write(sent)
				b.(interface{ CloseWrite() error }).CloseWrite()
				io.Copy(io.Discard, b)
				b.Close()
			}()
			conn := &serverConn{Conn: tls.Server(bound(a), agent.Server()),
				of: &tlsListener{keys: agent, failed: func(net.Addr, error) {}}}
			cost := costOf(t, func() {
				if err := conn.Handshake(); err == nil {
					t.Error("it was let in")
				}
			})
			conn.Close()
			return cost
		})
	}
	ours := cost(hello)
	t.Logf("a hello of ours costs %v", ours)
	for name, more := range map[string][][]byte{
		"extensions":     unknown,
		"tickets":        {extension(45, false, []byte{1, 1}), extension(41, false, tickets)},
		"half a hello":   nil,
		"a useless part": {extension(21, false, make([]byte, room))},
		"cookies":        {extension(44, true, make([]byte, room))},
		"one too large":  {extension(21, false, make([]byte, maxHandshake))},
	} {
		t.Run(name, func(t *testing.T) {
			sent := withMore(hello, more...)
			if name == "half a hello" {
				sent = sent[:len(sent)/2]
			}
			got := cost(sent)
			t.Logf("%d bytes cost %v", len(sent), got)
			if got > times*ours {
				t.Errorf("it costs %v, and one of ours %v", got, ours)
			}
		})
	}
	t.Run("protocols and records", func(t *testing.T) {
		for name, sent := range map[string][]byte{
			"warnings":      append(slices.Clone(hello), bytes.Repeat([]byte{21, 3, 3, 0, 2, 1, 90}, room/7)...),
			"cipher change": append(slices.Clone(hello), bytes.Repeat([]byte{20, 3, 3, 0, 1, 1}, room/6)...),
			"a byte each":   splitUp(hello),
		} {
			got := cost(sent)
			t.Logf("%s: %d bytes cost %v", name, len(sent), got)
			if got > times*ours {
				t.Errorf("%s: it costs %v, and one of ours %v", name, got, ours)
			}
		}
	})
}

// splitUp sends each byte of a hello in a record of its own.
func splitUp(hello []byte) (records []byte) {
	for _, b := range hello[5:] {
		records = append(records, 22, 3, 1, 0, 1, b)
	}
	return records
}
