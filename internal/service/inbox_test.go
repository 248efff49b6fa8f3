package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/store"
)

// asked is a push of one letter's commit of which the provider has to tell the
// files, told is one that tells them itself.
func asked(branch, letter string) forge.Event {
	return forge.Event{Type: forge.Push, Repository: "octo/app", HeadRef: "refs/heads/" + branch, SHA: strings.Repeat(letter, 40), Before: strings.Repeat("0", 40)}
}

func told(branch, letter string) forge.Event {
	e := asked(branch, letter)
	e.Files, e.FilesKnown = []string{"x"}, true
	return e
}

// deliver puts a delivery of events for a project's webhook into the inbox.
func (h *hookBench) deliver(project string, events ...forge.Event) int64 {
	h.t.Helper()
	w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, project)
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := delivery.Polled(store.Delivery{Scope: w.Scope, Project: project, Hook: w.Address, Received: h.Now(), Next: h.Now()}, events)
	if err == nil {
		err = h.Store.Update(h.ctx, func(tx store.Tx) (err error) {
			d.ID, err = tx.PutDelivery(h.ctx, d)
			return err
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return d.ID
}

// delivered waits until a delivery is as is says.
func (h *hookBench) delivered(id int64, what string, is func(d store.Delivery) bool) (d store.Delivery) {
	h.t.Helper()
	h.until(fmt.Sprintf("delivery %d %s", id, what), func() bool {
		var err error
		d, err = h.Store.Delivery(h.ctx, id)
		return err == nil && is(d)
	})
	return d
}

func (h *hookBench) done(id int64) store.Delivery {
	h.t.Helper()
	return h.delivered(id, "is decided", func(d store.Delivery) bool { return d.State != store.Waiting })
}

// later lets time pass until a delivery is decided.
func (h *hookBench) later(id int64) {
	h.t.Helper()
	h.delivered(id, "is decided after a while", func(d store.Delivery) bool {
		if d.State == store.Waiting {
			h.forward(time.Second)
		}
		return d.State != store.Waiting
	})
}

// polls polls repositories until the test ends.
func (h *hookBench) polls() {
	ctx, cancel := context.WithCancel(h.ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.inbox.Poll(ctx) }() // ends with ctx
	h.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
}

// built are the letters of app's builds, by number.
func (h *hookBench) built() string {
	h.t.Helper()
	out, err := h.ListBuildsForProject(h.ctx, &api.ListBuildsForProjectInput{ProjectName: new("app"), SortOrder: api.SortOrderTypeASCENDING})
	if err != nil {
		h.t.Fatal(err)
	}
	letters := ""
	for _, id := range out.Ids {
		b, err := h.Store.Build(h.ctx, access.From(h.ctx).Scope, id)
		if err != nil {
			h.t.Fatal(err)
		}
		letters += (*b.Doc.SourceVersion)[:1]
	}
	return letters
}

// files is a filter group for pushes whose files have to be known.
func files() [][]api.WebhookFilter {
	return [][]api.WebhookFilter{{hookFilter("EVENT", "PUSH"), hookFilter("FILE_PATH", ".")}}
}

// tells makes the provider tell the files of every push.
func (h *hookBench) tells() {
	h.host.Heal()
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app/compare/", Do: forgetest.Answer(200, nil, `{"status":"ahead","total_commits":1,"commits":[],"files":[{"filename":"x","status":"added"}]}`)})
}

var badGateway = forgetest.Answer(502, nil, "bad gateway")

// What waits for the provider holds up what comes after it of the same branch,
// and nothing else.
func TestDeliveries_Order(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: files()})
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app/compare/", Do: badGateway})
	stop := h.runs()
	first := h.deliver("app", asked("main", "a"))
	h.delivered(first, "is put off", func(d store.Delivery) bool { return d.Attempts == 1 })
	second, third, topic := h.deliver("app", told("main", "b")), h.deliver("app", told("main", "c")), h.deliver("app", told("topic", "d"))
	h.done(topic)
	for id, before := range map[int64]int64{second: first, third: second} {
		d := h.delivered(id, "waits for another", func(d store.Delivery) bool { return d.Behind == before })
		if d.Attempts != 0 || !strings.Contains(d.Problem, fmt.Sprintf("delivery %d came before it", before)) {
			t.Errorf("delivery %d: %+v", id, d)
		}
		if shown := describeDelivery(d); shown.NextAttempt != nil {
			t.Errorf("delivery %d is shown with an attempt at %v", id, shown.NextAttempt)
		}
	}
	stop() // what waits for what is remembered
	h.at(h.host.URL)
	h.runs()
	fourth := h.deliver("app", told("main", "e"))
	h.delivered(fourth, "waits for another", func(d store.Delivery) bool { return d.Behind == third })
	h.tells()
	h.later(first)
	h.done(fourth)
	if got := h.built(); got != "dabce" {
		t.Errorf("built in the order %s", got)
	}

	// What is given up holds up no more.
	h.host.Heal()
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app/compare/", Do: badGateway})
	never := h.deliver("app", asked("main", "1"))
	h.delivered(never, "is put off", func(d store.Delivery) bool { return d.Attempts == 1 })
	after := h.deliver("app", told("main", "2"))
	h.delivered(after, "waits for another", func(d store.Delivery) bool { return d.Behind == never })
	h.forward(9 * time.Hour)
	if d := h.done(never); d.State != store.Failed || d.Results[0].Outcome != "FAILED" {
		t.Errorf("after nine hours: %+v", d)
	}
	if d := h.done(after); d.State != store.Done || d.Results[0].Outcome != "STARTED" {
		t.Errorf("after the one before it: %+v", d)
	}
}

