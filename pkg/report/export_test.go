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
