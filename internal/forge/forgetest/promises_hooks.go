package forgetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

const (
	// HookSecret is the secret of the hooks that the suite makes.
	HookSecret = api.Secret("whsec_ForgetestPromisesOfHooks00000000001")
	address    = "https://corbel.example.com/hooks/shop"
)

// wanted are the events that the suite's hooks are for, if the provider has
// them.
var wanted = []forge.EventType{
	forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed, forge.Comment,
}

// A hookStage is a stage with what hooks are for.
type hookStage struct {
	*stage
	hooks forge.Hooks
	owner forge.Owner // the repository
}

// Hooks checks what forge.Hooks promises, for any provider.
func Hooks(t *testing.T, c Case) {
	run := func(name string, test func(*testing.T, *hookStage)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &hookStage{stage: c.stage(t), owner: forge.Owner{Kind: forge.OfRepository, Name: c.Repo}}
			s.hooks = s.forge
			test(t, s)
		})
	}
	run("Put", hooksPut)
	run("PutLost", hooksPutLost)
	run("PutExisting", hooksPutExisting)
	run("PutAmongMany", hooksPutAmongMany)
	run("Delete", hooksDelete)
	run("Owners", hooksOwners)
	run("Told", hooksTold)
	run("Role", hooksRole)
	run("PullRequest", hooksPullRequest)
	run("ChangedFiles", hooksChangedFiles)
	run("ChangedFilesCut", hooksCut)
	run("Message", hooksMessage)
	run("Poll", hooksPoll)
	run("PollPages", hooksPollPages)
	run("Repositories", hooksRepositories)
	run("Errors", hooksErrors)
	run("Redirect", hooksRedirect)
}

// hook is the one that the suite makes.
func hook() forge.Hook { return forge.Hook{Address: address, Secret: HookSecret, Events: wanted} }

func (s *hookStage) good() forge.Token { return s.show(s.Good) }

func (s *hookStage) put(t *testing.T, owner forge.Owner, h forge.Hook) forge.Hook {
	t.Helper()
	got, err := s.hooks.PutHook(t.Context(), s.host, s.good(), owner, h)
	if err != nil {
		t.Fatalf("PutHook(%s): %v", h.Address, err)
	}
	if got.ID == "" || got.Address != h.Address || got.Secret != h.Secret || !slices.Equal(got.Events, h.Events) {
		t.Errorf("PutHook = %+v, want what was put, with an id", got)
	}
	return got
}

// one is the only hook of the repository, as it should be.
func (s *hookStage) one(t *testing.T, secret api.Secret) Hook {
	t.Helper()
	list := s.server.Hooks(s.Repo)
	if len(list) != 1 {
		t.Fatalf("the server has %d hooks, want 1", len(list))
	}
	if h := list[0]; !h.Active || h.Form || h.URL != address || api.Secret(h.Secret) != secret || len(h.Events) == 0 {
		t.Errorf("the server has the hook %+v, want one that is active and goes to %s as JSON", h, address)
	}
	return list[0]
}

// quiet fails the test if an error shows a token or the secret of a hook.
func (s *hookStage) quiet(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, secret := range []api.Secret{s.Good.Value, s.Narrow.Value, HookSecret} {
			if strings.Contains(text, secret.Reveal()) {
				t.Errorf("the error shows a secret: %s", text)
			}
		}
	}
}

func hooksPut(t *testing.T, s *hookStage) {
	first := s.put(t, s.owner, hook())
	made := s.one(t, HookSecret)
	second := s.put(t, s.owner, hook())
	if again := s.one(t, HookSecret); again.ID != made.ID || second.ID != first.ID {
		t.Errorf("a second PutHook made the hook %d of %d", again.ID, made.ID)
	}
	// By its id, everything can change.
	moved := first
	moved.Address, moved.Secret, moved.Events = address+"/moved", HookSecret+"2", []forge.EventType{forge.Push}
	if got := s.put(t, s.owner, moved); got.ID != first.ID {
		t.Errorf("the hook that moved is %s, was %s", got.ID, first.ID)
	}
	list := s.server.Hooks(s.Repo)
	if len(list) != 1 || list[0].URL != moved.Address || list[0].Secret != string(moved.Secret) || slices.Equal(list[0].Events, made.Events) {
		t.Errorf("the hook that moved is %+v", list)
	}
	// An id of a hook that is gone is no reason to fail.
	if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, moved); err != nil {
		t.Fatal(err)
	}
	first.ID = second.ID
	s.put(t, s.owner, first)
	s.one(t, HookSecret)
	for _, r := range s.server.Requests() {
		if strings.Contains(r.Path+r.Query+fmt.Sprint(r.Header), HookSecret.Reveal()) {
			t.Errorf("%s %s has the secret of the hook outside of its body", r.Method, r.Path)
		}
	}
}

