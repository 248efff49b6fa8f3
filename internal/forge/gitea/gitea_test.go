package gitea_test

import (
	"testing"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitea"
)

var states = map[string]string{forge.Pending: "pending", forge.Success: "success", forge.Failure: "failure", forge.Fault: "error"}

func TestForge(t *testing.T) {
	t.Parallel()
	forgetest.Promises(t, forgetest.Case{
		Provider: gitea.Provider, Dialect: &forgetest.Gitea, Repo: "octo/shop", Kind: forge.Account, States: states,
		Good:   forgetest.Token{Value: "f0e7e57900000000000000000000000000000001", Login: "mona", Scopes: []string{"read:user", "write:repository"}},
		Narrow: forgetest.Token{Value: "f0e7e57900000000000000000000000000000002", Login: "mona", Scopes: []string{"read:repository"}},
	})
}
