package corbel_test

import (
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

	// Where not everybody who may write has a role, an own branch waits too.
	h.codebuild(nil, "update-webhook", "--project-name", "app", "--pull-request-build-policy", "requiresCommentApproval=ALL_PULL_REQUESTS,approverRoles=GITHUB_ADMIN")
	h.pushes(own, "octocat", "o", "3")
	h.poll()
	if text := h.outcome(); !strings.Contains(text, "AWAITING_APPROVAL") {
		t.Errorf("an own branch where only administrators approve:\n%s", text)
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
