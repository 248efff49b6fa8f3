package forgetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// A Case is what Promises has to know of a provider.
type Case struct {
	Provider forge.Provider
	Dialect  *Dialect
	Repo     string
	// Good may do everything, and Basic says that it goes with BASIC_AUTH.
	Good  Token
	Basic bool
	Kind  forge.Kind
	// Narrow is known and may make no hooks. It can read the repository unless
	// it is Classic: GitHub's scope for that is the one for everything. Missing are the scopes
	// that CheckCredential finds missing, nil where the provider does not tell.
	Narrow  Token
	Missing []string
	// States are the provider's words for the states of package forge.
	States map[string]string

	// The others are for Hooks alone.

	// Lacks are words of the error that tells the owner of Narrow what is
	// missing to make a hook.
	Lacks []string
	// Owners are the owners of hooks beside Repo.
	Owners []forge.Owner
	// Roles are the provider's words for its approver roles, as SetRole takes
	// them, and ID is what it calls a person for good; nil is Person.ID.
	Roles map[api.PullRequestBuildApproverRole]string
	ID    func(Person) string
	// Cut is how many files the provider tells of a comparison, and CutPull of
	// a pull request; 0 is all.
	Cut, CutPull int
	// Conditional says that a poll that finds nothing costs no rate limit.
	Conditional bool
	// Unlisted are words of the error where Good cannot list repositories, and
	// NoDefaults says that the list has no default branches.
	Unlisted   []string
	NoDefaults bool
	// Vague says that a new title is told as new commits are, with the same
	// commit.
	Vague bool
}

// A stage is a server of a case, as Corbel sees it.
type stage struct {
	Case
	server *Server
	host   forge.Host
	hosts  *forge.Hosts
	forge  forge.Forge
	sha    string
}

