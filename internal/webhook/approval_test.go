package webhook

import (
	"slices"
	"strings"
	"testing"
)

// What a comment quotes or shows as code approves nothing, and everything else in
// it does.
func TestCommands(t *testing.T) {
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 64)
	run := func(sha string) string { return "/codebuild_run(" + sha + ")" }
	for text, want := range map[string][]string{
		run(a):                                           {a},
		"Looks good\r\n" + run(a) + " \r\n":              {a},
		"   " + run(a):                                   {a},
		run(a) + "\nor\n" + run(b):                       {a, b},
		"> " + run(b) + "\n\n" + run(a):                  {a},
		"> ```\n> x\n> ```\n" + run(a):                   {a},
		"```\nlog\n```\n" + run(a):                       {a},
		"```` log\n```\n" + run(b) + "\n````\n" + run(a): {a},
		"~~~\n```\n~~~\n" + run(a):                       {a},
		"it is ```code``` here\n" + run(a):               {a},
		"```code```\n" + run(a):                          {a},
		"```code```\n```\n" + run(a) + "\n```":           nil,
		"```\ncode\n ```\n```\n" + run(a):                nil,
		"```\n" + run(a) + "\n```":                       nil,
		"~~~ sh\n" + run(a) + "\n~~~":                    nil,
		"```\n" + run(a):                                 nil,
		"    " + run(a):                                  nil,
		"\t" + run(a):                                    nil,
		"- ```\n  " + run(a) + "\n  ```":                 nil,
		"- ```\n  x\n  ```\n\n```\n" + run(a):            nil,
		"1. > ```\n   > x\n" + run(a):                    nil,
		"<!--\n" + run(a) + "\n-->":                      nil,
		"see <PRE>\n" + run(a):                           nil,
		run(a) + "\n<!-- -->\n" + run(b):                 {a},
		"do not write `" + run(a) + "`":                  nil,
		run(a) + " looks good":                           nil,
		"please " + run(a):                               nil,
		run(a[:39]):                                      nil,
		run(a[:12]):                                      nil,
		"/codebuild_run( " + a + ")":                     nil,
		"":                                               nil,
	} {
		if got := commands(text); !slices.Equal(got, want) {
			t.Errorf("%q approves %v, want %v", text, got, want)
		}
	}
}
