package corbel_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// With git-credential-helper, the commands of a build read private repositories
// of the credential's host, write nothing, and never have the token.
func TestGitCredentialHelper(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"x": "y"})
	if _, err := host.AddRepository(forgetest.Repository{Name: "octo/library", Commits: []forgetest.Commit{{Files: map[string]string{"word": "from the library"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := host.AddCommits("octo/app", forgetest.Commit{Branch: "other", Files: map[string]string{"word": "from the other branch"}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	spec := func(helper, as string) string {
		return "version: 0.2\nrun-as: " + as + "\nenv: {git-credential-helper: " + helper + `}
phases:
  build:
    commands:
      - cp -r . /tmp/app && cd /tmp/app && export HOME=/tmp
      - git -c safe.directory='*' fetch -q origin other && git -c safe.directory='*' show FETCH_HEAD:word
      - git ls-remote https://github.com/octo/library.git
      - git clone -q https://github.com/octo/library.git && cat library/word
      - cd library && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m x
      - if GIT_TERMINAL_PROMPT=0 git push origin HEAD:refs/heads/evil; then exit 9; fi
      - if git push "$(sed -n 's/.*"\(http:.*\)".*/\1/p' $GIT_CONFIG_SYSTEM | head -1)octo/app.git" HEAD:refs/heads/evil; then exit 9; fi
      - env; cat $GIT_CONFIG_SYSTEM; cat .git/config; git config --list; cat /proc/*/environ /proc/*/cmdline; true
`
	}
	for _, as := range []string{"root", "nobody"} {
		s.projectOf("app-"+as, &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git"), Buildspec: new(spec("yes", as))})
		b := s.build(&api.StartBuildInput{ProjectName: new("app-" + as)})
		log := s.must(corbel(t), "logs", "app-"+as, "--build", *b.Id)
		if b.BuildStatus != api.StatusTypeSUCCEEDED {
			t.Fatalf("as %s: %s\n%s", as, b.BuildStatus, log)
		}
		for _, want := range []string{"from the other branch", "from the library", "refs/heads/main", "may read from https://github.com"} {
			if !strings.Contains(log, want) {
				t.Errorf("as %s: the log lacks %q:\n%s", as, want, log)
			}
		}
		for _, n := range needles() {
			if strings.Contains(log, string(n)) {
				t.Errorf("as %s: the log has the token", as)
			}
		}
		if regexp.MustCompile(`Corbel-Capability: \w{20}`).MatchString(log) {
			t.Errorf("as %s: the log has what opens the gate:\n%s", as, log)
		}
	}
	if audit := s.must(corbel(t), "audit", "list", "-data", s.data); strings.Count(audit, "BUILD_COMMANDS at github.com for build app-") != 2 {
		t.Errorf("the audit log has\n%s", audit)
	}

	b := s.build(&api.StartBuildInput{ProjectName: new("app-root"), BuildspecOverride: new("version: 0.2\nphases: {build: {commands: [\"GIT_TERMINAL_PROMPT=0 git ls-remote https://github.invalid/octo/library.git\"]}}\n")})
	if b.BuildStatus != api.StatusTypeFAILED {
		t.Errorf("without the helper: %s", b.BuildStatus)
	}
	b = s.build(&api.StartBuildInput{ProjectName: new("app-root"), BuildspecOverride: new(spec("no", "root"))})
	if b.BuildStatus != api.StatusTypeFAILED {
		t.Errorf("without the helper: %s", b.BuildStatus)
	}
	b = s.build(&api.StartBuildInput{ProjectName: new("app-root"), BuildspecOverride: new(spec("maybe", "root"))})
	if phase, _, message := problem(b); phase != "DOWNLOAD_SOURCE" || !strings.Contains(message, "git-credential-helper is maybe. Expecting: yes,no") {
		t.Errorf("a helper that is neither: %s %s", phase, message)
	}

	// The token is refused from one command to the next.
	out, err := s.client().StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app-root"), BuildspecOverride: new(`version: 0.2
env: {git-credential-helper: yes}
phases:
  build:
    commands:
      - git ls-remote https://github.com/octo/library.git
      - until ! git ls-remote https://github.com/octo/library.git 2>&1; do sleep 0.05; done
`)})
	if err != nil {
		t.Fatal(err)
	}
	s.until("git has read", func() bool {
		log, _ := s.run(corbel(t), "logs", "app-root", "--build", *out.Build.Id)
		return strings.Contains(log, "refs/heads/main")
	})
	list, err := s.client().ListSourceCredentials(context.Background(), &api.ListSourceCredentialsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client().DeleteSourceCredentials(context.Background(), &api.DeleteSourceCredentialsInput{Arn: list.SourceCredentialsInfos[0].Arn}); err != nil {
		t.Fatal(err)
	}
	if b := s.await(*out.Build.Id); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("after its credential was deleted, the build ended as %s", b.BuildStatus)
	}
	findPlanted(t, s.data, needles())
}
