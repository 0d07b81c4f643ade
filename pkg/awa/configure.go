package awa

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What of a node its agent's configuration may set, as Node.Configured names it.
const (
	configuredEphemeral = "ephemeral"
	configuredLabel     = "labels." // and the key
)

// Configure returns the node with the labels and the Ephemeral that its agent's
// configuration has. What an earlier configuration had set, and this one doesn't, is gone.
// What was set by hand stays, unless the configuration sets the same.
func (n Node) Configure(labels map[string]string, ephemeral string) Node {
	all := maps.Clone(n.Labels)
	for _, what := range n.Configured {
		if key, ok := strings.CutPrefix(what, configuredLabel); ok {
			delete(all, key)
		} else if what == configuredEphemeral {
			n.Ephemeral = ""
		}
	}
	n.Configured = nil
	if all == nil && len(labels) > 0 {
		all = map[string]string{}
	}
	for key, value := range labels {
		all[key] = value
		n.Configured = append(n.Configured, configuredLabel+key)
	}
	if ephemeral != "" {
		n.Ephemeral = ephemeral
		n.Configured = append(n.Configured, configuredEphemeral)
	}
	slices.Sort(n.Configured)
	if n.Labels = all; len(all) == 0 {
		n.Labels = nil
	}
	return n
}

// LabelConfigured reports whether the configuration of the node's agent sets a label.
func (n Node) LabelConfigured(key string) bool {
	return slices.Contains(n.Configured, configuredLabel+key)
}

// EphemeralConfigured reports whether the configuration of the node's agent sets Ephemeral.
func (n Node) EphemeralConfigured() bool { return slices.Contains(n.Configured, configuredEphemeral) }

// ConfiguredAs reports whether the configuration has set all of a node as it is in another.
func (n Node) ConfiguredAs(other Node) bool {
	return slices.Equal(n.Configured, other.Configured) && maps.Equal(n.Labels, other.Labels) && n.Ephemeral == other.Ephemeral
}

// ByExpiry is who removes an ephemeral node.
const ByExpiry = "expiry"

// Expiry is for how long the node may be offline before it is removed, 0 for ever.
func (n Node) Expiry() time.Duration {
	d, err := time.ParseDuration(n.Ephemeral)
	if err != nil {
		return 0
	}
	return d
}

func checkConfigured(all []string) error {
	for _, what := range all {
		key, isLabel := strings.CutPrefix(what, configuredLabel)
		if what != configuredEphemeral && (!isLabel || CheckName(key) != nil) {
			return fmt.Errorf("configured must name ephemeral or labels.KEY, and not %q", Clip(what))
		}
	}
	if len(all) > MaxLabels+1 {
		return fmt.Errorf("configured names %d things: at most %d are allowed", len(all), MaxLabels+1)
	}
	return nil
}
