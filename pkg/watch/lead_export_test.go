package watch

// MaxLead is what the tests hold the edge of.
const MaxLead = maxLead
