package report

// What the tests from outside compare with.
var (
	Printable = printable
	Reason    = reason
	RTTLabel  = rttLabel
	LabelTag  = labelTag
)
