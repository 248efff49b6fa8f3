package corbel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	tabpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// targets are the tabs that the browser has, of every test.
func targets(ctx context.Context) (map[target.ID]*target.Info, error) {
	all, err := chromedp.Targets(ctx)
	by := map[target.ID]*target.Info{}
	for _, i := range all {
		by[i.TargetID] = i
	}
	return by, err
}

// opens is the tab that opens when something is done, as soon as it has gone
// somewhere.
func (b *tab) opens(do func()) *tab {
	b.t.Helper()
	before, err := targets(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	profile := before[b.target()].BrowserContextID
	do()
	var opened target.ID
	b.try("another tab opens", func(ctx context.Context) error {
		now, err := targets(ctx)
		for id, i := range now {
			if before[id] == nil && i.Type == "page" && i.BrowserContextID == profile && strings.HasPrefix(i.URL, "http") {
				opened = id
				return nil
			}
		}
		return errors.Join(err, errors.New("there is none"))
	})
	return openTab(b.t, b.ctx, b.at, b.front, chromedp.WithTargetID(opened))
}

// answers signs in at a provider and lets Corbel in, or not.
func (b *tab) answers(login, answer string) {
	b.t.Helper()
	b.fill("Username", login)
	b.click("button", answer)
}

// consents answers, and waits until that has led back to the console. The
// browser tells; the page, which changes its process twice on the way, may
// answer nothing more if it is asked meanwhile.
func (b *tab) consents(login, answer string) {
	b.t.Helper()
	b.answers(login, answer)
	b.try("come back from the provider", func(ctx context.Context) error {
		now, err := targets(ctx)
		if err != nil {
			return err
		}
		if at := now[b.target()].URL; !strings.HasPrefix(at, b.at+"credentials") && !strings.Contains(at, "&here=1") {
			return fmt.Errorf("the address is %s", at)
		}
		return nil
	})
}

// An oauthConsole is a server that is an app at a provider which asks people
// for their consent. For a browser the provider is another site, as it is in
// life: cookies tell the names of hosts apart, and not ports.
type oauthConsole struct {
	*server
	host *forgetest.Server
	app  forgetest.OAuthApp
}

func newOAuthConsole(t *testing.T, known string, server api.ServerType, dialect *forgetest.Dialect) *oauthConsole {
	t.Helper()
	c := &oauthConsole{host: newOAuthHost(t, dialect)}
	c.host.URL = strings.Replace(c.host.URL, "127.0.0.1", "localhost", 1)
	if _, err := c.host.AddRepository(forgetest.Repository{Name: "octo/app", Commits: []forgetest.Commit{{Files: map[string]string{"x": "y"}}}}); err != nil {
		t.Fatal(err)
	}
	c.server = serve(t, "-builds", "0", "-host", known+"="+c.host.URL, "-oauth", string(server)+"=Iv1.corbel,secret="+secretFile(t))
	c.app = c.server.app()
	c.registers(func(a *forgetest.OAuthApp) { a.Ask = true })
	return c
}

func newGitHubConsole(t *testing.T) *oauthConsole {
	t.Helper()
	return newOAuthConsole(t, "github.com", api.ServerTypeGITHUB, &forgetest.GitHub)
}

// registers changes what the provider knows of the app.
func (c *oauthConsole) registers(change func(*forgetest.OAuthApp)) {
	change(&c.app)
	c.host.AddOAuthApp(c.app)
}

// secrets are what may show nowhere: the app's secret, what was given out for
// it, and what the two exchanged.
func (c *oauthConsole) secrets() [][]byte {
	c.t.Helper()
	list := [][]byte{[]byte(oauthSecret)}
	for _, token := range c.host.OAuthTokens() {
		list = append(list, []byte(token.Reveal()))
	}
	for _, r := range c.host.Requests() {
		if form, err := url.ParseQuery(string(r.Body)); err == nil {
			for _, name := range []string{"code_verifier", "device_code"} {
				if v := form.Get(name); v != "" {
					list = append(list, []byte(v))
				}
			}
			if v := form.Get("code"); form.Has("grant_type") && v != "" {
				list = append(list, []byte(v))
			}
		}
	}
	if len(list) < 2 {
		c.t.Error("nothing was given out")
	}
	return list
}

// showsNothing fails if a secret is in a page, the data, the log or the audit log.
func (c *oauthConsole) showsNothing(tabs ...*tab) {
	c.t.Helper()
	secrets := c.secrets()
	for _, b := range tabs {
		b.holdsNo(secrets...)
		history, err := chromedp.Call(b.ctx, tabpage.GetNavigationHistory, cdp.Empty{})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range history.Entries {
			if strings.Contains(e.URL, "code=") {
				c.t.Errorf("the history has %s", e.URL)
			}
		}
		if from := evaluate[string](b, `document.referrer`); strings.Contains(from, "code=") {
			c.t.Errorf("the page knows that it comes from %s", from)
		}
	}
	c.keptNowhere(secrets)
	records := c.must(corbel(c.t), "audit", "list", "-output", "json", "-data", c.data)
	for _, s := range secrets {
		if strings.Contains(records, string(s)) {
			c.t.Errorf("the audit log has %.4s...", s)
		}
	}
}

// connected fails unless the one credential is by OAuth, of a user.
func (c *oauthConsole) connected(server api.ServerType, user string) health {
	c.t.Helper()
	h := c.health()
	if h.AuthType != "OAUTH" || h.User != user || h.State == "REVOKED" || !strings.HasSuffix(h.Arn, ":token/"+strings.ToLower(string(server))) {
		c.t.Errorf("the credential is %+v", h)
	}
	return h
}

// People connect by each provider's own page, while they create a project and
// on the page of the credentials. The page where they began goes on by itself,
// with what was typed; the one they come back to says what became of it.
func TestConsole_OAuthWeb(t *testing.T) {
	t.Parallel()
	for known, p := range map[string]struct {
		name    string
		server  api.ServerType
		dialect *forgetest.Dialect
		scopes  string
	}{
		"github.com":    {"GitHub", api.ServerTypeGITHUB, &forgetest.GitHub, "repo, admin:repo_hook"},
		"bitbucket.org": {"Bitbucket", api.ServerTypeBITBUCKET, &forgetest.Bitbucket, "account, repository:write, pullrequest, webhook"},
		"gitlab.com":    {"GitLab", api.ServerTypeGITLAB, &forgetest.GitLab, "api, read_repository"},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			c := newOAuthConsole(t, known, p.server, p.dialect)
			b := c.consoleOf(t, "create-project")
			requests := b.requests()
			b.fill("Project name", "app")
			b.fill("Description*", "typed before")
			b.choose("Source provider", p.name)
			b.click("radio", "Connect using OAuth")
			there := b.opens(func() { b.click("button", "Connect to "+p.name) })
			there.reads("Let Iv1.corbel in", "It asks for: "+p.scopes)
			if opener := evaluate[bool](there, `!!window.opener`); opener {
				t.Error("the provider's page has a hold of the console's")
			}
			b.reads("Go on at "+known, "Waiting for your answer.")
			there.consents("hubot", "Allow")
			there.find("heading", "Source credentials")
			there.reads("Connected to "+p.name, "you can close this one")
			h := c.connected(p.server, "hubot")
			there.reads(h.Arn, "hubot", "OAuth")
			if len(h.MissingScopes) > 0 {
				t.Errorf("the scopes %v are missing", h.MissingScopes)
			}

			b.find("heading", "Connected to "+p.name)
			b.arrives("/console/create-project")
			b.reads("hubot", "OAuth")
			if name, description := b.value("textbox", "Project name"), b.value("textbox", "Description*"); name != "app" || description != "typed before" {
				t.Errorf("of what was typed there is %q and %q", name, description)
			}
			// No command of the AWS CLI connects so.
			b.click("button", "As AWS CLI and Terraform*")
			b.reads("# " + string(p.server) + " is connected by OAuth")
			b.readsNot("import-source-credentials")
			b.chooseRepository("app", "octo/app*")
			b.click("button", "Create build project")
			b.find("heading", "app")
			if out := c.must(corbel(t), "credentials", "resolve", "app", "--output", "json"); !strings.Contains(out, h.Arn) {
				t.Errorf("the project uses %s", out)
			}
			c.showsNothing(b, there)

			b.goTo("credentials")
			b.click("button", "Delete")
			b.in("dialog", "Disconnect "+p.name+"?").click("button", "Disconnect")
			b.reads("Nothing is connected")
			b.click("button", "Connect")
			dialog := b.in("dialog", "Connect a source provider")
			dialog.choose("Source provider", p.name)
			there = b.opens(func() { dialog.click("button", "Connect to "+p.name) })
			there.consents("mona", "Allow")
			b.gone("dialog", "*")
			b.arrives("/console/credentials")
			b.reads("Connected to "+p.name, "mona", h.Arn)
			c.connected(p.server, "mona")
			there.reads("Connected to "+p.name, "mona")
			c.showsNothing(b, there)
			for _, r := range requests() {
				for _, token := range c.host.OAuthTokens() {
					if text := fmt.Sprint(r.Request, r.DocumentURL); strings.Contains(text, token.Reveal()) || strings.Contains(text, oauthSecret) {
						t.Errorf("a secret is in the request %s", r.Request.URL)
					}
				}
			}
		})
	}
}

