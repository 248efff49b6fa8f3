package filtergroup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
)

// groups reads filter groups from lines: a line is a filter, TYPE and pattern,
// with ! before the type of one that excludes; an empty line ends a group.
func groups(lines ...string) [][]api.WebhookFilter {
	list := [][]api.WebhookFilter{nil}
	for _, line := range lines {
		if line == "" {
			list = append(list, nil)
			continue
		}
		kind, pattern, _ := strings.Cut(line, " ")
		f := api.WebhookFilter{Pattern: &pattern}
		if rest, ok := strings.CutPrefix(kind, "!"); ok {
			kind, f.ExcludeMatchedPattern = rest, new(true)
		} else if len(list)%2 == 0 { // absent and false are the same
			f.ExcludeMatchedPattern = new(false)
		}
		f.Type = api.WebhookFilterType(kind)
		list[len(list)-1] = append(list[len(list)-1], f)
	}
	return list
}

var (
	push = forge.Event{
		Type: forge.Push, Repository: "acme/site", Organization: "acme", Actor: forge.Person{ID: "755743", Login: "ada"},
		HeadRef: "refs/heads/main", Message: "Fix the roof\n\nIt leaked. [skip ci]",
	}
	pull = forge.Event{
		Type: forge.PullCreated, Repository: "acme/site", Organization: "acme", Actor: forge.Person{ID: "755743", Login: "ada"},
		HeadRef: "refs/heads/topic", BaseRef: "refs/heads/main", Pull: &forge.PullRequest{Number: 7},
	}
	release = forge.Event{
		Type: forge.Released, Repository: "acme/site", Actor: forge.Person{ID: "755743"},
		HeadRef: "refs/tags/v1.2.0", Tag: "v1.2.0", Release: "The one with doors",
	}
)

// known is what GitHub tells of.
var known = []forge.EventType{
	forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed, forge.Released, forge.Prereleased,
}

// with changes a copy of an event.
func with(e forge.Event, change func(*forge.Event)) forge.Event {
	change(&e)
	return e
}

