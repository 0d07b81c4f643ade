package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// Order is an order of the rows of a table: check_awa --sort.
type Order struct {
	Name    string
	compare func(a, b Row) int
}

// orders are all orders, the default first. What they leave open the names decide.
var orders = [...]Order{
	{"problems", func(a, b Row) int { return cmp.Or(worstFirst(a.State, b.State), yesFirst(!a.online(), !b.online())) }},
	{"name", func(Row, Row) int { return 0 }},
	{"rtt", func(a, b Row) int {
		return cmp.Or(yesFirst(a.online(), b.online()), cmp.Compare(b.NodeStatus.RTT, a.NodeStatus.RTT))
	}},
	{"since", func(a, b Row) int { return b.NodeStatus.Since.Compare(a.NodeStatus.Since) }},
}

// DefaultOrder has the problems first, the worst before the others.
func DefaultOrder() Order { return orders[0] }

// OrderNames returns the names of all orders, the default first.
func OrderNames() []string {
	var names []string
	for _, o := range orders {
		names = append(names, o.Name)
	}
	return names
}

// ParseOrder finds an order by its name.
func ParseOrder(name string) (Order, error) {
	i := slices.IndexFunc(orders[:], func(o Order) bool { return o.Name == name })
	if i < 0 {
		return Order{}, fmt.Errorf("%q is not an order: use %s", clip(name, MaxRange), Alternatives(OrderNames()))
	}
	return orders[i], nil
}

// sort sorts rows. The zero Order is the default.
func (o Order) sort(rows []Row) {
	if o.compare == nil {
		o = DefaultOrder()
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Or(o.compare(a, b), compareNames(a.Name, b.Name)) })
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// compareNames compares names as a person sorts them: web2 before web10, without regard
// to case.
func compareNames(a, b string) int {
	x, y := awa.NameKey(a), awa.NameKey(b)
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m == 0 || n == 0 {
			if x[0] != y[0] {
				return cmp.Compare(x[0], y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		p, q := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
		if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q)); c != 0 {
			return c
		}
		x, y = x[m:], y[n:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// digits is how many digits a text begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
