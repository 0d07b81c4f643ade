package trust

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func TestKeyring_Connect(t *testing.T) {
	k := NewKey()
	agent := newAgent(t, uidA, "n1", k)
	said := newTold()
	ln := listen(t)
	startHTTP(t, agent.Listener(ln, said.tell))
	ask := func(client *Keyring, target Target) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		raw := must[net.Conn](t)(net.Dial("tcp", ln.Addr().String()))
		c, err := client.Connect(ctx, raw, target)
		if err != nil {
			if raw.SetDeadline(time.Now()) == nil {
				t.Error("the connection is left open")
			}
			return "", err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return "", err
		}
		answer, err := io.ReadAll(c)
		return string(answer), err
	}
	t.Run("who belongs here", func(t *testing.T) {
		for _, client := range []*Keyring{newClient(t, awa.RoleCheck, k.Check()), newClient(t, awa.RoleMember, k), agent} {
			if answer, err := ask(client, Target{UID: uidA}); err != nil || answer == "" {
				t.Errorf("%q, %v", answer, err)
			}
		}
		said.none(t)
	})
	t.Run("another agent is meant", func(t *testing.T) {
		_, err := ask(newClient(t, awa.RoleCheck, k), Target{UID: uidB})
		var f *Failure
		if !errors.As(err, &f) || f.Code != awa.ErrOtherAgent || f.UID != uidA {
			t.Error(err)
		}
		if err := said.next(t); code(err) != ErrRefused {
			t.Error(err)
		}
	})
	t.Run("the agent's refusal comes with the first answer", func(t *testing.T) {
		// It accepts both keys and shows one that the agent does not know.
		if answer, err := ask(newClient(t, awa.RoleCheck, NewKey(), k), Target{UID: uidA}); answer != "" ||
			code(err) != ErrOtherKey {
			t.Errorf("%q, %v", answer, err)
		}
		if err := said.next(t); code(err) != ErrOtherKey {
			t.Error(err)
		}
	})
	t.Run("it ends with its context", func(t *testing.T) {
		silent := listen(t)
		defer silent.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		raw := must[net.Conn](t)(net.Dial("tcp", silent.Addr().String()))
		_, err := newClient(t, awa.RoleCheck, k).Connect(ctx, raw, Target{})
		if !errors.Is(err, context.DeadlineExceeded) || code(err) != "?" {
			t.Error(err)
		}
	})
	t.Run("errors of the network stay what they are", func(t *testing.T) {
		a, b := net.Pipe()
		b.Close()
		_, err := newClient(t, awa.RoleCheck, k).Connect(t.Context(), a, Target{})
		if err == nil || code(err) != "?" || errors.Is(err, awa.ErrBadInput) {
			t.Error(err)
		}
	})
}
