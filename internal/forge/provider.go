package forge

import (
	"net/http"

	"github.com/corbel-build/corbel/api"
)

// A Provider is what has to be known of one kind of source provider. Each
// adapter exports one; package providers lists them.
type Provider struct {
	Name string // for people, such as "GitHub"

	// Server is the server type of the host that everybody knows, "" if there
	// is none. Known, Git and API are its name and addresses, as in Host.
	Server          api.ServerType
	Known, Git, API string

	// Own is the server type of installations of one's own, "" if there are
	// none, and APIPath the path of their REST API. A known host that is sent
	// elsewhere has its API there too.
	Own     api.ServerType
	APIPath string
	// OwnAPI, if not nil, gives the address of the API of some installations
	// by the host's name, or "" for APIPath.
	OwnAPI func(name string) string

	// Groups says that an owner may be a path of groups, GitPrefix is the
	// first part of the path of every repository, such as "scm", and Personal
	// says that an owner may begin with a tilde.
	Groups    bool
	GitPrefix string
	Personal  bool

	// Auth are the auth types of the tokens that can be imported.
	Auth []api.AuthType
	// GitUser is the user name that git presents beside a token.
	GitUser func(Token) string
	// Scopes are what a token should be allowed, in the order in which the user
	// guide asks for them.
	Scopes []Scope
	// UserHint says what the user name beside a token is, where there is one.
	UserHint string
	// Tokens is the page where a user makes a token, for a host's web address.
	Tokens func(web string) string

	// OAuth is where people connect without a token of their own making, nil
	// where Corbel cannot.
	OAuth *OAuthPaths

	// Deliveries is how webhooks of the provider are read.
	Deliveries Deliveries

	New func(http.RoundTripper) Forge
}

// A Scope is something that a token is allowed, as the provider calls it, and
// what would not work without it.
type Scope struct{ Name, For string }

// types are the server types of p.
func (p Provider) types() []api.ServerType {
	var list []api.ServerType
	for _, t := range []api.ServerType{p.Server, p.Own} {
		if t != "" {
			list = append(list, t)
		}
	}
	return list
}

// Provider returns whose hosts have the server type, which is also the name of
// the source type.
func (h *Hosts) Provider(t api.ServerType) (Provider, bool) {
	for _, p := range h.providers {
		for _, own := range p.types() {
			if own == t {
				return p, true
			}
		}
	}
	return Provider{}, false
}

// ServerTypes returns every server type, in the order of the providers.
func (h *Hosts) ServerTypes() []api.ServerType {
	var list []api.ServerType
	for _, p := range h.providers {
		list = append(list, p.types()...)
	}
	return list
}

// Forges opens the adapter of each provider over rt, by server type.
func (h *Hosts) Forges(rt http.RoundTripper) map[api.ServerType]Forge {
	all := map[api.ServerType]Forge{}
	for _, p := range h.providers {
		f := p.New(rt)
		for _, t := range p.types() {
			all[t] = f
		}
	}
	return all
}
