// Package gitlab is the adapter for GitLab.
package gitlab

import (
	"net/http"

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
	GitUser: func(forge.Token) string { return "oauth2" },
	Tokens:  func(web string) string { return web + "/-/user_settings/personal_access_tokens" },
	New:     func(http.RoundTripper) forge.Forge { return nil },
}