func (c Case) stage(t *testing.T) *stage {
	t.Helper()
	s, err := New(Options{Dialect: c.Dialect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ids, err := s.AddRepository(Repository{Name: c.Repo, Commits: []Commit{{Files: map[string]string{"README": "shop\n"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.AddToken(c.Good)
	s.AddToken(c.Narrow)
	server, key := c.Provider.Own, string(c.Provider.Own)
	if c.Provider.Server != "" {
		server, key = c.Provider.Server, c.Provider.Known
	}
	hosts, err := forge.NewHosts([]forge.Provider{c.Provider}, []string{key + "=" + s.URL})
	if err != nil {
		t.Fatal(err)
	}
	rt := forge.Transport(hosts)
	t.Cleanup((&http.Client{Transport: rt}).CloseIdleConnections)
	return &stage{Case: c, server: s, hosts: hosts, host: hosts.For(server)[0], forge: c.Provider.New(rt), sha: ids[0]}
}

// show is how a token is shown to the provider.
func (c Case) show(t Token) forge.Token {
	out := forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: t.Value}
	if c.Basic && !t.Bot {
		out.Auth, out.User = api.AuthTypeBASIC_AUTH, t.Login
		if t.Email != "" {
			out.User = t.Email
		}
	}
	return out
}

// refuses checks an error: its kind (nil is any but none), that it names the
// host, has the words, and shows neither token.
func (s *stage) refuses(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one that says %q", words)
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("error %q is not %q", err, kind)
	}
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, token := range []Token{s.Good, s.Narrow} {
			if strings.Contains(text, token.Value.Reveal()) {
				t.Errorf("the error shows the token: %s", text)
			}
		}
	}
	for _, w := range append(words, s.host.Name) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// Promises checks what forge.Forge promises, for any provider.
func Promises(t *testing.T, c Case) {
	run := func(name string, test func(*testing.T, *stage)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c.stage(t))
		})
	}
	run("Check", promiseCheck)
	run("Unreachable", promiseUnreachable)
	run("Redirect", promiseRedirect)
	run("Repository", promiseRepository)
	run("Status", promiseStatus)
	run("StatusPermanent", promiseStatusPermanent)
	run("Git", promiseGit)
}

func promiseCheck(t *testing.T, s *stage) {
	got, err := s.forge.CheckCredential(t.Context(), s.host, s.show(s.Good))
	if err != nil {
		t.Fatal(err)
	}
	login := s.Good.Login
	if s.Good.Bot && s.Provider.Server == api.ServerTypeBITBUCKET {
		login = "" // nobody's
	}
	if got.Login != login || got.Kind != s.Kind || len(got.Missing) != 0 || !got.Expires.Equal(s.Good.Expires) {
		t.Errorf("CheckCredential = %+v, want %s's %s token that ends %v and lacks nothing", got, login, s.Kind, s.Good.Expires)
	}
	got, err = s.forge.CheckCredential(t.Context(), s.host, s.show(s.Narrow))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Missing, s.Missing) {
		t.Errorf("a narrow token lacks %q, want %q", got.Missing, s.Missing)
	}
	for _, scope := range got.Missing {
		if got.Purpose[scope] == "" {
			t.Errorf("nothing says what %s is for", scope)
		}
	}
	unknown := s.Good
	unknown.Value = "x" + s.Good.Value
	_, err = s.forge.CheckCredential(t.Context(), s.host, s.show(unknown))
	s.refuses(t, err, forge.ErrRefused, "refused")
	_, err = s.forge.CheckCredential(t.Context(), s.host, forge.Token{Auth: api.AuthTypePERSONAL_ACCESS_TOKEN, Value: s.Good.Value + "\n"})
	s.refuses(t, err, forge.ErrRefused, "line break")

	ended := s.Good
	ended.Expires = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	s.server.AddToken(ended)
	_, err = s.forge.CheckCredential(t.Context(), s.host, s.show(s.Good))
	s.refuses(t, err, forge.ErrRefused, "refused")
	s.server.RevokeToken(s.Good.Value)
	_, err = s.forge.CheckCredential(t.Context(), s.host, s.show(s.Good))
	s.refuses(t, err, forge.ErrRefused, "refused")
}

// promiseUnreachable: an answer that is none says nothing about the token, and
// when to ask again.
func promiseUnreachable(t *testing.T, s *stage) {
	never := make(chan struct{})
	for name, f := range map[string]struct {
		do    func(http.ResponseWriter, *http.Request, http.Handler)
		after time.Duration
	}{
		"500":         {Answer(500, nil, `{"message":"Server Error"}`), 0},
		"502 HTML":    {Answer(502, map[string]string{"Content-Type": "text/html"}, "<html>Unicorn</html>"), 0},
		"503":         {Answer(503, map[string]string{"Retry-After": "30"}, ""), 30 * time.Second},
		"429":         {Answer(429, map[string]string{"Retry-After": "17"}, ""), 17 * time.Second},
		"429 no time": {Answer(429, nil, ""), time.Minute},
		"reset":       {Reset(), 0},
		"cut off":     {Truncate(20), 0},
		"not JSON":    {Answer(200, nil, "<html>Log in to the airport's network</html>"), 0},
		"another API": {Answer(200, nil, `{"status":"ok"}`), 0},
		"huge":        {Answer(200, nil, strings.Repeat("x", 9<<20)), 0},
		"echo":        {Answer(500, nil, `{"message":"what is `+s.Good.Value.Reveal()+`?"}`), 0},
		"silent":      {Hold(never), 0},
	} {
		s.server.Heal()
		s.server.Inject(Fault{Do: f.do})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if name == "silent" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		}
		_, err := s.forge.CheckCredential(ctx, s.host, s.show(s.Good))
		again := forge.Retry(err)
		if !errors.Is(err, forge.ErrUnreachable) || !again.Worthwhile || f.after > 0 && (again.After < f.after-time.Second || again.After > f.after+time.Second) {
			t.Errorf("%s: %v, again %+v; want ErrUnreachable and another try after %v", name, err, again, f.after)
		} else {
			s.refuses(t, err, nil)
		}
		if name != "not JSON" && name != "another API" && name != "huge" && name != "cut off" {
			err = s.forge.SetStatus(ctx, s.host, s.show(s.Good), s.Repo, forge.Status{SHA: s.sha, State: forge.Success, Context: "c"})
			if err == nil || !forge.Retry(err).Worthwhile {
				t.Errorf("%s: a status is not worth another try: %v", name, err)
			}
		}
		cancel()
	}
	// Nobody listens there: the system gives out higher ports only.
	nobody, at := s.host, strings.TrimPrefix(strings.TrimPrefix(s.server.URL, "https://"), "http://")
	nobody.API = strings.Replace(nobody.API, at, "127.0.0.1:1", 1)
	_, err := s.forge.CheckCredential(t.Context(), nobody, s.show(s.Good))
	s.refuses(t, err, forge.ErrUnreachable, "refused")
}

