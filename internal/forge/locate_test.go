package forge_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
)

// listed are the hosts of the tests of Locate.
var listed = []string{
	"GITHUB_ENTERPRISE=https://ghe.example.com",
	"GITHUB_ENTERPRISE=https://ghe.example.com:8443",
	"GITHUB_ENTERPRISE=https://192.0.2.7",
	"GITHUB_ENTERPRISE=http://127.0.0.1:3000",
	"GITLAB_SELF_MANAGED=https://git.example.com",
}

func TestLocate(t *testing.T) {
	t.Parallel()
	h := hosts(t, listed...)
	const (
		hub, ghe, bb = api.SourceTypeGITHUB, api.SourceTypeGITHUB_ENTERPRISE, api.SourceTypeBITBUCKET
		lab, own     = api.SourceTypeGITLAB, api.SourceTypeGITLAB_SELF_MANAGED
	)
	for _, c := range []struct {
		source   api.SourceType
		location string
		url      string
		name     string
		trusted  bool
	}{
		{hub, "https://github.com/octo-org/shop", "https://github.com/octo-org/shop.git", "octo-org/shop", true},
		{hub, "https://github.com/octo-org/shop.git", "https://github.com/octo-org/shop.git", "octo-org/shop", true},
		{hub, "https://github.com/octo-org/shop/", "https://github.com/octo-org/shop.git", "octo-org/shop", true},
		{hub, "HTTPS://GitHub.com:443/Octo-Org/Shop_2.js", "https://github.com/Octo-Org/Shop_2.js.git", "Octo-Org/Shop_2.js", true},
		{hub, "https://github.com/o/-x", "https://github.com/o/-x.git", "o/-x", true},
		{hub, "https://github.com/o/.github", "https://github.com/o/.github.git", "o/.github", true},
		{bb, "https://bitbucket.org/team/shop.git", "https://bitbucket.org/team/shop.git", "team/shop", true},
		{bb, "https://mona@bitbucket.org/team/shop.git", "https://bitbucket.org/team/shop.git", "team/shop", true},
		{lab, "https://gitlab.com/group/sub/sub2/shop", "https://gitlab.com/group/sub/sub2/shop.git", "group/sub/sub2/shop", true},
		{own, "https://git.example.com/group/sub/shop", "https://git.example.com/group/sub/shop.git", "group/sub/shop", true},
		{ghe, "https://ghe.example.com/o/r", "https://ghe.example.com/o/r.git", "o/r", true},
		{ghe, "https://GHE.example.com:8443/o/r", "https://ghe.example.com:8443/o/r.git", "o/r", true},
		{ghe, "https://192.0.2.7/o/r", "https://192.0.2.7/o/r.git", "o/r", true},
		{ghe, "http://127.0.0.1:3000/o/r", "http://127.0.0.1:3000/o/r.git", "o/r", true},
		// Hosts that nobody listed are read without a token.
		{ghe, "https://other.example.com/o/r", "https://other.example.com/o/r.git", "o/r", false},
		{ghe, "https://ghe.example.com:9443/o/r", "https://ghe.example.com:9443/o/r.git", "o/r", false},
		{ghe, "https://ghe.example.com.evil.net/o/r", "https://ghe.example.com.evil.net/o/r.git", "o/r", false},
		{ghe, "https://xghe.example.com/o/r", "https://xghe.example.com/o/r.git", "o/r", false},
		{ghe, "https://xn--ghe-9na.example.com/o/r", "https://xn--ghe-9na.example.com/o/r.git", "o/r", false},
		{ghe, "https://github.com.evil.net/o/r", "https://github.com.evil.net/o/r.git", "o/r", false},
		{ghe, "http://ghe.example.com/o/r", "http://ghe.example.com/o/r.git", "o/r", false},
		{ghe, "http://ghe.example.com:443/o/r", "http://ghe.example.com:443/o/r.git", "o/r", false},
		{ghe, "https://127.0.0.1:3000/o/r", "https://127.0.0.1:3000/o/r.git", "o/r", false},
		{ghe, "http://127.0.0.1/o/r", "http://127.0.0.1/o/r.git", "o/r", false},
		{own, "https://[2001:DB8:0::1]:8443/o/r", "https://[2001:db8::1]:8443/o/r.git", "o/r", false},
	} {
		r, err := h.Locate(c.source, c.location)
		if err != nil {
			t.Errorf("Locate(%s, %q): %v", c.source, c.location, err)
			continue
		}
		if r.URL != c.url || r.Name != c.name || r.Trusted != c.trusted || r.Upstream != c.url {
			t.Errorf("Locate(%s, %q) = URL %q, Upstream %q, Name %q, Trusted %v, want %q, %q, %v", c.source, c.location, r.URL, r.Upstream, r.Name, r.Trusted, c.url, c.name, c.trusted)
		}
		if string(r.Host.ServerType) != string(c.source) {
			t.Errorf("Locate(%s, %q).Host is of type %s", c.source, c.location, r.Host.ServerType)
		}
	}
}

