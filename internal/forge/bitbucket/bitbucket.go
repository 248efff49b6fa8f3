// Package bitbucket is the adapter for Bitbucket Cloud.
package bitbucket

import (
	"net/http"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Bitbucket Cloud.
var Provider = forge.Provider{
	Name:   "Bitbucket",
	Server: api.ServerTypeBITBUCKET, Known: "bitbucket.org", Git: "https://bitbucket.org", API: "https://api.bitbucket.org/2.0",
	APIPath: "/2.0",
	Auth:    []api.AuthType{api.AuthTypeBASIC_AUTH, api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(t forge.Token) string {
		if t.Auth == api.AuthTypeBASIC_AUTH {
			return t.User
		}
		return "x-token-auth"
	},
	Tokens: func(string) string { return "https://id.atlassian.com/manage-profile/security/api-tokens" },
	New:    func(http.RoundTripper) forge.Forge { return nil },
}
