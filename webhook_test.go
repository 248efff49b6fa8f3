package corbel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const told = `version: 0.2
phases:
  build:
    commands:
      - env | grep ^CODEBUILD_WEBHOOK_ | sort
      - echo "version=$CODEBUILD_SOURCE_VERSION commit=$(git rev-parse HEAD) initiator=$CODEBUILD_INITIATOR"
`

// A hooked is a server with a project app whose repository octo/app is at a
// provider that tells it what happens.
type hooked struct {
	*server
	host *forgetest.Server
	sha  string // of main
	aws  string
	seen map[string]bool // builds that were waited for
}

func newHooked(t *testing.T, files map[string]string, args ...string) *hooked {
	t.Helper()
	needs(t, "git")
	aws := awsCLI(t)
	host, sha := newHost(t, files)
	host.AddPerson(forgetest.Person{Login: "mallory"})
	if err := host.SetRole("octo/app", "octocat", "admin"); err != nil {
		t.Fatal(err)
	}
	h := &hooked{server: serve(t, append([]string{"-host", "github.com=" + host.URL}, args...)...), host: host, sha: sha, aws: aws, seen: map[string]bool{}}
	h.load(planted)
	h.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	return h
}

// codebuild runs an operation with the AWS CLI.
func (h *hooked) codebuild(out any, args ...string) {
	h.t.Helper()
	text := h.must(h.aws, append([]string{"codebuild"}, args...)...)
	if out == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		h.t.Fatalf("%v: %v\n%s", args, err, text)
	}
}

// next waits for a build that was not seen before, to its end.
func (h *hooked) next() *api.Build {
	h.t.Helper()
	var id string
	h.until("another build is there", func() bool {
		out, err := h.client().ListBuildsForProject(context.Background(), &api.ListBuildsForProjectInput{ProjectName: new("app")})
		if err != nil {
			h.t.Fatal(err)
		}
		for _, one := range out.Ids {
			if !h.seen[one] {
				id = one
			}
		}
		return id != ""
	})
	h.seen[id] = true
	return h.await(id)
}

func (h *hooked) logOf(b *api.Build) string {
	h.t.Helper()
	return h.must(corbel(h.t), "logs", "app", "--build", *b.Id)
}

// outcome waits until what came of the newest delivery is decided.
func (h *hooked) outcome() string {
	h.t.Helper()
	var text string
	h.until("the newest delivery is decided", func() bool {
		text = h.must(corbel(h.t), "webhook", "deliveries", "app", "--limit", "1")
		return !strings.Contains(text, "  WAITING\n")
	})
	return text
}

// poll has the repository asked for what has changed, and waits until it was.
func (h *hooked) poll() {
	h.t.Helper()
	h.must(corbel(h.t), "webhook", "poll", "app", "--every", "15s")
	h.until("the repository was polled", func() bool {
		var d struct{ NextPoll float64 }
		if err := json.Unmarshal([]byte(h.must(corbel(h.t), "webhook", "who", "app", "--output", "json")), &d); err != nil {
			h.t.Fatal(err)
		}
		return d.NextPoll > float64(time.Now().Unix()+1)
	})
}

