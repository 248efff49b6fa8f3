package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/webhook"
)

// A kind of provider, as tests of webhooks meet it.
type kind struct {
	dialect *forgetest.Dialect
	source  api.SourceType
	known   string // the host's name, or "" for an installation of one's own
	repo    string
	path    string // of the location
	hooks   string // the path of the API below which hooks of the repository are
	token   forgetest.Token
	user    string // for BASIC_AUTH
	roles   []api.PullRequestBuildApproverRole
	push    []string // what a hook is for that is for pushes alone
}

var (
	writersOfGitHub = []api.PullRequestBuildApproverRole{"GITHUB_WRITE", "GITHUB_MAINTAIN", "GITHUB_ADMIN"}

	kinds = map[string]kind{
		"GitHub": {
			&forgetest.GitHub, api.SourceTypeGITHUB, "github.com", "octo/app", "/octo/app.git", "/repos/octo/app/hooks",
			forgetest.Token{Value: "ghp_PlantedInWebhookTests00000000000001", Scopes: []string{"repo"}}, "", writersOfGitHub, []string{"push"},
		},
		"Enterprise": {
			&forgetest.GitHub, api.SourceTypeGITHUB_ENTERPRISE, "", "octo/app", "/octo/app.git", "/repos/octo/app/hooks",
			forgetest.Token{Value: "ghp_PlantedInWebhookTests00000000000002", Scopes: []string{"repo"}}, "", writersOfGitHub, []string{"push"},
		},
		"Bitbucket": {
			&forgetest.Bitbucket, api.SourceTypeBITBUCKET, "bitbucket.org", "octo/app", "/octo/app.git", "/repositories/octo/app/hooks",
			forgetest.Token{Value: "ATBBPlantedInWebhookTests0003", Login: "mona", Scopes: []string{"account", "repository", "pullrequest", "webhook"}}, "mona",
			[]api.PullRequestBuildApproverRole{"BITBUCKET_WRITE", "BITBUCKET_ADMIN"}, []string{"repo:push"},
		},
		"GitLab": {
			&forgetest.GitLab, api.SourceTypeGITLAB, "gitlab.com", "group/sub/app", "/group/sub/app.git", "/projects/",
			forgetest.Token{Value: "glpat-PlantedInWebhookTests04", Scopes: []string{"api"}}, "",
			[]api.PullRequestBuildApproverRole{"GITLAB_DEVELOPER", "GITLAB_MAINTAINER", "GITLAB_OWNER"}, []string{"push_events", "tag_push_events"},
		},
		"Data Center": {
			&forgetest.DataCenter, "BITBUCKET_DATA_CENTER", "", "OCTO/app", "/scm/OCTO/app.git", "/api/1.0/projects/OCTO/repos/app/webhooks",
			forgetest.Token{Value: "BBDC-PlantedInWebhookTests00000000005", Scopes: []string{"repository:admin"}}, "",
			[]api.PullRequestBuildApproverRole{"BITBUCKET_WRITE", "BITBUCKET_ADMIN"}, []string{"repo:refs_changed"},
		},
		"Gitea": {
			&forgetest.Gitea, "GITEA", "", "octo/app", "/octo/app.git", "/repos/octo/app/hooks",
			forgetest.Token{Value: "0f9b0f1de5740000000000000000000000000006", Scopes: []string{"read:user", "write:repository"}}, "",
			[]api.PullRequestBuildApproverRole{"GITHUB_WRITE", "GITHUB_ADMIN"}, []string{"create", "push"},
		},
	}
)

// A hookBench is a bench whose project app is at a provider that tells the
// bench's inbox what happens.
type hookBench struct {
	*bench
	kind
	t     *testing.T
	host  *forgetest.Server
	inbox *webhook.Inbox
}

func newHookBench(t *testing.T, k kind) *hookBench {
	t.Helper()
	b := newBench(t)
	host, err := forgetest.New(forgetest.Options{Dialect: k.dialect, Now: b.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, repo := range []string{k.repo, k.moved()} {
		if _, err := host.AddRepository(forgetest.Repository{Name: repo, Commits: []forgetest.Commit{{Files: map[string]string{"buildspec.yml": "version: 0.2\n"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	h := &hookBench{bench: b, kind: k, t: t, host: host}
	h.at(host.URL)
	h.load(k.token)
	h.project(t, "app", func(in *api.CreateProjectInput) {
		in.Source = &api.ProjectSource{Type: k.source, Location: new(h.location(k.path))}
	})
	return h
}

// at makes the provider be at an address, and the server reachable for it.
// Further entries are of other hosts.
func (h *hookBench) at(address string, more ...string) {
	h.t.Helper()
	name := h.known
	if name == "" {
		name = string(h.source)
	}
	var err error
	if h.Hosts, err = forge.NewHosts(providers.All, append(more, name+"="+address)); err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	resolver := &credential.Resolver{Store: h.Store, Vault: h.Vault, Hosts: h.Hosts, Now: h.Now}
	h.Checker = credential.NewChecker(resolver, h.Hosts.Forges(forge.Transport(h.Hosts)), time.Hour, log)
	h.inbox = webhook.New(webhook.Config{Store: h.Store, Vault: h.Vault, Credentials: resolver, Forges: h.Checker.Forges, Log: log, Now: h.Now, URL: h.URL, Start: h.StartTriggered, Settle: h.SettleHook})
	receiver := httptest.NewServer(h.inbox)
	h.t.Cleanup(receiver.Close)
	h.URL = receiver.URL
}

func (h *hookBench) location(path string) string {
	if h.known == "" {
		return h.Hosts.For(api.ServerType(h.source))[0].Git + path
	}
	return "https://" + h.known + path
}

// load makes a token known to the provider and imports it.
func (h *hookBench) load(k forgetest.Token) string {
	h.t.Helper()
	h.host.AddToken(k)
	in := &api.ImportSourceCredentialsInput{ServerType: api.ServerType(h.source), AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: k.Value}
	if h.user != "" {
		in.AuthType, in.Username = api.AuthTypeBASIC_AUTH, new(h.user)
	}
	h.Verify = Off
	out, err := h.ImportSourceCredentials(h.ctx, in)
	if err != nil {
		h.t.Fatal(err)
	}
	return *out.Arn
}

func (h *hookBench) create(in *api.CreateWebhookInput) *api.Webhook {
	h.t.Helper()
	in.ProjectName = new("app")
	out, err := h.CreateWebhook(h.ctx, in)
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Webhook
}

func (h *hookBench) update(in *api.UpdateWebhookInput) *api.Webhook {
	h.t.Helper()
	in.ProjectName = new("app")
	out, err := h.UpdateWebhook(h.ctx, in)
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Webhook
}

// read is the webhook that the project shows, nil if it has none.
func (h *hookBench) read() *api.Webhook {
	h.t.Helper()
	out, err := h.BatchGetProjects(h.ctx, &api.BatchGetProjectsInput{Names: []string{"app"}})
	if err != nil || len(out.Projects) != 1 {
		h.t.Fatal(out, err)
	}
	return out.Projects[0].Webhook
}

// until waits until something is so.
func (h *hookBench) until(what string, is func() bool) {
	h.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			h.t.Fatalf("it never came to pass that %s", what)
		case <-tick.C:
		}
	}
}

// runs starts the inbox, and stops it when the test ends or stop is called.
func (h *hookBench) runs() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var room sync.WaitGroup
	room.Go(func() { // ends with ctx
		if err := h.inbox.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); room.Wait() })
	h.t.Cleanup(stop)
	return stop
}

// settle lets the time pass after which hooks that nobody knows of are removed,
// and waits until they are.
func (h *hookBench) settle() {
	h.t.Helper()
	h.forward(hookDoubt + time.Second)
	defer h.runs()()
	h.until("no hook is left to be removed", func() bool {
		_, err := h.Store.NextRemoval(h.ctx)
		return errors.Is(err, store.ErrNotFound)
	})
}

// certain fails if a hook is left to be looked after.
func (h *hookBench) certain() {
	h.t.Helper()
	if at, err := h.Store.NextRemoval(h.ctx); !absent(err) {
		h.t.Errorf("there is a hook to be looked after at %v, %v", at, err)
	}
}

// story runs one of several tests on the bench, in a project app of its own.
// Making the provider's repositories anew takes longer than most tests.
func (h *hookBench) story(name string, do func()) {
	h.t.Helper()
	outer := h.t
	defer func() { h.t = outer }()
	outer.Run(name, func(t *testing.T) {
		h.t = t
		h.host.Heal()
		h.load(h.token)
		for _, repo := range []string{h.repo, h.moved()} {
			for _, k := range h.host.Hooks(repo) {
				h.host.DropHook(repo, k.ID)
			}
		}
		if _, err := h.DeleteProject(h.ctx, &api.DeleteProjectInput{Name: new("app")}); err != nil {
			t.Fatal(err)
		}
		h.settle()
		h.project(t, "app", func(in *api.CreateProjectInput) {
			in.Source = &api.ProjectSource{Type: h.source, Location: new(h.location(h.path))}
		})
		do()
	})
}

// elsewhere has one repository in the place of the other in a name.
var elsewhere = strings.NewReplacer("app", "moved", "moved", "app")

// moved is the other repository at the provider.
func (k kind) moved() string { return elsewhere.Replace(k.repo) }

// consistent fails unless the provider has exactly the hook that the project has, or
// none if it has none, and so the store.
func (h *hookBench) consistent() {
	h.t.Helper()
	hooks := h.host.Hooks(h.repo)
	w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, "app")
	switch shown := h.read(); {
	case shown == nil && len(hooks) == 0 && absent(err):
	case shown == nil:
		h.t.Errorf("the project has no webhook; the provider has %+v, the store %+v, %v", hooks, w, err)
	case len(hooks) != 1 || hooks[0].URL != *shown.PayloadUrl || !hooks[0].Active || err != nil || !strings.Contains(*shown.PayloadUrl, w.Address):
		h.t.Errorf("the project has %+v; the provider has %+v, the store %+v, %v", shown, hooks, w, err)
	}
}

func hookFilter(kind api.WebhookFilterType, pattern string) api.WebhookFilter {
	return api.WebhookFilter{Type: kind, Pattern: &pattern}
}

func events(pattern string) [][]api.WebhookFilter {
	return [][]api.WebhookFilter{{hookFilter(api.WebhookFilterTypeEVENT, pattern)}}
}

// What the answer has by provider.
// Source: answers recorded of the service, for those that it has.
func TestCreateWebhook_Answer(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, k)
			groups := [][]api.WebhookFilter{{hookFilter("EVENT", " PUSH ,PUSH"), {Type: "HEAD_REF", Pattern: new("^refs/heads/(a|b)$"), ExcludeMatchedPattern: new(true)}}}
			w := h.create(&api.CreateWebhookInput{FilterGroups: groups})
			hooks := h.host.Hooks(k.repo)
			if len(hooks) != 1 || hooks[0].URL != *w.PayloadUrl || len(hooks[0].Secret) < 40 || !hooks[0].Active || hooks[0].Form {
				t.Fatalf("the provider has %+v", hooks)
			}
			if slices.Sort(hooks[0].Events); !slices.Equal(hooks[0].Events, k.push) {
				t.Errorf("the hook is for %v, want %v", hooks[0].Events, k.push)
			}
			groups[0][0].ExcludeMatchedPattern = new(false) // always told
			want := &api.Webhook{
				PayloadUrl: w.PayloadUrl, Url: w.Url, FilterGroups: groups, BuildType: api.WebhookBuildTypeBUILD, ManualCreation: new(false),
				LastModifiedSecret: api.At(h.Now()), Status: api.WebhookStatusACTIVE,
				PullRequestBuildPolicy: &api.PullRequestBuildPolicy{RequiresCommentApproval: "ALL_PULL_REQUESTS", ApproverRoles: k.roles},
			}
			enterprise := k.source == api.SourceTypeGITHUB_ENTERPRISE
			if enterprise {
				want.Secret, want.Url = new(hooks[0].Secret), nil
			} else if w.Url == nil || !strings.Contains(*w.Url, "hooks/") || !strings.HasPrefix(*w.Url, "http") {
				t.Errorf("url = %v", value(w.Url))
			}
			if d := cmp.Diff(want, w); d != "" {
				t.Errorf("the answer (-want +got):\n%s", d)
			}
			want.Secret = nil
			if d := cmp.Diff(want, h.read()); d != "" {
				t.Errorf("the project's webhook (-want +got):\n%s", d)
			}
			h.consistent()

			_, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app")})
			wantError(t, err, "ResourceAlreadyExistsException", "update-webhook")
			if _, err = h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")}); err != nil {
				t.Error(err)
			}
			h.consistent()
			_, err = h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")})
			wantError(t, err, "ResourceNotFoundException", "create-webhook")

			// One that the user makes.
			w = h.create(&api.CreateWebhookInput{ManualCreation: new(true)})
			if w.Url != nil || w.Secret == nil || len(*w.Secret) < 40 || w.PayloadUrl == nil || !*w.ManualCreation || w.BranchFilter != nil || w.FilterGroups != nil || len(h.host.Hooks(k.repo)) != 0 {
				t.Errorf("with manualCreation the answer is %+v", w)
			}
			if got := h.read(); got.Secret != nil {
				t.Error("the project shows the secret")
			}
		})
	}
}

