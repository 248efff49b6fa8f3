package github_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
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
			Good:    forgetest.Token{Value: "ghp_ForgetestPromises0000000000000000001", Login: "mona", Scopes: []string{"repo", "admin:org_hook"}, Expires: time.Date(2036, 12, 1, 0, 0, 0, 0, time.UTC)},
			Narrow:  forgetest.Token{Value: "ghp_ForgetestPromises0000000000000000002", Login: "mona", Scopes: []string{"repo:status"}},
			Missing: []string{"repo", "admin:repo_hook"},
			Lacks:   []string{"scope", "admin:repo_hook"},
			CutPull: 3000,
		},
		"FineGrained": {
			Kind:   forge.FineGrained,
			Good:   forgetest.Token{Value: "github_pat_11ForgetestPromises_000000000000000003", Login: "mona", Permissions: map[string]string{"contents": "read", "statuses": "write", "repository_hooks": "write", "organization_hooks": "write", "pull_requests": "read"}},
			Narrow: forgetest.Token{Value: "github_pat_11ForgetestPromises_000000000000000004", Login: "mona", Permissions: map[string]string{"contents": "read"}},
			Lacks:  []string{"permission", "Webhooks: write"},
		},
	} {
		c.Provider, c.Dialect, c.Repo = github.Provider, &forgetest.GitHub, "octo-org/shop"
		c.States = map[string]string{forge.Pending: "pending", forge.Success: "success", forge.Failure: "failure", forge.Fault: "error"}
		c.Owners = []forge.Owner{{Kind: forge.OfOrganization, Name: "octo-org"}}
		c.Roles = map[api.PullRequestBuildApproverRole]string{
			api.PullRequestBuildApproverRoleGITHUB_READ: "read", api.PullRequestBuildApproverRoleGITHUB_TRIAGE: "triage", api.PullRequestBuildApproverRoleGITHUB_WRITE: "write",
			api.PullRequestBuildApproverRoleGITHUB_MAINTAIN: "maintain", api.PullRequestBuildApproverRoleGITHUB_ADMIN: "admin",
		}
		c.Cut, c.Conditional = 300, true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forgetest.Promises(t, c)
			t.Run("Hooks", func(t *testing.T) { forgetest.Hooks(t, c) })
		})
	}
}

// TestRole_Custom: an organization's own role counts as what it rests on,
// whatever its name pretends.
func TestRole_Custom(t *testing.T) {
	t.Parallel()
	s := forgetest.NewSetup(t, github.Provider)
	hooks := s.Forge
	token := forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: forgetest.Good}
	mona := s.Server.Person("mona")
	for role, want := range map[string]api.PullRequestBuildApproverRole{
		"release-manager/write": api.PullRequestBuildApproverRoleGITHUB_WRITE,
		"visitor/read":          api.PullRequestBuildApproverRoleGITHUB_READ,
		"chief/admin":           api.PullRequestBuildApproverRoleGITHUB_ADMIN,
		"Admin/read":            api.PullRequestBuildApproverRoleGITHUB_READ,
		"stranger/none":         "",
	} {
		if err := s.Server.SetRole(forgetest.Repo, "mona", role); err != nil {
			t.Fatal(err)
		}
		got, err := hooks.Role(t.Context(), s.Host, token, forgetest.Repo, forge.Person{ID: fmt.Sprint(mona.ID), Login: "Mona"})
		if err != nil || got != want {
			t.Errorf("Role of %s = %q, %v, want %q", role, got, err, want)
		}
	}
	// A name that GitHub keeps for itself and that goes with another
	// permission is not believed.
	s.Server.Inject(forgetest.Fault{Do: forgetest.Answer(200, nil, fmt.Sprintf(`{"permission":"read","role_name":"admin","user":{"login":"mona","id":%d}}`, mona.ID))})
	if got, err := hooks.Role(t.Context(), s.Host, token, forgetest.Repo, forge.Person{ID: fmt.Sprint(mona.ID), Login: "mona"}); err != nil || got != api.PullRequestBuildApproverRoleGITHUB_READ {
		t.Errorf("Role = %q, %v, want GITHUB_READ", got, err)
	}
}

// TestHooks_Refusals: what is missing and what to do.
func TestHooks_Refusals(t *testing.T) {
	t.Parallel()
	s := forgetest.NewSetup(t, github.Provider)
	hooks := s.Forge
	h := forge.Hook{Address: "https://corbel.example.com/hooks/1", Secret: "whsec_ForgetestRefusals00000001", Events: []forge.EventType{forge.Push}}
	repo := forge.Owner{Kind: forge.OfRepository, Name: forgetest.Repo}
	for _, c := range []struct {
		token api.Secret
		owner forge.Owner
		words string
	}{
		{forgetest.Narrow, repo, "lacks the scope admin:repo_hook"},
		{forgetest.FineGrained, repo, "permission Webhooks: write"},
		{forgetest.SignOn, repo, "single sign-on"},
		{forgetest.Good, forge.Owner{Kind: forge.OfOrganization, Name: "octo-org"}, "lacks the scope admin:org_hook"},
		{forgetest.FineGrained, forge.Owner{Kind: forge.OfOrganization, Name: "octo-org"}, "permission Webhooks: write of the organization"},
		{forgetest.Good, forge.Owner{Kind: forge.OfOrganization, Name: "octo-org/../../user"}, "not the name of an organization"},
		{forgetest.Good, forge.Owner{Kind: forge.OfEnterprise, Name: "acme"}, "by hand"},
		{forgetest.Good, forge.Owner{Kind: forge.OfGroup, Name: "acme"}, "GROUP"},
	} {
		_, err := hooks.PutHook(t.Context(), s.Host, forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: c.token}, c.owner, h)
		if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "Forgetest") || forge.Retry(err).Worthwhile {
			t.Errorf("PutHook(%v) = %v, want an error that says %q", c.owner, err, c.words)
		}
	}
	h.Events = nil
	if _, err := hooks.PutHook(t.Context(), s.Host, forge.Token{Value: forgetest.Good}, repo, h); err == nil {
		t.Error("PutHook made a hook for no events, which GitHub would take for pushes")
	}
	if got := s.Server.Hooks(forgetest.Repo); len(got) != 0 {
		t.Errorf("the server has hooks %+v", got)
	}
}

// TestPutHook_AtOnce: whoever loses the race changes the winner's hook.
func TestPutHook_AtOnce(t *testing.T) {
	t.Parallel()
	s := forgetest.NewSetup(t, github.Provider)
	hooks := s.Forge
	h := forge.Hook{Address: "https://corbel.example.com/hooks/1", Secret: "whsec_ForgetestAtOnce0000000001", Events: []forge.EventType{forge.Push}}
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			got, err := hooks.PutHook(t.Context(), s.Host, forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: forgetest.Good}, forge.Owner{Kind: forge.OfRepository, Name: forgetest.Repo}, h)
			if err != nil {
				t.Error(err)
			}
			ids[i] = got.ID
		})
	}
	wg.Wait()
	if slices.Sort(ids); len(slices.Compact(ids)) != 1 || len(s.Server.Hooks(forgetest.Repo)) != 1 {
		t.Errorf("8 calls at once made the hooks %q", ids)
	}
}
