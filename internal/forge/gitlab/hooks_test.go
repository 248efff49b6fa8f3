package gitlab_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitlab"
)

const repo = "group/sub/shop"

func stage(t *testing.T) forgetest.Stage { return stageOf(t, &forgetest.GitLab) }

func stageOf(t *testing.T, d *forgetest.Dialect) forgetest.Stage {
	t.Helper()
	return forgetest.Case{
		Provider: gitlab.Provider, Dialect: d, Repo: repo,
		Good: forgetest.Token{Value: "glpat-ForgetestHooks00000001", Login: "mona", Role: 50, Scopes: []string{"api"}},
	}.Stage(t)
}

// TestPoll_Unchanged: what did not change is not sent again, however many
// pages it has.
func TestPoll_Unchanged(t *testing.T) {
	t.Parallel()
	s := stage(t)
	poll := func(marks map[string]string) forge.Polled {
		t.Helper()
		p, err := s.Forge.Poll(t.Context(), s.Host, s.Token, repo, marks)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i := range 99 { // with main a page that is full
		if err := s.Server.Move(repo, "mona", fmt.Sprintf("refs/heads/b%02d", i), s.SHA); err != nil {
			t.Fatal(err)
		}
	}
	first := poll(nil)
	if len(first.Refs) != 100 || first.RefsUnchanged || first.PullsUnchanged {
		t.Fatalf("the first poll has %d refs, want 100", len(first.Refs))
	}
	before := len(s.Server.Requests())
	same := poll(first.Marks)
	if !same.RefsUnchanged || !same.PullsUnchanged || same.Refs != nil || same.Pulls != nil || !maps.Equal(same.Marks, first.Marks) {
		t.Errorf("the second poll = %+v, want nothing new", same)
	}
	for _, r := range s.Server.Requests()[before:] {
		if r.Status != 304 || r.Header.Get("If-None-Match") == "" {
			t.Errorf("%s?%s answered %d, want 304", r.Path, r.Query, r.Status)
		}
	}
	// One more, at the end of a page that was full.
	if err := s.Server.Move(repo, "mona", "refs/heads/z", s.SHA); err != nil {
		t.Fatal(err)
	}
	if next := poll(same.Marks); next.RefsUnchanged || len(next.Refs) != 101 || !next.PullsUnchanged {
		t.Errorf("after another branch: %d refs, unchanged %v", len(next.Refs), next.RefsUnchanged)
	}
	if _, err := s.Server.OpenPull(repo, forgetest.Pull{Head: "b00"}); err != nil {
		t.Fatal(err)
	}
	if next := poll(same.Marks); next.PullsUnchanged || len(next.Pulls) != 1 {
		t.Errorf("after a merge request: %+v", next.Pulls)
	}
}

// TestRole_Levels: a level between two counts as the lower, and who is blocked
// or waits has none.
func TestRole_Levels(t *testing.T) {
	t.Parallel()
	s := stage(t)
	mona := s.Server.Person("mona")
	for level, want := range map[int]api.PullRequestBuildApproverRole{
		0: "", 5: "", 10: api.PullRequestBuildApproverRoleGITLAB_GUEST, 14: api.PullRequestBuildApproverRoleGITLAB_GUEST,
		25: api.PullRequestBuildApproverRoleGITLAB_REPORTER, 45: api.PullRequestBuildApproverRoleGITLAB_MAINTAINER, 60: api.PullRequestBuildApproverRoleGITLAB_OWNER,
	} {
		if err := s.Server.SetRole(repo, "mona", strconv.Itoa(level)); err != nil {
			t.Fatal(err)
		}
		// The login may be another by now: the id is what counts.
		got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: fmt.Sprint(mona.ID), Login: "renamed"})
		if err != nil || got != want {
			t.Errorf("Role of level %d = %q, %v, want %q", level, got, err, want)
		}
	}
	for _, state := range []string{"blocked", "awaiting", ""} {
		s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(200, nil, fmt.Sprintf(`{"id":%d,"state":%q,"access_level":50}`, mona.ID, state))})
		if got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: fmt.Sprint(mona.ID)}); err != nil || got != "" {
			t.Errorf("Role of who is %q = %q, %v, want none", state, got, err)
		}
	}
	s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(200, nil, `{"id":1,"state":"active","access_level":50}`)})
	if got, err := s.Forge.Role(t.Context(), s.Host, s.Token, repo, forge.Person{ID: fmt.Sprint(mona.ID)}); err == nil {
		t.Errorf("an answer about somebody else gives the role %q", got)
	}
}

