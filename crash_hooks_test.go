package corbel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	contract "github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/client"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

// A chance is a source of random numbers for several goroutines.
type chance struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

// A slowness makes a provider think before and after it does what it is asked.
// Whether somebody still waits for the answer is nothing to it.
type slowness struct {
	*chance
	busy atomic.Int64 // requests
}

func (s *slowness) do(w http.ResponseWriter, r *http.Request, next http.Handler) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut while it was sent
	}
	think := func() { <-time.After(time.Duration(s.below(15_000)) * time.Microsecond) }
	think()
	asked := r.Clone(context.WithoutCancel(r.Context()))
	asked.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, asked)
	think()
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // nobody may wait for it
}

// known is what Corbel knows of a project's webhook.
type known struct {
	project bool
	events  string // of its filter; "" is no webhook
	at      int    // in which of the repositories the hook is
}

// A watched is a project whose webhook is made, changed and deleted, and what it
// should be like.
type watched struct {
	*server
	*chance
	kind    api.SourceType
	host    *forgetest.Server
	repos   [2]string // between which the project moves
	places  [2]string // where they are
	lives   int       // in which of them
	commits [2]string // in them
	byHand  [2]forgetest.Hook
	told    map[string][]string // by the filter's events, what a hook is for in the provider's words
	pushes  int

	is known
	id string // of the hook, as Corbel knows it
	// What is done next, what comes of it, and the hook's secret before.
	doing  string
	do     func(*client.Client) error
	then   known
	secret string
}

func (p *watched) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s, %s: %s", p.kind, p.doing, fmt.Sprintf(format, args...))
}

func (p *watched) name() string { return strings.ToLower(string(p.kind)) }

func (p *watched) source() *api.ProjectSource {
	return &api.ProjectSource{Type: p.kind, Location: &p.places[p.lives]}
}

// choose decides what is done next.
func (p *watched) choose() {
	p.then, p.secret = p.is, ""
	p.then.at = p.lives // an update follows it
	ctx, name := context.Background(), new(p.name())
	filter := func() [][]api.WebhookFilter {
		events := []string{"PUSH", "PUSH, PULL_REQUEST_CREATED", "PULL_REQUEST_MERGED, PUSH"}
		events = slices.DeleteFunc(events, func(e string) bool { return e == p.is.events })
		p.then.events = events[p.below(len(events))]
		// Nothing is built.
		return [][]api.WebhookFilter{{{Type: api.WebhookFilterTypeEVENT, Pattern: &p.then.events}, {Type: api.WebhookFilterTypeHEAD_REF, Pattern: new("^refs/heads/none$")}}}
	}
	update := func(in *api.UpdateWebhookInput) func(*client.Client) error {
		in.ProjectName = name
		return func(c *client.Client) error { _, err := c.UpdateWebhook(ctx, in); return err }
	}
	if p.is.events == "" {
		in := &api.CreateWebhookInput{ProjectName: name, FilterGroups: filter()}
		p.doing, p.do = "CreateWebhook", func(c *client.Client) error { _, err := c.CreateWebhook(ctx, in); return err }
		return
	}
	switch p.below(6) {
	case 0:
		p.doing, p.do = "UpdateWebhook with other events", update(&api.UpdateWebhookInput{FilterGroups: filter()})
	case 1:
		p.secret = p.hook().Secret
		p.doing, p.do = "UpdateWebhook with rotation", update(&api.UpdateWebhookInput{RotateSecret: new(true)})
	case 2:
		p.lives = 1 - p.lives
		p.then.at = p.lives
		if _, err := p.client().UpdateProject(ctx, &api.UpdateProjectInput{Name: name, Source: p.source()}); err != nil {
			p.t.Fatal(err)
		}
		p.doing, p.do = "UpdateWebhook after the project moved", update(&api.UpdateWebhookInput{})
	case 3:
		p.then = known{}
		p.doing, p.do = "DeleteProject", func(c *client.Client) error {
			_, err := c.DeleteProject(ctx, &api.DeleteProjectInput{Name: name})
			return err
		}
	default: // without it nothing is created
		p.then = known{project: true}
		p.doing, p.do = "DeleteWebhook", func(c *client.Client) error {
			_, err := c.DeleteWebhook(ctx, &api.DeleteWebhookInput{ProjectName: name})
			return err
		}
	}
}