// An Enterprise server that does not answer is no error, and what is tried there
// does not come back to remove what the user installs.
func TestCreateWebhook_UnreachableEnterprise(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["Enterprise"])
	h.host.Inject(forgetest.Fault{Do: forgetest.Reset()})
	w := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	if w.Url != nil || w.Secret == nil || !strings.HasPrefix(*w.PayloadUrl, "http") || *w.ManualCreation || !strings.Contains(value(w.StatusMessage), "Install the hook") {
		t.Errorf("the answer is %+v", w)
	}
	h.host.Heal()
	h.host.AddHook(h.repo, "octocat", forgetest.Hook{Active: true, Events: []string{"push"}, URL: *w.PayloadUrl, Secret: *w.Secret})
	h.settle()
	h.consistent()
	// Nor does an update that fails.
	h.host.Inject(forgetest.Fault{Do: forgetest.Reset()})
	h.update(&api.UpdateWebhookInput{FilterGroups: events("PUSH,PULL_REQUEST_CREATED"), RotateSecret: new(true)})
	h.host.Heal()
	h.settle()
	h.consistent()
}

func TestCreateWebhook_Policy(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	for _, c := range []struct {
		name     string
		in, want *api.PullRequestBuildPolicy
	}{
		{"no policy", nil, &api.PullRequestBuildPolicy{RequiresCommentApproval: "ALL_PULL_REQUESTS", ApproverRoles: writersOfGitHub}},
		{"no roles", &api.PullRequestBuildPolicy{RequiresCommentApproval: "FORK_PULL_REQUESTS"}, &api.PullRequestBuildPolicy{RequiresCommentApproval: "FORK_PULL_REQUESTS", ApproverRoles: writersOfGitHub}},
		{"disabled", &api.PullRequestBuildPolicy{RequiresCommentApproval: "DISABLED"}, &api.PullRequestBuildPolicy{RequiresCommentApproval: "DISABLED"}},
		{"own", &api.PullRequestBuildPolicy{RequiresCommentApproval: "ALL_PULL_REQUESTS", ApproverRoles: []api.PullRequestBuildApproverRole{"GITHUB_ADMIN"}}, &api.PullRequestBuildPolicy{RequiresCommentApproval: "ALL_PULL_REQUESTS", ApproverRoles: []api.PullRequestBuildApproverRole{"GITHUB_ADMIN"}}},
	} {
		w := h.create(&api.CreateWebhookInput{PullRequestBuildPolicy: c.in})
		if d := cmp.Diff(c.want, w.PullRequestBuildPolicy); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if _, err := h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCreateWebhook_Invalid(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	other := func(name string, src *api.ProjectSource) {
		h.project(t, name, func(in *api.CreateProjectInput) { in.Source = src })
	}
	other("none", &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Buildspec: new("version: 0.2\n")})
	other("organization", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new(webhookLocation)})
	other("enterprise", &api.ProjectSource{Type: api.SourceTypeGITHUB_ENTERPRISE, Location: new(webhookLocation)})
	other("gitlab", &api.ProjectSource{Type: api.SourceTypeGITLAB, Location: new(webhookLocation)})
	other("bitbucket", &api.ProjectSource{Type: api.SourceTypeBITBUCKET, Location: new("https://bitbucket.org/octo/app.git")})
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		name, project string
		in            api.CreateWebhookInput
		code, words   string
	}{
		{"empty branchFilter", "app", api.CreateWebhookInput{BranchFilter: new("")}, "ValidationException", "1 validation error detected: Value '' at 'newProjectVersion.webhook.branches' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"branchFilter and groups", "app", api.CreateWebhookInput{BranchFilter: new("main"), FilterGroups: events("PUSH")}, "InvalidInputException", "branchFilter and filterGroups cannot be used together"},
		{"bad branchFilter", "app", api.CreateWebhookInput{BranchFilter: new("(")}, "InvalidInputException", "RE2"},
		{"long branchFilter", "app", api.CreateWebhookInput{BranchFilter: &long}, "InvalidInputException", "1025 bytes; 1024"},
		{"lookahead", "app", api.CreateWebhookInput{FilterGroups: [][]api.WebhookFilter{{hookFilter("EVENT", "PUSH"), hookFilter("HEAD_REF", "(?!main)")}}}, "InvalidInputException", "filter 2 of filter group 1"},
		{"no EVENT", "app", api.CreateWebhookInput{FilterGroups: [][]api.WebhookFilter{{hookFilter("HEAD_REF", "main")}}}, "InvalidInputException", "EVENT"},
		{"empty group", "app", api.CreateWebhookInput{FilterGroups: [][]api.WebhookFilter{{}}}, "InvalidInputException", "filter group 1 is empty"},
		{"no such event", "app", api.CreateWebhookInput{FilterGroups: events("PUSHED")}, "InvalidInputException", `"PUSHED"`},
		{"lower case", "app", api.CreateWebhookInput{FilterGroups: events("push")}, "InvalidInputException", `"push"`},
		{"reopened at Bitbucket", "bitbucket", api.CreateWebhookInput{FilterGroups: events("PULL_REQUEST_REOPENED")}, "InvalidInputException", "PULL_REQUEST_REOPENED"},
		{"runner", "app", api.CreateWebhookInput{FilterGroups: events("WORKFLOW_JOB_QUEUED")}, "InvalidInputException", "runner builds"},
		{"batch", "app", api.CreateWebhookInput{BuildType: api.WebhookBuildTypeBUILD_BATCH}, "InvalidInputException", "Use BUILD"},
		{"buildkite", "app", api.CreateWebhookInput{BuildType: api.WebhookBuildTypeRUNNER_BUILDKITE_BUILD}, "InvalidInputException", "Use BUILD"},
		{"role of another provider", "app", api.CreateWebhookInput{PullRequestBuildPolicy: &api.PullRequestBuildPolicy{RequiresCommentApproval: "ALL_PULL_REQUESTS", ApproverRoles: []api.PullRequestBuildApproverRole{"GITLAB_OWNER"}}}, "InvalidInputException", "GITLAB_OWNER"},
		{"no project", "nothing", api.CreateWebhookInput{}, "ResourceNotFoundException", "nothing"},
		{"project of another", "arn:aws:codebuild:us-west-2:999999999999:project/app", api.CreateWebhookInput{}, "ResourceNotFoundException", "project/app"},
		{"no source", "none", api.CreateWebhookInput{}, "InvalidInputException", "NO_SOURCE"},
		{"no scope for the location", "organization", api.CreateWebhookInput{}, "InvalidInputException", "scopeConfiguration"},
		{"scope for a repository", "app", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION"}}, "InvalidInputException", webhookLocation},
		{"group at GitHub", "organization", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITLAB_GROUP"}}, "InvalidInputException", "GITLAB_GROUP is not for source type GITHUB"},
		{"organization at GitLab", "gitlab", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION"}}, "InvalidInputException", "is not for source type GITLAB"},
		{"name that leaves the path", "organization", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("../user"), Scope: "GITHUB_ORGANIZATION"}}, "InvalidInputException", "name must be"},
		{"organization with a slash", "organization", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo/app"), Scope: "GITHUB_ORGANIZATION"}}, "InvalidInputException", "name must be"},
		{"no domain", "enterprise", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION"}}, "InvalidInputException", "domain is required"},
		{"unknown domain", "enterprise", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION", Domain: new("evil.example.com")}}, "InvalidInputException", "evil.example.com is not a host"},
		{"domain with a path", "enterprise", api.CreateWebhookInput{ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION", Domain: new("https://evil.example.com/x@y")}}, "InvalidInputException", "is not a host"},
	} {
		c.in.ProjectName = &c.project
		_, err := h.CreateWebhook(h.ctx, &c.in)
		if wantError(t, err, c.code, c.words); t.Failed() {
			t.Fatalf("in %s", c.name)
		}
	}
	if got := h.host.Requests(); len(got) != 0 {
		t.Errorf("the provider was asked: %+v", got)
	}
	if _, err := h.Store.NextRemoval(h.ctx); !absent(err) {
		t.Errorf("a hook is left to be removed: %v", err)
	}
}

// What goes wrong at the provider is told in the service's words, with the
// provider's and what to do, and without a secret.
func TestCreateWebhook_Provider(t *testing.T) {
	t.Parallel()
	const denied = "Failed to create webhook. Repository not found or permission denied. Please make sure the source credentials associated with your project have the permission to create webhook."
	benches := map[string]*hookBench{}
	for _, c := range []struct {
		name  string
		kind  string
		token func(*forgetest.Token)
		fault func(http.ResponseWriter, *http.Request, http.Handler)
		code  string
		words []string
	}{
		{"lacks the scope", "GitHub", func(k *forgetest.Token) { k.Scopes = []string{"repo:status"} }, nil, "OAuthProviderException", []string{denied, "github.com", "Not Found", "admin:repo_hook"}},
		{"lacks the permission", "GitHub", func(k *forgetest.Token) { k.Scopes, k.Permissions = nil, map[string]string{"contents": "read"} }, nil, "OAuthProviderException", []string{denied, "Resource not accessible", "Webhooks: write"}},
		{"may only read hooks", "GitHub", func(k *forgetest.Token) { k.Scopes, k.Permissions = nil, map[string]string{"repository_hooks": "read"} }, nil, "OAuthProviderException", []string{denied, "Webhooks: write"}},
		{"revoked", "GitHub", func(k *forgetest.Token) { k.Value = "" }, nil, "OAuthProviderException", []string{denied, "refused", "Import a new one"}},
		{"single sign-on", "GitHub", func(k *forgetest.Token) { k.SSO = true }, nil, "OAuthProviderException", []string{denied, "uthorize"}},
		{"lacks webhook", "Bitbucket", func(k *forgetest.Token) { k.Scopes = []string{"repository"} }, nil, "OAuthProviderException", []string{denied, "webhook"}},
		{"lacks api", "GitLab", func(k *forgetest.Token) { k.Scopes = []string{"read_api"} }, nil, "OAuthProviderException", []string{denied, "api"}},
		{"developer", "GitLab", func(k *forgetest.Token) { k.Role = 30 }, nil, "OAuthProviderException", []string{denied, "aintainer"}},
		{"lacks admin", "Data Center", func(k *forgetest.Token) { k.Scopes = []string{"repository:write"} }, nil, "OAuthProviderException", []string{denied, "admin"}},
		{"lacks write", "Gitea", func(k *forgetest.Token) { k.Scopes = []string{"read:repository", "read:user"} }, nil, "OAuthProviderException", []string{denied, "write:repository"}},
		{"rate limit", "GitHub", nil, forgetest.RateLimited(time.Now().Add(time.Hour)), "OAuthProviderException", []string{"Failed to create webhook. GitHub API limit reached. Please try again later."}},
		{"secondary limit", "GitHub", nil, forgetest.SecondaryLimit(time.Minute), "OAuthProviderException", []string{"Failed to create webhook. GitHub API limit reached. Please try again later."}},
		{"limit at GitLab", "GitLab", nil, forgetest.Answer(429, map[string]string{"Retry-After": "60"}, `{"message":"Retry later"}`), "OAuthProviderException", []string{"Failed to create webhook. GitLab API limit reached. Please try again later."}},
		{"down", "GitHub", nil, forgetest.Answer(502, nil, "<html>Bad gateway</html>"), "OAuthProviderException", []string{"Failed to create webhook. The source provider could not be asked"}},
		{"no connection", "Gitea", nil, forgetest.Reset(), "OAuthProviderException", []string{"could not be asked"}},
		{"not an API", "GitHub", nil, forgetest.Answer(200, nil, "<html>Welcome</html>"), "OAuthProviderException", []string{"could not be asked"}},
		{"echoes secrets", "GitHub", nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			var body struct{ Config struct{ Secret string } }
			if r.Method == http.MethodPost {
				_ = json.NewDecoder(r.Body).Decode(&body)
				forgetest.Answer(422, nil, fmt.Sprintf(`{"message":"bad %s %s"}`, body.Config.Secret, r.Header.Get("Authorization")))(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}, "OAuthProviderException", []string{"Failed to create webhook", "bad ***"}},
	} {
		h := benches[c.kind]
		if h == nil {
			h = newHookBench(t, kinds[c.kind])
			benches[c.kind] = h
		}
		h.story(c.name, func() {
			t := h.t
			token := h.token
			if c.token != nil {
				c.token(&token)
				if h.host.RevokeToken(h.token.Value); token.Value != "" {
					h.load(token)
				}
			}
			if c.fault != nil {
				h.host.Inject(forgetest.Fault{Path: h.hooks, Do: c.fault})
			}
			_, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app")})
			for _, w := range c.words {
				wantError(t, err, c.code, w)
			}
			if err != nil && strings.Contains(err.Error(), h.token.Value.Reveal()) {
				t.Errorf("the error has the token: %v", err)
			}
			h.host.Heal()
			h.load(h.token)
			h.settle()
			h.consistent()
			h.create(&api.CreateWebhookInput{}) // it is no obstacle for the next
			h.consistent()
		})
	}
}

func TestCreateWebhook_NoToken(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"GitHub": "github", "Bitbucket": "bitbucket", "GitLab": "gitlab", "Gitea": "gitea",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			if _, err := h.DeleteSourceCredentials(h.ctx, &api.DeleteSourceCredentialsInput{Arn: new(resource(access.From(h.ctx).Scope, "token", strings.ToLower(string(h.source))))}); err != nil {
				t.Fatal(err)
			}
			_, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app")})
			wantError(t, err, "ResourceNotFoundException", "Could not find access token for server type "+want)
			if got := h.host.Requests(); len(got) != 0 {
				t.Errorf("the provider was asked: %+v", got)
			}
			h.consistent()
		})
	}
}

// A provider in the world cannot reach a server that listens on loopback.
func TestCreateWebhook_PrivateAddress(t *testing.T) {
	t.Parallel()
	for address, private := range map[string]bool{
		"http://127.0.0.1:8040": true, "http://localhost:8040": true, "http://[::1]:8040": true, "http://0.0.0.0:8040": true, "https://builds.example.com": false,
	} {
		b := newBench(t)
		b.URL, b.Verify = address, Off
		b.Checker.Forges = nil // nobody is asked
		if _, err := b.ImportSourceCredentials(b.ctx, importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN)); err != nil {
			t.Fatal(err)
		}
		b.project(t, "app", nil)
		_, err := b.CreateWebhook(b.ctx, &api.CreateWebhookInput{ProjectName: new("app")})
		if got := err != nil && strings.Contains(err.Error(), "-public-url"); got != private {
			t.Errorf("at %s: %v", address, err)
		}
		if _, err := b.CreateWebhook(b.ctx, &api.CreateWebhookInput{ProjectName: new("app"), ManualCreation: new(true)}); err != nil {
			t.Errorf("at %s, by hand: %v", address, err)
		}
	}
}

// CheckSourceCredentials predicts what CreateWebhook does.
func TestCheckSourceCredentials_PredictsCreateWebhook(t *testing.T) {
	t.Parallel()
	classic := func(scopes ...string) forgetest.Token { return forgetest.Token{Scopes: scopes} }
	fine := func(permissions map[string]string) forgetest.Token { return forgetest.Token{Permissions: permissions} }
	for name, list := range map[string][]forgetest.Token{
		"GitHub": {
			classic("repo"), classic("repo:status"), classic("repo:status", "admin:repo_hook"), classic("read:repo_hook"), classic("write:repo_hook", "repo:status"), classic(),
			fine(map[string]string{"contents": "read"}), fine(map[string]string{"contents": "read", "repository_hooks": "read"}), fine(map[string]string{"contents": "read", "repository_hooks": "write"}),
			{Scopes: []string{"repo"}, Repositories: []string{"octo/other"}}, {Scopes: []string{"repo"}, SSO: true},
		},
		"Enterprise": {classic("repo"), fine(map[string]string{"repository_hooks": "write"})},
		"Bitbucket": {
			classic("account", "repository", "webhook"), classic("repository"), classic("repository:admin"),
		},
		"GitLab":      {classic("api"), classic("read_api"), classic("read_repository"), {Scopes: []string{"api"}, Role: 30}, {Scopes: []string{"api"}, Role: 50}},
		"Data Center": {classic("repository:admin"), classic("repository:write"), classic("repository:read")},
		"Gitea":       {classic("write:repository"), classic("read:repository"), classic("all"), classic("read:user")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			h.source = kinds[name].source
			for i, k := range list {
				k.Value, k.Login = api.Secret(fmt.Sprintf("%s%d", h.token.Value.Reveal(), i)), h.token.Login
				h.load(k)
				location := value(h.bench.mustProject(t, "app").Source.Location)
				out, err := CorbelService{h.Service}.CheckSourceCredentials(h.ctx, &corbel.CheckSourceCredentialsInput{Repository: &location})
				predicted, why := corbel.AnswerType(forge.No), ""
				if err != nil {
					why = err.Error()
				} else {
					predicted, why = out.Repository.Webhook.Answer, value(out.Repository.Webhook.Reason)
				}
				made, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app")})
				done := corbel.AnswerType(forge.Yes)
				if err != nil || len(h.host.Hooks(h.repo)) == 0 {
					done = corbel.AnswerType(forge.No)
				}
				if predicted != done || predicted == corbel.AnswerType(forge.No) && why == "" {
					t.Errorf("with %v %v (role %d): %s (%s) was predicted and came %s: %v", k.Scopes, k.Permissions, k.Role, predicted, why, done, err)
				}
				if made != nil {
					for _, hook := range h.host.Hooks(h.repo) { // some may make hooks and not remove them
						h.host.DropHook(h.repo, hook.ID)
					}
					if _, err := h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")}); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func (b *bench) mustProject(t *testing.T, name string) *api.Project {
	t.Helper()
	p, err := b.Store.Project(b.ctx, access.From(b.ctx).Scope, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A webhook of an organization or a group is made there.
func TestCreateWebhook_Scope(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, owner string
		scope       api.ScopeConfiguration
		token       forgetest.Token
	}{
		{"GitHub", "orgs/octo", api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION"}, forgetest.Token{Scopes: []string{"repo", "admin:org_hook"}}},
		{"Enterprise", "orgs/octo", api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION", Domain: new("")}, forgetest.Token{Scopes: []string{"repo", "admin:org_hook"}}},
		{"GitLab", "groups/group/sub", api.ScopeConfiguration{Name: new("group/sub"), Scope: "GITLAB_GROUP"}, forgetest.Token{Scopes: []string{"api"}, Role: 50}},
		{"Data Center", "orgs/octo", api.ScopeConfiguration{Name: new("OCTO"), Scope: "GITHUB_ORGANIZATION", Domain: new("")}, forgetest.Token{Scopes: []string{"repository:admin", "project:admin"}}},
		{"Gitea", "orgs/octo", api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION", Domain: new("")}, forgetest.Token{Scopes: []string{"all"}}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[c.kind])
			k := c.token
			k.Value = h.token.Value + "x"
			h.load(k)
			if c.scope.Domain != nil {
				*c.scope.Domain = h.Hosts.For(api.ServerType(h.source))[0].Name
			}
			if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: h.source, Location: new(webhookLocation)}}); err != nil {
				t.Fatal(err)
			}
			w := h.create(&api.CreateWebhookInput{ScopeConfiguration: &c.scope, FilterGroups: [][]api.WebhookFilter{{hookFilter("EVENT", "PUSH"), hookFilter("REPOSITORY_NAME", "^app$")}}})
			hooks := h.host.OwnerHooks(c.owner)
			if len(hooks) != 1 || hooks[0].URL != *w.PayloadUrl || w.Status != api.WebhookStatusACTIVE || cmp.Diff(&c.scope, w.ScopeConfiguration) != "" {
				t.Errorf("%s has %+v for %+v", c.owner, hooks, w)
			}
			// What happens in one of its repositories is built from there.
			ids, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: "push", Files: map[string]string{"pushed": "1"}})
			if err != nil {
				t.Fatal(err)
			}
			var started []string
			stop := h.runs()
			h.until("the push starts a build", func() bool {
				out, err := h.ListBuildsForProject(h.ctx, &api.ListBuildsForProjectInput{ProjectName: new("app")})
				if err != nil {
					t.Fatal(err)
				}
				started = out.Ids
				return len(started) > 0
			})
			stop()
			out, err := h.BatchGetBuilds(h.ctx, &api.BatchGetBuildsInput{Ids: started})
			if err != nil || len(out.Builds) != 1 {
				t.Fatalf("builds %+v, %v", out, err)
			}
			b := out.Builds[0]
			if got, err := h.Hosts.Locate(b.Source.Type, *b.Source.Location); err != nil || got.Name != h.repo || !got.Trusted || *b.SourceVersion != ids[0] {
				t.Errorf("the build is of %s at %s: %+v, %v", *b.SourceVersion, *b.Source.Location, got, err)
			}
			h.update(&api.UpdateWebhookInput{RotateSecret: new(true)})
			if again := h.host.OwnerHooks(c.owner); len(again) != 1 || again[0].Secret == hooks[0].Secret {
				t.Errorf("after the rotation %s has %+v", c.owner, again)
			}
			if _, err := h.DeleteProject(h.ctx, &api.DeleteProjectInput{Name: new("app")}); err != nil {
				t.Fatal(err)
			}
			h.settle()
			if left := h.host.OwnerHooks(c.owner); len(left) != 0 {
				t.Errorf("after the project %s has %+v", c.owner, left)
			}
		})
	}
	t.Run("enterprise of github.com", func(t *testing.T) {
		t.Parallel()
		h := newHookBench(t, kinds["GitHub"])
		if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: h.source, Location: new(webhookLocation)}}); err != nil {
			t.Fatal(err)
		}
		scope := &api.ScopeConfiguration{Name: new("big"), Scope: "GITHUB_GLOBAL"}
		_, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app"), ScopeConfiguration: scope})
		wantError(t, err, "OAuthProviderException", "by hand")
		h.create(&api.CreateWebhookInput{ScopeConfiguration: scope, ManualCreation: new(true)})
	})
	t.Run("without the scope", func(t *testing.T) {
		t.Parallel()
		h := newHookBench(t, kinds["GitHub"])
		if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: h.source, Location: new(webhookLocation)}}); err != nil {
			t.Fatal(err)
		}
		_, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("app"), ScopeConfiguration: &api.ScopeConfiguration{Name: new("octo"), Scope: "GITHUB_ORGANIZATION"}})
		wantError(t, err, "OAuthProviderException", "admin:org_hook")
		wantError(t, err, "OAuthProviderException", "permission denied")
	})
}

