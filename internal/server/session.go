package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/console"
	"github.com/corbel-build/corbel/internal/service"
	"github.com/corbel-build/corbel/internal/store"
)

// sessionCookie begins the name of the cookie with the token of the console's
// session. The installation's first account is the rest: browsers send cookies
// to all ports of a host, so two servers at one would end each other's sessions.
const sessionCookie = "corbel_session"

// themeCookie holds the theme that was chosen in the console.
const themeCookie = "corbel_theme"

// The headers of the console's own calls. A form or an image of another site
// cannot send the first, which is why it is asked for; its value is of no
// interest. The second chooses another region than that of the sign-in. With the
// third a call is no use of the session: nobody is at the page that makes it.
const (
	consoleHeader = "X-Corbel-Console"
	regionHeader  = "X-Corbel-Region"
	idleHeader    = "X-Corbel-Idle"
)

// fromSession is authenticate for a request that carries a session's cookie in
// place of a signature.
func (s *server) fromSession(r *http.Request, token string) (context.Context, error) {
	ctx := r.Context()
	if err := s.sameSite.Check(r); err != nil || r.Header.Get(consoleHeader) == "" {
		return nil, &api.Error{Code: "AccessDeniedException", Status: http.StatusForbidden,
			Message: "A session is good for calls of this server's own console only: they come from its pages and have the header " + consoleHeader + ". Sign the request with an access key"}
	}
	p, err := s.Sessions.Find(ctx, token, r.Header.Get(idleHeader) == "")
	if errors.Is(err, access.ErrNoSession) {
		return nil, &api.Error{Code: "ExpiredTokenException", Status: http.StatusForbidden, Message: "The session has ended. Sign in again"}
	} else if err != nil {
		return nil, err
	}
	if region := r.Header.Get(regionHeader); region != "" {
		if !access.Region.MatchString(region) {
			return nil, api.Errorf("ValidationException", "The header %s does not name a region, such as us-east-1", regionHeader)
		}
		p.Region = region
	}
	p.From, p.Agent, p.RequestID, p.Secure = s.from(r), r.UserAgent(), awsjson.RequestID(ctx), s.secure(r)
	return access.With(ctx, p), nil
}

// secure reports whether r came by TLS, to this server or to the proxy before it.
func (s *server) secure(r *http.Request) bool { return s.overTLS(r) || s.public.Scheme == "https" }