// noFiles fails the test if it is asked.
func noFiles(t *testing.T) filtergroup.Files {
	return func(context.Context) ([]string, bool, error) {
		t.Error("Match asked for the changed files")
		return nil, false, nil
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	headRef := func(ref string) forge.Event { return with(push, func(e *forge.Event) { e.HeadRef = ref }) }
	for _, c := range []struct {
		name   string
		groups [][]api.WebhookFilter
		event  forge.Event
		want   int // the group, 0 is none
	}{
		{"an event that is named", groups("EVENT PUSH"), push, 1},
		{"an event that is not named", groups("EVENT PULL_REQUEST_CREATED"), push, 0},
		{"a list with blanks", groups("EVENT  PULL_REQUEST_CREATED ,\tPUSH , "), push, 1},
		{"a list is no expression", groups("EVENT PUS."), push, 0},
		{"part of a name is no name", groups("EVENT PULL_REQUEST_CREATED_TOO"), pull, 0},
		{"names are in capitals", groups("EVENT push"), push, 0},
		{"an excluded event", groups("EVENT PUSH, RELEASED", "!EVENT RELEASED"), release, 0},
		{"another than the excluded event", groups("EVENT PUSH, RELEASED", "!EVENT RELEASED"), push, 1},
		{"two lists have both to name it", groups("EVENT PUSH", "EVENT RELEASED"), push, 0},
		{"what is of no interest", groups("EVENT PUSH"), forge.Event{}, 0},
		{"a comment", groups("EVENT PUSH, PULL_REQUEST_CREATED"), with(pull, func(e *forge.Event) { e.Type = forge.Comment }), 0},

		{"all filters of a group", groups("EVENT PUSH", "HEAD_REF ^refs/heads/main$", "COMMIT_MESSAGE roof"), push, 1},
		{"one filter fails", groups("EVENT PUSH", "HEAD_REF ^refs/heads/main$", "COMMIT_MESSAGE cellar"), push, 0},
		{"the second group", groups("EVENT RELEASED", "", "EVENT PUSH"), push, 2},
		{"the first of two that match", groups("EVENT PUSH", "", "EVENT PUSH"), push, 1},
		{"no filter is taken from another group", groups("EVENT PUSH", "HEAD_REF other", "", "EVENT RELEASED", "HEAD_REF main"), push, 0},

		{"patterns are not anchored", groups("EVENT PUSH", "HEAD_REF main"), headRef("refs/heads/maintenance"), 1},
		{"an anchored pattern", groups("EVENT PUSH", "HEAD_REF ^refs/heads/main$"), headRef("refs/heads/maintenance"), 0},
		{"an excluded ref", groups("EVENT PUSH", "!HEAD_REF main"), push, 0},
		{"another than the excluded ref", groups("EVENT PUSH", "!HEAD_REF ^refs/heads/main$"), headRef("refs/heads/topic"), 1},
		{"a tag", groups("EVENT PUSH", "HEAD_REF ^refs/tags/v[0-9]"), headRef("refs/tags/v1"), 1},
		{"flags in a pattern", groups("EVENT PUSH", "HEAD_REF (?i)MAIN"), push, 1},
		{"a dollar is the end, not the end of a line", groups("EVENT PUSH", "HEAD_REF main$"), headRef("refs/heads/main\n/x"), 0},
		{"a ref with blanks, quotes and more", groups("EVENT PUSH", `HEAD_REF ^refs/heads/a b"'$`), headRef(`refs/heads/a b"'`), 1},
		{"a ref with characters that expressions use", groups("EVENT PUSH", `HEAD_REF ^\Qrefs/heads/a.b+(c)[d]\E$`), headRef("refs/heads/a.b+(c)[d]"), 1},
		{"a ref with other letters", groups("EVENT PUSH", `HEAD_REF ^refs/heads/\p{Greek}+$`), headRef("refs/heads/λμ"), 1},
		{"a ref that is not UTF-8", groups("EVENT PUSH", `HEAD_REF ^refs/heads/a.c$`), headRef("refs/heads/a\xffc"), 1},
		{"a ref that is not there", groups("EVENT PUSH", "HEAD_REF ."), headRef(""), 0},
		{"a ref that is not there, excluded", groups("EVENT PUSH", "!HEAD_REF ."), headRef(""), 1},

		{"the branch that a pull request asks", groups("EVENT PULL_REQUEST_CREATED", "BASE_REF ^refs/heads/main$"), pull, 1},
		{"its own branch is not that", groups("EVENT PULL_REQUEST_CREATED", "BASE_REF topic"), pull, 0},
		{"a push asks no branch", groups("EVENT PUSH", "BASE_REF main"), push, 0},
		{"an excluded base", groups("EVENT PULL_REQUEST_CREATED", "!BASE_REF main"), pull, 0},
		{"a message", groups("EVENT PUSH", "COMMIT_MESSAGE ^Fix"), push, 1},
		{"a later line of a message", groups("EVENT PUSH", `COMMIT_MESSAGE \[skip ci\]`), push, 1},
		{"an excluded message", groups("EVENT PUSH", `!COMMIT_MESSAGE \[skip ci\]`), push, 0},
		{"a tag's name", groups("EVENT RELEASED", `TAG_NAME ^v1\.`), release, 1},
		{"another tag's name", groups("EVENT RELEASED", "TAG_NAME ^v2"), release, 0},
		{"an excluded tag's name", groups("EVENT RELEASED", "!TAG_NAME ^v1"), release, 0},
		{"a tag's name has no refs/tags", groups("EVENT RELEASED", "TAG_NAME refs/"), release, 0},
		{"a release's name", groups("EVENT RELEASED", "RELEASE_NAME doors"), release, 1},
		{"an excluded release's name", groups("EVENT RELEASED", "!RELEASE_NAME doors"), release, 0},
		{"a repository's name", groups("EVENT PUSH", "REPOSITORY_NAME ^site$"), push, 1},
		{"a repository's name has no owner", groups("EVENT PUSH", "REPOSITORY_NAME acme"), push, 0},
		{"a repository in groups", groups("EVENT PUSH", "REPOSITORY_NAME ^web$"), with(push, func(e *forge.Event) { e.Repository = "a/b/web" }), 1},
		{"an excluded repository", groups("EVENT PUSH", "!REPOSITORY_NAME ^site$"), push, 0},
		{"an organization", groups("EVENT PUSH", "ORGANIZATION_NAME ^acme$"), push, 1},
		{"an excluded organization", groups("EVENT PUSH", "!ORGANIZATION_NAME ^acme$"), push, 0},
		{"a person's repository", groups("EVENT RELEASED", "ORGANIZATION_NAME ."), release, 0},
		{"a workflow", groups("EVENT WORKFLOW_JOB_QUEUED", "WORKFLOW_NAME ^ci$"), forge.Event{Type: forge.WorkflowJobQueued, Workflow: "ci"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := filtergroup.Match(t.Context(), c.groups, "", c.event, noFiles(t))
			if err != nil {
				t.Fatal(err)
			}
			check(t, got, len(c.groups))
			if got.Group != c.want {
				t.Errorf("Match(%+v) = %+v, want group %d", c.event, got, c.want)
			}
		})
	}
}

// check fails the test unless a verdict agrees with itself.
func check(t *testing.T, v filtergroup.Verdict, n int) {
	t.Helper()
	if len(v.Groups) != n {
		t.Fatalf("%d groups, and %d reasons: %+v", n, len(v.Groups), v)
	}
	if v.Reason == "" || strings.ContainsAny(v.Reason, "\n\x00") {
		t.Errorf("the reason is %q", v.Reason)
	}
	if v.Matched != (v.Group > 0 || n == 0 && v.Matched) || v.Group > 0 && v.Groups[v.Group-1] != "" {
		t.Errorf("contradicts itself: %+v", v)
	}
	for i, why := range v.Groups {
		if why == "" && !v.Matched {
			t.Errorf("no group matches, but group %d does: %+v", i+1, v)
		}
		if strings.ContainsAny(why, "\n\x00") || len(why) > 1000 {
			t.Errorf("the reason of group %d is %q", i+1, why)
		}
	}
}

// Ids are numbers, and whoever makes accounts until one has the wanted number
// in it must get nowhere: by a longer one that starts with it, ends with it or
// has it inside.
func TestMatch_Actor(t *testing.T) {
	t.Parallel()
	const trusted = "755743"
	longer := []string{trusted + "0", "1" + trusted, "22" + trusted + "33", trusted + trusted, trusted + "\n", "\n" + trusted, trusted + "\n1", " " + trusted, trusted + "|", "75574", "55743"}
	for _, c := range []struct {
		pattern  string
		included []string // and no other
		excluded []string // at least
	}{
		{"755743", []string{trusted}, []string{trusted, "1755743", "7557430", "2275574333"}},
		{"^755743$", []string{trusted}, []string{trusted}},
		{"755743|4567", []string{trusted, "4567"}, []string{trusted, "4567", "14567", "45678"}},
		{"4567|755743", []string{trusted, "4567"}, []string{trusted, "4567", "14567", "7557430"}},
		{"^755743$|^4567$", []string{trusted, "4567"}, []string{trusted, "4567"}},
		{"^755743|4567$", []string{trusted, "4567"}, []string{trusted, "7557431", "14567"}},
		{"755743$|4567", []string{trusted, "4567"}, []string{"1755743"}},
		{"7557(43)?", []string{trusted, "7557"}, []string{"75574"}},
		{"7557|755743", []string{trusted, "7557"}, []string{trusted}},
		{"755743??", []string{trusted, "75574"}, []string{trusted}},
		{"(?m)^755743$", []string{trusted}, []string{trusted + "\n1"}},
		{"(?m:^755743$)", []string{trusted}, []string{trusted + "\n1"}},
		{`\Q755743`, []string{trusted}, []string{"1755743"}},
		{`\A755743\z`, []string{trusted}, []string{trusted}},
		{`\b755743\b`, []string{trusted}, []string{" 755743", "755743|"}},
		{"(755743)", []string{trusted}, []string{"1755743"}},
		{"[0-9]{6}", []string{trusted, "123456"}, []string{"1234567"}},
		{"557058:[0-9a-f-]+", []string{"557058:c0ffee-1"}, []string{"x557058:c0"}},
		{"", []string{}, []string{trusted, "1"}},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			t.Parallel()
			for _, id := range slices.Concat(longer, []string{trusted, "4567", "14567", "45678", "7557", "75574", "123456", "1234567", "557058:c0ffee-1", "x557058:c0ffee-1"}) {
				e := with(push, func(e *forge.Event) { e.Actor.ID = id })
				v, err := filtergroup.Match(t.Context(), groups("EVENT PUSH", "ACTOR_ACCOUNT_ID "+c.pattern), "", e, noFiles(t))
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Contains(c.included, id)
				if v.Matched != want {
					t.Errorf("%q includes account %q: %t, want %t", c.pattern, id, v.Matched, want)
				}
			}
			for _, id := range slices.Concat(c.included, c.excluded) {
				e := with(push, func(e *forge.Event) { e.Actor.ID = id })
				v, err := filtergroup.Match(t.Context(), groups("EVENT PUSH", "!ACTOR_ACCOUNT_ID "+c.pattern), "", e, noFiles(t))
				if err != nil || v.Matched {
					t.Errorf("%q excludes account %q: %t, %v", c.pattern, id, !v.Matched, err)
				}
			}
		})
	}
}