// TestLocateElsewhere: projects go on saying github.com.
func TestLocateElsewhere(t *testing.T) {
	t.Parallel()
	h := hosts(t, "github.com=http://127.0.0.1:3000")
	r, err := h.Locate(api.SourceTypeGITHUB, "https://github.com/octo-org/shop")
	if err != nil {
		t.Fatal(err)
	}
	if r.URL != "https://github.com/octo-org/shop.git" || r.Upstream != "http://127.0.0.1:3000/octo-org/shop.git" || !r.Trusted || r.Host.API != "http://127.0.0.1:3000/api/v3" {
		t.Errorf("Locate = %+v, want the URL on github.com and Upstream on 127.0.0.1:3000, trusted", r)
	}
	for _, location := range []string{"http://127.0.0.1:3000/octo-org/shop", "http://github.com/octo-org/shop"} {
		if r, err := h.Locate(api.SourceTypeGITHUB, location); err == nil {
			t.Errorf("Locate(GITHUB, %q) = %+v, want an error", location, r)
		}
	}
}

func TestLocateRefuses(t *testing.T) {
	t.Parallel()
	h := hosts(t, listed...)
	const (
		hub, ghe, bb = api.SourceTypeGITHUB, api.SourceTypeGITHUB_ENTERPRISE, api.SourceTypeBITBUCKET
		token        = "ghp_LocateMustNotRepeatThis0123456789abc"
	)
	for _, c := range []struct {
		source   api.SourceType
		location string
		text     string
	}{
		{api.SourceTypeS3, "bucket/key.zip", "not a repository"},
		{api.SourceTypeNO_SOURCE, "", "not a repository"},
		{hub, "", "give one like https://github.com/OWNER/NAME"},
		{hub, "https://github.com/" + strings.Repeat("a", 2100) + "/r", "longer"},
		{hub, "git@github.com:o/r.git", "give one like https://github.com/"},
		{hub, "ssh://git@github.com/o/r.git", "give one like https://github.com/"},
		{hub, "git://github.com/o/r.git", "give one like"},
		{hub, "github.com/o/r", "give one like"},
		{hub, "http://github.com/o/r", "https://"},
		{hub, "ftp://github.com/o/r", "https://"},
		{hub, "file:///etc/passwd", "https://"},
		{hub, "ext::sh -c id", "space"},
		{hub, "--upload-pack=id", "give one like"},
		// Tokens in the address.
		{hub, "https://" + token + "@github.com/o/r", "ImportSourceCredentials"},
		{hub, "https://x:" + token + "@github.com/o/r", "ImportSourceCredentials"},
		{bb, "https://x:" + token + "@bitbucket.org/o/r", "ImportSourceCredentials"},
		{bb, "https://@bitbucket.org/o/r", "ImportSourceCredentials"},
		{bb, "https://a@b@bitbucket.org/o/r", "not an address"},
		{hub, "https://github.com/o/r?access_token=" + token, "? or #"},
		{hub, "https://github.com/o/r#" + token, "? or #"},
		{hub, "https://github.com:" + token + "/o/r", "not an address"},
		// Other hosts that look like it, to people or to some program.
		{hub, "https://github.com.evil.net/o/r", "GITHUB is on github.com"},
		{hub, "https://www.github.com/o/r", "GITHUB is on github.com"},
		{hub, "https://api.github.com/o/r", "GITHUB is on github.com"},
		{hub, "https://github.com:8443/o/r", "GITHUB is on github.com"},
		{hub, "https://github.com./o/r", "labels"},
		{hub, "https://.github.com/o/r", "labels"},
		{hub, "https://gıthub.com/o/r", "not ASCII"},
		{hub, "https://ｇithub.com/o/r", "not ASCII"},
		{hub, "https://github。com/o/r", "not ASCII"},
		{hub, "https://evil.net/github.com/r", "GITHUB is on github.com"},
		{hub, "https://evil.net@github.com/o/r", "ImportSourceCredentials"},
		{hub, "https://github.com@evil.net/o/r", "ImportSourceCredentials"},
		{hub, `https://github.com\@evil.net/o/r`, "escapes"},
		{hub, `https://evil.net\.github.com/o/r`, "escapes"},
		{hub, "https://ghe.example.com/o/r", "make the source's type GITHUB_ENTERPRISE"},
		{ghe, "https://github.com/o/r", "make the source's type GITHUB"},
		{ghe, "http://github.com/o/r", "needs https"},
		{bb, "https://gitlab.com/o/r", "make the source's type GITLAB"},
		{ghe, "https://git.example.com/o/r", "make the source's type GITLAB_SELF_MANAGED"},
		// Bytes that mean something to another program.
		{hub, "https://github.com/o/r\n", "control"},
		{hub, "https://github.com/o/r\x00", "control"},
		{hub, "https://github.com/o/r%0ahost=evil.net", "escapes"},
		{hub, "https://github.com/o/r%0d%0aX: y", "space"},
		{hub, "https://github.com/o/r%00", "escapes"},
		{hub, "https://github.com%2f@evil.net/o/r", "escapes"},
		{hub, "https://github.com/o/r/../../x/y", "name a repository"},
		{hub, "https://github.com/../r", "not a name"},
		{hub, "https://github.com/./r", "not a name"},
		{hub, "https://github.com/o/...git", "not a name"}, // .. and .git
		{hub, "https://github.com//r", "not a name"},
		{hub, "https://github.com//o/r", "name a repository"},
		{hub, "https://github.com/o/.git", "not a name"},
		{hub, "https://github.com/o", "name a repository"},
		{hub, "https://github.com/", "name a repository"},
		{hub, "https://github.com", "name a repository"},
		{hub, "https://github.com/o/r/tree/main", "name a repository"},
		{hub, "https://github.com/o/r;id", "not a name"},
		{hub, "https://github.com/o/$(id)", "not a name"},
		{hub, "https://github.com/o/r.git//", "name a repository"},
		// Addresses that are read differently by different programs.
		{ghe, "https://2130706433/o/r", "numbers"},
		{ghe, "https://0x7f000001/o/r", "numbers"},
		{ghe, "https://0x7f.0.0.1/o/r", "numbers"},
		{ghe, "https://0177.0.0.1/o/r", "numbers"},
		{ghe, "https://127.1/o/r", "numbers"},
		{ghe, "https://192.0.2.07/o/r", "numbers"},
		{ghe, "https://[::ffff:192.0.2.7]/o/r", "IPv6"},
		{ghe, "https://[fe80::1%25eth0]/o/r", "escapes"},
		{ghe, "https://[fe80::1/o/r", "not an address"},
		{ghe, "https://[]/o/r", "not an address"},
		{ghe, "https:///o/r", "1 to 253"},
		{ghe, "https://ghe.example.com:/o/r", "port"},
		{ghe, "https://ghe.example.com:0/o/r", "port"},
		{ghe, "https://ghe.example.com:0443/o/r", "port"},
		{ghe, "https://ghe.example.com:65536/o/r", "port"},
		{ghe, "https://-ghe.example.com/o/r", "labels"},
		{ghe, "https://" + strings.Repeat("a", 64) + ".com/o/r", "labels"},
	} {
		r, err := h.Locate(c.source, c.location)
		if err == nil {
			t.Errorf("Locate(%s, %q) = %+v, want an error", c.source, c.location, r)
			continue
		}
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("Locate(%s, %q): error %q does not say %q", c.source, c.location, err, c.text)
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("Locate(%s, %q): the error repeats the token: %v", c.source, c.location, err)
		}
	}
}

