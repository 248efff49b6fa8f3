package forgetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// A Setup is a Server with what the suite needs on it, as Corbel sees it.
type Setup struct {
	Server *Server
	Hosts  *forge.Hosts
	Host   forge.Host // github.com, sent to Server
	Forge  forge.Forge
	SHA    string // a commit of Repo
}

// What Setup puts on the server.
const (
	Repo = "octo-org/shop"

	Good        = api.Secret("ghp_ForgetestGoodTokenWithAllScopes000001")
	Narrow      = api.Secret("ghp_ForgetestNarrowTokenPublicOnly0000002")
	Expired     = api.Secret("ghp_ForgetestExpiredToken0000000000000003")
	Elsewhere   = api.Secret("ghp_ForgetestTokenForOtherRepository00004")
	FineGrained = api.Secret("github_pat_11ForgetestFineGrained_00000000000000005")
	ReadOnly    = api.Secret("github_pat_11ForgetestFineGrainedReadOnly_000000006")
	Unknown     = api.Secret("ghp_ForgetestTokenThatNobodyKnows00000007")
	SignOn      = api.Secret("ghp_ForgetestTokenWithoutSingleSignOn0008")
)

// Expires is when Good and FineGrained end.
var Expires = time.Date(2036, 12, 1, 0, 0, 0, 0, time.UTC)

// NewSetup starts a server that ends with the test, for an adapter of GitHub.
func NewSetup(t *testing.T, provider forge.Provider) *Setup {
	t.Helper()
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	ids, err := s.AddRepository(Repository{Name: Repo, Commits: []Commit{{Files: map[string]string{"README": "shop\n"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []Token{
		{Value: Good, Scopes: []string{"repo", "admin:repo_hook"}, Expires: Expires},
		{Value: Narrow, Scopes: []string{"public_repo", "gist"}},
		{Value: Expired, Scopes: []string{"repo"}, Expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Value: Elsewhere, Scopes: []string{"repo"}, Repositories: []string{"octo-org/other"}},
		{Value: FineGrained, Permissions: map[string]string{"contents": "read", "statuses": "write"}, Expires: Expires},
		{Value: ReadOnly, Permissions: map[string]string{"contents": "read", "statuses": "read"}},
		{Value: SignOn, Scopes: []string{"repo"}, SSO: true},
	} {
		s.AddToken(token)
	}
	hosts, err := forge.NewHosts([]forge.Provider{provider}, []string{"github.com=" + s.URL})
	if err != nil {
		t.Fatal(err)
	}
	rt := forge.Transport(hosts)
	t.Cleanup((&http.Client{Transport: rt}).CloseIdleConnections)
	return &Setup{Server: s, Hosts: hosts, Host: hosts.For(api.ServerTypeGITHUB)[0], Forge: provider.New(rt), SHA: ids[0]}
}

func pat(value api.Secret) forge.Token {
	return forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: value}
}

// leakless fails the test if an error shows a token.
func leakless(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(text, "Forgetest") {
			t.Errorf("the error shows the token: %s", text)
		}
	}
}

// wantError checks an error: its kind (nil is any), that its text names the
// host and has each of the words, and that it shows no token.
func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", words)
	}
	leakless(t, err)
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("error %q is not %q", err, kind)
	}
	for _, other := range []error{forge.ErrRefused, forge.ErrUnreachable} {
		if other != kind && kind != nil && errors.Is(err, other) {
			t.Errorf("error %q is also %q", err, other)
		}
	}
	for _, w := range append(words, "github.com") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// Run checks the promises of forge.Forge for an adapter of GitHub. Every call
// is also judged by GitHub's own description, if CORBEL_OPENAPI names it.
func Run(t *testing.T, provider forge.Provider) {
	run := func(name string, test func(*testing.T, *Setup)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, NewSetup(t, provider))
		})
	}
	run("Check", checkGood)
	run("CheckMissing", checkMissing)
	run("CheckFineGrained", checkFineGrained)
	run("CheckApp", checkApp)
	run("CheckRefused", checkRefused)
	run("CheckUnreachable", checkUnreachable)
	run("CheckTime", checkTime)
	run("Status", statusGood)
	run("StatusPermanent", statusPermanent)
	run("StatusAgain", statusAgain)
	run("Redirect", redirect)
	run("Rename", rename)
	t.Run("OpenAPI", func(t *testing.T) {
		t.Parallel()
		judged(t, OpenAPI(t), NewSetup(t, provider))
	})
}

