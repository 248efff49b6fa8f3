// Package github is the adapter for GitHub: github.com, GitHub Enterprise
// Server and GitHub Enterprise Cloud with data residency. They are one to it
// and differ by the forge.Host alone.
//
// A classic token tells its scopes, so what it lacks is known at once. A
// fine-grained token tells nothing; what it lacks shows in the first call that
// is refused, and the error then says it.
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-github/v84/github"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// A Forge speaks GitHub's REST API. It implements forge.Forge and forge.Hooks.
type Forge struct{ transport http.RoundTripper }

// New returns a Forge over transport, which should be forge.Transport's.
func New(transport http.RoundTripper) *Forge { return &Forge{transport} }

// Provider describes GitHub.
var Provider = forge.Provider{
	Name:   "GitHub",
	Server: api.ServerTypeGITHUB, Known: "github.com", Git: "https://github.com", API: "https://api.github.com",
	Own: api.ServerTypeGITHUB_ENTERPRISE, APIPath: "/api/v3",
	// Enterprise Cloud with data residency.
	// Source: GitHub's documentation, "Network details for GHE.com".
	OwnAPI: func(name string) string {
		if strings.HasSuffix(name, ".ghe.com") {
			return "https://api." + name
		}
		return ""
	},
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	Scopes:  asked,
	GitUser: func(forge.Token) string { return "x-access-token" }, // any will do
	Tokens: func(web string) string {
		return web + "/settings/tokens/new?scopes=repo,admin:repo_hook&description=Corbel"
	},
	// Source: GitHub, "Authorizing OAuth apps".
	OAuth: &forge.OAuthPaths{
		Authorize: "/login/oauth/authorize", Token: "/login/oauth/access_token", Device: "/login/device/code",
		Scopes: []string{"repo", "admin:repo_hook"},
	},
	Deliveries: deliveries,
	New:        func(rt http.RoundTripper) forge.Forge { return New(rt) },
}

const (
	userAgent = "corbel"
	// maxDescription and maxContext are in characters.
	// Source: GitHub refuses longer ones with 422 "is too long".
	maxDescription = 140
	maxContext     = 255
	// pause is how long to wait after a limit that names no time.
	// Source: GitHub, "Rate limits for the REST API": at least one minute.
	pause = time.Minute
	// maxText bounds what is repeated of a provider's message, in characters.
	maxText = 200
)

// asked are the scopes that the user guide asks for, in its order.
// Source: user guide, "Access token prerequisites".
var asked = []forge.Scope{
	{Name: "repo", For: "clone private repositories and find their branches, tags and pull requests"},
	{Name: "repo:status", For: "show the result of a build on its commit"},
	{Name: "admin:repo_hook", For: "make and remove webhooks"},
}

// implied are the scopes that come with one. That repo is enough for hooks is
// the guide's word; GitHub's hook operations accept it too.
// Source: GitHub, "Scopes for OAuth apps".
var implied = map[string][]string{
	"repo": {"repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events", "admin:repo_hook"},
}

// CheckCredential implements forge.Forge with GET /user.
func (f *Forge) CheckCredential(ctx context.Context, host forge.Host, t forge.Token) (forge.Check, error) {
	token := t.Value
	if strings.ContainsFunc(token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return forge.Check{}, &forge.Error{Kind: forge.ErrRefused, Host: host.Name, Text: "this is not a token: it contains a space, a line break or another character that tokens do not have. Copy it again"}
	}
	c, err := f.client(host, token)
	if err != nil {
		return forge.Check{}, err
	}
	user, res, err := c.Users.Get(ctx, "")
	kind := kindOf(token)
	if err != nil {
		if p := answerOf(err, res); p != nil && p.status == http.StatusForbidden && strings.HasPrefix(p.message, "Resource not accessible by integration") {
			// A token of an installation is good and has no user.
			return forge.Check{Kind: forge.App, Remaining: remaining(res)}, nil
		}
		return forge.Check{}, checkError(host, token, err, res)
	}
	if user.GetLogin() == "" {
		return forge.Check{}, unreachable(host, "the answer is not one of GitHub's API; is "+host.API+" the right address?", nil)
	}
	check := forge.Check{Login: user.GetLogin(), Kind: kind, Expires: res.TokenExpiration.Time, Remaining: remaining(res)}
	if !check.Expires.IsZero() {
		check.Expires = check.Expires.UTC()
	}
	if told := res.Header.Values("X-OAuth-Scopes"); told != nil {
		check.Scopes = scopes(told)
		if check.Kind == "" {
			check.Kind = forge.Classic // of the time before prefixes, or a server's
		}
		check.Missing, check.Purpose = missing(check.Scopes)
	}
	return check, nil
}

