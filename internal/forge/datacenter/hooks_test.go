package datacenter_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/datacenter"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const repo = "SHOP/web"

func stage(t *testing.T) forgetest.Stage {
	t.Helper()
	return forgetest.Case{
		Provider: datacenter.Provider, Dialect: &forgetest.DataCenter, Repo: repo,
		Good: forgetest.Token{Value: "BBDC-ForgetestHooks00000000000000001", Login: "mona", Scopes: []string{"repository:admin"}},
	}.Stage(t)
}

// TestChangedFiles_Answers: a moved file has two names and a copied one has
// one; that the list goes on makes it incomplete, wherever it goes on.
func TestChangedFiles_Answers(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for answer, want := range map[string]string{
		`{"values":[{"type":"MOVE","path":{"toString":"b"},"srcPath":{"toString":"a"}}],"isLastPage":true}`:                        "a b complete",
		`{"values":[{"type":"COPY","path":{"toString":"b"},"srcPath":{"toString":"a"}}],"isLastPage":true}`:                        "b complete",
		`{"values":[{"type":"ADD","path":{"toString":"b"}}],"isLastPage":false,"nextPageStart":null}`:                              "b",
		`{"values":[{"type":"ADD","path":{"toString":"b"}},{"type":"ADD","path":{"toString":"a"}}],"isLastPage":false,"start":25}`: "a b",
		`{"values":[],"isLastPage":true}`: "complete",
	} {
		s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(200, nil, answer)})
		got, complete, err := s.Forge.ChangedFiles(t.Context(), s.Host, s.Token, repo, 0, s.SHA, s.SHA)
		if complete {
			got = append(got, "complete")
		}
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("ChangedFiles of %s = %q, %v, want %q", answer, got, err, want)
		}
	}
}

// TestRole_Others: the filter for names finds parts of names.
func TestRole_Others(t *testing.T) {
	t.Parallel()
	s := stage(t)
	mona := s.Server.Person("mona")
	if err := s.Server.SetRole(repo, "mona-lisa", "REPO_ADMIN"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []forge.Person{{ID: id(mona), Login: "mona"}, {ID: id(s.Server.Person("mona-lisa")), Login: "mona"}, {ID: id(mona), Login: "mona-lisa"}} {
		if got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, who); err != nil || got != "" {
			t.Errorf("Role(%+v) = %q, %v, want none", who, got, err)
		}
	}
}

// TestUnauthorized: the server has one answer to a bad token and to a good one
// that may not, but tells only the second one's name.
func TestUnauthorized(t *testing.T) {
	t.Parallel()
	s := stage(t)
	const body = `{"errors":[{"message":"You are not permitted to access this resource"}]}`
	for user, refused := range map[string]bool{"": true, "mona": false} {
		s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(401, map[string]string{"X-AUSERNAME": user}, body)})
		err := s.Forge.DeleteHook(t.Context(), s.Host, s.Token, forge.Owner{Kind: forge.OfRepository, Name: repo}, forge.Hook{ID: "1"})
		if err == nil || errors.Is(err, forge.ErrRefused) != refused || !refused && !strings.Contains(err.Error(), "Repository admin") {
			t.Errorf("401 for %q: %v", user, err)
		}
	}
}

func id(p forgetest.Person) string { return strconv.FormatInt(p.ID, 10) }
