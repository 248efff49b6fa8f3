// Package gitea is the adapter for Gitea and Forgejo.
package gitea

import (
	"net/http"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Gitea and Forgejo.
var Provider = forge.Provider{
	Name: "Gitea",
	Own:  api.ServerTypeGITEA, APIPath: "/api/v1",
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(forge.Token) string { return "corbel" }, // any will do
	Tokens:  func(web string) string { return web + "/user/settings/applications" },
	New:     func(http.RoundTripper) forge.Forge { return nil },
}
