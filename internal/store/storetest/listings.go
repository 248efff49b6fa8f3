package storetest

import (
	"errors"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// outcomes stores builds 1 to 4 of two projects: the first of each succeeded,
// the second failed and is grace's, the third runs, the fourth waits. The times
// of their requests alternate.
func (b *bench) outcomes() {
	b.Helper()
	for i := 1; i <= 4; i++ {
		for j, project := range []string{"site", "app"} {
			n := build(project, i)
			n.Requested = at(10*i + j)
			n.Doc.BuildStatus = api.StatusTypeIN_PROGRESS
			if i == 2 {
				n.Doc.Initiator = new("grace")
			}
			b.update(func(tx store.Tx) error { return tx.QueueBuild(b.ctx, n) })
			if i == 4 {
				continue
			}
			c, err := b.claim("h", 1000)
			b.is("ClaimBuild", err, nil)
			if i < 3 {
				c.Doc.Phases = []api.BuildPhase{{PhaseType: api.BuildPhaseTypeSUBMITTED}, {PhaseType: api.BuildPhaseTypeQUEUED, EndTime: api.At(at(10*i + j + 2))}}
				c.Doc.BuildStatus, c.Doc.EndTime = []api.StatusType{"", api.StatusTypeSUCCEEDED, api.StatusTypeFAILED}[i], api.At(at(10*i+j+3))
				b.complete(c)
			}
		}
	}
}

func buildFilters(b *bench) {
	b.outcomes()
	for _, c := range []struct {
		what string
		page store.BuildPage
		want []string
	}{
		{"by status", store.BuildPage{Status: api.StatusTypeSUCCEEDED}, []string{buildID("site", 1), buildID("app", 1)}},
		{"by status, newest first", store.BuildPage{Status: api.StatusTypeFAILED, Descending: true}, []string{buildID("app", 2), buildID("site", 2)}},
		{"of a project by status", store.BuildPage{Project: "app", Status: api.StatusTypeIN_PROGRESS}, []string{buildID("app", 3), buildID("app", 4)}},
		{"by initiator", store.BuildPage{Initiator: "grace"}, []string{buildID("site", 2), buildID("app", 2)}},
		{"by initiator and status", store.BuildPage{Initiator: "grace", Status: api.StatusTypeSUCCEEDED}, nil},
		{"since", store.BuildPage{Since: at(40)}, []string{buildID("site", 4), buildID("app", 4)}},
		{"of a project since", store.BuildPage{Project: "site", Since: at(30), Descending: true}, []string{buildID("site", 4), buildID("site", 3)}},
		{"after one", store.BuildPage{Status: api.StatusTypeIN_PROGRESS, After: &store.BuildKey{ID: buildID("app", 3), Requested: at(31)}}, []string{buildID("site", 4), buildID("app", 4)}},
	} {
		c.page.Limit = 10
		keys, err := b.s.BuildKeys(b.ctx, home, c.page)
		b.is("BuildKeys", err, nil)
		var got []string
		for _, k := range keys {
			got = append(got, k.ID)
		}
		b.same("BuildKeys, "+c.what, got, c.want)
	}
}

func buildOutcomes(b *bench) {
	b.outcomes()
	list := func(project string, since time.Time) (got []store.BuildOutcome) {
		b.is("BuildOutcomes", b.s.BuildOutcomes(b.ctx, home, project, since, func(o store.BuildOutcome) error {
			got = append(got, o)
			return nil
		}), nil)
		return got
	}
	outcome := func(project string, n, requested int, status api.StatusType, ended time.Time) store.BuildOutcome {
		o := store.BuildOutcome{ID: buildID(project, n), Project: project, Status: status, Requested: at(requested), Ended: ended}
		if !ended.IsZero() {
			o.Dequeued = ended.Add(at(2).Sub(at(3)))
		}
		return o
	}
	b.same("BuildOutcomes", list("", at(20)), []store.BuildOutcome{
		outcome("app", 4, 41, api.StatusTypeIN_PROGRESS, time.Time{}), outcome("site", 4, 40, api.StatusTypeIN_PROGRESS, time.Time{}),
		outcome("app", 3, 31, api.StatusTypeIN_PROGRESS, time.Time{}), outcome("site", 3, 30, api.StatusTypeIN_PROGRESS, time.Time{}),
		outcome("app", 2, 21, api.StatusTypeFAILED, at(24)), outcome("site", 2, 20, api.StatusTypeFAILED, at(23)),
	})
	b.same("BuildOutcomes of a project", list("site", at(15))[2:], []store.BuildOutcome{outcome("site", 2, 20, api.StatusTypeFAILED, at(23))})
	mine := errors.New("enough")
	b.is("BuildOutcomes that visit ends", b.s.BuildOutcomes(b.ctx, home, "", at(0), func(store.BuildOutcome) error { return mine }), mine)

	for project, want := range map[string]int{"": 2, "app": 1, "nothing": 0} {
		queued, running, err := b.s.UnfinishedBuilds(b.ctx, home, project)
		b.is("UnfinishedBuilds", err, nil)
		b.same("UnfinishedBuilds of "+project, [2]int{queued, running}, [2]int{want, want})
	}
	for _, s := range elsewhere {
		b.is("BuildOutcomes elsewhere", b.s.BuildOutcomes(b.ctx, s, "", at(0), func(store.BuildOutcome) error { return errors.New("there is one") }), nil)
		queued, running, err := b.s.UnfinishedBuilds(b.ctx, s, "")
		b.is("UnfinishedBuilds", err, nil)
		b.same("UnfinishedBuilds elsewhere", queued+running, 0)
	}
}

func regions(b *bench) {
	list, err := b.s.Regions(b.ctx, home.Account)
	b.is("Regions", err, nil)
	b.same("Regions without anything", list, []string{})
	b.update(func(tx store.Tx) error {
		credential := store.Credential{Scope: home, ServerType: api.ServerTypeGITHUB, Sealed: []byte{1}}
		other := credential
		other.Region = "ap-south-1"
		return errors.Join(tx.CreateProject(b.ctx, home, project("a")), tx.CreateProject(b.ctx, elsewhere[0], project("a")), tx.CreateProject(b.ctx, elsewhere[1], project("b")),
			tx.PutCredential(b.ctx, credential), tx.PutCredential(b.ctx, other))
	})
	list, err = b.s.Regions(b.ctx, home.Account)
	b.is("Regions", err, nil)
	b.same("Regions", list, []string{"ap-south-1", "eu-west-1", "us-east-1"})
}
