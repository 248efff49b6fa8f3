package service

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/store"
)

// projectOf returns the name of the project that an operation of our own is
// about, "" for none.
func (s CorbelService) projectOf(ctx context.Context, ref *string) (string, error) {
	if ref == nil {
		return "", nil
	}
	p := access.From(ctx)
	n, ok := name(p, "project", *ref)
	if ok {
		if _, err := s.Store.Project(ctx, p.Scope, n); err == nil {
			return n, nil
		} else if !absent(err) {
			return "", fmt.Errorf("read project: %w", err)
		}
	}
	return "", api.ResourceNotFoundException("Project cannot be found: %s", *ref)
}

// ListBuildSummaries lists builds with what a table shows of them, the newest
// first.
func (s CorbelService) ListBuildSummaries(ctx context.Context, in *corbel.ListBuildSummariesInput) (*corbel.ListBuildSummariesOutput, error) {
	p := access.From(ctx)
	project, err := s.projectOf(ctx, in.ProjectName)
	if err != nil {
		return nil, err
	}
	page := store.BuildPage{Project: project, Initiator: value(in.Initiator), Descending: true, Limit: defaultPage}
	if in.Status != nil {
		page.Status = api.StatusType(*in.Status)
		all := api.Contract.Shapes[slices.IndexFunc(api.Contract.Shapes, func(s api.Shape) bool { return s.Name == "StatusType" })].Enum
		if !slices.Contains(all, *in.Status) {
			return nil, api.InvalidInputException("There is no build status %q: want one of %s", *in.Status, strings.Join(all, ", "))
		}
	}
	if in.Since != nil {
		page.Since = in.Since.Time
	}
	if in.MaxResults != nil {
		page.Limit = *in.MaxResults
	}
	query := fmt.Sprintf("summaries %s %s %q %d", page.Project, page.Status, page.Initiator, page.Since.UnixMilli())
	if page.After, err = after[store.BuildKey](p.Scope, query, in.NextToken); err != nil {
		return nil, err
	}
	limit := page.Limit
	page.Limit++
	keys, err := s.Store.BuildKeys(ctx, p.Scope, page)
	if err != nil {
		return nil, fmt.Errorf("list builds: %w", err)
	}
	out := &corbel.ListBuildSummariesOutput{}
	if len(keys) > limit {
		keys = keys[:limit]
		out.NextToken = nextToken(p.Scope, query, keys[limit-1])
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	out.Builds, err = s.summaries(ctx, ids)
	return out, err
}

// summaries are those of the builds that exist, in the order of ids.
func (s CorbelService) summaries(ctx context.Context, ids []string) ([]corbel.ListedBuild, error) {
	builds, err := s.Store.BuildDocuments(ctx, access.From(ctx).Scope, ids)
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	list := make([]corbel.ListedBuild, len(builds))
	for i, b := range builds {
		list[i] = corbel.ListedBuild{
			Id: b.Id, ProjectName: b.ProjectName, BuildNumber: b.BuildNumber, BuildStatus: new(string(b.BuildStatus)), CurrentPhase: b.CurrentPhase,
			SourceVersion: b.SourceVersion, ResolvedSourceVersion: b.ResolvedSourceVersion, Initiator: b.Initiator, StartTime: b.StartTime, EndTime: b.EndTime,
		}
	}
	return list, nil
}

// day collects the builds that were requested on one.
type day struct {
	counts  map[api.StatusType]int
	seconds []float64 // of those that succeeded or failed

	queued, running int // at the same time, at most
}

// A change is when builds begin or end to wait or to run, and how many more of
// them do so.
type change struct {
	at              time.Time
	queued, running int
}

// leastWait is from when on a build has waited for its turn. Each is in the
// queue for a moment.
const leastWait = time.Second

// changes are those that a build made.
func changes(o store.BuildOutcome) []change {
	list := []change{{at: o.Requested, queued: 1}}
	if !o.Dequeued.IsZero() {
		if o.Dequeued.Sub(o.Requested) < leastWait {
			list[0] = change{at: o.Requested, running: 1}
		} else {
			list = append(list, change{at: o.Dequeued, queued: -1, running: 1})
		}
	}
	if !o.Ended.IsZero() {
		end := change{at: o.Ended, running: -1}
		if o.Dequeued.IsZero() {
			end = change{at: o.Ended, queued: -1}
		}
		list = append(list, end)
	}
	return list
}

// peaks sets how many builds waited and ran at most on each of the days, of
// which first is the first.
func peaks(days []day, first time.Time, all []change) {
	slices.SortFunc(all, func(a, b change) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.queued+a.running, b.queued+b.running)) // who goes makes room for who comes
	})
	queued, running, last := 0, 0, -1
	upTo := func(n int) {
		for last < n {
			last++
			days[last].queued, days[last].running = queued, running
		}
	}
	for _, c := range all {
		upTo(min(int(c.at.Sub(first)/(24*time.Hour)), len(days)-1))
		queued, running = queued+c.queued, running+c.running
		days[last].queued, days[last].running = max(days[last].queued, queued), max(days[last].running, running)
	}
	upTo(len(days) - 1)
}