// kindOf tells by the prefix.
// Source: GitHub, "About authentication to GitHub", token formats.
func kindOf(token api.Secret) forge.Kind {
	for prefix, kind := range map[string]forge.Kind{
		"ghp_": forge.Classic, "github_pat_": forge.FineGrained, "gho_": forge.OAuth, "ghu_": forge.App, "ghs_": forge.App,
	} {
		if strings.HasPrefix(token.Reveal(), prefix) {
			return kind
		}
	}
	return ""
}

// scopes reads the lists of X-OAuth-Scopes. No scope is an empty list.
func scopes(headers []string) []string {
	list := []string{}
	for _, h := range headers {
		for s := range strings.SplitSeq(h, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

// missing compares with what the guide asks for.
func missing(granted []string) (list []string, purpose map[string]string) {
	have := slices.Clone(granted)
	for _, s := range granted {
		have = append(have, implied[s]...)
	}
	for _, a := range asked {
		if !slices.Contains(have, a.Name) {
			if purpose == nil {
				purpose = map[string]string{}
			}
			list, purpose[a.Name] = append(list, a.Name), a.For
		}
	}
	return list, purpose
}

func remaining(res *github.Response) int {
	if res == nil || res.Header.Get("X-RateLimit-Remaining") == "" {
		return -1
	}
	return res.Rate.Remaining
}

// SetStatus implements forge.Forge with POST /repos/O/R/statuses/SHA.
func (f *Forge) SetStatus(ctx context.Context, host forge.Host, t forge.Token, repo string, s forge.Status) error {
	token := t.Value
	wrong := func(format string, args ...any) error {
		return &forge.Error{Host: host.Name, Text: "set commit status: " + fmt.Sprintf(format, args...)}
	}
	owner, name, ok := strings.Cut(repo, "/")
	if !ok || !segment(owner) || !segment(name) {
		return wrong("repository %q is not owner/name", repo)
	}
	if !isCommit(s.SHA) {
		return wrong("%q is not the id of a commit", s.SHA)
	}
	if !slices.Contains([]string{forge.Pending, forge.Success, forge.Failure, forge.Fault}, s.State) {
		return wrong("there is no state %q", s.State)
	}
	c, err := f.client(host, token)
	if err != nil {
		return err
	}
	in := github.RepoStatus{State: &s.State, Context: new(forge.Label(s.Context, maxContext))}
	if d := cut(s.Description, maxDescription); d != "" {
		in.Description = &d
	}
	if s.TargetURL != "" {
		in.TargetURL = &s.TargetURL
	}
	if _, res, err := c.Repositories.CreateStatus(ctx, owner, name, s.SHA, in); err != nil {
		return failed(host, token, "set commit status of "+repo, statuses, err, res)
	}
	return nil
}

// CheckRepository implements forge.Forge with GET /repos/O/R, which tells the
// user's rights. A classic token's own are its scopes. A fine-grained one's
// show in how GitHub refuses a status for a commit that cannot exist (422 if
// only that is wrong) and whether the hooks may be seen.
func (f *Forge) CheckRepository(ctx context.Context, host forge.Host, t forge.Token, repo string) (forge.Abilities, error) {
	token := t.Value
	c, err := f.client(host, token)
	if err != nil {
		return forge.Abilities{}, err
	}
	owner, name, _ := strings.Cut(repo, "/")
	no := func(why string) forge.Ability { return forge.Ability{Can: forge.No, Why: why} }
	r, res, err := c.Repositories.Get(ctx, owner, name)
	if err != nil {
		a := answerOf(err, res)
		if a == nil {
			return forge.Abilities{}, noAnswer(host, token, err)
		}
		if e := trouble(host, token, a); e != nil {
			return forge.Abilities{}, e
		}
		why := no("GitHub knows no repository " + repo + " that this token may see. Correct the name, or give the token access to it")
		switch {
		case a.status == http.StatusUnauthorized:
			return forge.Abilities{}, checkError(host, token, err, res)
		case a.status == http.StatusForbidden && singleSignOn(a):
			why = no(signOnHint(host))
		case a.status != http.StatusNotFound:
			why = no("GitHub says: " + a.text(token))
		case slices.ContainsFunc(scopes(a.header.Values("X-OAuth-Scopes")), func(s string) bool { return s == "admin:repo_hook" || s == "write:repo_hook" }):
			// These scopes reach the hooks of a private repository, and nothing else
			// of it.
			_, res, err = c.Repositories.ListHooks(ctx, owner, name, &github.ListOptions{PerPage: 1})
			hook, err := probed(host, token, err, res, http.StatusOK, "Webhooks: write")
			if hook.Can == forge.No {
				hook = why
			}
			return forge.Abilities{Clone: why, Status: why, Hook: hook}, err
		}
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	}
	out := forge.Abilities{Clone: forge.Ability{Can: forge.Yes}}
	if told := res.Header.Values("X-OAuth-Scopes"); told != nil {
		have := scopes(told)
		for _, s := range slices.Clone(have) {
			have = append(have, implied[s]...)
		}
		rights := r.GetPermissions()
		may := func(right bool, role string, names ...string) forge.Ability {
			switch {
			case !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(have, n) }):
				return no("the token lacks the scope " + names[0])
			case !right:
				return no("the token's user " + role)
			}
			return forge.Ability{Can: forge.Yes}
		}
		out.Status = may(rights.GetPush(), "may not write to the repository", "repo:status")
		out.Hook = may(rights.GetAdmin(), "does not administer the repository", "admin:repo_hook", "write:repo_hook")
		if r.GetPrivate() && !slices.Contains(have, "repo") {
			out.Clone = no("the token lacks the scope repo")
		}
		return out, nil
	}
	state, sign := forge.Pending, "corbel/check"
	_, res, err = c.Repositories.CreateStatus(ctx, owner, name, strings.Repeat("0", 40), github.RepoStatus{State: &state, Context: &sign})
	if out.Status, err = probed(host, token, err, res, http.StatusUnprocessableEntity, "Commit statuses: write"); err != nil {
		return forge.Abilities{}, err
	}
	// A hook without an address is not made, but who may not make one hears that
	// first. To list them would take less of a right.
	_, res, err = c.Repositories.CreateHook(ctx, owner, name, &github.Hook{Active: new(false), Config: &github.HookConfig{ContentType: new("json")}})
	if out.Hook, err = probed(host, token, err, res, http.StatusUnprocessableEntity, "Webhooks: write"); err != nil {
		return forge.Abilities{}, err
	}
	// Reading the contents is a permission of its own.
	_, res, err = c.Git.GetRef(ctx, owner, name, "heads/"+r.GetDefaultBranch())
	if out.Clone, err = probed(host, token, err, res, http.StatusOK, "Contents: read"); err != nil {
		return forge.Abilities{}, err
	}
	return out, nil
}

// probed reads from an answer whether the permission is there: it is if the
// status is good.
func probed(host forge.Host, token api.Secret, err error, res *github.Response, good int, permission string) (forge.Ability, error) {
	if err == nil {
		return forge.Ability{Can: forge.Yes}, nil
	}
	a := answerOf(err, res)
	if a == nil {
		return forge.Ability{}, noAnswer(host, token, err)
	}
	if e := trouble(host, token, a); e != nil {
		return forge.Ability{}, e
	}
	switch a.status {
	case good, http.StatusConflict: // a repository without a commit
		return forge.Ability{Can: forge.Yes}, nil
	case http.StatusForbidden, http.StatusNotFound:
		return forge.Ability{Can: forge.No, Why: "the token needs access to the repository and its permission " + permission}, nil
	}
	return forge.Ability{Can: forge.Unknown, Why: "GitHub says: " + a.text(token)}, nil
}

// segment reports whether s can be one part of a path.
func segment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/?#%\\")
}

