package awa_test

import (
	"testing"
	"time"

	"are-we-alive/pkg/awa"
)

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 400 * time.Millisecond: "0 s", 59400 * time.Millisecond: "59 s",
		59500 * time.Millisecond: "1 min", time.Hour - time.Second: "59 min", time.Hour: "1 h", 47 * time.Hour: "47 h",
		48 * time.Hour: "2 d", 400 * 24 * time.Hour: "400 d",
	} {
		if got := awa.Ago(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