// The whole way with the AWS CLI: a hook is made, pushes, tags and pull requests
// start builds of what was pushed, and the commits hear of it.
func TestWebhook(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	var made struct{ Webhook api.Webhook }
	h.codebuild(&made, "create-webhook", "--project-name", "app", "--filter-groups", `[
		[{"type":"EVENT","pattern":"PUSH"},{"type":"HEAD_REF","pattern":"^refs/heads/(main|release/.*)$"}],
		[{"type":"EVENT","pattern":"PUSH"},{"type":"HEAD_REF","pattern":"^refs/tags/v"}],
		[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_MERGED"},{"type":"BASE_REF","pattern":"main"},{"type":"FILE_PATH","pattern":"^docs/","excludeMatchedPattern":true}]]`)
	w := made.Webhook
	hooks := h.host.Hooks("octo/app")
	if len(hooks) != 1 || !strings.HasPrefix(*w.Url, "https://github.com") && !strings.HasPrefix(*w.Url, h.host.URL) || hooks[0].URL != *w.PayloadUrl || hooks[0].Secret == "" {
		t.Fatalf("the host has %+v for %+v", hooks, w)
	}
	if w.Secret != nil || *w.ManualCreation || w.Status != api.WebhookStatusACTIVE || len(w.FilterGroups) != 3 || *w.FilterGroups[2][2].ExcludeMatchedPattern != true ||
		w.PullRequestBuildPolicy.RequiresCommentApproval != api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS || len(w.PullRequestBuildPolicy.ApproverRoles) != 3 {
		t.Errorf("the webhook is %+v", w)
	}
	if slices.Sort(hooks[0].Events); !slices.Equal(hooks[0].Events, []string{"issue_comment", "pull_request", "push"}) {
		t.Errorf("the hook is for %v", hooks[0].Events)
	}
	var read struct{ Projects []api.Project }
	h.codebuild(&read, "batch-get-projects", "--names", "app")
	if got := read.Projects[0].Webhook; got == nil || *got.PayloadUrl != *w.PayloadUrl || got.Secret != nil {
		t.Errorf("the project's webhook is %+v", got)
	}
	if out, err := h.run(h.aws, "codebuild", "create-webhook", "--project-name", "app"); err == nil || !strings.Contains(out, "ResourceAlreadyExistsException") {
		t.Errorf("a second webhook: %v %s", err, out)
	}

	// A push.
	ids, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "second", Files: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	b := h.next()
	log := h.logOf(b)
	octocat := h.host.Person("octocat").ID
	if b.BuildStatus != api.StatusTypeSUCCEEDED || *b.SourceVersion != ids[0] || *b.ResolvedSourceVersion != ids[0] || !strings.HasPrefix(*b.Initiator, "GitHub-Hookshot/") {
		t.Errorf("the build is %s of %s, resolved %s, by %s\n%s", b.BuildStatus, *b.SourceVersion, *b.ResolvedSourceVersion, *b.Initiator, log)
	}
	for _, want := range []string{
		"CODEBUILD_WEBHOOK_EVENT=PUSH", "CODEBUILD_WEBHOOK_TRIGGER=branch/main", "CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/main", "CODEBUILD_WEBHOOK_PREV_COMMIT=" + h.sha,
		fmt.Sprintf("CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=%v", octocat), "version=" + ids[0] + " commit=" + ids[0],
	} {
		if !strings.Contains(log, want+"\n") && !strings.Contains(log, want+" ") {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	// Reported although the project does not ask for it.
	h.until("the commit has its status", func() bool {
		list := h.host.Statuses("octo/app", ids[0])
		return len(list) == 2 && list[0].State == "pending" && list[1].State == "success" && strings.Contains(list[1].TargetURL, "/console/builds/")
	})

	// What no filter lets pass.
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Branch: "topic", Message: "topic", Files: map[string]string{"b": "1"}}); err != nil {
		t.Fatal(err)
	}
	if text := h.outcome(); !strings.Contains(text, "NO_MATCH") || !strings.Contains(text, `HEAD_REF does not match "refs/heads/topic"`) || !strings.Contains(text, "filter group 2") {
		t.Errorf("a push to another branch:\n%s", text)
	}

	// A tag.
	if err := h.host.Move("octo/app", "octocat", "refs/tags/v1", ids[0]); err != nil {
		t.Fatal(err)
	}
	b = h.next()
	if log := h.logOf(b); !strings.Contains(log, "CODEBUILD_WEBHOOK_TRIGGER=tag/v1\n") || *b.SourceVersion != ids[0] || b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the tag's build is %s of %s:\n%s", b.BuildStatus, *b.SourceVersion, log)
	}

	// A pull request of somebody who may write.
	p, err := h.host.OpenPull("octo/app", forgetest.Pull{Head: "feature", Commits: []forgetest.Commit{{Message: "feature", Files: map[string]string{"c": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b = h.next()
	log = h.logOf(b)
	if *b.SourceVersion != fmt.Sprintf("pr/%d", p.Number) || *b.ResolvedSourceVersion != p.SHA || b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the pull request's build is %s of %s, resolved %s:\n%s", b.BuildStatus, *b.SourceVersion, *b.ResolvedSourceVersion, log)
	}
	for _, want := range []string{"CODEBUILD_WEBHOOK_EVENT=PULL_REQUEST_CREATED\n", "CODEBUILD_WEBHOOK_BASE_REF=refs/heads/main\n", "CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/feature\n", fmt.Sprintf("CODEBUILD_WEBHOOK_TRIGGER=pr/%d\n", p.Number)} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	// Its files come from the provider, since a pull request does not tell them.
	if _, err := h.host.OpenPull("octo/app", forgetest.Pull{Head: "docs", Commits: []forgetest.Commit{{Message: "docs", Files: map[string]string{"docs/x": "1"}}}}); err != nil {
		t.Fatal(err)
	}
	if text := h.outcome(); !strings.Contains(text, `FILE_PATH excludes "docs/x"`) {
		t.Errorf("a pull request of docs:\n%s", text)
	}

	// The same delivery again, and one that is not signed.
	for _, d := range h.host.Deliveries("octo/app") {
		again, err := h.host.Redeliver(d.ID)
		if err != nil || d.Status != 200 || again.Status != 200 || !strings.Contains(string(again.Answer), "before") {
			t.Errorf("%s: %d %s, and for the second time: %v %d %s", d.Event, d.Status, d.Answer, err, again.Status, again.Answer)
		}
	}
	h.host.Misdeliver(forgetest.Misdelivery{Forged: true})
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "forged", Files: map[string]string{"d": "1"}}); err != nil {
		t.Fatal(err)
	}
	h.host.Misdeliver(forgetest.Misdelivery{})
	last := h.host.Deliveries("octo/app")
	if d := last[len(last)-1]; d.Status != 401 {
		t.Errorf("a forged delivery: %d %s", d.Status, d.Answer)
	}
	h.until("the refused one is noted", func() bool { return strings.Contains(h.must(corbel(t), "webhook", "who", "app"), "Refused: 1") })
	if who := h.must(corbel(t), "webhook", "who", "app"); !strings.Contains(who, "ANYBODY_AFTER_APPROVAL") {
		t.Errorf("who:\n%s", who)
	}

	// A user looks at one again: another build.
	list := h.must(corbel(t), "webhook", "deliveries", "app", "--output", "json")
	var listed struct {
		Deliveries []struct {
			ID, Event string
			Results   []struct{ Outcome string }
		}
	}
	if err := json.Unmarshal([]byte(list), &listed); err != nil {
		t.Fatal(err)
	}
	for _, d := range listed.Deliveries {
		if d.Event == "push" && len(d.Results) > 0 && d.Results[0].Outcome == "STARTED" {
			h.must(corbel(t), "webhook", "redeliver", d.ID)
			break
		}
	}
	h.next()

	// A saved payload says what would come of it, and starts a build if asked to.
	var push forgetest.Delivery
	for _, d := range h.host.Deliveries("octo/app") {
		if d.Event == "push" && strings.Contains(string(d.Body), `"refs/heads/main"`) {
			push = d
		}
	}
	dir := t.TempDir()
	whole, bare := filepath.Join(dir, "whole"), filepath.Join(dir, "bare.json")
	var saved bytes.Buffer
	if err := push.Header.Write(&saved); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&saved, "\r\n%s", push.Body)
	for path, text := range map[string][]byte{whole: saved.Bytes(), bare: push.Body} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{whole}, {bare, "--event", "push"}} {
		text := h.must(corbel(t), append([]string{"webhook", "replay", "--project", "app"}, args...)...)
		if !strings.Contains(text, "WOULD_START") || !strings.Contains(text, "filter group 1 matches") {
			t.Errorf("replay %q:\n%s", args, text)
		}
	}
	for _, args := range [][]string{{bare}, {bare, "--event", "ping"}, {bare, "--event", "pull_request"}, {filepath.Join(dir, "none")}} {
		if text, err := h.run(corbel(t), append([]string{"webhook", "replay", "--project", "app"}, args...)...); err == nil {
			t.Errorf("replay %q ended well:\n%s", args, text)
		}
	}
	h.must(corbel(t), "webhook", "replay", whole, "--project", "app", "--start")
	if b := h.next(); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the replayed build is %s", b.BuildStatus)
	}

	// Gone at both ends.
	h.codebuild(nil, "delete-webhook", "--project-name", "app")
	if hooks := h.host.Hooks("octo/app"); len(hooks) != 0 {
		t.Errorf("the host still has %+v", hooks)
	}
	if out, err := h.run(h.aws, "codebuild", "delete-webhook", "--project-name", "app"); err == nil || !strings.Contains(out, "ResourceNotFoundException") {
		t.Errorf("deleted twice: %v %s", err, out)
	}
	findPlanted(t, h.data, needles())
	findPlanted(t, h.data, [][]byte{[]byte(hooks[0].Secret)})
}

