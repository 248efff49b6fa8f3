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
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/corbel-build/corbel/api"
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
	writer.Go(func() {
		c := s.client()
		for i := 0; ctx.Err() == nil && i < 5000; i++ {
			if _, err := c.ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "BITBUCKET", AuthType: "PERSONAL_ACCESS_TOKEN", Token: "ATCTTBackupTest00000000000000001"}); err != nil {
				t.Errorf("while the backup is made: %v", err)
				return
			}
		}
	})
	file := filepath.Join(t.TempDir(), "corbel.backup")
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
	if out, err := exec.Command(corbel(t), "restore", "-in", file, "-data", other.data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
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
	if log := other.must(corbel(t), "logs", "app", "--build", *b.Id); !strings.Contains(log, "backed up") {
		t.Errorf("the restored log is\n%s", log)
	}
	if b := other.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeSUCCEEDED || *b.BuildNumber != 2 {
		t.Errorf("on the restored server build %d ended as %s", *b.BuildNumber, b.BuildStatus)
	}
}
