package service

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

// A projectBench is a service with a database and a clock of its own. Its
// calls go through the documents that are on the wire.
type projectBench struct {
	*Service
	t    *testing.T
	path string // of the database
	mu   sync.Mutex
	now  time.Time
}

var (
	acme      = access.Principal{Scope: store.Scope{Account: "111122223333", Region: "eu-west-1"}, User: "ada", KeyID: "AKIAEXAMPLE"}
	acmeOther = access.Principal{Scope: store.Scope{Account: "111122223333", Region: "us-east-1"}, User: "ada", KeyID: "AKIAEXAMPLE"}
	stranger  = access.Principal{Scope: store.Scope{Account: "444455556666", Region: "eu-west-1"}, User: "eve", KeyID: "AKIAEXAMPLE2"}
)

const siteARN = "arn:aws:codebuild:eu-west-1:111122223333:project/site"

func newProjectBench(t *testing.T) *projectBench {
	t.Helper()
	b := &projectBench{t: t, path: filepath.Join(t.TempDir(), "corbel.db"), now: time.UnixMilli(1548717462122)}
	db, err := sqlite.Open(t.Context(), b.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Service = &Service{Store: db, URL: "https://corbel.example", Now: func() time.Time {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.now
	}}
	return b
}

func (b *projectBench) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(time.Minute)
}

// as calls an operation with a document and returns the answer's document.
func (b *projectBench) as(p access.Principal, operation, doc string) (map[string]any, error) {
	b.t.Helper()
	ctx := access.With(b.t.Context(), p)
	shape := api.Contract.Operation(operation).Input
	calls := map[string]func(context.Context, []byte) (any, error){
		"CreateProject":    api.Call(&api.Contract, shape, b.CreateProject),
		"UpdateProject":    api.Call(&api.Contract, shape, b.UpdateProject),
		"DeleteProject":    api.Call(&api.Contract, shape, b.DeleteProject),
		"BatchGetProjects": api.Call(&api.Contract, shape, b.BatchGetProjects),
		"ListProjects":     api.Call(&api.Contract, shape, b.ListProjects),
	}
	out, err := calls[operation](ctx, []byte(doc))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(out)
	if err != nil {
		b.t.Fatal(err)
	}
	return object(b.t, string(text)), nil
}

// ok is as for a call of acme that must succeed.
func (b *projectBench) ok(operation, doc string) map[string]any {
	b.t.Helper()
	out, err := b.as(acme, operation, doc)
	if err != nil {
		b.t.Fatalf("%s(%s): %v", operation, doc, err)
	}
	return out
}

// project creates or updates and returns the project of the answer.
func (b *projectBench) project(operation, doc string) map[string]any {
	b.t.Helper()
	return b.ok(operation, doc)["project"].(map[string]any)
}