// Who says no at the provider is told so in both tabs, and can begin again; so
// can who thinks better of it here.
func TestConsole_OAuthDenied(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	b := c.console("credentials")
	b.click("button", "Connect")
	dialog := b.in("dialog", "Connect a source provider")
	there := b.opens(func() { dialog.click("button", "Connect to GitHub") })
	there.expects(refused)
	there.consents("hubot", "Deny")
	const words = "The connection was declined at github.com. Nothing is connected"
	there.find("heading", "Not connected")
	there.reads(words)
	b.reads("Not connected", words)
	dialog.find("alert", "*")
	there.click("link", "Continue")
	there.reads("Nothing is connected", "Public repositories can be built without.")

	again := b.opens(func() { dialog.click("button", "Connect to GitHub") })
	b.readsNot(words)
	again.reads("Let Iv1.corbel in")
	dialog.click("button", "Cancel")
	dialog.find("button", "Connect to GitHub")
	dialog.find("button", "Connect with a code")

	last := b.opens(func() { dialog.click("button", "Connect to GitHub") })
	last.consents("hubot", "Allow")
	b.gone("dialog", "*")
	c.connected(api.ServerTypeGITHUB, "hubot")
	c.showsNothing(b, there, last)
}

// A code is shown and entered at the provider, and the page goes on by itself:
// whether it was let in, denied, or nobody entered it.
func TestConsole_OAuthDevice(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	b := c.console("create-project")
	b.fill("Project name", "app")
	enters := func(answer string) {
		t.Helper()
		there := b.opens(func() { b.click("link", c.host.URL+"/login/device*") })
		there.fill("Code", evaluate[string](b, `document.body.innerText.match(/\b[A-Z2-7]{4}-[A-Z2-7]{4}\b/)[0]`))
		there.answers("hubot", answer)
		there.reads("Thank you")
	}

	b.click("button", "Connect with a code")
	b.reads("Enter this code at github.com", "Waiting until you have entered it.", "minutes.")
	enters("Deny")
	b.reads("Not connected", "The connection was declined at github.com. Nothing is connected")

	c.registers(func(a *forgetest.OAuthApp) { a.CodeLife = 2 * time.Second })
	b.click("button", "Connect with a code")
	b.reads("Nobody entered the code at github.com in time. Connect again for another one")
	b.readsNot("The connection was declined at")
	b.readsNot("Enter this code")

	c.registers(func(a *forgetest.OAuthApp) { a.CodeLife = 0 })
	b.click("button", "Connect with a code")
	enters("Allow")
	b.find("heading", "Connected to GitHub")
	b.reads("hubot", "OAuth")
	if got := b.value("textbox", "Project name"); got != "app" {
		t.Errorf("of what was typed there is %q", got)
	}
	c.connected(api.ServerTypeGITHUB, "hubot")
	c.showsNothing(b)
}