func checkGood(t *testing.T, s *Setup) {
	got, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
	if err != nil {
		t.Fatal(err)
	}
	if got.Login != "octocat" || got.Kind != forge.Classic || !slices.Equal(got.Scopes, []string{"repo", "admin:repo_hook"}) || len(got.Missing) != 0 {
		t.Errorf("CheckCredential = %+v, want octocat's classic token with repo and admin:repo_hook, nothing missing", got)
	}
	if !got.Expires.Equal(Expires) {
		t.Errorf("Expires = %v, want %v", got.Expires, Expires)
	}
	if got.Remaining != 4999 {
		t.Errorf("Remaining = %d, want 4999", got.Remaining)
	}
	for _, r := range s.Server.Requests() {
		if r.Method != http.MethodGet {
			t.Errorf("a check sent %s %s", r.Method, r.Path)
		}
	}
}

func checkMissing(t *testing.T, s *Setup) {
	got, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Narrow))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"repo", "repo:status", "admin:repo_hook"}; !slices.Equal(got.Missing, want) {
		t.Errorf("Missing = %v, want %v", got.Missing, want)
	}
	for _, scope := range got.Missing {
		if got.Purpose[scope] == "" {
			t.Errorf("nothing says what %s is for", scope)
		}
	}
	for _, c := range []struct{ scopes, want []string }{
		{[]string{"repo"}, nil}, // the guide: admin:repo_hook is not required then
		{[]string{"repo:status", "admin:repo_hook"}, []string{"repo"}},
		{[]string{}, []string{"repo", "repo:status", "admin:repo_hook"}},
	} {
		s.Server.AddToken(Token{Value: Narrow, Scopes: c.scopes})
		got, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Narrow))
		if err != nil {
			t.Fatal(err)
		}
		if got.Scopes == nil || !slices.Equal(got.Scopes, c.scopes) || !slices.Equal(got.Missing, c.want) {
			t.Errorf("with %v: Scopes = %v, Missing = %v, want %v", c.scopes, got.Scopes, got.Missing, c.want)
		}
	}
}

func checkFineGrained(t *testing.T, s *Setup) {
	got, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(FineGrained))
	if err != nil {
		t.Fatal(err)
	}
	if got.Login != "octocat" || got.Kind != forge.FineGrained || got.Scopes != nil || got.Missing != nil || !got.Expires.Equal(Expires) {
		t.Errorf("CheckCredential = %+v, want octocat's fine-grained token without scopes", got)
	}
}

// checkApp: the token of an app's installation is good and nobody's.
func checkApp(t *testing.T, s *Setup) {
	s.Server.Inject(Fault{Path: "/user", Do: Answer(403, map[string]string{"X-RateLimit-Remaining": "4000"}, `{"message":"Resource not accessible by integration","status":"403"}`)})
	got, err := s.Forge.CheckCredential(t.Context(), s.Host, pat("ghs_ForgetestInstallation00000000000000009"))
	if err != nil || got.Login != "" || got.Kind != forge.App || got.Scopes != nil || got.Remaining != 4000 {
		t.Errorf("CheckCredential = %+v, %v, want an app's token", got, err)
	}
}

