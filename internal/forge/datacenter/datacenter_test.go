package datacenter_test

import (
	"testing"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/datacenter"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

var states = map[string]string{forge.Pending: "INPROGRESS", forge.Success: "SUCCESSFUL", forge.Failure: "FAILED", forge.Fault: "FAILED"}

func TestForge(t *testing.T) {
	t.Parallel()
	forgetest.Promises(t, forgetest.Case{
		Provider: datacenter.Provider, Dialect: &forgetest.DataCenter, Repo: "~mona/shop", Kind: forge.Account, States: states,
		Good:   forgetest.Token{Value: "BBDC-Forgetest0000000000000000000001", Login: "mona", Scopes: []string{"repository:admin"}},
		Narrow: forgetest.Token{Value: "BBDC-ForgetestNarrow0000000000000002", Login: "mona", Scopes: []string{"repository:read"}},
	})
}