// An app that the provider knows otherwise is told of in words for whoever runs
// the server, in both tabs; one that may too little, by the scopes it lacks.
func TestConsole_OAuthMisconfigured(t *testing.T) {
	t.Parallel()
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		c := newGitHubConsole(t)
		b := c.consoleOf(t, "create-project")
		b.expects(refused)
		c.registers(func(a *forgetest.OAuthApp) { a.Secret, a.NoDevice = "another", true })
		there := b.opens(func() { b.click("button", "Connect to GitHub") })
		there.expects(refused)
		there.consents("hubot", "Allow")
		words := "it refuses the OAuth app (incorrect_client_credentials). Check the client id, the file of its secret, and the callback address " + c.url + "/console/oauth/callback"
		there.find("heading", "Not connected")
		there.reads(words)
		b.reads("Not connected", words)
		b.click("button", "Connect with a code")
		b.reads("it has no device flow for the OAuth app. Switch it on in the app's settings there, or connect without a code")
		b.find("button", "Connect to GitHub")
		if list := c.credentials(needs(t, "aws")); len(list) != 0 {
			t.Errorf("the credentials are %v", list)
		}

		// The provider may not even lead back.
		c.registers(func(a *forgetest.OAuthApp) { a.Callback = "https://corbel.example.com/console/oauth/callback" })
		lost := b.opens(func() { b.click("button", "Connect to GitHub") })
		lost.expects(refused)
		lost.reads("unknown app, or the callback address is not the registered one")
		b.click("button", "Cancel")
		b.find("button", "Connect to GitHub")
		c.keptNowhere([][]byte{[]byte(oauthSecret)})
	})
	t.Run("Bitbucket", func(t *testing.T) {
		t.Parallel()
		c := newOAuthConsole(t, "bitbucket.org", api.ServerTypeBITBUCKET, &forgetest.Bitbucket)
		b := c.consoleOf(t, "credentials")
		c.registers(func(a *forgetest.OAuthApp) { a.Scopes = []string{"account"} })
		b.click("button", "Connect")
		dialog := b.in("dialog", "Connect a source provider")
		dialog.choose("Source provider", "Bitbucket")
		there := b.opens(func() { dialog.click("button", "Connect to Bitbucket") })
		there.consents("hubot", "Allow")
		b.gone("dialog", "*")
		for _, m := range c.connected(api.ServerTypeBITBUCKET, "hubot").MissingScopes {
			b.reads(m.Scope + " is needed to " + m.NeededFor)
		}
		b.reads("Scopes are missing", "The settings of the OAuth app at bitbucket.org may leave them out. Choose Replace, and connect again.")
		b.readsNot("Make a new token")

		c.registers(func(a *forgetest.OAuthApp) { a.Scopes = c.server.app().Scopes })
		b.click("button", "Replace")
		dialog = b.in("dialog", "Replace the credential of Bitbucket")
		there = b.opens(func() { dialog.click("button", "Connect to Bitbucket") })
		there.consents("hubot", "Allow")
		b.gone("dialog", "*")
		b.readsNot("Scopes are missing")

		c.host.RevokeOAuth()
		b.click("button", "Check now")
		b.reads("Refused by the provider", "Choose Replace, and connect again.")
		b.readsNot("Make a new token")
	})
}

