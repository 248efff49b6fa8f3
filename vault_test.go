package corbel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/vault/kek/kektest"
)

// The root key is changed while the server imports and builds, and nothing is
// lost; the former key opens nothing any more.
func TestVault_RotateWhileServing(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	ring := filepath.Join(s.data, "root.key")
	former, err := os.ReadFile(ring)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var imports atomic.Int64
	for range 4 {
		writers.Go(func() {
			c := s.client()
			for i := 0; ctx.Err() == nil && i < 2000; i++ {
				_, err := c.ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: planted})
				if err != nil {
					t.Errorf("while the key is changed: %v", err)
					return
				}
				imports.Add(1)
			}
		})
	}
	for i := range 3 {
		before := imports.Load()
		s.until("there are imports", func() bool { return imports.Load() > before })
		if out := s.must(corbel(t), "vault", "rotate", "-data", s.data); !strings.Contains(out, fmt.Sprintf("Root key %d", i+2)) {
			t.Errorf("rotate says %s", out)
		}
	}
	stop()
	writers.Wait()
	verify := s.must(corbel(t), "vault", "verify", "-data", s.data)
	for _, kind := range []string{"access-key", "source-credential", "check"} {
		if !strings.Contains(verify, "of kind "+kind+" open") {
			t.Errorf("verify says %s", verify)
		}
	}
	if status := s.must(corbel(t), "vault", "status", "-data", s.data); strings.Count(status, "retired") != 3 || strings.Count(status, "primary") != 1 {
		t.Errorf("status says %s", status)
	}
	if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the build ended as %s", b.BuildStatus)
	}
	s.stop()
	s.start() // with the new ring
	if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("after a restart the build ended as %s", b.BuildStatus)
	}
	findPlanted(t, s.data, needles())

	// The former ring, another one, one that others may read, and none: the
	// server says so and does not start.
	s.stop()
	current, err := os.ReadFile(ring)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data  []byte
		mode  os.FileMode
		words string
	}{
		"former": {former, 0o600, "root"}, "nonsense": {[]byte("x"), 0o600, "not a ring"}, "readable": {current, 0o644, "0600"}, "gone": {nil, 0, "no ring"},
	} {
		if err := os.Remove(ring); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if c.data != nil {
			if err := os.WriteFile(ring, c.data, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command(corbel(t), "serve", "-data", s.data, "-listen", "127.0.0.1:0").CombinedOutput(); err == nil || !strings.Contains(string(out), c.words) {
			t.Errorf("%s: serve says: %v %s", name, err, out)
		}
		if out, err := exec.Command(corbel(t), "vault", "verify", "-data", s.data).CombinedOutput(); err == nil {
			t.Errorf("%s: verify says %s", name, out)
		}
	}
	_ = os.Remove(ring)
	if err := os.WriteFile(ring, current, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
}

// A backup that is made while the server imports has everything acknowledged
// before, shows no secret, and with the ring is a server again.
func TestBackup_Restore(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"echo backed up\"]}}\n"})
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	b := s.build(&api.StartBuildInput{ProjectName: new("app")})
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	var acknowledged atomic.Int64 // projects w0, w1, ...
	c := s.client()
	model, err := c.BatchGetProjects(context.Background(), &api.BatchGetProjectsInput{Names: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	writer.Go(func() {
		for i := 0; ctx.Err() == nil && i < 5000; i++ {
			p := model.Projects[0]
			_, err := c.ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "BITBUCKET", AuthType: "PERSONAL_ACCESS_TOKEN", Token: "ATCTTBackupTest00000000000000001"})
			if err == nil {
				_, err = c.CreateProject(context.Background(), &api.CreateProjectInput{
					Name: new(fmt.Sprint("w", i)), ServiceRole: p.ServiceRole, Source: p.Source, Artifacts: p.Artifacts, Environment: p.Environment,
				})
			}
			if err != nil {
				t.Errorf("while the backup is made: %v", err)
				return
			}
			acknowledged.Add(1)
		}
	})
	s.until("there are projects", func() bool { return acknowledged.Load() > 20 })
	file := filepath.Join(t.TempDir(), "corbel.backup")
	promised := acknowledged.Load()
	s.must(corbel(t), "backup", "-out", file, "-data", s.data)
	stop()
	writer.Wait()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := os.ReadFile(filepath.Join(s.data, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append(needles(), ring, []byte("BackupTest")) {
		if bytes.Contains(raw, n) || bytes.Contains(plain, n) {
			t.Errorf("the backup has %.8q...", n)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode is %v, %v", info.Mode(), err)
	}
	if out, err := s.run(corbel(t), "restore", "-in", file, "-data", s.data); err == nil {
		t.Errorf("restore over a server: %s", out)
	}

	other := serve(t, "-host", "github.com="+host.URL)
	other.stop()
	if err := os.RemoveAll(other.data); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(corbel(t), "restore", "-in", file, "-data", other.data).CombinedOutput(); err != nil || !strings.Contains(string(out), "They need root key 1.") {
		t.Fatalf("%v: %s", err, out)
	}
	checked := filepath.Join(t.TempDir(), "checked")
	if out, err := exec.Command(corbel(t), "restore", "-in", file, "-data", checked, "-root-key", filepath.Join(s.data, "root.key")).CombinedOutput(); err != nil || !strings.Contains(string(out), "of kind source-credential open") {
		t.Errorf("restore with the ring: %v: %s", err, out)
	}
	if out, err := exec.Command(corbel(t), "restore", "-in", file, "-data", filepath.Join(t.TempDir(), "x"), "-root-key", filepath.Join(serve(t, "-builds", "0").data, "root.key")).CombinedOutput(); err == nil || !strings.Contains(string(out), "do not open") {
		t.Errorf("restore with another ring: %v: %s", err, out)
	}
	if out, err := exec.Command(corbel(t), "serve", "-data", other.data, "-listen", "127.0.0.1:0").CombinedOutput(); err == nil || !strings.Contains(string(out), "no ring of root keys") {
		t.Fatalf("without the ring the server says: %v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(other.data, "root.key"), ring, 0o600); err != nil {
		t.Fatal(err)
	}
	other.start()
	other.must(corbel(t), "vault", "verify", "-data", other.data)
	other.must(corbel(t), "audit", "verify", "-data", other.data)
	var names []string
	for i := range promised {
		names = append(names, fmt.Sprint("w", i))
	}
	for part := range slices.Chunk(names, 100) {
		if got, err := other.client().BatchGetProjects(context.Background(), &api.BatchGetProjectsInput{Names: part}); err != nil || len(got.Projects) != len(part) {
			t.Errorf("of %d projects acknowledged before the backup, %v are missing (%v)", promised, got.ProjectsNotFound, err)
		}
	}
	if list := other.must(corbel(t), "codebuild", "list-source-credentials"); !strings.Contains(list, "GITHUB") {
		t.Errorf("the restored credentials are %s", list)
	}
	if log := other.must(corbel(t), "logs", "app", "--build", *b.Id); !strings.Contains(log, "backed up") {
		t.Errorf("the restored log is\n%s", log)
	}
	if b := other.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED || *b.BuildNumber != 2 {
		t.Errorf("on the restored server build %d ended as %s", *b.BuildNumber, b.BuildStatus)
	}
}

// The root keys are wrapped while the server runs, by one thing after another.
// The server follows, and starts only with what unwraps them.
func TestVault_Wrap(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	builds := func() {
		t.Helper()
		if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED {
			t.Errorf("the build ended as %s", b.BuildStatus)
		}
	}
	ring := filepath.Join(s.data, "root.key")
	secrets := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		file := filepath.Join(secrets, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	refuses := func(words ...string) {
		t.Helper()
		s.stop()
		for _, args := range [][]string{{"serve", "-data", s.data, "-listen", "127.0.0.1:0"}, {"vault", "verify", "-data", s.data}, {"keys", "list", "-data", s.data}} {
			out, err := exec.Command(corbel(t), args...).CombinedOutput()
			if err == nil {
				t.Errorf("%q: %s", args, out)
			}
			for _, w := range words {
				if !strings.Contains(string(out), w) {
					t.Errorf("%q says %s, want %q", args, out, w)
				}
			}
			if strings.Contains(string(out), kektest.Token) || strings.Contains(string(out), "horse") {
				t.Errorf("%q tells a secret: %s", args, out)
			}
		}
	}

	transit := kektest.Transit(t, "corbel")
	token := put("token", kektest.Token)
	s.must(corbel(t), "vault", "wrap", "transit", "-address", transit.URL, "-key", "corbel", "-token-file", token, "-data", s.data)
	s.load(planted)
	s.must(corbel(t), "vault", "rotate", "-data", s.data)
	s.load(planted)
	builds()
	if status := s.must(corbel(t), "vault", "status", "-data", s.data); !strings.Contains(status, "wrapped by transit") || !strings.Contains(status, token) {
		t.Errorf("status says %s", status)
	}
	if file, err := os.ReadFile(ring); err != nil || !bytes.Contains(file, []byte("transit")) || bytes.Contains(file, []byte(kektest.Token)) {
		t.Errorf("the ring is %s, %v", file, err)
	}
	transit.Fail(true)
	builds() // a server that runs needs it no more
	refuses("transit", "Vault is sealed")
	transit.Fail(false)
	put("token", "hvs.expired")
	refuses("transit", "permission denied")
	put("token", kektest.Token)
	s.start()
	builds()

	phrase := put("phrase", "correct horse battery staple\n")
	s.must(corbel(t), "vault", "wrap", "passphrase", "-file", phrase, "-data", s.data)
	calls := transit.Calls()
	s.load(planted)
	put("phrase", "wrong horse battery staple\n")
	refuses("passphrase is not the one")
	if err := os.Chmod(phrase, 0o640); err != nil {
		t.Fatal(err)
	}
	refuses("0640")
	if err := os.Remove(phrase); err != nil {
		t.Fatal(err)
	}
	refuses("read the passphrase", phrase)
	put("phrase", "correct horse battery staple\n")
	s.start()
	builds()
	if now := transit.Calls(); now != calls {
		t.Errorf("the transit engine was asked %d times though nothing is wrapped by it", now-calls)
	}
	s.must(corbel(t), "vault", "wrap", "none", "-data", s.data)
	s.stop()
	s.start()
	builds()
	s.must(corbel(t), "vault", "verify", "-data", s.data)
	s.must(corbel(t), "audit", "verify", "-data", s.data)
	findPlanted(t, s.data, append(needles(), []byte(kektest.Token), []byte("battery staple")))
	for _, wrong := range [][]string{{"wrap"}, {"wrap", "rot13"}, {"wrap", "passphrase"}, {"wrap", "none", "-key", "x"}, {"verify", "-file", "x"}, {"unwrap"}} {
		cmd := exec.Command(corbel(t), append(append([]string{"vault"}, wrong...), "-data", s.data)...)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("vault %q: %v %s", wrong, err, out)
		}
	}
}

// A ring that is made before the first start is wrapped from the beginning.
func TestVault_WrappedFirst(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.stop()
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	phrase := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(corbel(t), "vault", "wrap", "passphrase", "-file", phrase, "-data", s.data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ring, err := os.ReadFile(filepath.Join(s.data, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	s.load(planted)
	if now, err := os.ReadFile(filepath.Join(s.data, "root.key")); err != nil || !bytes.Equal(now, ring) || !bytes.Contains(ring, []byte("passphrase")) {
		t.Errorf("the ring is %s, %v", now, err)
	}
}
