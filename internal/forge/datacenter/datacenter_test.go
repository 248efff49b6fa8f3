package datacenter_test

import (
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/datacenter"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

var states = map[string]string{forge.Pending: "INPROGRESS", forge.Success: "SUCCESSFUL", forge.Failure: "FAILED", forge.Fault: "FAILED"}

func TestForge(t *testing.T) {
	t.Parallel()
	c := forgetest.Case{
		Provider: datacenter.Provider, Dialect: &forgetest.DataCenter, Repo: "~mona/shop", Kind: forge.Account, States: states,
		Good:  forgetest.Token{Value: "BBDC-Forgetest0000000000000000000001", Login: "mona", Scopes: []string{"repository:admin", "project:admin"}},
		Lacks: []string{"Repository admin"}, Cut: 1000, CutPull: 1000, NoDefaults: true,
		Owners: []forge.Owner{{Kind: forge.OfOrganization, Name: "~mona"}},
		Roles: map[api.PullRequestBuildApproverRole]string{
			api.PullRequestBuildApproverRoleBITBUCKET_READ:  "REPO_READ",
			api.PullRequestBuildApproverRoleBITBUCKET_WRITE: "REPO_WRITE",
			api.PullRequestBuildApproverRoleBITBUCKET_ADMIN: "REPO_ADMIN",
		},
		Narrow: forgetest.Token{Value: "BBDC-ForgetestNarrow0000000000000002", Login: "mona", Scopes: []string{"repository:read"}},
	}
	forgetest.Promises(t, c)
	t.Run("Hooks", func(t *testing.T) { forgetest.Hooks(t, c) })
}
