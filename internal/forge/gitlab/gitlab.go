// Package gitlab is the adapter for GitLab: gitlab.com and installations of
// one's own. They differ by the forge.Host alone.
//
// It takes personal, project and group access tokens. GitLab tells a token's
// scopes and its last day to a token that may read the API; of another it is
// only known whether it is good.
//
// GitLab's own client library makes further requests to learn the rate limit
// and tries again by itself, which the promises of forge.Forge exclude.
package gitlab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes GitLab.
var Provider = forge.Provider{
	Name:   "GitLab",
	Server: api.ServerTypeGITLAB, Known: "gitlab.com", Git: "https://gitlab.com", API: "https://gitlab.com/api/v4",
	Own: api.ServerTypeGITLAB_SELF_MANAGED, APIPath: "/api/v4",
	Groups:  true,
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(forge.Token) string { return "oauth2" }, // any will do
	Scopes:  scopes(),
	Tokens: func(web string) string {
		return web + "/-/user_settings/personal_access_tokens?name=Corbel&scopes=api,read_repository"
	},
	// Source: GitLab, "OAuth 2.0 identity provider API".
	OAuth:      &forge.OAuthPaths{Authorize: "/oauth/authorize", Token: "/oauth/token", Scopes: []string{"api", "read_repository"}},
	Deliveries: deliveries,
	New:        func(rt http.RoundTripper) forge.Forge { return &Forge{rt} },
}

// A Forge speaks GitLab's REST API, version 4. It implements forge.Forge.
type Forge struct{ transport http.RoundTripper }

const (
	name = "GitLab"
	// maxDescription, maxName and maxLink are in characters.
	// Source: GitLab, "Set commit pipeline status"; app/models/generic_commit_status.rb.
	maxDescription = 255
	maxName        = 255
	maxLink        = 255
)

// The access levels that matter. Source: GitLab, "Members API".
const (
	developer  = 30
	maintainer = 40
)

// asked are the scopes that a build service needs, with those that include
// each.
// Source: GitLab, "Personal access token scopes".
var asked = []struct {
	forge.Scope
	granted []string
}{
	{forge.Scope{Name: "read_repository", For: "clone private repositories and find their branches, tags and merge requests"}, []string{"read_repository", "write_repository", "api"}},
	{forge.Scope{Name: "api", For: "show the result of a build on its commit, and make and remove webhooks"}, []string{"api"}},
}

func scopes() (list []forge.Scope) {
	for _, a := range asked {
		list = append(list, a.Scope)
	}
	return list
}

func (f *Forge) client(host forge.Host, t forge.Token) forge.REST {
	return forge.REST{Transport: f.transport, Host: host, Token: t.Value, Sign: func(r *http.Request) {
		if t.Auth == api.AuthTypeOAUTH {
			r.Header.Set("Authorization", "Bearer "+t.Value.Reveal())
			return
		}
		r.Header.Set("Private-Token", t.Value.Reveal())
	}}
}

// words are what an answer says of itself. GitLab has several forms of that.
func words(c forge.REST, a *forge.Reply) string {
	var p struct {
		Message          any
		Error            string
		ErrorDescription string `json:"error_description"`
	}
	a.Decode(&p)
	switch m := p.Message.(type) {
	case string:
		return c.Clean(m)
	case nil:
	default:
		b, err := json.Marshal(m)
		if err == nil {
			return c.Clean(string(b))
		}
	}
	for _, text := range []string{p.ErrorDescription, p.Error} {
		if text != "" {
			return c.Clean(text)
		}
	}
	return http.StatusText(a.Status)
}

// needed is the scope that an answer wants, "" if it does not say.
func needed(a *forge.Reply) string {
	var p struct{ Error, Scope string }
	if a.Decode(&p) && p.Error == "insufficient_scope" {
		return p.Scope
	}
	return ""
}