// Who is not known is neither included nor surely not excluded. A login is
// nobody's id, since it can be taken by another.
func TestMatch_UnknownActor(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"ACTOR_ACCOUNT_ID .*", "ACTOR_ACCOUNT_ID ^$", "ACTOR_ACCOUNT_ID ada", "!ACTOR_ACCOUNT_ID 1", "!ACTOR_ACCOUNT_ID .+"} {
		e := with(push, func(e *forge.Event) { e.Actor = forge.Person{Login: "ada"} })
		v, err := filtergroup.Match(t.Context(), groups("EVENT PUSH", line), "", e, noFiles(t))
		if err != nil || v.Matched || !strings.Contains(v.Groups[0], "not known") {
			t.Errorf("%s: %+v, %v", line, v, err)
		}
	}
}

func TestMatch_Files(t *testing.T) {
	t.Parallel()
	down := errors.New("the provider is down")
	for _, c := range []struct {
		name   string
		groups [][]api.WebhookFilter
		paths  []string
		cut    bool
		err    error
		asked  int
		want   int
		why    map[int]string // of some groups, from 1
	}{
		{name: "one of the paths", groups: groups("EVENT PUSH", `FILE_PATH ^docs/`), paths: []string{"main.go", "docs/a.md"}, asked: 1, want: 1},
		{name: "none of the paths", groups: groups("EVENT PUSH", `FILE_PATH ^docs/`), paths: []string{"main.go", "src/docs/a.md"}, asked: 1, why: map[int]string{1: "none of the 2 changed files"}},
		{name: "an excluded path beside others", groups: groups("EVENT PUSH", `!FILE_PATH ^docs/`), paths: []string{"main.go", "docs/a.md"}, asked: 1, why: map[int]string{1: `excludes "docs/a.md"`}},
		{name: "no excluded path", groups: groups("EVENT PUSH", `!FILE_PATH ^docs/`), paths: []string{"main.go"}, asked: 1, want: 1},
		{name: "two filters by two files", groups: groups("EVENT PUSH", `FILE_PATH \.go$`, `FILE_PATH \.md$`), paths: []string{"a.go", "b.md"}, asked: 1, want: 1},
		{name: "one filter of two", groups: groups("EVENT PUSH", `FILE_PATH \.go$`, `FILE_PATH \.md$`), paths: []string{"a.go"}, asked: 1},
		{name: "not the one path", groups: groups("EVENT PUSH", `FILE_PATH ^docs/`), paths: []string{"main.go"}, asked: 1, why: map[int]string{1: "does not match the one changed file"}},
		{name: "nothing was changed", groups: groups("EVENT PUSH", `FILE_PATH .`), asked: 1, why: map[int]string{1: "none of the 0 changed files"}},
		{name: "nothing was changed, excluded", groups: groups("EVENT PUSH", `!FILE_PATH .`), asked: 1, want: 1},
		{name: "a cut list without the path", groups: groups("EVENT PUSH", `FILE_PATH ^docs/`), paths: []string{"main.go"}, cut: true, asked: 1, want: 1},
		{name: "a cut list without an excluded path", groups: groups("EVENT PUSH", `!FILE_PATH ^docs/`), paths: []string{"main.go"}, cut: true, asked: 1},
		{name: "a cut list with an excluded path", groups: groups("EVENT PUSH", `!FILE_PATH ^docs/`), paths: []string{"docs/x"}, cut: true, asked: 1},
		{name: "a path with awkward characters", groups: groups("EVENT PUSH", `FILE_PATH ^a b/"ü"`), paths: []string{"a b/\"ü\"\n\x00"}, asked: 1, want: 1},
		{name: "such a path in a reason", groups: groups("EVENT PUSH", `!FILE_PATH ^a`), paths: []string{"a\n\x00\xff" + strings.Repeat("x", 5000)}, asked: 1},

		{name: "asked once for several groups", groups: groups("EVENT PUSH", "FILE_PATH a", "FILE_PATH b", "", "EVENT PUSH", "FILE_PATH c", "", "EVENT PUSH", "FILE_PATH d"), paths: []string{"d"}, asked: 1, want: 3},
		{name: "not asked where another filter fails", groups: groups("FILE_PATH a", "EVENT RELEASED", "", "EVENT PUSH", "FILE_PATH a", "HEAD_REF other")},
		{name: "not asked after a group that matches", groups: groups("EVENT PUSH", "", "EVENT PUSH", "FILE_PATH a"), err: down, want: 1, why: map[int]string{2: "filter group 1 matches"}},
		{name: "not asked before a group that matches", groups: groups("EVENT PUSH", "FILE_PATH a", "", "EVENT PUSH"), err: down, want: 2, why: map[int]string{1: "filter group 2 matches"}},
		{name: "no answer", groups: groups("EVENT RELEASED", "", "EVENT PUSH", "FILE_PATH a"), err: down, asked: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			v, err := filtergroup.Match(t.Context(), c.groups, "", push, func(context.Context) ([]string, bool, error) {
				asked++
				return c.paths, !c.cut, c.err
			})
			if asked != c.asked {
				t.Errorf("the files were asked for %d times, want %d", asked, c.asked)
			}
			if c.err != nil && c.asked > 0 {
				if !errors.Is(err, c.err) || v.Matched {
					t.Errorf("Match = %+v, %v, want %v", v, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, len(c.groups))
			if v.Group != c.want {
				t.Errorf("Match(%q) = %+v, want group %d", c.paths, v, c.want)
			}
			for i, want := range c.why {
				if !strings.Contains(v.Groups[i-1], want) {
					t.Errorf("group %d: %q, want %q", i, v.Groups[i-1], want)
				}
			}
		})
	}
}

func TestMatch_WithoutGroups(t *testing.T) {
	t.Parallel()
	of := func(kind forge.EventType) forge.Event { return with(pull, func(e *forge.Event) { e.Type = kind }) }
	for _, c := range []struct {
		name, branch string
		event        forge.Event
		want         bool
	}{
		{"a push", "", push, true},
		{"a pull request", "", pull, true},
		{"an updated one", "", of(forge.PullUpdated), true},
		{"a reopened one", "", of(forge.PullReopened), true},
		{"a closed one", "", of(forge.PullClosed), false},
		{"a merged one", "", of(forge.PullMerged), false},
		{"a release", "", release, false},
		{"a comment", "", of(forge.Comment), false},
		{"nothing of interest", "", forge.Event{}, false},
		{"a branch", "main", push, true},
		{"the pattern is for the branch's name", "^main$", push, true},
		{"not for the ref", "refs/heads", push, false},
		{"the branch of a pull request", "^topic$", pull, true},
		{"not the one that it asks", "^main$", pull, false},
		{"the pattern is not anchored", "main", with(push, func(e *forge.Event) { e.HeadRef = "refs/heads/maintenance" }), true},
		{"a tag is no branch", ".*", with(push, func(e *forge.Event) { e.HeadRef = "refs/tags/main" }), false},
		{"no ref", ".*", with(push, func(e *forge.Event) { e.HeadRef = "" }), false},
		{"a tag without a branch filter", "", with(push, func(e *forge.Event) { e.HeadRef = "refs/tags/main" }), true},
		{"a branch filter starts no other events", ".*", release, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v, err := filtergroup.Match(t.Context(), nil, c.branch, c.event, noFiles(t))
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, 0)
			if v.Matched != c.want || v.Group != 0 {
				t.Errorf("Match = %+v, want %t", v, c.want)
			}
		})
	}
	// A branch filter is for webhooks without groups.
	if v, err := filtergroup.Match(t.Context(), groups("EVENT PUSH"), "(", push, noFiles(t)); err != nil || !v.Matched {
		t.Errorf("Match with groups and a branch filter = %+v, %v", v, err)
	}
}