func TestUpdateWebhook(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	_, err := h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("app")})
	wantError(t, err, "ResourceNotFoundException", "create-webhook")
	first := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	secret := h.host.Hooks(h.repo)[0].Secret

	told := func() []string {
		t.Helper()
		hooks := h.host.Hooks(h.repo)
		if len(hooks) != 1 {
			t.Fatalf("the provider has %+v", hooks)
		}
		slices.Sort(hooks[0].Events)
		return hooks[0].Events
	}
	for _, c := range []struct {
		name   string
		in     api.UpdateWebhookInput
		groups [][]api.WebhookFilter
		branch *string
		told   []string
	}{
		{"nothing", api.UpdateWebhookInput{}, events("PUSH"), nil, []string{"push"}},
		{"pull requests", api.UpdateWebhookInput{FilterGroups: events("PULL_REQUEST_CREATED, RELEASED")}, events("PULL_REQUEST_CREATED, RELEASED"), nil, []string{"issue_comment", "pull_request", "release"}},
		{"no approval", api.UpdateWebhookInput{PullRequestBuildPolicy: &api.PullRequestBuildPolicy{RequiresCommentApproval: "DISABLED"}}, events("PULL_REQUEST_CREATED, RELEASED"), nil, []string{"pull_request", "release"}},
		{"a branch in place of groups", api.UpdateWebhookInput{BranchFilter: new("^main$")}, nil, new("^main$"), []string{"pull_request", "push"}},
		{"groups in place of a branch", api.UpdateWebhookInput{FilterGroups: events("PUSH")}, events("PUSH"), nil, []string{"push"}},
		// As Terraform clears both.
		{"cleared", api.UpdateWebhookInput{BranchFilter: new(""), BuildType: "BUILD", RotateSecret: new(false)}, nil, nil, []string{"pull_request", "push"}},
		{"no groups", api.UpdateWebhookInput{FilterGroups: [][]api.WebhookFilter{}}, nil, nil, []string{"pull_request", "push"}},
	} {
		w := h.update(&c.in)
		for _, g := range c.groups {
			for i := range g {
				g[i].ExcludeMatchedPattern = new(false)
			}
		}
		if d := cmp.Diff(c.groups, w.FilterGroups); d != "" || value(w.BranchFilter) != value(c.branch) || (w.BranchFilter == nil) != (c.branch == nil) || w.Secret != nil || *w.PayloadUrl != *first.PayloadUrl {
			t.Errorf("%s: %+v\n%s", c.name, w, d)
		}
		if d := cmp.Diff(w, h.read()); d != "" {
			t.Errorf("%s: the answer and the project differ:\n%s", c.name, d)
		}
		if got := told(); !slices.Equal(got, c.told) {
			t.Errorf("%s: the hook is for %v, want %v", c.name, got, c.told)
		}
		h.certain()
	}
	if now := h.host.Hooks(h.repo)[0].Secret; now != secret {
		t.Error("a change of filters has changed the secret")
	}
	for _, c := range []struct {
		in    api.UpdateWebhookInput
		words string
	}{
		{api.UpdateWebhookInput{BranchFilter: new("a"), FilterGroups: events("PUSH")}, "cannot be used together"},
		{api.UpdateWebhookInput{BuildType: "BUILD_BATCH"}, "Use BUILD"},
		{api.UpdateWebhookInput{FilterGroups: events("NOTHING")}, "NOTHING"},
	} {
		c.in.ProjectName = new("app")
		_, err := h.UpdateWebhook(h.ctx, &c.in)
		wantError(t, err, "InvalidInputException", c.words)
	}
	// What fails at the provider changes nothing here.
	before := h.read()
	h.host.Inject(forgetest.Fault{Path: h.hooks, Do: forgetest.Answer(500, nil, "")})
	_, err = h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("app"), FilterGroups: events("RELEASED")})
	wantError(t, err, "OAuthProviderException", "Failed to update webhook. The source provider could not be asked")
	h.host.Heal()
	if d := cmp.Diff(before, h.read()); d != "" {
		t.Errorf("a failed update changed the webhook:\n%s", d)
	}
	h.settle()
	h.consistent()
	// A hook that somebody removed at the provider is made again.
	h.host.RemoveRepository(h.repo)
	if _, err := h.host.AddRepository(forgetest.Repository{Name: h.repo}); err != nil {
		t.Fatal(err)
	}
	h.update(&api.UpdateWebhookInput{FilterGroups: events("PUSH")})
	h.consistent()
	// Also where nothing is to be changed.
	h.host.DropHook(h.repo, h.host.Hooks(h.repo)[0].ID)
	h.update(&api.UpdateWebhookInput{})
	h.consistent()
}