// CheckCredential implements forge.Forge with GET /personal_access_tokens/self
// and, at the same time, GET /user.
func (f *Forge) CheckCredential(ctx context.Context, host forge.Host, t forge.Token) (forge.Check, error) {
	c := f.client(host, t)
	if err := c.CheckToken(); err != nil {
		return forge.Check{}, err
	}
	var own, who *forge.Reply
	var selfErr, whoErr error
	var calls sync.WaitGroup
	calls.Go(func() { own, selfErr = self(ctx, c, t) })
	calls.Go(func() { who, whoErr = c.Do(ctx, "GET", "/user", nil) })
	calls.Wait()
	for _, err := range []error{selfErr, whoErr} {
		if err != nil {
			return forge.Check{}, err
		}
	}
	for _, a := range []*forge.Reply{own, who} {
		if a.Status == http.StatusUnauthorized {
			return forge.Check{}, c.Refused("%s. It is mistyped, revoked or expired", words(c, a))
		}
	}
	check := forge.Check{Remaining: who.Remaining("RateLimit-Remaining")}
	var user struct {
		Username string
		Bot      bool
	}
	var token struct {
		Name      string
		Scopes    []string
		Active    *bool
		Revoked   bool
		ExpiresAt string `json:"expires_at"`
	}
	switch who.Status {
	case http.StatusOK:
		if !who.Decode(&user) || user.Username == "" {
			return forge.Check{}, c.Strange(name, who)
		}
		check.Login, check.Kind = c.Clean(user.Username), forge.Account
		if user.Bot || bot(user.Username) {
			check.Kind = forge.Resource
		}
		if t.Auth == api.AuthTypeOAUTH {
			check.Kind = forge.OAuth
		}
	case http.StatusForbidden: // a scope that does not include it
		if needed(who) == "" {
			return forge.Check{}, c.Refused("%s", words(c, who)) // a blocked user, or terms to accept
		}
	default:
		return forge.Check{}, c.Strange(name, who)
	}
	if own.Status != http.StatusOK || !own.Decode(&token) { // before GitLab 15.5, or a scope that does not include it
		return check, nil
	}
	if token.Revoked || token.Active != nil && !*token.Active {
		return forge.Check{}, c.Refused("it is revoked or expired")
	}
	if end, err := time.Parse(time.DateOnly, token.ExpiresAt); err == nil {
		check.Expires = end // it ends at midnight UTC, when that day begins
	}
	check.Scopes = token.Scopes
	if check.Scopes == nil {
		check.Scopes = []string{}
	}
	for _, want := range asked {
		if !slices.ContainsFunc(want.granted, func(s string) bool { return slices.Contains(token.Scopes, s) }) {
			if check.Purpose == nil {
				check.Purpose = map[string]string{}
			}
			check.Missing, check.Purpose[want.Name] = append(check.Missing, want.Name), want.For
		}
	}
	return check, nil
}

// self asks what the token itself is. An OAuth app's is no personal one, so
// nobody is asked.
func self(ctx context.Context, c forge.REST, t forge.Token) (*forge.Reply, error) {
	if t.Auth == api.AuthTypeOAUTH {
		return &forge.Reply{Status: http.StatusNotFound}, nil
	}
	return c.Do(ctx, "GET", "/personal_access_tokens/self", nil)
}

// bot tells the users of project and group tokens by their names, such as
// project_42_bot_0f1e.
// Source: GitLab, "Bot users for projects".
func bot(user string) bool {
	return (strings.HasPrefix(user, "project_") || strings.HasPrefix(user, "group_")) && strings.Contains(user, "_bot")
}

// project is the address of a project below the API.
func project(repo string) string { return "/projects/" + url.PathEscape(repo) }