// isCommit reports whether s is a full SHA-1 or SHA-256.
func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// cut shortens s to n characters, the last of which then is an ellipsis.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// client makes a client for one call, so that the library's memory of rate
// limits does not mix up tokens. The connections are the transport's.
func (f *Forge) client(host forge.Host, token api.Secret) (*github.Client, error) {
	base, err := url.Parse(host.API + "/")
	if err != nil || host.API == "" {
		return nil, &forge.Error{Host: host.Name, Text: "no address of an API is known for it; list the host with -host"}
	}
	h := forge.Client(f.transport, host)
	h.Transport = bearer{token, h.Transport}
	c := github.NewClient(h)
	c.BaseURL, c.UserAgent = base, userAgent
	return c, nil
}

// bearer adds the token. It is above what keeps the client to its host.
type bearer struct {
	token api.Secret
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.next.RoundTrip(r)
}

// An answer is a refusal that GitHub put into words.
type answer struct {
	status  int
	message string
	detail  []string
	header  http.Header
	hide    []api.Secret // beside the token
}

// answerOf finds the answer in an error of the library, nil if there was none.
func answerOf(err error, res *github.Response) *answer {
	if res == nil || res.Response == nil || res.StatusCode < 300 {
		return nil
	}
	var broken *url.Error
	if errors.As(err, &broken) {
		return nil // such as a redirect that was not followed
	}
	a := &answer{status: res.StatusCode, header: res.Header}
	var plain *github.ErrorResponse
	var factor *github.TwoFactorAuthError
	var rate *github.RateLimitError
	var abuse *github.AbuseRateLimitError
	switch {
	case errors.As(err, &factor):
		a.message = factor.Message
	case errors.As(err, &plain):
		a.message = plain.Message
		for _, e := range plain.Errors {
			if e.Message != "" {
				a.detail = append(a.detail, e.Message)
			} else {
				a.detail = append(a.detail, strings.TrimSpace(e.Field+" "+e.Code))
			}
		}
	case errors.As(err, &rate):
		a.message = rate.Message
	case errors.As(err, &abuse):
		a.message = abuse.Message
	}
	return a
}

