// Package filtergroup decides whether an event at a provider starts a build of
// a project: the filter groups of its webhook, as the service has them. It is
// pure but for the list of changed files, which it asks for only when a filter
// needs it.
//
// Check says what is wrong with groups before they are stored. Match applies
// them to an event, and says of each group why it does not match.
//
// A build starts if any group matches; a group matches if each of its filters
// does. Patterns are RE2 and unanchored, as at the service: main also matches
// refs/heads/maintenance. The one exception is who acted. An ACTOR_ACCOUNT_ID
// pattern has to match the whole id to include it, and any part of it to
// exclude it: ids are numbers that anybody can get a longer one of, and a group
// that lets 755743 start builds is not meant for 1755743.
package filtergroup

import (
	"context"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// The limits of filter groups. The service documents none for their number.
const (
	MaxGroups  = 100  // of a webhook, and filters of a group
	MaxPattern = 1024 // bytes of a pattern
	// maxProgram is how many instructions a pattern may compile to. A few bytes
	// such as .{1000} make a thousand, and each is made anew for each event.
	maxProgram = 5000
)

// types are the types of events that an EVENT filter may name.
var types = []forge.EventType{
	forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed,
	forge.Released, forge.Prereleased, forge.WorkflowJobQueued,
}

// Default are the types of events that start a build where there is no filter
// group.
var Default = []forge.EventType{forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened}

// Events reads the pattern of an EVENT filter, names with commas between.
func Events(pattern string) []forge.EventType {
	var list []forge.EventType
	for name := range strings.SplitSeq(pattern, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, forge.EventType(name))
		}
	}
	return list
}