func checkRefused(t *testing.T, s *Setup) {
	for token, words := range map[api.Secret][]string{
		Unknown:               {"Bad credentials"},
		Expired:               {"Bad credentials", "expired"},
		SignOn:                {"single sign-on"},
		Good + "\n":           {"line break"},
		"ghp_Forgetest\x00\n": {"line break"},
	} {
		_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(token))
		wantError(t, err, forge.ErrRefused, words...)
	}
	if _, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good)); err != nil {
		t.Errorf("good token after bad ones: %v", err)
	}
	s.Server.Inject(Fault{Path: "/user", Times: 1, Do: Answer(401, map[string]string{"github-authentication-token-expiration": "2026-01-02 03:04:05 UTC"}, `{"message":"Bad credentials"}`)})
	_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
	wantError(t, err, forge.ErrRefused, "expired on 2026-01-02")
	s.Server.RevokeToken(Good)
	_, err = s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
	wantError(t, err, forge.ErrRefused)
}

func checkUnreachable(t *testing.T, s *Setup) {
	reset := time.Now().Add(25 * time.Minute)
	for name, f := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"500":            Answer(500, nil, `{"message":"Server Error"}`),
		"502 HTML":       Answer(502, map[string]string{"Content-Type": "text/html"}, "<html>Unicorn</html>"),
		"503":            Answer(503, map[string]string{"Retry-After": "30"}, ""),
		"reset":          Reset(),
		"cut off":        Truncate(20),
		"not JSON":       Answer(200, nil, "<html>Log in to the airport's network</html>"),
		"another API":    Answer(200, nil, `{"status":"ok"}`),
		"404":            Answer(404, nil, `{"message":"Not Found"}`),
		"rate limit":     RateLimited(reset),
		"secondary":      SecondaryLimit(40 * time.Second),
		"login attempts": Answer(403, nil, `{"message":"Maximum number of login attempts exceeded. Please try again later."}`),
		"429":            Answer(429, nil, ""),
		"echo":           Answer(500, nil, `{"message":"what is `+Good.Reveal()+`?"}`),
	} {
		s.Server.Heal()
		s.Server.Inject(Fault{Path: "/user", Do: f})
		_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
		if !errors.Is(err, forge.ErrUnreachable) || !forge.Retry(err).Worthwhile {
			t.Errorf("%s: error %v, Retry = %+v, want ErrUnreachable, worth another try", name, err, forge.Retry(err))
		}
		leakless(t, err)
	}
	if err := s.Server.Close(); err != nil {
		t.Error(err)
	}
	_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
	wantError(t, err, forge.ErrUnreachable, "refused")
	if strings.Contains(err.Error(), "/user") {
		t.Errorf("error %q repeats the address of the request", err)
	}
}

// checkTime: a server that says nothing holds nobody longer than the context.
func checkTime(t *testing.T, s *Setup) {
	never := make(chan struct{})
	s.Server.Inject(Fault{Path: "/user", Do: Hold(never)})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.Forge.CheckCredential(ctx, s.Host, pat(Good))
	wantError(t, err, forge.ErrUnreachable, "in time")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("came back after %v, want 100ms", d)
	}
}

func statusGood(t *testing.T, s *Setup) {
	for _, token := range []api.Secret{Good, FineGrained} {
		before := len(s.Server.Statuses(Repo, s.SHA))
		long := strings.Repeat("wörter ", 40)
		for _, st := range []forge.Status{
			{SHA: s.SHA, State: forge.Pending, Context: "AWS CodeBuild eu-west-1 (shop)", Description: "Build started for project shop", TargetURL: "https://corbel.example.com/console/builds/shop%3A1"},
			{SHA: s.SHA, State: forge.Success, Context: "AWS CodeBuild eu-west-1 (shop)", Description: long},
			{SHA: s.SHA, State: forge.Failure, Context: "other"},
			{SHA: s.SHA, State: forge.Fault, Context: "other"},
			{SHA: s.SHA, State: forge.Fault, Context: "other"}, // again
		} {
			if err := s.Forge.SetStatus(t.Context(), s.Host, pat(token), Repo, st); err != nil {
				t.Fatalf("SetStatus(%+v): %v", st, err)
			}
		}
		got := s.Server.Statuses(Repo, s.SHA)[before:]
		if len(got) != 5 {
			t.Fatalf("the server has %d statuses, want 5", len(got))
		}
		if got[0].State != "pending" || got[0].Context != "AWS CodeBuild eu-west-1 (shop)" || got[0].Description != "Build started for project shop" || got[0].TargetURL != "https://corbel.example.com/console/builds/shop%3A1" {
			t.Errorf("first status = %+v", got[0])
		}
		if d := []rune(got[1].Description); len(d) != 140 || !strings.HasPrefix(long, string(d[:139])) || d[139] != '…' {
			t.Errorf("long description became %q, want its first 139 characters and an ellipsis", got[1].Description)
		}
		if got[4].State != "error" {
			t.Errorf("last state = %q, want error", got[4].State)
		}
	}
}

