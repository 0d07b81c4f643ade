package watch

// MaxProbes is a bound for the tests outside of this package.
const MaxProbes = maxProbes
