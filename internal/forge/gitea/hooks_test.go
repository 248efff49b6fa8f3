package gitea_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitea"
)

const repo = "octo/shop"

func stage(t *testing.T) forgetest.Stage {
	t.Helper()
	return forgetest.Case{
		Provider: gitea.Provider, Dialect: &forgetest.Gitea, Repo: repo,
		Good: forgetest.Token{Value: "f0e7e57900000000000000000000000000000003", Login: "mona", Scopes: []string{"all"}},
	}.Stage(t)
}

// TestPoll_Pages: the server decides how large a page is, and need not tell
// how much there is.
func TestPoll_Pages(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for i := range 30 {
		if err := s.Server.Move(repo, "mona", fmt.Sprintf("refs/heads/b%02d", i), s.SHA); err != nil {
			t.Fatal(err)
		}
	}
	small := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		q.Set("limit", "10")
		r.URL.RawQuery = q.Encode()
		next.ServeHTTP(w, r)
	}
	silent := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		small(untold{w}, r, next)
	}
	for name, do := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){"small": small, "silent": silent} {
		s.Server.Heal()
		s.Server.Inject(forgetest.Fault{Do: do})
		if p, err := s.Forge.Poll(t.Context(), s.Host, s.Token, repo, nil); err != nil || len(p.Refs) != 31 {
			t.Errorf("%s pages: %d refs, %v, want 31", name, len(p.Refs), err)
		}
	}
}

// untold is an answer that does not tell how much there is.
type untold struct{ http.ResponseWriter }

func (u untold) WriteHeader(status int) {
	u.Header().Del("X-Total-Count")
	u.Header().Del("Link")
	u.ResponseWriter.WriteHeader(status)
}

// TestChangedFiles_Untold: a server that does not list the files of commits,
// or not all commits, makes the list incomplete.
func TestChangedFiles_Untold(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for answer, want := range map[string]bool{
		`{"total_commits":1,"commits":[{"files":[{"filename":"a"}]}]}`:                               true,
		`{"total_commits":2,"commits":[{"files":[{"filename":"a"}]}]}`:                               false,
		`{"total_commits":2,"commits":[{"files":[{"filename":"a"}]},{}]}`:                            false,
		`{"total_commits":1,"commits":[{"files":null},{"files":[{"filename":"a"}]}]}`:                false,
		`{"total_commits":1,"commits":[{"files":[{"filename":"a"},{"filename":"a"}]},{"files":[]}]}`: true,
	} {
		s.Server.Heal()
		s.Server.Inject(forgetest.Fault{Do: forgetest.Answer(200, nil, answer)})
		paths, complete, err := s.Forge.ChangedFiles(t.Context(), s.Host, s.Token, repo, 0, s.SHA, strings.Repeat("a", 40))
		if err != nil || complete != want || strings.Join(paths, " ") != "a" {
			t.Errorf("ChangedFiles of %s = %q, complete %v, %v, want complete %v", answer, paths, complete, err, want)
		}
	}
}

// TestPullRequest_NoBranch: a pull request may have been pushed without a
// branch.
func TestPullRequest_NoBranch(t *testing.T) {
	t.Parallel()
	s := stage(t)
	s.Server.Inject(forgetest.Fault{Do: forgetest.Answer(200, nil, `{"number":7,"state":"open","user":{"id":3,"login":"mona"},"head":{"ref":"refs/pull/7/head","sha":"`+s.SHA+`","repo_id":5,"repo":{"id":5,"full_name":"octo/shop"}},"base":{"ref":"main","repo_id":5,"repo":{"id":5,"full_name":"octo/shop"}}}`)})
	got, err := s.Forge.PullRequest(t.Context(), s.Host, s.Token, repo, 7)
	want := forge.PullRequest{Number: 7, Author: forge.Person{ID: "3", Login: "mona"}, Open: true, HeadRepo: repo, HeadRef: "refs/pull/7/head", HeadSHA: s.SHA, BaseRef: "refs/heads/main"}
	if err != nil || got != want {
		t.Errorf("PullRequest = %+v, %v, want %+v", got, err, want)
	}
}