// A rotated secret is at the provider, and the one before is good for a minute,
// whatever fails in between.
func TestUpdateWebhook_RotateSecret(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"GitHub", "GitLab", "Enterprise"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
			old := h.host.Hooks(h.repo)[0]
			n := 0
			// status is the answer to a delivery that is signed with a secret.
			status := func(secret string) int {
				t.Helper()
				n++
				hook := h.host.Hooks(h.repo)[0]
				signed := h.host.AddHook(h.repo, "octocat", forgetest.Hook{Active: true, Events: hook.Events, URL: hook.URL + "&n=" + strconv.Itoa(n), Secret: secret})
				if _, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: fmt.Sprint(n), Files: map[string]string{"n": fmt.Sprint(n)}}); err != nil {
					t.Fatal(err)
				}
				got := 0
				for _, d := range h.host.Deliveries(h.repo) {
					if d.Hook == signed.ID && d.Event != "ping" {
						got = d.Status
					}
				}
				h.host.DropHook(h.repo, signed.ID)
				return got
			}
			if got := status(old.Secret); got != 200 {
				t.Fatalf("the first secret gets %d", got)
			}
			h.forward(time.Hour)
			w := h.update(&api.UpdateWebhookInput{RotateSecret: new(true)})
			now := h.host.Hooks(h.repo)
			if len(now) != 1 || now[0].ID != old.ID || now[0].Secret == old.Secret || now[0].URL != old.URL || *w.LastModifiedSecret != *api.At(h.Now()) {
				t.Errorf("after the rotation the provider has %+v", now)
			}
			if shown := name == "Enterprise"; (w.Secret != nil) != shown || shown && *w.Secret != now[0].Secret {
				t.Errorf("the answer is %+v", w)
			}
			for _, c := range []struct {
				what, secret string
				after        time.Duration
				want         int
			}{{"the new", now[0].Secret, 0, 200}, {"the old", old.Secret, 0, 200}, {"the old", old.Secret, 59 * time.Second, 200}, {"the old", old.Secret, time.Second, 401}, {"the new", now[0].Secret, 0, 200}} {
				h.forward(c.after)
				if got := status(c.secret); got != c.want {
					t.Errorf("%s secret gets %d, want %d", c.what, got, c.want)
				}
			}
			if name == "Enterprise" {
				return // takes what fails for done
			}
			// Rotations that fail, some of which the provider carried out, change
			// nothing for what it signs; a change that does not fail ends them, or time.
			for what, mend := range map[string]func(){
				"a change": func() { h.update(&api.UpdateWebhookInput{FilterGroups: events("PUSH,RELEASED")}) },
				"time":     h.settle,
			} {
				last := h.host.Hooks(h.repo)[0].Secret
				for i := range 4 {
					do := forgetest.Reset()
					if i%2 == 1 {
						do = forgetest.Lost()
					}
					method := http.MethodPatch
					if name == "GitLab" {
						method = http.MethodPut
					}
					h.host.Inject(forgetest.Fault{Method: method, Path: h.hooks, Do: do})
					_, err := h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("app"), RotateSecret: new(true)})
					wantError(t, err, "OAuthProviderException", "Failed to update webhook")
					h.host.Heal()
					h.forward(time.Hour)
					if got := status(h.host.Hooks(h.repo)[0].Secret); got != 200 {
						t.Errorf("after failed rotation %d, what the provider signs gets %d", i+1, got)
					}
				}
				mend()
				if got := status(h.host.Hooks(h.repo)[0].Secret); got != 200 {
					t.Errorf("after the repair by %s, what the provider signs gets %d", what, got)
				}
				h.forward(hookGrace)
				if got := status(last); got != 401 {
					t.Errorf("after the repair by %s and its grace the old secret gets %d", what, got)
				}
			}
			h.settle()
			h.consistent()
		})
	}
	t.Run("Bitbucket", func(t *testing.T) {
		t.Parallel()
		h := newHookBench(t, kinds["Bitbucket"])
		made := h.create(&api.CreateWebhookInput{})
		before := h.host.Hooks(h.repo)[0].Secret
		h.forward(time.Hour)
		w := h.update(&api.UpdateWebhookInput{RotateSecret: new(true)}) // ignored, as at the service
		if now := h.host.Hooks(h.repo)[0].Secret; now != before || w.Secret != nil || *w.LastModifiedSecret != *made.LastModifiedSecret {
			t.Errorf("the secret was rotated: %+v", w)
		}
	})
	t.Run("manual", func(t *testing.T) {
		t.Parallel()
		h := newHookBench(t, kinds["GitHub"])
		made := h.create(&api.CreateWebhookInput{ManualCreation: new(true)})
		w := h.update(&api.UpdateWebhookInput{RotateSecret: new(true)})
		if w.Secret == nil || *w.Secret == *made.Secret || len(h.host.Hooks(h.repo)) != 0 {
			t.Errorf("the answer is %+v", w)
		}
		if w = h.update(&api.UpdateWebhookInput{BranchFilter: new("x")}); w.Secret != nil {
			t.Error("an update without rotation shows the secret")
		}
	})
}