// Where the server is no app there is no button that could only fail.
func TestConsole_OAuthNotConfigured(t *testing.T) {
	t.Parallel()
	host := newOAuthHost(t, &forgetest.GitHub)
	with := strings.TrimPrefix(host.URL, "http://")
	s := serve(t, "-builds", "0", "-host", "GITHUB_ENTERPRISE=http://127.0.0.1:1", "-host", "GITHUB_ENTERPRISE="+host.URL, "-oauth", with+"=Iv1.corbel,secret="+secretFile(t))
	app := s.app()
	app.Ask = true
	host.AddOAuthApp(app)
	b := s.console("create-project")
	for _, name := range []string{"GitHub", "Bitbucket", "GitLab"} {
		b.choose("Source provider", name)
		b.find("radio", "Connect with a "+name+"*")
		if b.has("radio", "*OAuth*") || b.has("button", "Connect*") {
			t.Errorf("%s can be connected with OAuth, which nobody configured", name)
		}
	}
	// Of two hosts the one with an app is connected.
	b.choose("Source provider", "GitHub Enterprise")
	b.find("radio", "Connect using OAuth")
	there := b.opens(func() { b.click("button", "Connect to GitHub Enterprise") })
	b.reads("Go on at " + with)
	there.consents("hubot", "Allow")
	b.find("heading", "Connected to GitHub Enterprise")
	b.reads("hubot")
}

