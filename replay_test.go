package corbel_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// delivered is the payload of the newest delivery of an event.
func (h *hooked) delivered(event string) (body []byte) {
	for _, d := range h.host.Deliveries("octo/app") {
		if d.Event == event {
			body = d.Body
		}
	}
	return body
}

// replay says what would come of a payload.
func (h *hooked) replay(event string, body []byte) string {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "payload")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		h.t.Fatal(err)
	}
	out, _ := h.run(corbel(h.t), "webhook", "replay", file, "--project", "app", "--event", event) // fails where nothing would start
	return out
}

// A replay says what a delivery comes to: it too reads what a payload does not
// have, and knows whose events are the webhook's.
func TestReplay_AsDelivered(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told}, "-builds", "0")
	pull := func(message string) {
		t.Helper()
		if _, err := h.host.OpenPull("octo/app", forgetest.Pull{Head: strings.ReplaceAll(message, " ", "-"), Commits: []forgetest.Commit{{Message: message, Files: map[string]string{"c": message}}}}); err != nil {
			t.Fatal(err)
		}
	}
	same := func(event, delivered, replayed string) {
		t.Helper()
		if got := h.outcome(); !strings.Contains(got, delivered) {
			t.Errorf("delivered, want %s:\n%s", delivered, got)
		}
		if got := h.replay(event, h.delivered(event)); !strings.Contains(got, replayed) {
			t.Errorf("replayed, want %s:\n%s", replayed, got)
		}
	}
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups",
		`[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED"},{"type":"COMMIT_MESSAGE","pattern":"build this"},{"type":"COMMIT_MESSAGE","pattern":"skip","excludeMatchedPattern":true}]]`)
	pull("build this")
	same("pull_request", "STARTED", "WOULD_START")
	pull("build this and skip it")
	same("pull_request", "NO_MATCH", "NO_MATCH")

	h.codebuild(nil, "update-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`)
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "push", Files: map[string]string{"d": "1"}}); err != nil {
		t.Fatal(err)
	}
	same("push", "STARTED", "WOULD_START")
	if got := h.replay("push", []byte(strings.ReplaceAll(string(h.delivered("push")), "octo/app", "evil/app"))); !strings.Contains(got, "IGNORED") || !strings.Contains(got, "the webhook watches octo/app") {
		t.Errorf("of another repository:\n%s", got)
	}
}

// A webhook of an organization reads the changed files of the repository that
// the event is of, and what waits there can be approved.
func TestReplay_Organization(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told}, "-builds", "0")
	h.host.AddToken(forgetest.Token{Value: planted, Login: "octocat", Scopes: []string{"repo", "admin:org_hook"}})
	if _, err := h.client().UpdateProject(context.Background(), &api.UpdateProjectInput{Name: new("app"), Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION")}}); err != nil {
		t.Fatal(err)
	}
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--scope-configuration", "name=octo,scope=GITHUB_ORGANIZATION",
		"--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED"},{"type":"FILE_PATH","pattern":"^e$"}]]`)
	h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"})
	p, err := h.host.OpenPull("octo/app", forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.outcome(); !strings.Contains(got, "AWAITING_APPROVAL") {
		t.Fatalf("a fork's pull request:\n%s", got)
	}
	if got := h.replay("pull_request", h.delivered("pull_request")); !strings.Contains(got, "WOULD_START") {
		t.Errorf("replayed:\n%s", got)
	}
	approve := []string{"webhook", "approve", "app", strconv.Itoa(p.Number), p.SHA}
	if out, err := h.run(corbel(t), append(approve, "--repository", "octo/other")...); err == nil || !strings.Contains(out, "octo/other") {
		t.Errorf("approve one of another repository: %v %s", err, out)
	}
	h.must(corbel(t), approve...)
	h.until("the approved commit is built", func() bool { return strings.Contains(h.outcome(), "STARTED") })
}

// Who may look at what a payload would do may not start builds with it.
func TestReplay_StartNeedsTheRight(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told}, "-builds", "0")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`)
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "push", Files: map[string]string{"d": "1"}}); err != nil {
		t.Fatal(err)
	}
	h.outcome()
	file := filepath.Join(t.TempDir(), "push.json")
	if err := os.WriteFile(file, h.delivered("push"), 0o600); err != nil {
		t.Fatal(err)
	}
	for policy, allowed := range map[string]bool{
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"corbel:*","Resource":"*"}}`:                                    false,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["corbel:TestWebhook","codebuild:StartBuild"],"Resource":"*"}}`: true,
	} {
		rights := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(rights, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		key := strings.Fields(h.must(corbel(t), "keys", "create", "-user", "narrow", "-policy", rights, "-data", h.data))
		as := []string{"AWS_ACCESS_KEY_ID=" + key[0], "AWS_SECRET_ACCESS_KEY=" + key[1], corbel(t), "webhook", "replay", file, "--project", "app", "--event", "push"}
		if out, err := h.run("env", as...); err != nil || !strings.Contains(out, "WOULD_START") {
			t.Errorf("%s: replay: %v\n%s", policy, err, out)
		}
		out, err := h.run("env", append(as, "--start")...)
		if denied := strings.Contains(out, "codebuild:StartBuild"); (err == nil) != allowed || denied == allowed {
			t.Errorf("%s: replay --start: %v\n%s", policy, err, out)
		}
	}
}