// What Check refuses is an error of Match and no match.
func TestMatch_Unchecked(t *testing.T) {
	t.Parallel()
	files := func(context.Context) ([]string, bool, error) { return []string{"a"}, true, nil }
	for _, line := range []string{"HEAD_REF (", "!HEAD_REF (", `HEAD_REF (?=a)`, "ACTOR_ACCOUNT_ID (", "ACTOR_ACCOUNT_ID 1)|(?:755743", "!ACTOR_ACCOUNT_ID [", "FILE_PATH [", "!FILE_PATH a**"} {
		v, err := filtergroup.Match(t.Context(), groups("EVENT PUSH", line), "", push, files)
		if err == nil || v.Matched {
			t.Errorf("%s: %+v, %v", line, v, err)
		}
	}
	if v, err := filtergroup.Match(t.Context(), nil, "(", push, files); err == nil || v.Matched {
		t.Errorf("branch filter: %+v, %v", v, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	repeat := func(n int, lines ...string) (out []string) {
		for range n {
			out = append(out, lines...)
		}
		return out
	}
	for _, c := range []struct {
		name   string
		groups [][]api.WebhookFilter
		kind   forge.OwnerKind
		want   string // part of the error, "" is none
	}{
		{name: "no groups"},
		{name: "an event", groups: groups("EVENT PUSH")},
		{name: "a list with blanks", groups: groups("EVENT PUSH , PULL_REQUEST_MERGED,")},
		{name: "every type of a repository", groups: groups("EVENT PUSH", "ACTOR_ACCOUNT_ID 1", "HEAD_REF a", "!BASE_REF a", "FILE_PATH a", "COMMIT_MESSAGE a", "TAG_NAME a", "!RELEASE_NAME a")},
		{name: "every event", groups: groups("EVENT PUSH,PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED,PULL_REQUEST_REOPENED,PULL_REQUEST_MERGED,PULL_REQUEST_CLOSED,RELEASED,PRERELEASED")},
		{name: "as many as are allowed", groups: groups(slices.Concat([]string{"EVENT PUSH"}, repeat(filtergroup.MaxGroups-1, "HEAD_REF a"), repeat(filtergroup.MaxGroups-1, "", "EVENT PUSH"))...)},
		{name: "a pattern as long as is allowed", groups: groups("EVENT PUSH", "HEAD_REF "+strings.Repeat("a", filtergroup.MaxPattern))},
		{name: "a quote that nothing ends", groups: groups("EVENT PUSH", `ACTOR_ACCOUNT_ID \Q1`)},

		{name: "too many groups", groups: groups(repeat(filtergroup.MaxGroups+1, "EVENT PUSH", "")...), want: "102 filter groups; 100 are allowed"},
		{name: "too many filters", groups: groups(repeat(filtergroup.MaxGroups+1, "EVENT PUSH")...), want: "filter group 1 has 101 filters"},
		{name: "an empty group", groups: groups("EVENT PUSH", "", "", "EVENT PUSH"), want: "filter group 2 is empty"},
		{name: "no event", groups: groups("HEAD_REF a"), want: "filter group 1 has no filter of type EVENT"},
		{name: "only an excluded event", groups: groups("EVENT PUSH", "", "!EVENT PUSH"), want: "filter group 2 has no filter of type EVENT"},
		{name: "an unknown event", groups: groups("EVENT PUSH", "", "EVENT PUSH, POKE"), want: `filter 1 of filter group 2: EVENT "POKE" is not one of PUSH, `},
		{name: "an event in small letters", groups: groups("EVENT push"), want: `EVENT "push"`},
		{name: "a comment", groups: groups("EVENT COMMENT"), want: `EVENT "COMMENT"`},
		{name: "an event that is excluded again", groups: groups("EVENT PUSH", "", "EVENT PUSH", "!EVENT PUSH,RELEASED"), want: "the EVENT filters of filter group 2 leave no event"},
		{name: "an unknown excluded event", groups: groups("EVENT PUSH", "!EVENT POKE"), want: `EVENT "POKE"`},
		{name: "no event in the list", groups: groups("EVENT  , ,"), want: "EVENT names no event"},
		{name: "an event of runner builds", groups: groups("EVENT WORKFLOW_JOB_QUEUED"), want: "runner builds"},
		{name: "a workflow", groups: groups("EVENT PUSH", "WORKFLOW_NAME ci"), want: "runner builds"},
		{name: "an empty pattern", groups: groups("EVENT PUSH", "HEAD_REF"), want: "HEAD_REF needs a pattern"},
		{name: "no pattern", groups: [][]api.WebhookFilter{{{Type: api.WebhookFilterTypeEVENT}}}, want: "EVENT needs a pattern"},
		{name: "a long pattern", groups: groups("EVENT PUSH", "HEAD_REF "+strings.Repeat("a", filtergroup.MaxPattern+1)), want: "has 1025 bytes; 1024 are allowed"},
		{name: "a long list", groups: groups("EVENT " + strings.Repeat("PUSH,", 300)), want: "has 1500 bytes"},
		{name: "not an expression", groups: groups("EVENT PUSH", "HEAD_REF a("), want: "filter 2 of filter group 1: the pattern of HEAD_REF is not an RE2 regular expression"},
		{name: "looking ahead", groups: groups("EVENT PUSH", "HEAD_REF ^(?!refs/heads/main)"), want: "not an RE2"},
		{name: "a reference back", groups: groups("EVENT PUSH", `COMMIT_MESSAGE (a)\1`), want: "not an RE2"},
		{name: "an actor that closes what was not opened", groups: groups("EVENT PUSH", "ACTOR_ACCOUNT_ID 1)|(?:2"), want: "not an RE2"},
		{name: "not UTF-8", groups: groups("EVENT PUSH", "HEAD_REF \xff"), want: "not an RE2"},
		{name: "more repeats than RE2 has", groups: groups("EVENT PUSH", "HEAD_REF (a{1000}){1000}"), want: "not an RE2"},
		{name: "small and huge", groups: groups("EVENT PUSH", "HEAD_REF "+strings.Repeat(`\pL{1000}`, 100)), want: "the pattern of HEAD_REF repeats too much"},
		{name: "small and huge, of who acted", groups: groups("EVENT PUSH", "ACTOR_ACCOUNT_ID "+strings.Repeat(`.{1000}`, 100)), want: "repeats too much"},

		{name: "a repository of one", groups: groups("EVENT PUSH", "REPOSITORY_NAME a"), want: "REPOSITORY_NAME is for webhooks of an organization"},
		{name: "a repository of an organization", groups: groups("EVENT PUSH", "REPOSITORY_NAME a"), kind: forge.OfOrganization},
		{name: "a repository of a group", groups: groups("EVENT PUSH", "REPOSITORY_NAME a"), kind: forge.OfGroup},
		{name: "a repository of an enterprise", groups: groups("EVENT PUSH", "REPOSITORY_NAME a"), kind: forge.OfEnterprise},
		{name: "an organization of an enterprise", groups: groups("EVENT PUSH", "ORGANIZATION_NAME a"), kind: forge.OfEnterprise},
		{name: "an organization of one", groups: groups("EVENT PUSH", "ORGANIZATION_NAME a"), kind: forge.OfOrganization, want: "GITHUB_GLOBAL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kind := c.kind
			if kind == "" {
				kind = forge.OfRepository
			}
			err := filtergroup.Check(c.groups, known, kind)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check: %v, want %q", err, c.want)
			}
		})
	}
	if err := filtergroup.Check(groups("EVENT push"), known, forge.OfRepository); err == nil || strings.Contains(err.Error(), "WORKFLOW") {
		t.Errorf("Check proposes an event that it refuses: %v", err)
	}
	if err := filtergroup.Check(groups("EVENT PULL_REQUEST_REOPENED"), []forge.EventType{forge.Push}, forge.OfRepository); err == nil || !strings.Contains(err.Error(), "those are PUSH") {
		t.Errorf("Check of an event that the provider does not tell of: %v", err)
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		groups [][]api.WebhookFilter
		want   []forge.EventType
	}{
		{nil, filtergroup.Default},
		{groups("EVENT RELEASED , PUSH", "", "EVENT PUSH,PULL_REQUEST_MERGED"), []forge.EventType{forge.Push, forge.Released, forge.PullMerged}},
		{groups("EVENT RELEASED,PUSH", "!EVENT RELEASED"), []forge.EventType{forge.Push}},
		{groups("EVENT RELEASED", "EVENT PUSH"), nil},
	} {
		if got := filtergroup.All(c.groups); !slices.Equal(got, c.want) {
			t.Errorf("All(%v) = %v, want %v", c.groups, got, c.want)
		}
	}
}

