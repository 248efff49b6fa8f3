package bitbucket_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/bitbucket"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const repo = "octo-team/shop"

func stage(t *testing.T) forgetest.Stage {
	t.Helper()
	return forgetest.Case{
		Provider: bitbucket.Provider, Dialect: &forgetest.Bitbucket, Repo: repo, Basic: true,
		Good: forgetest.Token{Value: "ATATTForgetestHooks000000000000000001", Login: "mona", Email: "mona@example.com", Scopes: []string{
			"read:user:bitbucket", "read:repository:bitbucket", "read:pullrequest:bitbucket", "read:webhook:bitbucket", "write:webhook:bitbucket", "delete:webhook:bitbucket",
		}},
	}.Stage(t)
}

// TestPoll_Forks: ids of commits are whole, and those of forks are asked for
// once.
func TestPoll_Forks(t *testing.T) {
	t.Parallel()
	s := stage(t)
	if _, err := s.Server.AddRepository(forgetest.Repository{Name: "mona/shop", Fork: repo}); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{}
	for _, fork := range []string{"", "mona/shop", "mona/shop"} {
		p, err := s.Server.OpenPull(repo, forgetest.Pull{Head: "topic" + string(rune('a'+len(want))), Fork: fork, Commits: []forgetest.Commit{{Files: map[string]string{"x" + fork: "1"}}}})
		if err != nil {
			t.Fatal(err)
		}
		want[p.Number] = p.SHA
	}
	poll := func(marks map[string]string, lookUps int) forge.Polled {
		t.Helper()
		before := len(s.Server.Requests())
		p, err := s.Forge.Poll(t.Context(), s.Host, s.Token, repo, marks)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Pulls) != len(want) {
			t.Errorf("%d pull requests, want %d", len(p.Pulls), len(want))
		}
		for _, pull := range p.Pulls {
			if pull.HeadSHA != want[pull.Number] {
				t.Errorf("pull request %d is at %s, want %s", pull.Number, pull.HeadSHA, want[pull.Number])
			}
		}
		n := 0
		for _, r := range s.Server.Requests()[before:] {
			if strings.HasSuffix(r.Path, "/commits") {
				n++
			}
		}
		if n != lookUps {
			t.Errorf("%d commits were looked up, want %d", n, lookUps)
		}
		return p
	}
	marks := poll(nil, 2).Marks
	marks = poll(marks, 0).Marks
	p, err := s.Server.UpdatePull(repo, 2, "mona", forgetest.Commit{Files: map[string]string{"y": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	want[2] = p.SHA
	poll(marks, 1)
}

// TestRole_Filter: a query that Bitbucket does not take is no reason to fail,
// and an answer about another is not believed.
func TestRole_Filter(t *testing.T) {
	t.Parallel()
	s := stage(t)
	mona := s.Server.Person("mona")
	for _, login := range []string{"mona", "hubot"} {
		if err := s.Server.SetRole(repo, login, map[string]string{"mona": "write", "hubot": "admin"}[login]); err != nil {
			t.Fatal(err)
		}
	}
	s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(http.StatusBadRequest, nil, `{"type":"error","error":{"message":"user.account_id is not a filter"}}`)})
	got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: mona.Account})
	if err != nil || got != api.PullRequestBuildApproverRoleBITBUCKET_WRITE {
		t.Errorf("Role without a filter = %q, %v, want BITBUCKET_WRITE", got, err)
	}
	s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(200, nil, `{"values":[{"permission":"admin","user":{"account_id":"557058:other","uuid":"{other}"}}]}`)})
	if got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: mona.Account}); err != nil || got != "" {
		t.Errorf("Role by another's entry = %q, %v, want none", got, err)
	}
	if got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: `x" OR permission="admin`}); err != nil || got != "" {
		t.Errorf("Role of an id with a quotation mark = %q, %v, want none", got, err)
	}
	s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(http.StatusForbidden, nil, `{"type":"error","error":{"message":"Access denied"}}`)})
	if _, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: mona.Account}); err == nil || !strings.Contains(err.Error(), "administer") {
		t.Errorf("Role for who may not see it: %v, want what is missing", err)
	}
}

// TestRepositories_Workspaces: pages go on from one workspace to the next.
func TestRepositories_Workspaces(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for _, name := range []string{"acme/shop", "acme/other", "zoo/shop"} {
		if _, err := s.Server.AddRepository(forgetest.Repository{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	const want = "acme/shop https://bitbucket.org/acme/shop.git, octo-team/shop https://bitbucket.org/octo-team/shop.git, zoo/shop https://bitbucket.org/zoo/shop.git"
	const granted = "PlantedByOAuthInBitbucketTests0000000001"
	s.Server.AddToken(forgetest.Token{Value: granted, Scopes: []string{"account", "repository"}, OAuth: true})
	for _, token := range []forge.Token{s.Token, {Auth: api.AuthTypeOAUTH, Value: granted}} {
		var got []string
		page := ""
		for range 10 {
			list, next, err := s.Forge.Repositories(t.Context(), s.Host, token, "SHOP", page)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				got = append(got, l.Name+" "+l.URL)
			}
			if page = next; page == "" {
				break
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("Repositories for %s = %q, want %q", token.Auth, got, want)
		}
	}
}
