package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"are-we-alive/pkg/awa"
)

// A server of the original program is known by its answer to a ping, without a key.
func TestPing_original(t *testing.T) {
	for body, want := range map[string]*awa.Self{
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":12,"time":1795423597}}`: {
			MacAddr: "1a:d6:6e:ce:b5:5f", State: 12, Time: 1795423597, Version: awa.VersionOriginal},
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":-1,"time":1795423597}}`: {
			MacAddr: "1a:d6:6e:ce:b5:5f", Time: 1795423597, Version: awa.VersionOriginal},
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":-2,"time":1795423597}}`:          nil,
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":12,"time":1795423597,"uid":""}}`: nil,
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","time":1795423597}}`:                        nil,
		`{"status":{"db_state":12,"time":1795423597}}`:                                        nil,
		`{"status":{"macaddr":"1a:d6:6e:ce:b5:5f","db_state":12}}`:                            nil,
		`{"status":{"macaddr":"a\nb","db_state":12,"time":1795423597}}`:                       nil,
		`{"status":{"macaddr":"x","db_state":12,"time":9e99}}`:                                nil,
		`{"status":{}}`: nil, `{}`: nil, `[]`: nil,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		defer srv.Close()
		addr := srv.Listener.Addr().String()
		c := NewClient(ClientConfig{})
		defer c.Close()
		self, err := c.Ping(t.Context(), addr, true)
		if want == nil {
			if !errors.Is(err, awa.ErrNoAgent) {
				t.Errorf("%s: %+v, %v", body, self, err)
			}
			continue
		}
		if err != nil || fmt.Sprintf("%+v", self) != fmt.Sprintf("%+v", *want) || !self.IsOriginal() {
			t.Errorf("%s: %+v, %v", body, self, err)
		}
		secure := NewClient(ClientConfig{Secure: func(_ context.Context, conn net.Conn, _, _ string) (net.Conn, error) {
			return conn, nil
		}})
		defer secure.Close()
		if self, err := secure.Ping(t.Context(), addr, true); !errors.Is(err, awa.ErrNoAgent) {
			t.Errorf("with a key: %+v, %v", self, err)
		}
	}
}