// hooksPutLost: whatever became of the answer, the next call leaves one hook.
func hooksPutLost(t *testing.T, s *hookStage) {
	never := make(chan struct{})
	for name, do := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"lost": Lost(), "late": Late(never), "sent twice": Twice(),
		"made and then 502": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			Answer(502, nil, "")(w, r, next)
		},
	} {
		s.server.Heal()
		s.server.Inject(Fault{Method: http.MethodPost, Times: 1, Do: do})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := s.hooks.PutHook(ctx, s.host, s.good(), s.owner, hook())
		cancel()
		if err != nil {
			s.refuses(t, err, forge.ErrUnreachable)
			if !forge.Retry(err).Worthwhile {
				t.Errorf("%s: %v is not worth another try", name, err)
			}
		} else if name != "sent twice" {
			t.Errorf("%s: no error", name)
		}
		s.put(t, s.owner, hook())
		s.one(t, HookSecret)
		if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, hook()); err != nil {
			t.Fatal(err)
		}
	}
	// What is refused from then on says nothing against the hook.
	s.server.Heal()
	s.server.Inject(Fault{Method: http.MethodPost, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		s.server.Inject(Fault{Do: Answer(http.StatusForbidden, nil, "{}")})
	}})
	_, err := s.hooks.PutHook(t.Context(), s.host, s.good(), s.owner, hook())
	s.one(t, HookSecret)
	if err != nil && !forge.Retry(err).Worthwhile {
		t.Errorf("the hook was made, and %v is not worth another try", err)
	}
}

// hooksPutExisting: a hook of the address is taken over, whatever it was like,
// and others are left alone.
func hooksPutExisting(t *testing.T, s *hookStage) {
	s.put(t, s.owner, hook())
	events := s.one(t, HookSecret).Events
	if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, hook()); err != nil {
		t.Fatal(err)
	}
	old := s.server.AddHook(s.Repo, "mona", Hook{URL: address, Events: events[:1], Form: true, Secret: "older"})
	s.server.AddHook(s.Repo, "mona", Hook{URL: address, Events: events, Active: true})
	other := s.server.AddHook(s.Repo, "mona", Hook{URL: address + "/other", Events: events, Active: true, Secret: "other"})
	s.put(t, s.owner, hook())
	list := s.server.Hooks(s.Repo)
	i := slices.IndexFunc(list, func(h Hook) bool { return h.URL == address })
	if len(list) != 2 || i < 0 {
		t.Fatalf("the server has %+v, want one hook of the address and the other", list)
	}
	if h := list[i]; !h.Active || h.Form || api.Secret(h.Secret) != HookSecret || !slices.Equal(h.Events, events) {
		t.Errorf("the hook that was there, %d, is now %+v", old.ID, h)
	}
	if list[1-i].ID != other.ID || list[1-i].Secret != "other" {
		t.Errorf("the other hook is now %+v", list[1-i])
	}
}

// hooksPutAmongMany: a hook is found on whatever page it is.
func hooksPutAmongMany(t *testing.T, s *hookStage) {
	s.put(t, s.owner, hook())
	made := s.one(t, HookSecret)
	if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, hook()); err != nil {
		t.Fatal(err)
	}
	many := func(from, to int) {
		for i := from; i < to; i++ {
			s.server.AddHook(s.Repo, "mona", Hook{URL: fmt.Sprintf("%s/%d", address, i), Events: made.Events, Active: true})
		}
	}
	many(0, 155)
	old := s.server.AddHook(s.Repo, "mona", Hook{URL: address, Events: made.Events})
	many(155, 260)
	if got := s.put(t, s.owner, hook()); !strings.Contains(got.ID, strconv.FormatInt(old.ID, 10)) {
		t.Errorf("the hook among many is %s, want %d", got.ID, old.ID)
	}
	if n := len(s.server.Hooks(s.Repo)); n != 261 {
		t.Errorf("the server has %d hooks, want 261", n)
	}
	if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, hook()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.server.Hooks(s.Repo)); n != 260 {
		t.Errorf("the server has %d hooks, want 260", n)
	}
}

func hooksDelete(t *testing.T, s *hookStage) {
	remove := func(h forge.Hook) {
		t.Helper()
		if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), s.owner, h); err != nil {
			t.Errorf("DeleteHook(%s, %s): %v", h.ID, h.Address, err)
		}
	}
	other := hook()
	other.Address += "/other"
	other = s.put(t, s.owner, other)
	made := s.put(t, s.owner, hook())
	remove(forge.Hook{ID: made.ID})
	s.put(t, s.owner, hook())
	remove(forge.Hook{Address: address})
	remove(made)
	remove(forge.Hook{ID: made.ID})
	remove(forge.Hook{Address: address})
	if list := s.server.Hooks(s.Repo); len(list) != 1 || list[0].URL != other.Address {
		t.Errorf("the server has %+v, want the other hook alone", list)
	}
	// Somebody else is faster.
	s.server.Inject(Fault{Method: http.MethodDelete, Times: 1, Do: Twice()})
	remove(other)
	if list := s.server.Hooks(s.Repo); len(list) != 0 {
		t.Errorf("the server has %+v, want none", list)
	}
}

// ownerKey is where the server has the hooks of an owner.
func ownerKey(o forge.Owner) string {
	kind := map[forge.OwnerKind]string{forge.OfOrganization: ofOrganization, forge.OfGroup: ofGroup, forge.OfEnterprise: ofEnterprise}[o.Kind]
	return kind + "/" + o.Name
}