// A hook that somebody removed at the provider is made again by any update, and
// where the provider does not say whether it is there, filters change all the same.
func TestUpdateWebhook_HookGone(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, k)
			first := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
			secret := h.host.Hooks(h.repo)[0].Secret
			gone := func() { h.host.DropHook(h.repo, h.host.Hooks(h.repo)[0].ID) }
			gone()
			w := h.update(&api.UpdateWebhookInput{})
			h.consistent()
			if list := h.host.Hooks(h.repo); len(list) != 1 {
				t.Fatalf("the provider has %+v", list)
			}
			if again := h.host.Hooks(h.repo)[0]; again.Secret != secret || *w.PayloadUrl != *first.PayloadUrl || w.StatusMessage != nil || first.Url != nil && *w.Url == *first.Url {
				t.Errorf("made again, the provider has %+v and the webhook is %+v", again, w)
			}
			gone()
			h.host.Inject(forgetest.Fault{Do: forgetest.Answer(500, nil, "")})
			branch := [][]api.WebhookFilter{{hookFilter("EVENT", "PUSH"), {Type: "HEAD_REF", Pattern: new("^refs/heads/main$"), ExcludeMatchedPattern: new(false)}}}
			w = h.update(&api.UpdateWebhookInput{FilterGroups: branch})
			if !strings.Contains(value(w.StatusMessage), "not known whether the provider still has the hook") || len(w.FilterGroups[0]) != 2 || w.Secret != nil {
				t.Errorf("with the provider down the webhook is %+v", w)
			}
			if d := cmp.Diff(w, h.read()); d != "" {
				t.Errorf("the answer and the project differ:\n%s", d)
			}
			h.host.Heal()
			if w = h.update(&api.UpdateWebhookInput{}); w.StatusMessage != nil {
				t.Errorf("with the provider back the webhook says %s", *w.StatusMessage)
			}
			h.consistent()
			h.settle()
			h.consistent()
		})
	}
}

// A hook that an Enterprise server refused at first is made by the next update,
// and until then nothing claims that an answer has the secret.
func TestUpdateWebhook_RefusedEnterprise(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["Enterprise"])
	h.host.Inject(forgetest.Fault{Path: h.hooks, Do: forgetest.Answer(404, nil, `{"message":"Not Found"}`)})
	made := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	for _, groups := range [][][]api.WebhookFilter{nil, events("PUSH,RELEASED")} {
		w := h.update(&api.UpdateWebhookInput{FilterGroups: groups})
		if text := value(w.StatusMessage); w.Secret != nil || made.Secret == nil || !strings.Contains(text, "Install the hook") || !strings.Contains(text, "--rotate-secret") || !strings.Contains(text, "Not Found") {
			t.Errorf("refused, the webhook is %+v: %s", w, text)
		}
	}
	h.host.Heal()
	if w := h.update(&api.UpdateWebhookInput{}); w.StatusMessage != nil || w.Secret != nil {
		t.Errorf("the webhook is %+v", w)
	}
	h.consistent()
	for _, k := range h.host.Hooks(h.repo) {
		if k.Secret != *made.Secret {
			t.Error("the hook has another secret than was told")
		}
	}
}

// GitLab's bodies have no time and its ids stay when it delivers again, so a tag
// that is made again and a branch that goes there and back build each time, and
// a repetition does not. Of Bitbucket's nothing but the body is signed.
func TestDelivery_Repeated(t *testing.T) {
	t.Parallel()
	signing := kinds["GitLab"]
	signing.dialect = &forgetest.GitLabSigning
	for name, c := range map[string]struct {
		kind  kind
		fresh bool // whether equal bodies are deliveries of their own
	}{"GitLab": {kinds["GitLab"], true}, "GitLab that signs": {signing, true}, "Bitbucket": {kinds["Bitbucket"], false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, c.kind)
			h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
			ids, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: "a", Files: map[string]string{"a": "1"}}, forgetest.Commit{Message: "b", Files: map[string]string{"a": "2"}})
			if err != nil {
				t.Fatal(err)
			}
			bodies := map[string]bool{}
			seen, equal := 0, 0
			// told looks at what was delivered since the last call.
			told := func() {
				t.Helper()
				all := h.host.Deliveries(h.repo)
				for _, d := range all[seen:] {
					again := bodies[string(d.Body)]
					if again {
						equal++
					}
					bodies[string(d.Body)] = true
					if before := strings.Contains(string(d.Answer), "before"); d.Status != 200 || before != (again && !c.fresh) {
						t.Errorf("%s, a body that came before: %v, got %d %s", d.Event, again, d.Status, d.Answer)
					}
				}
				seen = len(all)
			}
			for range 2 {
				for _, to := range []struct{ ref, sha string }{{"refs/tags/v1", ids[0]}, {"refs/tags/v1", ""}, {"refs/heads/main", ids[0]}, {"refs/heads/main", ids[1]}} {
					if err := h.host.Move(h.repo, "octocat", to.ref, to.sha); err != nil {
						t.Fatal(err)
					}
				}
			}
			told()
			if equal < 3 {
				t.Errorf("%d bodies came before; the provider should have sent the same again", equal)
			}
			for _, d := range h.host.Deliveries(h.repo) {
				if again, err := h.host.Redeliver(d.ID); err != nil || again.Status != 200 || !strings.Contains(string(again.Answer), "before") {
					t.Errorf("%s again: %v, %d %s", d.Event, err, again.Status, again.Answer)
				}
			}
			seen = len(h.host.Deliveries(h.repo))
			h.host.Misdeliver(forgetest.Misdelivery{Forged: true})
			if _, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: "c", Files: map[string]string{"a": "3"}}); err != nil {
				t.Fatal(err)
			}
			if d := h.host.Deliveries(h.repo)[seen]; d.Status != 401 {
				t.Errorf("forged: %d %s", d.Status, d.Answer)
			}
		})
	}
}

// A build of a merge hears of the commit that a squash made, and of no other.
// Source: user guide, "Bitbucket webhook events" and "GitLab webhook events".
func TestDelivery_MergeCommit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"GitLab", "Bitbucket", "GitHub"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			h.host.AddToken(h.token)
			h.create(&api.CreateWebhookInput{FilterGroups: events("PULL_REQUEST_MERGED"), PullRequestBuildPolicy: &api.PullRequestBuildPolicy{RequiresCommentApproval: "DISABLED"}})
			h.runs()
			seen := map[string]bool{}
			for i, p := range []forgetest.Pull{{}, {Close: true}, {Close: true, Squash: true}} {
				p.Head, p.Commits = fmt.Sprintf("topic%d", i), []forgetest.Commit{{Message: "topic", Files: map[string]string{fmt.Sprint(i): "1"}}}
				p, err := h.host.OpenPull(h.repo, p)
				if err != nil {
					t.Fatal(err)
				}
				if p, err = h.host.MergePull(h.repo, p.Number, "octocat"); err != nil {
					t.Fatal(err)
				}
				var id string
				h.until("the merge starts a build", func() bool {
					out, err := h.ListBuildsForProject(h.ctx, &api.ListBuildsForProjectInput{ProjectName: new("app")})
					if err != nil {
						t.Fatal(err)
					}
					for _, one := range out.Ids {
						if !seen[one] {
							id = one
						}
					}
					return id != ""
				})
				seen[id] = true
				b, err := h.Store.Build(h.ctx, access.From(h.ctx).Scope, id)
				if err != nil || b.Trigger == nil {
					t.Fatalf("build %s has the trigger %+v, %v", id, b.Trigger, err)
				}
				want := ""
				if p.Squash && name != "GitHub" {
					want = p.Merge
				}
				if b.Trigger.MergeCommit != want {
					t.Errorf("of merge %d, a squash: %v, the build hears of %q, want %q", i, p.Squash, b.Trigger.MergeCommit, want)
				}
			}
		})
	}
}

// The secret of a webhook that is made by hand is good as GitLab's secret token
// and as its signing token, whichever field it is put in.
func TestCreateWebhook_EitherTokenOfGitLab(t *testing.T) {
	t.Parallel()
	k := kinds["GitLab"]
	k.dialect = &forgetest.GitLabSigning
	h := newHookBench(t, k)
	made := h.create(&api.CreateWebhookInput{ManualCreation: new(true)})
	for name, hook := range map[string]forgetest.Hook{"secret token": {Secret: *made.Secret}, "signing token": {Key: *made.Secret}, "both": {Secret: *made.Secret, Key: *made.Secret}} {
		hook.URL, hook.Active, hook.Events = *made.PayloadUrl, true, []string{"push_events"}
		hook = h.host.AddHook(h.repo, "octocat", hook)
		seen := len(h.host.Deliveries(h.repo))
		if _, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: name, Files: map[string]string{"a": name}}); err != nil {
			t.Fatal(err)
		}
		for _, d := range h.host.Deliveries(h.repo)[seen:] {
			if seen++; d.Status != 200 || (d.Header.Get("Webhook-Signature") != "") != (hook.Key != "") {
				t.Errorf("%s: %d %s to %v", name, d.Status, d.Answer, d.Header)
			}
		}
		if seen != len(h.host.Deliveries(h.repo)) || seen == 0 {
			t.Errorf("%s: nothing was delivered", name)
		}
		h.host.DropHook(h.repo, hook.ID)
	}
}