func statusPermanent(t *testing.T, s *Setup) {
	ok := forge.Status{SHA: s.SHA, State: forge.Success, Context: "c"}
	with := func(change func(*forge.Status)) forge.Status { c := ok; change(&c); return c }
	for _, c := range []struct {
		name  string
		token api.Secret
		repo  string
		st    forge.Status
		words []string
	}{
		{"unknown token", Unknown, Repo, ok, []string{"Bad credentials"}},
		{"scope missing", Narrow, Repo, ok, []string{"repo:status", Repo}},
		{"permission missing", ReadOnly, Repo, ok, []string{"Commit statuses: write"}},
		{"other repository", Elsewhere, Repo, ok, []string{"Not Found", Repo}},
		{"no such repository", Good, "octo-org/none", ok, []string{"octo-org/none"}},
		{"single sign-on", SignOn, Repo, ok, []string{"single sign-on"}},
		{"no such commit", Good, Repo, with(func(s *forge.Status) { s.SHA = strings.Repeat("d", 40) }), []string{"No commit found"}},
		{"bad link", Good, Repo, with(func(s *forge.Status) { s.TargetURL = "javascript:x" }), []string{"target_url"}},
		{"bad commit", Good, Repo, with(func(s *forge.Status) { s.SHA = "../../hooks" }), []string{"id of a commit"}},
		{"bad state", Good, Repo, with(func(s *forge.Status) { s.State = "SUCCEEDED" }), []string{"SUCCEEDED"}},
		{"bad repository", Good, "shop", ok, []string{"owner/name"}},
		{"bad repository", Good, "a/b/../../user", ok, []string{"owner/name"}},
	} {
		err := s.Forge.SetStatus(t.Context(), s.Host, pat(c.token), c.repo, c.st)
		if forge.Retry(err).Worthwhile {
			t.Errorf("%s: %v is worth another try", c.name, err)
		}
		wantError(t, err, nil, c.words...)
	}
	if got := s.Server.Statuses(Repo, s.SHA); len(got) != 0 {
		t.Errorf("the server has statuses %v, want none", got)
	}
}

