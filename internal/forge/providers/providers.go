// Package providers lists the source providers that Corbel knows. A new one is
// a package with an adapter and a line here.
package providers

import (
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/bitbucket"
	"github.com/corbel-build/corbel/internal/forge/datacenter"
	"github.com/corbel-build/corbel/internal/forge/gitea"
	"github.com/corbel-build/corbel/internal/forge/github"
	"github.com/corbel-build/corbel/internal/forge/gitlab"
)

// All is every provider, in the order in which people are shown them.
var All = []forge.Provider{
	github.Provider,
	bitbucket.Provider,
	gitlab.Provider,
	datacenter.Provider,
	gitea.Provider,
}
