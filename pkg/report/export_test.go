package report

// What the tests from outside compare with.
var (
	Printable = printable
	Reason    = Result.reason
	RTTLabel  = rttLabel
	LabelTag  = labelTag

	DisplayWidth = displayWidth
)

// HealthProblems is how many health codes count.
func (r Result) HealthProblems() int { return r.healthProblems() }

// Common is of how many findings the table says what nodes have in common.
func Common(r Result) (n int) {
	for _, f := range r.findings {
		if f.isCommon() {
			n++
		}
	}
	return n
}
