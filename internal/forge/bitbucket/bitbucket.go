// Package bitbucket is the adapter for Bitbucket Cloud.
//
// It takes three sorts of token. With BASIC_AUTH: an API token of an Atlassian
// account, whose user name is the account's e-mail address, or an app password
// of the time before those, whose user name is Bitbucket's. With
// PERSONAL_ACCESS_TOKEN: an access token of a repository, project or
// workspace, which has no user name.
//
// Bitbucket tells the scopes of each with every answer, but never when a token
// ends. There is no client library that keeps up with it.
package bitbucket

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Bitbucket Cloud.
var Provider = forge.Provider{
	Name:   "Bitbucket",
	Server: api.ServerTypeBITBUCKET, Known: "bitbucket.org", Git: "https://bitbucket.org", API: "https://api.bitbucket.org/2.0",
	APIPath:  "/2.0",
	Auth:     []api.AuthType{api.AuthTypeBASIC_AUTH, api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser:  gitUser,
	Scopes:   scopes(),
	UserHint: "the e-mail address of the Atlassian account for an API token, the Bitbucket user name for an app password",
	Tokens:   func(string) string { return "https://id.atlassian.com/manage-profile/security/api-tokens" },
	// Source: Atlassian, "Use OAuth on Bitbucket Cloud". The consumer says which
	// scopes.
	OAuth:      &forge.OAuthPaths{Authorize: "/site/oauth2/authorize", Token: "/site/oauth2/access_token", Basic: true},
	Deliveries: deliveries,
	New:        func(rt http.RoundTripper) forge.Forge { return &Forge{rt} },
}

// A Forge speaks Bitbucket Cloud's REST API. It implements forge.Forge.
type Forge struct{ transport http.RoundTripper }

const (
	name = "Bitbucket"
	// maxKey and maxDescription are in characters.
	// Source: Bitbucket Cloud REST API, "Create a build status for a commit".
	maxKey         = 40
	maxDescription = 255
)

// gitUser is the user name for git. An e-mail address is one for the REST API
// only.
// Source: Atlassian, "Using API tokens" and "Using access tokens".
func gitUser(t forge.Token) string {
	switch {
	case t.Auth != api.AuthTypeBASIC_AUTH:
		return "x-token-auth"
	case strings.Contains(t.User, "@"):
		return "x-bitbucket-api-token-auth"
	}
	return t.User
}

// asked are the scopes that the user guide asks for, with all the names that
// grant each: those of app passwords and access tokens, of OAuth consumers,
// and of API tokens.
// Source: user guide, "Access token prerequisites"; Atlassian, "Bitbucket
// OAuth scopes" and "API token permissions".
var asked = []struct {
	forge.Scope
	granted []string
}{
	{forge.Scope{Name: "repository:read", For: "clone private repositories and find their branches and tags"}, []string{
		"repository", "repository:read", "repository:write", "repository:admin", "read:repository:bitbucket", "pullrequest", "pullrequest:read", "pullrequest:write",
	}},
	{forge.Scope{Name: "pullrequest:read", For: "build pull requests"}, []string{
		"pullrequest", "pullrequest:read", "pullrequest:write", "read:pullrequest:bitbucket",
	}},
	{forge.Scope{Name: "webhook", For: "make and remove webhooks"}, []string{
		"webhook", "write:webhook:bitbucket",
	}},
}

func scopes() (list []forge.Scope) {
	for _, a := range asked {
		list = append(list, a.Scope)
	}
	return list
}

// granted reports whether one of the names is among the scopes.
func granted(scopes []string, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(scopes, n) })
}

