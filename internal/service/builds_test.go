package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

func (b *bench) start(t *testing.T, in *api.StartBuildInput) *api.Build {
	t.Helper()
	out, err := b.StartBuild(b.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Build
}

// finish completes a queued build, as a runner would.
func (b *bench) finish(t *testing.T, id string) {
	t.Helper()
	err := b.Store.Update(b.ctx, func(tx store.Tx) error {
		for {
			c, err := tx.ClaimBuild(b.ctx, "test", b.at.Add(time.Hour))
			if err != nil {
				return err
			}
			c.State = store.Complete
			c.Doc.BuildStatus, c.Doc.BuildComplete = api.StatusTypeSUCCEEDED, new(true)
			if err := tx.SaveBuild(b.ctx, c); err != nil || *c.Doc.Id == id {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The answer of StartBuild has the members and words that clients look for.
func TestStartBuild_FreshBuild(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	got := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	if !buildIDPattern.MatchString(*got.Id) || !strings.HasPrefix(*got.Id, "app:") || *got.Arn != "arn:aws:codebuild:us-west-2:123456789012:build/"+*got.Id {
		t.Errorf("id %s, arn %s", *got.Id, *got.Arn)
	}
	at := &api.Timestamp{Time: b.at}
	want := &api.Build{
		Id: got.Id, Arn: got.Arn, BuildNumber: new(int64(1)), StartTime: at, CurrentPhase: new("QUEUED"), BuildStatus: api.StatusTypeIN_PROGRESS, BuildComplete: new(false),
		Phases: []api.BuildPhase{
			{PhaseType: api.BuildPhaseTypeSUBMITTED, PhaseStatus: api.StatusTypeSUCCEEDED, StartTime: at, EndTime: at, DurationInSeconds: new(int64(0))},
			{PhaseType: api.BuildPhaseTypeQUEUED, StartTime: at},
		},
		Logs: &api.LogsLocation{
			DeepLink:          new("http://127.0.0.1:8040/cloudwatch/home?region=us-west-2&build=" + *got.Id + "#logEvent:group=null;stream=null"),
			CloudWatchLogsArn: new("arn:aws:logs:us-west-2:123456789012:log-group:null:log-stream:null"),
			CloudWatchLogs:    &api.CloudWatchLogsConfig{Status: api.LogsConfigStatusTypeENABLED},
			S3Logs:            &api.S3LogsConfig{Status: api.LogsConfigStatusTypeDISABLED, EncryptionDisabled: new(false)},
		},
		Artifacts: &api.BuildArtifacts{Location: new("")}, Initiator: new("alice"), ProjectName: new("app"),
	}
	trimmed := *got
	trimmed.Source, trimmed.Environment, trimmed.Cache, trimmed.ServiceRole, trimmed.EncryptionKey = nil, nil, nil, nil, nil
	trimmed.TimeoutInMinutes, trimmed.QueuedTimeoutInMinutes, trimmed.AutoRetryConfig = nil, nil, nil
	trimmed.SecondarySources, trimmed.SecondarySourceVersions, trimmed.SecondaryArtifacts, trimmed.FileSystemLocations = nil, nil, nil, nil
	trimmed.ExportedEnvironmentVariables, trimmed.ReportArns = nil, nil
	if d := cmp.Diff(want, &trimmed); d != "" {
		t.Errorf("build (-want +got):\n%s", d)
	}
	if got.SourceVersion != nil {
		t.Errorf("sourceVersion = %q, want none", *got.SourceVersion)
	}
	read, err := b.BatchGetBuilds(b.ctx, &api.BatchGetBuildsInput{Ids: []string{*got.Id}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]api.Build{*got}, read.Builds); d != "" {
		t.Errorf("read back (-started +read):\n%s", d)
	}
}

func TestStartBuild_OverridesAndMerges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", func(in *api.CreateProjectInput) {
		in.Environment.EnvironmentVariables = []api.EnvironmentVariable{{Name: new("A"), Value: new("1")}, {Name: new("B"), Value: new("2")}}
		in.SourceVersion = new("main")
	})
	got := b.start(t, &api.StartBuildInput{
		ProjectName: new("app"), SourceVersion: new("v2"), SourceTypeOverride: api.SourceTypeNO_SOURCE, BuildspecOverride: new("version: 0.2\nphases: {}"),
		EnvironmentVariablesOverride: []api.EnvironmentVariable{{Name: new("B"), Value: new("")}, {Name: new("C"), Value: new("3")}},
		TimeoutInMinutesOverride:     new(7), ComputeTypeOverride: api.ComputeTypeBUILD_GENERAL1_LARGE, ImageOverride: new("other"),
		ArtifactsOverride: &api.ProjectArtifacts{Type: api.ArtifactsTypeS3, Location: new("bucket"), Path: new("p"), NamespaceType: api.ArtifactNamespaceBUILD_ID, Name: new("a.zip"), Packaging: api.ArtifactPackagingZIP},
	})
	vars := ""
	for _, v := range got.Environment.EnvironmentVariables {
		vars += fmt.Sprintf("%s=%s(%s) ", *v.Name, *v.Value, v.Type)
	}
	_, uuid, _ := strings.Cut(*got.Id, ":")
	for what, pair := range map[string][2]string{
		"variables": {vars, "A=1(PLAINTEXT) B=(PLAINTEXT) C=3(PLAINTEXT) "},
		"version":   {*got.SourceVersion, "v2"},
		"source":    {string(got.Source.Type), "NO_SOURCE"},
		"timeout":   {fmt.Sprint(*got.TimeoutInMinutes), "7"},
		"compute":   {string(got.Environment.ComputeType), "BUILD_GENERAL1_LARGE"},
		"image":     {*got.Environment.Image, "other"},
		"artifacts": {*got.Artifacts.Location, "arn:aws:s3:::bucket/p/" + uuid + "/a.zip"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s = %q, want %q", what, pair[0], pair[1])
		}
	}
	// The project is as it was.
	again := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	if *again.SourceVersion != "main" || *again.BuildNumber != 2 || len(again.Environment.EnvironmentVariables) != 2 {
		t.Errorf("the second build has version %s, number %d, %d variables", *again.SourceVersion, *again.BuildNumber, len(again.Environment.EnvironmentVariables))
	}
}

func TestStartBuild_Refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", func(in *api.CreateProjectInput) { in.ConcurrentBuildLimit = new(1) })
	_, err := b.StartBuild(b.ctx, &api.StartBuildInput{ProjectName: new("nothing")})
	wantError(t, err, "ResourceNotFoundException", "Project cannot be found: arn:aws:codebuild:us-west-2:123456789012:project/nothing")
	_, err = b.StartBuild(in("210987654321", "us-west-2", "mallory"), &api.StartBuildInput{ProjectName: new("arn:aws:codebuild:us-west-2:123456789012:project/app")})
	wantError(t, err, "ResourceNotFoundException", "Project cannot be found")
	first := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	_, err = b.StartBuild(b.ctx, &api.StartBuildInput{ProjectName: new("app")})
	wantError(t, err, "AccountLimitExceededException", "Cannot have more than 1 active builds")
	b.finish(t, *first.Id)
	b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	for words, in := range map[string]*api.StartBuildInput{
		"Invalid service role":  {ServiceRoleOverride: new("nobody")},
		"needs a location":      {CacheOverride: &api.ProjectCache{Type: api.CacheTypeS3}},
		"identifier":            {SecondarySourcesOverride: []api.ProjectSource{{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}}},
		"logs in S3":            {LogsConfigOverride: &api.LogsConfig{S3Logs: &api.S3LogsConfig{Status: api.LogsConfigStatusTypeENABLED}}},
		"user name or password": {SourceLocationOverride: new("https://user:password@github.com/o/r.git")},
	} {
		in.ProjectName = new("app")
		_, err = b.StartBuild(b.ctx, in)
		wantError(t, err, "InvalidInputException", words)
	}
	b.MaxQueued = 1
	b.project(t, "other", nil)
	_, err = b.StartBuild(b.ctx, &api.StartBuildInput{ProjectName: new("other")})
	wantError(t, err, "AccountLimitExceededException", "Cannot have more than 1 builds in queue for the account")
}

func TestStartBuild_IdempotencyToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	in := &api.StartBuildInput{ProjectName: new("app"), IdempotencyToken: new("once")}
	first := b.start(t, in)
	if again := b.start(t, in); *again.Id != *first.Id {
		t.Errorf("the same token started %s and %s", *first.Id, *again.Id)
	}
	_, err := b.StartBuild(b.ctx, &api.StartBuildInput{ProjectName: new("app"), IdempotencyToken: new("once"), SourceVersion: new("other")})
	wantError(t, err, "InvalidInputException", "parameter mismatch")
	b.forward(6 * time.Minute)
	if later := b.start(t, in); *later.Id == *first.Id {
		t.Error("the token is remembered for more than five minutes")
	}
}

func TestStopBuild(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	queued := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	b.forward(2 * time.Second)
	out, err := b.StopBuild(b.ctx, &api.StopBuildInput{Id: queued.Arn})
	if err != nil {
		t.Fatal(err)
	}
	if s := out.Build; s.BuildStatus != api.StatusTypeSTOPPED || !*s.BuildComplete || *s.CurrentPhase != "COMPLETED" || *s.Phases[1].DurationInSeconds != 2 {
		t.Errorf("stopped build: %s, complete %t, phase %s", s.BuildStatus, *s.BuildComplete, *s.CurrentPhase)
	}
	if again, err := b.StopBuild(b.ctx, &api.StopBuildInput{Id: queued.Id}); err != nil || again.Build.BuildStatus != api.StatusTypeSTOPPED {
		t.Errorf("stopping again: %v, %v", again, err)
	}
	_, err = b.StopBuild(b.ctx, &api.StopBuildInput{Id: new("nonsense")})
	wantError(t, err, "InvalidInputException", "Invalid build ID provided")
	_, err = b.StopBuild(b.ctx, &api.StopBuildInput{Id: new("app:00000000-0000-4000-8000-000000000000")})
	wantError(t, err, "ResourceNotFoundException", "Build app:00000000-0000-4000-8000-000000000000 does not exist")
}

func TestRetryBuild(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	first := b.start(t, &api.StartBuildInput{ProjectName: new("app"), SourceVersion: new("v1"), ImageOverride: new("special")})
	b.finish(t, *first.Id)
	out, err := b.RetryBuild(b.ctx, &api.RetryBuildInput{Id: first.Id})
	if err != nil {
		t.Fatal(err)
	}
	r := out.Build
	if *r.Id == *first.Id || *r.BuildNumber != 2 || *r.SourceVersion != "v1" || *r.Environment.Image != "special" || r.BuildStatus != api.StatusTypeIN_PROGRESS || len(r.Phases) != 2 {
		t.Errorf("retried build: %s number %d version %s image %s status %s phases %d", *r.Id, *r.BuildNumber, *r.SourceVersion, *r.Environment.Image, r.BuildStatus, len(r.Phases))
	}
	_, err = b.RetryBuild(b.ctx, &api.RetryBuildInput{})
	wantError(t, err, "InvalidInputException", "id is required")
}

func TestListBuilds_Pages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	b.project(t, "other", nil)
	var want []string // newest first
	for range 250 {
		id := *b.start(t, &api.StartBuildInput{ProjectName: new("app")}).Id
		want = append([]string{id}, want...)
	}
	b.forward(time.Second)
	b.start(t, &api.StartBuildInput{ProjectName: new("other")})
	var got []string
	var token *string
	for pages := 0; pages == 0 || token != nil; pages++ {
		out, err := b.ListBuildsForProject(b.ctx, &api.ListBuildsForProjectInput{ProjectName: new("app"), NextToken: token})
		if err != nil || len(out.Ids) > 100 {
			t.Fatalf("page %d: %d ids, %v", pages, len(out.Ids), err)
		}
		got, token = append(got, out.Ids...), out.NextToken
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("builds of app (-want +got):\n%s", d)
	}
	all, err := b.ListBuilds(b.ctx, &api.ListBuildsInput{})
	if err != nil || len(all.Ids) != 100 || !strings.HasPrefix(all.Ids[0], "other:") || all.NextToken == nil {
		t.Errorf("ListBuilds: %d ids, %v", len(all.Ids), err)
	}
	_, err = b.ListBuilds(in("210987654321", "us-west-2", "mallory"), &api.ListBuildsInput{NextToken: all.NextToken})
	wantError(t, err, "InvalidInputException", "nextToken")
	_, err = b.ListBuilds(b.ctx, &api.ListBuildsInput{NextToken: new("x")})
	wantError(t, err, "InvalidInputException", "nextToken")
	_, err = b.ListBuildsForProject(b.ctx, &api.ListBuildsForProjectInput{ProjectName: new("none")})
	wantError(t, err, "ResourceNotFoundException", "The provided project arn:aws:codebuild:us-west-2:123456789012:project/none does not exist")
}

func TestBatchDeleteBuilds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.project(t, "app", nil)
	done := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	b.finish(t, *done.Id)
	waiting := b.start(t, &api.StartBuildInput{ProjectName: new("app")})
	out, err := b.BatchDeleteBuilds(b.ctx, &api.BatchDeleteBuildsInput{Ids: []string{*done.Id, *waiting.Id}})
	if err != nil {
		t.Fatal(err)
	}
	want := &api.BatchDeleteBuildsOutput{
		BuildsDeleted:    []string{*done.Arn},
		BuildsNotDeleted: []api.BuildNotDeleted{{Id: waiting.Arn, StatusCode: new("BUILD_IN_PROGRESS")}},
	}
	if d := cmp.Diff(want, out); d != "" {
		t.Errorf("answer (-want +got):\n%s", d)
	}
	if got := b.start(t, &api.StartBuildInput{ProjectName: new("app")}); *got.BuildNumber != 3 {
		t.Errorf("the next build has number %d, want 3", *got.BuildNumber)
	}
}
