package credential

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// A provider answers a check by what the test sets.
type provider struct {
	forge.Hooks // nil: nothing here makes hooks

	mu     sync.Mutex
	answer func(host string, token forge.Token) (forge.Check, error)
	asked  []string // hosts
	told   chan struct{}
}

func (p *provider) CheckCredential(_ context.Context, h forge.Host, t forge.Token) (forge.Check, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, h.Name)
	if p.told != nil {
		p.told <- struct{}{}
	}
	return p.answer(h.Name, t)
}

func (p *provider) CheckRepository(context.Context, forge.Host, forge.Token, string) (forge.Abilities, error) {
	return forge.Abilities{}, errors.New("not asked for in these tests")
}

func (p *provider) SetStatus(context.Context, forge.Host, forge.Token, string, forge.Status) error {
	return errors.New("not asked for in these tests")
}

func refusal(host string) error {
	return &forge.Error{Kind: forge.ErrRefused, Host: host, Text: "the token is refused"}
}

func silence(host string, after time.Duration) error {
	return &forge.Error{Kind: forge.ErrUnreachable, Host: host, Text: "asked to wait", Again: forge.Again{Worthwhile: true, After: after}}
}

// A desk is a checker with a clock and a provider in the test's hands.
type desk struct {
	*Checker
	*provider
	log bytes.Buffer
	now time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	r := resolver(t)
	d := &desk{provider: &provider{}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	r.Now = func() time.Time { return d.now }
	forges := map[api.ServerType]forge.Forge{}
	for _, s := range r.Hosts.ServerTypes() {
		forges[s] = d.provider
	}
	d.Checker = NewChecker(r, forges, time.Hour, slog.New(slog.NewTextHandler(&d.log, nil)))
	return d
}

func (d *desk) check(t *testing.T) store.Credential {
	t.Helper()
	c, err := d.Store.Credential(t.Context(), home, api.ServerTypeGITHUB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c, err = d.Store.Credential(t.Context(), home, api.ServerTypeGITHUB); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestState(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		health store.Health
		want   string
	}{
		{store.Health{State: Valid}, Valid},
		{store.Health{State: Valid, Expires: now.Add(15 * day)}, Valid},
		{store.Health{State: Valid, Expires: now.Add(14 * day)}, Expiring},
		{store.Health{State: Insufficient, Expires: now.Add(day)}, Expiring},
		{store.Health{State: Insufficient}, Insufficient},
		{store.Health{State: Valid, Expires: now}, Expired},
		{store.Health{State: Unverified, Expires: now.Add(-day)}, Expired},
		{store.Health{State: Revoked, Expires: now.Add(day)}, Revoked},
		{store.Health{State: Unverified}, Unverified},
	} {
		if got := State(c.health, now); got != c.want {
			t.Errorf("State(%+v) = %s, want %s", c.health, got, c.want)
		}
	}
}

// A token with several hosts is good if one takes it, and refused only if all
// answered.
func TestAsk_SeveralHosts(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if err := d.Hosts.Set([]string{"GITHUB_ENTERPRISE=https://a.example.com", "GITHUB_ENTERPRISE=https://b.example.com"}); err != nil {
		t.Fatal(err)
	}
	good := func(string) (forge.Check, error) { return forge.Check{Login: "mona", Remaining: -1}, nil }
	no := func(h string) (forge.Check, error) { return forge.Check{}, refusal(h) }
	quiet := func(h string) (forge.Check, error) { return forge.Check{}, silence(h, 0) }
	for _, c := range []struct {
		name  string
		a, b  func(string) (forge.Check, error)
		state string
		host  string
		err   error
	}{
		{"both take it", good, good, Valid, "a.example.com", nil},
		{"the second takes it", no, good, Valid, "b.example.com", nil},
		{"one is silent", quiet, good, Valid, "b.example.com", nil},
		{"both refuse", no, no, Revoked, "a.example.com", forge.ErrRefused},
		{"one refuses, one is silent", no, quiet, Unverified, "", forge.ErrUnreachable},
	} {
		d.answer = func(host string, _ forge.Token) (forge.Check, error) {
			if host == "a.example.com" {
				return c.a(host)
			}
			return c.b(host)
		}
		h, err := d.Ask(t.Context(), api.ServerTypeGITHUB_ENTERPRISE, forge.Token{Value: "ghp_x"})
		if h.State != c.state || h.Host != c.host || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %s by %s, %v", c.name, h, err, c.state, c.host, c.err)
		}
	}
	if h, err := d.Ask(t.Context(), "SVN", forge.Token{}); err != nil || h.State != Unverified {
		t.Errorf("a server type that nobody checks: %+v, %v", h, err)
	}
}

// What a check finds is kept; what it did not find out changes nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	expires := d.now.Add(90 * day)
	d.answer = func(string, forge.Token) (forge.Check, error) {
		return forge.Check{Login: "mona", Kind: forge.Classic, Scopes: []string{"gist"}, Missing: []string{"repo"}, Purpose: map[string]string{"repo": "clone"}, Expires: expires, Remaining: 7}, nil
	}
	c := d.check(t)
	if h := c.Health; h.State != Insufficient || h.Login != "mona" || h.Kind != "classic" || h.Purpose["repo"] != "clone" || *h.Remaining != 7 || !h.Checked.Equal(d.now) {
		t.Errorf("after an answer: %+v", h)
	}
	if wait := c.NextCheck.Sub(d.now); wait < 54*time.Minute || wait > 66*time.Minute {
		t.Errorf("the next check is in %v, want an hour and a tenth at most", wait)
	}
	at := d.now
	d.now = d.now.Add(time.Hour)
	d.answer = func(h string, _ forge.Token) (forge.Check, error) { return forge.Check{}, silence(h, 40*time.Minute) }
	c = d.check(t)
	if h := c.Health; h.State != Insufficient || h.Login != "mona" || !h.Checked.Equal(at) || !strings.Contains(h.Detail, "not checked again") {
		t.Errorf("after silence: %+v", h)
	}
	if wait := c.NextCheck.Sub(d.now); wait != 40*time.Minute {
		t.Errorf("a provider that wants 40 minutes is asked again in %v", wait)
	}
	d.answer = func(h string, _ forge.Token) (forge.Check, error) { return forge.Check{}, refusal(h) }
	if h := d.check(t).Health; h.State != Revoked || h.Login != "mona" || !h.Expires.Equal(expires) {
		t.Errorf("after a refusal: %+v", h)
	}
	use, err := d.Store.CredentialUse(t.Context(), home, c.ARN)
	if err != nil || use.Purpose != ForCheck || use.Host != "github.com" {
		t.Errorf("the use is %+v, %v", use, err)
	}
}

