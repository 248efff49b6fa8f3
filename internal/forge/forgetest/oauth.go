package forgetest

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
)

// An OAuthApp is what somebody has registered at a Server, which then has OAuth
// where its provider has it. It believes nothing: the callback address, the
// secret, the proof of PKCE and each code are checked, and a code or a refresh
// token is good once.
type OAuthApp struct {
	ID       string
	Secret   api.Secret
	Callback string   // the whole address
	Scopes   []string // of its tokens where the provider asks for none
	// Life is how long its tokens last, with a refresh token for the next one;
	// 0 is for ever and without.
	Life time.Duration
	// Ask has people sign in and say yes or no on a page, where otherwise
	// octocat says yes at once.
	Ask bool
	// NoDevice is an app without the device flow, and CodeLife how long a
	// device's code lasts, in whole seconds; 0 is 15 minutes.
	NoDevice bool
	CodeLife time.Duration
}

// oauth is the state of a Server's OAuth.
type oauth struct {
	mu      sync.Mutex
	apps    map[string]OAuthApp
	codes   map[string]*consent // by code, not used yet
	devices map[string]*consent // by device code
	refresh map[string]*consent // by refresh token, not used yet
	issued  []api.Secret
	deny    bool
	down    bool // the token endpoint fails
}

// A consent is what a user lets an app have.
type consent struct {
	app       string
	login     string // "" while a device's code was not typed in
	denied    bool
	scopes    []string
	challenge string
	userCode  string
	ends      time.Time // of a device's code
}

// oauthPaths are where each provider has its endpoints: to authorize, for tokens,
// for devices, and for the people who have a device's code. Bitbucket's app
// shows its secret in a header.
// Source: the documentation of GitHub, GitLab and Bitbucket Cloud.
var oauthPaths = map[string]string{
	"/login/oauth/authorize": "authorize", "/login/oauth/access_token": "token", "/login/device/code": "device", "/login/device": "type",
	"/oauth/authorize": "authorize", "/oauth/token": "token",
	"/site/oauth2/authorize": "authorize", "/site/oauth2/access_token": "token",
}

// AddOAuthApp registers an app, in place of one with the same id.
func (s *Server) AddOAuthApp(a OAuthApp) {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	if s.oauth.apps == nil {
		s.oauth.apps, s.oauth.codes, s.oauth.devices, s.oauth.refresh = map[string]OAuthApp{}, map[string]*consent{}, map[string]*consent{}, map[string]*consent{}
	}
	s.oauth.apps[a.ID] = a
}

// DenyOAuth makes the user, who otherwise says yes at once, say no.
func (s *Server) DenyOAuth(deny bool) {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	s.oauth.deny = deny
}

// BreakOAuth makes the token endpoint answer 503.
func (s *Server) BreakOAuth(broken bool) {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	s.oauth.down = broken
}

// TypeIn answers for a device's code as the user login, or with "" denies it.
// It is false if no device has the code.
func (s *Server) TypeIn(userCode, login string) bool {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	for _, c := range s.oauth.devices {
		if c.userCode == userCode && s.now().Before(c.ends) {
			c.login, c.denied = login, login == ""
			return true
		}
	}
	return false
}

// RevokeOAuth ends every grant: no token and no refresh token is good any more.
func (s *Server) RevokeOAuth() {
	s.oauth.mu.Lock()
	clear(s.oauth.refresh)
	issued := slices.Clone(s.oauth.issued)
	s.oauth.mu.Unlock()
	for _, t := range issued {
		s.RevokeToken(t)
	}
}

// OAuthTokens are all access and refresh tokens that were given out.
func (s *Server) OAuthTokens() []api.Secret {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	return slices.Clone(s.oauth.issued)
}

// serveOAuth answers a request that is of OAuth.
func (s *Server) serveOAuth(w http.ResponseWriter, r *http.Request) bool {
	kind := oauthPaths[r.URL.Path]
	s.oauth.mu.Lock()
	served := kind != "" && s.oauth.apps != nil
	s.oauth.mu.Unlock()
	if !served {
		return false
	}
	switch {
	case kind == "authorize" && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		s.authorize(w, r)
	case kind == "token" && r.Method == http.MethodPost:
		s.giveToken(w, r)
	case kind == "device" && r.Method == http.MethodPost:
		s.giveDevice(w, r)
	case kind == "type" && r.Method == http.MethodGet:
		asked{Title: "Connect a device", Code: true}.write(w)
	case kind == "type" && r.Method == http.MethodPost:
		s.typeIn(w, r)
	default:
		http.Error(w, "no such method", http.StatusMethodNotAllowed)
	}
	return true
}

// authorize is the page where the user says yes.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	app, ok := s.oauth.apps[q.Get("client_id")]
	// A wrong address is never gone to.
	if !ok || q.Get("redirect_uri") != app.Callback {
		http.Error(w, "unknown app, or the callback address is not the registered one", http.StatusBadRequest)
		return
	}
	if app.Ask && r.Method == http.MethodGet {
		asked{Title: "Let " + app.ID + " in", Text: "It asks for: " + strings.Join(scopesOf(app, q.Get("scope")), ", ")}.write(w)
		return
	}
	login := "octocat"
	if app.Ask {
		login = r.PostFormValue("login")
	}
	back := url.Values{"state": {q.Get("state")}}
	code := rand.Text()
	switch {
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 16:
		back.Set("error", "invalid_request")
	case s.oauth.deny, r.PostFormValue("answer") == "Deny":
		back.Set("error", "access_denied")
	default:
		back.Set("code", code)
		s.oauth.codes[code] = &consent{app: app.ID, login: login, scopes: scopesOf(app, q.Get("scope")), challenge: q.Get("code_challenge")}
	}
	w.Header().Set("Location", app.Callback+"?"+back.Encode())
	w.WriteHeader(http.StatusFound)
}

