package watch

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"are-we-alive/pkg/awa"
)

// linesMost is how many changes of one kind that a sweep finds have a line of the log
// each. More of them are one line together, and each is one for whoever debugs.
const linesMost = 10

// log writes changes to the log, except that a node is online that was not known before.
func (w *Watcher) log(changes []change) {
	alike := map[string][]string{} // names of nodes, by the message
	silent := func(c change) bool { return c.event.Kind == awa.EventOnline && c.event.Before == "" }
	for _, c := range changes {
		if _, message, _ := messages(c.event.Kind); !silent(c) {
			alike[message] = append(alike[message], c.status.Node.Name)
		}
	}
	for _, c := range changes {
		if silent(c) {
			continue
		}
		level, message, many := messages(c.event.Kind)
		if names := alike[message]; len(names) > linesMost {
			if names[0] == c.status.Node.Name {
				w.cfg.Log.Log(context.Background(), level, many, "count", len(names), "first",
					strings.Join(names[:linesMost], ", "))
			}
			level = slog.LevelDebug
		}
		if w.cfg.Log.Enabled(context.Background(), level) {
			w.cfg.Log.LogAttrs(context.Background(), level, message, c.attrs()...)
		}
	}
}

// messages say what an event is, of one node and of many.
func messages(kind awa.EventKind) (level slog.Level, one, many string) {
	switch kind {
	case "":
		return slog.LevelInfo, "the agent of a node is being restarted", "the agents of many nodes are being restarted"
	case awa.EventOnline:
		return slog.LevelInfo, "node is back online", "many nodes are back online"
	case awa.EventRestarted:
		return slog.LevelInfo, "the agent of a node was restarted", "the agents of many nodes were restarted"
	case awa.EventRebooted:
		return slog.LevelInfo, "the machine of a node was rebooted", "the machines of many nodes were rebooted"
	case awa.EventStopped:
		return slog.LevelInfo, "the agent of a node says that it is being stopped",
			"the agents of many nodes say that they are being stopped"
	case awa.EventFlapping:
		return slog.LevelWarn, "node is flapping: its changes are in this log alone until it has settled",
			"many nodes are flapping: their changes are in this log alone until they have settled"
	case awa.EventSettled:
		return slog.LevelInfo, "node has settled", "many nodes have settled"
	case awa.EventMismatch:
		return slog.LevelWarn, "somebody else answers in place of the node", "somebody else answers in place of many nodes"
	case awa.EventUnreachable:
		return slog.LevelWarn, "node does not answer this agent, but others", "many nodes do not answer this agent, but others"
	}
	return slog.LevelWarn, "node is offline", "many nodes are offline"
}

// attrs describe a change in the log.
func (c change) attrs() []slog.Attr {
	st, e := c.status, c.event
	attrs := []slog.Attr{slog.String("node", st.Node.Name), slog.String("addr", st.Node.Addr())}
	switch {
	case e.Kind == awa.EventStopped, e.Kind == awa.EventFlapping, e.Kind == awa.EventSettled:
		attrs = append(attrs, slog.String("why", e.Why))
	case st.Verdict != awa.Online:
		attrs = append(attrs, slog.String("stage", string(st.Stage)), slog.String("error", st.Error))
	}
	if st.Goodbye != nil {
		attrs = append(attrs, slog.String("stopped", st.Goodbye.Reason.String()))
	}
	if st.Told > 0 {
		attrs = append(attrs, slog.Int("others_told", st.Told))
	}
	if st.Asked > 0 {
		attrs = append(attrs, slog.Int("others_asked", st.Asked))
	}
	if len(st.SeenBy) > 0 {
		attrs = append(attrs, slog.String("seen_by", strings.Join(st.SeenBy, ", ")))
	}
	switch {
	case e.Away > 0:
		attrs = append(attrs, slog.Duration("away", time.Duration(e.Away).Round(time.Millisecond)))
	case e.Lasted > 0:
		attrs = append(attrs, slog.Duration("after", time.Duration(e.Lasted).Round(time.Millisecond)))
	}
	return attrs
}