// A key that may not connect hears so, and the tab that was to be the
// provider's is closed again.
func TestConsole_OAuthForbidden(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["corbel:Describe*"],"Resource":"*"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := strings.Fields(c.must(corbel(t), "keys", "create", "-user", "reader", "-policy", file, "-data", c.data))
	b := newTab(t, c.url+"/console/")
	b.expects(refused)
	b.signIn(pair[0], pair[1], "create-project")
	b.click("button", "Connect to GitHub")
	b.reads("Not connected", "Your access key may not do this.", "corbel:StartOAuth")
	b.find("button", "Connect to GitHub")
	b.try("one tab is left", func(ctx context.Context) error {
		now, err := targets(ctx)
		if err != nil {
			return err
		}
		for id, i := range now {
			if id != b.target() && i.Type == "page" && i.BrowserContextID == now[b.target()].BrowserContextID {
				return fmt.Errorf("another is at %s", i.URL)
			}
		}
		return nil
	})
}

// Two tabs connect at the same time, and each goes on when it was answered for.
func TestConsole_OAuthTwoTabs(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	b := c.console("create-project")
	other := b.another()
	other.goTo("credentials")
	other.click("button", "Connect")
	dialog := other.in("dialog", "Connect a source provider")
	there := b.opens(func() { b.click("button", "Connect to GitHub") })
	elsewhere := other.opens(func() { dialog.click("button", "Connect to GitHub") })

	elsewhere.consents("mona", "Allow")
	other.gone("dialog", "*")
	other.reads("mona")
	evaluate[bool](b, `dispatchEvent(new Event("visibilitychange"))`) // somebody looks at it again
	b.find("heading", "Connected to GitHub")                          // which is the account's, and not the tab's
	b.reads("mona")

	there.consents("hubot", "Allow")
	there.reads("Connected to GitHub", "hubot")
	c.connected(api.ServerTypeGITHUB, "hubot")
	other.goTo("credentials")
	other.reads("hubot")
	c.showsNothing(b, other, there, elsewhere)
}

// A browser that keeps pages from opening tabs is told of, with a link in the
// place of the tab. What is connected belongs to the region of the page where
// it was begun, and who comes back sees it, whatever region the session is of.
func TestConsole_OAuthBlocked(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	b := c.console("create-project?region=eu-west-1")
	evaluate[int](b, `(window.open = () => null, 1)`) // as a blocker has it
	b.click("button", "Connect to GitHub")
	b.reads("The browser opened no tab for it.")
	there := b.opens(func() { b.click("link", "Open github.com*") })
	there.consents("hubot", "Allow")
	there.reads("Connected to GitHub", ":codebuild:eu-west-1:", "hubot")
	b.find("heading", "Connected to GitHub")
	b.reads("hubot")
	c.showsNothing(b, there)
}