// read gets the one project that ref names.
func (b *projectBench) read(ref string) map[string]any {
	b.t.Helper()
	out := b.ok("BatchGetProjects", `{"names":["`+ref+`"]}`)
	list := out["projects"].([]any)
	if len(list) != 1 {
		b.t.Fatalf("BatchGetProjects(%s) has %d projects: %v", ref, len(list), out)
	}
	return list[0].(map[string]any)
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

func document(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const minimal = `{"name":"site","source":{"type":"GITHUB","location":"https://github.com/acme/site.git"},
	"artifacts":{"type":"NO_ARTIFACTS"},
	"environment":{"type":"LINUX_CONTAINER","image":"2","computeType":"BUILD_GENERAL1_SMALL"},
	"serviceRole":"arn:aws:iam::111122223333:role/service-role/codebuild"}`

// with is minimal with some members replaced, or removed where they are null.
func with(t *testing.T, patch string) string {
	t.Helper()
	doc := object(t, minimal)
	for k, v := range object(t, patch) {
		if doc[k] = v; v == nil {
			delete(doc, k)
		}
	}
	return document(t, doc)
}

// everything has each member that a project can be given.
const everything = `{"name":"site","description":"the site",
	"source":{"type":"GITHUB","location":"https://github.com/acme/site.git","gitCloneDepth":1,"gitSubmodulesConfig":{"fetchSubmodules":true},
		"buildspec":"ci/build.yml","auth":{"type":"SECRETS_MANAGER","resource":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:gh-AbCdEf"},
		"reportBuildStatus":true,"buildStatusConfig":{"context":"ci","targetUrl":"https://example.com"},"insecureSsl":false,"sourceIdentifier":"main"},
	"secondarySources":[{"type":"S3","location":"bucket/code.zip","sourceIdentifier":"lib","insecureSsl":true}],
	"sourceVersion":"main","secondarySourceVersions":[{"sourceIdentifier":"lib","sourceVersion":"v1"}],
	"artifacts":{"type":"S3","location":"out","path":"p","namespaceType":"BUILD_ID","name":"n","packaging":"ZIP","overrideArtifactName":true,
		"encryptionDisabled":true,"artifactIdentifier":"all","bucketOwnerAccess":"FULL"},
	"secondaryArtifacts":[{"type":"S3","location":"out","artifactIdentifier":"docs","name":"docs","packaging":"NONE","namespaceType":"NONE","overrideArtifactName":false,"encryptionDisabled":false}],
	"cache":{"type":"LOCAL","modes":["LOCAL_SOURCE_CACHE"],"cacheNamespace":"ns"},
	"environment":{"type":"LINUX_CONTAINER","image":"registry.example/ci:1","computeType":"BUILD_GENERAL1_LARGE",
		"computeConfiguration":{"vCpu":4,"memory":8,"disk":64,"machineType":"GENERAL","instanceType":"c6i.large"},
		"fleet":{"fleetArn":""},
		"environmentVariables":[{"name":"A","value":"","type":"PLAINTEXT"},{"name":"CODEBUILD_MINE","value":"1","type":"PARAMETER_STORE"}],
		"privilegedMode":true,"certificate":"bucket/ca.pem","imagePullCredentialsType":"SERVICE_ROLE",
		"registryCredential":{"credential":"registry","credentialProvider":"SECRETS_MANAGER"},
		"dockerServer":{"computeType":"BUILD_GENERAL1_SMALL","securityGroupIds":["sg-1"]}},
	"serviceRole":"arn:aws:iam::111122223333:role/codebuild","timeoutInMinutes":5,"queuedTimeoutInMinutes":6,
	"encryptionKey":"arn:aws:kms:eu-west-1:111122223333:key/k","tags":[{"key":"team","value":"web"},{"key":"empty","value":""}],
	"vpcConfig":{"vpcId":"vpc-1","subnets":["subnet-1","subnet-2"],"securityGroupIds":["sg-1"]},"badgeEnabled":true,
	"logsConfig":{"cloudWatchLogs":{"status":"ENABLED","groupName":"g","streamName":"s"},
		"s3Logs":{"status":"ENABLED","location":"logs/build","encryptionDisabled":true,"bucketOwnerAccess":"READ_ONLY"}},
	"fileSystemLocations":[{"type":"EFS","location":"fs-1.efs.eu-west-1.amazonaws.com:/","mountPoint":"/mnt","identifier":"data","mountOptions":"nfsvers=4.1"}],
	"buildBatchConfig":{"serviceRole":"arn:aws:iam::111122223333:role/batch","combineArtifacts":true,
		"restrictions":{"maximumBuildsAllowed":10,"computeTypesAllowed":["BUILD_GENERAL1_SMALL"],"fleetsAllowed":[]},"timeoutInMins":60,"batchReportMode":"REPORT_AGGREGATED_BATCH"},
	"concurrentBuildLimit":3,"autoRetryLimit":2}`

// The defaults are the ones that Terraform expects to read back.
func TestCreateProject_Defaults(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	got := b.project("CreateProject", minimal)
	want := object(t, `{"name":"site","arn":"`+siteARN+`",
		"source":{"type":"GITHUB","location":"https://github.com/acme/site.git","insecureSsl":false,"reportBuildStatus":false},
		"secondarySources":[],"secondarySourceVersions":[],"secondaryArtifacts":[],
		"artifacts":{"type":"NO_ARTIFACTS"},"cache":{"type":"NO_CACHE"},
		"environment":{"type":"LINUX_CONTAINER","image":"2","computeType":"BUILD_GENERAL1_SMALL","environmentVariables":[],
			"privilegedMode":false,"imagePullCredentialsType":"CODEBUILD"},
		"serviceRole":"arn:aws:iam::111122223333:role/service-role/codebuild","timeoutInMinutes":60,"queuedTimeoutInMinutes":480,
		"encryptionKey":"arn:aws:kms:eu-west-1:111122223333:alias/aws/s3","tags":[],
		"created":1548717462.122,"lastModified":1548717462.122,"badge":{"badgeEnabled":false},
		"logsConfig":{"cloudWatchLogs":{"status":"ENABLED"},"s3Logs":{"status":"DISABLED","encryptionDisabled":false}},
		"projectVisibility":"PRIVATE","autoRetryLimit":0}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("created project (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, b.read("site")); diff != "" {
		t.Errorf("read differs from created (-created +read):\n%s", diff)
	}
}

func TestCreateProject_DefaultsOfArtifacts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, given, want string }{
		{"S3", `{"type":"S3","location":"out"}`, `{"type":"S3","location":"out","name":"site","namespaceType":"NONE","packaging":"NONE","encryptionDisabled":false,"overrideArtifactName":false}`},
		{"CODEPIPELINE", `{"type":"CODEPIPELINE"}`, `{"type":"CODEPIPELINE","name":"site","packaging":"NONE"}`},
		{"ignored members", `{"type":"NO_ARTIFACTS","overrideArtifactName":false,"path":"p","packaging":"ZIP","namespaceType":"NONE"}`, `{"type":"NO_ARTIFACTS"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newProjectBench(t)
			source := `{"type":"GITHUB","location":"https://github.com/acme/site"}`
			if c.name == "CODEPIPELINE" {
				source = `{"type":"CODEPIPELINE"}`
			}
			got := b.project("CreateProject", with(t, `{"artifacts":`+c.given+`,"source":`+source+`}`))
			if diff := cmp.Diff(object(t, c.want), got["artifacts"]); diff != "" {
				t.Errorf("artifacts (-want +got):\n%s", diff)
			}
		})
	}
}

// Each member that the contract has is stored and answered as it was given,
// also those that have no effect yet.
func TestCreateProject_KeepsEverything(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	given := object(t, everything)
	for _, m := range api.Contract.Shapes[api.Contract.Operation("CreateProject").Input].Members {
		if _, ok := given[m.Name]; !ok {
			t.Errorf("the test does not give %s", m.Name)
		}
	}
	created := b.project("CreateProject", everything)
	badge := created["badge"].(map[string]any)
	if url, _ := badge["badgeRequestUrl"].(string); badge["badgeEnabled"] != true || !strings.HasPrefix(url, "https://corbel.example/badges?uuid=") {
		t.Errorf("badge is %v", badge)
	}
	delete(given, "badgeEnabled") // answered as badge
	for k, v := range given {
		if diff := cmp.Diff(v, created[k]); diff != "" {
			t.Errorf("%s (-given +answered):\n%s", k, diff)
		}
	}
	if diff := cmp.Diff(created, b.read(siteARN)); diff != "" {
		t.Errorf("read differs from created (-created +read):\n%s", diff)
	}
}

func TestCreateProject_Invalid(t *testing.T) {
	t.Parallel()
	const pipeline = "Invalid input: when using CodePipeline both sourceType, and artifactType must be set to: CODEPIPELINE"
	const badIdentifier = "Invalid input: identifier must contain only alphanumeric characters and underscores and be less than 128 characters in length"
	github := func(more string) string {
		return `{"source":{"type":"GITHUB","location":"https://github.com/acme/site"` + more + `}}`
	}
	environment := func(more string) string {
		return `{"environment":{"type":"LINUX_CONTAINER","computeType":"BUILD_GENERAL1_SMALL",` + more + `}}`
	}
	for _, c := range []struct{ name, patch, message string }{
		{"no location", `{"source":{"type":"GITHUB"}}`, "Project source location is required"},
		{"empty location", `{"source":{"type":"S3","location":""}}`, "Project source location is required"},
		{"ssh location", `{"source":{"type":"GITHUB","location":"git@github.com:acme/site.git"}}`, "must be an HTTPS clone URL"},
		{"location without scheme", `{"source":{"type":"CODECOMMIT","location":"site"}}`, "must be an HTTPS clone URL"},
		{"file location", `{"source":{"type":"GITHUB","location":"file:///etc"}}`, "must be an HTTPS clone URL"},
		{"user in location", `{"source":{"type":"GITHUB","location":"https://ada@github.com/acme/site"}}`, "store the token with import-source-credentials"},
		{"password in location", `{"source":{"type":"BITBUCKET","location":"https://ada:ghp_secret@bitbucket.org/acme/site"}}`, "store the token with import-source-credentials"},
		{"broken location with password", `{"source":{"type":"GITHUB","location":"https://ada:ghp_secret%@github.com/acme/site"}}`, "must be an HTTPS clone URL"},
		{"no source with path", `{"source":{"type":"NO_SOURCE","buildspec":"buildspec.yml"}}`, "source type NO_SOURCE needs an inline buildspec"},
		{"no source without buildspec", `{"source":{"type":"NO_SOURCE"}}`, "source type NO_SOURCE needs an inline buildspec"},
		{"no source with location", `{"source":{"type":"NO_SOURCE","location":"x","buildspec":"version: 0.2\nphases: {}"}}`, "must not have a location"},
		{"status of no source", `{"source":{"type":"NO_SOURCE","buildspec":"version: 0.2\n","reportBuildStatus":false}}`, "Source type NO_SOURCE does not support ReportBuildStatus"},
		{"status of CodeCommit", `{"source":{"type":"CODECOMMIT","location":"https://git-codecommit.x/v1/repos/a","reportBuildStatus":true}}`, "Source type CODECOMMIT does not support ReportBuildStatus"},
		{"submodules of S3", `{"source":{"type":"S3","location":"b/k","gitSubmodulesConfig":{"fetchSubmodules":false}}}`, "Source type S3 does not support GitSubmodulesConfig"},
		{"badge of S3", `{"source":{"type":"S3","location":"b/k"},"badgeEnabled":true}`, "Build badges are not supported for S3 source"},
		{"badge of CodePipeline", `{"source":{"type":"CODEPIPELINE"},"artifacts":{"type":"CODEPIPELINE"},"badgeEnabled":true}`, "Build badges are not supported for CodePipeline source"},
		{"auth without resource", github(`,"auth":{"type":"CODECONNECTIONS"}`), "auth type CODECONNECTIONS needs a resource"},
		{"no token", github(`,"auth":{"type":"OAUTH"}`), "No Access token found, please visit AWS CodeBuild console to connect to GitHub"},
		{"no token for secondary source", `{"secondarySources":[{"type":"BITBUCKET","location":"https://bitbucket.org/a/b","sourceIdentifier":"b","auth":{"type":"OAUTH"}}]}`, "please visit AWS CodeBuild console to connect to Bitbucket"},
		{"identifier of primary source", github(`,"sourceIdentifier":"a-b"`), badIdentifier},
		{"secondary source without identifier", `{"secondarySources":[{"type":"S3","location":"b/k"}]}`, badIdentifier},
		{"long identifier", `{"secondarySources":[{"type":"S3","location":"b/k","sourceIdentifier":"` + strings.Repeat("a", 128) + `"}]}`, badIdentifier},
		{"identifier twice", `{"secondarySources":[{"type":"S3","location":"b/k","sourceIdentifier":"a"},{"type":"S3","location":"b/l","sourceIdentifier":"a"}]}`, "the sourceIdentifier a is used twice"},

		{"pipeline source only", `{"source":{"type":"CODEPIPELINE"}}`, pipeline},
		{"pipeline artifacts only", `{"artifacts":{"type":"CODEPIPELINE"}}`, pipeline},
		{"no artifacts with location", `{"artifacts":{"type":"NO_ARTIFACTS","location":"b"}}`, "Invalid artifacts: artifact type NO_ARTIFACTS should have null location"},
		{"no artifacts with name", `{"artifacts":{"type":"NO_ARTIFACTS","name":""}}`, "Invalid artifacts: artifact type NO_ARTIFACTS should have null output name"},
		{"no artifacts with encryption", `{"artifacts":{"type":"NO_ARTIFACTS","encryptionDisabled":false}}`, "Invalid artifacts: artifact type NO_ARTIFACTS should have null encryptionDisabled"},
		{"S3 artifacts with path in location", `{"artifacts":{"type":"S3","location":"bucket/path"}}`, "must be the name of a bucket"},
		{"S3 artifacts without location", `{"artifacts":{"type":"S3"}}`, "must be the name of a bucket"},
		{"secondary pipeline artifacts", `{"secondaryArtifacts":[{"type":"CODEPIPELINE","artifactIdentifier":"a"}]}`, "secondary artifacts cannot have type CODEPIPELINE"},
		{"secondary artifacts without identifier", `{"secondaryArtifacts":[{"type":"S3","location":"b"}]}`, badIdentifier},
		{"artifact identifier twice", `{"secondaryArtifacts":[{"type":"S3","location":"b","artifactIdentifier":"a"},{"type":"S3","location":"b","artifactIdentifier":"a"}]}`, "the artifactIdentifier a is used twice"},

		{"registry credential without role", environment(`"image":"r/i","registryCredential":{"credential":"c","credentialProvider":"SECRETS_MANAGER"}`), "needs imagePullCredentialsType SERVICE_ROLE"},
		{"registry credential with ECR", environment(`"image":"1.dkr.ecr.eu-west-1.amazonaws.com/i","imagePullCredentialsType":"SERVICE_ROLE","registryCredential":{"credential":"c","credentialProvider":"SECRETS_MANAGER"}`), "Amazon ECR"},
		{"curated image with role", environment(`"image":"aws/codebuild/standard:7.0","imagePullCredentialsType":"SERVICE_ROLE"`), "need imagePullCredentialsType CODEBUILD"},
		{"certificate without bucket", environment(`"image":"i","certificate":"ca.pem"`), "the certificate must be bucket/key"},
		{"certificate with other ending", environment(`"image":"i","certificate":"bucket/ca.crt"`), "the certificate must be bucket/key"},
		{"variable name with =", environment(`"image":"i","environmentVariables":[{"name":"A=B","value":""}]`), "Invalid environment variable"},
		{"variable value with NUL", environment(`"image":"i","environmentVariables":[{"name":"A","value":"a\u0000b"}]`), "Invalid environment variable"},

		{"role is a name", `{"serviceRole":"codebuild"}`, "Invalid service role"},
		{"role is a user", `{"serviceRole":"arn:aws:iam::111122223333:user/codebuild"}`, "Invalid service role"},
		{"role of another account", `{"serviceRole":"arn:aws:iam::444455556666:role/codebuild"}`, "Invalid service role: Service role account ID does not match caller's account"},
		{"S3 cache without location", `{"cache":{"type":"S3","location":""}}`, "cache type S3 needs a location"},
		{"local cache without modes", `{"cache":{"type":"LOCAL","modes":[]}}`, "cache type LOCAL needs at least one mode"},
		{"S3 logs without location", `{"logsConfig":{"s3Logs":{"status":"ENABLED"}}}`, "logs in S3 need a location"},
		{"VPC without subnets", `{"vpcConfig":{"vpcId":"vpc-1","securityGroupIds":["sg-1"]}}`, "vpcId, subnets and securityGroupIds are required together"},
		{"VPC with fleet", `{"vpcConfig":{"vpcId":"vpc-1","subnets":["s"],"securityGroupIds":["sg-1"]},
			"environment":{"type":"LINUX_CONTAINER","image":"i","computeType":"BUILD_GENERAL1_SMALL","fleet":{"fleetArn":"arn:aws:codebuild:eu-west-1:111122223333:fleet/f:1"}}}`, "the fleet's VPC"},
		{"file system identifier", `{"fileSystemLocations":[{"type":"EFS","identifier":"a b"}]}`, badIdentifier},
		{"too many batch builds", `{"buildBatchConfig":{"restrictions":{"maximumBuildsAllowed":101}}}`, "maximumBuildsAllowed must be between 1 and 100"},
		{"no batch builds", `{"buildBatchConfig":{"restrictions":{"maximumBuildsAllowed":0}}}`, "maximumBuildsAllowed must be between 1 and 100"},
		{"short batch", `{"buildBatchConfig":{"timeoutInMins":4}}`, "timeoutInMins must be between 5 and 2160"},
		{"batch role", `{"buildBatchConfig":{"serviceRole":"x"}}`, "Invalid service role"},
		{"no concurrent builds", `{"concurrentBuildLimit":0}`, "concurrentBuildLimit must be at least 1"},
		{"negative retries", `{"autoRetryLimit":-1}`, "autoRetryLimit must not be negative"},
		{"tag twice", `{"tags":[{"key":"a","value":"1"},{"key":"a","value":"2"}]}`, "the tag key a is used twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newProjectBench(t)
			_, err := b.as(acme, "CreateProject", with(t, c.patch))
			var e *api.Error
			if !errors.As(err, &e) || e.Code != "InvalidInputException" || !strings.Contains(e.Message, c.message) {
				t.Fatalf("CreateProject with %s: got %v, want InvalidInputException with %q", c.patch, err, c.message)
			}
			if strings.Contains(e.Message, "ghp_") {
				t.Errorf("the message has the password: %s", e.Message)
			}
			if out := b.ok("ListProjects", `{}`); len(out["projects"].([]any)) != 0 {
				t.Errorf("a project was stored: %v", out)
			}
			// The same rules hold for an update.
			before := b.project("CreateProject", minimal)
			patch := object(t, c.patch)
			patch["name"] = "site"
			if _, err := b.as(acme, "UpdateProject", document(t, patch)); !errors.As(err, &e) || !strings.Contains(e.Message, c.message) {
				t.Errorf("UpdateProject with %s: got %v, want %q", c.patch, err, c.message)
			}
			if diff := cmp.Diff(before, b.read("site")); diff != "" {
				t.Errorf("the refused update changed the project (-before +after):\n%s", diff)
			}
		})
	}
}