// The hook follows the project's source, and none stays behind.
func TestUpdateWebhook_MovedSource(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, k)
			first := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
			moved := k.moved()
			if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: k.source, Location: new(h.location(strings.Replace(k.path, "app", "moved", 1)))}}); err != nil {
				t.Fatal(err)
			}
			w := h.update(&api.UpdateWebhookInput{})
			h.settle()
			if left, now := h.host.Hooks(k.repo), h.host.Hooks(moved); len(left) != 0 || len(now) != 1 || now[0].URL != *w.PayloadUrl || k.source != api.SourceTypeGITHUB_ENTERPRISE && *w.Url == *first.Url {
				t.Errorf("the old repository has %+v, the new one %+v, and the webhook is %+v", left, now, w)
			}
			h.repo = moved
			h.consistent()
		})
	}
}

func TestDeleteWebhook(t *testing.T) {
	t.Parallel()
	remove := func(h *hookBench) error {
		_, err := h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")})
		return err
	}
	type story struct {
		name   string
		before func(*hookBench)
		words  string // of the error, "" for none
		after  func(*hookBench)
	}
	stories := []story{
		{"all well", func(h *hookBench) { h.certain() }, "", (*hookBench).certain},
		{"hook gone", func(h *hookBench) { h.host.DropHook(h.repo, h.host.Hooks(h.repo)[0].ID) }, "", func(*hookBench) {}},
		{"token gone", func(h *hookBench) {
			if _, err := h.DeleteSourceCredentials(h.ctx, &api.DeleteSourceCredentialsInput{Arn: new(resource(access.From(h.ctx).Scope, "token", strings.ToLower(string(h.source))))}); err != nil {
				h.t.Fatal(err)
			}
		}, "", func(h *hookBench) { h.load(h.token) }},
		{"token revoked", func(h *hookBench) { h.host.RevokeToken(h.token.Value) }, "", func(h *hookBench) { h.load(h.token) }},
		{"provider down", func(h *hookBench) { h.host.Inject(forgetest.Fault{Do: forgetest.Answer(503, nil, "")}) }, "Failed to delete webhook. The source provider could not be asked", func(h *hookBench) {
			h.host.Heal()
			h.consistent()
			if err := remove(h); err != nil {
				h.t.Error(err)
			}
		}},
		{"answer lost", func(h *hookBench) { h.host.Inject(forgetest.Fault{Method: "DELETE", Times: 1, Do: forgetest.Lost()}) }, "Failed to delete webhook", func(h *hookBench) {
			if err := remove(h); err != nil {
				h.t.Error(err)
			}
		}},
		{"made twice", func(h *hookBench) {
			k := h.host.Hooks(h.repo)[0]
			h.host.AddHook(h.repo, "octocat", k)
		}, "", func(*hookBench) {}},
		// The last: it is not there again.
		{"repository gone", func(h *hookBench) { h.host.RemoveRepository(h.repo) }, "", func(h *hookBench) { h.forward(4 * 24 * time.Hour) }},
	}
	for _, name := range []string{"GitHub", "Bitbucket"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			for _, c := range stories {
				h.story(c.name, func() {
					h.create(&api.CreateWebhookInput{})
					c.before(h)
					err := remove(h)
					if c.words == "" && err != nil {
						h.t.Error(err)
					} else if c.words != "" {
						wantError(h.t, err, "OAuthProviderException", c.words)
					}
					c.after(h)
					h.settle()
					h.consistent()
				})
			}
		})
	}
}

// DeleteProject asks nobody; its hook is removed afterwards, when the provider
// is back.
func TestDeleteProject_RemovesTheHook(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.create(&api.CreateWebhookInput{})
	var asked atomic.Bool
	h.host.Inject(forgetest.Fault{Times: 1, Do: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		asked.Store(true)
		w.WriteHeader(http.StatusBadGateway) // a reset would be tried again by the transport
	}})
	if _, err := h.DeleteProject(h.ctx, &api.DeleteProjectInput{Name: new("app")}); err != nil {
		t.Fatal(err)
	}
	stop := h.runs()
	h.until("the first attempt has failed", func() bool {
		at, err := h.Store.NextRemoval(h.ctx)
		return err == nil && at.After(h.Now())
	})
	h.until("the provider was asked", asked.Load)
	stop()
	if len(h.host.Hooks(h.repo)) != 1 {
		t.Error("the provider has no hook any more, and should have been down")
	}
	h.settle()
	if left := h.host.Hooks(h.repo); len(left) != 0 {
		t.Errorf("the provider still has %+v", left)
	}
	// A new project of the name has nothing of the old one's.
	h.project(t, "app", nil)
	if w := h.read(); w != nil {
		t.Errorf("a new project has the webhook %+v", w)
	}
	h.create(&api.CreateWebhookInput{})
	h.consistent()
}

// cut is a store whose nth write after it was armed fails, before or after it
// is done: what a crash leaves.
type cut struct {
	store.Store
	mu    sync.Mutex
	left  int // writes until it fails; 0 is never
	after bool
	dead  bool // everything fails
}

var errCrash = errors.New("the server has crashed")

func (c *cut) Update(ctx context.Context, do func(store.Tx) error) error {
	c.mu.Lock()
	fail := false
	if c.left > 0 {
		c.left--
		fail = c.left == 0
	}
	if c.dead || fail && !c.after {
		c.dead = true
		c.mu.Unlock()
		return errCrash
	}
	c.dead = fail
	c.mu.Unlock()
	if err := c.Store.Update(ctx, do); err != nil {
		return err
	}
	if fail {
		return errCrash
	}
	return nil
}

// Whatever happens between the making of a hook and the end of the call, the
// provider has exactly one hook that the project knows, or none.
func TestCreateWebhook_NoOrphans(t *testing.T) {
	t.Parallel()
	type story struct {
		name string
		do   func(h *hookBench) error // calls CreateWebhook
	}
	create := func(h *hookBench, ctx context.Context) error {
		_, err := h.CreateWebhook(ctx, &api.CreateWebhookInput{ProjectName: new("app")})
		return err
	}
	fault := func(name string, times int, do func(http.ResponseWriter, *http.Request, http.Handler)) story {
		return story{name, func(h *hookBench) error {
			h.host.Inject(forgetest.Fault{Method: http.MethodPost, Path: h.hooks, Times: times, Do: do})
			defer h.host.Heal()
			return create(h, h.ctx)
		}}
	}
	made := func(status int, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			forgetest.Answer(status, nil, body)(w, r, next)
		}
	}
	stories := []story{
		fault("sent twice", 0, forgetest.Twice()),
		fault("answer lost", 0, forgetest.Lost()),
		fault("answer cut off", 0, forgetest.Truncate(10)),
		fault("500 after it was made", 0, made(500, "")),
		fault("502 after it was made", 0, made(502, "<html>")),
		fault("limit after it was made", 0, made(429, `{}`)),
		fault("not JSON", 0, made(201, "<html>")),
		fault("no id", 0, made(201, "{}")),
		fault("another's id", 0, made(201, `{"id":77,"uuid":"{x}"}`)),
		{"we give up", func(h *hookBench) error {
			never := make(chan struct{})
			h.host.Inject(forgetest.Fault{Method: http.MethodPost, Path: h.hooks, Do: forgetest.Late(never)})
			defer h.host.Heal()
			ctx, cancel := context.WithCancel(h.ctx)
			go func() { // ends when the hook was made
				for ctx.Err() == nil && len(h.host.Hooks(h.repo)) == 0 {
					runtime.Gosched()
				}
				cancel()
			}()
			return create(h, ctx)
		}},
		{"the project is deleted meanwhile", func(h *hookBench) error {
			h.host.Inject(forgetest.Fault{Method: http.MethodPost, Path: h.hooks, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if _, err := h.DeleteProject(h.ctx, &api.DeleteProjectInput{Name: new("app")}); err != nil {
					h.t.Error(err)
				}
				next.ServeHTTP(w, r)
			}})
			defer h.host.Heal()
			err := create(h, h.ctx)
			h.project(h.t, "app", func(in *api.CreateProjectInput) {
				in.Source = &api.ProjectSource{Type: h.source, Location: new(h.location(h.path))}
			})
			return err
		}},
		{"the source moves meanwhile", func(h *hookBench) error {
			h.host.Inject(forgetest.Fault{Method: http.MethodPost, Path: h.hooks, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: h.source, Location: new(h.location(strings.Replace(h.path, "app", "moved", 1)))}}); err != nil {
					h.t.Error(err)
				}
				next.ServeHTTP(w, r)
			}})
			defer h.host.Heal()
			return create(h, h.ctx)
		}},
		{"many at once", func(h *hookBench) error {
			errs := make([]error, 8)
			var calls sync.WaitGroup
			for i := range errs {
				calls.Go(func() { errs[i] = create(h, h.ctx) })
			}
			calls.Wait()
			good := 0
			for _, err := range errs {
				if err == nil {
					good++
				} else {
					wantError(h.t, err, "ResourceAlreadyExistsException", "")
				}
			}
			if good != 1 {
				h.t.Errorf("%d of 8 calls made the webhook: %v", good, errs)
			}
			return nil
		}},
	}
	for n := range 2 {
		for _, after := range []bool{false, true} {
			stories = append(stories, story{fmt.Sprintf("crash at write %d, done %v", n+1, after), func(h *hookBench) error {
				st := &cut{Store: h.Store, left: n + 1, after: after}
				h.Store = st
				err := create(h, h.ctx)
				if !st.dead {
					h.t.Errorf("there was no write %d", n+1)
				}
				h.Store = st.Store
				return err
			}})
		}
	}
	// GitHub has an adapter of its own; those of the others have theirs in common.
	for _, name := range []string{"GitHub", "GitLab"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			for _, s := range stories {
				h.story(s.name, func() {
					err := s.do(h)
					h.settle()
					if h.consistent(); err == nil && h.read() == nil {
						h.t.Error("the call succeeded and there is no webhook")
					}
				})
			}
		})
	}
}

// brings fails unless the provider has the hook that the project knows, as it
// should be, and what the hook brings is taken.
func (h *hookBench) brings(what string) {
	h.t.Helper()
	k := h.right(what)
	if _, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: what, Files: map[string]string{"n": what}}); err != nil {
		h.t.Fatal(err)
	}
	list := h.host.Deliveries(h.repo)
	if last := list[len(list)-1]; last.Hook != k.ID || last.Status != http.StatusOK {
		h.t.Errorf("%s: the last delivery is by hook %d and was answered %d %s", what, last.Hook, last.Status, last.Answer)
	}
}

