package report

import (
	"fmt"
	"slices"
	"strings"

	"are-we-alive/pkg/awa"
)

// Settings are what a check is asked for, as texts: by the flags of check_awa, or by the
// query of a URL, which has the same names.
type Settings struct {
	texts map[string]string
	lists map[string][]string
}

// setting is one text of Settings: a range or a state.
type setting struct {
	name     string
	def      string
	optional bool // it may be empty, as a macro that a monitoring system fills in may be
	ofNodes  bool // it is a number of nodes, which may be a percentage
	limit    func(*Rules) *Threshold
	state    func(*Rules) *State
}

// settings are all of them. One with a default may not be empty, so that nobody loses an
// alarm that way.
var settings = [...]setting{
	{name: "warning", optional: true, ofNodes: true, limit: func(r *Rules) *Threshold { return &r.Dead.Warning }},
	{name: "critical", def: "0", ofNodes: true, limit: func(r *Rules) *Threshold { return &r.Dead.Critical }},
	{name: "unreachable-warning", def: "0", ofNodes: true,
		limit: func(r *Rules) *Threshold { return &r.Unreachable.Warning }},
	{name: "unreachable-critical", optional: true, ofNodes: true,
		limit: func(r *Rules) *Threshold { return &r.Unreachable.Critical }},
	{name: "behind-warning", optional: true, limit: func(r *Rules) *Threshold { return &r.Behind.Warning }},
	{name: "behind-critical", optional: true, limit: func(r *Rules) *Threshold { return &r.Behind.Critical }},
	{name: "skew-warning", def: decimal(awa.DefaultMaxSkew.Seconds()),
		limit: func(r *Rules) *Threshold { return &r.Skew.Warning }},
	{name: "skew-critical", optional: true, limit: func(r *Rules) *Threshold { return &r.Skew.Critical }},
	{name: "rtt-warning", optional: true, limit: func(r *Rules) *Threshold { return &r.RTT.Warning }},
	{name: "rtt-critical", optional: true, limit: func(r *Rules) *Threshold { return &r.RTT.Critical }},
	{name: "no-majority-state", def: "warning", state: func(r *Rules) *State { return &r.NoMajority }},
	{name: "stopped-state", def: "critical", state: func(r *Rules) *State {
		r.Stopped = new(State)
		return r.Stopped
	}},
}

// The lists of Settings.
const (
	settingNode    = "node"
	settingLabel   = "label"
	settingExclude = "exclude"
	settingHealth  = "health"
)

var settingLists = [...]string{settingNode, settingLabel, settingExclude, settingHealth}

// SettingNames are the names of all settings, in the order of the manual.
func SettingNames() []string {
	var all []string
	for _, s := range settings {
		all = append(all, s.name)
	}
	return append(all, settingLists[:]...)
}

// DefaultSetting returns the default of a setting, "" for none.
func DefaultSetting(name string) string {
	if i := slices.IndexFunc(settings[:], func(s setting) bool { return s.name == name }); i >= 0 {
		return settings[i].def
	}
	return ""
}

// Set sets a text, or adds to a list. It reports whether there is a setting of that name.
func (s *Settings) Set(name, value string) bool {
	switch {
	case slices.Contains(settingLists[:], name):
		if s.lists == nil {
			s.lists = map[string][]string{}
		}
		s.lists[name] = append(s.lists[name], value)
	case slices.ContainsFunc(settings[:], func(e setting) bool { return e.name == name }):
		if s.texts == nil {
			s.texts = map[string]string{}
		}
		s.texts[name] = value
	default:
		return false
	}
	return true
}

// SettingError says which setting is wrong, and why.
type SettingError struct {
	Name string
	Err  error
}

// Error returns the name and the cause.
func (e *SettingError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// Parse reads the settings. What is not set has its default. Its error is a *SettingError.
func (s Settings) Parse() (Rules, Selection, error) {
	var r Rules
	for _, e := range settings {
		value, set := s.texts[e.name]
		if !set {
			value = e.def
		}
		if value == "" && (e.optional || !set) {
			continue
		}
		if err := e.parse(&r, value); err != nil {
			return Rules{}, Selection{}, &SettingError{e.name, err}
		}
	}
	if *r.Stopped == Critical {
		r.Stopped = nil
	}
	if err := r.parseHealth(s.lists[settingHealth]); err != nil {
		return Rules{}, Selection{}, &SettingError{settingHealth, err}
	}
	sel, err := s.selection()
	return r, sel, err
}

// parse reads one text.
func (e setting) parse(r *Rules, value string) error {
	if e.state != nil {
		state, err := ParseState(value)
		*e.state(r) = state
		return err
	}
	t, err := ParseThreshold(value)
	if err != nil {
		return err
	}
	if t.Percent() && !e.ofNodes {
		return fmt.Errorf("%q is a percentage, which only a number of nodes can be: give plain numbers", value)
	}
	*e.limit(r) = t
	return nil
}

// parseHealth reads CODE=STATE, each.
func (r *Rules) parseHealth(texts []string) error {
	r.Health = DefaultHealth()
	r.Health[awa.NoMajority] = r.NoMajority
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		code := awa.HealthCode(strings.ToUpper(name))
		if !ok {
			return fmt.Errorf("%q has no state: give CODE=STATE, such as LAST_MAJORITY=warning", text)
		}
		if _, known := r.Health[code]; !known {
			return fmt.Errorf("%q is not a health code: use one of %s", name, codeList())
		}
		state, err := ParseState(value)
		if err != nil {
			return err
		}
		r.Health[code] = state
	}
	r.NoMajority = r.Health[awa.NoMajority]
	return nil
}

// codeList names the health codes.
func codeList() string {
	var all []string
	for _, code := range awa.HealthCodes() {
		all = append(all, string(code))
	}
	return strings.Join(all, ", ")
}

// selection reads the lists that select nodes.
func (s Settings) selection() (Selection, error) {
	var sel Selection
	var wrong []error
	each := func(name string, read func(text string) error) {
		for _, text := range s.lists[name] {
			if err := read(text); err != nil {
				wrong = append(wrong, &SettingError{name, err})
			}
		}
	}
	each(settingNode, func(text string) error {
		sel.Names = append(sel.Names, text)
		return awa.CheckName(text)
	})
	each(settingLabel, func(text string) error {
		label, err := ParseLabel(text)
		sel.Labels = append(sel.Labels, label)
		return err
	})
	each(settingExclude, func(text string) error {
		glob, err := ParseGlob(text)
		sel.Exclude = append(sel.Exclude, glob)
		return err
	})
	if len(wrong) > 0 {
		return Selection{}, wrong[0]
	}
	return sel, nil
}