// What the service accepts is accepted, and whatever was accepted passes the
// same checks once its defaults are filled in.
func TestCreateProject_Accepted(t *testing.T) {
	t.Parallel()
	for name, patch := range map[string]string{
		"everything":                   everything,
		"null members":                 `{"source":{"type":"GITHUB","location":"https://github.com/a/b","reportBuildStatus":null},"tags":[]}`,
		"no source with auth":          `{"source":{"type":"NO_SOURCE","buildspec":"version: 0.2","auth":{"type":"OAUTH"}}}`,
		"no source with S3 buildspec":  `{"source":{"type":"NO_SOURCE","buildspec":"arn:aws:s3:::bucket/buildspec.yml"}}`,
		"user of Bitbucket":            `{"source":{"type":"BITBUCKET","location":"https://terraform@bitbucket.org/terraform/aws-test.git"}}`,
		"webhook location":             `{"source":{"type":"GITHUB","location":"CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION"}}`,
		"submodules of CodeCommit":     `{"source":{"type":"CODECOMMIT","location":"https://git-codecommit.x/v1/repos/a","gitSubmodulesConfig":{"fetchSubmodules":true}}}`,
		"submodules of GitLab":         `{"source":{"type":"GITLAB","location":"https://gitlab.com/a/b.git","gitSubmodulesConfig":{"fetchSubmodules":true}}}`,
		"self-managed over HTTP":       `{"source":{"type":"GITLAB_SELF_MANAGED","location":"http://gitlab.intern/a/b.git"}}`,
		"S3 folder":                    `{"source":{"type":"S3","location":"bucket/","gitCloneDepth":0,"buildspec":"","insecureSsl":false}}`,
		"pipeline with locations":      `{"source":{"type":"CODEPIPELINE","location":"bucket/"},"artifacts":{"type":"CODEPIPELINE","location":"bucket","encryptionDisabled":false}}`,
		"layer cache, not privileged":  `{"cache":{"type":"LOCAL","location":"","modes":["LOCAL_DOCKER_LAYER_CACHE"]}}`,
		"no cache with empty location": `{"cache":{"type":"NO_CACHE","location":""}}`,
		"certificate by ARN":           `{"environment":{"type":"LINUX_CONTAINER","image":"2","computeType":"BUILD_GENERAL1_SMALL","certificate":"arn:aws:s3:::bucket/ca.zip"}}`,
		"private ECR image":            `{"environment":{"type":"LINUX_CONTAINER","image":"1.dkr.ecr.eu-west-1.amazonaws.com/i","computeType":"BUILD_GENERAL1_SMALL","imagePullCredentialsType":"SERVICE_ROLE"}}`,
		"S3 logs in a bucket":          `{"logsConfig":{"s3Logs":{"status":"ENABLED","location":"bucket"},"cloudWatchLogs":{"status":"DISABLED"}}}`,
		"role of another partition":    `{"serviceRole":"arn:aws-cn:iam::111122223333:role/a/b/c"}`,
		"no limit":                     `{"concurrentBuildLimit":-1}`,
		"empty structures":             `{"vpcConfig":{},"buildBatchConfig":{},"logsConfig":{},"fileSystemLocations":[],"description":"","sourceVersion":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newProjectBench(t)
			created := b.project("CreateProject", with(t, patch))
			b.tick()
			updated := b.project("UpdateProject", `{"name":"site"}`)
			if updated["lastModified"] == created["lastModified"] {
				t.Errorf("lastModified is still %v", updated["lastModified"])
			}
			delete(updated, "lastModified")
			delete(created, "lastModified")
			if diff := cmp.Diff(created, updated); diff != "" {
				t.Errorf("an empty update changed the project (-before +after):\n%s", diff)
			}
		})
	}
}

// Each member alone replaces its old value whole and leaves the others.
func TestUpdateProject_OneMember(t *testing.T) {
	t.Parallel()
	for member, want := range object(t, everything) {
		if member == "name" || member == "badgeEnabled" {
			continue
		}
		t.Run(member, func(t *testing.T) {
			t.Parallel()
			b := newProjectBench(t)
			before := b.project("CreateProject", minimal)
			b.tick()
			after := b.project("UpdateProject", document(t, map[string]any{"name": siteARN, member: want}))
			if diff := cmp.Diff(want, after[member]); diff != "" {
				t.Errorf("%s (-given +answered):\n%s", member, diff)
			}
			if diff := cmp.Diff(after, b.read("site")); diff != "" {
				t.Errorf("read differs from the answer (-answer +read):\n%s", diff)
			}
			if got, want := after["lastModified"], before["lastModified"].(float64)+60; got != want {
				t.Errorf("lastModified is %v, want %v", got, want)
			}
			for _, m := range []string{member, "lastModified"} {
				delete(before, m)
				delete(after, m)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("other members changed (-before +after):\n%s", diff)
			}
		})
	}
}

// What clears a member at the service takes a full project back to a minimal
// one.
func TestUpdateProject_Clears(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	want := b.project("CreateProject", minimal)
	b.ok("DeleteProject", `{"name":"site"}`)
	b.project("CreateProject", everything)
	b.tick()
	base := object(t, minimal)
	for k, v := range object(t, `{"description":"","sourceVersion":"","secondarySources":[],"secondarySourceVersions":[],"secondaryArtifacts":[],
		"cache":{"type":"NO_CACHE"},"timeoutInMinutes":60,"queuedTimeoutInMinutes":480,"encryptionKey":"arn:aws:kms:eu-west-1:111122223333:alias/aws/s3",
		"tags":[],"vpcConfig":{},"badgeEnabled":false,"logsConfig":{},"fileSystemLocations":[],"buildBatchConfig":{},"concurrentBuildLimit":-1,"autoRetryLimit":0}`) {
		base[k] = v
	}
	for _, m := range api.Contract.Shapes[api.Contract.Operation("UpdateProject").Input].Members {
		if _, ok := base[m.Name]; !ok {
			t.Errorf("the test does not clear %s", m.Name)
		}
	}
	got := b.project("UpdateProject", document(t, base))
	delete(got, "lastModified")
	delete(want, "lastModified")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cleared project (-minimal +got):\n%s", diff)
	}
}

// The badge's address stays while it is enabled and is a new one afterwards.
func TestUpdateProject_Badge(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	url := func(p map[string]any) string {
		u, _ := p["badge"].(map[string]any)["badgeRequestUrl"].(string)
		return u
	}
	b.project("CreateProject", minimal)
	first := url(b.project("UpdateProject", `{"name":"site","badgeEnabled":true}`))
	again := url(b.project("UpdateProject", `{"name":"site","badgeEnabled":true}`))
	off := url(b.project("UpdateProject", `{"name":"site","badgeEnabled":false}`))
	second := url(b.project("UpdateProject", `{"name":"site","badgeEnabled":true}`))
	if first == "" || again != first || off != "" || second == "" || second == first {
		t.Errorf("addresses: %q, again %q, off %q, on %q", first, again, off, second)
	}
}

func TestUpdateProject_NotFound(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	b.project("CreateProject", minimal)
	for _, c := range []struct {
		who       access.Principal
		ref, text string
	}{
		{acme, "none", "arn:aws:codebuild:eu-west-1:111122223333:project/none"},
		{acme, "arn:aws:codebuild:eu-west-1:111122223333:project/none", "arn:aws:codebuild:eu-west-1:111122223333:project/none"},
		{acme, "arn:aws:codebuild:eu-west-1:444455556666:project/site", "arn:aws:codebuild:eu-west-1:444455556666:project/site"},
		{acme, "arn:aws:codebuild:eu-west-1:111122223333:build/site", "arn:aws:codebuild:eu-west-1:111122223333:build/site"},
		{acmeOther, "site", "arn:aws:codebuild:us-east-1:111122223333:project/site"},
		{acmeOther, siteARN, siteARN},
		{stranger, "site", "arn:aws:codebuild:eu-west-1:444455556666:project/site"},
		{stranger, siteARN, siteARN},
	} {
		_, err := b.as(c.who, "UpdateProject", `{"name":"`+c.ref+`","description":"taken"}`)
		var e *api.Error
		if !errors.As(err, &e) || e.Code != "ResourceNotFoundException" || e.Message != "Project cannot be found: "+c.text {
			t.Errorf("UpdateProject(%s) by %s in %s: %v", c.ref, c.who.User, c.who.Region, err)
		}
		if _, err := b.as(c.who, "DeleteProject", `{"name":"`+c.ref+`"}`); err != nil {
			t.Errorf("DeleteProject(%s): %v", c.ref, err)
		}
		out, err := b.as(c.who, "BatchGetProjects", `{"names":["`+c.ref+`"]}`)
		if want := map[string]any{"projects": []any{}, "projectsNotFound": []any{c.ref}}; err != nil || !reflect.DeepEqual(out, want) {
			t.Errorf("BatchGetProjects(%s) = %v, %v, want %v", c.ref, out, err, want)
		}
	}
	if p := b.read("site"); p["description"] != nil {
		t.Errorf("the project was changed: %v", p)
	}
}

// A token that is deleted later does not stand in the way of other changes.
func TestProject_TokenOfSource(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	const oauth = `{"source":{"type":"GITHUB","location":"https://github.com/acme/site","auth":{"type":"OAUTH","resource":"arn:aws:codebuild:eu-west-1:111122223333:token/github"}}}`
	put := func(change func(store.Tx) error) {
		t.Helper()
		if err := b.Store.Update(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.as(acme, "CreateProject", with(t, oauth)); err == nil {
		t.Fatal("created without a token")
	}
	put(func(tx store.Tx) error {
		return tx.PutCredential(t.Context(), store.Credential{Scope: acme.Scope, ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Sealed: []byte("x")})
	})
	b.project("CreateProject", with(t, oauth))
	put(func(tx store.Tx) error { return tx.DeleteCredential(t.Context(), acme.Scope, api.ServerTypeGITHUB) })
	b.project("UpdateProject", `{"name":"site","description":"still here"}`)
	patch := object(t, oauth)
	patch["name"] = "site"
	if _, err := b.as(acme, "UpdateProject", document(t, patch)); err == nil || !strings.Contains(err.Error(), "No Access token found") {
		t.Errorf("update of the source without a token: %v", err)
	}
}

// The calls that Terraform makes for a project in its life.
func TestProject_Terraform(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	// It sends buildspec "", insecureSsl, gitCloneDepth 0, a cache location ""
	// and overrideArtifactName whether or not they were written.
	const source = `{"type":"GITHUB","location":"https://github.com/hashicorp/packer.git","buildspec":"","gitCloneDepth":0,"insecureSsl":false,"reportBuildStatus":false}`
	created := b.project("CreateProject", `{"name":"site","serviceRole":"arn:aws:iam::111122223333:role/codebuild",
		"artifacts":{"type":"NO_ARTIFACTS","overrideArtifactName":false},"cache":{"type":"S3","location":"bucket"},
		"environment":{"type":"LINUX_CONTAINER","image":"2","computeType":"BUILD_GENERAL1_SMALL","privilegedMode":false,"imagePullCredentialsType":"CODEBUILD",
			"environmentVariables":[{"name":"KEY1","value":"","type":"PLAINTEXT"}]},
		"logsConfig":{"cloudWatchLogs":{"status":"ENABLED"},"s3Logs":{"status":"DISABLED"}},"queuedTimeoutInMinutes":480,"timeoutInMinutes":60,
		"source":`+source+`,"vpcConfig":{"vpcId":"vpc-1","subnets":["s"],"securityGroupIds":["sg"]},"tags":[{"key":"key1","value":"value1"}]}`)
	arn := created["arn"].(string)
	if diff := cmp.Diff(created, b.read(arn)); diff != "" {
		t.Fatalf("read by ARN (-created +read):\n%s", diff)
	}
	if _, ok := created["source"].(map[string]any)["gitSubmodulesConfig"]; ok {
		t.Errorf("gitSubmodulesConfig was filled in; Terraform would want to remove it: %v", created["source"])
	}
	b.tick()
	updated := b.project("UpdateProject", `{"name":"site","cache":{"type":"NO_CACHE"},"vpcConfig":{},"fileSystemLocations":[],"buildBatchConfig":{},"concurrentBuildLimit":-1,
		"environment":{"type":"LINUX_CONTAINER","image":"2","computeType":"BUILD_GENERAL1_SMALL","privilegedMode":false,"imagePullCredentialsType":"CODEBUILD"},
		"tags":[{"key":"key2","value":"value2"}]}`)
	if diff := cmp.Diff(updated, b.read(arn)); diff != "" {
		t.Fatalf("read after update (-updated +read):\n%s", diff)
	}
	for member, want := range map[string]any{
		"vpcConfig": nil, "fileSystemLocations": nil, "buildBatchConfig": nil, "concurrentBuildLimit": nil,
		"cache": object(t, `{"type":"NO_CACHE"}`), "tags": []any{object(t, `{"key":"key2","value":"value2"}`)},
		"source": object(t, source), "created": created["created"],
	} {
		if diff := cmp.Diff(want, updated[member]); diff != "" {
			t.Errorf("%s after update (-want +got):\n%s", member, diff)
		}
	}
	if out := b.ok("DeleteProject", `{"name":"`+arn+`"}`); len(out) != 0 {
		t.Errorf("DeleteProject answered %v, want {}", out)
	}
	if out := b.ok("BatchGetProjects", `{"names":["`+arn+`"]}`); len(out["projects"].([]any)) != 0 {
		t.Errorf("still there: %v", out)
	}
	b.ok("DeleteProject", `{"name":"`+arn+`"}`)
}

func TestCreateProject_Twice(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.as(acme, "CreateProject", minimal) })
	}
	wg.Wait()
	created := 0
	for _, err := range errs {
		var e *api.Error
		switch {
		case err == nil:
			created++
		case !errors.As(err, &e) || e.Code != "ResourceAlreadyExistsException" || e.Message != "Project already exists: "+siteARN:
			t.Errorf("CreateProject: %v", err)
		}
	}
	if created != 1 {
		t.Errorf("%d of %d calls created the project", created, len(errs))
	}
	for _, p := range []access.Principal{acmeOther, stranger} {
		doc := strings.ReplaceAll(minimal, "111122223333", p.Account)
		if _, err := b.as(p, "CreateProject", doc); err != nil {
			t.Errorf("the name in %v: %v", p.Scope, err)
		}
	}
}

func TestDeleteProject_KeepsBuilds(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	b.project("CreateProject", minimal)
	ctx := t.Context()
	const id = "site:01234567-89ab-4def-8123-456789abcdef"
	if err := b.Store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.NextBuildNumber(ctx, acme.Scope, "site")
		if err != nil {
			return err
		}
		return tx.QueueBuild(ctx, store.Build{Scope: acme.Scope, Requested: b.now, Doc: &api.Build{Id: new(id), ProjectName: new("site"), BuildNumber: &n}})
	}); err != nil {
		t.Fatal(err)
	}
	b.ok("DeleteProject", `{"name":"site"}`)
	if _, err := b.Store.Build(ctx, acme.Scope, id); err != nil {
		t.Errorf("the build after DeleteProject: %v", err)
	}
}

func TestBatchGetProjects_NamesAndARNs(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	b.project("CreateProject", minimal)
	b.project("CreateProject", with(t, `{"name":"other"}`))
	out := b.ok("BatchGetProjects", `{"names":["other","none","`+siteARN+`","site","arn:junk"]}`)
	var names []any
	for _, p := range out["projects"].([]any) {
		names = append(names, p.(map[string]any)["name"])
	}
	if want := []any{"other", "site"}; !reflect.DeepEqual(names, want) {
		t.Errorf("projects are %v, want %v", names, want)
	}
	if want := []any{"none", "arn:junk"}; !reflect.DeepEqual(out["projectsNotFound"], want) {
		t.Errorf("projectsNotFound is %v, want %v", out["projectsNotFound"], want)
	}
}

func TestListProjects(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	ctx := t.Context()
	const n = 230
	names := make([]string, n)
	if err := b.Store.Update(ctx, func(tx store.Tx) error {
		for i := range names {
			names[i] = fmt.Sprintf("p%03d", i)
			at := b.now.Add(time.Duration(i%7) * time.Second)
			p := &api.Project{Name: &names[i], Created: api.At(at), LastModified: api.At(b.now.Add(-time.Duration(i) * time.Second))}
			if err := tx.CreateProject(ctx, acme.Scope, p); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	byCreated := slices.Clone(names)
	slices.SortStableFunc(byCreated, func(a, b string) int {
		var i, j int
		fmt.Sscanf(a, "p%d", &i)
		fmt.Sscanf(b, "p%d", &j)
		return i%7 - j%7
	})
	reversed := func(list []string) []string {
		list = slices.Clone(list)
		slices.Reverse(list)
		return list
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{`{}`, names},
		{`{"sortOrder":"ASCENDING"}`, names},
		{`{"sortBy":"NAME","sortOrder":"DESCENDING"}`, reversed(names)},
		{`{"sortBy":"CREATED_TIME"}`, byCreated},
		{`{"sortBy":"CREATED_TIME","sortOrder":"DESCENDING"}`, reversed(byCreated)},
		{`{"sortBy":"LAST_MODIFIED_TIME"}`, reversed(names)},
		{`{"sortBy":"LAST_MODIFIED_TIME","sortOrder":"DESCENDING"}`, names},
	} {
		var got []string
		var sizes []int
		query := object(t, c.query)
		for {
			out := b.ok("ListProjects", document(t, query))
			page := out["projects"].([]any)
			sizes = append(sizes, len(page))
			for _, name := range page {
				got = append(got, name.(string))
			}
			token, more := out["nextToken"]
			if !more {
				break
			}
			query["nextToken"] = token
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("ListProjects(%s) (-want +got):\n%s", c.query, diff)
		}
		if want := []int{100, 100, 30}; !slices.Equal(sizes, want) {
			t.Errorf("ListProjects(%s) has pages of %v, want %v", c.query, sizes, want)
		}
	}

	token := b.ok("ListProjects", `{}`)["nextToken"].(string)
	for _, c := range []struct {
		who   access.Principal
		query string
	}{
		{acme, `{"nextToken":"x"}`},
		{acme, `{"nextToken":"` + token + `","sortBy":"CREATED_TIME"}`},
		{acme, `{"nextToken":"` + token + `","sortOrder":"DESCENDING"}`},
		{stranger, `{"nextToken":"` + token + `"}`},
	} {
		_, err := b.as(c.who, "ListProjects", c.query)
		var e *api.Error
		if !errors.As(err, &e) || e.Code != "InvalidInputException" {
			t.Errorf("ListProjects(%s): %v, want InvalidInputException", c.query, err)
		}
	}
	if out, err := b.as(stranger, "ListProjects", `{}`); err != nil || len(out["projects"].([]any)) != 0 {
		t.Errorf("ListProjects by a stranger: %v, %v", out, err)
	}
}

// An answer belongs to its caller: changing it changes nothing else, and a
// request stays as it was.
func TestProject_AnswersAreCopies(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	ctx := access.With(t.Context(), acme)
	in := new(api.CreateProjectInput)
	if err := api.Decode(&api.Contract, api.Contract.Operation("CreateProject").Input, []byte(everything), in); err != nil {
		t.Fatal(err)
	}
	in.Environment.EnvironmentVariables[0].Type = ""
	in.SecondarySources[0].InsecureSsl = nil
	before := document(t, in)
	out, err := b.CreateProject(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if after := document(t, in); after != before {
		t.Errorf("the request changed from\n%s to\n%s", before, after)
	}
	want := b.read("site")
	*out.Project.Source.Location = "https://example.com"
	out.Project.Tags[0].Key = new("changed")
	got, err := b.BatchGetProjects(ctx, &api.BatchGetProjectsInput{Names: []string{"site"}})
	if err != nil {
		t.Fatal(err)
	}
	*got.Projects[0].Environment.EnvironmentVariables[0].Name = "CHANGED"
	if diff := cmp.Diff(want, b.read("site")); diff != "" {
		t.Errorf("the stored project changed (-before +after):\n%s", diff)
	}
}

// Each write leaves one line in the audit log, a refused one none.
func TestProject_Audit(t *testing.T) {
	t.Parallel()
	b := newProjectBench(t)
	b.project("CreateProject", minimal)
	b.as(acme, "CreateProject", minimal)
	b.project("UpdateProject", `{"name":"site","description":"d"}`)
	b.as(acme, "UpdateProject", `{"name":"site","concurrentBuildLimit":0}`)
	b.as(acme, "UpdateProject", `{"name":"none"}`)
	b.ok("DeleteProject", `{"name":"`+siteARN+`"}`)
	b.ok("DeleteProject", `{"name":"site"}`)
	db, err := sql.Open("sqlite", "file:"+b.path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `select doc ->> 'principal' || ' ' || (doc ->> 'event') || ' ' || (doc ->> 'resource') from audit_line order by seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	const ada = "arn:aws:iam::111122223333:user/ada"
	want := []string{ada + " CreateProject " + siteARN, ada + " UpdateProject " + siteARN, ada + " DeleteProject " + siteARN}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}
