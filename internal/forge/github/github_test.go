package github_test

import (
	"testing"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/github"
)

func TestForge(t *testing.T) {
	t.Parallel()
	forgetest.Run(t, github.Provider)
}