// promiseRedirect: the token stays at its host, whatever the other one says.
func promiseRedirect(t *testing.T, s *stage) {
	for _, says := range []int{200, 401} {
		evil, err := NewEvil(says)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = evil.Close() })
		for _, status := range []int{301, 302, 303, 307, 308} {
			s.server.Heal()
			s.server.Inject(Fault{Do: Redirect(status, evil.URL+"/user")})
			_, err := s.forge.CheckCredential(t.Context(), s.host, s.show(s.Good))
			s.refuses(t, err, forge.ErrUnreachable, "redirect")
			err = s.forge.SetStatus(t.Context(), s.host, s.show(s.Good), s.Repo, forge.Status{SHA: s.sha, State: forge.Success, Context: "c"})
			s.refuses(t, err, nil, "redirect")
			if forge.Retry(err).Worthwhile {
				t.Errorf("%v is worth another try", err)
			}
			_, err = s.forge.CheckRepository(t.Context(), s.host, s.show(s.Good), s.Repo)
			s.refuses(t, err, nil, "redirect")
		}
		if got := evil.Requests(); len(got) != 0 {
			t.Errorf("the evil host got %+v", got)
		}
	}
}

func promiseRepository(t *testing.T, s *stage) {
	can, err := s.forge.CheckRepository(t.Context(), s.host, s.show(s.Good), s.Repo)
	if err != nil {
		t.Fatal(err)
	}
	if can.Clone.Can != forge.Yes || can.Status.Can != forge.Yes || can.Hook.Can != forge.Yes {
		t.Errorf("with a good token: %+v", can)
	}
	before := len(s.server.Statuses(s.Repo, s.sha)) + len(s.server.Hooks(s.Repo))
	can, err = s.forge.CheckRepository(t.Context(), s.host, s.show(s.Narrow), s.Repo)
	if err != nil {
		t.Fatal(err)
	}
	if can.Clone.Can == forge.No && s.Kind != forge.Classic || can.Hook.Can != forge.No {
		t.Errorf("with a narrow token: %+v, want to read and not to hook", can)
	}
	other := s.Repo + "-none"
	none, err := s.forge.CheckRepository(t.Context(), s.host, s.show(s.Good), other)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []forge.Ability{can.Hook, none.Clone, none.Status, none.Hook} {
		if a.Can != forge.No || a.Why == "" {
			t.Errorf("%+v does not say why not", a)
		}
	}
	if after := len(s.server.Statuses(s.Repo, s.sha)) + len(s.server.Hooks(s.Repo)); after != before {
		t.Error("the question left something behind")
	}
	s.server.RevokeToken(s.Good.Value)
	can, err = s.forge.CheckRepository(t.Context(), s.host, s.show(s.Good), s.Repo)
	if err == nil && can.Clone.Can != forge.No {
		t.Errorf("with a revoked token: %+v", can)
	}
}

func promiseStatus(t *testing.T, s *stage) {
	long := strings.Repeat("wörter ", 80)
	for _, st := range []forge.Status{
		{SHA: s.sha, State: forge.Pending, Context: "AWS CodeBuild eu-west-1 (shop)", Description: "Build started for project shop", TargetURL: "https://corbel.example.com/console/builds/shop%3A1"},
		{SHA: s.sha, State: forge.Success, Context: "AWS CodeBuild eu-west-1 (shop)", Description: long, TargetURL: "https://corbel.example.com/"},
		{SHA: s.sha, State: forge.Failure, Context: "other"},
		{SHA: s.sha, State: forge.Fault, Context: "third"},
		{SHA: s.sha, State: forge.Fault, Context: "third"}, // again
		{SHA: s.sha, State: forge.Success, Context: "a context of more than forty characters, as projects with long names have"},
	} {
		if err := s.forge.SetStatus(t.Context(), s.host, s.show(s.Good), s.Repo, st); err != nil {
			t.Fatalf("SetStatus(%+v): %v", st, err)
		}
		list := s.server.Statuses(s.Repo, s.sha)
		if len(list) == 0 {
			t.Fatalf("SetStatus(%+v) left nothing", st)
		}
		if got := list[len(list)-1]; got.State != s.States[st.State] || got.Context != st.Context || !strings.HasPrefix(st.Description, strings.TrimSuffix(got.Description, "…")) || st.TargetURL != "" && got.TargetURL != st.TargetURL {
			t.Errorf("SetStatus(%+v) left %+v", st, got)
		}
	}
	// Contexts that are longer than a provider takes stay apart, and a link that is
	// keeps no status away.
	before := ""
	for _, end := range []string{"a", "b"} {
		st := forge.Status{SHA: s.sha, State: forge.Success, Context: strings.Repeat("ö", 300) + end, TargetURL: "https://corbel.example.com/" + strings.Repeat("x", 300)}
		if err := s.forge.SetStatus(t.Context(), s.host, s.show(s.Good), s.Repo, st); err != nil {
			t.Fatalf("SetStatus with a long context: %v", err)
		}
		list := s.server.Statuses(s.Repo, s.sha)
		got := list[len(list)-1]
		if got.Context == before || !utf8.ValidString(got.Context) || !strings.HasPrefix(got.Context, strings.Repeat("ö", 200)) {
			t.Errorf("a long context became %q, after %q", got.Context, before)
		}
		before = got.Context
	}
}

