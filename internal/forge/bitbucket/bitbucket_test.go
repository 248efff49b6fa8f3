package bitbucket_test

import (
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/bitbucket"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

var states = map[string]string{forge.Pending: "INPROGRESS", forge.Success: "SUCCESSFUL", forge.Failure: "FAILED", forge.Fault: "STOPPED"}

var roles = map[api.PullRequestBuildApproverRole]string{
	api.PullRequestBuildApproverRoleBITBUCKET_READ:  "read",
	api.PullRequestBuildApproverRoleBITBUCKET_WRITE: "write",
	api.PullRequestBuildApproverRoleBITBUCKET_ADMIN: "admin",
}

// An app password, an API token and an access token, each with the names that
// its scopes have.
func TestForge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]forgetest.Case{
		"AppPassword": {
			Basic: true, Kind: forge.AppPassword, Missing: []string{"pullrequest:read", "webhook"},
			Good:   forgetest.Token{Value: "ATBBForgetestAppPassword000001", Login: "mona", Scopes: []string{"account", "repository:write", "pullrequest", "webhook"}},
			Narrow: forgetest.Token{Value: "ATBBForgetestNarrow00000000002", Login: "mona", Scopes: []string{"repository"}},
		},
		"APIToken": {
			Basic: true, Kind: forge.Account, Missing: []string{"pullrequest:read", "webhook"},
			Good:   forgetest.Token{Value: "ATATTForgetestAPIToken000000000001", Login: "mona", Email: "mona@example.com", Scopes: []string{"read:user:bitbucket", "read:repository:bitbucket", "write:repository:bitbucket", "read:pullrequest:bitbucket", "read:webhook:bitbucket", "write:webhook:bitbucket", "delete:webhook:bitbucket"}},
			Narrow: forgetest.Token{Value: "ATATTForgetestNarrow00000000000002", Login: "mona", Email: "mona@example.com", Scopes: []string{"read:repository:bitbucket"}},
		},
		"AccessToken": {
			Basic: false, Kind: forge.Resource, Missing: []string{"pullrequest:read", "webhook"},
			Good:   forgetest.Token{Value: "ATCTTForgetestAccessToken00000001", Login: "octo-team", Bot: true, Scopes: []string{"repository:write", "pullrequest:write", "webhook"}},
			Narrow: forgetest.Token{Value: "ATCTTForgetestNarrow000000000002", Login: "octo-team", Bot: true, Scopes: []string{"repository"}},
		},
	} {
		c.Provider, c.Dialect, c.Repo, c.States = bitbucket.Provider, &forgetest.Bitbucket, "octo-team/shop", states
		c.Lacks, c.Roles, c.Vague = []string{"scope", "webhook"}, roles, true
		if name == "AccessToken" {
			c.Unlisted = []string{"access token", "address"}
		}
		c.ID = func(p forgetest.Person) string { return p.Account }
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forgetest.Promises(t, c)
			if name != "AppPassword" { // Bitbucket has switched them off
				t.Run("Hooks", func(t *testing.T) { forgetest.Hooks(t, c) })
			}
		})
	}
}