func scopesOf(app OAuthApp, asked string) []string {
	if list := strings.Fields(asked); len(list) > 0 {
		return list
	}
	return app.Scopes
}

// asked is a page on which people sign in, without a password, and say yes or
// no. Its form goes to the page's own address.
type asked struct {
	Title, Text string
	Code        bool // of a device, which they type in
	Done        bool // and there is nothing more to say
}

var askedPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{if not .Done}}<form method="post">
<p><label>Username <input name="login" required></label></p>
{{if .Code}}<p><label>Code <input name="code" required></label></p>
{{end}}<button name="answer" value="Allow">Allow</button>
<button name="answer" value="Deny" formnovalidate>Deny</button>
</form>
{{end}}</html>
`))

func (a asked) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = askedPage.Execute(w, a) // the browser went away
}

// typeIn answers who has typed in a device's code.
func (s *Server) typeIn(w http.ResponseWriter, r *http.Request) {
	login := r.PostFormValue("login")
	if r.PostFormValue("answer") == "Deny" {
		login = ""
	}
	if !s.TypeIn(r.PostFormValue("code"), login) {
		asked{Title: "Connect a device", Text: "No device shows this code, or it has ended.", Code: true}.write(w)
		return
	}
	asked{Title: "Thank you", Text: "The device goes on by itself.", Done: true}.write(w)
}

// giveDevice begins a device flow.
func (s *Server) giveDevice(w http.ResponseWriter, r *http.Request) {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	app, ok := s.oauth.apps[r.FormValue("client_id")]
	if !ok {
		refuseOAuth(w, http.StatusNotFound, "Not Found")
		return
	}
	if app.NoDevice {
		refuseOAuth(w, http.StatusBadRequest, "device_flow_disabled")
		return
	}
	life := cmp.Or(app.CodeLife, 15*time.Minute)
	device, user := rand.Text(), rand.Text()[:4]+"-"+rand.Text()[:4]
	s.oauth.devices[device] = &consent{app: app.ID, scopes: scopesOf(app, r.FormValue("scope")), userCode: user, ends: s.now().Add(life)}
	tell(w, http.StatusOK, object{"device_code": device, "user_code": user, "verification_uri": s.URL + "/login/device", "expires_in": int(life.Seconds()), "interval": 1})
}

// giveToken is the token endpoint.
func (s *Server) giveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > 0 {
		refuseOAuth(w, http.StatusBadRequest, "invalid_request") // nothing belongs into the address
		return
	}
	f := r.PostForm
	id, secret := f.Get("client_id"), f.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		id, secret = user, password
	}
	s.oauth.mu.Lock()
	app, known := s.oauth.apps[id]
	device := f.Get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code"
	var c *consent
	status, problem := http.StatusBadRequest, "invalid_grant"
	switch {
	case s.oauth.down:
		status, problem = http.StatusServiceUnavailable, ""
	case !known || !device && subtle.ConstantTimeCompare([]byte(secret), []byte(app.Secret.Reveal())) == 0:
		status, problem = http.StatusUnauthorized, "invalid_client"
		if r.URL.Path == "/login/oauth/access_token" {
			status, problem = http.StatusOK, "incorrect_client_credentials"
		}
	case f.Get("grant_type") == "authorization_code":
		if c = s.oauth.codes[f.Get("code")]; c != nil {
			delete(s.oauth.codes, f.Get("code"))
			proof := sha256.Sum256([]byte(f.Get("code_verifier")))
			if c.app != id || f.Get("redirect_uri") != app.Callback || base64.RawURLEncoding.EncodeToString(proof[:]) != c.challenge {
				c = nil
			}
		}
	case f.Get("grant_type") == "refresh_token":
		if c = s.oauth.refresh[f.Get("refresh_token")]; c != nil {
			delete(s.oauth.refresh, f.Get("refresh_token"))
			if c.app != id {
				c = nil
			}
		}
	case device:
		status = http.StatusOK // as GitHub has it
		switch d := s.oauth.devices[f.Get("device_code")]; {
		case d == nil || d.app != id:
			problem = "incorrect_device_code"
		case !s.now().Before(d.ends):
			problem = "expired_token"
		case d.denied:
			problem = "access_denied"
		case d.login == "":
			problem = "authorization_pending"
		default:
			c = d
			delete(s.oauth.devices, f.Get("device_code"))
		}
	default:
		problem = "unsupported_grant_type"
	}
	if c == nil {
		s.oauth.mu.Unlock()
		refuseOAuth(w, status, problem)
		return
	}
	token := Token{Value: api.Secret("gho_" + rand.Text()), Login: c.login, Scopes: c.scopes, OAuth: true}
	answer := object{"access_token": token.Value.Reveal(), "token_type": "bearer", "scope": strings.Join(c.scopes, " ")}
	s.oauth.issued = append(s.oauth.issued, token.Value)
	if app.Life > 0 {
		token.Expires = s.now().Add(app.Life)
		next := "ghr_" + rand.Text()
		s.oauth.refresh[next] = c
		s.oauth.issued = append(s.oauth.issued, api.Secret(next))
		answer["expires_in"], answer["refresh_token"] = int(app.Life.Seconds()), next
	}
	s.oauth.mu.Unlock()
	s.AddToken(token)
	tell(w, http.StatusOK, answer)
}

func refuseOAuth(w http.ResponseWriter, status int, problem string) {
	tell(w, status, object{"error": problem, "error_description": "The request was refused."})
}

func tell(w http.ResponseWriter, status int, doc object) {
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err) // plain maps
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away
}
