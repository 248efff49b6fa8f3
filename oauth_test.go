package corbel_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const oauthSecret = "9d1f0c7be2a84a53b6e0f1d2c3b4a5968778695a"

// secretFile is a file with the secret of the servers' app.
func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(oauthSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// app is the server as an app at a provider.
func (s *server) app() forgetest.OAuthApp {
	return forgetest.OAuthApp{ID: "Iv1.corbel", Secret: oauthSecret, Callback: s.url + "/console/oauth/callback", Scopes: []string{"account", "repository:write", "pullrequest", "webhook"}, Life: 2 * time.Hour}
}

// oauthServer is a server whose console is connected with an app at host.
func oauthServer(t *testing.T, host *forgetest.Server, known, server string) (*server, *browser) {
	t.Helper()
	s := serve(t, "-builds", "0", "-host", known+"="+host.URL, "-oauth", server+"=Iv1.corbel,secret="+secretFile(t))
	host.AddOAuthApp(s.app())
	c := s.client()
	b := newBrowser(t, s.url+"/console/")
	b.login(c.AccessKeyID, c.Secret.Reveal(), "region", c.Region)
	return s, b
}

// goTo follows an address to the provider and returns where that leads.
func (b *browser) goTo(address string) string {
	b.t.Helper()
	res, text := b.do("GET", address, "")
	if res.StatusCode != http.StatusFound {
		b.t.Fatalf("the provider says %s %s", res.Status, text)
	}
	return res.Header.Get("Location")
}

// begin starts a web flow and returns the callback that the provider leads to.
func (b *browser) begin(server string) string {
	b.t.Helper()
	status, out := b.call("Corbel_20261101.StartOAuth", `{"serverType":"`+server+`","flow":"WEB"}`)
	if status != http.StatusOK {
		b.t.Fatalf("StartOAuth: %d %v", status, out)
	}
	return b.goTo(out["authorizeUrl"].(string))
}

// People connect to each provider in the browser. What they come back with is
// stored as a credential like any other, and shows nowhere.
func TestOAuth_Web(t *testing.T) {
	t.Parallel()
	for known, c := range map[string]struct {
		server  api.ServerType
		dialect *forgetest.Dialect
	}{
		"github.com":    {api.ServerTypeGITHUB, &forgetest.GitHub},
		"bitbucket.org": {api.ServerTypeBITBUCKET, &forgetest.Bitbucket},
		"gitlab.com":    {api.ServerTypeGITLAB, &forgetest.GitLab},
	} {
		t.Run(known, func(t *testing.T) {
			t.Parallel()
			host := newOAuthHost(t, c.dialect)
			s, b := oauthServer(t, host, known, string(c.server))
			callback := b.begin(string(c.server))
			// From the provider the browser comes without the cookie, and is
			// led here once more, with it.
			stranger := newBrowser(t, b.at)
			res, text := stranger.do("GET", callback, "")
			if res.StatusCode != http.StatusOK || !strings.Contains(text, `http-equiv="refresh" content="0; url=?`) {
				t.Fatalf("coming back: %s %s", res.Status, text)
			}
			if res, _ = stranger.do("GET", callback+"&here=1", ""); res.StatusCode != http.StatusBadRequest {
				t.Errorf("coming back without a session: %s", res.Status)
			}
			res, text = b.do("GET", callback+"&here=1", "")
			if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != "../credentials?connected="+string(c.server)+"&region=us-east-1" {
				t.Fatalf("coming back with it: %s to %q %s", res.Status, to, text)
			}
			h := s.health()
			if h.AuthType != "OAUTH" || !strings.HasSuffix(h.Arn, ":token/"+strings.ToLower(string(c.server))) || h.State == "REVOKED" || h.User != "octocat" {
				t.Errorf("the credential is %+v", h)
			}
			if _, out := b.call("Corbel_20261101.PollOAuth", `{"flowId":"`+mustURL(t, callback).Query().Get("state")+`"}`); out["state"] != "DONE" || out["arn"] != h.Arn {
				t.Errorf("the flow ended with %v", out)
			}
			if res, _ = b.do("GET", callback, ""); res.StatusCode != http.StatusBadRequest {
				t.Errorf("the same state again: %s", res.Status)
			}
			// The token is good: the provider takes it.
			if out := s.must(corbel(t), "credentials", "check"); !strings.Contains(out, "octocat") {
				t.Errorf("check says %s", out)
			}
			hidden := []string{oauthSecret, mustURL(t, callback).Query().Get("code")}
			for _, token := range host.OAuthTokens() {
				hidden = append(hidden, token.Reveal())
			}
			seen := s.log.String() + s.must(corbel(t), "audit", "list", "-output", "json", "-data", s.data)
			for _, r := range host.Requests() {
				seen += r.Path + "?" + strings.ReplaceAll(r.Query, "client_id", "") + "\n"
			}
			for _, secret := range hidden {
				if strings.Contains(seen, secret) {
					t.Errorf("%.4s... is in a log, the audit log or an address", secret)
				}
				findPlanted(t, s.data, [][]byte{[]byte(secret)})
			}
			s.must(corbel(t), "codebuild", "delete-source-credentials", "--arn", h.Arn)
		})
	}
}

func newOAuthHost(t *testing.T, dialect *forgetest.Dialect) *forgetest.Server {
	t.Helper()
	host, err := forgetest.New(forgetest.Options{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

// A callback counts only for the session that began, with what the provider
// gave, and what goes wrong is told.
func TestOAuth_WebRefused(t *testing.T) {
	t.Parallel()
	host := newOAuthHost(t, &forgetest.GitHub)
	s, b := oauthServer(t, host, "github.com", "GITHUB")
	c := s.client()
	other := newBrowser(t, b.at)
	other.login(c.AccessKeyID, c.Secret.Reveal())
	callback := b.begin("GITHUB")
	refused := func(what string, b *browser, address, want string) {
		t.Helper()
		res, text := b.do("GET", address, "")
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %s %s", what, res.Status, text)
		}
	}
	refused("another session", other, callback, "was not begun here")
	refused("another state", b, change(t, callback, "state", "0123456789abcdef"), "was not begun here")
	refused("another code", b, change(t, callback, "code", "0123456789abcdef"), "Connect again")
	refused("the state of a failed attempt", b, callback, "was not begun here")
	host.DenyOAuth(true)
	refused("a denial", b, b.begin("GITHUB"), "The connection was declined at")
	host.DenyOAuth(false)
	host.AddOAuthApp(forgetest.OAuthApp{ID: "Iv1.corbel", Secret: "another", Callback: s.url + "/console/oauth/callback"})
	refused("a wrong secret", b, b.begin("GITHUB"), "incorrect_client_credentials")
	host.AddOAuthApp(forgetest.OAuthApp{ID: "Iv1.corbel", NoDevice: true})
	if status, out := b.call("Corbel_20261101.StartOAuth", `{"serverType":"GITHUB","flow":"DEVICE"}`); status != http.StatusBadRequest || !strings.Contains(out["message"].(string), "Switch it on") {
		t.Errorf("an app without the device flow: %d %v", status, out)
	}
	if _, out := b.call("CodeBuild_20161006.ListSourceCredentials", "{}"); len(out["sourceCredentialsInfos"].([]any)) != 0 {
		t.Errorf("the credentials are %v", out)
	}
	for doc, want := range map[string]string{
		`{"serverType":"GITLAB","flow":"WEB"}`:                       "no OAuth app is configured",
		`{"serverType":"GITHUB","host":"evil.example","flow":"WEB"}`: "is not a host",
		`{"serverType":"SVN","flow":"WEB"}`:                          "no server type",
	} {
		if status, out := b.call("Corbel_20261101.StartOAuth", doc); status != http.StatusBadRequest || !strings.Contains(out["message"].(string), want) {
			t.Errorf("%s: %d %v", doc, status, out)
		}
	}
	_, out := b.call("Corbel_20261101.DescribeServer", "{}")
	for _, p := range out["providers"].([]any) {
		flows := p.(map[string]any)["oauth"].(map[string]any)
		want := p.(map[string]any)["serverType"] == "GITHUB"
		if flows["web"] != want || flows["device"] != want {
			t.Errorf("%v has the flows %v", p.(map[string]any)["serverType"], flows)
		}
		for _, h := range p.(map[string]any)["hosts"].([]any) {
			if flows := h.(map[string]any)["oauth"].(map[string]any); flows["web"] != want || flows["device"] != want {
				t.Errorf("%v has the flows %v", h.(map[string]any)["name"], flows)
			}
		}
	}
}

// change replaces a parameter of an address.
func change(t *testing.T, address, name, value string) string {
	t.Helper()
	u := mustURL(t, address)
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// With the device flow a code is typed in somewhere else, and polling tells.
func TestOAuth_Device(t *testing.T) {
	t.Parallel()
	host := newOAuthHost(t, &forgetest.GitHub)
	s, b := oauthServer(t, host, "github.com", "GITHUB")
	for login, want := range map[string]string{"hubot": "DONE", "": "DENIED"} {
		status, out := b.call("Corbel_20261101.StartOAuth", `{"serverType":"GITHUB","flow":"DEVICE"}`)
		if status != http.StatusOK || out["verificationUrl"] != host.URL+"/login/device" || out["interval"] == 0 {
			t.Fatalf("StartOAuth: %d %v", status, out)
		}
		poll := `{"flowId":"` + out["flowId"].(string) + `"}`
		if _, got := b.call("Corbel_20261101.PollOAuth", poll); got["state"] != "PENDING" {
			t.Errorf("before the code was typed in: %v", got)
		}
		if status, _ := b.call("Corbel_20261101.PollOAuth", poll, "X-Corbel-Region", "eu-north-1"); status != http.StatusBadRequest {
			t.Errorf("from another region: %d", status)
		}
		if !host.TypeIn(out["userCode"].(string), login) {
			t.Fatal("the provider does not know the code")
		}
		var got map[string]any
		wait(t, "the end of the flow", func() bool { _, got = b.call("Corbel_20261101.PollOAuth", poll); return got["state"] != "PENDING" })
		if got["state"] != want || want == "DONE" && !strings.HasSuffix(got["arn"].(string), ":token/github") {
			t.Errorf("the flow ended with %v, want %s", got, want)
		}
	}
	if h := s.health(); h.AuthType != "OAUTH" || h.User != "hubot" {
		t.Errorf("the credential is %+v", h)
	}
	if _, err := s.client().DeleteSourceCredentials(context.Background(), &api.DeleteSourceCredentialsInput{Arn: new(s.health().Arn)}); err != nil {
		t.Error(err)
	}
	if status, _ := b.call("Corbel_20261101.PollOAuth", `{"flowId":"x"}`); status != http.StatusBadRequest {
		t.Errorf("a flow that is not there: %d", status)
	}
}