// Places are given away in the order of the pushes, whatever their branches.
func TestDeliveries_LimitOrder(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), ConcurrentBuildLimit: new(1)}); err != nil {
		t.Fatal(err)
	}
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: events("PUSH")})
	h.runs()
	var ids []int64
	for _, e := range []forge.Event{told("main", "a"), told("main", "b"), told("topic", "c"), told("main", "d"), told("topic", "e")} {
		ids = append(ids, h.deliver("app", e))
	}
	for i, id := range ids {
		switch {
		case i == 1:
			h.delivered(id, "waits for the limit", func(d store.Delivery) bool { return strings.Contains(d.Problem, "active builds") })
		case i > 1:
			h.delivered(id, "waits for another", func(d store.Delivery) bool { return d.Behind == ids[i-1] })
		}
	}
	for _, id := range ids {
		h.later(id)
		build := h.done(id).Results[0].Build
		if _, err := h.StopBuild(h.ctx, &api.StopBuildInput{Id: &build}); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.built(); got != "abcde" {
		t.Errorf("built in the order %s", got)
	}
}

// Each event of a delivery has a fate of its own.
func TestDeliveries_OneOfMany(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: files()})
	h.runs()
	outcomes := func(d store.Delivery) (list []string) {
		for _, r := range d.Results {
			list = append(list, r.Outcome)
		}
		return list
	}
	for at, want := range [][]string{{"FAILED", "STARTED", "STARTED"}, {"STARTED", "STARTED", "FAILED"}} {
		many := []forge.Event{told("a", "a"), told("b", "b"), told("c", "c")}
		i := slices.Index(want, "FAILED")
		many[i] = asked("none", "f")
		h.host.Inject(forgetest.Fault{Path: "/repos/octo/app/compare/", Times: 1, Do: forgetest.Answer(404, nil, `{"message":"Not Found"}`)})
		d := h.done(h.deliver("app", many...))
		if d.State != store.Failed || !slices.Equal(outcomes(d), want) || d.Problem != d.Results[i].Reason || !strings.Contains(d.Problem, "Not Found") || d.Attempts != 1 {
			t.Errorf("number %d: %+v", at, d)
		}
	}

	// One that waits holds up those of its own branch.
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app/compare/", Do: badGateway})
	id := h.deliver("app", told("x", "1"), asked("y", "2"), told("y", "3"), told("z", "4"))
	d := h.delivered(id, "is put off", func(d store.Delivery) bool { return d.Attempts > 0 })
	if got := outcomes(d); !slices.Equal(got, []string{"STARTED", "", "", "STARTED"}) || !strings.Contains(d.Results[1].Reason, "502") {
		t.Errorf("while one waits: %+v", d.Results)
	}
	free := h.done(h.deliver("app", told("x", "5")))
	if free.Results[0].Outcome != "STARTED" {
		t.Errorf("of a branch of which nothing waits: %+v", free)
	}
	h.tells()
	h.later(id)
	if d = h.done(id); d.State != store.Done || d.Problem != "" || !slices.Equal(outcomes(d), []string{"STARTED", "STARTED", "STARTED", "STARTED"}) {
		t.Errorf("at the end: %+v", d)
	}
	if got := h.built(); !strings.HasSuffix(got, "14523") {
		t.Errorf("built in the order %s", got)
	}
}

