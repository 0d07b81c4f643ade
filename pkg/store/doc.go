// Package store keeps awa.db: the node list, the changes that made it, and
// what a voter's Raft log needs, in one bbolt file.
//
// It owns the file: its format, its checks when it is opened, and which writes
// share a transaction. What a change may look like and what it does to the
// list is said by package awa; who may decide one, and when, by packages consensus
// and replica. Nothing of bbolt leaves this package.
//
// # States
//
// A file is empty (it has a uid and no cluster), or holds the list of one cluster in one
// history (Init, Rebase). The list has two parts: up to Meta.State this agent's own Raft has
// decided it, and what comes after that was learned from other agents. See proven.go.
//
// # Invariants
//
//   - Changes have the ids 1, 2, 3, … without gaps, and a change never changes again
//     except by Rebase and DropLearned, which drop whole changes from the end.
//   - A change, its node, the digest of the list with it and the place in Raft's log are
//     written in one transaction. A batch of changes may share it.
//   - Every method that writes returns once the disk has it. One that fails has written
//     nothing.
//   - Changes, the meta, and the entries and values of Raft have a sum or a digest, which is
//     checked when the file is opened and at each read. A file that fails is refused when it
//     is opened; what a read finds later is reported by Damaged.
//   - An entry of the log whose index is not above Meta.Index has been applied already:
//     deciding it again changes nothing and answers as before.
//
// # What a crash leaves behind
//
// The last transaction, whole or not at all: bbolt writes two meta pages in turns. A disk
// that loses or alters what it said it had written is found by the checks. A file that was being written (a new
// awa.db, a backup, what is set aside) has another name until it is whole.
package store