// A pull request from a fork waits until somebody with the role approves
// exactly its newest commit, and gets no secrets where nobody has to.
func TestWebhook_Fork(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"}); err != nil {
		t.Fatal(err)
	}
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"}]]`)
	p, err := h.host.OpenPull("octo/app", forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Title: "An improvement", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if text := h.outcome(); !strings.Contains(text, "AWAITING_APPROVAL") || !strings.Contains(text, "mallory") {
		t.Errorf("a pull request from a fork:\n%s", text)
	}
	h.until("its commit says what is missing", func() bool {
		list := h.host.Statuses("octo/app", p.SHA)
		return len(list) == 1 && list[0].State == "failure" && list[0].Description == "Pull request approval required for starting a build"
	})
	if text := h.must(corbel(t), "webhook", "approvals"); !strings.Contains(text, "An improvement") || !strings.Contains(text, "/codebuild_run("+p.SHA+")") {
		t.Errorf("approvals:\n%s", text)
	}
	command := func(login, sha string) string {
		t.Helper()
		if _, err := h.host.Comment("octo/app", p.Number, login, "Looks good\n/codebuild_run("+sha+")\n"); err != nil {
			t.Fatal(err)
		}
		return h.outcome()
	}
	if text := command("mallory", p.SHA); !strings.Contains(text, "may not approve") {
		t.Errorf("mallory approves:\n%s", text)
	}
	if text := command("octocat", p.SHA[:12]); !strings.Contains(text, "whole commit id") {
		t.Errorf("a short id is approved:\n%s", text)
	}
	old := p.SHA
	if p, err = h.host.UpdatePull("octo/app", p.Number, "mallory", forgetest.Commit{Message: "sneak in", Files: map[string]string{"f": "1"}}); err != nil {
		t.Fatal(err)
	}
	h.outcome()
	if text := command("octocat", old); !strings.Contains(text, "newest commit") {
		t.Errorf("an old commit is approved:\n%s", text)
	}
	if text := command("octocat", p.SHA); !strings.Contains(text, "STARTED") || !strings.Contains(text, "approved by octocat") {
		t.Errorf("approved:\n%s", text)
	}
	b := h.next()
	if log := h.logOf(b); *b.ResolvedSourceVersion != p.SHA || b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, fmt.Sprintf("CODEBUILD_WEBHOOK_TRIGGER=pr/%d\n", p.Number)) || strings.Contains(log, "gets no secrets") {
		t.Errorf("the build is %s of %s:\n%s", b.BuildStatus, *b.ResolvedSourceVersion, log)
	}
	h.until("the commit is green", func() bool {
		list := h.host.Statuses("octo/app", p.SHA)
		return len(list) > 0 && list[len(list)-1].State == "success"
	})
	if text := h.must(corbel(t), "webhook", "approvals", "app"); text != "" {
		t.Errorf("after the approval there waits\n%s", text)
	}

	// Without a policy it is built at once, and the secrets stay away.
	h.must(h.aws, "secretsmanager", "create-secret", "--name", "npm", "--secret-string", "npm_PlantedSecretOfABuild0000001")
	spec := "version: 0.2\nenv: {secrets-manager: {NPM_TOKEN: npm}, git-credential-helper: yes}\nphases: {build: {commands: [\"echo token=${NPM_TOKEN-none} config=${GIT_CONFIG_SYSTEM-none}\"]}}\n"
	h.codebuild(nil, "update-webhook", "--project-name", "app", "--pull-request-build-policy", "requiresCommentApproval=DISABLED")
	if p, err = h.host.UpdatePull("octo/app", p.Number, "mallory", forgetest.Commit{Message: "more", Files: map[string]string{"buildspec.yml": spec}}); err != nil {
		t.Fatal(err)
	}
	b = h.next()
	log := h.logOf(b)
	if b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, "token=none config=none") || !strings.Contains(log, "gets no secrets") {
		t.Errorf("a fork's build without a policy is %s:\n%s", b.BuildStatus, log)
	}
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Branch: "own", Message: "own", Files: map[string]string{"buildspec.yml": spec}}); err != nil {
		t.Fatal(err)
	}
	if _, err = h.host.OpenPull("octo/app", forgetest.Pull{Head: "own"}); err != nil {
		t.Fatal(err)
	}
	b = h.next()
	if log := h.logOf(b); b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, "token=*** config=/codebuild") {
		t.Errorf("a build of the repository's own branch is %s:\n%s", b.BuildStatus, log)
	}
}