// limit says whether GitHub only wants to be asked later, and when.
// Source: GitHub, "Rate limits for the REST API" and "Authenticating to the
// REST API" (too many attempts with bad tokens).
func (a *answer) limit() (time.Duration, bool) {
	message := strings.ToLower(a.message)
	named := strings.Contains(message, "rate limit") || strings.Contains(message, "login attempts") || strings.Contains(message, "abuse")
	none := a.header.Get("X-RateLimit-Remaining") == "0"
	after := a.header.Get("Retry-After")
	switch {
	case a.status == http.StatusTooManyRequests:
	case a.status == http.StatusForbidden && (named || none || after != ""):
	case a.status == http.StatusServiceUnavailable && after != "":
	default:
		return 0, false
	}
	if s, err := strconv.Atoi(after); err == nil && s >= 0 {
		return time.Duration(s) * time.Second, true
	}
	if at, err := http.ParseTime(after); err == nil {
		return max(time.Until(at), time.Second), true
	}
	if reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64); err == nil && none {
		return max(time.Until(time.Unix(reset, 0)), 0) + time.Second, true
	}
	return pause, true
}

// text is GitHub's message, made fit to be shown.
func (a *answer) text(token api.Secret) string {
	text := a.message
	if len(a.detail) > 0 {
		text += " (" + strings.Join(a.detail, "; ") + ")"
	}
	if text == "" {
		text = "HTTP status " + strconv.Itoa(a.status)
	}
	return clean(text, append(a.hide, token)...)
}

// clean takes control characters and secrets out of another's text.
func clean(text string, secrets ...api.Secret) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s.Reveal(), "***")
		}
	}
	return cut(text, maxText)
}

func unreachable(host forge.Host, text string, cause error) *forge.Error {
	return &forge.Error{Kind: forge.ErrUnreachable, Host: host.Name, Text: text, Again: forge.Again{Worthwhile: true}, Cause: cause}
}

// noAnswer is the error of a call that GitHub did not answer, or not as GitHub.
func noAnswer(host forge.Host, token api.Secret, err error, hide ...api.Secret) *forge.Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address
	}
	e := unreachable(host, "no answer: "+clean(err.Error(), append(hide, token)...), err)
	if errors.Is(err, context.DeadlineExceeded) {
		e.Text = "no answer in time"
	}
	e.Worthwhile = !errors.Is(err, forge.ErrRedirect)
	return e
}