// TestHook_Switches: what was on before and is not wanted goes off.
func TestHook_Switches(t *testing.T) {
	t.Parallel()
	s := stage(t)
	owner := forge.Owner{Kind: forge.OfRepository, Name: repo}
	h := forge.Hook{Address: "https://corbel.example.com/hooks/1", Secret: "whsec_ForgetestSwitches0000001"}
	for _, c := range []struct {
		events []forge.EventType
		want   string
	}{
		{[]forge.EventType{forge.Push, forge.PullCreated, forge.PullMerged, forge.Released, forge.Comment, forge.WorkflowJobQueued}, "push_events tag_push_events merge_requests_events note_events releases_events job_events"},
		{[]forge.EventType{forge.PullClosed}, "merge_requests_events"},
		{[]forge.EventType{forge.Push, forge.Prereleased}, "push_events tag_push_events"},
	} {
		h.Events = c.events
		if _, err := s.Forge.PutHook(t.Context(), s.Host, s.Token, owner, h); err != nil {
			t.Fatal(err)
		}
		if got := s.Server.Hooks(repo); len(got) != 1 || strings.Join(got[0].Events, " ") != c.want {
			t.Errorf("a hook for %q is %+v, want %s", c.events, got, c.want)
		}
	}
	h.Events = []forge.EventType{forge.Prereleased}
	if _, err := s.Forge.PutHook(t.Context(), s.Host, s.Token, owner, h); err == nil {
		t.Error("a hook was made that GitLab has nothing to tell")
	}
}

// TestHook_Signs: a GitLab that can sign gets the secret as the key to sign with
// and not as the token, which whoever reads a delivery could use; another one
// gets the token.
func TestHook_Signs(t *testing.T) {
	t.Parallel()
	const (
		first  = api.Secret("whsec_Zm9yZ2V0ZXN0U2lnbmluZ0tleTAwMDAwMDAwMDAwMDE=")
		second = api.Secret("whsec_Zm9yZ2V0ZXN0U2lnbmluZ0tleTAwMDAwMDAwMDAwMDI=")
		text   = api.Secret("PlantedSecretThatIsNoSigningKey_0000000001")
	)
	for _, c := range []struct {
		name    string
		dialect *forgetest.Dialect
		signs   bool
	}{{"signing", &forgetest.GitLabSigning, true}, {"older", &forgetest.GitLab, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stageOf(t, c.dialect)
			h := forge.Hook{Address: "https://corbel.example.com/hooks/1", Events: []forge.EventType{forge.Push}}
			// The second time it is the secret that was there, as any change sends it.
			for i, secret := range []api.Secret{text, first, first, second} {
				h.Secret = secret
				var err error
				if h, err = s.Forge.PutHook(t.Context(), s.Host, s.Token, forge.Owner{Kind: forge.OfRepository, Name: repo}, h); err != nil {
					t.Fatal(err)
				}
				want := forgetest.Hook{Secret: secret.Reveal()}
				if c.signs && secret != text {
					want = forgetest.Hook{Key: secret.Reveal()}
					if i == 1 { // an upgrade: that it signs shows with the next change
						want.Secret = secret.Reveal()
					}
				}
				if got := s.Server.Hooks(repo); len(got) != 1 || got[0].Secret != want.Secret || got[0].Key != want.Key {
					t.Errorf("change %d: the server has %+v, want %+v", i, got, want)
				}
				if _, err := s.Server.Push(repo, "mona", forgetest.Commit{Message: "a", Files: map[string]string{"a": strconv.Itoa(i)}}); err != nil {
					t.Fatal(err)
				}
				all := s.Server.Deliveries(repo)
				d := all[len(all)-1]
				id, err := gitlab.Provider.Deliveries.Verify(d.Header, d.Body, secret, time.Now())
				if err != nil || id != d.GUID || (d.Header.Get("Webhook-Signature") != "") != (want.Key != "") {
					t.Errorf("change %d: a push is told as %q, %v, with %v", i, id, err, d.Header)
				}
			}
			// One that is made signs at once.
			s.Server.DropHook(repo, s.Server.Hooks(repo)[0].ID)
			if _, err := s.Forge.PutHook(t.Context(), s.Host, s.Token, forge.Owner{Kind: forge.OfRepository, Name: repo}, h); err != nil {
				t.Fatal(err)
			}
			if got := s.Server.Hooks(repo); len(got) != 1 || (got[0].Key == second.Reveal()) != c.signs || (got[0].Secret == "") != c.signs {
				t.Errorf("made: the server has %+v", got)
			}
		})
	}
}

