package gitea_test

import (
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitea"
)

var states = map[string]string{forge.Pending: "pending", forge.Success: "success", forge.Failure: "failure", forge.Fault: "error"}

func TestForge(t *testing.T) {
	t.Parallel()
	c := forgetest.Case{
		Provider: gitea.Provider, Dialect: &forgetest.Gitea, Repo: "octo/shop", Kind: forge.Account, States: states,
		Good:   forgetest.Token{Value: "f0e7e57900000000000000000000000000000001", Login: "mona", Scopes: []string{"read:user", "write:repository", "write:organization"}},
		Lacks:  []string{"scope", "repository"},
		Owners: []forge.Owner{{Kind: forge.OfOrganization, Name: "octo"}},
		Roles: map[api.PullRequestBuildApproverRole]string{
			api.PullRequestBuildApproverRoleGITHUB_READ:  "read",
			api.PullRequestBuildApproverRoleGITHUB_WRITE: "write",
			api.PullRequestBuildApproverRoleGITHUB_ADMIN: "admin",
		},
		Narrow: forgetest.Token{Value: "f0e7e57900000000000000000000000000000002", Login: "mona", Scopes: []string{"read:repository"}},
	}
	forgetest.Promises(t, c)
	t.Run("Hooks", func(t *testing.T) { forgetest.Hooks(t, c) })
}
