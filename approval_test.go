package corbel_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// forked makes mallory's fork of octo/app.
func (h *hooked) forked() {
	h.t.Helper()
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"}); err != nil {
		h.t.Fatal(err)
	}
}

// opens opens a pull request, and pushes pushes a commit to the branch of one.
func (h *hooked) opens(p forgetest.Pull) forgetest.Pull {
	h.t.Helper()
	p, err := h.host.OpenPull("octo/app", p)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *hooked) pushes(p forgetest.Pull, login, file, text string) forgetest.Pull {
	h.t.Helper()
	p, err := h.host.UpdatePull("octo/app", p.Number, login, forgetest.Commit{Message: file, Files: map[string]string{file: text}})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// Polling does not tell who pushed. To a fork that somebody who may write has
// opened a pull request from, anybody may have.
func TestWebhook_PolledStranger(t *testing.T) {
	t.Parallel()
	spec := "version: 0.2\nenv: {secrets-manager: {NPM_TOKEN: npm}}\nphases: {build: {commands: [\"echo token=${NPM_TOKEN-none}\"]}}\n"
	h := newHooked(t, map[string]string{"buildspec.yml": spec})
	h.must(h.aws, "secretsmanager", "create-secret", "--name", "npm", "--secret-string", "npm_PlantedSecretOfABuild0000001")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--manual-creation", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"}]]`)
	h.poll()
	h.forked()
	own := h.opens(forgetest.Pull{Head: "own", Commits: []forgetest.Commit{{Message: "own", Files: map[string]string{"o": "1"}}}})
	p := h.opens(forgetest.Pull{Author: "octocat", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	for _, what := range []string{"opened", "pushed to"} {
		if what != "opened" {
			own, p = h.pushes(own, "octocat", "o", "2"), h.pushes(p, "mallory", "buildspec.yml", spec+"# evil\n")
		}
		h.poll()
		if text := h.outcome(); strings.Count(text, "AWAITING_APPROVAL") != 1 || strings.Count(text, "STARTED") != 1 || !strings.Contains(text, "not known who pushed") {
			t.Errorf("a stranger's and an own branch, %s:\n%s", what, text)
		}
		if b := h.next(); *b.ResolvedSourceVersion != own.SHA || !strings.Contains(h.logOf(b), "token=***") {
			t.Errorf("%s: what is built is %s, want %s with its secret", what, *b.ResolvedSourceVersion, own.SHA)
		}
	}

	h.codebuild(nil, "update-webhook", "--project-name", "app", "--pull-request-build-policy", "requiresCommentApproval=DISABLED")
	p = h.pushes(p, "mallory", "buildspec.yml", spec+"# evil again\n")
	h.poll()
	b := h.next()
	if log := h.logOf(b); b.BuildStatus != api.StatusTypeSUCCEEDED || *b.ResolvedSourceVersion != p.SHA || !strings.Contains(log, "token=none") || !strings.Contains(log, "gets no secrets") {
		t.Errorf("without a policy the build is %s:\n%s", b.BuildStatus, log)
	}

	// Where not everybody who may write has a role, an own branch waits too, and
	// both no longer than they are open.
	h.codebuild(nil, "update-webhook", "--project-name", "app", "--pull-request-build-policy", "requiresCommentApproval=ALL_PULL_REQUESTS,approverRoles=GITHUB_ADMIN")
	own, p = h.pushes(own, "octocat", "o", "3"), h.pushes(p, "mallory", "e", "3")
	h.poll()
	if text := h.outcome(); strings.Count(text, "AWAITING_APPROVAL") != 2 {
		t.Errorf("an own branch where only administrators approve:\n%s", text)
	}
	if _, err := h.host.ClosePull("octo/app", p.Number, "mallory"); err != nil {
		t.Fatal(err)
	}
	h.poll()
	if text := h.must(corbel(t), "webhook", "approvals", "app"); !strings.Contains(text, own.SHA) || strings.Contains(text, p.SHA) {
		t.Errorf("after one was closed there waits\n%s", text)
	}
	if text, err := h.run(corbel(t), "webhook", "approve", "app", fmt.Sprint(p.Number), p.SHA); err == nil || !strings.Contains(text, "ResourceNotFoundException") {
		t.Errorf("a closed one is approved: %v\n%s", err, text)
	}
}

// What was merged is in the repository, so nobody has to approve it, and what
// waited of its pull request waits no more.
func TestWebhook_Merged(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	h.host.AddPerson(forgetest.Person{Login: "writer"})
	if err := h.host.SetRole("octo/app", "writer", "write"); err != nil {
		t.Fatal(err)
	}
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_MERGED"}]]`,
		"--pull-request-build-policy", "requiresCommentApproval=ALL_PULL_REQUESTS,approverRoles=GITHUB_ADMIN")
	h.forked()
	p := h.opens(forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "good", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	if text := h.outcome(); !strings.Contains(text, "AWAITING_APPROVAL") {
		t.Errorf("before it is merged:\n%s", text)
	}
	if _, err := h.host.MergePull("octo/app", p.Number, "writer"); err != nil {
		t.Fatal(err)
	}
	b := h.next()
	if log := h.logOf(b); b.BuildStatus != api.StatusTypeSUCCEEDED || *b.ResolvedSourceVersion != p.SHA || !strings.Contains(log, "CODEBUILD_WEBHOOK_EVENT=PULL_REQUEST_MERGED\n") || strings.Contains(log, "gets no secrets") {
		t.Errorf("merged, it is %s at %s:\n%s", b.BuildStatus, *b.ResolvedSourceVersion, log)
	}
	if text := h.must(corbel(t), "webhook", "approvals", "app"); text != "" {
		t.Errorf("after the merge there waits\n%s", text)
	}
}

