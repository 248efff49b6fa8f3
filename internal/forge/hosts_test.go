package forge_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/providers"
)

func hosts(t *testing.T, entries ...string) *forge.Hosts {
	t.Helper()
	h, err := forge.NewHosts(providers.All, entries)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHostsFor(t *testing.T) {
	t.Parallel()
	type want struct{ name, git, api string }
	for _, c := range []struct {
		entries []string
		server  api.ServerType
		want    []want
	}{
		{nil, api.ServerTypeGITHUB, []want{{"github.com", "https://github.com", "https://api.github.com"}}},
		{nil, api.ServerTypeBITBUCKET, []want{{"bitbucket.org", "https://bitbucket.org", "https://api.bitbucket.org/2.0"}}},
		{nil, api.ServerTypeGITLAB, []want{{"gitlab.com", "https://gitlab.com", "https://gitlab.com/api/v4"}}},
		{nil, api.ServerTypeGITHUB_ENTERPRISE, nil},
		{[]string{"github.com=http://127.0.0.1:3000"}, api.ServerTypeGITHUB, []want{{"github.com", "http://127.0.0.1:3000", "http://127.0.0.1:3000/api/v3"}}},
		{[]string{"github.com=https://github.com/"}, api.ServerTypeGITHUB, []want{{"github.com", "https://github.com", "https://api.github.com"}}},
		{[]string{"gitlab.com=http://localhost:3000"}, api.ServerTypeGITLAB, []want{{"gitlab.com", "http://localhost:3000", "http://localhost:3000/api/v4"}}},
		{
			[]string{"GITHUB_ENTERPRISE=https://GHE.Example.com:443/", "GITHUB_ENTERPRISE=https://octocorp.ghe.com", "GITLAB_SELF_MANAGED=https://[2001:DB8::1]:8443"},
			api.ServerTypeGITHUB_ENTERPRISE,
			[]want{{"ghe.example.com", "https://ghe.example.com", "https://ghe.example.com/api/v3"}, {"octocorp.ghe.com", "https://octocorp.ghe.com", "https://api.octocorp.ghe.com"}},
		},
		{[]string{"GITLAB_SELF_MANAGED=https://[2001:DB8::1]:8443"}, api.ServerTypeGITLAB_SELF_MANAGED, []want{{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/api/v4"}}},
	} {
		var got []want
		for _, h := range hosts(t, c.entries...).For(c.server) {
			got = append(got, want{h.Name, h.Git, h.API})
			if h.ServerType != c.server {
				t.Errorf("%v: For(%s) has a host of type %s", c.entries, c.server, h.ServerType)
			}
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%v: For(%s) (-want +got):\n%s", c.entries, c.server, diff)
		}
	}
}

func TestNewHostsRefuses(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := forgetest.New(forgetest.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	signer := filepath.Join(t.TempDir(), "signer.pem")
	if err := os.WriteFile(signer, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		entries []string
		text    string
	}{
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com ca=" + signer, "GITLAB_SELF_MANAGED=https://ghe.example.com"}, "two files of authorities"},
		{[]string{""}, "SERVER_TYPE=URL"},
		{[]string{"GITHUB_ENTERPRISE"}, "SERVER_TYPE=URL"},
		{[]string{"GITHUB_ENTERPRISE="}, "SERVER_TYPE=URL"},
		{[]string{"GITHUB=https://ghe.example.com"}, "before the equals sign"},
		{[]string{"evil.com=https://ghe.example.com"}, "before the equals sign"},
		{[]string{"GITHUB_ENTERPRISE=ghe.example.com"}, "want an address like"},
		{[]string{"GITHUB_ENTERPRISE=ftp://ghe.example.com"}, "want an address like"},
		{[]string{"GITHUB_ENTERPRISE=http://ghe.example.com"}, "use https"},
		{[]string{"GITHUB_ENTERPRISE=http://10.0.0.1"}, "use https"},
		{[]string{"GITHUB_ENTERPRISE=http://localhost.evil.com"}, "use https"},
		{[]string{"GITHUB_ENTERPRISE=http://127.0.0.1.evil.com"}, "use https"},
		{[]string{"GITHUB_ENTERPRISE=http://2130706433"}, "an address of numbers"},
		{[]string{"GITHUB_ENTERPRISE=https://a:b@ghe.example.com"}, "nothing else"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com/git"}, "nothing else"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com?x"}, "nothing else"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com:0"}, "port"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com:99999"}, "port"},
		{[]string{"GITHUB_ENTERPRISE=https://github.com"}, "known"},
		{[]string{"GITHUB_ENTERPRISE=https://api.github.com"}, "known"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com", "GITHUB_ENTERPRISE=https://GHE.example.com:443"}, "twice"},
		{[]string{"github.com=http://127.0.0.1:1", "github.com=http://127.0.0.1:2"}, "twice"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com ca=/nonexistent.pem"}, "read authorities"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com ca=" + empty}, "no certificate"},
		{[]string{"GITHUB_ENTERPRISE=https://ghe.example.com insecure"}, "only ca=FILE"},
		{[]string{"GITHUB_ENTERPRISE=http://127.0.0.1:1 insecure-ssl"}, "only ca=FILE"},
		{[]string{"GITHUB_ENTERPRISE=http://127.0.0.1:1 ca=" + empty}, "only ca=FILE"},
		{[]string{"x", "y"}, `host "y"`}, // all problems at once
	} {
		if _, err := forge.NewHosts(providers.All, c.entries); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("NewHosts(%q): error %v, want one that says %q", c.entries, err, c.text)
		}
	}
}

// A changed table is in force at once: tokens leave for what was added, and no
// more for what was removed.
func TestHosts_Set(t *testing.T) {
	t.Parallel()
	s, err := forgetest.New(forgetest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := hosts(t)
	rt := forge.Transport(h)
	t.Cleanup((&http.Client{Transport: rt}).CloseIdleConnections)
	send := func() error {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/api/v3/user", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer ghp_SetTest")
		res, err := rt.RoundTrip(r)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	if err := send(); err == nil {
		t.Error("a token left for a host that is not listed")
	}
	if err := h.Set([]string{"GITHUB_ENTERPRISE=" + s.URL}); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil {
		t.Errorf("a host that was added: %v", err)
	}
	if err := h.Set([]string{"nonsense"}); err == nil {
		t.Error("nonsense was accepted")
	}
	if err := send(); err != nil {
		t.Errorf("after a refused change: %v", err)
	}
	if err := h.Set(nil); err != nil {
		t.Fatal(err)
	}
	if err := send(); err == nil {
		t.Error("a token left for a host that was removed")
	}
	if n := len(s.Saw("ghp_SetTest")); n != 2 {
		t.Errorf("the host saw the token %d times, want 2", n)
	}
}
