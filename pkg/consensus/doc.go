// Package consensus decides the order of the edits: it is this agent's part in Raft. It
// owns Raft's transport, log, snapshots and state machine, and the choice of the voters.
// It leaves to others what an edit means (awa), where list and log are kept (List), how
// agents reach each other (Peers), and how a decided change gets to the agents that do
// not vote (replica).
//
// It alone uses hashicorp/raft.
//
// # States
//
// Every agent runs Raft, and is in one of these states:
//
//   - dormant: it has no configuration, so it neither votes nor stands for election. Most
//     agents are, and learn changes from others.
//   - enlisted: the leader sends it the log, and it has no vote yet.
//   - voter: one of at most five. A voter believes its own log alone.
//   - leader: the voter that a majority elected. It decides the edits, and one step at a
//     time who votes: see nextStep.
//   - held: Raft is stopped, since another agent runs with this one's uid.
//   - starved of disk: the disk takes no writes. The agent takes no entry, grants no vote
//     and hands the leadership over until there is room again: see Disk.
//
// # Invariants
//
//   - An edit is acknowledged only when a majority of the voters has it on disk.
//   - A change, its node and the applied index of Raft are written in one transaction, so
//     a replay of the log changes nothing.
//   - Of two logs, the one that ends later may hold more that was decided. No vote goes to
//     a candidate whose log lacks what this agent has applied, or what was in the log that
//     it dropped; and an agent that was just started compares its log with those of the
//     other voters before it votes, since its disk may have been rolled back: see
//     voteGuard.
//   - A step from one set of voters to the next never leaves it without a majority that is
//     online, and the next step waits until all voters know the last one.
//   - An agent that lost its vote keeps its term and its vote, and drops its log.
//   - A set of voters is believed when this agent's own log or snapshot holds it, or when
//     a majority of the voters it knows has said so.
//
// # What a crash leaves behind
//
// What takes several steps is written down first, in the stable values beside Raft's own,
// and completed at the next start (Finish): awa.dropping (log and snapshots are being
// dropped), awa.adopting (the list is becoming another one) and awa.rebootstrap (the log
// is being created again from the list). A snapshot that was being written is a *.tmp
// folder, which the next start removes. A log that lacks entries, or a snapshot that can't
// be read, is created again from the list by an only voter, and dropped by any other one:
// the leader sends it again.
package consensus