// A server that its provider cannot reach asks for what has changed, and starts
// the same builds through the same filters.
func TestWebhook_Polled(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	var made struct{ Webhook api.Webhook }
	h.codebuild(&made, "create-webhook", "--project-name", "app", "--manual-creation", "--filter-groups", `[
		[{"type":"EVENT","pattern":"PUSH"},{"type":"FILE_PATH","pattern":"^src/"}],
		[{"type":"EVENT","pattern":"PUSH"},{"type":"ACTOR_ACCOUNT_ID","pattern":".*"},{"type":"HEAD_REF","pattern":"who"}],
		[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"}]]`)
	if made.Webhook.Secret == nil || len(*made.Webhook.Secret) < 32 || made.Webhook.Url != nil || len(h.host.Hooks("octo/app")) != 0 {
		t.Errorf("the webhook is %+v, and the host has %+v", made.Webhook, h.host.Hooks("octo/app"))
	}
	poll := h.poll
	poll() // what is there before is not news
	ids, err := h.host.Push("octo/app", "octocat",
		forgetest.Commit{Message: "source", Files: map[string]string{"src/a": "1"}},
		forgetest.Commit{Branch: "docs", Message: "docs", Files: map[string]string{"docs/a": "1"}},
		forgetest.Commit{Branch: "who", Message: "who", Files: map[string]string{"x": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	poll()
	b := h.next()
	if log := h.logOf(b); *b.SourceVersion != ids[0] || b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, "CODEBUILD_WEBHOOK_PREV_COMMIT="+h.sha+"\n") || !strings.Contains(log, "TRIGGER=branch/main\n") {
		t.Errorf("the build is %s of %s:\n%s", b.BuildStatus, *b.SourceVersion, log)
	}
	if text := h.outcome(); strings.Count(text, "NO_MATCH") != 2 || strings.Count(text, "STARTED") != 1 || !strings.Contains(text, "it is not known who acted") {
		t.Errorf("what polling found:\n%s", text)
	}
	p, err := h.host.OpenPull("octo/app", forgetest.Pull{Head: "feature", Commits: []forgetest.Commit{{Message: "feature", Files: map[string]string{"c": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	poll()
	if b = h.next(); *b.SourceVersion != fmt.Sprintf("pr/%d", p.Number) || *b.ResolvedSourceVersion != p.SHA {
		t.Errorf("the pull request's build is of %s", *b.SourceVersion)
	}
	// Of a stranger it waits, and is approved here, since no comment arrives.
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"}); err != nil {
		t.Fatal(err)
	}
	if p, err = h.host.OpenPull("octo/app", forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}}); err != nil {
		t.Fatal(err)
	}
	poll()
	h.until("the pull request waits", func() bool { return strings.Contains(h.must(corbel(t), "webhook", "approvals", "app"), p.SHA) })
	if out, err := h.run(corbel(t), "webhook", "approve", "app", fmt.Sprint(p.Number), ids[0]); err == nil || !strings.Contains(out, "InvalidInputException") {
		t.Errorf("another commit is approved: %v\n%s", err, out)
	}
	h.must(corbel(t), "webhook", "approve", "app", fmt.Sprint(p.Number), p.SHA)
	if b = h.next(); *b.ResolvedSourceVersion != p.SHA {
		t.Errorf("the approved build is of %s", *b.ResolvedSourceVersion)
	}
	// Asking about what has not changed is free.
	before := len(h.host.Requests())
	poll()
	for _, r := range h.host.Requests()[before:] {
		if r.Method == "GET" && r.Status != 304 && strings.Contains(r.Path, "/repos/octo/app/") {
			t.Errorf("polling an idle repository: %s %s answered %d", r.Method, r.Path, r.Status)
		}
	}
	// A poll that fails is told of.
	h.codebuild(nil, "delete-source-credentials", "--arn", h.health().Arn)
	poll()
	h.until("it is told that polls fail", func() bool {
		who := h.must(corbel(t), "webhook", "who", "app")
		return strings.Contains(who, "Polled every 15 s\n    fails since ") && strings.Contains(who, "credential")
	})
	h.must(corbel(t), "webhook", "poll", "app", "--every", "off")
	findPlanted(t, h.data, needles())
}

// After a start with another -public-url the log, the program and the console
// say that the provider has the address of before, until the webhook is updated.
func TestWebhook_OtherPublicURL(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told}, "-public-url", "http://127.0.0.1:9/old")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`)
	hand := h.byHand("hand", nil)
	const warning, differs = "have another address at their providers", "The provider has another payload address than this server"
	if who := h.must(corbel(t), "webhook", "who", "app"); strings.Contains(h.log.String(), warning) || strings.Contains(who, differs) {
		t.Errorf("at first:\n%s\n%s", who, h.log)
	}
	again := func(public string) (said string) {
		t.Helper()
		h.stop()
		before := len(h.log.String())
		h.args = append(h.args, "-public-url", public)
		h.start()
		return h.log.String()[before:]
	}
	said := again("http://127.0.0.1:9/new")
	if strings.Count(said, warning) != 1 || !strings.Contains(said, `webhooks=2 projects="app, hand" public_url=http://127.0.0.1:9/new next="run corbel codebuild update-webhook --project-name NAME`) {
		t.Errorf("with another address the log has\n%s", said)
	}
	old := h.host.Hooks("octo/app")[0].URL
	who := h.must(corbel(t), "webhook", "who", "app")
	for _, want := range []string{differs, "    " + old + " at the provider\n", "    " + strings.Replace(old, "/old/", "/new/", 1) + " at this server\n", "Next: corbel codebuild update-webhook --project-name app\n"} {
		if !strings.Contains(who, want) {
			t.Errorf("%q is not in\n%s", want, who)
		}
	}
	if who := h.must(corbel(t), "webhook", "who", "hand"); !strings.Contains(who, "Next: change the hook at the provider, which was made by hand, and then run corbel codebuild update-webhook --project-name hand\n") {
		t.Errorf("of a hook made by hand:\n%s", who)
	}
	h.must(corbel(t), "codebuild", "update-webhook", "--project-name", "app")
	if who := h.must(corbel(t), "webhook", "who", "app"); strings.Contains(who, differs) {
		t.Errorf("once it is updated:\n%s", who)
	}
	if hooks := h.host.Hooks("octo/app"); len(hooks) != 1 || hooks[0].URL != strings.Replace(old, "/old/", "/new/", 1) {
		t.Errorf("the provider has %+v", hooks)
	}
	if out := h.must(corbel(t), "codebuild", "update-webhook", "--project-name", "hand"); !strings.Contains(out, strings.Replace(hand.url, "/old/", "/new/", 1)) {
		t.Errorf("the answer for a hook made by hand is %s", out)
	}
	if said := again("http://127.0.0.1:9/new"); strings.Contains(said, warning) {
		t.Errorf("once they are updated the log has\n%s", said)
	}
}

// The console says so on the webhook's page, and mends it.
func TestConsole_OtherPublicURL(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told}, "-public-url", "http://127.0.0.1:7")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`)
	h.byHand("hand", nil)
	old := h.host.Hooks("octo/app")[0].URL
	h.stop()
	h.args = append(h.args, "-public-url", "http://127.0.0.1:9")
	h.start()
	b := h.console("projects/app/webhook")
	current := strings.Replace(old, ":7/", ":9/", 1)
	b.reads("The provider has another address than this server", old, current, "Update the webhook to give this address to the provider.")
	b.click("button", "Update the webhook")
	b.gone("button", "Update the webhook")
	b.reads(current)
	b.readsNot(old)
	if hooks := h.host.Hooks("octo/app"); len(hooks) != 1 || hooks[0].URL != current {
		t.Errorf("the provider has %+v", hooks)
	}
	b.goTo("projects/hand/webhook")
	b.reads("The hook was made by hand: change its address at the provider, then update the webhook here.")
	b.click("button", "Update the webhook")
	b.gone("button", "Update the webhook")
}
