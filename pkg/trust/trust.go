// Package trust turns a cluster's one secret into mutual TLS: keys and their
// files, the certificate authorities that follow from a key, the certificates
// that agents and clients mint from them, roles, and TLS configurations.
//
// It owns who is let in; what a role may call is the API's business. It knows
// no HTTP but one answer, for a client that speaks no TLS.
//
// # From a key to certificates
//
// A cluster key is 32 random bytes. Every agent derives the same two
// authorities from it, a member CA and a check CA:
//
//	seed of the member CA = HKDF-SHA256(cluster key, no salt, "are-we-alive awa1 member CA")
//	seed of the check CA  = HKDF-SHA256(cluster key, no salt, "are-we-alive awa1 check CA")
//	key of node names     = HKDF-SHA256(seed of the check CA, no salt, "are-we-alive awa1 node names")
//
// A seed is an Ed25519 private key (RFC 8032). A CA's certificate is a pure
// function of the public keys, so it has the same bytes on every agent. A
// check key is the check CA's seed and the member CA's public key, 64 bytes:
// enough to mint certificates of the check role and to recognise members, and
// nothing else can be derived from it.
//
// A server accepts certificates of both CAs, a client those of the member CA
// only. Which CA issued the peer's certificate is its role.
//
// # What a stranger costs
//
// Both sides decide about a peer's certificates before any signature is
// checked, see accept: there is one certificate, behind it the CA's own at
// most (maxCertificates), each of 2 KiB at most (maxCertificate), with a key
// and a signature of Ed25519, of a CA that is among ours by name and key id.
// Then its one signature is verified, and only then the peer's proof that it
// has the key. Until a handshake is complete at most 8 KiB are read of the
// peer (maxHandshake), with what is read and thrown away after a refusal; so
// what its hello and its certificates take to parse is bounded too, to well
// below a millisecond. An ordinary stranger costs an agent a key exchange
// and a signature of its own, about a quarter of a millisecond.
//
// A client keeps the sessions of so many agents (sessionsKept), each with a
// ticket of at most 4 KiB (maxTicket). An agent keeps none, tickets hold all.
// A session is resumed only while the key that the peer's certificate is of
// is still ours, the certificate's time is not over, and for a client only
// with the agent that it means; else the handshake is a full one.
//
// What nothing here bounds: the time of a handshake, which is for the user of
// a Listener or of Connect, and how many there are at a time. After the
// handshake crypto/tls ends a connection after 16 records without data in a
// row: key updates, tickets, empty ones.
//
// # Names
//
// An agent's certificate holds names under awa.internal. ICANN keeps .internal
// for private use for ever: nobody can own such a name in public, no public
// authority may sign one, and an administrator may still point agent.awa.internal
// at an agent in their own DNS or in /etc/hosts. Any stranger can make an agent
// show its certificate, before it knows who asks. So it holds no node name,
// no host and no cluster id: a node's name is there as a keyed hash that only
// holders of a key can compute. The uid is in the clear, 128 random bits.
//
// The check of names is for truth, not for security: an address that B took
// over must not say that A is alive. Every member could mint any name.
//
// # Time
//
// Nothing here expires: certificates are valid from 1970 to 9999, the
// agents' own ones too, and so none has to be renewed while an agent runs. A
// liveness checker that goes blind because a clock is wrong would be wrong
// itself; 1970 is where a board without a battery starts to count. A shorter
// life of a certificate would protect nothing, since whoever can read it in
// memory can read the key beside it, and mint another one. What ends a
// certificate's life is the rotation of the key: a Keyring that no longer
// holds the key refuses it, on open connections too. Each change of a Keyring
// mints a new certificate.
package trust
