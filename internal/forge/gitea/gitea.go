// Package gitea is the adapter for Gitea and Forgejo, whose APIs are one.
//
// A token tells nothing of itself: its scopes show in what it is refused, and
// it has no end. The library of Gitea asks the server for its version before
// anything else and bounds no answer.
package gitea

import (
	"context"
	"net/http"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Gitea and Forgejo.
var Provider = forge.Provider{
	Name: "Gitea",
	Own:  api.ServerTypeGITEA, APIPath: "/api/v1",
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(forge.Token) string { return "corbel" }, // any will do
	// Source: Gitea's documentation, "OAuth2 provider", scopes.
	Scopes: []forge.Scope{
		{Name: "read:user", For: "tell whose token it is"},
		{Name: "write:repository", For: "clone private repositories, show the result of a build on its commit, and make and remove webhooks"},
	},
	Tokens:     func(web string) string { return web + "/user/settings/applications" },
	Deliveries: deliveries,
	New:        func(rt http.RoundTripper) forge.Forge { return &Forge{rt} },
}

// A Forge speaks the REST API of Gitea and Forgejo. It implements forge.Forge.
type Forge struct{ transport http.RoundTripper }

const (
	name = "Gitea"
	// maxDescription is in characters.
	maxDescription = 255
)

func (f *Forge) client(host forge.Host, t forge.Token) forge.REST {
	return forge.REST{Transport: f.transport, Host: host, Token: t.Value, Sign: func(r *http.Request) {
		r.Header.Set("Authorization", "token "+t.Value.Reveal())
	}}
}

// words are what an answer says of itself.
func words(c forge.REST, a *forge.Reply) string {
	var p struct{ Message string }
	if a.Decode(&p) && p.Message != "" {
		return c.Clean(p.Message)
	}
	return http.StatusText(a.Status)
}

// unscoped reports whether a good token was refused for want of a scope.
// Source: Gitea, routers of the API: "token does not have at least one of
// required scope(s)".
func unscoped(a *forge.Reply) bool {
	return a.Status == http.StatusForbidden && strings.Contains(string(a.Body), "required scope")
}

// CheckCredential implements forge.Forge with GET /user.
func (f *Forge) CheckCredential(ctx context.Context, host forge.Host, t forge.Token) (forge.Check, error) {
	c := f.client(host, t)
	if err := c.CheckToken(); err != nil {
		return forge.Check{}, err
	}
	a, err := c.Do(ctx, "GET", "/user", nil)
	if err != nil {
		return forge.Check{}, err
	}
	var user struct{ Login string }
	switch {
	case a.Status == http.StatusOK && a.Decode(&user) && user.Login != "":
		return forge.Check{Login: c.Clean(user.Login), Kind: forge.Account, Remaining: -1}, nil
	case unscoped(a): // good, but not for read:user
		return forge.Check{Kind: forge.Account, Remaining: -1}, nil
	case a.Status == http.StatusUnauthorized:
		return forge.Check{}, c.Refused("%s. It is mistyped or was deleted", words(c, a))
	case a.Status == http.StatusForbidden:
		return forge.Check{}, c.Refused("%s", words(c, a)) // such as a user who may not sign in
	}
	return forge.Check{}, c.Strange(name, a)
}

// CheckRepository implements forge.Forge with GET /repos/O/R, which tells the
// user's rights. The token's own show in the refusal of a status without a
// state, and in whether the hooks may be seen.
func (f *Forge) CheckRepository(ctx context.Context, host forge.Host, t forge.Token, repo string) (forge.Abilities, error) {
	c := f.client(host, t)
	a, err := c.Do(ctx, "GET", "/repos/"+repo, nil)
	if err != nil {
		return forge.Abilities{}, err
	}
	no := func(why string) forge.Ability { return forge.Ability{Can: forge.No, Why: why} }
	var r struct {
		Permissions struct{ Admin, Push, Pull bool }
	}
	switch {
	case a.Status == http.StatusOK && a.Decode(&r):
	case a.Status == http.StatusUnauthorized:
		return forge.Abilities{}, c.Refused("%s", words(c, a))
	case unscoped(a):
		why := no("the token lacks the scope read:repository")
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	case a.Status == http.StatusForbidden || a.Status == http.StatusNotFound:
		why := no("the server knows no repository " + repo + " that this token may see. Correct the name, or give the token's user access")
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	default:
		return forge.Abilities{}, c.Strange(name, a)
	}
	out := forge.Abilities{Clone: forge.Ability{Can: forge.Yes}}
	if !r.Permissions.Push {
		out.Status = no("the token's user may not write to the repository")
	} else if a, err = c.Do(ctx, "POST", "/repos/"+repo+"/statuses/"+strings.Repeat("0", 40), map[string]string{"state": "none"}); err != nil {
		return forge.Abilities{}, err
	} else if unscoped(a) {
		out.Status = no("the token lacks the scope write:repository")
	} else {
		out.Status = forge.Ability{Can: forge.Yes}
	}
	if !r.Permissions.Admin {
		out.Hook = no("the token's user does not administer the repository")
	} else if out.Status.Can == forge.No {
		out.Hook = out.Status // one scope is for both
	} else {
		out.Hook = forge.Ability{Can: forge.Yes}
	}
	return out, nil
}

// SetStatus implements forge.Forge with POST /repos/O/R/statuses/SHA. The
// states have GitHub's names.
func (f *Forge) SetStatus(ctx context.Context, host forge.Host, t forge.Token, repo string, s forge.Status) error {
	c := f.client(host, t)
	if err := c.CheckStatus(repo, false, s); err != nil {
		return err
	}
	a, err := c.Do(ctx, "POST", "/repos/"+repo+"/statuses/"+s.SHA, map[string]string{
		"state": s.State, "context": s.Context, "description": forge.Cut(s.Description, maxDescription), "target_url": s.TargetURL,
	})
	if err != nil {
		return err
	}
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated:
		return nil
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", words(c, a))
	case unscoped(a):
		return c.Failed("set commit status of %s: the token lacks the scope write:repository", repo)
	case a.Status == http.StatusForbidden || a.Status == http.StatusNotFound:
		return c.Failed("set commit status of %s: %s. The token's user may not write there, or there is no such repository or commit", repo, words(c, a))
	}
	return c.Failed("set commit status of %s: %s", repo, words(c, a))
}