func statusAgain(t *testing.T, s *Setup) {
	st := forge.Status{SHA: s.SHA, State: forge.Success, Context: "c"}
	for _, c := range []struct {
		name        string
		do          func(http.ResponseWriter, *http.Request, http.Handler)
		least, most time.Duration
	}{
		{"500", Answer(500, nil, ""), 0, 0},
		{"reset", Reset(), 0, 0},
		{"Retry-After", SecondaryLimit(40 * time.Second), 40 * time.Second, 40 * time.Second},
		{"Retry-After with a date", Answer(429, map[string]string{"Retry-After": time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)}, ""), 80 * time.Second, 91 * time.Second},
		{"403 with Retry-After", Answer(403, map[string]string{"Retry-After": "7"}, `{"message":"Slow down"}`), 7 * time.Second, 7 * time.Second},
		{"secondary limit without a time", SecondaryLimit(0), time.Minute, time.Minute},
		{"rate limit", RateLimited(time.Now().Add(20 * time.Minute)), 19 * time.Minute, 21 * time.Minute},
		{"rate limit that is over", RateLimited(time.Now().Add(-time.Minute)), time.Second, time.Second},
	} {
		s.Server.Inject(Fault{Method: "POST", Path: "/repos/", Times: 1, Do: c.do})
		err := s.Forge.SetStatus(t.Context(), s.Host, pat(Good), Repo, st)
		leakless(t, err)
		if again := forge.Retry(err); err == nil || !again.Worthwhile || again.After < c.least || again.After > c.most {
			t.Errorf("%s: error %v, Retry = %+v, want to wait %v to %v", c.name, err, again, c.least, c.most)
		}
	}
	// A limit is GitHub's to keep, not remembered: the next call goes out.
	if err := s.Forge.SetStatus(t.Context(), s.Host, pat(Good), Repo, st); err != nil {
		t.Errorf("after the faults: %v", err)
	}
	if got := len(s.Server.Statuses(Repo, s.SHA)); got != 1 {
		t.Errorf("the server has %d statuses, want 1", got)
	}
}

// redirect: whatever the status and the method, a token does not follow to
// another host, be it one that says 401 or one that plays along.
func redirect(t *testing.T, s *Setup) {
	for _, says := range []int{200, 401} {
		evil, err := NewEvil(says)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = evil.Close() })
		for _, status := range []int{301, 302, 303, 307, 308} {
			s.Server.Heal()
			s.Server.Inject(Fault{Do: Redirect(status, evil.URL+"/api/v3/user")})
			_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
			wantError(t, err, forge.ErrUnreachable, "redirect refused", evil.URL)
			err = s.Forge.SetStatus(t.Context(), s.Host, pat(Good), Repo, forge.Status{SHA: s.SHA, State: forge.Success, Context: "c"})
			wantError(t, err, nil, "redirect refused")
			if forge.Retry(err).Worthwhile {
				t.Errorf("%v is worth another try", err)
			}
		}
		if got := evil.Requests(); len(got) != 0 {
			t.Errorf("the evil host got %+v", got)
		}
	}
}

// rename: a redirect of GitHub's own is followed, and only as the same call.
func rename(t *testing.T, s *Setup) {
	if err := s.Server.RenameRepository(Repo, "octo-org/store"); err != nil {
		t.Fatal(err)
	}
	st := forge.Status{SHA: s.SHA, State: forge.Success, Context: "c", Description: "kept"}
	if err := s.Forge.SetStatus(t.Context(), s.Host, pat(Good), Repo, st); err != nil {
		t.Fatal(err)
	}
	if got := s.Server.Statuses("octo-org/store", s.SHA); len(got) != 1 || got[0].Description != "kept" {
		t.Errorf("statuses of the renamed repository = %+v, want one", got)
	}
	s.Server.Inject(Fault{Method: "POST", Path: "/repos/", Do: Redirect(http.StatusFound, s.Server.URL+"/api/v3/user")})
	err := s.Forge.SetStatus(t.Context(), s.Host, pat(Good), Repo, st)
	wantError(t, err, nil, "POST into GET", "renamed")
	s.Server.Heal()
	s.Server.Inject(Fault{Path: "/user", Do: Redirect(http.StatusFound, s.Server.URL+"/api/v3/user")})
	_, err = s.Forge.CheckCredential(t.Context(), s.Host, pat(Good))
	wantError(t, err, forge.ErrUnreachable, "in a row")
}

