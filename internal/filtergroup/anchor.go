package filtergroup

import (
	"regexp/syntax"

	"github.com/corbel-build/corbel/api"
)

// named are the filters whose values are names: one that goes on where a pattern
// ends is another ref or another repository, which somebody else may have. Who
// acted is not among them, since that has to match as a whole.
var named = map[api.WebhookFilterType]bool{
	api.WebhookFilterTypeHEAD_REF: true, api.WebhookFilterTypeBASE_REF: true, api.WebhookFilterTypeREPOSITORY_NAME: true, api.WebhookFilterTypeORGANIZATION_NAME: true,
	api.WebhookFilterTypeTAG_NAME: true, api.WebhookFilterTypeRELEASE_NAME: true, api.WebhookFilterTypeWORKFLOW_NAME: true,
}

// loose says in which way a pattern lets in longer names than it spells out, for
// people; "" if in none. A pattern that says so itself, as ^release/.* does, is
// not loose there.
func loose(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	switch begin, end := held(re, true), held(re, false); {
	case !begin && !end:
		return " anywhere in it (without ^ and $, longer names match too)"
	case !begin:
		return " at its end (without ^, longer names match too)"
	case !end:
		return " at its beginning (without $, longer names match too)"
	}
	return ""
}

// held reports whether an expression says what stands at the beginning, or the
// end, of the texts that it is found in.
func held(re *syntax.Regexp, begin bool) bool {
	switch re.Op {
	case syntax.OpBeginText:
		return begin
	case syntax.OpEndText:
		return !begin
	case syntax.OpStar, syntax.OpPlus:
		return re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL
	case syntax.OpCapture:
		return held(re.Sub[0], begin)
	case syntax.OpConcat:
		if begin {
			return held(re.Sub[0], begin)
		}
		return held(re.Sub[len(re.Sub)-1], begin)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if !held(sub, begin) {
				return false
			}
		}
		return true
	}
	return false
}