// right fails unless the provider has the hook that the project knows and no
// other, for what its filters want.
func (h *hookBench) right(what string) forgetest.Hook {
	h.t.Helper()
	h.consistent()
	shown, hooks := h.read(), h.host.Hooks(h.repo)
	if shown == nil || len(hooks) != 1 {
		h.t.Fatalf("%s: the project has %+v, the provider %+v", what, shown, hooks)
	}
	if left := h.host.Hooks(h.moved()); len(left) != 0 {
		h.t.Errorf("%s: %s has %+v", what, h.moved(), left)
	}
	pulls := slices.Contains(hooks[0].Events, "pull_request") || slices.Contains(hooks[0].Events, "merge_requests_events")
	if want := strings.Contains(*shown.FilterGroups[0][0].Pattern, "PULL"); pulls != want {
		h.t.Errorf("%s: the filters are %+v and the hook is for %q", what, shown.FilterGroups, hooks[0].Events)
	}
	if w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, "app"); err != nil || !strings.Contains(w.HookID, strconv.FormatInt(hooks[0].ID, 10)) {
		h.t.Errorf("%s: the store has the hook %s, %v, the provider %d", what, w.HookID, err, hooks[0].ID)
	}
	return hooks[0]
}

// moves has the project move to the other repository, or back.
func (h *hookBench) moves() {
	h.t.Helper()
	h.repo, h.path, h.hooks = elsewhere.Replace(h.repo), elsewhere.Replace(h.path), elsewhere.Replace(h.hooks)
	if _, err := h.UpdateProject(h.ctx, &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: h.source, Location: new(h.location(h.path))}}); err != nil {
		h.t.Fatal(err)
	}
}

// Wherever a change or a removal is cut, and whether or not the answer is lost
// alone: after a while the provider has the hook as the store knows it, also if
// the call was made again before that.
func TestWebhook_Cut(t *testing.T) {
	t.Parallel()
	update := func(in api.UpdateWebhookInput) func(*hookBench) error {
		in.ProjectName = new("app")
		return func(h *hookBench) error { _, err := h.UpdateWebhook(h.ctx, &in); return err }
	}
	operations := map[string]struct {
		do     func(*hookBench) error
		writes int
	}{
		"events": {update(api.UpdateWebhookInput{FilterGroups: events("PUSH, PULL_REQUEST_CREATED")}), 2},
		"rotate": {update(api.UpdateWebhookInput{RotateSecret: new(true)}), 3},
		"move":   {update(api.UpdateWebhookInput{}), 2},
		"delete": {func(h *hookBench) error {
			_, err := h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")})
			return err
		}, 2},
	}
	// As above, these stand for all.
	for _, name := range []string{"GitHub", "GitLab"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookBench(t, kinds[name])
			for what, op := range operations {
				// check looks at what a call left that did not come to its end.
				check := func(again bool) {
					h.t.Helper()
					if again {
						if err := op.do(h); err != nil && (what != "delete" || h.read() != nil) {
							h.t.Errorf("again: %v", err)
						}
					}
					h.settle()
					switch w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, "app"); {
					case h.read() == nil:
						h.consistent()
						if what != "delete" {
							h.t.Error("the webhook is gone")
						}
						return
					case again && what == "delete":
						h.t.Error("the webhook was not deleted")
					case err != nil:
						h.t.Error(err)
					case w.Owner != h.repo && !again: // it did not move yet
						h.moves()
					}
					h.brings(what)
					secret := h.host.Hooks(h.repo)[0].Secret
					if err := update(api.UpdateWebhookInput{})(h); err != nil {
						h.t.Error(err)
					}
					if now := h.right(what + ", put right"); now.Secret != secret && what != "rotate" { // which is brought to its end
						h.t.Error("the secret is another")
					}
				}
				tell := func(story string, do func() error) {
					for _, again := range []bool{false, true} {
						h.story(fmt.Sprintf("%s, %s, again %v", what, story, again), func() {
							h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
							if what == "move" {
								h.moves()
							}
							if err := do(); err == nil {
								h.t.Error("the call came to its end")
							}
							check(again)
						})
					}
				}
				for n := range op.writes {
					for _, after := range []bool{false, true} {
						tell(fmt.Sprintf("write %d, done %v", n+1, after), func() error {
							st := &cut{Store: h.Store, left: n + 1, after: after}
							h.Store = st
							defer func() { h.Store = st.Store }()
							return op.do(h)
						})
					}
				}
				tell("answer lost", func() error {
					for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
						h.host.Inject(forgetest.Fault{Method: method, Path: h.hooks, Do: forgetest.Lost()})
					}
					defer h.host.Heal()
					return op.do(h)
				})
			}
		})
	}
}

// A hook that moves back to where its removal is still to be done stays there,
// and only there.
func TestUpdateWebhook_MovesBack(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitLab"])
	h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	for range 2 {
		h.moves()
		h.update(&api.UpdateWebhookInput{})
	}
	h.settle()
	h.brings("back")
	// The same while the provider is asked to remove it.
	asked, goOn := make(chan struct{}), make(chan struct{})
	h.host.Inject(forgetest.Fault{Method: http.MethodDelete, Times: 1, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(asked)
		<-goOn
		next.ServeHTTP(w, r)
	}})
	h.moves()
	h.update(&api.UpdateWebhookInput{})
	stop := h.runs()
	<-asked
	h.moves()
	done := make(chan error)
	go func() { // ends when the update has its turn
		_, err := h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("app")})
		done <- err
	}()
	h.until("the update waits", func() bool {
		h.turns.mu.Lock()
		defer h.turns.mu.Unlock()
		return len(h.turns.held) == 1
	})
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop()
	h.settle()
	h.brings("back again")
}

// A server that people reach elsewhere than before says which webhooks have the
// address of before at their providers, until they are updated, and loses no hook
// on the way.
func TestWebhook_OtherAddress(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	describe := func(project string) *corbel.DescribeWebhookOutput {
		t.Helper()
		out, err := CorbelService{h.Service}.DescribeWebhook(h.ctx, &corbel.DescribeWebhookInput{ProjectName: &project})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// said is what is in the log.
	said := func() string {
		var log strings.Builder
		h.Log = slog.New(slog.NewTextHandler(&log, nil))
		h.NoteAddresses(h.ctx)
		return log.String()
	}
	old := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	for _, name := range []string{"hand", "polled", "a", "b", "c", "d"} {
		h.project(t, name, func(in *api.CreateProjectInput) {
			in.Source = &api.ProjectSource{Type: h.source, Location: new(h.location(h.path))}
		})
		if _, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: &name, ManualCreation: new(true)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (CorbelService{h.Service}).UpdateWebhookPolling(h.ctx, &corbel.UpdateWebhookPollingInput{ProjectName: new("polled"), Seconds: new(60)}); err != nil {
		t.Fatal(err)
	}
	if text, d := said(), describe("app"); text != "" || d.ServerPayloadUrl != nil {
		t.Errorf("before anything has changed: %q, %+v", text, d)
	}

	receiver := httptest.NewServer(h.inbox)
	t.Cleanup(receiver.Close)
	before := h.URL
	h.URL = receiver.URL
	want := strings.Replace(*old.PayloadUrl, before, h.URL, 1)
	if text := said(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, " webhooks=6 ") || !strings.Contains(text, `projects="a, app, b, c, d, ..."`) || !strings.Contains(text, h.URL) || !strings.Contains(text, "update-webhook") {
		t.Errorf("the log has %q", text)
	} else if strings.Contains(text, strings.TrimPrefix(*old.PayloadUrl, before)) {
		t.Errorf("the log has the unguessable part of the address: %q", text)
	}
	if d := describe("app"); *d.PayloadUrl != *old.PayloadUrl || value(d.ServerPayloadUrl) != want {
		t.Errorf("the webhook is %+v, want the address %s", d, want)
	}
	if d := describe("polled"); d.ServerPayloadUrl != nil {
		t.Errorf("the webhook that is polled is %+v", d)
	}
	// By hand, the answer has the new one.
	hand, err := h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("hand")})
	if err != nil {
		t.Fatal(err)
	}
	if d := describe("hand"); d.ServerPayloadUrl != nil || !strings.HasPrefix(*hand.Webhook.PayloadUrl, h.URL) {
		t.Errorf("the webhook that was made by hand is %+v", d)
	}
	if text := said(); !strings.Contains(text, " webhooks=5 ") || !strings.Contains(text, `projects="a, app, b, c, d"`) {
		t.Errorf("the log has %q", text)
	}

	// Cut after the provider has the new address, also where it made another hook.
	for _, dropped := range []bool{false, true} {
		h.story(fmt.Sprintf("cut, dropped %v", dropped), func() {
			h.URL = before
			h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
			if dropped {
				h.host.DropHook(h.repo, h.host.Hooks(h.repo)[0].ID)
			}
			h.URL = receiver.URL
			st := &cut{Store: h.Store, left: 2}
			h.Store = st
			if _, err := h.UpdateWebhook(h.ctx, &api.UpdateWebhookInput{ProjectName: new("app")}); err == nil {
				h.t.Error("the call came to its end")
			}
			h.Store = st.Store
			if dropped {
				if _, err := h.DeleteWebhook(h.ctx, &api.DeleteWebhookInput{ProjectName: new("app")}); err != nil {
					h.t.Error(err)
				}
				h.settle()
				h.consistent()
				return
			}
			h.settle()
			if h.brings("cut"); describe("app").ServerPayloadUrl != nil {
				h.t.Error("the hook has the old address still")
			}
		})
	}
	h.create(&api.CreateWebhookInput{})
	h.URL = before
	w := h.update(&api.UpdateWebhookInput{})
	h.consistent()
	if d := describe("app"); d.ServerPayloadUrl != nil || !strings.HasPrefix(*w.PayloadUrl, before) {
		t.Errorf("the webhook is %+v", d)
	}
}

