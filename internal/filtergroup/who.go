package filtergroup

import (
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// A Way is how somebody could start a build. The higher the Strength, the more
// somebody needs for it.
type Way struct {
	Group    int // from 1; 0 without groups
	Strength Strength
	Text     string
}

// A Strength is what somebody needs to start a build.
type Strength int

// From anybody to a few named accounts.
const (
	Anybody  Strength = iota // who can see the repository and open a pull request
	Approved                 // anybody, once somebody with an approver role says so
	Writer                   // who may push to the repository, or has an approver role
	Named                    // accounts that a filter names
)

// Who lists the ways in which the groups let somebody start a build under the
// policy for pull requests, the weakest first. It looks at what the groups
// allow, not at who is there.
func Who(groups [][]api.WebhookFilter, branch string, policy *api.PullRequestBuildPolicy) []Way {
	var ways []Way
	if len(groups) == 0 {
		ways = ofEvents(0, Default, nil, policy)
		if branch != "" {
			for i := range ways {
				ways[i].Text += fmt.Sprintf(", on branches that match %q", branch) + loose(branch)
			}
		}
	}
	for i, g := range groups {
		ways = append(ways, ofEvents(i+1, eventsOf(g), g, policy)...)
	}
	slices.SortStableFunc(ways, func(a, b Way) int { return int(a.Strength) - int(b.Strength) })
	return ways
}

func ofEvents(group int, events []forge.EventType, g []api.WebhookFilter, policy *api.PullRequestBuildPolicy) []Way {
	actors, only := "", ""
	for _, f := range g {
		switch {
		case f.Type == api.WebhookFilterTypeACTOR_ACCOUNT_ID && !excludes(f) && names(f):
			actors = text(f.Pattern)
		case f.Type != api.WebhookFilterTypeEVENT && !excludes(f):
			only += fmt.Sprintf(", if %s matches %q", f.Type, cut(text(f.Pattern)))
			if named[f.Type] {
				only += loose(text(f.Pattern))
			}
		}
	}
	var ways []Way
	add := func(s Strength, format string, args ...any) {
		w := Way{Group: group, Strength: s, Text: fmt.Sprintf(format, args...) + only}
		if actors != "" {
			w.Strength = Named
			w.Text += fmt.Sprintf("; the account's whole id has to match %q", cut(actors))
		}
		ways = append(ways, w)
	}
	var pulls []string
	for _, e := range events {
		switch e {
		case forge.Push:
			add(Writer, "whoever may push to the repository, by a push")
		case forge.Released, forge.Prereleased:
			add(Writer, "whoever may publish releases, by one (%s)", e)
		case forge.PullMerged:
			add(Writer, "whoever may merge pull requests, by a merge")
		default:
			if strings.HasPrefix(string(e), "PULL_REQUEST_") {
				pulls = append(pulls, string(e))
			}
		}
	}
	if len(pulls) == 0 {
		return ways
	}
	what := strings.Join(pulls, ", ")
	approval := api.PullRequestBuildCommentApprovalDISABLED
	var roles []string
	if policy != nil {
		approval = policy.RequiresCommentApproval
		for _, r := range policy.ApproverRoles {
			roles = append(roles, string(r))
		}
	}
	approvers := strings.Join(roles, ", ")
	open := slices.IndexFunc(roles, func(r string) bool { return strings.HasSuffix(r, "_READ") })
	if approval != api.PullRequestBuildCommentApprovalDISABLED && open >= 0 {
		add(Anybody, "ANYBODY who can open a pull request (%s), with code of their own, where the repository is public: everybody has %s there, and who has one of %s needs no approval", what, roles[open], approvers)
		return ways
	}
	switch approval {
	case api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS:
		add(Approved, "anybody who can open a pull request (%s), once somebody with one of %s approves its commit by a comment", what, approvers)
		add(Writer, "whoever has one of %s, by a pull request (%s)", approvers, what)
	case api.PullRequestBuildCommentApprovalFORK_PULL_REQUESTS:
		add(Approved, "anybody who can fork the repository, by a pull request (%s), once somebody with one of %s approves its commit by a comment", what, approvers)
		add(Writer, "whoever may push to the repository, by a pull request from a branch of it (%s)", what)
	default:
		add(Anybody, "ANYBODY who can open a pull request (%s), with code of their own: no approval is required. A build of a fork gets no secrets unless its author has a role that may write", what)
	}
	return ways
}

// names reports whether a filter names accounts, a few: .*, [0-9]{1,9} and 58323.
// do not.
func names(f api.WebhookFilter) bool {
	const few = 100
	re, err := syntax.Parse(text(f.Pattern), syntax.Perl)
	return err == nil && words(re) <= few
}

// words is how many texts an expression matches as a whole, or more than that.
func words(re *syntax.Regexp) float64 {
	n := 1.0
	switch re.Op {
	case syntax.OpCharClass:
		n = 0
		for i := 0; i < len(re.Rune); i += 2 {
			n += float64(re.Rune[i+1]-re.Rune[i]) + 1
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpStar, syntax.OpPlus:
		n = math.Inf(1)
	case syntax.OpQuest:
		n = 1 + words(re.Sub[0])
	case syntax.OpRepeat:
		if n = math.Inf(1); re.Max >= 0 {
			n = float64(re.Max-re.Min+1) * math.Pow(words(re.Sub[0]), float64(re.Max))
		}
	case syntax.OpAlternate:
		n = 0
		for _, sub := range re.Sub {
			n += words(sub)
		}
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			n *= words(sub)
		}
	}
	return n
}
