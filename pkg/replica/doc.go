// Package replica keeps one node list on all agents. It owns how an edit gets to the
// leader, how what was decided gets to every agent (push, sync, join), who holds a name
// on the list, and what an agent does whose list contradicts that of the others. It leaves
// to others who decides an edit (consensus), what an edit means (awa), where the list is
// kept (List) and how agents talk (Peers).
//
// # States
//
// An agent is in one of these states:
//
//   - without a list: it asks its contacts until one has a list (Join). All other calls
//     fail with awa.ErrNotJoined.
//   - follower: it believes what the leader sends, and nobody else. A push is only news:
//     a follower asks the leader for the change.
//   - voter: it believes its own Raft log. What others send makes it look there at once.
//   - diverged: its list contradicts the leader's, or belongs to an earlier history. It
//     sets aside what it alone holds, in a file, and follows (reconcile).
//   - copy: another agent with its uid holds its entry. It does not vote, and says so,
//     until that one is gone.
//
// Whether it stands on the list is another matter: see StayRegistered and claimBlocked.
//
// # Invariants
//
//   - A list is a prefix of the leader's. Where digests say otherwise, the follower returns
//     way, and nothing that it drops is lost: it stands in a file first.
//   - An agent never changes to an earlier history, and never to another cluster unless
//     its own list holds nothing but itself.
//   - An edit has one idempotency key on its whole way, so that it can be sent to several
//     agents, one after the other or at once, and is made once.
//   - An edit is refused as not made only when no agent can have made it. Else the answer
//     is awa.ErrUnknownOutcome.
//   - An agent that was removed from the list does not come back by itself.
//   - An agent does not take over an entry while another agent answers for it, unless a
//     person says so (Config.TakeOver).
//
// # What a crash leaves behind
//
// Nothing that this package keeps is on disk except through List and consensus: hints,
// differences and callers are learned again from the next pings. An adoption that was
// under way is completed by consensus at the next start. A join that was interrupted left
// a part of the list, and the rest is fetched as after any absence.
package replica