// FuzzLocate: what is taken is one address for every reader, on the host that
// it was taken for, and is taken again as the same.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{
		"https://github.com/o/r", "https://mona@bitbucket.org/o/r.git", "http://127.0.0.1:3000/o/r", "https://[::1]:8443/a/b/c",
		"https://github.com\\@evil.net/o/r", "https://a@github.com/o/r%0a", "https://GHE.example.com:443/o/r/",
	} {
		f.Add(s)
	}
	h, err := forge.NewHosts(providers.All, listed)
	if err != nil {
		f.Fatal(err)
	}
	types := []api.SourceType{
		api.SourceTypeGITHUB, api.SourceTypeGITHUB_ENTERPRISE, api.SourceTypeBITBUCKET, api.SourceTypeGITLAB, api.SourceTypeGITLAB_SELF_MANAGED,
	}
	f.Fuzz(func(t *testing.T, location string) {
		for _, source := range types {
			r, err := h.Locate(source, location)
			if err != nil {
				continue
			}
			u, err := url.Parse(r.URL)
			if err != nil || u.Host != r.Host.Name || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "/"+r.Name+".git" || u.String() != r.URL {
				t.Fatalf("Locate(%s, %q) = %+v, which does not read as one address: %v", source, location, r, err)
			}
			if strings.Contains(r.Name, "..") && strings.Contains("/"+r.Name+"/", "/../") {
				t.Fatalf("Locate(%s, %q) = %+v has a dot segment", source, location, r)
			}
			if r.Trusted && !strings.HasPrefix(r.Upstream, r.Host.Git+"/") {
				t.Fatalf("Locate(%s, %q) = %+v is trusted and not on its host", source, location, r)
			}
			if r.Trusted {
				found := false
				for _, k := range h.For(r.Host.ServerType) {
					found = found || k.Git == r.Host.Git && k.Name == u.Host
				}
				if !found {
					t.Fatalf("Locate(%s, %q) = %+v is trusted and not listed", source, location, r)
				}
			}
			again, err := h.Locate(source, r.URL)
			if err != nil || again != r {
				t.Fatalf("Locate(%s, %q) = %+v, and of its URL %+v, %v", source, location, r, again, err)
			}
		}
	})
}