func hooksOwners(t *testing.T, s *hookStage) {
	for _, o := range s.Owners {
		made := s.put(t, o, hook())
		if again := s.put(t, o, hook()); again.ID != made.ID {
			t.Errorf("%v: the second PutHook made another hook", o)
		}
		if list := s.server.OwnerHooks(ownerKey(o)); len(list) != 1 || list[0].URL != address || !list[0].Active {
			t.Errorf("%v has the hooks %+v, want one", o, list)
		}
		if err := s.hooks.DeleteHook(t.Context(), s.host, s.good(), o, made); err != nil {
			t.Errorf("%v: %v", o, err)
		}
		if list := s.server.OwnerHooks(ownerKey(o)); len(list) != 0 {
			t.Errorf("%v has the hooks %+v, want none", o, list)
		}
		_, err := s.hooks.PutHook(t.Context(), s.host, s.show(s.Narrow), o, hook())
		s.refuses(t, err, nil)
		s.quiet(t, err)
	}
	for _, kind := range []forge.OwnerKind{forge.OfOrganization, forge.OfEnterprise, forge.OfGroup, "PLANET"} {
		if slices.ContainsFunc(s.Owners, func(o forge.Owner) bool { return o.Kind == kind }) {
			continue
		}
		_, err := s.hooks.PutHook(t.Context(), s.host, s.good(), forge.Owner{Kind: kind, Name: "acme"}, hook())
		s.refuses(t, err, nil)
		if forge.Retry(err).Worthwhile {
			t.Errorf("%v is worth another try", err)
		}
	}
}

// hooksTold: what the hook is told is the provider's, and reads as what
// happened.
func hooksTold(t *testing.T, s *hookStage) {
	d := s.Provider.Deliveries
	h := hook()
	h.Events = d.Events
	s.put(t, s.owner, h)
	fork := s.Repo + "-fork"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.server.AddRepository(Repository{Name: fork, Fork: s.Repo})
	must(err)
	seen := 0
	// told are the events of interest since the last call.
	told := func() []forge.Event {
		t.Helper()
		var list []forge.Event
		all := s.server.Deliveries(s.Repo)
		for _, one := range all[seen:] {
			if _, err := d.Verify(one.Header, one.Body, HookSecret, time.Now()); err != nil {
				t.Errorf("%s: %v", one.Event, err)
			}
			if _, err := d.Verify(one.Header, append(slices.Clone(one.Body), ' '), HookSecret, time.Now()); err == nil && one.Header.Get("X-Gitlab-Token") == "" {
				t.Errorf("%s: a longer body is verified too", one.Event)
			}
			if _, err := d.Verify(one.Header, one.Body, HookSecret+"x", time.Now()); err == nil {
				t.Errorf("%s: another secret verifies it too", one.Event)
			}
			if event, _ := d.Describe(one.Header); event != one.Event {
				t.Errorf("Describe says %q of the event %q", event, one.Event)
			}
			events, err := d.Parse(one.Header, one.Body)
			if err != nil {
				t.Errorf("%s: %v\n%s", one.Event, err, one.Body)
			}
			for _, e := range events {
				if e.Type != forge.NotOfInterest {
					list = append(list, e)
				} else if e.Note == "" {
					t.Errorf("%s: a note does not say why it is of no interest", one.Event)
				}
			}
		}
		seen = len(all)
		return list
	}
	told()
	mona := forge.Person{ID: s.id(s.server.Person("mona")), Login: "mona"}
	want := func(what string, check func(forge.Event) bool, types ...forge.EventType) {
		t.Helper()
		types = slices.DeleteFunc(types, func(e forge.EventType) bool { return e != forge.Comment && !slices.Contains(d.Events, e) })
		list := told()
		var got []forge.EventType
		for _, e := range list {
			got = append(got, e.Type)
			if e.Actor.ID != mona.ID || !strings.EqualFold(e.Repository, s.Repo) {
				t.Errorf("%s: %s by %+v in %s, want by %+v in %s", what, e.Type, e.Actor, e.Repository, mona, s.Repo)
			}
			if check != nil && !check(e) {
				t.Errorf("%s: %+v, pull request %+v", what, e, e.Pull)
			}
		}
		if !slices.Equal(got, types) {
			t.Errorf("%s told %q, want %q", what, got, types)
		}
	}
	ids, err := s.server.Push(s.Repo, "mona", Commit{Message: "word", Files: map[string]string{"a": "1"}})
	must(err)
	want("a push", func(e forge.Event) bool {
		return e.HeadRef == "refs/heads/main" && e.SHA == ids[0] && e.Before == s.sha && (!e.FilesKnown || slices.Equal(e.Files, []string{"a"}))
	}, forge.Push)
	must(s.server.Move(s.Repo, "mona", "refs/tags/v1", ids[0]))
	want("a tag", func(e forge.Event) bool { return e.HeadRef == "refs/tags/v1" && e.SHA == ids[0] }, forge.Push)
	p, err := s.server.OpenPull(s.Repo, Pull{Author: "mona", Head: "work", Fork: fork, Commits: []Commit{{Files: map[string]string{"b": "1"}}}})
	must(err)
	pull := func(e forge.Event) bool {
		return e.Pull != nil && e.Pull.Number == p.Number && e.Pull.Fork && len(e.Pull.HeadSHA) >= 12 && strings.HasPrefix(p.SHA, e.Pull.HeadSHA) && e.Pull.HeadRef == "refs/heads/work" && e.Pull.BaseRef == "refs/heads/main"
	}
	want("a pull request", pull, forge.PullCreated)
	p, err = s.server.UpdatePull(s.Repo, p.Number, "mona", Commit{Files: map[string]string{"b": "2"}})
	must(err)
	want("a commit on it", pull, forge.PullUpdated)
	_, err = s.server.RetitlePull(s.Repo, p.Number, "mona", "Other")
	must(err)
	if s.Vague {
		want("another title", pull, forge.PullUpdated)
	} else {
		want("another title", nil)
	}
	_, err = s.server.Comment(s.Repo, p.Number, "mona", "/codebuild_run(0123)")
	must(err)
	want("a comment", func(e forge.Event) bool {
		return e.Text == "/codebuild_run(0123)" && e.Pull != nil && e.Pull.Number == p.Number
	}, forge.Comment)
	_, err = s.server.ClosePull(s.Repo, p.Number, "mona")
	must(err)
	want("closing", pull, forge.PullClosed)
	_, err = s.server.ReopenPull(s.Repo, p.Number, "mona")
	must(err)
	want("reopening", pull, forge.PullReopened)
	_, err = s.server.MergePull(s.Repo, p.Number, "mona")
	must(err)
	want("merging", nil, forge.PullMerged, forge.Push)
	_, err = s.server.Publish(s.Repo, "mona", Release{Tag: "v1", Name: "One"})
	must(err)
	want("a release", func(e forge.Event) bool { return e.Release == "One" && e.Tag == "v1" }, forge.Released)
	must(s.server.Move(s.Repo, "mona", "refs/tags/v1", ""))
	want("a tag that is gone", nil)
}