// People hear of a token's end 14, 7 and 1 days before, once each.
func TestCheck_NoticesEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	end := d.now.Add(20 * day)
	d.answer = func(string, forge.Token) (forge.Check, error) { return forge.Check{Expires: end, Remaining: -1}, nil }
	var heard []float64
	for ; d.now.Before(end.Add(day)); d.now = d.now.Add(6 * time.Hour) {
		before := d.log.Len()
		d.check(t)
		if strings.Contains(d.log.String()[before:], "ends soon") {
			heard = append(heard, end.Sub(d.now).Hours()/24)
		}
	}
	if len(heard) != 3 || heard[0] != 14 || heard[1] != 7 || heard[2] != 1 {
		t.Errorf("notices came %v days before the end, want 14, 7 and 1", heard)
	}
	end = d.now.Add(10 * day) // replaced by one that ends later, but soon
	d.check(t)
	if c := d.check(t); c.Health.Noticed != 14 {
		t.Errorf("of the new token notice was given at %d days, want 14", c.Health.Noticed)
	}
	if strings.Contains(d.log.String(), "token-of") {
		t.Error("the log shows the token")
	}
}

// Run checks what is due, and at once what a build was refused with.
func TestRun(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.told = make(chan struct{}, 100)
	d.answer = func(string, forge.Token) (forge.Check, error) { return forge.Check{Remaining: -1}, nil }
	c, err := d.Store.Credential(t.Context(), home, api.ServerTypeBITBUCKET)
	if err != nil {
		t.Fatal(err)
	}
	c.NextCheck = d.now.Add(-time.Minute)
	if err := d.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutHealth(t.Context(), c) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }() // ends with cancel
	<-d.told
	src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
	a, err := d.Resolve(t.Context(), home, src, src)
	if err != nil {
		t.Fatal(err)
	}
	a.Refused(t.Context())
	<-d.told
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) != 2 || d.asked[0] != "bitbucket.org" || d.asked[1] != "github.com" {
		t.Errorf("asked %v, want bitbucket.org, which was due, then github.com", d.asked)
	}
}

// A credential that was replaced while the provider was asked about the old
// token keeps the new one's health.
func TestCheck_LosesAgainstImport(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c, err := d.Store.Credential(t.Context(), home, api.ServerTypeGITHUB)
	if err != nil {
		t.Fatal(err)
	}
	d.answer = func(h string, _ forge.Token) (forge.Check, error) {
		newer := c
		newer.Generation++
		newer.Health = store.Health{State: Valid}
		if err := d.Store.Update(t.Context(), func(tx store.Tx) error { return tx.PutCredential(t.Context(), newer) }); err != nil {
			t.Error(err)
		}
		return forge.Check{}, refusal(h)
	}
	if _, err := d.Check(t.Context(), c); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Check: %v, want ErrNotFound", err)
	}
	if c, err = d.Store.Credential(t.Context(), home, api.ServerTypeGITHUB); err != nil || c.Health.State != Valid {
		t.Errorf("the new token's state is %s, %v", c.Health.State, err)
	}
}