// DescribeBuildStatistics tells how many builds wait and run now, and what
// became of those that were requested today and on the days before, by date
// in UTC. Durations are from the request to the end, of builds that succeeded
// or failed, in seconds. How many waited and ran at the same time is that of the
// day's busiest moment, of builds that were requested within these days; a wait
// of less than a second is none.
func (s CorbelService) DescribeBuildStatistics(ctx context.Context, in *corbel.DescribeBuildStatisticsInput) (*corbel.DescribeBuildStatisticsOutput, error) {
	p := access.From(ctx)
	project, err := s.projectOf(ctx, in.ProjectName)
	if err != nil {
		return nil, err
	}
	today := s.Now().UTC().Truncate(24 * time.Hour)
	first := today.AddDate(0, 0, 1-*in.Days)
	days := make([]day, *in.Days)
	for i := range days {
		days[i].counts = map[api.StatusType]int{}
	}
	out := &corbel.DescribeBuildStatisticsOutput{Days: []corbel.BuildDay{}, Projects: []corbel.ProjectStatistics{}}
	var newest []string            // the newest build of each project
	counts := map[string]*[2]int{} // project -> succeeded, failed
	var moves []change
	err = s.Store.BuildOutcomes(ctx, p.Scope, project, first, func(o store.BuildOutcome) error {
		d := &days[min(int(o.Requested.Sub(first)/(24*time.Hour)), len(days)-1)]
		d.counts[o.Status]++
		moves = append(moves, changes(o)...)
		n := counts[o.Project]
		if n == nil {
			n = new([2]int)
			counts[o.Project], newest = n, append(newest, o.ID)
		}
		switch o.Status {
		case api.StatusTypeSUCCEEDED:
			n[0]++
		case api.StatusTypeFAILED, api.StatusTypeFAULT, api.StatusTypeTIMED_OUT:
			n[1]++
		}
		if !o.Ended.IsZero() && (o.Status == api.StatusTypeSUCCEEDED || o.Status == api.StatusTypeFAILED) {
			d.seconds = append(d.seconds, o.Ended.Sub(o.Requested).Seconds())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what became of builds: %w", err)
	}
	peaks(days, first, moves)
	for i, d := range days {
		b := corbel.BuildDay{
			Date: new(first.AddDate(0, 0, i).Format(time.DateOnly)), Succeeded: new(d.counts[api.StatusTypeSUCCEEDED]), Failed: new(d.counts[api.StatusTypeFAILED]),
			Stopped: new(d.counts[api.StatusTypeSTOPPED]), Faulted: new(d.counts[api.StatusTypeFAULT]), TimedOut: new(d.counts[api.StatusTypeTIMED_OUT]),
			MostQueued: new(d.queued), MostRunning: new(d.running),
		}
		if len(d.seconds) > 0 {
			slices.Sort(d.seconds)
			b.MedianSeconds, b.P90Seconds = new(quantile(d.seconds, .5)), new(quantile(d.seconds, .9))
		}
		out.Days = append(out.Days, b)
	}
	queued, running, err := s.Store.UnfinishedBuilds(ctx, p.Scope, project)
	if err != nil {
		return nil, fmt.Errorf("count builds: %w", err)
	}
	out.Queued, out.Running = &queued, &running
	if len(newest) > mostProjects {
		newest = newest[:mostProjects]
	}
	last, err := s.summaries(ctx, newest)
	if err != nil {
		return nil, err
	}
	for _, b := range last {
		n := counts[*b.ProjectName]
		out.Projects = append(out.Projects, corbel.ProjectStatistics{Name: b.ProjectName, Last: &b, Succeeded: &n[0], Failed: &n[1]})
	}
	return out, nil
}

// mostProjects bounds the projects of DescribeBuildStatistics: those that were
// built last.
const mostProjects = 100

// quantile is the smallest of the sorted values that at least the share q of
// them does not exceed.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}
