package trust_test

import (
	"fmt"

	"are-we-alive/pkg/awa"
	"are-we-alive/pkg/trust"
)

// A cluster has one key. The check key that is derived from it can only read, and does
// not show the cluster key.
func ExampleKey() {
	key := trust.NewKey()
	check := key.Check()
	fmt.Println(key.Role(), check.Role())
	fmt.Println(key.ID() == check.ID(), key.Equal(check))
	fmt.Println(check.Role().May(awa.RoleMember))
	// Output:
	// member check
	// true false
	// false
}

// Printing a key never shows the secret.
func ExampleKey_Format() {
	key := trust.NewKey()
	shown := fmt.Sprintf("%v %+v %#v", key, key, key)
	fmt.Println(len(shown) < len(key.Line())*3, key.Line() != fmt.Sprint(key))
	// Output: true true
}

// A key file holds a key a line. The first is used, all are accepted.
func ExampleParseKeys() {
	old, next := trust.NewKey(), trust.NewKey()
	keys, err := trust.ParseKeys("cluster.key", []byte(old.FileText(next)))
	fmt.Println(len(keys), keys[0].Equal(old), err)
	// Output: 2 true <nil>
}
