package corbel_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// A host of one's own gets the token from the moment it is listed, with the
// authorities that are named for it, and no longer than it is listed.
func TestHosts_Enterprise(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	needs(t, "git")
	host, err := forgetest.New(forgetest.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	const token = "ghp_EnterpriseTokenOfHostsTest00000001"
	host.AddToken(forgetest.Token{Value: token, Login: "mona", Scopes: []string{"repo"}})
	if _, err := host.AddRepository(forgetest.Repository{Name: "octo/app", Commits: []forgetest.Commit{{
		Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"echo built\"]}}\n"},
	}}}); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, host.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t)
	entry := "GITHUB_ENTERPRISE=" + host.URL
	load := func() (string, error) {
		return s.run("aws", "codebuild", "import-source-credentials", "--server-type", "GITHUB_ENTERPRISE", "--auth-type", "PERSONAL_ACCESS_TOKEN", "--token", token)
	}
	state := func(want string) {
		t.Helper()
		s.until("the state is "+want, func() bool {
			if out, err := load(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return s.health().State == want
		})
	}
	state("UNVERIFIED")
	s.must(corbel(t), "hosts", "add", entry, "-data", s.data) // its certificate is nobody's we know
	s.until("the host is asked", func() bool { _, _ = load(); return strings.Contains(s.health().Detail, "certificate") })
	s.must(corbel(t), "hosts", "remove", entry, "-data", s.data)
	s.must(corbel(t), "hosts", "add", entry+" ca="+ca, "-data", s.data)
	state("VALID")
	if list := s.must(corbel(t), "hosts", "list", "-data", s.data); !strings.Contains(list, host.URL+"/api/v3") || !strings.Contains(list, "hosts add") {
		t.Errorf("the list is\n%s", list)
	}
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB_ENTERPRISE, Location: new(host.URL + "/octo/app.git")})
	if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the build ended as %s", b.BuildStatus)
	}

	s.kill()
	s.start() // the file outlives the server
	state("VALID")
	s.must(corbel(t), "hosts", "remove", strings.TrimPrefix(host.URL, "https://"), "-data", s.data)
	state("UNVERIFIED")
	seen := len(host.Saw(token))
	if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeFAILED {
		t.Errorf("without the host the build ended as %s", b.BuildStatus)
	}
	if n := len(host.Saw(token)); n != seen {
		t.Errorf("a host that was removed got the token %d more times", n-seen)
	}
	for _, bad := range []string{"nonsense", "GITHUB_ENTERPRISE=http://ghe.example.com", "GITHUB_ENTERPRISE=https://github.com", "GITLAB=https://x.example.com"} {
		if out, err := s.run(corbel(t), "hosts", "add", bad, "-data", s.data); err == nil {
			t.Errorf("hosts add %s: %s", bad, out)
		}
	}
}

// Prometheus reads what became of the stored tokens, and never one.
func TestMetrics(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t, map[string]string{"x": "y"})
	host.AddToken(forgetest.Token{Value: planted, Scopes: []string{"repo"}, Expires: time.Now().Add(3 * 24 * time.Hour)})
	s := serve(t, "-host", "github.com="+host.URL, "-metrics", "127.0.0.1:0")
	s.load(planted)
	at := regexp.MustCompile(`url=(\S+/metrics)`).FindStringSubmatch(s.log.String())
	if at == nil {
		t.Fatal("the log does not say where the metrics are")
	}
	res, err := http.Get(at[1])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`server_type="GITHUB",state="EXPIRING"} 1`, "corbel_source_credential_expires_timestamp_seconds{", "corbel_builds_queued{", "process_open_fds"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(string(body), planted) {
		t.Error("the metrics show the token")
	}
}
