package watch

// MaxProbes is a bound for the tests outside of this package.
const MaxProbes = maxProbes

// AllSeen returns what Seen returns of each node that a sweep has pinged, by uid.
func (w *Watcher) AllSeen() map[string]Seen {
	all := map[string]Seen{}
	for _, n := range w.cfg.Nodes() {
		if seen, ok := w.Seen(n); ok {
			all[n.UID] = seen
		}
	}
	return all
}
