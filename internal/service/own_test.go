package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/phase"
	"github.com/corbel-build/corbel/internal/store"
)

// own is the bench's operations of Corbel's own.
func (b *bench) own() CorbelService { return CorbelService{b.Service} }

// account stores the account of the bench's callers, which keys refer to.
func (b *bench) account(t *testing.T) {
	t.Helper()
	if err := b.Store.Update(b.ctx, func(tx store.Tx) error {
		return tx.PutAccount(b.ctx, store.Account{ID: access.From(b.ctx).Account, Created: b.at})
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDescribeSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	p := access.From(in("123456789012", "eu-west-1", "alice"))
	p.Policy, p.Ends = &access.Policy{}, b.at.Add(time.Hour)
	got, err := b.own().DescribeSession(access.With(context.Background(), p), &corbel.DescribeSessionInput{})
	if err != nil {
		t.Fatal(err)
	}
	want := &corbel.DescribeSessionOutput{
		Account: new("123456789012"), User: new("alice"), AccessKeyId: new("AKIATEST"), Region: new("eu-west-1"), Partition: new("aws"),
		Regions: []string{"eu-west-1", "us-west-2"}, Restricted: new(true), Expires: api.At(b.at.Add(time.Hour)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDescribeServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.About = About{Version: "v1", Builds: 3, Executor: func() string { return "sandbox" }}
	got, err := b.own().DescribeServer(b.ctx, &corbel.DescribeServerInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *got.Version != "v1" || *got.Builds != 3 || *got.Executor != "sandbox" || *got.PublicUrl != b.URL || *got.VerifyCredentials != "reject" {
		t.Errorf("the server is %+v", got)
	}
	byType := map[string]corbel.SourceProvider{}
	for _, p := range got.Providers {
		byType[*p.ServerType] = p
		for _, e := range p.Events {
			groups := [][]api.WebhookFilter{{{Type: api.WebhookFilterTypeEVENT, Pattern: &e}}}
			told, _ := b.Hosts.Provider(api.ServerType(*p.ServerType))
			if err := filtergroup.Check(groups, told.Deliveries.Events, forge.OfRepository); err != nil {
				t.Errorf("%s offers %s, and refuses it: %v", *p.ServerType, e, err)
			}
		}
		if len(p.AuthTypes) == 0 || len(p.Scopes) == 0 || len(p.TokenUrls) != len(p.Hosts) {
			t.Errorf("%s: %+v", *p.ServerType, p)
		}
	}
	if len(byType) != len(b.Hosts.ServerTypes()) {
		t.Errorf("%d providers", len(byType))
	}
	hub, ghe := byType["GITHUB"], byType["GITHUB_ENTERPRISE"]
	if !*hub.Known || *ghe.Known || *ghe.Hosts[0].Name != "ghe.example.com" || !strings.HasPrefix(*ghe.TokenUrls[0].Url, "https://ghe.example.com/settings/tokens/new?scopes=repo") {
		t.Errorf("GitHub is %+v and %+v", hub, ghe)
	}
	if s := hub.Scopes[0]; *s.Scope != "repo" || *s.NeededFor == "" {
		t.Errorf("the first scope is %+v", s)
	}
	if !slices.Equal(byType["BITBUCKET"].AuthTypes, []string{"BASIC_AUTH", "PERSONAL_ACCESS_TOKEN"}) || byType["BITBUCKET"].GitUserHint == nil {
		t.Errorf("Bitbucket is %+v", byType["BITBUCKET"])
	}
}

// Everything that is wrong is told at once, and nothing makes the call fail.
func TestCheckBuildspec(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct {
		text, want string
	}{
		"good":      {"version: 0.2\nenv: {variables: {A: b}}\nphases: {install: {commands: [a, b], finally: [c]}, build: {commands: x}}\n", "[] [install:3 build:1] [A]"},
		"two":       {"version: 0.3\nphases: {compile: {commands: [a]}}\n", `[ERROR 1:10 invalid buildspec version "0.3" ERROR 2:10 invalid buildspec phase name] [] []`},
		"warning":   {"version: 0.2\nreports: {}\nphases: {build: {commands: [a]}}\n", "[WARNING 2:1 reports has no effect] [build:1] []"},
		"not YAML":  {"version: [\n", "[ERROR 1:10 not valid YAML] [] []"},
		"empty":     {"", "[ERROR 0:0 the buildspec is empty] [] []"},
		"not text":  {"\x00", "[ERROR 0:0 the buildspec is not a text] [] []"},
		"too deep":  {strings.Repeat("[", 5000), "[ERROR 1:1 the buildspec is nested too deeply] [] []"},
		"too large": {strings.Repeat("#", 2<<20), "[ERROR 0:0 the buildspec is larger] [] []"},
	} {
		out, err := b.own().CheckBuildspec(b.ctx, &corbel.CheckBuildspecInput{Buildspec: &c.text})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var problems, phases []string
		for _, p := range out.Problems {
			problems = append(problems, fmt.Sprintf("%s %d:%d %s", p.Severity, *p.Line, *p.Column, *p.Message))
		}
		for _, p := range out.Phases {
			phases = append(phases, fmt.Sprintf("%s:%d", *p.Name, *p.Commands))
		}
		// The wanted messages are the beginnings of the real ones.
		got := fmt.Sprint(problems, " ", phases, " ", out.Variables)
		for part := range strings.SplitSeq(strings.Trim(c.want, "[]"), " ERROR ") {
			part, _, _ = strings.Cut(part, "]")
			if !strings.Contains(got, part) {
				t.Errorf("%s: got %s, want %s", name, got, c.want)
			}
		}
		if _, rest, _ := strings.Cut(c.want, "]"); !strings.HasSuffix(got, rest) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// A key can be made, given a policy and deleted, within the account alone, and
// its secret is told once.
func TestAccessKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.account(t)
	s := b.own()
	const policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"codebuild:List*","Resource":"*"}}`
	made, err := s.CreateAccessKey(b.ctx, &corbel.CreateAccessKeyInput{User: new("ci"), Policy: new(policy), Expires: api.At(b.at.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	id := made.AccessKey.AccessKeyId
	if key, err := b.Keys.Match(b.ctx, *id, made.SecretAccessKey); err != nil || key.User != "ci" || key.Policy != policy {
		t.Errorf("the new key is %+v, %v", key, err)
	}
	if _, err := b.Keys.Match(b.ctx, *id, made.SecretAccessKey+"x"); !absent(err) {
		t.Errorf("another secret: %v", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", made, *made), made.SecretAccessKey.Reveal()) {
		t.Error("the secret is printed")
	}
	list, err := s.ListAccessKeys(b.ctx, &corbel.ListAccessKeysInput{})
	if err != nil || len(list.AccessKeys) != 1 || cmp.Diff(list.AccessKeys[0], *made.AccessKey) != "" {
		t.Errorf("keys are %+v, %v", list, err)
	}
	got, err := s.PutAccessKeyPolicy(b.ctx, &corbel.PutAccessKeyPolicyInput{AccessKeyId: id})
	if err != nil || got.AccessKey.Policy != nil {
		t.Errorf("without its policy the key is %+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"past":   second(s.CreateAccessKey(b.ctx, &corbel.CreateAccessKeyInput{User: new("ci"), Expires: api.At(b.at)})),
		"user":   second(s.CreateAccessKey(b.ctx, &corbel.CreateAccessKeyInput{User: new("a b")})),
		"policy": second(s.CreateAccessKey(b.ctx, &corbel.CreateAccessKeyInput{User: new("ci"), Policy: new("{}")})),
		"Policy": second(s.PutAccessKeyPolicy(b.ctx, &corbel.PutAccessKeyPolicyInput{AccessKeyId: id, Policy: new("nonsense")})),
	} {
		wantError(t, err, "InvalidInputException", strings.ToLower(name))
	}
	stranger := in("999999999999", "us-west-2", "mallory")
	wantError(t, second(s.DeleteAccessKey(stranger, &corbel.DeleteAccessKeyInput{AccessKeyId: id})), "ResourceNotFoundException", *id)
	wantError(t, second(s.PutAccessKeyPolicy(stranger, &corbel.PutAccessKeyPolicyInput{AccessKeyId: id})), "ResourceNotFoundException", *id)
	if _, err := s.DeleteAccessKey(b.ctx, &corbel.DeleteAccessKeyInput{AccessKeyId: id}); err != nil {
		t.Error(err)
	}
	wantError(t, second(s.DeleteAccessKey(b.ctx, &corbel.DeleteAccessKeyInput{AccessKeyId: id})), "ResourceNotFoundException", *id)

	records, err := s.ListAuditRecords(b.ctx, &corbel.ListAuditRecordsInput{Resource: new("arn:aws:iam::123456789012:user/ci")})
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, r := range records.Records {
		events = append(events, *r.Event+" "+*r.Detail)
	}
	if want := []string{"DeleteAccessKey " + *id, "PutAccessKeyPolicy " + *id, "CreateAccessKey " + *id}; !slices.Equal(events, want) {
		t.Errorf("the records are %q, want %q", events, want)
	}
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }

// The audit log is read in pages, and only the caller's account's.
func TestListAuditRecords(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 5 {
		b.project(t, fmt.Sprint("app", i), nil)
	}
	var seqs []int64
	var token *string
	for {
		out, err := b.own().ListAuditRecords(b.ctx, &corbel.ListAuditRecordsInput{MaxResults: new(2), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			seqs = append(seqs, *r.Seq)
			if *r.Event != "CreateProject" || *r.Principal != "arn:aws:iam::123456789012:user/alice" || !r.At.Equal(b.at) {
				t.Errorf("record %+v", r)
			}
		}
		if token = out.NextToken; token == nil {
			break
		}
	}
	if want := []int64{5, 4, 3, 2, 1}; !slices.Equal(seqs, want) {
		t.Errorf("records %v, want %v", seqs, want)
	}
	out, err := b.own().ListAuditRecords(in("999999999999", "us-west-2", "mallory"), &corbel.ListAuditRecordsInput{})
	if err != nil || len(out.Records) != 0 {
		t.Errorf("another account sees %+v, %v", out, err)
	}
	wantError(t, second(b.own().ListAuditRecords(b.ctx, &corbel.ListAuditRecordsInput{NextToken: new("x")})), "InvalidInputException", "nextToken")
}

// end completes the oldest queued build after some time, as a runner would.
func (b *bench) end(t *testing.T, status api.StatusType, after time.Duration) {
	t.Helper()
	if err := b.Store.Update(b.ctx, func(tx store.Tx) error {
		c, err := tx.ClaimBuild(b.ctx, "test", b.at.Add(time.Hour))
		if err != nil {
			return err
		}
		phase.Leave(c.Doc, status, "", "", c.Requested.Add(after))
		phase.Complete(c.Doc, status, c.Requested.Add(after))
		c.State = store.Complete
		return tx.SaveBuild(b.ctx, c)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestListBuildSummaries(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	b.project(t, "site", nil)
	var want []string
	for i := range 6 {
		name := []string{"app", "site"}[i%2]
		want = append(want, *b.start(t, &api.StartBuildInput{ProjectName: &name, SourceVersion: new("v1")}).Id)
		b.forward(time.Minute)
	}
	slices.Reverse(want)
	b.end(t, api.StatusTypeFAILED, time.Second)
	ids := func(in corbel.ListBuildSummariesInput) (got []string) {
		t.Helper()
		for {
			out, err := b.own().ListBuildSummaries(b.ctx, &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range out.Builds {
				got = append(got, *s.Id)
				if *s.SourceVersion != "v1" || *s.Initiator != "alice" || s.StartTime == nil || *s.BuildNumber == 0 {
					t.Errorf("summary %+v", s)
				}
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return got
			}
		}
	}
	for name, c := range map[string]struct {
		in   corbel.ListBuildSummariesInput
		want []string
	}{
		"all":       {corbel.ListBuildSummariesInput{}, want},
		"pages":     {corbel.ListBuildSummariesInput{MaxResults: new(1)}, want},
		"project":   {corbel.ListBuildSummariesInput{ProjectName: new("app"), MaxResults: new(2)}, []string{want[1], want[3], want[5]}},
		"status":    {corbel.ListBuildSummariesInput{Status: new("FAILED")}, want[5:]},
		"since":     {corbel.ListBuildSummariesInput{Since: api.At(b.at.Add(-2 * time.Minute)), MaxResults: new(1)}, want[:2]},
		"initiator": {corbel.ListBuildSummariesInput{Initiator: new("nobody")}, nil},
	} {
		if got := ids(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	wantError(t, second(b.own().ListBuildSummaries(b.ctx, &corbel.ListBuildSummariesInput{ProjectName: new("nothing")})), "ResourceNotFoundException", "nothing")
	wantError(t, second(b.own().ListBuildSummaries(b.ctx, &corbel.ListBuildSummariesInput{Status: new("GREEN")})), "InvalidInputException", "SUCCEEDED")
}

// The busiest moment of a day counts builds of days before that still waited or
// ran; a moment in the queue is no wait, and who goes makes room for who comes.
func TestPeaks(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return first.Add(time.Duration(hours * float64(time.Hour))) }
	var all []change
	for _, o := range []store.BuildOutcome{
		{Requested: at(1), Dequeued: at(1).Add(10 * time.Millisecond), Ended: at(2)},
		{Requested: at(2), Dequeued: at(2), Ended: at(3)},
		{Requested: at(2.5), Dequeued: at(3), Ended: at(50)},
		{Requested: at(2.6), Ended: at(2.7)}, // stopped before its turn
		{Requested: at(49), Dequeued: at(51)},
		{Requested: at(49.5)},
	} {
		all = append(all, changes(o)...)
	}
	days := make([]day, 4)
	peaks(days, first, all)
	var got [][2]int
	for _, d := range days {
		got = append(got, [2]int{d.queued, d.running})
	}
	if want := [][2]int{{2, 1}, {0, 1}, {2, 1}, {1, 1}}; !slices.Equal(got, want) {
		t.Errorf("waiting and running %v, want %v", got, want)
	}
}

func TestDescribeBuildStatistics(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	b.project(t, "site", nil)
	b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	b.end(t, api.StatusTypeSUCCEEDED, time.Second) // too long ago
	b.forward(48 * time.Hour)
	for _, c := range []struct {
		project string
		status  api.StatusType
		seconds int
	}{{"app", api.StatusTypeSUCCEEDED, 10}, {"app", api.StatusTypeFAILED, 20}, {"site", api.StatusTypeSUCCEEDED, 40}, {"site", api.StatusTypeSTOPPED, 99}} {
		b.start(t, &api.StartBuildInput{ProjectName: &c.project})
		b.end(t, c.status, time.Duration(c.seconds)*time.Second)
		b.forward(time.Second)
	}
	b.forward(24 * time.Hour)
	b.start(t, &api.StartBuildInput{ProjectName: new("site")})
	got, err := b.own().DescribeBuildStatistics(b.ctx, &corbel.DescribeBuildStatisticsInput{Days: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	if *got.Queued != 1 || *got.Running != 0 {
		t.Errorf("%d wait and %d run", *got.Queued, *got.Running)
	}
	wantDays := []corbel.BuildDay{
		{Date: new("2026-11-25"), Succeeded: new(2), Failed: new(1), Stopped: new(1), Faulted: new(0), TimedOut: new(0), MedianSeconds: new(20.), P90Seconds: new(40.), MostQueued: new(4), MostRunning: new(0)},
		{Date: new("2026-11-26"), Succeeded: new(0), Failed: new(0), Stopped: new(0), Faulted: new(0), TimedOut: new(0), MostQueued: new(1), MostRunning: new(0)},
	}
	if diff := cmp.Diff(wantDays, got.Days); diff != "" {
		t.Errorf("days, -want +got:\n%s", diff)
	}
	var projects []string
	for _, p := range got.Projects {
		projects = append(projects, fmt.Sprint(*p.Name, *p.Succeeded, *p.Failed, *p.Last.BuildStatus))
	}
	if want := []string{"site1 0IN_PROGRESS", "app1 1FAILED"}; !slices.Equal(projects, want) {
		t.Errorf("projects %q, want %q", projects, want)
	}
	got, err = b.own().DescribeBuildStatistics(b.ctx, &corbel.DescribeBuildStatisticsInput{Days: new(1), ProjectName: new("app")})
	if err != nil || len(got.Days) != 1 || len(got.Projects) != 0 || *got.Queued != 0 {
		t.Errorf("of a project: %+v, %v", got, err)
	}
}
