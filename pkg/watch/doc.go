// Package watch pings the nodes of a cluster and concludes who is alive.
//
// It owns how a ping is made (its time, its second attempt, how many at once), what is
// concluded from an answer or a failure, and the memory of since when each node is as it
// is and what happened to it. The call over the network comes from outside, as a Pinger; what an answer says of
// the lists goes outside, to Heard; what survives a restart goes to a Memory.
//
// # A sweep
//
// A sweep pings every node at once (sweep.pingAll, sweep.ping), excuses the agent's own
// entry, and asks three other agents about each node that failed (askOthers). Then a node
// is
//
//   - online: it answered this agent, as itself;
//   - unreachable: it answered another agent;
//   - mismatch: something answered at its address, and was not its agent;
//   - offline: it answered nobody who was asked.
//
// # A share
//
// In the background an agent sweeps a list of up to awa.WatchShareSize nodes like that. Of a
// longer one it pings its share (awa.WatchShare) and what it has reason to look at (runShare), and
// what it did not ping it is told: an answer to a ping says which nodes of its own
// share the other agent does not see. So the cost of an agent does not grow with the
// list, and a node that one agent does not see is soon pinged by all. What a few say of a node
// leads to a ping and is never a verdict; only when more nodes are missed than an agent may
// ping, one is offline that all of those miss which look at it.
//
// # Invariants
//
//   - Nobody is blamed for what this process may have done itself. A sweep during which it
//     stood still (pulse) is repeated, and one that lacked descriptors, ports or memory
//     (awa.ErrShortage) says nothing of any node.
//   - A sweep takes at most 2.2 times the time of one ping, however many nodes are dead,
//     and twice that when it was repeated. One of a share pings a second time after
//     the first, and takes one more. Thousands of silent nodes take longer where fewer
//     pings may be under way; whoever can't wait says so (Shared), and gets what is known.
//   - No goroutine of a sweep is left when it returns.
//   - Spans are measured by the monotonic clock, and skews by Config.Clock. Nothing is
//     ordered by a clock that a person can set.
//   - Since when a node is as it is moves only when its verdict changes or its agent was
//     restarted, also over restarts of this agent.
//   - A change is reported once (Config.Events), by whichever sweep sees it first. Of a node
//     that is flapping it is not, until that has settled.
//   - What an agent says when it is stopped (Goodbye) explains a silence, and is never a
//     verdict.
//
// # What a crash leaves behind
//
// Memory holds since when each node is as it is, written a moment after it changed. After
// a crash in that moment the next sweep finds the change again, and dates it to itself.
package watch