// CheckRepository implements forge.Forge with GET /projects/:id, which tells
// the user's role, and the scopes of the token.
func (f *Forge) CheckRepository(ctx context.Context, host forge.Host, t forge.Token, repo string) (forge.Abilities, error) {
	c := f.client(host, t)
	var own, a *forge.Reply
	var selfErr, err error
	var calls sync.WaitGroup
	calls.Go(func() { own, selfErr = self(ctx, c, t) })
	calls.Go(func() { a, err = c.Do(ctx, "GET", project(repo), nil) })
	calls.Wait()
	if err != nil {
		return forge.Abilities{}, err
	}
	if selfErr != nil {
		return forge.Abilities{}, selfErr
	}
	var token struct{ Scopes []string }
	told := own.Status == http.StatusOK && own.Decode(&token)
	has := func(scopes ...string) bool {
		return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(token.Scopes, s) })
	}
	no := func(why string) forge.Ability { return forge.Ability{Can: forge.No, Why: why} }
	all := func(x forge.Ability) (forge.Abilities, error) {
		return forge.Abilities{Clone: x, Status: x, Hook: x}, nil
	}
	switch a.Status {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return forge.Abilities{}, c.Refused("%s", words(c, a))
	case http.StatusNotFound:
		return all(no("GitLab knows no project " + repo + " that this token may see. Correct the name, or give the token's user access"))
	case http.StatusForbidden:
		out := forge.Abilities{Status: no("the token lacks the scope api"), Hook: no("the token lacks the scope api")}
		out.Clone = forge.Ability{Can: forge.Unknown, Why: "the token may not read the API (it lacks read_api or api), so only a clone shows whether it can"}
		return out, nil
	default:
		return forge.Abilities{}, c.Strange(name, a)
	}
	var p struct {
		Visibility  string
		Permissions struct {
			Project *struct {
				Level int `json:"access_level"`
			} `json:"project_access"`
			Group *struct {
				Level int `json:"access_level"`
			} `json:"group_access"`
		}
	}
	if !a.Decode(&p) {
		return forge.Abilities{}, c.Strange(name, a)
	}
	level := 0
	if x := p.Permissions.Project; x != nil {
		level = max(level, x.Level)
	}
	if x := p.Permissions.Group; x != nil {
		level = max(level, x.Level)
	}
	may := func(least int, role string) forge.Ability {
		switch {
		case told && !has("api"):
			return no("the token lacks the scope api")
		case level < least:
			return no("the token's user needs the role " + role + " in the project")
		case !told:
			return forge.Ability{Can: forge.Unknown, Why: "GitLab did not tell the token's scopes; it needs api"}
		}
		return forge.Ability{Can: forge.Yes}
	}
	out := forge.Abilities{Clone: forge.Ability{Can: forge.Yes}, Status: may(developer, "Developer"), Hook: may(maintainer, "Maintainer")}
	switch {
	case told && !has("read_repository", "write_repository", "api") && p.Visibility != "public":
		out.Clone = no("the token lacks the scope read_repository")
	case !told && p.Visibility != "public":
		out.Clone = forge.Ability{Can: forge.Unknown, Why: "GitLab did not tell the token's scopes; it needs read_repository"}
	}
	return out, nil
}

// states are GitLab's words.
var states = map[string]string{forge.Pending: "running", forge.Success: "success", forge.Failure: "failed", forge.Fault: "failed"}

// SetStatus implements forge.Forge with POST /projects/:id/statuses/:sha.
// GitLab refuses a status that is there already, which is as good as done. A commit
// that no branch has, as of a fork, needs the ref of its merge request. A link that
// is too long is left out.
func (f *Forge) SetStatus(ctx context.Context, host forge.Host, t forge.Token, repo string, s forge.Status) error {
	c := f.client(host, t)
	if err := c.CheckStatus(repo, true, s); err != nil {
		return err
	}
	in := map[string]string{"state": states[s.State], "name": forge.Label(s.Context, maxName), "description": forge.Cut(s.Description, maxDescription)}
	if s.TargetURL != "" && len([]rune(s.TargetURL)) <= maxLink {
		in["target_url"] = s.TargetURL
	}
	a, err := c.Do(ctx, "POST", project(repo)+"/statuses/"+s.SHA, in)
	if err == nil && a.Status == http.StatusNotFound && strings.Contains(words(c, a), "References for commit") {
		if in["ref"], err = mergeRef(ctx, c, repo, s.SHA); err == nil && in["ref"] != "" {
			a, err = c.Do(ctx, "POST", project(repo)+"/statuses/"+s.SHA, in)
		}
	}
	if err != nil {
		return err
	}
	text := words(c, a)
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated:
		return nil
	case a.Status == http.StatusBadRequest && strings.Contains(text, "Cannot transition status") && strings.Contains(text, "from :"+states[s.State]):
		return nil
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", text)
	case a.Status == http.StatusForbidden && needed(a) != "":
		return c.Failed("set commit status of %s: the token lacks the scope %s", repo, c.Clean(needed(a)))
	case a.Status == http.StatusForbidden:
		return c.Failed("set commit status of %s: %s. The token's user needs the role Developer, or more for a protected branch", repo, text)
	case a.Status == http.StatusNotFound:
		return c.Failed("set commit status of %s: %s. There is no such project or commit, or the token's user may not see it", repo, text)
	}
	return c.Failed("set commit status of %s: %s", repo, text)
}

// mergeRef is the ref of a merge request whose newest commit is sha, "" if there is
// none. Source: GitLab, "List merge requests associated with a commit".
func mergeRef(ctx context.Context, c forge.REST, repo, sha string) (string, error) {
	a, err := c.Get(ctx, project(repo)+"/repository/commits/"+sha+"/merge_requests", "")
	if err != nil {
		return "", err
	}
	var list []merge
	if a.Status != http.StatusOK || !a.Decode(&list) {
		return "", nil // what was asked before says what is wrong
	}
	for _, m := range list {
		if strings.EqualFold(m.SHA, sha) {
			return fmt.Sprintf(deliveries.PullRef, m.IID), nil
		}
	}
	return "", nil
}