// id is what the provider calls a person for good.
func (c Case) id(p Person) string {
	if c.ID != nil {
		return c.ID(p)
	}
	return strconv.FormatInt(p.ID, 10)
}

func hooksRole(t *testing.T, s *hookStage) {
	role := func(id, login string, want api.PullRequestBuildApproverRole) {
		t.Helper()
		got, err := s.hooks.Role(t.Context(), s.host, s.good(), s.Repo, forge.Person{ID: id, Login: login})
		if err != nil || got != want {
			t.Errorf("Role(%s, %s) = %q, %v, want %q", id, login, got, err, want)
		}
	}
	hubot := s.server.AddPerson(Person{Login: "hubot"})
	role(s.id(hubot), "hubot", "")
	for want, word := range s.Roles {
		if err := s.server.SetRole(s.Repo, "hubot", word); err != nil {
			t.Fatal(err)
		}
		role(s.id(hubot), "hubot", want)
	}
	role("", "hubot", "")
	role("1", "hubot", "")
	role("{1}", "nobody", "")
	role("1", "../../user", "")
	// Who takes the login does not take the role.
	taken := s.server.AddPerson(Person{Login: "hubot"})
	role(s.id(hubot), "hubot", "")
	role(s.id(taken), "hubot", "")
}

func hooksPullRequest(t *testing.T, s *hookStage) {
	fork := s.Repo + "-fork"
	if _, err := s.server.AddRepository(Repository{Name: fork, Fork: s.Repo}); err != nil {
		t.Fatal(err)
	}
	read := func(number int) forge.PullRequest {
		t.Helper()
		p, err := s.hooks.PullRequest(t.Context(), s.host, s.good(), s.Repo, number)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, from := range []string{"", fork} {
		p, err := s.server.OpenPull(s.Repo, Pull{Title: "Mind the gap", Author: "mona", Head: "topic/x", Fork: from, Commits: []Commit{{Files: map[string]string{"x" + from: "1"}}}})
		if err != nil {
			t.Fatal(err)
		}
		head := from
		if head == "" {
			head = s.Repo
		}
		got := read(p.Number)
		if got.Number != p.Number || got.Title != p.Title || !got.Open || got.HeadSHA != p.SHA || got.HeadRef != "refs/heads/topic/x" || got.BaseRef != "refs/heads/main" ||
			got.Fork != (from != "") || !strings.EqualFold(got.HeadRepo, head) || got.Author.ID != s.id(s.server.Person("mona")) {
			t.Errorf("PullRequest(%d) = %+v, want %+v", p.Number, got, p)
		}
		if from != "" && got.HeadURL == "" {
			t.Error("a fork's pull request does not say where to clone from")
		}
		if p, err = s.server.UpdatePull(s.Repo, p.Number, "mona", Commit{Files: map[string]string{"y": "1"}}); err != nil {
			t.Fatal(err)
		}
		if got := read(p.Number); got.HeadSHA != p.SHA {
			t.Errorf("after a commit its head is %s, want %s", got.HeadSHA, p.SHA)
		}
		if _, err := s.server.ClosePull(s.Repo, p.Number, "mona"); err != nil {
			t.Fatal(err)
		}
		if read(p.Number).Open {
			t.Error("it is open after it was closed")
		}
	}
	s.server.RemoveRepository(fork)
	if got := read(2); !got.Fork || got.HeadRepo != "" {
		t.Errorf("of a fork that is gone: %+v, want a fork without a name", got)
	}
	_, err := s.hooks.PullRequest(t.Context(), s.host, s.good(), s.Repo, 99)
	s.refuses(t, err, nil, "99")
}

// files are changed files as the suite compares them.
func (s *hookStage) files(t *testing.T, number int, before, sha string) ([]string, bool) {
	t.Helper()
	paths, complete, err := s.hooks.ChangedFiles(t.Context(), s.host, s.good(), s.Repo, number, before, sha)
	if err != nil {
		t.Fatalf("ChangedFiles(%d, %s, %s): %v", number, before, sha, err)
	}
	slices.Sort(paths)
	return paths, complete
}

func hooksChangedFiles(t *testing.T, s *hookStage) {
	lines := strings.Repeat("a line that is long enough to be known again\n", 20)
	push := func(commits ...Commit) string {
		t.Helper()
		ids, err := s.server.Push(s.Repo, "mona", commits...)
		if err != nil {
			t.Fatal(err)
		}
		return ids[len(ids)-1]
	}
	base := push(Commit{Files: map[string]string{"old name": lines, "gone": "1", "dir/kept": "1"}})
	head := push(Commit{Delete: []string{"old name", "gone"}, Files: map[string]string{"ünew name": lines}}, Commit{Files: map[string]string{"README": "2\n", "dir/a?b#c": "1"}})
	want := func(what string, number int, before, sha string, paths ...string) {
		t.Helper()
		got, complete := s.files(t, number, before, sha)
		slices.Sort(paths)
		if !slices.Equal(got, paths) || !complete {
			t.Errorf("%s changed %q, complete %v, want %q", what, got, complete, paths)
		}
	}
	all := []string{"README", "dir/a?b#c", "gone", "old name", "ünew name"}
	want("a push", 0, base, head, all...)
	want("a branch that went back", 0, head, base, all...)
	want("nothing", 0, head, head)
	topic := push(Commit{Branch: "topic", Files: map[string]string{"topic": "1"}})
	want("a new branch", 0, zeros, topic, "topic")
	side := push(Commit{Files: map[string]string{"side": "1"}})
	want("a branch that was replaced", 0, topic, side, "side", "topic")
	p, err := s.server.OpenPull(s.Repo, Pull{Author: "mona", Head: "topic", Commits: []Commit{{Files: map[string]string{"more": "1"}, Delete: []string{"dir/kept"}}}})
	if err != nil {
		t.Fatal(err)
	}
	want("a pull request", p.Number, "", "", "dir/kept", "more", "topic")
	_, _, err = s.hooks.ChangedFiles(t.Context(), s.host, s.good(), s.Repo, 0, base, "../../user")
	s.refuses(t, err, nil)
	_, _, err = s.hooks.ChangedFiles(t.Context(), s.host, s.good(), s.Repo, 0, base, strings.Repeat("d", 40))
	s.refuses(t, err, nil)
}

// hooksCut: a list that the provider cuts is not called complete, one that has
// several pages is.
func hooksCut(t *testing.T, s *hookStage) {
	many := func(branch string, n int) string {
		t.Helper()
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("%s/%05d", branch, i)] = "1"
		}
		ids, err := s.server.AddCommits(s.Repo, Commit{Branch: branch, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		return ids[0]
	}
	some := many("some", 230)
	if paths, complete := s.files(t, 0, s.sha, some); len(paths) != 230 || !complete {
		t.Errorf("230 files are %d, complete %v", len(paths), complete)
	}
	open := func(branch string) int {
		t.Helper()
		p, err := s.server.OpenPull(s.Repo, Pull{Author: "mona", Head: branch})
		if err != nil {
			t.Fatal(err)
		}
		return p.Number
	}
	if paths, complete := s.files(t, open("some"), "", ""); len(paths) != 230 || !complete {
		t.Errorf("230 files of a pull request are %d, complete %v", len(paths), complete)
	}
	if s.Cut > 0 {
		if paths, complete := s.files(t, 0, s.sha, many("cut", s.Cut+1)); len(paths) < s.Cut || complete {
			t.Errorf("%d files are %d, complete %v, want to know of the cut", s.Cut+1, len(paths), complete)
		}
	}
	if s.CutPull > 0 {
		many("pull", s.CutPull+1)
		if paths, complete := s.files(t, open("pull"), "", ""); len(paths) < s.CutPull || complete {
			t.Errorf("%d files of a pull request are %d, complete %v, want to know of the cut", s.CutPull+1, len(paths), complete)
		}
	}
}

func hooksMessage(t *testing.T, s *hookStage) {
	const text = "Wörter\n\n[skip ci] and \"more\""
	ids, err := s.server.AddCommits(s.Repo, Commit{Message: text})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.hooks.Message(t.Context(), s.host, s.good(), s.Repo, ids[0])
	if err != nil || strings.TrimSpace(got) != text {
		t.Errorf("Message = %q, %v, want %q", got, err, text)
	}
	for _, sha := range []string{strings.Repeat("d", 40), "main", ""} {
		_, err := s.hooks.Message(t.Context(), s.host, s.good(), s.Repo, sha)
		s.refuses(t, err, nil)
	}
}

// poll polls, and checks that what is unchanged is not there.
func (s *hookStage) poll(t *testing.T, marks map[string]string) forge.Polled {
	t.Helper()
	p, err := s.hooks.Poll(t.Context(), s.host, s.good(), s.Repo, marks)
	if err != nil {
		t.Fatal(err)
	}
	if p.RefsUnchanged && p.Refs != nil || p.PullsUnchanged && p.Pulls != nil {
		t.Error("what is unchanged is told")
	}
	for k, v := range p.Marks {
		if len(k)+len(v) > 300 {
			t.Errorf("mark %s is %d bytes long", k, len(v))
		}
	}
	return p
}

func hooksPoll(t *testing.T, s *hookStage) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := s.server.repository(s.Repo)
	ids, err := s.server.AddCommits(s.Repo, Commit{Branch: "feature/ü", Tag: "v1", Files: map[string]string{"x": "1"}})
	must(err)
	// A tag that is an object of its own is told as its commit.
	_, err = s.server.run(nil, "--git-dir", r.dir, "-c", "user.name=Mona", "-c", "user.email=mona@example.com", "tag", "-a", "-m", "two", "v2", ids[0])
	must(err)
	p, err := s.server.OpenPull(s.Repo, Pull{Author: "mona", Head: "feature/ü"})
	must(err)
	refs := map[string]string{"refs/heads/main": s.sha, "refs/heads/feature/ü": ids[0], "refs/tags/v1": ids[0], "refs/tags/v2": ids[0]}
	first := s.poll(t, nil)
	if first.RefsUnchanged || first.PullsUnchanged || !maps.Equal(first.Refs, refs) || len(first.Pulls) != 1 || first.Pulls[0].Number != p.Number || first.Pulls[0].HeadSHA != p.SHA || !first.Pulls[0].Open {
		t.Fatalf("the first poll = %+v, want %v and pull request %d", first, refs, p.Number)
	}
	used := s.server.Used(s.Good.Value)
	same := s.poll(t, first.Marks)
	if s.Conditional {
		if !same.RefsUnchanged || !same.PullsUnchanged || !maps.Equal(same.Marks, first.Marks) {
			t.Errorf("the second poll = %+v, want nothing new and the same marks", same)
		}
		if now := s.server.Used(s.Good.Value); now != used {
			t.Errorf("a poll that finds nothing costs %d requests", now-used)
		}
	}
	// Only a branch, only a tag, only a pull request; marks of the poll before.
	refs["refs/heads/main"], err = leading(s.server.AddCommits(s.Repo, Commit{Files: map[string]string{"y": "1"}}))
	must(err)
	second := s.poll(t, same.Marks)
	if second.RefsUnchanged || !maps.Equal(second.Refs, refs) {
		t.Errorf("after a push the refs are %v, want %v", second.Refs, refs)
	}
	must(s.server.Move(s.Repo, "mona", "refs/tags/v3", s.sha))
	refs["refs/tags/v3"] = s.sha
	third := s.poll(t, second.Marks)
	if third.RefsUnchanged || !maps.Equal(third.Refs, refs) {
		t.Errorf("after a tag the refs are %v, want %v", third.Refs, refs)
	}
	must(s.server.Move(s.Repo, "mona", "refs/tags/v1", ""))
	delete(refs, "refs/tags/v1")
	_, err = s.server.ClosePull(s.Repo, p.Number, "mona")
	must(err)
	fourth := s.poll(t, third.Marks)
	if fourth.PullsUnchanged || len(fourth.Pulls) != 0 || !maps.Equal(fourth.Refs, refs) {
		t.Errorf("after closing the pull request and deleting a tag: %+v", fourth)
	}
	// Marks of nobody are no reason to fail.
	if odd := s.poll(t, map[string]string{"x": "y", "branches 1": "z"}); !maps.Equal(odd.Refs, refs) {
		t.Errorf("with strange marks the refs are %v, want %v", odd.Refs, refs)
	}
}

