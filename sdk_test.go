package corbel_test

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The official Go SDK drives the operations and decodes every answer.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := serve(t)
	own := s.client()
	cfg := aws.Config{
		Region: "eu-west-1", BaseEndpoint: &s.url,
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.Secret.Reveal(), ""),
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil || !strings.HasSuffix(*who.Arn, ":user/admin") {
		t.Fatalf("GetCallerIdentity = %+v, %v", who, err)
	}
	cb := codebuild.NewFromConfig(cfg)
	imported, err := cb.ImportSourceCredentials(ctx, &codebuild.ImportSourceCredentialsInput{
		ServerType: types.ServerTypeBitbucket, AuthType: types.AuthTypeBasicAuth, Token: aws.String("ATBBappPassword0123456789"), Username: aws.String("bob")})
	if err != nil || *imported.Arn != "arn:aws:codebuild:eu-west-1:"+*who.Account+":token/bitbucket" {
		t.Fatalf("ImportSourceCredentials = %+v, %v", imported, err)
	}
	_, err = cb.ImportSourceCredentials(ctx, &codebuild.ImportSourceCredentialsInput{
		ServerType: types.ServerTypeBitbucket, AuthType: types.AuthTypeBasicAuth, Token: aws.String("x"), Username: aws.String("bob"), ShouldOverwrite: aws.Bool(false)})
	if exists := new(types.ResourceAlreadyExistsException); !errors.As(err, &exists) {
		t.Errorf("import over another = %v", err)
	}
	list, err := cb.ListSourceCredentials(ctx, nil)
	if err != nil || len(list.SourceCredentialsInfos) != 1 || list.SourceCredentialsInfos[0].AuthType != types.AuthTypeBasicAuth {
		t.Errorf("ListSourceCredentials = %+v, %v", list, err)
	}
	if _, err := cb.DeleteSourceCredentials(ctx, &codebuild.DeleteSourceCredentialsInput{Arn: imported.Arn}); err != nil {
		t.Error(err)
	}
	_, err = cb.DeleteSourceCredentials(ctx, &codebuild.DeleteSourceCredentialsInput{Arn: imported.Arn})
	if missing := new(types.ResourceNotFoundException); !errors.As(err, &missing) {
		t.Errorf("delete again = %v", err)
	}

	project, err := cb.CreateProject(ctx, &codebuild.CreateProjectInput{
		Name: aws.String("app"), ServiceRole: aws.String("arn:aws:iam::" + *who.Account + ":role/x"),
		Source:      &types.ProjectSource{Type: types.SourceTypeNoSource, Buildspec: aws.String("version: 0.2\nphases:\n  build:\n    commands: [echo seen by the SDK]\n")},
		Artifacts:   &types.ProjectArtifacts{Type: types.ArtifactsTypeNoArtifacts},
		Environment: &types.ProjectEnvironment{Type: types.EnvironmentTypeLinuxContainer, Image: aws.String("host"), ComputeType: types.ComputeTypeBuildGeneral1Small},
		Tags:        []types.Tag{{Key: aws.String("team"), Value: aws.String("")}},
	})
	if err != nil || time.Since(*project.Project.Created).Abs() > time.Minute || *project.Project.TimeoutInMinutes != 60 {
		t.Fatalf("CreateProject = %+v, %v", project, err)
	}
	updated, err := cb.UpdateProject(ctx, &codebuild.UpdateProjectInput{Name: aws.String("app"), Description: aws.String("changed"), TimeoutInMinutes: aws.Int32(7)})
	if err != nil || *updated.Project.Description != "changed" || len(updated.Project.Tags) != 1 {
		t.Errorf("UpdateProject = %+v, %v", updated, err)
	}
	got, err := cb.BatchGetProjects(ctx, &codebuild.BatchGetProjectsInput{Names: []string{*project.Project.Arn, "none"}})
	if err != nil || len(got.Projects) != 1 || *got.Projects[0].TimeoutInMinutes != 7 || len(got.ProjectsNotFound) != 1 {
		t.Errorf("BatchGetProjects = %+v, %v", got, err)
	}
	if names, err := cb.ListProjects(ctx, nil); err != nil || len(names.Projects) != 1 {
		t.Errorf("ListProjects = %+v, %v", names, err)
	}

	started, err := cb.StartBuild(ctx, &codebuild.StartBuildInput{ProjectName: aws.String("app")})
	if err != nil || time.Since(*started.Build.StartTime).Abs() > time.Minute || !strings.Contains(*started.Build.Logs.CloudWatchLogsArn, ":log-group:null:log-stream:null") {
		t.Fatalf("StartBuild = %+v, %v", started, err)
	}
	var build types.Build
	wait(t, "the end of the build", func() bool {
		out, err := cb.BatchGetBuilds(ctx, &codebuild.BatchGetBuildsInput{Ids: []string{*started.Build.Id}})
		if err != nil || len(out.Builds) != 1 {
			t.Fatalf("BatchGetBuilds = %+v, %v", out, err)
		}
		build = out.Builds[0]
		return build.BuildComplete
	})
	if build.BuildStatus != types.StatusTypeSucceeded || len(build.Phases) != 11 || build.EndTime == nil || build.Phases[10].EndTime != nil {
		t.Errorf("build = %+v", build)
	}
	readLog(t, cfg, &build)

	again, err := cb.RetryBuild(ctx, &codebuild.RetryBuildInput{Id: build.Id})
	if err != nil || again.Build.BuildNumber == nil || *again.Build.BuildNumber != 2 {
		t.Fatalf("RetryBuild = %+v, %v", again, err)
	}
	if _, err := cb.StopBuild(ctx, &codebuild.StopBuildInput{Id: again.Build.Id}); err != nil {
		t.Error(err)
	}
	ids, err := cb.ListBuildsForProject(ctx, &codebuild.ListBuildsForProjectInput{ProjectName: aws.String("app")})
	if err != nil || len(ids.Ids) != 2 || ids.Ids[0] != *again.Build.Id {
		t.Errorf("ListBuildsForProject = %+v, %v", ids, err)
	}
	if all, err := cb.ListBuilds(ctx, nil); err != nil || len(all.Ids) != 2 {
		t.Errorf("ListBuilds = %+v, %v", all, err)
	}
	if gone, err := cb.BatchDeleteBuilds(ctx, &codebuild.BatchDeleteBuildsInput{Ids: []string{*build.Id}}); err != nil || len(gone.BuildsDeleted) != 1 || gone.BuildsDeleted[0] != *build.Arn {
		t.Errorf("BatchDeleteBuilds = %+v, %v", gone, err)
	}
	if _, err := cb.DeleteProject(ctx, &codebuild.DeleteProjectInput{Name: project.Project.Arn}); err != nil {
		t.Error(err)
	}

	_, err = cb.ListFleets(ctx, nil)
	var resp *smithyhttp.ResponseError
	var coded smithy.APIError
	if !errors.As(err, &resp) || resp.HTTPStatusCode() != http.StatusNotImplemented || !errors.As(err, &coded) || coded.ErrorCode() != "NotImplementedException" {
		t.Errorf("an operation that is not there = %v", err)
	}
	bad := cfg
	bad.Credentials = credentials.NewStaticCredentialsProvider(own.AccessKeyID, "wrong", "")
	if _, err := codebuild.NewFromConfig(bad).ListProjects(ctx, nil); !errors.As(err, &coded) || coded.ErrorCode() != "InvalidSignatureException" {
		t.Errorf("a wrong secret = %v", err)
	}
	bad.Credentials = credentials.NewStaticCredentialsProvider("AKIANOTHERE", "wrong", "")
	if _, err := codebuild.NewFromConfig(bad).ListProjects(ctx, nil); !errors.As(err, &coded) || coded.ErrorCode() != "UnrecognizedClientException" {
		t.Errorf("an unknown key = %v", err)
	}
}