// All are the types of events that groups can match, each once. Without groups
// they are Default.
func All(groups [][]api.WebhookFilter) []forge.EventType {
	if len(groups) == 0 {
		return Default
	}
	var list []forge.EventType
	for _, g := range groups {
		for _, e := range eventsOf(g) {
			if !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
	}
	return list
}

// eventsOf are the types of events that pass the EVENT filters of a group.
func eventsOf(g []api.WebhookFilter) []forge.EventType {
	list := types
	for _, f := range g {
		if f.Type != api.WebhookFilterTypeEVENT {
			continue
		}
		names := Events(text(f.Pattern))
		var left []forge.EventType
		for _, e := range list {
			if slices.Contains(names, e) != excludes(f) {
				left = append(left, e)
			}
		}
		list = left
	}
	return list
}

// Check finds the first fault of groups for a provider that tells of the
// events. kind is what the webhook watches.
func Check(groups [][]api.WebhookFilter, known []forge.EventType, kind forge.OwnerKind) error {
	if len(groups) > MaxGroups {
		return fmt.Errorf("there are %d filter groups; %d are allowed", len(groups), MaxGroups)
	}
	for i, g := range groups {
		if len(g) == 0 {
			return fmt.Errorf("filter group %d is empty: it needs a filter of type EVENT", i+1)
		}
		if len(g) > MaxGroups {
			return fmt.Errorf("filter group %d has %d filters; %d are allowed", i+1, len(g), MaxGroups)
		}
		for j, f := range g {
			if err := checkFilter(f, known, kind); err != nil {
				return fmt.Errorf("filter %d of filter group %d: %w", j+1, i+1, err)
			}
		}
		if !slices.ContainsFunc(g, func(f api.WebhookFilter) bool { return f.Type == api.WebhookFilterTypeEVENT && !excludes(f) }) {
			return fmt.Errorf("filter group %d has no filter of type EVENT: add one, such as PUSH", i+1)
		}
		if len(eventsOf(g)) == 0 {
			return fmt.Errorf("the EVENT filters of filter group %d leave no event: it would never match", i+1)
		}
	}
	return nil
}

func checkFilter(f api.WebhookFilter, known []forge.EventType, kind forge.OwnerKind) error {
	pattern := text(f.Pattern)
	if pattern == "" {
		return fmt.Errorf("%s needs a pattern", f.Type)
	}
	switch f.Type {
	case api.WebhookFilterTypeEVENT:
		if err := short(pattern); err != nil {
			return fmt.Errorf("the pattern of EVENT %w", err)
		}
		names := Events(pattern)
		if len(names) == 0 {
			return fmt.Errorf("EVENT names no event")
		}
		for _, e := range names {
			switch {
			case e == forge.WorkflowJobQueued:
				return fmt.Errorf("EVENT WORKFLOW_JOB_QUEUED starts runner builds, which Corbel does not have yet")
			case !slices.Contains(types, e):
				return fmt.Errorf("EVENT %q is not one of %s", cut(string(e)), join(known))
			case !slices.Contains(known, e):
				return fmt.Errorf("EVENT %s is not one that this source provider tells of; those are %s", e, join(known))
			}
		}
		return nil
	case api.WebhookFilterTypeWORKFLOW_NAME:
		return fmt.Errorf("WORKFLOW_NAME is for runner builds, which Corbel does not have yet")
	case api.WebhookFilterTypeREPOSITORY_NAME:
		if kind == forge.OfRepository {
			return fmt.Errorf("REPOSITORY_NAME is for webhooks of an organization, an enterprise or a group: this one watches one repository")
		}
	case api.WebhookFilterTypeORGANIZATION_NAME:
		if kind != forge.OfEnterprise {
			return fmt.Errorf("ORGANIZATION_NAME is for webhooks with the scope GITHUB_GLOBAL")
		}
	}
	if err := CheckPattern(pattern); err != nil {
		return fmt.Errorf("the pattern of %s %w", f.Type, err)
	}
	return nil
}

// CheckPattern says what is wrong with an expression, that of a filter or of a
// webhook's branchFilter, so that its name can stand before it.
func CheckPattern(pattern string) error {
	if err := short(pattern); err != nil {
		return err
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Errorf("is not an RE2 regular expression: %w", err)
	}
	if p, err := syntax.Compile(re.Simplify()); err != nil || len(p.Inst) > maxProgram {
		return fmt.Errorf("repeats too much: use *, + or a smaller number in {}")
	}
	return nil
}

func short(pattern string) error {
	if len(pattern) > MaxPattern {
		return fmt.Errorf("has %d bytes; %d are allowed", len(pattern), MaxPattern)
	}
	return nil
}

// matches applies a filter's expression, whatever the filter does with it. Who
// acted is included by the whole id only.
func matches(f api.WebhookFilter, value string) (bool, error) {
	re, err := regexp.Compile(text(f.Pattern))
	if err != nil || f.Type != api.WebhookFilterTypeACTOR_ACCOUNT_ID || excludes(f) {
		return err == nil && re.MatchString(value), err
	}
	re.Longest() // if the whole id matches at all, this is the match that is found
	at := re.FindStringIndex(value)
	return at != nil && at[0] == 0 && at[1] == len(value), nil
}

// Files lists the paths that an event changed. complete is false where the
// provider cuts the list.
type Files func(ctx context.Context) (paths []string, complete bool, err error)

// A Verdict is what groups say of an event.
type Verdict struct {
	Matched bool
	Group   int      // which one, from 1; 0 if there are no groups or none matches
	Reason  string   // for people
	Groups  []string // why each group does not match; "" for one that does
}

// Match applies the groups to an event, and branch, the pattern of a webhook's
// branchFilter, if there are none. The error is one of files, or of a pattern
// that Check would not have let pass.
func Match(ctx context.Context, groups [][]api.WebhookFilter, branch string, e forge.Event, files Files) (Verdict, error) {
	if len(groups) == 0 {
		return matchDefault(branch, e)
	}
	v := Verdict{Reason: "no filter group matches", Groups: make([]string, len(groups))}
	passed := func(i int) {
		if !v.Matched {
			v.Matched, v.Group, v.Reason = true, i+1, fmt.Sprintf("filter group %d matches", i+1)
		}
	}
	// To ask for files may cost a call, and fail. So what needs none comes first.
	for i, g := range groups {
		why, err := matchGroup(g, e)
		if err != nil {
			return Verdict{}, fmt.Errorf("filter group %d: %w", i+1, err)
		}
		if v.Groups[i] = why; why == "" && !has(g, api.WebhookFilterTypeFILE_PATH) {
			passed(i)
		}
	}
	var paths []string
	var complete, asked bool
	for i, g := range groups {
		if v.Groups[i] != "" || !has(g, api.WebhookFilterTypeFILE_PATH) {
			continue
		}
		if v.Matched {
			v.Groups[i] = fmt.Sprintf("FILE_PATH was not looked at, since filter group %d matches", v.Group)
			continue
		}
		var err error
		if !asked {
			if paths, complete, err = files(ctx); err != nil {
				return Verdict{}, fmt.Errorf("filter group %d: find the changed files: %w", i+1, err)
			}
			asked = true
		}
		if v.Groups[i], err = matchFiles(g, paths, complete); err != nil {
			return Verdict{}, fmt.Errorf("filter group %d: %w", i+1, err)
		}
		if v.Groups[i] == "" {
			passed(i)
		}
	}
	return v, nil
}

func matchDefault(branch string, e forge.Event) (Verdict, error) {
	if !slices.Contains(Default, e.Type) {
		return Verdict{Reason: fmt.Sprintf("without filter groups %s starts no build; %s do", e.Type, join(Default))}, nil
	}
	if branch == "" {
		return Verdict{Matched: true, Reason: "the webhook has no filter"}, nil
	}
	re, err := regexp.Compile(branch)
	if err != nil {
		return Verdict{}, fmt.Errorf("branch filter: %w", err)
	}
	// The pattern is for the branch's name: of the source of a pull request.
	name, isBranch := strings.CutPrefix(e.HeadRef, "refs/heads/")
	if !isBranch || !re.MatchString(name) {
		return Verdict{Reason: fmt.Sprintf("%s does not match the branch filter", show(e.HeadRef))}, nil
	}
	return Verdict{Matched: true, Reason: "the branch filter matches"}, nil
}

// matchGroup returns why the group does not match, "" if it does but for its
// FILE_PATH filters.
func matchGroup(g []api.WebhookFilter, e forge.Event) (string, error) {
	for _, f := range g {
		if f.Type == api.WebhookFilterTypeFILE_PATH {
			continue
		}
		if why, err := matchFilter(f, e); err != nil || why != "" {
			return why, err
		}
	}
	return "", nil
}

// matchFiles returns why the FILE_PATH filters of the group do not match.
func matchFiles(g []api.WebhookFilter, paths []string, complete bool) (string, error) {
	for _, f := range g {
		if f.Type != api.WebhookFilterTypeFILE_PATH {
			continue
		}
		re, err := regexp.Compile(text(f.Pattern))
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(paths, re.MatchString)
		switch {
		case excludes(f) && i >= 0:
			return fmt.Sprintf("FILE_PATH excludes %s", show(paths[i])), nil
		case excludes(f) && !complete: // else somebody could push what is excluded off the list
			return "FILE_PATH excludes files, and the provider cuts the list of what has changed", nil
		case !excludes(f) && i < 0 && complete: // a cut list proves nothing; a build too many is better than none
			if len(paths) == 1 {
				return "FILE_PATH does not match the one changed file", nil
			}
			return fmt.Sprintf("FILE_PATH matches none of the %d changed files", len(paths)), nil
		}
	}
	return "", nil
}

func matchFilter(f api.WebhookFilter, e forge.Event) (string, error) {
	if f.Type == api.WebhookFilterTypeEVENT {
		if slices.Contains(Events(text(f.Pattern)), e.Type) == excludes(f) {
			return fmt.Sprintf("EVENT does not include %s", e.Type), nil
		}
		return "", nil
	}
	value := map[api.WebhookFilterType]string{
		api.WebhookFilterTypeACTOR_ACCOUNT_ID:  e.Actor.ID,
		api.WebhookFilterTypeHEAD_REF:          e.HeadRef,
		api.WebhookFilterTypeBASE_REF:          e.BaseRef,
		api.WebhookFilterTypeCOMMIT_MESSAGE:    e.Message,
		api.WebhookFilterTypeTAG_NAME:          e.Tag,
		api.WebhookFilterTypeRELEASE_NAME:      e.Release,
		api.WebhookFilterTypeREPOSITORY_NAME:   repositoryName(e.Repository),
		api.WebhookFilterTypeORGANIZATION_NAME: e.Organization,
		api.WebhookFilterTypeWORKFLOW_NAME:     e.Workflow,
	}[f.Type]
	if f.Type == api.WebhookFilterTypeACTOR_ACCOUNT_ID && value == "" {
		return "ACTOR_ACCOUNT_ID: it is not known who acted", nil // neither included nor surely not excluded
	}
	if f.Type == api.WebhookFilterTypeCOMMIT_MESSAGE && e.MessageUnknown {
		return "COMMIT_MESSAGE: there is no credential to read the commit's message with", nil // likewise
	}
	switch matched, err := matches(f, value); {
	case err != nil:
		return "", err
	case matched && excludes(f):
		return fmt.Sprintf("%s excludes %s", f.Type, show(value)), nil
	case !matched && !excludes(f):
		return fmt.Sprintf("%s does not match %s", f.Type, show(value)), nil
	}
	return "", nil
}

// repositoryName is the last part of a repository's name.
func repositoryName(full string) string { return full[strings.LastIndex(full, "/")+1:] }

// NeedsMessage reports whether a filter asks for a commit's message.
func NeedsMessage(groups [][]api.WebhookFilter) bool {
	return slices.ContainsFunc(groups, func(g []api.WebhookFilter) bool { return has(g, api.WebhookFilterTypeCOMMIT_MESSAGE) })
}

func has(g []api.WebhookFilter, t api.WebhookFilterType) bool {
	return slices.ContainsFunc(g, func(f api.WebhookFilter) bool { return f.Type == t })
}

func excludes(f api.WebhookFilter) bool {
	return f.ExcludeMatchedPattern != nil && *f.ExcludeMatchedPattern
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// show makes another's text fit for one line of a listing.
func show(s string) string {
	if s == "" {
		return "nothing, which is what this event has"
	}
	return fmt.Sprintf("%q", cut(s))
}

func cut(s string) string { return forge.Cut(s, 100) }

// Known are those of the events that a provider tells of which filters can
// name: a comment is none, and there are no runner builds yet.
func Known(told []forge.EventType) []forge.EventType {
	var list []forge.EventType
	for _, e := range told {
		if slices.Contains(types, e) && e != forge.WorkflowJobQueued {
			list = append(list, e)
		}
	}
	return list
}

func join(list []forge.EventType) string {
	var names []string
	for _, e := range Known(list) {
		names = append(names, string(e))
	}
	return strings.Join(names, ", ")
}