// A secret stands for a token only if it is whole and for the source's
// provider.
func TestSecret(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:hub-AbCdEf"
	text := ""
	r.Secret = func(_ context.Context, _ store.Scope, asked string) (api.Secret, error) {
		if asked != arn {
			return "", errors.New("there is no such secret")
		}
		return api.Secret(text), nil
	}
	auth := &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER, Resource: new(arn)}
	src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r"), Auth: auth}
	use := func(src *api.ProjectSource) (forge.Token, *Access, error) {
		t.Helper()
		a, err := r.Resolve(t.Context(), home, src, src)
		if err != nil {
			t.Fatal(err)
		}
		token, err := a.Token(t.Context(), ForSource)
		return token, a, err
	}
	text = `{"ServerType":"GITHUB","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"ghp_OfSecret"}`
	token, a, err := use(src)
	if err != nil || token.Value.Reveal() != "ghp_OfSecret" || token.Auth != api.AuthTypePERSONAL_ACCESS_TOKEN || a.Origin != Source || a.Key() != arn {
		t.Errorf("a good secret: %+v %+v, %v", token, a, err)
	}
	var mendable *Problem
	for bad, words := range map[string]string{
		"ghp_NotJSON": "not a JSON object", `["ghp_x"]`: "not a JSON object", `{"ServerType":1}`: "not a JSON object",
		`{}`: "lacks", `{"ServerType":"GITHUB","Token":"ghp_x"}`: "lacks", `{"ServerType":"GITHUB","AuthType":"PERSONAL_ACCESS_TOKEN","Token":""}`: "lacks",
		`{"ServerType":"BITBUCKET","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"ghp_x"}`: "not for server type GITHUB",
		`{"ServerType":"GITHUB","AuthType":"BASIC_AUTH","Token":"ghp_x"}`:               "AuthType that is not valid",
	} {
		text = bad
		if _, _, err := use(src); !errors.As(err, &mendable) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "ghp_") {
			t.Errorf("secret %s: %v, want a problem that says %q and no token", bad, err, words)
		}
	}
	text = `{"ServerType":"BITBUCKET","AuthType":"BASIC_AUTH","Token":"ATBBx","Username":"bob"}`
	bucket := &api.ProjectSource{Type: api.SourceTypeBITBUCKET, Location: new("https://bitbucket.org/o/r"), Auth: auth}
	if token, _, err := use(bucket); err != nil || token.User != "bob" {
		t.Errorf("BASIC_AUTH: %+v, %v", token, err)
	}
	text = `{"ServerType":"BITBUCKET","AuthType":"BASIC_AUTH","Token":"ATBBx"}`
	if _, _, err := use(bucket); !errors.As(err, &mendable) || !strings.Contains(err.Error(), "Username") {
		t.Errorf("BASIC_AUTH without a user: %v", err)
	}

	// What comes first counts: the source, then the project, then the account.
	text = `{"ServerType":"GITHUB","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"ghp_OfSecret"}`
	plain := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
	none := &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Auth: auth}
	oauth := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r"), Auth: &api.SourceAuth{Type: api.SourceAuthTypeOAUTH}}
	for _, c := range []struct {
		src, primary *api.ProjectSource
		want         Origin
	}{{plain, plain, Account}, {plain, none, Project}, {src, none, Source}, {oauth, none, Account}, {oauth, oauth, Account}} {
		a, err := r.Resolve(t.Context(), home, c.src, c.primary)
		if err != nil || a.Origin != c.want {
			t.Errorf("auth %+v beside %+v: %+v, %v; want %s", c.src.Auth, c.primary.Auth, a, err, c.want)
		}
	}
}

// A deleted credential is of no use to those who resolved it before.
func TestToken_AfterDelete(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
	a, err := r.Resolve(t.Context(), home, src, src)
	if err != nil {
		t.Fatal(err)
	}
	authorize := a.Authorize(ForSource)
	if _, err := authorize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteCredential(t.Context(), home, api.ServerTypeGITHUB) }); err != nil {
		t.Fatal(err)
	}
	if header, err := authorize(t.Context()); err == nil || header != "" {
		t.Errorf("after the deletion: %v", err)
	}
}
