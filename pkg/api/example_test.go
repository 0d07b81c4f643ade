package api_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"are-we-alive/pkg/api"
	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// A client asks any agent of a cluster. With a key it speaks TLS with all of them.
func ExampleClient() {
	keys, err := trust.ReadFile("/etc/are-we-alive/check.key", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := trust.NewClient(keys, awa.RoleCheck)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := api.NewClient(api.ClientConfig{Secure: ring.Secure})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	status, err := client.ClusterStatus(ctx, "web1:25483", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range status.Nodes {
		fmt.Println(n.Node.Name, n.Verdict)
	}
}

// A failure says at which stage a call failed, and why.
func ExampleClient_Ping() {
	client := api.NewClient(api.ClientConfig{})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := client.Ping(ctx, "127.0.0.1:1", true)
	var ping *awa.PingError
	fmt.Println(errors.As(err, &ping), ping.Stage)
	fmt.Println(err)
	// Output:
	// true connect
	// connect: connection refused
}
