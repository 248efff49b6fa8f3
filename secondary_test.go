package corbel_test

import (
	"context"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// A secondary source is beside the primary one, at its own version, fetched
// with the same token.
func TestSecondarySources(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - test \"$(cat $CODEBUILD_SRC_DIR_lib/file)\" = old\n      - test \"$PWD\" = \"$CODEBUILD_SRC_DIR\"\n"})
	ids, err := host.AddRepository(forgetest.Repository{Name: "octo/lib", Commits: []forgetest.Commit{{Files: map[string]string{"file": "old"}}, {Files: map[string]string{"file": "new"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-host", "github.com="+host.URL)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [true]\n")
	if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: planted}); err != nil {
		t.Fatal(err)
	}
	b := s.build(&api.StartBuildInput{
		ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/octo/app.git"), BuildspecOverride: new("buildspec.yml"),
		SecondarySourcesOverride:        []api.ProjectSource{{Type: "GITHUB", Location: new("https://github.com/octo/lib.git"), SourceIdentifier: new("lib")}},
		SecondarySourcesVersionOverride: []api.ProjectSourceVersion{{SourceIdentifier: new("lib"), SourceVersion: &ids[0]}},
	})
	if phase, code, message := problem(b); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the build is %s, in %s: %s %s", b.BuildStatus, phase, code, message)
	}
}