func TestNeedsMessage(t *testing.T) {
	t.Parallel()
	if filtergroup.NeedsMessage(nil) || filtergroup.NeedsMessage(groups("EVENT PUSH", "FILE_PATH a")) {
		t.Error("a message is needed by none")
	}
	if !filtergroup.NeedsMessage(groups("EVENT PUSH", "", "EVENT PUSH", "!COMMIT_MESSAGE a")) {
		t.Error("a message is not needed by a filter of it")
	}
}

func TestWho(t *testing.T) {
	t.Parallel()
	policy := func(a api.PullRequestBuildCommentApproval) *api.PullRequestBuildPolicy {
		return &api.PullRequestBuildPolicy{RequiresCommentApproval: a, ApproverRoles: []api.PullRequestBuildApproverRole{api.PullRequestBuildApproverRoleGITHUB_WRITE, api.PullRequestBuildApproverRoleGITHUB_ADMIN}}
	}
	type way struct {
		Group    int
		Strength filtergroup.Strength
	}
	for _, c := range []struct {
		name   string
		groups [][]api.WebhookFilter
		branch string
		policy *api.PullRequestBuildPolicy
		want   []way
		texts  []string // a part of each way's
	}{
		{"nothing is set", nil, "", nil, []way{{0, filtergroup.Anybody}, {0, filtergroup.Writer}}, []string{"ANYBODY", "by a push"}},
		{"a branch", nil, "^main$", nil, []way{{0, filtergroup.Anybody}, {0, filtergroup.Writer}}, []string{`branches that match "^main$"`, `branches that match "^main$"`}},
		{"pushes", groups("EVENT PUSH"), "", nil, []way{{1, filtergroup.Writer}}, []string{"by a push"}},
		{"the weakest first, then by group", groups("EVENT PUSH", "", "EVENT PULL_REQUEST_CREATED", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID 1", "", "EVENT PUSH, PULL_REQUEST_UPDATED"), "", nil,
			[]way{{2, filtergroup.Anybody}, {4, filtergroup.Anybody}, {1, filtergroup.Writer}, {4, filtergroup.Writer}, {3, filtergroup.Named}}, []string{"", "", "", "", `whole id has to match "1"`}},
		{"an excluded actor names nobody", groups("EVENT PULL_REQUEST_CREATED", "!ACTOR_ACCOUNT_ID 1"), "", nil, []way{{1, filtergroup.Anybody}}, []string{"ANYBODY"}},
		{"named by a pull request", groups("EVENT PULL_REQUEST_CREATED", "ACTOR_ACCOUNT_ID 1|2"), "", nil, []way{{1, filtergroup.Named}}, []string{`"1|2"`}},
		{"whoever it is is not named", groups("EVENT PULL_REQUEST_CREATED", "ACTOR_ACCOUNT_ID .*", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID [0-9]+"), "", nil,
			[]way{{1, filtergroup.Anybody}, {2, filtergroup.Writer}}, []string{`ACTOR_ACCOUNT_ID matches ".*"`, `"[0-9]+"`}},
		{"any number of accounts is not named", groups("EVENT PUSH", "ACTOR_ACCOUNT_ID [0-9]{1,9}", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID 1.", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID 1+", "", "EVENT PUSH", `ACTOR_ACCOUNT_ID \d\d\d\d`), "", nil,
			[]way{{1, filtergroup.Writer}, {2, filtergroup.Writer}, {3, filtergroup.Writer}, {4, filtergroup.Writer}}, nil},
		{"a few are", groups("EVENT PUSH", "ACTOR_ACCOUNT_ID ^(?:583231|583232)$", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID 58323[1-4]", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID 1(23)?", "", "EVENT PUSH", "ACTOR_ACCOUNT_ID {06a1b2c3-0000}"), "", nil,
			[]way{{1, filtergroup.Named}, {2, filtergroup.Named}, {3, filtergroup.Named}, {4, filtergroup.Named}}, nil},
		{"one of two filters names", groups("EVENT PUSH", "ACTOR_ACCOUNT_ID .*", "ACTOR_ACCOUNT_ID 1", "ACTOR_ACCOUNT_ID [0-9]+"), "", nil, []way{{1, filtergroup.Named}}, []string{`whole id has to match "1"`}},
		{"a role that everybody has", groups("EVENT PULL_REQUEST_CREATED"), "",
			&api.PullRequestBuildPolicy{RequiresCommentApproval: api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS, ApproverRoles: []api.PullRequestBuildApproverRole{api.PullRequestBuildApproverRoleGITHUB_ADMIN, api.PullRequestBuildApproverRoleGITHUB_READ}},
			[]way{{1, filtergroup.Anybody}}, []string{"GITHUB_READ"}},
		{"a role that everybody has, of forks", groups("EVENT PULL_REQUEST_CREATED"), "",
			&api.PullRequestBuildPolicy{RequiresCommentApproval: api.PullRequestBuildCommentApprovalFORK_PULL_REQUESTS, ApproverRoles: []api.PullRequestBuildApproverRole{api.PullRequestBuildApproverRoleBITBUCKET_READ}},
			[]way{{1, filtergroup.Anybody}}, []string{"BITBUCKET_READ"}},
		{"merges and releases", groups("EVENT PULL_REQUEST_MERGED, RELEASED, PRERELEASED"), "", nil, []way{{1, filtergroup.Writer}, {1, filtergroup.Writer}, {1, filtergroup.Writer}}, []string{"by a merge", "(RELEASED)", "(PRERELEASED)"}},
		{"a closed one needs no right", groups("EVENT PULL_REQUEST_CLOSED"), "", nil, []way{{1, filtergroup.Anybody}}, []string{"PULL_REQUEST_CLOSED"}},
		{"every pull request needs an approval", groups("EVENT PUSH, PULL_REQUEST_CREATED"), "", policy(api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS),
			[]way{{1, filtergroup.Approved}, {1, filtergroup.Writer}, {1, filtergroup.Writer}}, []string{"one of GITHUB_WRITE, GITHUB_ADMIN", "by a push", "whoever has one of GITHUB_WRITE, GITHUB_ADMIN"}},
		{"those of forks need one", groups("EVENT PULL_REQUEST_CREATED"), "", policy(api.PullRequestBuildCommentApprovalFORK_PULL_REQUESTS),
			[]way{{1, filtergroup.Approved}, {1, filtergroup.Writer}}, []string{"can fork", "a branch of it"}},
		{"none needs one", groups("EVENT PULL_REQUEST_CREATED"), "", policy(api.PullRequestBuildCommentApprovalDISABLED), []way{{1, filtergroup.Anybody}}, []string{"no approval"}},
		{"other filters are told", groups("EVENT PUSH", "HEAD_REF ^refs/heads/main$", "!FILE_PATH docs"), "", nil, []way{{1, filtergroup.Writer}}, []string{`if HEAD_REF matches "^refs/heads/main$"`}},
		{"an excluded event is no way", groups("EVENT PUSH, PULL_REQUEST_CREATED", "!EVENT PULL_REQUEST_CREATED"), "", nil, []way{{1, filtergroup.Writer}}, []string{"push"}},
		{"no event is left", groups("EVENT PUSH", "!EVENT PUSH"), "", nil, []way{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := []way{}
			list := filtergroup.Who(c.groups, c.branch, c.policy)
			for _, w := range list {
				got = append(got, way{w.Group, w.Strength})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatalf("Who (-want +got):\n%s%+v", diff, list)
			}
			for i, want := range c.texts {
				if !strings.Contains(list[i].Text, want) {
					t.Errorf("way %d is %q, want %q", i, list[i].Text, want)
				}
			}
		})
	}
}

// A pattern that is not tied to both ends of a name lets in names that somebody
// else may have, and that is said.
func TestWho_Loose(t *testing.T) {
	t.Parallel()
	const anywhere, after, before = "anywhere in it", "without ^,", "without $,"
	for _, c := range []struct{ filter, want string }{
		{"REPOSITORY_NAME app", anywhere},
		{"REPOSITORY_NAME ^app", before},
		{"REPOSITORY_NAME app$", after},
		{"REPOSITORY_NAME ^app$", ""},
		{`REPOSITORY_NAME \Aapp\z`, ""},
		{"REPOSITORY_NAME ^(app|web)$", ""},
		{"REPOSITORY_NAME ^app$|^web$", ""},
		{"REPOSITORY_NAME ^app|web$", anywhere}, // as it is written by mistake
		{"REPOSITORY_NAME (^app|^web)", before},
		{"ORGANIZATION_NAME octo", anywhere},
		{"HEAD_REF ^refs/heads/main", before},
		{"HEAD_REF ^refs/heads/main$", ""},
		{"HEAD_REF main", anywhere},
		{"HEAD_REF ^refs/heads/release/.*", ""},
		{"HEAD_REF .*/main$", ""},
		{"HEAD_REF .+", ""},
		{"HEAD_REF ^refs/heads/v[0-9]+", before},
		{"BASE_REF main", anywhere},
		{"TAG_NAME ^v", before},
		{"RELEASE_NAME (?m)^a$", anywhere}, // of any line
		{"FILE_PATH src", ""},
		{"COMMIT_MESSAGE build", ""},
		{"!HEAD_REF main", ""}, // lets less in
	} {
		list := filtergroup.Who(groups("EVENT PUSH", c.filter), "", nil)
		if len(list) != 1 {
			t.Fatalf("%s: %+v", c.filter, list)
		}
		if got := list[0].Text; c.want == "" && strings.Contains(got, "longer names") || !strings.Contains(got, c.want) {
			t.Errorf("%s is %q, want %q", c.filter, got, c.want)
		}
	}
	if got := filtergroup.Who(nil, "main", nil)[0].Text; !strings.Contains(got, anywhere) {
		t.Errorf("a branch filter is %q", got)
	}
	if got := filtergroup.Who(nil, "^main$", nil)[0].Text; strings.Contains(got, "longer names") {
		t.Errorf("a branch filter is %q", got)
	}
}

// Whatever the groups and the event are: Match does not panic and agrees with
// itself; groups that Check lets pass do not make it fail; and nobody is both
// included and not excluded by one pattern of accounts that may not start
// builds.
func FuzzMatch(f *testing.F) {
	kinds := []api.WebhookFilterType{
		api.WebhookFilterTypeACTOR_ACCOUNT_ID, api.WebhookFilterTypeHEAD_REF, api.WebhookFilterTypeFILE_PATH, api.WebhookFilterTypeEVENT, api.WebhookFilterTypeBASE_REF,
		api.WebhookFilterTypeCOMMIT_MESSAGE, api.WebhookFilterTypeTAG_NAME, api.WebhookFilterTypeRELEASE_NAME, api.WebhookFilterTypeREPOSITORY_NAME,
		api.WebhookFilterTypeORGANIZATION_NAME, api.WebhookFilterTypeWORKFLOW_NAME,
	}
	f.Add("PUSH, RELEASED", uint8(1), "main", "755743", "refs/heads/main", "a.go", false)
	f.Add("PUSH", uint8(0), "755743|1", "1755743", "", "", true)
	f.Add("", uint8(2), `\Q(`, "", "refs/heads/\xff", "a\n", true)
	f.Add("PULL_REQUEST_CREATED", uint8(0), "(?m)^1$", "1\n2", "(", ")", false)
	f.Fuzz(func(t *testing.T, events string, kindOf uint8, pattern, id, ref, path string, exclude bool) {
		kind := kinds[int(kindOf)%len(kinds)]
		e := forge.Event{Type: forge.Push, Actor: forge.Person{ID: id}, HeadRef: ref, BaseRef: ref, Message: ref, Tag: ref, Release: path, Repository: path, Organization: path}
		files := func(context.Context) ([]string, bool, error) { return []string{path}, exclude, nil }
		list := [][]api.WebhookFilter{
			{{Type: "EVENT", Pattern: &events}, {Type: kind, Pattern: &pattern, ExcludeMatchedPattern: &exclude}},
			{{Type: kind, Pattern: &pattern}, {Type: "EVENT", Pattern: &events}},
		}
		checked := filtergroup.Check(list, known, forge.OfEnterprise)
		filtergroup.Who(list, pattern, nil)
		filtergroup.All(list)
		if checked == nil || len(pattern) < 200 {
			v, err := filtergroup.Match(t.Context(), list, "", e, files)
			if checked == nil && err != nil {
				t.Errorf("Check lets pass what Match refuses: %v", err)
			}
			if err == nil {
				check(t, v, len(list))
			}
		}
		if len(pattern) > 200 {
			return
		}
		actor := func(exclude bool) bool {
			v, err := filtergroup.Match(t.Context(), [][]api.WebhookFilter{{
				{Type: "EVENT", Pattern: new("PUSH")}, {Type: "ACTOR_ACCOUNT_ID", Pattern: &pattern, ExcludeMatchedPattern: &exclude},
			}}, "", e, nil)
			return err == nil && v.Matched
		}
		if actor(false) && actor(true) {
			t.Errorf("%q both includes account %q and does not exclude it", pattern, id)
		}
		if _, err := filtergroup.Match(t.Context(), nil, pattern, e, nil); err != nil && checked == nil && kind != api.WebhookFilterTypeEVENT {
			t.Errorf("branch filter %q: %v", pattern, err)
		}
	})
}

// BenchmarkMatch applies 20 groups of 5 filters of which the last matches.
func BenchmarkMatch(b *testing.B) {
	var lines []string
	for i := range 20 {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, "EVENT PUSH, PULL_REQUEST_CREATED", "!ACTOR_ACCOUNT_ID ^(1234|5678)$", "HEAD_REF ^refs/heads/(main|release/.*)$",
			`!COMMIT_MESSAGE \[no build\]`, "FILE_PATH ^services/"+strconv.Itoa(i)+"/")
	}
	list := groups(lines...)
	var paths []string
	for i := range 100 {
		paths = append(paths, fmt.Sprintf("services/19/part%d/main.go", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		v, err := filtergroup.Match(b.Context(), list, "", push, func(context.Context) ([]string, bool, error) { return paths, true, nil })
		if err != nil || v.Group != 20 {
			b.Fatalf("%+v, %v", v, err)
		}
	}
}
