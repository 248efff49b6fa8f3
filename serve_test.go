package corbel_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
)

// A key works as soon as it is made, and is refused soon after it is deleted,
// while the server runs.
func TestKeys_TakeEffect(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	pair := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "ci", "-data", s.data))
	c := s.client()
	c.AccessKeyID, c.Secret = pair[0], api.Secret(pair[1])
	if _, err := c.ListProjects(context.Background(), &api.ListProjectsInput{}); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if out := s.must(corbel(t), "keys", "list", "-data", s.data); !strings.Contains(out, pair[0]) || strings.Contains(out, pair[1]) {
		t.Errorf("keys list:\n%s", out)
	}
	s.must(corbel(t), "keys", "delete", pair[0], "-data", s.data)
	wait(t, "the refusal of a deleted key", func() bool {
		_, err := c.ListProjects(context.Background(), &api.ListProjectsInput{})
		return err != nil && strings.Contains(err.Error(), "UnrecognizedClientException")
	})
}

func TestServe_Refuses(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	if out, err := s.run(corbel(t), "serve", "-data", s.data, "-listen", "127.0.0.1:0"); err == nil || !strings.Contains(out, "another server runs") {
		t.Errorf("a second server: %v\n%s", err, out)
	}
	config := filepath.Join(t.TempDir(), "corbel.yaml")
	if err := os.WriteFile(config, []byte("builds: 1\nnonsense: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.run(corbel(t), "serve", "-config", config); err == nil || !strings.Contains(out, `unknown setting "nonsense"`) {
		t.Errorf("an unknown setting: %v\n%s", err, out)
	}
	// Another ring than the one that the database was sealed with.
	s.stop()
	if err := os.Remove(filepath.Join(s.data, "root.key")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(corbel(t), "serve", "-data", s.data, "-listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no ring of root keys") {
		t.Errorf("without the ring: %v\n%s", err, out)
	}
}

// "corbel env -profile" writes a profile that the AWS CLI reads.
func TestEnv_Profile(t *testing.T) {
	t.Parallel()
	program := awsCLI(t)
	s := serve(t, "-builds", "0")
	dir := t.TempDir()
	env := append(os.Environ(), "AWS_CONFIG_FILE="+dir+"/config", "AWS_SHARED_CREDENTIALS_FILE="+dir+"/credentials")
	for _, args := range [][]string{
		{corbel(t), "env", "-profile", "mine", "-data", s.data, "-region", "eu-central-1"},
		{program, "codebuild", "list-projects", "--profile", "mine"},
		{program, "sts", "get-caller-identity", "--profile", "mine"},
		{corbel(t), "codebuild", "list-projects", "--profile", "mine"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
