// Package datacenter is the adapter for Bitbucket Data Center, which shares no
// more than the name with Bitbucket Cloud.
//
// It takes HTTP access tokens of a user, project or repository. The server
// tells nothing about a token, neither what it may do nor when it ends; that
// shows in what it is refused.
package datacenter

import (
	"context"
	"net/http"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Bitbucket Data Center.
var Provider = forge.Provider{
	Name: "Bitbucket Data Center",
	Own:  api.ServerTypeBITBUCKET_DATA_CENTER, APIPath: "/rest",
	GitPrefix: "scm", Personal: true,
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(forge.Token) string { return "x-token-auth" }, // any will do
	// Source: Bitbucket Data Center, "HTTP access tokens".
	Scopes: []forge.Scope{
		{Name: "Repository read", For: "clone private repositories, find their branches, tags and pull requests, and show the result of a build on its commit"},
		{Name: "Repository admin", For: "make and remove webhooks"},
	},
	Tokens:     func(web string) string { return web + "/plugins/servlet/access-tokens/manage" },
	Deliveries: deliveries,
	New:        func(rt http.RoundTripper) forge.Forge { return &Forge{rt} },
}

// A Forge speaks Bitbucket Data Center's REST API. It implements forge.Forge.
type Forge struct{ transport http.RoundTripper }

const (
	name = "Bitbucket Data Center"
	// maxKey and maxDescription are in characters.
	// Source: Bitbucket Data Center REST API, builds of a commit.
	maxKey         = 255
	maxDescription = 255
)

func (f *Forge) client(host forge.Host, t forge.Token) forge.REST {
	return forge.REST{Transport: f.transport, Host: host, Token: t.Value, Sign: func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+t.Value.Reveal())
		r.Header.Set("X-Atlassian-Token", "no-check") // this is no browser
	}}
}

// words are what an answer says of itself.
func words(c forge.REST, a *forge.Reply) string {
	var p struct{ Errors []struct{ Message string } }
	if a.Decode(&p) && len(p.Errors) > 0 && p.Errors[0].Message != "" {
		return c.Clean(p.Errors[0].Message)
	}
	return http.StatusText(a.Status)
}

// CheckCredential implements forge.Forge with a list of at most one repository.
// The answer's header names the user; a token that is not known would be
// nobody's.
func (f *Forge) CheckCredential(ctx context.Context, host forge.Host, t forge.Token) (forge.Check, error) {
	c := f.client(host, t)
	if err := c.CheckToken(); err != nil {
		return forge.Check{}, err
	}
	a, err := c.Do(ctx, "GET", "/api/1.0/repos?limit=1", nil)
	if err != nil {
		return forge.Check{}, err
	}
	var page struct{ Values *[]any }
	switch {
	case a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden:
		return forge.Check{}, c.Refused("%s. It is mistyped, revoked or expired, or lacks the permission Repository read", words(c, a))
	case a.Status != http.StatusOK || !a.Decode(&page) || page.Values == nil:
		return forge.Check{}, c.Strange(name, a)
	}
	user := c.Clean(a.Header.Get("X-AUSERNAME"))
	switch {
	case user == "" || strings.EqualFold(user, "anonymous"):
		// Servers that let everybody read answer a bad token as if it were none.
		return forge.Check{}, c.Refused("the server takes it for nobody's. It is mistyped, revoked or expired")
	case strings.HasPrefix(user, "access-token-user"):
		return forge.Check{Kind: forge.Resource, Remaining: -1}, nil
	}
	return forge.Check{Login: user, Kind: forge.Account, Remaining: a.Remaining("X-RateLimit-Remaining")}, nil
}

// repository is the address of a repository below an API, such as /api/1.0.
func repository(repo string) string {
	project, slug, _ := strings.Cut(repo, "/")
	return "/projects/" + project + "/repos/" + slug
}

// CheckRepository implements forge.Forge with GET of the repository and of its
// webhooks, which only who may change them may see. Whether a status may be
// set shows in the refusal of one without a state.
func (f *Forge) CheckRepository(ctx context.Context, host forge.Host, t forge.Token, repo string) (forge.Abilities, error) {
	c := f.client(host, t)
	a, err := c.Do(ctx, "GET", "/api/1.0"+repository(repo), nil)
	if err != nil {
		return forge.Abilities{}, err
	}
	no := func(why string) forge.Ability { return forge.Ability{Can: forge.No, Why: why} }
	switch a.Status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		why := no("the server says: " + words(c, a) + ". Correct the name, or give the token Repository read there")
		return forge.Abilities{Clone: why, Status: why, Hook: why}, nil
	default:
		return forge.Abilities{}, c.Strange(name, a)
	}
	out := forge.Abilities{Clone: forge.Ability{Can: forge.Yes}}
	if a, err = c.Do(ctx, "POST", "/api/1.0"+repository(repo)+"/commits/"+strings.Repeat("0", 40)+"/builds", map[string]string{}); err != nil {
		return forge.Abilities{}, err
	}
	switch a.Status {
	case http.StatusBadRequest:
		out.Status = forge.Ability{Can: forge.Yes}
	case http.StatusUnauthorized, http.StatusForbidden:
		out.Status = no("the server says: " + words(c, a) + ". The token needs Repository read")
	default:
		out.Status = forge.Ability{Can: forge.Unknown, Why: "the server is older than 7.4 and does not tell"}
	}
	if a, err = c.Do(ctx, "GET", "/api/1.0"+repository(repo)+"/webhooks?limit=1", nil); err != nil {
		return forge.Abilities{}, err
	}
	switch a.Status {
	case http.StatusOK:
		out.Hook = forge.Ability{Can: forge.Yes}
	default:
		out.Hook = no("the server says: " + words(c, a) + ". The token needs Repository admin")
	}
	return out, nil
}

// states are Bitbucket's words.
var states = map[string]string{forge.Pending: "INPROGRESS", forge.Success: "SUCCESSFUL", forge.Failure: "FAILED", forge.Fault: "FAILED"}

// SetStatus implements forge.Forge with POST .../commits/SHA/builds, or for
// servers before 7.4 with the older address for build statuses.
func (f *Forge) SetStatus(ctx context.Context, host forge.Host, t forge.Token, repo string, s forge.Status) error {
	c := f.client(host, t)
	if err := c.CheckStatus(repo, false, s); err != nil {
		return err
	}
	key := forge.Key(s.Context, maxKey)
	link := s.TargetURL
	if link == "" { // one is required
		link = host.Git + repository(repo) + "/commits/" + s.SHA
	}
	in := map[string]string{"key": key, "state": states[s.State], "name": forge.Label(s.Context, maxDescription), "description": forge.Cut(s.Description, maxDescription), "url": link}
	a, err := c.Do(ctx, "POST", "/api/1.0"+repository(repo)+"/commits/"+s.SHA+"/builds", in)
	if err == nil && (a.Status == http.StatusMethodNotAllowed || a.Status == http.StatusNotFound && !strings.Contains(string(a.Body), "errors")) {
		a, err = c.Do(ctx, "POST", "/build-status/1.0/commits/"+s.SHA, in)
	}
	if err != nil {
		return err
	}
	switch {
	case a.Status == http.StatusOK || a.Status == http.StatusCreated || a.Status == http.StatusNoContent:
		return nil
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", words(c, a))
	case a.Status == http.StatusForbidden || a.Status == http.StatusNotFound:
		return c.Failed("set commit status of %s: %s. The token needs Repository read there", repo, words(c, a))
	}
	return c.Failed("set commit status of %s: %s", repo, words(c, a))
}
