package credential

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/store"
)

// An office is a checker whose credential for GitLab was connected with OAuth
// at a host that gives tokens for an hour.
type office struct {
	*Checker
	host *forgetest.Server

	mu  sync.Mutex
	now time.Time
}

func (o *office) forward(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

const appSecret = "gloas-1f0e2d3c4b5a69788796a5b4c3d2e1f0"

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.now
	}
	host, err := forgetest.New(forgetest.Options{Dialect: &forgetest.GitLab, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	o.host = host
	const callback = "http://127.0.0.1:8040/console/oauth/callback"
	host.AddOAuthApp(forgetest.OAuthApp{ID: "corbel", Secret: appSecret, Callback: callback, Life: time.Hour})
	r := resolver(t)
	r.Now = clock
	if r.Hosts, err = forge.NewHosts(providers.All, []string{"gitlab.com=" + host.URL, "GITLAB_SELF_MANAGED=https://git.example.com"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(appSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	transport := forge.Transport(r.Hosts)
	r.OAuth = &OAuth{Transport: transport, Hosts: r.Hosts, Apps: forge.OAuthApps{"GITLAB": {ID: "corbel", SecretFile: file}}, Callback: callback}
	o.Checker = NewChecker(r, r.Hosts.Forges(transport), time.Hour, slog.New(slog.DiscardHandler))

	client, err := r.OAuth.Client(api.ServerTypeGITLAB, "")
	if err != nil {
		t.Fatal(err)
	}
	verifier := oauth2.GenerateVerifier()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Get(client.Address("a-state-that-nobody-guesses", verifier))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	g, err := client.Exchange(t.Context(), back.Query().Get("code"), verifier)
	if err != nil || g.Lasts != time.Hour {
		t.Fatalf("the grant lasts %v, %v", g.Lasts, err)
	}
	if _, err := client.Exchange(t.Context(), back.Query().Get("code"), verifier); !errors.Is(err, forge.ErrRefused) {
		t.Errorf("a code that was used: %v", err)
	}
	o.put(t, func(c *store.Credential) ([]byte, error) { return SealGrant(r.Vault, *c, client.Host, g, clock()) })
	return o
}

// put replaces the credential for GitLab.
func (o *office) put(t *testing.T, seal func(*store.Credential) ([]byte, error)) {
	t.Helper()
	err := o.Store.Update(t.Context(), func(tx store.Tx) error {
		c, err := tx.Credential(t.Context(), home, api.ServerTypeGITLAB)
		if err != nil {
			return err
		}
		c.AuthType, c.Health = api.AuthTypeOAUTH, store.Health{State: Valid, Login: "octocat"}
		c.Generation++
		if c.Sealed, err = seal(&c); err != nil {
			return err
		}
		return tx.PutCredential(t.Context(), c)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (o *office) credential(t *testing.T) store.Credential {
	t.Helper()
	c, err := o.Store.Credential(t.Context(), home, api.ServerTypeGITLAB)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *office) use(t *testing.T) (forge.Token, error) {
	t.Helper()
	src := &api.ProjectSource{Type: api.SourceTypeGITLAB, Location: new("https://gitlab.com/octo/app")}
	a, err := o.Resolve(t.Context(), home, src, src)
	if err != nil {
		t.Fatal(err)
	}
	return a.Token(t.Context(), ForSource)
}

// events are the audit log's of the credential.
func (o *office) events(t *testing.T) string {
	t.Helper()
	lines, err := o.Store.AuditLines(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range lines {
		b.Write(l.Doc)
		b.WriteByte('\n')
	}
	for _, secret := range append(o.host.OAuthTokens(), appSecret) {
		if strings.Contains(b.String(), secret.Reveal()) {
			t.Error("the audit log has a token or the app's secret")
		}
	}
	return b.String()
}

// A token is renewed once before it ends, however many need it, and the next
// one is stored; also across a restart, and again and again.
func TestOAuth_Renews(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first, err := o.use(t)
	if err != nil || first.Auth != api.AuthTypeOAUTH || first.Host != "gitlab.com" {
		t.Fatalf("the token is %+v, %v", first, err)
	}
	if again, err := o.use(t); err != nil || again.Value != first.Value {
		t.Errorf("a token that lasts was renewed: %v", err)
	}
	for range 3 {
		o.forward(time.Hour - early)
		before := len(o.host.OAuthTokens())
		tokens, errs := make([]forge.Token, 32), make([]error, 32)
		var users sync.WaitGroup
		for i := range tokens {
			users.Go(func() { tokens[i], errs[i] = o.use(t) })
		}
		users.Wait()
		if err := errors.Join(errs...); err != nil || tokens[0].Value == first.Value || slices.ContainsFunc(tokens, func(x forge.Token) bool { return x.Value != tokens[0].Value }) {
			t.Fatalf("32 users got several tokens, or an error: %v", err)
		}
		if n := len(o.host.OAuthTokens()) - before; n != 2 {
			t.Errorf("the provider gave out %d tokens, want an access and a refresh token", n)
		}
		o.OAuth = &OAuth{Transport: o.OAuth.Transport, Hosts: o.Hosts, Apps: o.OAuth.Apps} // a restart
	}
	if c, err := o.Check(t.Context(), o.credential(t)); err != nil || c.Health.State != Valid || c.Health.Login != "octocat" || !c.Health.Expires.IsZero() {
		t.Errorf("a check gives %+v, %v", c.Health, err)
	}
	if n := strings.Count(o.events(t), `"event":"RenewSourceCredential"`); n != 3 {
		t.Errorf("%d renewals in the audit log, want 3", n)
	}
}

// When the provider renews no more, the credential says so.
func TestOAuth_Revoked(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.host.RevokeOAuth()
	o.forward(time.Hour)
	_, err := o.use(t)
	if _, mendable := errors.AsType[*Problem](err); !mendable || !errors.Is(err, forge.ErrRefused) || !strings.Contains(err.Error(), "Connect again") {
		t.Errorf("the use of a revoked credential: %v", err)
	}
	if c := o.credential(t); c.Health.State != Revoked || !strings.Contains(c.Health.Detail, "could not be renewed") {
		t.Errorf("its health is %+v", c.Health)
	}
	if c, err := o.Check(t.Context(), o.credential(t)); err != nil || c.Health.State != Revoked {
		t.Errorf("a check gives %+v, %v", c.Health, err)
	}
	if !strings.Contains(o.events(t), `"outcome":"Refused"`) {
		t.Error("the audit log does not say so")
	}
}

// A provider that does not answer costs nothing while the token lasts, and the
// refresh token is still good afterwards.
func TestOAuth_Unreachable(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first, err := o.use(t)
	if err != nil {
		t.Fatal(err)
	}
	o.host.BreakOAuth(true)
	o.forward(time.Hour - time.Minute)
	if token, err := o.use(t); err != nil || token.Value != first.Value {
		t.Errorf("while the token lasts: %v", err)
	}
	o.forward(time.Minute)
	if _, err := o.use(t); !errors.Is(err, forge.ErrUnreachable) || !forge.Retry(err).Worthwhile {
		t.Errorf("when it has ended: %v", err)
	}
	if c := o.credential(t); c.Health.State != Valid {
		t.Errorf("its health is %+v", c.Health)
	}
	o.host.BreakOAuth(false)
	if token, err := o.use(t); err != nil || token.Value == first.Value {
		t.Errorf("when the provider answers again: %v", err)
	}
}

// What was replaced while it was to be renewed stays as it is.
func TestOAuth_ReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	old := o.credential(t)
	o.put(t, func(c *store.Credential) ([]byte, error) {
		c.AuthType = api.AuthTypePERSONAL_ACCESS_TOKEN
		return Seal(o.Vault, *c, "", "glpat-of-somebody")
	})
	o.forward(time.Hour)
	if _, err := o.token(t.Context(), old); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("the renewal of what was replaced: %v", err)
	}
	if token, err := o.use(t); err != nil || token.Value != "glpat-of-somebody" {
		t.Errorf("the token is another: %v", err)
	}
}

// A token goes to the host that it was given by, whatever else is listed.
func TestOAuth_OneHost(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.put(t, func(c *store.Credential) ([]byte, error) {
		return SealGrant(o.Vault, *c, forge.Host{Name: "git.example.com"}, forge.Grant{Token: "gho_elsewhere"}, o.now)
	})
	if _, err := o.use(t); err == nil || !strings.Contains(err.Error(), "is not sent to gitlab.com") {
		t.Errorf("the token of another host: %v", err)
	}
	if _, err := o.Check(t.Context(), o.credential(t)); err != nil {
		t.Error(err)
	}
	if seen := o.host.Saw("gho_elsewhere"); len(seen) > 0 {
		t.Error("gitlab.com saw the token of another host")
	}
}

// Who cannot be connected with is told why.
func TestOAuth_Client(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, c := range []struct {
		server api.ServerType
		host   string
		want   string
	}{
		{api.ServerTypeGITHUB, "", "-oauth GITHUB=CLIENT_ID,secret=FILE"},
		{api.ServerTypeGITLAB, "evil.example", "is not a host of GITLAB"},
		{api.ServerTypeGITLAB_SELF_MANAGED, "", "no OAuth app"},
		{api.ServerTypeGITEA, "", "cannot be connected with OAuth"},
		{api.ServerTypeGITHUB_ENTERPRISE, "", "no host is listed"},
	} {
		if _, err := o.OAuth.Client(c.server, c.host); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s at %q: %v, want %s", c.server, c.host, err, c.want)
		}
	}
	if _, err := (*OAuth)(nil).Client(api.ServerTypeGITHUB, ""); err == nil {
		t.Error("without any app there is a client")
	}
}