// scopesOf reads the scopes that an answer tells; nil if it does not.
func scopesOf(a *forge.Reply) []string {
	told := a.Header.Values("X-OAuth-Scopes")
	if told == nil {
		return nil
	}
	list := []string{}
	for _, line := range told {
		for s := range strings.SplitSeq(line, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

// client calls host with the token.
func (f *Forge) client(host forge.Host, t forge.Token) forge.REST {
	return forge.REST{Transport: f.transport, Host: host, Token: t.Value, Sign: func(r *http.Request) {
		if t.Auth == api.AuthTypeBASIC_AUTH {
			r.SetBasicAuth(t.User, t.Value.Reveal())
		} else {
			r.Header.Set("Authorization", "Bearer "+t.Value.Reveal())
		}
	}}
}

// problem is Bitbucket's error document.
type problem struct {
	Error struct {
		Message string
		Detail  any // an object with required and granted, or a text
	}
}

// words are what an answer says of itself.
func words(c forge.REST, a *forge.Reply) string {
	var p problem
	if a.Decode(&p) && p.Error.Message != "" {
		return strings.TrimSuffix(c.Clean(p.Error.Message), ".")
	}
	return http.StatusText(a.Status)
}

// required are the scopes that an answer says are missing.
func required(a *forge.Reply) []string {
	var p struct {
		Error struct{ Detail struct{ Required []string } }
	}
	a.Decode(&p)
	return p.Error.Detail.Required
}

// kindOf tells by the header and the prefix.
// Source: Atlassian, formats of tokens.
func kindOf(t forge.Token, a *forge.Reply) forge.Kind {
	switch value := t.Value.Reveal(); {
	case t.Auth == api.AuthTypeOAUTH:
		return forge.OAuth
	case strings.HasPrefix(value, "ATCTT"), strings.HasSuffix(a.Header.Get("X-Credential-Type"), "_access_token") && t.Auth != api.AuthTypeBASIC_AUTH:
		return forge.Resource
	case strings.HasPrefix(value, "ATATT"):
		return forge.Account
	case strings.HasPrefix(value, "ATBB"):
		return forge.AppPassword
	}
	return ""
}

// CheckCredential implements forge.Forge with GET /user. A token of a
// repository, project or workspace is no user, and one without the account
// scope may not ask who it is; both are known by the way they are refused.
func (f *Forge) CheckCredential(ctx context.Context, host forge.Host, t forge.Token) (forge.Check, error) {
	c := f.client(host, t)
	if err := c.CheckToken(); err != nil {
		return forge.Check{}, err
	}
	a, err := c.Do(ctx, "GET", "/user", nil)
	if err != nil {
		return forge.Check{}, err
	}
	check := forge.Check{Kind: kindOf(t, a), Remaining: a.Remaining("X-RateLimit-Remaining")}
	check.Scopes = scopesOf(a)
	switch a.Status {
	case http.StatusOK:
		var user struct {
			Username, Nickname string
			DisplayName        string `json:"display_name"`
			UUID               string `json:"uuid"`
		}
		if !a.Decode(&user) || user.UUID == "" && user.Username == "" {
			return forge.Check{}, c.Strange(name, a)
		}
		for _, login := range []string{user.Username, user.Nickname, user.DisplayName} {
			if check.Login == "" {
				check.Login = c.Clean(login)
			}
		}
	case http.StatusUnauthorized:
		hint := "It is mistyped, revoked or expired"
		if t.Auth == api.AuthTypeBASIC_AUTH {
			hint += ", or the user name is not the right one: an API token goes with the e-mail address of the Atlassian account, an app password (which Bitbucket has switched off) with the Bitbucket user name"
		}
		return forge.Check{}, c.Refused("%s. %s", words(c, a), hint)
	case http.StatusForbidden, http.StatusNotFound:
		if check.Scopes == nil && required(a) == nil {
			return forge.Check{}, c.Strange(name, a)
		}
	default:
		return forge.Check{}, c.Strange(name, a)
	}
	if check.Scopes != nil {
		for _, want := range asked {
			if !granted(check.Scopes, want.granted...) {
				if check.Purpose == nil {
					check.Purpose = map[string]string{}
				}
				check.Missing, check.Purpose[want.Name] = append(check.Missing, want.Name), want.For
			}
		}
	}
	return check, nil
}

// CheckRepository implements forge.Forge with GET of the repository and the
// scopes that come with the answer.
func (f *Forge) CheckRepository(ctx context.Context, host forge.Host, t forge.Token, repo string) (forge.Abilities, error) {
	c := f.client(host, t)
	a, err := c.Do(ctx, "GET", "/repositories/"+repo, nil)
	if err != nil {
		return forge.Abilities{}, err
	}
	no := func(why string) forge.Ability { return forge.Ability{Can: forge.No, Why: why} }
	switch a.Status {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return forge.Abilities{}, c.Refused("%s", words(c, a))
	case http.StatusForbidden:
		why := no("Bitbucket says: " + words(c, a) + ". The token needs the scope " + cmp.Or(c.Clean(strings.Join(required(a), ", ")), "repository:read"))
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	case http.StatusNotFound:
		why := no("Bitbucket knows no repository " + repo + " that this token may see. Correct the name, or give the token's user access")
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	default:
		return forge.Abilities{}, c.Strange(name, a)
	}
	out := forge.Abilities{Clone: forge.Ability{Can: forge.Yes}}
	scopes := scopesOf(a)
	switch {
	case scopes == nil:
		unknown := forge.Ability{Can: forge.Unknown, Why: "Bitbucket did not tell the token's scopes"}
		out.Status, out.Hook = unknown, unknown
		return out, nil
	case granted(scopes, "repository", "repository:read", "repository:write", "repository:admin", "write:repository:bitbucket", "read:repository:bitbucket"):
		// Whether the user may write there, which is needed too, shows when the
		// first status is sent.
		out.Status = forge.Ability{Can: forge.Yes}
	default:
		out.Status = no("the token lacks the scope repository:read")
	}
	if granted(scopes, asked[2].granted...) {
		out.Hook = forge.Ability{Can: forge.Yes}
	} else {
		out.Hook = no("the token lacks the scope webhook (write:webhook:bitbucket for an API token)")
	}
	return out, nil
}

// states are Bitbucket's words.
var states = map[string]string{forge.Pending: "INPROGRESS", forge.Success: "SUCCESSFUL", forge.Failure: "FAILED", forge.Fault: "STOPPED"}

// SetStatus implements forge.Forge with POST .../commit/SHA/statuses/build.
// The key, which tells statuses of a commit apart, has room for short contexts
// only; longer ones become their hash, and all are in the name.
func (f *Forge) SetStatus(ctx context.Context, host forge.Host, t forge.Token, repo string, s forge.Status) error {
	c := f.client(host, t)
	if err := c.CheckStatus(repo, false, s); err != nil {
		return err
	}
	key := forge.Key(s.Context, maxKey)
	link := s.TargetURL
	if link == "" { // one is required
		link = "https://" + host.Name + "/" + repo + "/commits/" + s.SHA
	}
	a, err := c.Do(ctx, "POST", "/repositories/"+repo+"/commit/"+s.SHA+"/statuses/build", map[string]string{
		"key": key, "state": states[s.State], "name": forge.Label(s.Context, maxDescription), "description": forge.Cut(s.Description, maxDescription), "url": link,
	})
	if err != nil {
		return err
	}
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated:
		return nil
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", words(c, a))
	case a.Status == http.StatusForbidden:
		need := "The token's user cannot write to the repository"
		if r := required(a); r != nil {
			need = "The token lacks the scope " + c.Clean(strings.Join(r, ", "))
		}
		return c.Failed("set commit status of %s: %s. %s", repo, words(c, a), need)
	case a.Status == http.StatusNotFound:
		return c.Failed("set commit status of %s: %s. There is no such repository or commit, or the token's user may not see it", repo, words(c, a))
	}
	return c.Failed("set commit status of %s: %s", repo, words(c, a))
}