// trouble is the error of an answer that says nothing about the token: a
// limit or a fault of the server. It is nil for others.
func trouble(host forge.Host, token api.Secret, a *answer) *forge.Error {
	if after, ok := a.limit(); ok {
		e := unreachable(host, "asked to wait: "+a.text(token), nil)
		e.After = after
		return e
	}
	if a.status >= 500 || a.status == http.StatusRequestTimeout {
		return unreachable(host, "the server has a problem: "+a.text(token), nil)
	}
	return nil
}

// checkError is what an error of GET /user says about the token.
func checkError(host forge.Host, token api.Secret, err error, res *github.Response) error {
	a := answerOf(err, res)
	if a == nil {
		return noAnswer(host, token, err)
	}
	if e := trouble(host, token, a); e != nil {
		return e
	}
	refused := &forge.Error{Kind: forge.ErrRefused, Host: host.Name}
	switch {
	case a.status == http.StatusUnauthorized:
		refused.Text = "the token is refused: " + a.text(token) + ". It is mistyped, revoked or expired"
		if end := res.TokenExpiration.Time; !end.IsZero() && end.Before(time.Now()) {
			refused.Text = "the token is refused: it expired on " + end.UTC().Format(time.DateOnly)
		}
	case a.status == http.StatusForbidden && singleSignOn(a):
		refused.Text = "the token is refused: " + signOnHint(host)
	case a.status == http.StatusForbidden:
		refused.Text = "the token is refused: " + a.text(token)
	default:
		return unreachable(host, "the answer is not one of GitHub's API ("+a.text(token)+"); is "+host.API+" the right address?", nil)
	}
	return refused
}

// singleSignOn reports whether an organization wants the token authorized.
func singleSignOn(a *answer) bool {
	return strings.HasPrefix(a.header.Get("X-GitHub-SSO"), "required")
}

func signOnHint(host forge.Host) string {
	return "the organization requires it to be authorized for single sign-on; do that at https://" + host.Name + "/settings/tokens"
}

// A need is what a token needs for a call.
type need struct {
	scopes     []string // of a classic one: each is enough
	scope      string   // how to name it to people
	permission string   // of a fine-grained one
	otherwise  string   // what may be wrong with a token that has it
}

// statuses is the need of a commit status.
var statuses = need{
	scopes: []string{"repo", "repo:status"}, scope: "repo:status, which is part of repo", permission: "Commit statuses: write",
	otherwise: "The token's user cannot write to the repository, or it does not exist",
}

// failed is what an error says about a call other than GET /user, and whether
// to try again. about is what was being done, such as "set commit status of
// octo/app".
func failed(host forge.Host, token api.Secret, about string, n need, err error, res *github.Response, hide ...api.Secret) error {
	a := answerOf(err, res)
	if a == nil {
		e := noAnswer(host, token, err, hide...)
		if errors.Is(err, forge.ErrRedirect) {
			e.Text += "; if the repository was renamed, correct the project's source location"
		}
		return e
	}
	a.hide = hide
	if e := trouble(host, token, a); e != nil {
		return e
	}
	e := &forge.Error{Host: host.Name}
	switch a.status {
	case http.StatusUnauthorized:
		e.Kind, e.Text = forge.ErrRefused, "the token is refused: "+a.text(token)+". Import a new one"
	case http.StatusForbidden, http.StatusNotFound:
		e.Text = about + ": " + a.text(token) + ". " + a.lacks(n)
		if singleSignOn(a) {
			e.Text = about + ": " + signOnHint(host)
		}
	default:
		e.Text = about + ": " + a.text(token)
	}
	return e
}

// lacks says what the token would have to have. GitHub answers 404 where the
// token may not know that there is something.
func (a *answer) lacks(n need) string {
	switch granted := a.header.Values("X-OAuth-Scopes"); {
	case granted == nil:
		return "The token needs access to it and the permission " + n.permission
	case !slices.ContainsFunc(scopes(granted), func(s string) bool { return slices.Contains(n.scopes, s) }):
		return "The token lacks the scope " + n.scope
	}
	return n.otherwise
}