// A session that ends while somebody is at the provider connects nothing. The
// page where it began says so, keeps what was typed, and begins again.
func TestConsole_OAuthSessionEnds(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	key := c.client()
	b := c.console("create-project")
	b.expects("the server responded with a status of 40") // calls without a session
	b.fill("Project name", "typed")
	there := b.opens(func() { b.click("button", "Connect to GitHub") })
	there.expects("the server responded with a status of 40")
	other := b.another()
	other.expects("the server responded with a status of 40")
	other.goTo("projects")
	other.click("button", "Account of*")
	other.click("menuitem", "Sign out")
	other.find("button", "Sign in")

	ended := b.in("dialog", "Your session has ended")
	ended.find("heading", "Your session has ended")
	there.consents("hubot", "Allow")
	there.find("heading", "Not connected")
	there.reads("You are not signed in any more. Sign in, and connect again.")
	there.click("link", "Continue")
	there.ledToSignIn()
	there.fillSignIn(key.AccessKeyID, key.Secret.Reveal())
	there.arrives("/console/credentials")
	there.reads("Nothing is connected")

	ended.click("button", "I have signed in again")
	b.gone("dialog", "Your session has ended")
	b.reads("Not connected", "The server waits for this connection no more", "Connect again")
	there = b.opens(func() { b.click("button", "Connect to GitHub") })
	there.consents("hubot", "Allow")
	b.find("heading", "Connected to GitHub")
	if got := b.value("textbox", "Project name"); got != "typed" {
		t.Errorf("of what was typed there is %q", got)
	}
	c.connected(api.ServerTypeGITHUB, "hubot")
	c.showsNothing(b, there)
}

// A server that is started again knows no connection that was begun: the page
// says so, instead of a wait without end.
func TestConsole_OAuthRestarted(t *testing.T) {
	t.Parallel()
	c := newGitHubConsole(t)
	p := newBetween(t, c.server, (*httptest.Server).Start, "")
	b := newTab(t, p.URL+"/console/")
	b.expects("Failed to load resource")
	key := c.client()
	b.signIn(key.AccessKeyID, key.Secret.Reveal(), "create-project")
	b.click("button", "Connect with a code")
	b.reads("Waiting until you have entered it.")
	c.kill()
	c.start()
	p.to.Store(mustURL(t, c.url))
	b.reads("Not connected", "The server waits for this connection no more: it was started again")
	b.readsNot("Enter this code")
	b.find("button", "Connect with a code")
}

// Everybody can use every state of a connection, in light and dark, on a desk
// and in a hand.
func TestConsole_OAuthEveryLook(t *testing.T) {
	t.Parallel()
	axe := axeSource(t)
	c := newGitHubConsole(t)
	looks := func(b *tab, as string) {
		t.Helper()
		b.accessible(axe, as)
		b.look("dark", 390)
		b.accessible(axe, as+" in dark, narrow")
		b.look("light", 1280)
	}
	b := c.console("create-project")
	b.expects(refused)
	b.find("button", "Connect to GitHub")
	looks(b, "the choice in the form")
	there := b.opens(func() { b.click("button", "Connect to GitHub") })
	there.expects(refused)
	b.reads("Go on at github.com")
	looks(b, "the wait in the form")
	there.consents("hubot", "Deny")
	there.find("heading", "Not connected")
	looks(there, "the page of a denial")
	b.reads("The connection was declined at")
	looks(b, "a denial in the form")
	evaluate[int](b, `(window.open = () => null, 1)`)
	b.click("button", "Connect to GitHub")
	b.reads("The browser opened no tab for it.")
	looks(b, "a blocked tab")
	b.click("button", "Cancel")

	b.goTo("credentials")
	b.click("button", "Connect")
	dialog := b.in("dialog", "Connect a source provider")
	dialog.click("button", "Connect with a code")
	b.reads("Waiting until you have entered it.")
	looks(b, "a code in the dialog")
	dialog.click("button", "Cancel")
	c.registers(func(a *forgetest.OAuthApp) { a.NoDevice = true })
	dialog.click("button", "Connect with a code")
	b.reads("it has no device flow")
	looks(b, "a problem in the dialog")
	there = b.opens(func() { dialog.click("button", "Connect to GitHub") })
	b.reads("Go on at github.com")
	looks(b, "the wait in the dialog")
	there.consents("hubot", "Allow")
	there.reads("Connected to GitHub")
	there.settles()
	looks(there, "the page of who comes back")
	b.gone("dialog", "*")
	c.host.RevokeOAuth()
	b.click("button", "Check now")
	b.reads("Choose Replace, and connect again.")
	looks(b, "a connection that was revoked")
}