// A provider that does not answer holds up no other's deliveries and polls,
// however many of its webhooks wait.
func TestDeliveries_SilentProvider(t *testing.T) {
	t.Parallel()
	slow, err := forgetest.New(forgetest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slow.Close(); err != nil {
			t.Error(err)
		}
	})
	h := newHookBench(t, kinds["GitHub"])
	h.at(h.host.URL, "GITHUB_ENTERPRISE="+slow.URL)
	token := forgetest.Token{Value: "ghp_PlantedInInboxTests0000000000000007", Login: "octocat", Scopes: []string{"repo"}}
	slow.AddToken(token)
	if _, err := h.ImportSourceCredentials(h.ctx, &api.ImportSourceCredentialsInput{ServerType: "GITHUB_ENTERPRISE", AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: token.Value}); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	slow.Inject(forgetest.Fault{Do: forgetest.Hold(held)})
	polled := func(project string) {
		t.Helper()
		if _, err := (CorbelService{h.Service}).UpdateWebhookPolling(h.ctx, &corbel.UpdateWebhookPollingInput{ProjectName: &project, Seconds: new(60)}); err != nil {
			t.Fatal(err)
		}
	}
	const many = 20
	for i := range many {
		name := fmt.Sprint("slow-", i)
		h.bench.project(t, name, func(in *api.CreateProjectInput) {
			in.Source = &api.ProjectSource{Type: api.SourceTypeGITHUB_ENTERPRISE, Location: new(slow.URL + "/octo/app.git")}
		})
		if _, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: &name, ManualCreation: new(true), FilterGroups: files()}); err != nil {
			t.Fatal(err)
		}
		h.deliver(name, asked("main", "a"))
		polled(name)
	}
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: files()})
	h.forward(time.Second) // so that it comes after them
	h.deliver("app", told("main", "b"))
	polled("app")
	h.runs()
	h.polls()
	began := time.Now()
	h.until("the other's push is built and its repository was polled", func() bool {
		w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, "app")
		return err == nil && w.PollNext.After(h.Now()) && h.built() == "b"
	})
	if took := time.Since(began); took > 15*time.Second { // a call of the silent one ends after 20
		t.Errorf("it took %v", took)
	}
}

// Making a webhook leaves no trace of the ping that comes meanwhile, and what
// happens meanwhile is decided once it is made.
func TestDeliveries_WhileMade(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.runs()
	w := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	hook, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, "app")
	if err != nil || !strings.Contains(*w.PayloadUrl, hook.Address) {
		t.Fatal(hook, err)
	}
	var list []store.Delivery
	h.until("the ping is there", func() bool {
		list, err = h.Store.Deliveries(h.ctx, hook.Address, 0, 9)
		return err == nil && len(list) > 0
	})
	if d := h.done(list[0].ID); d.Event != "ping" || d.State != store.Done || d.Attempts != 0 || d.Problem != "" {
		t.Errorf("the ping: %+v", d)
	}

	// As if it were still being made.
	project, err := h.Store.Project(h.ctx, hook.Scope, "app")
	if err != nil {
		t.Fatal(err)
	}
	doc := project.Webhook
	set := func(doc *api.Webhook) {
		t.Helper()
		project.Webhook = doc
		if err := h.Store.Update(h.ctx, func(tx store.Tx) error { return tx.UpdateProject(h.ctx, hook.Scope, project) }); err != nil {
			t.Fatal(err)
		}
	}
	set(nil)
	first := h.deliver("app", told("main", "a"))
	h.delivered(first, "is put off", func(d store.Delivery) bool { return d.Next.After(h.Now()) })
	second := h.deliver("app", told("main", "b"))
	h.delivered(second, "waits for another", func(d store.Delivery) bool { return d.Behind == first })
	set(doc)
	h.later(first)
	if d := h.done(first); d.Attempts != 0 || d.Problem != "" {
		t.Errorf("the first push: %+v", d)
	}
	h.done(second)
	if got := h.built(); got != "ab" {
		t.Errorf("built in the order %s", got)
	}
}

// A webhook whose polls fail says why and since when, and forgets it once one
// succeeds.
func TestDescribeWebhook_PollFails(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: events("PUSH")})
	s := CorbelService{h.Service}
	poll := func() {
		t.Helper()
		if _, err := s.UpdateWebhookPolling(h.ctx, &corbel.UpdateWebhookPollingInput{ProjectName: new("app"), Seconds: new(60)}); err != nil {
			t.Fatal(err)
		}
	}
	describe := func() *corbel.DescribeWebhookOutput {
		t.Helper()
		out, err := s.DescribeWebhook(h.ctx, &corbel.DescribeWebhookInput{ProjectName: new("app")})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	h.polls()
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app", Do: badGateway})
	since := h.Now()
	poll()
	fails := func(text string) func() bool {
		return func() bool { p := describe().PollProblem; return p != nil && strings.Contains(*p, text) }
	}
	h.until("the poll fails", fails("502"))
	h.forward(time.Hour)
	h.host.Heal()
	h.host.Inject(forgetest.Fault{Path: "/repos/octo/app", Do: forgetest.Answer(404, nil, `{"message":"Not Found"}`)})
	poll()
	h.until("it fails otherwise", fails("Not Found"))
	if at := describe().PollFailingSince; at == nil || at.Sub(since).Abs() > time.Second {
		t.Errorf("it fails since %v, want %v", at, since)
	}
	h.host.Heal()
	h.forward(time.Hour)
	poll()
	h.until("a poll succeeds", func() bool { return describe().PollProblem == nil })
	if at := describe().PollFailingSince; at != nil {
		t.Errorf("it fails since %v", at)
	}
}
