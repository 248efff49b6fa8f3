package github_test

import (
	"net/http"
	"testing"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/github"
)

func open(rt http.RoundTripper) forge.Forge { return github.New(rt) }

func TestForge(t *testing.T) {
	t.Parallel()
	forgetest.Run(t, open)
}