// The operations of Corbel's own keep to the caller's account and policy.
func TestDeliveries_OtherCallers(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	w := h.create(&api.CreateWebhookInput{FilterGroups: events("PUSH")})
	h.project(t, "other", nil)
	h.runs()
	if _, err := h.host.Push(h.repo, "octocat", forgetest.Commit{Message: "x", Files: map[string]string{"x": "y"}}); err != nil {
		t.Fatal(err)
	}
	s := CorbelService{h.Service}
	list, err := s.ListWebhookDeliveries(h.ctx, &corbel.ListWebhookDeliveriesInput{ProjectName: new("app")})
	if err != nil || len(list.Deliveries) == 0 {
		t.Fatal(list, err)
	}
	id := list.Deliveries[0].Id
	policy := func(text string) context.Context {
		p, err := access.ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		who := access.From(h.ctx)
		who.Policy = p
		return access.With(context.Background(), who)
	}
	allow := func(project string) context.Context {
		return policy(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"corbel:*","Resource":"arn:aws:codebuild:us-west-2:123456789012:project/` + project + `"}}`)
	}
	const all = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"corbel:RedeliverWebhook","Resource":"arn:aws:codebuild:*:*:project/app"}]}`
	redeliver := func(ctx context.Context, id string) error {
		if err := s.Authorize(ctx, "corbel", "RedeliverWebhook", []byte(`{"deliveryId":"`+id+`"}`)); err != nil {
			return err
		}
		_, err := s.RedeliverWebhook(ctx, &corbel.RedeliverWebhookInput{DeliveryId: &id})
		return err
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		id   string
		code string
	}{
		{"the owner", h.ctx, *id, ""},
		{"a key for the project", allow("app"), *id, ""},
		{"a key for another project", allow("other"), *id, "AccessDeniedException"},
		{"a key for another project, no such delivery", allow("other"), "999999", "AccessDeniedException"},
		{"a key that is denied this one", policy(all), *id, "AccessDeniedException"},
		{"another account", in("210987654321", "us-west-2", "eve"), *id, "ResourceNotFoundException"},
		{"another region", in("123456789012", "eu-west-1", "alice"), *id, "ResourceNotFoundException"},
		{"no such delivery", h.ctx, "999999", "ResourceNotFoundException"},
		{"not a number", h.ctx, "1 or 1=1", "InvalidInputException"},
		{"a large number", h.ctx, strings.Repeat("9", 40), "InvalidInputException"},
	} {
		err := redeliver(c.ctx, c.id)
		if c.code == "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if e, ok := errors.AsType[*api.Error](err); c.code != "" && (!ok || e.Code != c.code) {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	eve := in("210987654321", "us-west-2", "eve")
	for name, call := range map[string]func() error{
		"ListWebhookDeliveries": func() error {
			_, err := s.ListWebhookDeliveries(eve, &corbel.ListWebhookDeliveriesInput{ProjectName: new("app")})
			return err
		},
		"DescribeWebhook": func() error {
			_, err := s.DescribeWebhook(eve, &corbel.DescribeWebhookInput{ProjectName: new("app")})
			return err
		},
		"TestWebhook": func() error {
			_, err := s.TestWebhook(eve, &corbel.TestWebhookInput{ProjectName: new("app"), Payload: new("{}")})
			return err
		},
		"UpdateWebhookPolling": func() error {
			_, err := s.UpdateWebhookPolling(eve, &corbel.UpdateWebhookPollingInput{ProjectName: new("app"), Seconds: new(60)})
			return err
		},
		"ApprovePullRequest": func() error {
			_, err := s.ApprovePullRequest(eve, &corbel.ApprovePullRequestInput{ProjectName: new("app"), PullRequest: new(1), Sha: new(strings.Repeat("a", 40))})
			return err
		},
		"ListPendingApprovals": func() error {
			_, err := s.ListPendingApprovals(eve, &corbel.ListPendingApprovalsInput{ProjectName: new("app")})
			return err
		},
		"DeleteWebhook": func() error {
			_, err := s.DeleteWebhook(eve, &api.DeleteWebhookInput{ProjectName: new("app")})
			return err
		},
		"UpdateWebhook": func() error {
			_, err := s.UpdateWebhook(eve, &api.UpdateWebhookInput{ProjectName: new("app"), RotateSecret: new(true)})
			return err
		},
	} {
		if e, ok := errors.AsType[*api.Error](call()); !ok || e.Code != "ResourceNotFoundException" {
			t.Errorf("%s of another account: %v", name, e)
		}
	}
	// Neither secret nor token is in what is told of a webhook.
	secret := h.host.Hooks(h.repo)[0].Secret
	described, err := s.DescribeWebhook(h.ctx, &corbel.DescribeWebhookInput{ProjectName: new("app")})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []any{list, described, h.read(), w} {
		if b, _ := json.Marshal(doc); strings.Contains(string(b), secret) || strings.Contains(string(b), h.token.Value.Reveal()) {
			t.Errorf("%T shows a secret: %s", doc, b)
		}
	}
}

// However much waits for a provider on behalf of one webhook, the others do not
// wait for it.
func TestDeliveries_OneWebhookHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	h.create(&api.CreateWebhookInput{ManualCreation: new(true), FilterGroups: [][]api.WebhookFilter{{hookFilter("EVENT", "PULL_REQUEST_CREATED"), hookFilter("FILE_PATH", "x")}}})
	h.bench.project(t, "other", func(in *api.CreateProjectInput) { in.Source.Location = new("https://github.com/octo/moved.git") })
	if _, err := h.CreateWebhook(h.ctx, &api.CreateWebhookInput{ProjectName: new("other"), ManualCreation: new(true), FilterGroups: events("PUSH")}); err != nil {
		t.Fatal(err)
	}
	sha := strings.Repeat("a", 40)
	put := func(project string, n int, e forge.Event) (hook string) {
		t.Helper()
		w, err := h.Store.Webhook(h.ctx, access.From(h.ctx).Scope, project)
		if err != nil {
			t.Fatal(err)
		}
		e.HeadRef, e.SHA = "refs/heads/main", sha
		d, err := delivery.Polled(store.Delivery{Scope: w.Scope, Project: project, Hook: w.Address, Received: h.Now(), Next: h.Now()}, []forge.Event{e})
		if err == nil {
			err = h.Store.Update(h.ctx, func(tx store.Tx) error {
				for range n {
					if _, err := tx.PutDelivery(h.ctx, d); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.Address
	}
	held := make(chan struct{})
	defer close(held)
	h.host.Inject(forgetest.Fault{Do: forgetest.Hold(held)})
	put("app", 300, forge.Event{Type: forge.PullCreated, Repository: "octo/app", BaseRef: "refs/heads/main", Pull: &forge.PullRequest{Number: 1}})
	other := put("other", 1, forge.Event{Type: forge.Push, Repository: "octo/moved", FilesKnown: true})
	select { // as after a start
	case <-h.Store.Delivered():
	default:
	}
	h.runs()
	h.until("the other webhook's delivery is decided", func() bool {
		list, err := h.Store.Deliveries(h.ctx, other, 0, 1)
		return err == nil && list[0].State == store.Done && list[0].Results[0].Outcome == "STARTED"
	})
}

// Filter groups are tried before there is a webhook: with the project, whose
// provider then is asked, or with a source alone, for which nobody is.
func TestTestWebhook_Before(t *testing.T) {
	t.Parallel()
	h := newHookBench(t, kinds["GitHub"])
	s := CorbelService{h.Service}
	sha := strings.Repeat("a", 40)
	payload := `{"ref":"refs/heads/main","before":"` + strings.Repeat("b", 40) + `","after":"` + sha + `","repository":{"id":1,"full_name":"octo/app"},"sender":{"id":1,"login":"octocat"},"commits":[]}`
	groups := func(filters ...[2]string) [][]corbel.Filter {
		list := []corbel.Filter{{Type: "EVENT", Pattern: new("PUSH")}}
		for _, f := range filters {
			list = append(list, corbel.Filter{Type: corbel.FilterType(f[0]), Pattern: &f[1]})
		}
		return [][]corbel.Filter{list}
	}
	source := func(location string) *corbel.TestedSource {
		return &corbel.TestedSource{Type: new("GITHUB"), Location: &location}
	}
	here := source("https://github.com/octo/app.git")
	for _, c := range []struct {
		name          string
		in            corbel.TestWebhookInput
		outcome, note string
	}{
		{"source", corbel.TestWebhookInput{Source: here, FilterGroups: groups([2]string{"HEAD_REF", "main"})}, "WOULD_START", ""},
		{"source that does not match", corbel.TestWebhookInput{Source: here, FilterGroups: groups([2]string{"HEAD_REF", "topic"})}, "NO_MATCH", ""},
		{"another source", corbel.TestWebhookInput{Source: source("https://github.com/octo/other.git"), FilterGroups: groups()}, "IGNORED", ""},
		{"source, no message", corbel.TestWebhookInput{Source: here, FilterGroups: groups([2]string{"COMMIT_MESSAGE", "x"})}, "NO_MATCH", "without a project no provider is asked"},
		{"source, no groups", corbel.TestWebhookInput{Source: here, FilterGroups: [][]corbel.Filter{}}, "WOULD_START", ""},
		{"project", corbel.TestWebhookInput{ProjectName: new("app"), FilterGroups: groups()}, "WOULD_START", ""},
		{"project, unknown commit", corbel.TestWebhookInput{ProjectName: new("app"), FilterGroups: groups([2]string{"COMMIT_MESSAGE", "x"})}, "NO_MATCH", "the message of commit " + sha + " is not known: github.com"},
	} {
		c.in.Headers, c.in.Payload = []corbel.WebhookHeader{{Name: new("X-GitHub-Event"), Value: new("push")}}, &payload
		asked := h.host.Used(h.token.Value)
		out, err := s.TestWebhook(h.ctx, &c.in)
		if err != nil || len(out.Results) != 1 {
			t.Errorf("%s: %v, %v", c.name, out, err)
			continue
		}
		if r := out.Results[0]; string(r.Outcome) != c.outcome || !strings.Contains(value(r.Note), c.note) || c.note == "" && r.Note != nil {
			t.Errorf("%s: %s, %s, %s", c.name, r.Outcome, value(r.Reason), value(r.Note))
		}
		if c.in.Source != nil && h.host.Used(h.token.Value) != asked {
			t.Errorf("%s: the provider was asked", c.name)
		}
	}
	for name, in := range map[string]corbel.TestWebhookInput{
		"neither":                   {FilterGroups: groups()},
		"both":                      {ProjectName: new("app"), Source: here, FilterGroups: groups()},
		"source without groups":     {Source: here},
		"source that starts":        {Source: here, FilterGroups: groups(), Start: new(true)},
		"source without provider":   {Source: &corbel.TestedSource{Type: new("S3"), Location: new("x/y")}, FilterGroups: groups()},
		"source that is no address": {Source: source("octo/app"), FilterGroups: groups()},
	} {
		in.Payload = &payload
		_, err := s.TestWebhook(h.ctx, &in)
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != "InvalidInputException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a project it is about none, which a key for one does not allow.
	p, err := access.ParsePolicy(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"corbel:*","Resource":"arn:aws:codebuild:us-west-2:123456789012:project/app"}}`)
	if err != nil {
		t.Fatal(err)
	}
	who := access.From(h.ctx)
	who.Policy = p
	for doc, allowed := range map[string]bool{`{"projectName":"app"}`: true, `{"source":{"type":"GITHUB","location":"x"}}`: false} {
		if err := s.Authorize(access.With(t.Context(), who), "corbel", "TestWebhook", []byte(doc)); (err == nil) != allowed {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
