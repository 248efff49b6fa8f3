// Package datacenter is the adapter for Bitbucket Data Center.
package datacenter

import (
	"net/http"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Provider describes Bitbucket Data Center.
var Provider = forge.Provider{
	Name: "Bitbucket Data Center",
	Own:  api.ServerTypeBITBUCKET_DATA_CENTER, APIPath: "/rest/api/1.0",
	GitPrefix: "scm", Personal: true,
	Auth:    []api.AuthType{api.AuthTypePERSONAL_ACCESS_TOKEN},
	GitUser: func(forge.Token) string { return "x-token-auth" },
	Tokens:  func(web string) string { return web + "/plugins/servlet/access-tokens/manage" },
	New:     func(http.RoundTripper) forge.Forge { return nil },
}