// TestChangedFiles_Cut: GitLab does not call a list cut, but counts otherwise,
// runs out of time, or sends more than is read.
func TestChangedFiles_Cut(t *testing.T) {
	t.Parallel()
	s := stage(t)
	for name, answer := range map[string]string{
		"time": `{"diffs":[{"old_path":"a","new_path":"a"}],"compare_timeout":true}`,
		"size": `{"diffs":[{"old_path":"a","new_path":"a","diff":"` + strings.Repeat("x", 9<<20) + `"}],"compare_timeout":false}`,
	} {
		s.Server.Heal()
		s.Server.Inject(forgetest.Fault{Do: forgetest.Answer(200, nil, answer)})
		if paths, complete, err := s.Forge.ChangedFiles(t.Context(), s.Host, s.Token, repo, 0, s.SHA, s.SHA); err != nil || complete {
			t.Errorf("%s: %q, complete %v, %v; want it incomplete", name, paths, complete, err)
		}
	}
	s.Server.Heal()
	p, err := s.Server.OpenPull(repo, forgetest.Pull{Head: "x", Commits: []forgetest.Commit{{Files: map[string]string{"x": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []string{"null", `"2"`, `"1+"`} {
		s.Server.Inject(forgetest.Fault{Times: 1, Do: forgetest.Answer(200, nil, fmt.Sprintf(`{"iid":%d,"changes_count":%s}`, p.Number, count))})
		if paths, complete, err := s.Forge.ChangedFiles(t.Context(), s.Host, s.Token, repo, p.Number, "", ""); err != nil || complete || len(paths) != 1 {
			t.Errorf("of %s changes: %q, complete %v, %v; want it incomplete", count, paths, complete, err)
		}
	}
}

// TestSetStatus_Fork: no branch has the commit of a fork, so GitLab wants to be
// told the ref of its merge request.
func TestSetStatus_Fork(t *testing.T) {
	t.Parallel()
	s := stage(t)
	if _, err := s.Server.AddRepository(forgetest.Repository{Name: "mallory/shop", Fork: repo}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Server.OpenPull(repo, forgetest.Pull{Author: "mallory", Fork: "mallory/shop", Head: "tea", Commits: []forgetest.Commit{{Message: "tea", Files: map[string]string{"tea": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{forge.Failure, forge.Pending, forge.Success} {
		if err := s.Forge.SetStatus(t.Context(), s.Host, s.Token, repo, forge.Status{SHA: p.SHA, State: state, Context: "c"}); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	if list := s.Server.Statuses(repo, p.SHA); len(list) != 3 || list[0].State != "failed" || list[2].State != "success" {
		t.Errorf("the commit has %+v", list)
	}
	if p, err = s.Server.UpdatePull(repo, p.Number, "mallory", forgetest.Commit{Message: "more", Files: map[string]string{"tea": "2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Server.UpdatePull(repo, p.Number, "mallory", forgetest.Commit{Message: "most", Files: map[string]string{"tea": "3"}}); err != nil {
		t.Fatal(err)
	}
	err = s.Forge.SetStatus(t.Context(), s.Host, s.Token, repo, forge.Status{SHA: p.SHA, State: forge.Success, Context: "c"})
	if err == nil || !strings.Contains(err.Error(), "References for commit") || forge.Retry(err).Worthwhile {
		t.Errorf("a commit that is the newest of no merge request: %v", err)
	}
}