func promiseStatusPermanent(t *testing.T, s *stage) {
	ok := forge.Status{SHA: s.sha, State: forge.Success, Context: "c"}
	with := func(change func(*forge.Status)) forge.Status { st := ok; change(&st); return st }
	unknown := s.Good
	unknown.Value = "x" + s.Good.Value
	for _, c := range []struct {
		name  string
		token Token
		repo  string
		st    forge.Status
		kind  error
	}{
		{"a token that nobody knows", unknown, s.Repo, ok, forge.ErrRefused},
		{"no such repository", s.Good, s.Repo + "-none", ok, nil},
		{"no such commit", s.Good, s.Repo, with(func(st *forge.Status) { st.SHA = strings.Repeat("d", 40) }), nil},
		{"a bad link", s.Good, s.Repo, with(func(st *forge.Status) { st.TargetURL = "javascript:x" }), nil},
		{"a bad commit", s.Good, s.Repo, with(func(st *forge.Status) { st.SHA = "../../hooks" }), nil},
		{"a bad state", s.Good, s.Repo, with(func(st *forge.Status) { st.State = "SUCCEEDED" }), nil},
		{"no owner", s.Good, "shop", ok, nil},
		{"a path in the name", s.Good, "a/../../user", ok, nil},
	} {
		err := s.forge.SetStatus(t.Context(), s.host, s.show(c.token), c.repo, c.st)
		s.refuses(t, err, c.kind)
		if forge.Retry(err).Worthwhile {
			t.Errorf("%s: %v is worth another try", c.name, err)
		}
	}
	if got := s.server.Statuses(s.Repo, s.sha); len(got) != 0 {
		t.Errorf("the server has %+v", got)
	}
}

// promiseGit: the user name that git presents is one that the provider takes.
func promiseGit(t *testing.T, s *stage) {
	repo, err := s.hosts.Locate(api.SourceType(s.host.ServerType), s.locate())
	if err != nil || !repo.Trusted || repo.Name != s.Repo {
		t.Fatalf("Locate(%s) = %+v, %v", s.locate(), repo, err)
	}
	for _, token := range []Token{s.Good, s.Narrow} {
		shown := s.show(token)
		user, want := s.Provider.GitUser(shown), token.Value == s.Good.Value || s.Kind != forge.Classic
		cmd := exec.CommandContext(t.Context(), "git", "-c", "credential.helper=!f() { echo username="+user+"; echo password=$PASSWORD; }; f", "ls-remote", repo.Upstream, "HEAD")
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "PASSWORD="+token.Value.Reveal())
		out, err := cmd.CombinedOutput()
		if (err == nil && strings.Contains(string(out), s.sha)) != want {
			t.Errorf("git as %s: %v\n%s", user, err, out)
		}
	}
}

// locate is the source location of the repository.
func (s *stage) locate() string {
	path := "/" + s.Repo
	if s.Provider.GitPrefix != "" {
		path = "/" + s.Provider.GitPrefix + path
	}
	if s.Provider.Known != "" {
		return "https://" + s.host.Name + path + ".git"
	}
	return s.host.Git + path + ".git"
}

// A Stage is a server with the repository, the tokens and the commit of a
// Case, and its adapter, for tests of what only one provider does.
type Stage struct {
	Server *Server
	Forge  forge.Forge
	Host   forge.Host
	Token  forge.Token // Good
	SHA    string
}

// Stage makes one that ends with the test.
func (c Case) Stage(t *testing.T) Stage {
	t.Helper()
	s := c.stage(t)
	return Stage{s.server, s.forge, s.host, s.show(s.Good), s.sha}
}
