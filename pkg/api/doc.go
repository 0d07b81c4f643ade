// Package api asks agents over their HTTP interface: the calls, and the
// connections that are kept for them. pkg/api/server answers.
//
// # What an answer may cost
//
// Nobody has to be what it says: without a key anything may answer at an
// address, and a member of the cluster may be broken. So each call has a bound on
// the whole answer in bytes, which counts answers 1xx before it, its head, the
// framing of chunks and the trailer, and one on the elements of its JSON. Reading
// ends there, and the connection is closed. Memory is taken as bytes arrive. Every
// call ends with its context, and after MaxTime at the latest: 1m0s.
//
//	call               bytes      and for each    elements   and for each
//	GET /ping             65536       0                 256      0
//	GET /v1/status     41025536       0               20256      0
//	GET /v1/view       41025536       0               20256      0
//	GET /v1/nodes      41025536       0               20256      0
//	POST /v1/probe        65536    2560 node            256      1 node
//	GET /sync             65536   33792 change          256     16 change
//	GET /v1/changes       65536   33792 change          256     16 change
//	POST /v1/changes      65536       0                 256      0
//	GET /v1/events        65536    4048 event           256      1 event
//	GET /v1/availability  10305536    0               20256      0
//	GET /v1/notified   20545536       0               40256      0
//	POST /push            20480       0                   0      0
//	POST /v1/goodbye      20480       0                   0      0
//	POST /v1/notified     20480       0                   0      0
//	POST /v1/raft         16384       0                   0      0
//
// A head has at most 16384 bytes, a line of it 8192. An answer that refuses
// has a body of at most 8192 bytes, whatever the call. A call for changes brings at
// most 250 of them; whoever wants more asks again.
//
// # What is believed
//
// The types of pkg/awa say what each field may hold (Self.Check,
// ClusterStatus.Check, CheckOpinions, ChangeSet.Check, Edit.CheckOutcome,
// Node.Check), and nothing else reads an answer before that has been asked:
//
//   - A ping: words of at most 64 characters, a node's name, times of the years
//     1970 to 9999, numbers below 2^63, at most 16 voters.
//   - A status or view: the same of each node, at most 20000 nodes, round trips
//     of at most an hour.
//   - Second opinions: of the nodes that were asked about, one each.
//   - Changes: those that follow the state that was named, without a gap, no more
//     than were asked for, each of which can be read.
//   - An edit: the id of a change, and the node as it was asked for, or none after
//     a removal. Anything else leaves open what became of the edit.
//   - Events: by id, of the spans and kinds that an event may have, no more than were asked for.
//   - Shares: of at most 20000 nodes, none larger than the time that was watched.
//   - What people were notified of: words and times as above, at most 40000.
//   - A push: the words of an agent that has the change.
//   - A Raft stream: a switch to its protocol.
//
// Sentences are cut at 1000 bytes, and what can't be seen in them becomes a
// question mark. An answer that holds anything else is one of awa.StageReply with the code
// awa.ErrNoAgent, "something answers there that is not an awa-agent": a mismatch
// of the node that was asked, and no trouble of any other.
package api