// cookie makes the session's cookie, or one that takes it away again. It is
// for the API and the console alike, wherever a proxy puts them.
func (s *server) cookie(r *http.Request, token string) *http.Cookie {
	c := &http.Cookie{Name: s.cookieName, Value: token, Path: s.public.Path + "/", HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// session returns the session's token that r carries, "" if none.
func (s *server) session(r *http.Request) string {
	c, err := r.Cookie(s.cookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

// theme is the theme that r's browser chose in the console, "" for the system's.
func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "dark" || c.Value == "light") {
		return c.Value
	}
	return ""
}

// redirect leads to an address relative to the request's own. http.Redirect
// would make it absolute, which a proxy's prefix is not part of.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

// deepLink serves the address of a build's log, as builds have it, by leading
// to the console's page that finds the build. The log's name is in the
// fragment, which a browser keeps when it is led on.
func deepLink(w http.ResponseWriter, r *http.Request) {
	redirect(w, "../console/deep-link?"+r.URL.Query().Encode())
}

// within returns next if it is a page of the console, given relative to
// /console/; else the first page.
func within(next string) string {
	if u, err := url.Parse("./" + next); err != nil || u.Host != "" || strings.HasPrefix(next, "/") || strings.Contains(u.Path, "..") ||
		strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return "./"
	}
	return "./" + next
}

// inRegion names the region in the address of a page: a tab that was in another
// one before goes to the one that was signed in to.
func inRegion(page, region string) string {
	u, err := url.Parse(page)
	if err != nil {
		return page
	}
	q := u.Query()
	q.Set("region", region)
	u.RawQuery = q.Encode()
	return u.String()
}

// maxForm bounds the form of a sign-in, in bytes.
const maxForm = 8 << 10

// refused is the one text for a key that does not exist, has ended, or whose
// secret is another.
const refused = "This is not an access key of this server, or its secret is another. Check both, and whether the key has ended."

var keyID = regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`)

// loginForm serves GET /console/login.
func (s *server) loginForm(w http.ResponseWriter, r *http.Request) {
	form := console.Login{Region: s.Region, Next: r.URL.Query().Get("next"), Theme: theme(r)}
	// That of the page that somebody wants to.
	if next, err := url.Parse(form.Next); err == nil && access.Region.MatchString(next.Query().Get("region")) {
		form.Region = next.Query().Get("region")
	}
	form.Write(w, http.StatusOK)
}

// login serves POST /console/login.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	// Only what is in the body counts: addresses are written down by others.
	if err := r.ParseForm(); err != nil {
		console.Login{Region: s.Region, Theme: theme(r), Problem: "The form could not be read. Try again."}.Write(w, http.StatusBadRequest)
		return
	}
	form := console.Login{KeyID: strings.TrimSpace(r.PostForm.Get("accessKeyId")), Region: strings.TrimSpace(r.PostForm.Get("region")), Next: r.PostForm.Get("next"), Theme: theme(r)}
	if form.Region == "" {
		form.Region = s.Region
	}
	again := func(status int, problem string) {
		form.Problem = problem
		if !keyID.MatchString(form.KeyID) {
			form.KeyID = "" // perhaps the secret, in the wrong field
		}
		form.Write(w, status)
	}
	if err := s.sameSite.Check(r); err != nil {
		again(http.StatusForbidden, "The form was sent from another site. Sign in here.")
		return
	}
	if !access.Region.MatchString(form.Region) {
		again(http.StatusBadRequest, "The region is not the name of one, such as us-east-1.")
		return
	}
	// Each attempt counts before it is judged, so that many at once are many.
	wait := s.attempts.begin(s.Now(), "address "+s.from(r), "key "+form.KeyID)
	if wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		again(http.StatusTooManyRequests, fmt.Sprintf("Too many attempts. Try again in %v.", (wait+time.Second).Truncate(time.Second)))
		return
	}
	key, err := s.Keys.Match(r.Context(), form.KeyID, api.Secret(strings.TrimSpace(r.PostForm.Get("secretAccessKey"))))
	record := audit.Record{
		Time: s.Now(), Principal: "unknown", Region: form.Region, Source: "signin.amazonaws.com", Event: "ConsoleLogin",
		From: s.from(r), Agent: r.UserAgent(), RequestID: awsjson.NewRequestID(),
	}
	if keyID.MatchString(form.KeyID) {
		record.KeyID = form.KeyID
	}
	if key.Account != "" {
		record.Account, record.Principal = key.Account, access.Principal{Scope: store.Scope{Account: key.Account}, User: key.User}.ARN()
	}
	var token string
	if err == nil {
		err = s.Store.Update(r.Context(), func(tx store.Tx) error {
			if old := s.session(r); old != "" { // nothing of before goes on
				if err := s.Sessions.Close(r.Context(), tx, old); err != nil && !errors.Is(err, access.ErrNoSession) {
					return err
				}
			}
			if token, err = s.Sessions.Open(r.Context(), tx, key, form.Region); err != nil {
				return err
			}
			return audit.Append(r.Context(), tx, record)
		})
	}
	switch {
	case err == nil:
		s.attempts.succeed("address "+s.from(r), "key "+form.KeyID)
		s.Log.InfoContext(r.Context(), "signed in to the console", "principal", record.Principal, "from", record.From)
		http.SetCookie(w, s.cookie(r, token))
		redirect(w, inRegion(within(form.Next), form.Region))
	case errors.Is(err, store.ErrNotFound), errors.Is(err, access.ErrEnded):
		record.Outcome, record.Message = "AccessDenied", "unknown access key, or another secret"
		if errors.Is(err, access.ErrEnded) {
			record.Message = err.Error()
		}
		ctx := context.WithoutCancel(r.Context()) // the caller may have gone
		if err := s.Store.Update(ctx, func(tx store.Tx) error { return audit.Append(ctx, tx, record) }); err != nil {
			s.Log.ErrorContext(ctx, "write the audit log", "error", err)
		}
		again(http.StatusForbidden, refused)
	default:
		s.fault(w, r, "sign in to the console", err)
	}
}

// fault answers what is our own failure.
func (s *server) fault(w http.ResponseWriter, r *http.Request, doing string, err error) {
	id := awsjson.NewRequestID()
	if r.Context().Err() == nil {
		s.Log.ErrorContext(r.Context(), doing, "request_id", id, "error", err)
	}
	console.Notice{Theme: theme(r), Title: "The server failed", Problem: "Its log has the reason under the request id " + id + ".", Next: "./"}.Write(w, http.StatusInternalServerError)
}

// logout serves POST /console/logout.
func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.sameSite.Check(r); err != nil {
		console.Notice{Theme: theme(r), Title: "Not signed out", Problem: "The request came from another site.", Next: "./"}.Write(w, http.StatusForbidden)
		return
	}
	if token := s.session(r); token != "" {
		p, err := s.Sessions.Find(r.Context(), token, true)
		if err == nil {
			err = s.Store.Update(r.Context(), func(tx store.Tx) error {
				if err := s.Sessions.Close(r.Context(), tx, token); err != nil {
					return err
				}
				return audit.Append(r.Context(), tx, audit.Record{
					Time: s.Now(), Account: p.Account, Region: p.Region, Principal: p.ARN(), KeyID: p.KeyID, Source: "signin.amazonaws.com", Event: "ConsoleLogout",
					From: s.from(r), Agent: r.UserAgent(), RequestID: awsjson.NewRequestID(),
				})
			})
		}
		if err != nil && !errors.Is(err, access.ErrNoSession) {
			s.fault(w, r, "sign out of the console", err)
			return
		}
	}
	http.SetCookie(w, s.cookie(r, ""))
	redirect(w, "./login")
}

// oauth serves GET /console/oauth/callback, where a source provider sends
// somebody back to. The browser, which was elsewhere, does not send the
// session's cookie along with that; so the first answer is a page that leads
// to the same address from here.
func (s *server) oauth(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	problem := func(text string) {
		console.Notice{Theme: theme(r), Title: "Not connected", Problem: text, Next: "../credentials"}.Write(w, http.StatusBadRequest)
	}
	token := s.session(r)
	if token == "" {
		if query.Has("here") {
			problem("You are not signed in any more. Sign in, and connect again.")
			return
		}
		query.Set("here", "1")
		console.Notice{Theme: theme(r), Title: "Connecting", Text: "This takes a moment.", Next: "?" + query.Encode(), At: true}.Write(w, http.StatusOK)
		return
	}
	p, err := s.Sessions.Find(r.Context(), token, true)
	if errors.Is(err, access.ErrNoSession) {
		problem("Your session has ended. Sign in, and connect again.")
		return
	} else if err != nil {
		s.fault(w, r, "find the session of an OAuth callback", err)
		return
	}
	p.Service, p.From, p.Agent, p.RequestID, p.Secure = "codebuild", s.from(r), r.UserAgent(), awsjson.NewRequestID(), s.secure(r)
	ctx := access.With(r.Context(), p)
	var server api.ServerType
	var region string
	if err = s.Service.Authorize(ctx, "corbel", "StartOAuth", nil); err == nil {
		server, region, err = service.CorbelService{Service: s.Service}.FinishOAuth(ctx, query.Get("state"), query.Get("code"), query.Get("error"))
	}
	if err != nil {
		s.Service.Refused(ctx, "StartOAuth", err)
		if e, ok := errors.AsType[*api.Error](err); ok {
			problem(e.Message)
			return
		}
		s.fault(w, r, "connect with OAuth", err)
		return
	}
	// The code is in no history, and the page in the region that was connected.
	redirect(w, "../credentials?"+url.Values{"connected": {string(server)}, "region": {region}}.Encode())
}

// attempts slows down who tries keys: after a few that failed, each further
// one has to wait twice as long. It is kept in memory.
type attempts struct {
	mu sync.Mutex
	of map[string]*tried
}

type tried struct {
	count int
	until time.Time
}

const (
	freeAttempts = 5                // before the first wait, of a second
	longestWait  = time.Minute      // more would let a stranger lock people out
	forgetAfter  = 10 * time.Minute // without an attempt
	maxTried     = 10_000           // names kept
)

// begin counts an attempt under each name, or returns how long to wait.
func (a *attempts) begin(now time.Time, names ...string) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.of) >= maxTried {
		for name, t := range a.of {
			if now.Sub(t.until) > forgetAfter {
				delete(a.of, name)
			}
		}
		if len(a.of) >= maxTried {
			clear(a.of)
		}
	}
	for _, name := range names {
		if t := a.of[name]; t != nil {
			wait = max(wait, t.until.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	for _, name := range names {
		t := a.of[name]
		if t == nil || now.Sub(t.until) > forgetAfter {
			t = &tried{}
			a.of[name] = t
		}
		t.until = now
		if t.count++; t.count >= freeAttempts {
			t.until = now.Add(min(time.Second<<min(t.count-freeAttempts, 10), longestWait))
		}
	}
	return 0
}

// succeed forgets what was tried under the names.
func (a *attempts) succeed(names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		delete(a.of, name)
	}
}