// read asks what Corbel knows, and for the webhook's address.
func (p *watched) read() (is known, address string) {
	p.t.Helper()
	c := p.client()
	out, err := c.BatchGetProjects(context.Background(), &api.BatchGetProjectsInput{Names: []string{p.name()}})
	if err != nil {
		p.fatalf("%v", err)
	}
	if is.project = len(out.Projects) > 0; !is.project || out.Projects[0].Webhook == nil {
		return is, ""
	}
	text, err := c.Do(context.Background(), &contract.Contract, "DescribeWebhook", fmt.Appendf(nil, `{"projectName":%q}`, p.name()))
	if err != nil {
		p.fatalf("%v", err)
	}
	var d contract.DescribeWebhookOutput
	if err := json.Unmarshal(text, &d); err != nil {
		p.fatalf("%v", err)
	}
	w := out.Projects[0].Webhook
	is.events, is.at, p.id = *w.FilterGroups[0][0].Pattern, slices.Index(p.repos[:], *d.Owner), *d.HookId
	return is, *w.PayloadUrl
}

// own are the hooks at a repository that no person made.
func (p *watched) own(at int) []forgetest.Hook {
	return slices.DeleteFunc(p.host.Hooks(p.repos[at]), func(h forgetest.Hook) bool { return h.ID == p.byHand[at].ID })
}

// hook is the one of the webhook.
func (p *watched) hook() forgetest.Hook {
	p.t.Helper()
	_, address := p.read()
	list := slices.DeleteFunc(p.own(p.is.at), func(h forgetest.Hook) bool { return h.URL != address })
	if len(list) != 1 {
		p.fatalf("Corbel knows the hook %s, and the provider has %+v", address, p.own(p.is.at))
	}
	return list[0]
}

// agree fails unless the provider has the hook that Corbel knows, as it knows
// it, and the hooks of people; if it is time that it has no other, none.
func (p *watched) agree(alone bool) {
	p.t.Helper()
	var address string
	p.is, address = p.read()
	for at := range p.repos {
		want := 0
		if p.is.events != "" && p.is.at == at {
			want = 1
		}
		if own := p.own(at); alone && len(own) != want {
			p.fatalf("Corbel knows %+v with the address %s, and %s has the hooks %+v", p.is, address, p.repos[at], own)
		}
		hand := p.host.Hooks(p.repos[at])
		i := slices.IndexFunc(hand, func(h forgetest.Hook) bool { return h.ID == p.byHand[at].ID })
		if i < 0 {
			p.fatalf("%s has lost the hook that was made by hand", p.repos[at])
		}
		if hand[i].Last = p.byHand[at].Last; fmt.Sprint(hand[i]) != fmt.Sprint(p.byHand[at]) {
			p.fatalf("the hook made by hand was %+v and is %+v", p.byHand[at], hand[i])
		}
	}
	if p.is.events == "" {
		return
	}
	h := p.hook()
	h.Events = slices.Sorted(slices.Values(h.Events))
	if p.told[p.is.events] == nil {
		p.told[p.is.events] = h.Events
	}
	if !h.Active || h.Form || !slices.Equal(h.Events, p.told[p.is.events]) || !strings.Contains(p.id, strconv.FormatInt(h.ID, 10)) {
		p.fatalf("Corbel knows %+v with the id %s, for which a hook is for %q, and the provider has %+v", p.is, p.id, p.told[p.is.events], h)
	}
	p.brings(h)
}

// brings fails unless what the hook tells is taken.
func (p *watched) brings(h forgetest.Hook) {
	p.t.Helper()
	p.pushes++
	repo := p.repos[p.is.at]
	if err := p.host.Move(repo, "octocat", fmt.Sprintf("refs/heads/n%d", p.pushes), p.commits[p.is.at]); err != nil {
		p.t.Fatal(err)
	}
	var last forgetest.Delivery
	for _, d := range p.host.Deliveries(repo) {
		if d.Hook == h.ID {
			last = d
		}
	}
	if last.Status != http.StatusOK || last.Event == "ping" {
		p.fatalf("a push is told as %s, which is answered %d %s %v", last.Event, last.Status, last.Answer, last.Err)
	}
}

// took fails unless what was done is so.
func (p *watched) took() {
	p.t.Helper()
	if p.is != p.then {
		p.fatalf("it was acknowledged, Corbel knows %+v, and that should be %+v", p.is, p.then)
	}
	if p.secret != "" && p.kind != api.SourceTypeBITBUCKET && p.hook().Secret == p.secret {
		p.fatalf("it was acknowledged, and the provider has the secret from before")
	}
}