// readLog reads a finished build's log in all ways.
func readLog(t *testing.T, cfg aws.Config, build *types.Build) {
	t.Helper()
	ctx := context.Background()
	cw := cloudwatchlogs.NewFromConfig(cfg)
	in := &cloudwatchlogs.GetLogEventsInput{LogGroupName: build.Logs.GroupName, LogStreamName: build.Logs.StreamName, StartFromHead: aws.Bool(true)}
	var text strings.Builder
	for empty := 0; empty < 2; {
		out, err := cw.GetLogEvents(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			text.WriteString(*e.Message)
		}
		if len(out.Events) == 0 {
			empty++
			if in.NextToken != nil && *out.NextForwardToken != *in.NextToken {
				t.Errorf("at the end the token changes from %s to %s", *in.NextToken, *out.NextForwardToken)
			}
		}
		in.NextToken = out.NextForwardToken
	}
	if !strings.Contains(text.String(), "\nseen by the SDK\n") {
		t.Errorf("the log lacks the command's output:\n%s", text.String())
	}
	groups, err := cw.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/aws/codebuild/")})
	if err != nil || len(groups.LogGroups) != 1 || *groups.LogGroups[0].LogGroupName != "/aws/codebuild/app" {
		t.Errorf("DescribeLogGroups = %+v, %v", groups, err)
	}
	streams, err := cw.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: build.Logs.GroupName})
	if err != nil || len(streams.LogStreams) != 1 || *streams.LogStreams[0].LogStreamName != *build.Logs.StreamName {
		t.Errorf("DescribeLogStreams = %+v, %v", streams, err)
	}
	found, err := cw.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: build.Logs.GroupName, FilterPattern: aws.String(`"by the SDK"`)})
	if err != nil || len(found.Events) != 2 { // the command and its output
		t.Errorf("FilterLogEvents = %+v, %v", found, err)
	}
}

// boto3 does the same from Python.
func TestBoto3(t *testing.T) {
	t.Parallel()
	python := ""
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import boto3").Run() == nil {
			python = p
			break
		}
	}
	if python == "" {
		if strict {
			t.Fatal("no python3 has boto3, and CI may skip nothing")
		}
		t.Skip("no python3 has boto3")
	}
	s := serve(t)
	if out, err := s.run(python, "testdata/python/judge.py", s.url); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// "aws logs tail --follow" of the distribution's AWS CLI shows a log live.
func TestLogsTail(t *testing.T) {
	t.Parallel()
	program := needs(t, "/usr/bin/aws")
	s := serve(t)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [echo tailed]\n")
	if b := s.build(startInput("app")); b.BuildStatus != "SUCCEEDED" {
		t.Fatalf("the build is %s", b.BuildStatus)
	}
	out := s.must(program, "logs", "tail", "/aws/codebuild/app", "--format", "short", "--endpoint-url", s.url)
	if !strings.Contains(out, "tailed\n") {
		t.Errorf("aws logs tail:\n%s", out)
	}
}