// What Address writes, Locate reads: at every provider, at known hosts, at
// listed ones and at those with http.
func TestHosts_Address(t *testing.T) {
	t.Parallel()
	h, err := forge.NewHosts(providers.All, []string{
		"GITHUB_ENTERPRISE=https://ghe.example.com", "GITLAB_SELF_MANAGED=http://127.0.0.1:3001", "BITBUCKET_DATA_CENTER=http://127.0.0.1:3002",
		"GITEA=https://git.example.com:8443", "github.com=http://127.0.0.1:3000",
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, host := range h.All() {
		n++
		for _, repo := range []string{"acme/site", "a.b/c-d"} {
			address := h.Address(host.ServerType, host.Name, repo)
			got, err := h.Locate(api.SourceType(host.ServerType), address)
			if err != nil || got.Name != repo || got.Host.Name != host.Name || !got.Trusted {
				t.Errorf("Locate(%s, %q) = %+v, %v; want %s at %s, trusted", host.ServerType, address, got, err, repo, host.Name)
			}
		}
	}
	if n != 7 {
		t.Errorf("%d hosts, want 7", n)
	}
	if got := h.Address(api.ServerTypeGITEA, "gone.example.com", "a/b"); got != "https://gone.example.com/a/b.git" {
		t.Errorf("at a host that is not listed any more: %s", got)
	}
}