// judged makes calls of every sort and lets GitHub's description judge them.
func judged(t *testing.T, d *Description, s *Setup) {
	for _, token := range []api.Secret{Good, Narrow, FineGrained, ReadOnly, Unknown} {
		_, err := s.Forge.CheckCredential(t.Context(), s.Host, pat(token))
		leakless(t, err)
		for _, st := range []forge.Status{
			{SHA: s.SHA, State: forge.Pending, Context: "c", Description: "d", TargetURL: "https://corbel.example.com/"},
			{SHA: s.SHA, State: forge.Success, Context: "c"},
		} {
			leakless(t, s.Forge.SetStatus(t.Context(), s.Host, pat(token), Repo, st))
		}
	}
	judgedHooks(t, s)
	checked := 0
	for _, r := range s.Server.Requests() {
		switch {
		case r.Status == 401 || r.Status == 403 || r.Status == 404:
			continue // any call may answer so; the description does not repeat it
		case r.Pattern == "":
			t.Errorf("%s %s met no route", r.Method, r.Path)
			continue
		}
		checked++
		if err := d.Check(r); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.Path, err)
		}
	}
	if checked < 30 {
		t.Errorf("%d calls were judged, want 30 at least", checked)
	}
}

// judgedHooks makes the calls of forge.Hooks, to be judged.
func judgedHooks(t *testing.T, s *Setup) {
	f := s.Forge
	good, ctx := pat(Good), t.Context()
	s.Server.AddToken(Token{Value: Good, Scopes: []string{"repo", "admin:org_hook"}})
	for _, o := range []forge.Owner{{Kind: forge.OfRepository, Name: Repo}, {Kind: forge.OfOrganization, Name: "octo-org"}} {
		h := forge.Hook{Address: "https://corbel.example.com/hooks/1", Secret: "whsec_ForgetestDescribed000001", Events: []forge.EventType{forge.Push, forge.Comment}}
		for range 2 {
			if _, err := f.PutHook(ctx, s.Host, good, o, h); err != nil {
				t.Error(err)
			}
		}
		s.Server.Inject(Fault{Method: http.MethodPost, Times: 1, Do: Twice()})
		h.Address += "/2"
		if _, err := f.PutHook(ctx, s.Host, good, o, h); err != nil {
			t.Error(err)
		}
		if err := f.DeleteHook(ctx, s.Host, good, o, h); err != nil {
			t.Error(err)
		}
	}
	ids, err := s.Server.AddCommits(Repo, Commit{Branch: "topic/x", Message: "a\n\nb", Tag: "v1", Files: map[string]string{"ü b": "1"}, Delete: []string{"README"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Server.AddRepository(Repository{Name: "octo-org/shop-fork", Fork: Repo}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Pull{{Head: "topic/x"}, {Head: "work", Fork: "octo-org/shop-fork", Commits: []Commit{{Files: map[string]string{"x": "1"}}}}} {
		p, err := s.Server.OpenPull(Repo, p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Fork != "" {
			if _, err := s.Server.MergePull(Repo, p.Number, "octocat"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.PullRequest(ctx, s.Host, good, Repo, p.Number); err != nil {
			t.Error(err)
		}
		if _, _, err := f.ChangedFiles(ctx, s.Host, good, Repo, p.Number, "", ""); err != nil {
			t.Error(err)
		}
	}
	for _, pair := range [][2]string{{s.SHA, ids[0]}, {ids[0], s.SHA}, {zeros, ids[0]}} {
		if _, _, err := f.ChangedFiles(ctx, s.Host, good, Repo, 0, pair[0], pair[1]); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Message(ctx, s.Host, good, Repo, ids[0]); err != nil {
		t.Error(err)
	}
	var marks map[string]string
	for range 2 {
		p, err := f.Poll(ctx, s.Host, good, Repo, marks)
		if err != nil {
			t.Fatal(err)
		}
		marks = p.Marks
	}
	if _, _, err := f.Repositories(ctx, s.Host, good, "", ""); err != nil {
		t.Error(err)
	}
	mona := s.Server.Person("mona")
	for _, role := range []string{"", "read", "triage", "admin", "release-manager/write"} {
		if err := s.Server.SetRole(Repo, "mona", role); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Role(ctx, s.Host, good, Repo, forge.Person{ID: fmt.Sprint(mona.ID), Login: "mona"}); err != nil {
			t.Error(err)
		}
	}
}
