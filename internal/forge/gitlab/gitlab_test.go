package gitlab_test

import (
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitlab"
)

var states = map[string]string{forge.Pending: "running", forge.Success: "success", forge.Failure: "failed", forge.Fault: "failed"}

var roles = map[api.PullRequestBuildApproverRole]string{
	api.PullRequestBuildApproverRoleGITLAB_GUEST:      "10",
	api.PullRequestBuildApproverRoleGITLAB_PLANNER:    "15",
	api.PullRequestBuildApproverRoleGITLAB_REPORTER:   "20",
	api.PullRequestBuildApproverRoleGITLAB_DEVELOPER:  "30",
	api.PullRequestBuildApproverRoleGITLAB_MAINTAINER: "40",
	api.PullRequestBuildApproverRoleGITLAB_OWNER:      "50",
}

// A person's token and a project's, in a group of groups.
func TestForge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]forgetest.Case{
		"Personal": {
			Kind:    forge.Account,
			Good:    forgetest.Token{Value: "glpat-Forgetest0000000000001", Login: "mona", Scopes: []string{"api", "read_repository"}, Expires: time.Date(2036, 12, 1, 0, 0, 0, 0, time.UTC)},
			Narrow:  forgetest.Token{Value: "glpat-ForgetestNarrow0000002", Login: "mona", Scopes: []string{"read_repository", "read_api"}},
			Missing: []string{"api"},
		},
		"Project": {
			Kind:   forge.Resource,
			Good:   forgetest.Token{Value: "glpat-Forgetest0000000000003", Login: "project_42_bot_0f1e", Bot: true, Scopes: []string{"api"}},
			Narrow: forgetest.Token{Value: "glpat-ForgetestNarrow0000004", Login: "project_42_bot_0f1f", Bot: true, Scopes: []string{"read_repository"}},
		},
	} {
		c.Provider, c.Dialect, c.Repo, c.States = gitlab.Provider, &forgetest.GitLab, "group/sub/shop", states
		c.Good.Role, c.Owners, c.Roles = 50, []forge.Owner{{Kind: forge.OfGroup, Name: "group/sub"}}, roles
		c.Lacks, c.Cut, c.CutPull = []string{"scope api"}, 1000, 1000
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forgetest.Promises(t, c)
			if name == "Personal" { // GitLab makes no difference there
				t.Run("Hooks", func(t *testing.T) { forgetest.Hooks(t, c) })
			}
		})
	}
}
