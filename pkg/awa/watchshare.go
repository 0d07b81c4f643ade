package awa

import "hash/fnv"

// WatchShareSize is how many nodes an agent watches by itself: every node of a list up to
// that length, and about as many of a longer one.
const WatchShareSize = 250

// WatchShare is which nodes of a list an agent watches by itself. It is the same for whoever
// computes it, follows from the agent's uid and the nodes' ids alone, and moves by few nodes
// when the list grows or shrinks by one. Which agents watch a node, and what an agent
// watches, is spread evenly over the list, so that what one agent sees reaches all others
// over a few of them. It is rendezvous hashing (Thaler and Ravishankar, 1998).
type WatchShare struct{ seed, most uint64 }

// WatchShareOf returns what the agent with a uid watches of a list of so many nodes.
func WatchShareOf(uid string, nodes int) WatchShare {
	if nodes <= WatchShareSize {
		return WatchShare{most: ^uint64(0)}
	}
	h := fnv.New64a()
	h.Write([]byte(uid)) // never fails
	return WatchShare{h.Sum64(), ^uint64(0) / uint64(nodes) * WatchShareSize}
}

// Has reports whether the node with an id belongs to the share.
func (s WatchShare) Has(id uint64) bool { return mix(s.seed^mix(id)) <= s.most }

// mix spreads a number over all 64 bits (SplitMix64, by Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
