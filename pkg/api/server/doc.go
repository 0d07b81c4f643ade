// Package server answers the agent's HTTP interface; pkg/api asks it.
//
// It owns how a request is read and refused, and nothing behind it: what an
// agent answers comes from the Agent interface. It alone uses fasthttp.
//
// # What a client may send and hold
//
// A stranger has shown no key that is accepted; check and member are the roles
// of keys. Without a key everybody who reaches the port is a member. A test
// holds the numbers below to the constants that they come from.
//
// Before anything of a request is looked at:
//
//	what                                      bound
//	connections without a role yet            1024 (maxPending), of one address 384 (maxPendingPerAddr)
//	connections of check keys                 1024 (maxChecks), of one address 64 (maxChecksPerAddr)
//	connections of members                    6080 (the rest of maxConns), of one address 4096 (maxMembersPerAddr)
//	Raft streams of members                   64 (maxStreams), of one address 32 (maxStreamsPerAddr)
//	a handshake, and a whole request          5s (readTimeout)
//	the time between two requests             3m0s (idleTimeout)
//	a request's head                          8192 bytes (maxHeader)
//	a request's body                          1048576 bytes (maxBody)
//
// Each row of connections has its own places, so that strangers and holders of
// check keys never keep a member out. When a row is full, a further connection
// takes the place of another one of its address when that has all that it may
// have, and else of the address that has the most: of an idle one, the idlest
// first. An agent that is short of file descriptors has fewer places (limitsFor).
//
// A stranger gets the same answer to every call: that its key is not
// accepted. It is asked for at each request, since keys may be removed.
// A role that is not enough costs nothing but the look for the call.
//
//	call              role    what is read, and what it costs at most
//	GET /ping         check   nothing; one answer from memory
//	GET /status       check   nothing; a sweep, which all who ask meanwhile share
//	GET /sync         check   two numbers; the log, page by page
//	POST /push        member  a change of 16384 bytes; a write to disk, 10s (editTimeout)
//	GET /v1/status    check   cached, names; a sweep, which all who ask meanwhile share
//	GET /v1/nodes     check   nothing; the list, from memory
//	GET /v1/changes   check   two numbers; the log, page by page
//	POST /v1/changes  member  an edit of 16384 bytes; a decision of the voters, 10s (editTimeout), passed on 3 times (maxHops)
//	POST /v1/probe    member  16384 ids (maxProbe); one ping of each that is listed, 22s (probeTimeout)
//	GET /v1/view      check   nothing; the last sweep
//	POST /v1/raft     member  who calls; a stream, which Raft bounds
//	GET /v1/events    check   names, numbers, a time; some thousand events of the disk, 500 in the answer (maxEvents)
//	GET /v1/availability check nothing; all events of 30 days, one such at a time
//	POST /v1/goodbye  member  a word; a line in memory
//	GET /v1/notified  member  nothing; from memory
//	POST /v1/notified member  1000 elements (maxNotified); a write to disk
//
// An answer that grows with the list goes out in pages:
//
//	what                                      bound
//	of an answer in memory, for its reader    16384 bytes (pageBytes), and one element more
//	of an answer in the kernel                65536 bytes (sendBuffer), and as much again
//	processors that work on pages             half of those there are, at least one
//	a reader who reads nothing                30s (writeTimeout)
//	a reader who is slow                      16384 bytes a second (minRate), after that time
//	sweeps and lists that readers hold        33554432 bytes (maxRetained), the oldest are given up
//
// The log is read in transactions of one page each, which have ended before the
// page is sent: a reader who doesn't read holds back no edit. An answer that
// can't be finished ends with its connection, so that a client which goes by
// HTTP never takes it for whole.
//
// Whatever the role, what a web page makes a browser send is refused: see
// browser.go. Without a key, so is a request for a host that is not this agent.
//
// The second port (NewWebServer) knows strangers alone, and reads only:
//
//	what                                      bound
//	open connections in all                   1280, the oldest is closed (webLimits)
//	open connections of one address           1024, the oldest is closed (webLimits)
//	a request's body                          4096 bytes (maxWebBody)
//	processor time for pages                  a tenth of one processor for each (freshFactor)
//	pages for browsers                        one a second for each of four settings (pkg/daemon)
//	the age of a page                         2s (freshMost)
//	sweeps for health checks                  one a second, whoever asks for what (pkg/daemon)
//	pages that readers hold                   33554432 bytes (maxRetained), the oldest are given up
//
// # What is believed
//
// A member's headers say who it is (awa.Caller): its list must be of the same
// cluster and history, or the call is refused. What a caller with a check key
// says of itself is passed over. A Host and an Origin are only ever reasons to
// refuse.
package server