// again does what was cut once more. It is done already where only the answer
// was cut.
func (p *watched) again() {
	p.t.Helper()
	err := p.do(p.client())
	refused, ok := errors.AsType[*awsjson.ResponseError](err)
	switch {
	case err == nil:
	case ok && refused.Code == "ResourceAlreadyExistsException" && p.doing == "CreateWebhook" && p.is.events != "":
	case ok && refused.Code == "ResourceNotFoundException" && p.doing == "DeleteWebhook" && p.is.events == "":
	default:
		p.fatalf("for the second time: %v", err)
	}
}

// open opens the server's database, beside it if it runs.
func (s *server) open(do func(ctx context.Context, st *sqlite.Store)) {
	s.t.Helper()
	ctx := context.Background()
	st, err := sqlite.Open(ctx, filepath.Join(s.data, "corbel.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			s.t.Fatal(err)
		}
	}()
	do(ctx, st)
}

// passes lets so much time pass for what is to be done with hooks, while the
// server is down.
func (s *server) passes(d time.Duration) {
	s.t.Helper()
	s.open(func(ctx context.Context, st *sqlite.Store) {
		list, err := st.DueRemovals(ctx, time.Now().Add(d), 1000)
		if err != nil {
			s.t.Fatal(err)
		}
		err = st.Update(ctx, func(tx store.Tx) error {
			for _, r := range list {
				if err := tx.DeferRemoval(ctx, r.ID, r.Next.Add(-d), ""); err != nil {
					return err
				}
				w, err := tx.Webhook(ctx, r.Scope, r.Project)
				if err == nil {
					w.Created = w.Created.Add(-d)
					err = tx.PutWebhook(ctx, w)
				} else if errors.Is(err, store.ErrNotFound) {
					err = nil
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	})
}

// caughtUp waits until nothing is to be done with hooks.
func (s *server) caughtUp() {
	s.t.Helper()
	s.open(func(ctx context.Context, st *sqlite.Store) {
		s.until("no hook is in doubt", func() bool {
			_, err := st.NextRemoval(ctx)
			return errors.Is(err, store.ErrNotFound)
		})
	})
}

// Whatever moment the server is killed at while webhooks are made, changed and
// deleted: soon after, each provider has the hook that Corbel knows, which brings
// deliveries, or none if it knows none; what was acknowledged holds; what was cut
// can be done again; and what people made by hand is as it was.
// CORBEL_KILLS is how often the server is killed, 4 times unless it is set.
// CORBEL_SEED has the same chosen as in a run that failed.
func TestKill_LeavesNoHookBehind(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	kills := 4
	if text := os.Getenv("CORBEL_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CORBEL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("CORBEL_SEED=%d", seed)
		}
	})
	luck := &chance{rnd: rand.New(rand.NewPCG(7, seed))}
	slow := &slowness{chance: luck}
	between := newBetween(t, nil, (*httptest.Server).Start, "")
	args := []string{"-builds", "0", "-public-url", between.URL}
	var all []*watched
	var tokens []api.Secret
	for _, k := range []struct {
		kind    api.SourceType
		dialect *forgetest.Dialect
		known   string // the host's name, or "" for an installation of one's own
		owner   string
		path    string // of the location, before the owner
		token   forgetest.Token
	}{
		{api.SourceTypeGITHUB, &forgetest.GitHub, "github.com", "octo", "/", forgetest.Token{Value: "ghp_PlantedInKillTests0000000000000000001", Scopes: []string{"repo"}}},
		{api.SourceTypeBITBUCKET, &forgetest.Bitbucket, "bitbucket.org", "octo", "/", forgetest.Token{Value: "ATCTTPlantedInKillTests0000002", Bot: true, Scopes: []string{"repository", "pullrequest", "webhook"}}},
		{api.SourceTypeGITLAB, &forgetest.GitLab, "gitlab.com", "group/sub", "/", forgetest.Token{Value: "glpat-PlantedInKillTests003", Scopes: []string{"api"}}},
		{"BITBUCKET_DATA_CENTER", &forgetest.DataCenter, "", "OCTO", "/scm/", forgetest.Token{Value: "BBDC-PlantedInKillTests000000000000004", Scopes: []string{"repository:admin"}}},
		{"GITEA", &forgetest.Gitea, "", "octo", "/", forgetest.Token{Value: "0f9b0f1de5740000000000000000000000000005", Scopes: []string{"read:user", "write:repository"}}},
	} {
		host, err := forgetest.New(forgetest.Options{Dialect: k.dialect})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = host.Close() })
		host.AddToken(k.token)
		base := "https://" + k.known
		if k.known != "" {
			args = append(args, "-host", k.known+"="+host.URL)
		} else {
			base = host.URL
			args = append(args, "-host", string(k.kind)+"="+host.URL)
		}
		p := &watched{chance: luck, kind: k.kind, host: host, told: map[string][]string{}, doing: "at first"}
		for at, repo := range []string{"app", "moved"} {
			p.repos[at] = k.owner + "/" + repo
			p.places[at] = base + k.path + p.repos[at] + ".git"
			ids, err := host.AddRepository(forgetest.Repository{Name: p.repos[at], Commits: []forgetest.Commit{{Files: map[string]string{"a": "b"}}}})
			if err != nil {
				t.Fatal(err)
			}
			p.commits[at] = ids[0]
			p.byHand[at] = host.AddHook(p.repos[at], "octocat", forgetest.Hook{URL: "https://ci.example.com/webhooks?t=other&v=1", Active: true, Secret: "whsec_MadeByHand00000000000001"})
		}
		host.Inject(forgetest.Fault{Do: slow.do})
		all, tokens = append(all, p), append(tokens, k.token.Value)
	}
	s := serve(t, args...)
	start := func() {
		t.Helper()
		s.start()
		between.to.Store(mustURL(t, s.url))
	}
	between.to.Store(mustURL(t, s.url))
	for i, p := range all {
		p.server = s
		if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{
			ServerType: api.ServerType(p.kind), AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: tokens[i],
		}); err != nil {
			t.Fatal(err)
		}
	}

	type figures struct{ acknowledged, cut, done int } // done of those that were cut
	seen := map[string]*figures{}
	for range kills {
		for _, p := range all {
			if !p.is.project {
				s.projectOf(p.name(), p.source())
				p.is.project = true
			}
			p.choose()
		}
		c := s.client()
		answers := make([]error, len(all))
		var calls sync.WaitGroup
		for i, p := range all {
			calls.Go(func() { answers[i] = p.do(c) }) // ends soon after the kill
		}
		<-time.After(time.Duration(2_000+luck.below(100_000)) * time.Microsecond)
		s.kill()
		calls.Wait()
		// Either the time passes after which a call is in doubt no more, or what
		// was cut is done again before that, or at that very time.
		passes, first := luck.below(3) > 0, luck.below(2) > 0
		if passes {
			wait(t, "the end of what the providers were asked", func() bool { return slow.busy.Load() == 0 })
			s.passes(3 * time.Minute)
		}
		start()
		if passes && first {
			s.caughtUp()
		}
		for i, p := range all {
			f := seen[string(p.kind)+", "+p.doing]
			if f == nil {
				f = new(figures)
				seen[string(p.kind)+", "+p.doing] = f
			}
			if refused, ok := errors.AsType[*awsjson.ResponseError](answers[i]); ok {
				p.fatalf("%v", refused)
			}
			before := p.is
			if passes && first {
				p.agree(true)
			} else if p.is, _ = p.read(); p.secret != "" { // whichever the provider has
				p.brings(p.hook())
			}
			switch {
			case answers[i] == nil:
				f.acknowledged++
				p.took()
			case p.is == before: // which a rotation does not change
				f.cut++
			case p.is == p.then:
				f.cut++
				f.done++
			default:
				p.fatalf("it was cut, Corbel knew %+v and knows %+v, and that should be %+v", before, p.is, p.then)
			}
			if answers[i] != nil {
				p.again()
			}
		}
		if passes {
			s.caughtUp()
		}
		for _, p := range all {
			p.agree(passes)
			p.took()
		}
	}
	s.kill()
	s.passes(3 * time.Minute)
	start()
	s.caughtUp()
	for _, p := range all {
		p.doing = "at last"
		p.agree(true)
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%s: %d acknowledged, %d cut, of which %d were done", name, seen[name].acknowledged, seen[name].cut, seen[name].done)
	}
	for _, token := range tokens {
		findPlanted(t, s.data, [][]byte{[]byte(token.Reveal())})
	}
}
