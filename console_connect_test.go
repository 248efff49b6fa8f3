package corbel_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// requests are those that a tab sends from now on, to its end.
func (b *tab) requests() func() []*network.EventRequestWillBeSent {
	b.t.Helper()
	tell(b, network.Enable, network.EnableParams{MaxPostDataSize: new(int64(1 << 16))})
	events := chromedp.Events(b.ctx, network.RequestWillBeSent)
	var mu sync.Mutex
	var list []*network.EventRequestWillBeSent
	go func() { // which ends with the tab
		for e, err := range events {
			if err != nil {
				return
			}
			mu.Lock()
			list = append(list, &e)
			mu.Unlock()
		}
	}()
	return func() []*network.EventRequestWillBeSent {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// sentOnce fails if a secret was in a request but the one that imports it.
func sentOnce(t *testing.T, list []*network.EventRequestWillBeSent, secret string) {
	t.Helper()
	imports := 0
	for _, r := range list {
		all, err := json.Marshal(r.Request)
		if err != nil {
			t.Fatal(err)
		}
		body := ""
		for _, e := range r.Request.PostDataEntries {
			body += string(e.Bytes)
		}
		if strings.Contains(r.Request.URL, secret) || strings.Contains(r.DocumentURL, secret) {
			t.Errorf("the token is in an address")
		}
		if !strings.Contains(string(all)+body, secret) {
			continue
		}
		if target := fmt.Sprint(r.Request.Headers["X-Amz-Target"]); target != "CodeBuild_20161006.ImportSourceCredentials" {
			t.Errorf("the token is in a call of %s", target)
		}
		imports++
	}
	if imports != 1 {
		t.Errorf("the token was sent %d times", imports)
	}
}

// needlesOf are a token raw and as an address would have it.
func needlesOf(token string) [][]byte { return [][]byte{[]byte(token), []byte(url.QueryEscape(token))} }

// keptNowhere fails if a token is in the server's data or log.
func (s *server) keptNowhere(needles [][]byte) {
	s.t.Helper()
	findPlanted(s.t, s.data, needles)
	for _, n := range needles {
		if strings.Contains(s.log.String(), string(n)) {
			s.t.Errorf("the server's log has the planted token (as %q...)", n[:8])
		}
	}
}

// credentials are what the page's third step for the CLI lists.
func (s *server) credentials(aws string) []map[string]string {
	s.t.Helper()
	var list struct{ SourceCredentialsInfos []map[string]string }
	if err := json.Unmarshal([]byte(s.must(aws, "codebuild", "list-source-credentials")), &list); err != nil {
		s.t.Fatal(err)
	}
	for _, info := range list.SourceCredentialsInfos {
		if !strings.HasPrefix(info["arn"], "arn:aws:codebuild:us-east-1:") {
			s.t.Errorf("arn = %s", info["arn"])
		}
		info["arn"] = info["arn"][strings.LastIndex(info["arn"], ":")+1:]
	}
	return list.SourceCredentialsInfos
}

// The steps of "Connect source providers with access tokens (console)" for
// GitHub, in its words, while a project is created; and what it is for: the
// private repository gets built, which is watched to its end.
func TestConsole_PageGitHub(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	aws := awsCLI(t)
	gate := newGate(t)
	host, sha := newHost(t, map[string]string{"buildspec.yml": gated(gate), "word": "before the gate"})
	s := serve(t, "-host", "github.com="+host.URL)
	b := s.console("projects")
	requests := b.requests()

	b.click("button", "Create build project")
	b.fill("Project name", "app")
	b.choose("Source provider", "GitHub")
	b.click("radio", "Connect with a GitHub personal access token")
	b.fill("GitHub personal access token", planted)
	b.click("button", "Save token")

	b.find("heading", "Connected to GitHub")
	b.reads("octocat", "repo", "Valid")
	b.holdsNo(needles()...)
	want := []map[string]string{{"authType": "PERSONAL_ACCESS_TOKEN", "serverType": "GITHUB", "arn": "token/github"}}
	if diff := cmp.Diff(want, s.credentials(aws)); diff != "" {
		t.Errorf("list-source-credentials (-want +got):\n%s", diff)
	}

	b.chooseRepository("app", "octo/app*")
	if got := b.value("combobox", "Repository URL"); got != "https://github.com/octo/app.git" {
		t.Errorf("the repository is %q", got)
	}
	b.click("button", "Create build project")
	b.find("heading", "app")
	b.arrives("/console/projects/app")

	b.watchBuild(gate)
	b.click("tab", "Build log")
	b.find("link", "*"+sha[:7]+"*")
	b.fillAs("searchbox", "Search in the log", "commit "+sha)
	b.reads("1 lines")
	awaitStatus(t, host, sha, "success")

	b.holdsNo(needles()...)
	sentOnce(t, requests(), planted)
	s.keptNowhere(needles())
}

// chooseRepository types into the field for a repository and chooses from what
// the provider has.
func (b *tab) chooseRepository(typed, option string) {
	b.t.Helper()
	b.fillAs("combobox", "Repository URL", typed)
	b.click("option", option)
}

// A gate holds a build until the test opens it.
type gate struct{ net.Listener }

func newGate(t *testing.T) gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return gate{l}
}

// command waits at the gate. Who waits is let go when the listener closes.
func (g gate) command() string {
	return fmt.Sprintf("bash -c 'read < /dev/tcp/127.0.0.1/%d; true'", g.Addr().(*net.TCPAddr).Port)
}

// gated is a buildspec whose build waits at a gate.
func gated(g gate) string {
	return "version: 0.2\nphases:\n  build:\n    commands:\n      - cat word; echo\n      - " + g.command() +
		"\n  post_build:\n    commands:\n      - echo behind the gate\n      - echo \"commit $CODEBUILD_RESOLVED_SOURCE_VERSION\"\n"
}

// watchBuild starts a build on the page of the project app and watches it to
// its end: it prints "before the gate" in its phase BUILD, waits there, and
// prints "behind the gate" in POST_BUILD.
func (b *tab) watchBuild(g gate) {
	b.t.Helper()
	b.click("button", "Start build")
	b.find("heading", "app #1")
	b.reads("In progress", "before the gate")
	b.find("status", "*")
	b.click("tab", "Phase details")
	b.in("list", "Phases").find("listitem", "*")
	b.reads("Download source Succeeded", "Pre build Succeeded", "Build In progress")
	b.click("tab", "Build log")
	b.reads("before the gate")
	g.Close()
	b.reads("behind the gate", "The log is complete.", "Succeeded")
	b.click("tab", "Phase details")
	b.reads("Build Succeeded", "Post build Succeeded", "Completed Succeeded")
	b.gone("button", "Stop")
}

// The same for Bitbucket.
func TestConsole_PageBitbucket(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	aws := awsCLI(t)
	gate := newGate(t)
	host, err := forgetest.New(forgetest.Options{Dialect: &forgetest.Bitbucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	const password = "ATBBPlantedInConsoleTests00000000000"
	host.AddToken(forgetest.Token{Value: password, Login: "mona", Scopes: []string{"account", "repository", "pullrequest", "webhook"}})
	if _, err := host.AddRepository(forgetest.Repository{Name: "octo/app", Commits: []forgetest.Commit{{Files: map[string]string{"buildspec.yml": gated(gate), "word": "before the gate"}}}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-host", "bitbucket.org="+host.URL)
	b := s.console("create-project")
	requests := b.requests()

	b.fill("Project name", "app")
	b.choose("Source provider", "Bitbucket")
	b.click("radio", "Connect with a Bitbucket app password")
	b.reads("Atlassian has replaced app passwords by API tokens")
	b.click("button", "Save Bitbucket credentials")
	b.reads("Enter the Bitbucket username.", "Enter the Bitbucket app password.")
	b.fill("Bitbucket username", "mona")
	b.fill("Bitbucket app password", password)
	b.click("button", "Save Bitbucket credentials")

	b.find("heading", "Connected to Bitbucket")
	b.reads("mona")
	b.holdsNo(needlesOf(password)...)
	want := []map[string]string{{"authType": "BASIC_AUTH", "serverType": "BITBUCKET", "arn": "token/bitbucket"}}
	if diff := cmp.Diff(want, s.credentials(aws)); diff != "" {
		t.Errorf("list-source-credentials (-want +got):\n%s", diff)
	}

	b.chooseRepository("app", "octo/app*")
	b.click("button", "Create build project")
	b.find("heading", "app")
	b.watchBuild(gate)

	b.holdsNo(needlesOf(password)...)
	sentOnce(t, requests(), password)
	s.keptNowhere(needlesOf(password))
}

// What is wrong with a token is said at once, by the provider's own reason, and
// scopes that are missing with what each is for. Then it is disconnected.
func TestConsole_Tokens(t *testing.T) {
	t.Parallel()
	aws := awsCLI(t)
	host, _ := newHost(t, map[string]string{"x": "y"})
	const refusedToken, narrow = "ghp_RefusedInConsoleTests000000000000001", "ghp_NarrowInConsoleTests0000000000000001"
	host.AddToken(forgetest.Token{Value: narrow, Login: "octocat", Scopes: []string{"repo:status"}})
	s := serve(t, "-builds", "0", "-host", "github.com="+host.URL)
	b := s.console("create-project")
	b.expects(refused) // of the token that the provider refuses
	const field = "GitHub personal access token"

	b.click("radio", "Connect with a GitHub personal access token")
	b.click("button", "Save token")
	b.reads("Enter the GitHub personal access token.")
	b.fill(field, refusedToken)
	b.click("button", "Save token")
	b.reads("Bad credentials")
	if list := s.credentials(aws); len(list) != 0 {
		t.Errorf("a refused token was stored: %v", list)
	}

	b.fill(field, "")
	b.paste(field, "  "+narrow+"\r\n")
	b.reads("Blanks or a line end around what you pasted were left out.")
	if got := b.value("textbox", field); got != narrow {
		t.Errorf("the field has %q", got)
	}
	b.click("button", "Save token")
	b.find("heading", "Connected to GitHub")
	health := s.health()
	if len(health.MissingScopes) == 0 {
		t.Fatalf("no scopes are missing: %+v", health)
	}
	b.reads("Scopes are missing")
	for _, m := range health.MissingScopes {
		b.reads(m.Scope + " is needed to " + m.NeededFor)
	}
	b.holdsNo(needlesOf(narrow)...)

	b.click("button", "Replace")
	b.fill(field, planted)
	b.click("button", "Save token")
	b.readsNot("Scopes are missing")
	b.reads("Valid")

	b.click("button", "Disconnect")
	b.in("dialog", "Disconnect GitHub?").click("button", "Disconnect")
	b.gone("heading", "Connected to GitHub")
	b.find("radio", "Connect with a GitHub personal access token")
	if list := s.credentials(aws); len(list) != 0 {
		t.Errorf("after it was disconnected: %v", list)
	}
	s.keptNowhere(append(append(needles(), needlesOf(narrow)...), needlesOf(refusedToken)...))
}

// The commands that the form shows, run with the real AWS CLI, make the same
// project as the form does.
func TestConsole_AsAWSCLI(t *testing.T) {
	t.Parallel()
	aws := awsCLI(t)
	host, _ := newHost(t, map[string]string{"x": "y"})
	s := serve(t, "-builds", "0", "-host", "github.com="+host.URL)
	s.load(planted)
	b := s.console("create-project")
	b.fill("Project name", "app")
	b.fill("Description*", `it's "quoted" $HOME `+"`date` \\ \u202e\u00e9\U0001f600")
	b.chooseRepository("app", "octo/app*")
	b.fill("Source version*", "refs/heads/a'b")
	b.click("radio", "Insert build commands")
	b.fill("Build commands", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo 'it''s' \"$HOME\" `date` !!\n")
	b.reads("build: 1 command")
	b.in("main", "*").click("button", "As AWS CLI and Terraform*")
	command := evaluate[string](b, `new Promise((f) => { const p = () => { const e = document.querySelector('pre[aria-label="the commands"]'); e ? f(e.textContent) : setTimeout(p, 20) }; p() })`)
	if strings.Contains(command, planted) || !strings.Contains(command, "--token file://token.txt") {
		t.Errorf("the commands are\n%s", command)
	}
	b.click("button", "Create build project")
	b.find("heading", "app")

	project := func() map[string]any {
		var out struct{ Projects []map[string]any }
		if err := json.Unmarshal([]byte(s.must(aws, "codebuild", "batch-get-projects", "--names", "app")), &out); err != nil || len(out.Projects) != 1 {
			t.Fatalf("batch-get-projects: %v, %v", out, err)
		}
		for _, own := range []string{"created", "lastModified"} {
			delete(out.Projects[0], own)
		}
		return out.Projects[0]
	}
	byForm := project()
	s.must(aws, "codebuild", "delete-project", "--name", "app")
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "token.txt"), []byte(planted), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-euc", command)
	cmd.Env, cmd.Dir = s.env(), work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nof\n%s", err, out, command)
	}
	if diff := cmp.Diff(byForm, project()); diff != "" {
		t.Errorf("the project by the form and by the AWS CLI (-form +CLI):\n%s", diff)
	}
}