// The failed status of a commit that waits is replaced by the build's, also where
// its context has what only the build knows. A target that is no address keeps no
// status away.
func TestWebhook_WaitingContext(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	context := func(text string) {
		t.Helper()
		if _, err := h.client().UpdateProject(t.Context(), &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git"), BuildStatusConfig: &api.BuildStatusConfig{Context: &text, TargetUrl: new("build $CODEBUILD_BUILD_NUMBER")}}}); err != nil {
			t.Fatal(err)
		}
	}
	context("ci $CODEBUILD_SOURCE_VERSION $CODEBUILD_CI $CODEBUILD_WEBHOOK_TRIGGER $CODEBUILD_RESOLVED_SOURCE_VERSION $CODEBUILD_BUILD_IMAGE $CODEBUILD_PROJECT_ARN $CODEBUILD_SOURCE_REPO_URL $CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID")
	h.codebuild(nil, "create-webhook", "--project-name", "app")
	h.forked()
	p := h.opens(forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	for _, want := range []int{1, 2} {
		if text := h.outcome(); !strings.Contains(text, "AWAITING_APPROVAL") {
			t.Fatalf("what came of it:\n%s", text)
		}
		if _, err := h.host.Comment("octo/app", p.Number, "octocat", "/codebuild_run("+p.SHA+")"); err != nil {
			t.Fatal(err)
		}
		h.next()
		last := map[string]string{} // by context
		h.until("each context of the commit is green", func() bool {
			for _, s := range h.host.Statuses("octo/app", p.SHA) {
				last[s.Context] = s.State
			}
			for _, state := range last {
				if state != "success" {
					return false
				}
			}
			return len(last) > 0
		})
		if len(last) != want {
			t.Errorf("there are the contexts %v, want %d", last, want)
		}
		context("ci $CODEBUILD_BUILD_NUMBER")
		p = h.pushes(p, "mallory", "e", "2")
	}
}

// Only the newest commit of an open pull request waits, whatever is delivered
// late or again.
func TestWebhook_OldEvents(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"}, "-builds", "0")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"},{"type":"COMMIT_MESSAGE","pattern":"skip ci","excludeMatchedPattern":true}]]`)
	h.forked()
	p := h.opens(forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	h.outcome()
	old := p.SHA
	p = h.pushes(p, "mallory", "f", "1")
	h.outcome()
	waits := func(want string) {
		t.Helper()
		text := h.must(corbel(t), "webhook", "approvals", "app")
		if want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("there waits\n%s\nwant %q", text, want)
		}
	}
	waits(p.SHA)
	again := func(sha, why string) {
		t.Helper()
		var listed struct {
			Deliveries []struct {
				ID      string
				Results []struct{ Event, Sha string }
			}
		}
		if err := json.Unmarshal([]byte(h.must(corbel(t), "webhook", "deliveries", "app", "--output", "json")), &listed); err != nil {
			t.Fatal(err)
		}
		for _, d := range listed.Deliveries {
			if len(d.Results) > 0 && d.Results[0].Sha == sha && d.Results[0].Event != "PULL_REQUEST_CLOSED" {
				h.must(corbel(t), "webhook", "redeliver", d.ID)
				if text := h.outcome(); !strings.Contains(text, "IGNORED") || !strings.Contains(text, why) {
					t.Errorf("%s again:\n%s", sha, text)
				}
				return
			}
		}
		t.Errorf("no delivery is of %s", sha)
	}
	again(old, "newest commit")
	waits(p.SHA)
	if text, err := h.run(corbel(t), "webhook", "approve", "app", fmt.Sprint(p.Number), old); err == nil || !strings.Contains(text, p.SHA) {
		t.Errorf("the old commit is approved: %v\n%s", err, text)
	}

	newest := p.SHA
	if p = h.pushes(p, "mallory", "skip ci", "1"); !strings.Contains(h.outcome(), "NO_MATCH") {
		t.Errorf("what is to be skipped:\n%s", h.outcome())
	}
	waits("") // nobody could approve it
	p = h.pushes(p, "mallory", "f", "2")
	h.outcome()
	waits(p.SHA)
	if _, err := h.host.ClosePull("octo/app", p.Number, "mallory"); err != nil {
		t.Fatal(err)
	}
	h.outcome()
	waits("")
	again(newest, "is not open")
	again(p.SHA, "is not open")
	waits("")
	if text, err := h.run(corbel(t), "webhook", "approve", "app", fmt.Sprint(p.Number), p.SHA); err == nil || !strings.Contains(text, "ResourceNotFoundException") {
		t.Errorf("a closed one is approved: %v\n%s", err, text)
	}

	// Nobody who could be asked for a message is no reason to build what is to be
	// skipped.
	h.must(h.aws, "codebuild", "delete-source-credentials", "--arn", h.health().Arn)
	h.opens(forgetest.Pull{Head: "own", Commits: []forgetest.Commit{{Message: "own", Files: map[string]string{"o": "1"}}}})
	if text := h.outcome(); !strings.Contains(text, "NO_MATCH") || !strings.Contains(text, "no credential to read the commit's message") {
		t.Errorf("without a credential:\n%s", text)
	}
}

// A fork's build reports where the pull request is, and a fork's branch is none of
// the repository's.
func TestWebhook_BitbucketFork(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	aws := needs(t, "aws")
	host, err := forgetest.New(forgetest.Options{Dialect: &forgetest.Bitbucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	const token = "ATBBPlantedTokenOfForks00000000001"
	host.AddToken(forgetest.Token{Value: token, Login: "mona", Scopes: []string{"account", "repository", "repository:write", "pullrequest", "webhook"}})
	ids, err := host.AddRepository(forgetest.Repository{Name: "octo/app", Commits: []forgetest.Commit{{Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"}}}})
	if err != nil {
		t.Fatal(err)
	}
	host.AddPerson(forgetest.Person{Login: "mallory"})
	if err := host.SetRole("octo/app", "octocat", "admin"); err != nil {
		t.Fatal(err)
	}
	h := &hooked{server: serve(t, "-host", "bitbucket.org="+host.URL), host: host, sha: ids[0], aws: aws, seen: map[string]bool{}}
	if _, err := h.client().ImportSourceCredentials(t.Context(), &api.ImportSourceCredentialsInput{ServerType: api.ServerTypeBITBUCKET, AuthType: api.AuthTypeBASIC_AUTH, Username: new("mona"), Token: token}); err != nil {
		t.Fatal(err)
	}
	h.projectOf("app", &api.ProjectSource{Type: api.SourceTypeBITBUCKET, Location: new("https://bitbucket.org/octo/app.git")})
	h.codebuild(nil, "create-webhook", "--project-name", "app")
	h.forked()
	p := h.opens(forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "main", Commits: []forgetest.Commit{{Branch: "main", Message: "improve", Files: map[string]string{"e": "1"}}}})
	if text := h.outcome(); !strings.Contains(text, "AWAITING_APPROVAL") {
		t.Fatalf("a fork's pull request:\n%s", text)
	}
	if _, err := h.host.Comment("octo/app", p.Number, "octocat", "/codebuild_run("+p.SHA+")"); err != nil {
		t.Fatal(err)
	}
	b := h.next()
	if b.BuildStatus != api.StatusTypeSUCCEEDED || *b.Source.Location != host.URL+"/mallory/app.git" && *b.Source.Location != "https://bitbucket.org/mallory/app.git" {
		t.Errorf("the build is %s of %s", b.BuildStatus, *b.Source.Location)
	}
	var states []string
	h.until("the pull request's repository has the last status", func() bool {
		states = nil
		for _, s := range host.Statuses("octo/app", p.SHA) {
			states = append(states, s.State)
		}
		return len(states) == 3
	})
	if got := strings.Join(states, " "); got != "FAILED INPROGRESS SUCCESSFUL" {
		t.Errorf("the statuses are %s", got)
	}
	if list := host.Statuses("mallory/app", p.SHA); len(list) != 0 {
		t.Errorf("the fork has %+v", list)
	}
	out, err := h.client().UpdateProject(t.Context(), &api.UpdateProjectInput{Name: new("app"), BadgeEnabled: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(*out.Project.Badge.BadgeRequestUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if svg, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(svg), "build: unknown") {
		t.Errorf("the badge of main is %s, %v", svg, err)
	}
}