// leading is the first of several.
func leading(list []string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return list[0], nil
}

// hooksPollPages: lists that go over pages, and what is new at the end of them.
func hooksPollPages(t *testing.T, s *hookStage) {
	r := s.server.repository(s.Repo)
	add := func(names ...string) {
		t.Helper()
		var in strings.Builder
		for _, n := range names {
			fmt.Fprintf(&in, "create %s %s\n", n, s.sha)
		}
		if _, err := s.server.run(strings.NewReader(in.String()), "--git-dir", r.dir, "update-ref", "--stdin"); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for i := range 199 { // with main a page that is full
		names = append(names, fmt.Sprintf("refs/heads/b%03d", i))
	}
	for i := range 100 {
		names = append(names, fmt.Sprintf("refs/tags/t%03d", i))
	}
	add(names...)
	first := s.poll(t, nil)
	if len(first.Refs) != 300 {
		t.Fatalf("%d refs, want 300", len(first.Refs))
	}
	if s.Conditional {
		if same := s.poll(t, first.Marks); !same.RefsUnchanged {
			t.Error("the refs have changed by themselves")
		}
	}
	add("refs/heads/zz", "refs/tags/zz", "refs/tags/aa")
	if next := s.poll(t, first.Marks); len(next.Refs) != 303 || next.Refs["refs/heads/zz"] != s.sha {
		t.Errorf("%d refs, want 303 with a new one at the end of the last page", len(next.Refs))
	}
}

func hooksRepositories(t *testing.T, s *hookStage) {
	if s.Unlisted != nil {
		_, _, err := s.hooks.Repositories(t.Context(), s.host, s.good(), "", "")
		s.refuses(t, err, nil, s.Unlisted...)
		return
	}
	owner, name, _ := strings.Cut(s.Repo, "/")
	if _, err := s.server.AddRepository(Repository{Name: owner + "/Another-" + name, Public: true}); err != nil {
		t.Fatal(err)
	}
	// They are listed; what is in them is of no interest.
	s.server.mu.Lock()
	for i := range 120 {
		s.server.lastID++
		n := fmt.Sprintf("%s/bulk-%03d", owner, i)
		s.server.repos[strings.ToLower(n)] = &repository{id: s.server.lastID, name: n, public: i%2 == 0, clone: s.server.dialect.clone}
	}
	s.server.mu.Unlock()
	all := func(search string) map[string]forge.Listed {
		t.Helper()
		out := map[string]forge.Listed{}
		page := ""
		for range 300 {
			list, next, err := s.hooks.Repositories(t.Context(), s.host, s.good(), search, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				if _, twice := out[l.Name]; twice {
					t.Errorf("%s is listed twice", l.Name)
				}
				out[l.Name] = l
			}
			if next == "" {
				return out
			}
			page = next
		}
		t.Fatal("the pages do not end")
		return nil
	}
	if got := all(""); len(got) != 122 || !got[s.Repo].Private || got[s.Repo].URL == "" || got[s.Repo].Default != map[bool]string{false: "main"}[s.NoDefaults] || got[owner+"/bulk-000"].Private {
		t.Errorf("%d repositories, want 122; %s is %+v", len(got), s.Repo, got[s.Repo])
	}
	if got := all("ANOTHER"); len(got) != 1 {
		t.Errorf("search for ANOTHER found %v, want one", slices.Collect(maps.Keys(got)))
	}
	if got := all("no such repository"); len(got) != 0 {
		t.Errorf("search for what is not there found %v", slices.Collect(maps.Keys(got)))
	}
	if _, _, err := s.hooks.Repositories(t.Context(), s.host, s.good(), "", "https://evil.example.com/"); err == nil {
		t.Error("a page that was never given is read")
	}
}

// calls are all of the methods, of a repository.
func (s *hookStage) calls() map[string]func(ctx context.Context, token forge.Token, repo string) error {
	h := hook()
	all := map[string]func(context.Context, forge.Token, string) error{
		"PutHook": func(ctx context.Context, token forge.Token, repo string) error {
			_, err := s.hooks.PutHook(ctx, s.host, token, forge.Owner{Kind: forge.OfRepository, Name: repo}, h)
			return err
		},
		"DeleteHook": func(ctx context.Context, token forge.Token, repo string) error {
			return s.hooks.DeleteHook(ctx, s.host, token, forge.Owner{Kind: forge.OfRepository, Name: repo}, h)
		},
		"Role": func(ctx context.Context, token forge.Token, repo string) error {
			_, err := s.hooks.Role(ctx, s.host, token, repo, forge.Person{ID: s.id(s.server.Person("mona")), Login: "mona"})
			return err
		},
		"PullRequest": func(ctx context.Context, token forge.Token, repo string) error {
			_, err := s.hooks.PullRequest(ctx, s.host, token, repo, 1)
			return err
		},
		"ChangedFiles": func(ctx context.Context, token forge.Token, repo string) error {
			_, _, err := s.hooks.ChangedFiles(ctx, s.host, token, repo, 0, s.sha, s.sha)
			return err
		},
		"ChangedFiles of a pull request": func(ctx context.Context, token forge.Token, repo string) error {
			_, _, err := s.hooks.ChangedFiles(ctx, s.host, token, repo, 1, "", "")
			return err
		},
		"Message": func(ctx context.Context, token forge.Token, repo string) error {
			_, err := s.hooks.Message(ctx, s.host, token, repo, s.sha)
			return err
		},
		"Poll": func(ctx context.Context, token forge.Token, repo string) error {
			_, err := s.hooks.Poll(ctx, s.host, token, repo, nil)
			return err
		},
		"Repositories": func(ctx context.Context, token forge.Token, _ string) error {
			_, _, err := s.hooks.Repositories(ctx, s.host, token, "", "")
			return err
		},
	}
	if s.Unlisted != nil {
		delete(all, "Repositories")
	}
	return all
}

func hooksErrors(t *testing.T, s *hookStage) {
	if _, err := s.server.OpenPull(s.Repo, Pull{Author: "mona", Head: "topic", Commits: []Commit{{Files: map[string]string{"x": "1"}}}}); err != nil {
		t.Fatal(err)
	}
	unknown := s.Good
	unknown.Value = "x" + s.Good.Value
	// Only who was told the secret of a hook can repeat it.
	echo := func(name string) string {
		secret := ""
		if name == "PutHook" || name == "DeleteHook" {
			secret = HookSecret.Reveal()
		}
		return `{"message":"what are ` + s.Good.Value.Reveal() + ` and ` + secret + `?","errors":[{"message":"` + secret + `"}],"error":{"message":"` + secret + `"}}`
	}
	never := make(chan struct{})
	for name, call := range s.calls() {
		if err := call(t.Context(), s.good(), s.Repo); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.refuses(t, call(t.Context(), s.show(unknown), s.Repo), forge.ErrRefused, "refused")
		if name != "Repositories" {
			for _, repo := range []string{"shop", "a/b/../../user", "../user", "a/..", ""} {
				err := call(t.Context(), s.good(), repo)
				s.refuses(t, err, nil)
				if forge.Retry(err).Worthwhile {
					t.Errorf("%s of %q: %v is worth another try", name, repo, err)
				}
			}
			if err := call(t.Context(), s.good(), s.Repo+"-none"); name != "Role" {
				s.refuses(t, err, nil, s.Repo+"-none")
			}
		}
		if name == "PutHook" || name == "DeleteHook" {
			s.put(t, s.owner, hook())
			err := call(t.Context(), s.show(s.Narrow), s.Repo)
			s.refuses(t, err, nil, append(s.Lacks, s.Repo)...)
			if forge.Retry(err).Worthwhile {
				t.Errorf("%s: %v is worth another try", name, err)
			}
		}
		for _, c := range []struct {
			what  string
			do    func(http.ResponseWriter, *http.Request, http.Handler)
			again bool
			after time.Duration
		}{
			{"403", Answer(403, nil, echo(name)), false, 0},
			{"422", Answer(422, nil, echo(name)), false, 0},
			{"400", Answer(400, nil, echo(name)), false, 0},
			{"500", Answer(500, nil, echo(name)), true, 0},
			{"502", Answer(502, map[string]string{"Content-Type": "text/html"}, "<html>Unicorn</html>"), true, 0},
			{"503", Answer(503, map[string]string{"Retry-After": "30"}, ""), true, 30 * time.Second},
			{"429", Answer(429, map[string]string{"Retry-After": "17"}, ""), true, 17 * time.Second},
			{"reset", Reset(), true, 0},
			{"huge", Answer(200, nil, strings.Repeat("x", 9<<20)), true, 0},
			{"silence", Hold(never), true, 0},
		} {
			s.server.Heal()
			s.server.Inject(Fault{Do: c.do})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if c.what == "silence" {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			start := time.Now()
			err := call(ctx, s.good(), s.Repo)
			cancel()
			s.quiet(t, err)
			again := forge.Retry(err)
			if err == nil || again.Worthwhile != c.again || again.Worthwhile != errors.Is(err, forge.ErrUnreachable) || c.after > 0 && (again.After < c.after-time.Second || again.After > c.after+time.Second) {
				t.Errorf("%s, %s: %v, again %+v; want another try %v after %v", name, c.what, err, again, c.again, c.after)
			}
			if d := time.Since(start); c.what == "silence" && d > 5*time.Second {
				t.Errorf("%s: came back after %v, want 100ms", name, d)
			}
		}
		for what, do := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
			"not JSON": Answer(200, nil, "<html>Log in to the airport's network</html>"), "another API": Answer(200, nil, `{"status":"ok"}`), "cut off": Truncate(1),
		} {
			s.server.Heal()
			s.server.Inject(Fault{Do: do})
			err := call(t.Context(), s.good(), s.Repo)
			s.quiet(t, err)
			// The role is then that of nobody.
			if err == nil && (name != "Role" || what != "another API") {
				t.Errorf("%s, %s: no error", name, what)
			}
		}
		s.server.Heal()
	}
}

// hooksRedirect: neither the token nor the secret of a hook leaves for another
// host.
func hooksRedirect(t *testing.T, s *hookStage) {
	for _, says := range []int{200, 401} {
		evil, err := NewEvil(says)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = evil.Close() })
		for _, status := range []int{301, 302, 307, 308} {
			s.server.Heal()
			s.server.Inject(Fault{Do: Redirect(status, evil.URL+"/hooks")})
			for name, call := range s.calls() {
				err := call(t.Context(), s.good(), s.Repo)
				s.refuses(t, err, nil, "redirect")
				s.quiet(t, err)
				if forge.Retry(err).Worthwhile {
					t.Errorf("%s: %v is worth another try", name, err)
				}
			}
		}
		// A page after the first may be elsewhere too.
		s.server.Heal()
		s.server.Inject(Fault{Do: Answer(200, map[string]string{"Link": "<" + evil.URL + "/hooks?page=2>; rel=\"next\""}, `{"values":[],"next":"`+evil.URL+`/hooks"}`)})
		for _, call := range s.calls() {
			s.quiet(t, call(t.Context(), s.good(), s.Repo))
		}
		if got := evil.Requests(); len(got) != 0 {
			t.Errorf("the evil host got %+v", got)
		}
	}
}
