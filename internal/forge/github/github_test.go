package github_test

import (
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/github"
)

func TestForge(t *testing.T) {
	t.Parallel()
	forgetest.Run(t, github.Provider)
}

func TestPromises(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]forgetest.Case{
		"Classic": {
			Kind:    forge.Classic,
			Good:    forgetest.Token{Value: "ghp_ForgetestPromises0000000000000000001", Login: "mona", Scopes: []string{"repo"}, Expires: time.Date(2036, 12, 1, 0, 0, 0, 0, time.UTC)},
			Narrow:  forgetest.Token{Value: "ghp_ForgetestPromises0000000000000000002", Login: "mona", Scopes: []string{"repo:status"}},
			Missing: []string{"repo", "admin:repo_hook"},
		},
		"FineGrained": {
			Kind:   forge.FineGrained,
			Good:   forgetest.Token{Value: "github_pat_11ForgetestPromises_000000000000000003", Login: "mona", Permissions: map[string]string{"contents": "read", "statuses": "write", "repository_hooks": "write"}},
			Narrow: forgetest.Token{Value: "github_pat_11ForgetestPromises_000000000000000004", Login: "mona", Permissions: map[string]string{"contents": "read"}},
		},
	} {
		c.Provider, c.Dialect, c.Repo = github.Provider, &forgetest.GitHub, "octo-org/shop"
		c.States = map[string]string{forge.Pending: "pending", forge.Success: "success", forge.Failure: "failure", forge.Fault: "error"}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forgetest.Promises(t, c)
		})
	}
}
