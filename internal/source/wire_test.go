package source

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	id1 = "1111111111111111111111111111111111111111"
	id2 = "2222222222222222222222222222222222222222"
)

func packets(lines ...string) string {
	var b []byte
	for _, l := range lines {
		if len(l) == 4 && strings.HasPrefix(l, "000") {
			b = append(b, l...)
		} else {
			b = appendPacket(b, l)
		}
	}
	return string(b)
}

func all(string) bool { return true }

func TestLsRefs(t *testing.T) {
	t.Parallel()
	// As in gitprotocol-v2(5) and the trace of git 2.39.
	want := "0014command=ls-refs\n" + "0001" + "0009peel\n" + "000csymrefs\n" + "001bref-prefix refs/heads/\n" + "0000"
	if got := string(lsRefs(sha1Format, []string{"refs/heads/"})); got != want {
		t.Errorf("lsRefs = %q, want %q", got, want)
	}
	if got := string(lsRefs(sha256Format, nil)); !strings.Contains(got, "0019object-format=sha256\n0001") {
		t.Errorf("lsRefs of sha256 = %q", got)
	}
}

func TestParseRefs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     []ref
		ok       bool
	}{
		{"all kinds", packets(id1+" HEAD symref-target:refs/heads/main", id1+" refs/heads/main", id2+" refs/tags/v1 peeled:"+id1, "0000"),
			[]ref{{"HEAD", id1, "", "refs/heads/main"}, {"refs/heads/main", id1, "", ""}, {"refs/tags/v1", id2, id1, ""}}, true},
		{"empty repository", "0000", nil, true},
		{"unborn", packets("unborn HEAD symref-target:refs/heads/main", "0000"), nil, true},
		{"names that git would not have", packets(id1+" refs/heads/../x", id1+" refs/heads/a..b", id1+" ../../config", id1+" refs/heads/x.lock", id1+" -x", "0000"), nil, true},
		{"no newline", "003d" + id1 + " refs/heads/main" + "0000", nil, false},
		{"nothing", "", nil, false},
		{"no flush", packets(id1 + " HEAD"), nil, false},
		{"packet cut off", packets(id1 + " HEAD")[:20], nil, false},
		{"length cut off", "00", nil, false},
		{"no length", "zzzz", nil, false},
		{"length 3", "0003", nil, false},
		{"too long", "ffff" + strings.Repeat("a", 70000), nil, false},
		{"bad id", packets("123 HEAD", "0000"), nil, false},
		{"upper case id", packets(strings.Repeat("A", 40)+" HEAD", "0000"), nil, false},
		{"bad peeled id", packets(id1+" refs/tags/a peeled:--x", "0000"), nil, false},
		{"peeled to another format", packets(id1+" refs/tags/a peeled:"+strings.Repeat("1", 64), "0000"), nil, false},
		{"error", packets("ERR access denied", "0000"), nil, false},
		{"one word", packets("word", "0000"), nil, false},
		{"delimiter", "0001", nil, false},
		{"response end", "0002", nil, false},
	} {
		got, err := parseRefs(strings.NewReader(c.in), all)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errProtocol) {
			t.Errorf("%s: parseRefs(%q): error %v, want ok %t", c.name, c.in, err, c.ok)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(ref{})); diff != "" {
			t.Errorf("%s: parseRefs(%q) (-want +got):\n%s", c.name, c.in, diff)
		}
	}
}

func TestParseAdvertisement(t *testing.T) {
	t.Parallel()
	const hello = "# service=git-upload-pack"
	for _, c := range []struct {
		name, in string
		want     advertisement
		ok       bool
	}{
		{"version 2", packets(hello, "0000", "version 2", "agent=git/2.39", "ls-refs=unborn", "object-format=sha256", "0000"), advertisement{version: 2, format: sha256Format}, true},
		{"version 2 without service", packets("version 2", "ls-refs", "0000"), advertisement{version: 2, format: sha1Format}, true},
		{"version 0", packets(hello, "0000", id1+" HEAD\x00multi_ack symref=HEAD:refs/heads/main object-format=sha1", id1+" refs/heads/main", id2+" refs/tags/v1", id1+" refs/tags/v1^{}", "0000"),
			advertisement{format: sha1Format, refs: []ref{{"HEAD", id1, "", "refs/heads/main"}, {"refs/heads/main", id1, "", ""}, {"refs/tags/v1", id2, id1, ""}}}, true},
		{"empty repository", packets(hello, "0000", strings.Repeat("0", 40)+" capabilities^{}\x00agent=git", "0000"), advertisement{format: sha1Format}, true},
		{"only flush", packets(hello, "0000", "0000"), advertisement{format: sha1Format}, true},
		{"version 2 cut off", packets(hello, "0000", "version 2"), advertisement{version: 2, format: sha1Format}, false},
		{"version 0 cut off", packets(hello, "0000", id1+" HEAD\x00"), advertisement{format: sha1Format, refs: []ref{{"HEAD", id1, "", ""}}}, false},
		{"another hash", packets("version 2", "object-format=md5", "0000"), advertisement{version: 2, format: sha1Format}, false},
		{"no flush after service", packets(hello, "version 2", "0000"), advertisement{format: sha1Format}, false},
		{"nothing", "", advertisement{format: sha1Format}, false},
		{"a page", "<html>", advertisement{format: sha1Format}, false},
	} {
		got, err := parseAdvertisement(strings.NewReader(c.in), all)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errProtocol) {
			t.Errorf("%s: parseAdvertisement(%q): error %v, want ok %t", c.name, c.in, err, c.ok)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(ref{}, advertisement{})); diff != "" {
			t.Errorf("%s: parseAdvertisement(%q) (-want +got):\n%s", c.name, c.in, diff)
		}
	}
}

func TestPacketReader_BoundsTheWhole(t *testing.T) {
	t.Parallel()
	p := newPacketReader(strings.NewReader(packets("abc", "def")))
	p.left = 10
	if _, _, err := p.next(); err != nil {
		t.Errorf("first packet: %v", err)
	}
	if _, _, err := p.next(); !errors.Is(err, errProtocol) {
		t.Errorf("second packet: %v, want it to exceed the bound", err)
	}
}

func TestValidRef(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"HEAD": true, "refs/heads/main": true, "refs/heads/a/b": true, "refs/heads/-x": true, "refs/heads/$(id)": true, "refs/heads/ä": true, "refs/heads/@": true,
		"": false, "main": false, "refs/": false, "refs": false, "refs//a": false, "refs/heads/": false, "refs/heads/.a": false, "refs/heads/a.": false,
		"refs/heads/a..b": false, "refs/heads/a.lock": false, "refs/heads/a.lock/b": false, "refs/heads/a b": false, "refs/heads/a\n": false, "refs/heads/a\x7f": false,
		"refs/heads/a~1": false, "refs/heads/a^": false, "refs/heads/a:b": false, "refs/heads/a?": false, "refs/heads/a*": false, "refs/heads/[a": false, `refs/heads/a\b`: false,
		"refs/heads/@{1}": false, "refs/../x": false, "refs/heads/" + strings.Repeat("a", 1100): false,
	} {
		if got := validRef(name); got != want {
			t.Errorf("validRef(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	names := func(s ...string) version { return version{names: s} }
	for _, c := range []struct {
		in   string
		want version
		ok   bool
	}{
		{"", names("HEAD"), true},
		{"HEAD", names("HEAD"), true},
		{"main", names("refs/heads/main", "refs/tags/main", "refs/main"), true},
		{"refs/tags/v1", names("refs/tags/v1"), true},
		{"pr/12", names("refs/pull/12/head", "refs/heads/pr/12", "refs/tags/pr/12", "refs/pr/12"), true},
		{"pr/12a", names("refs/heads/pr/12a", "refs/tags/pr/12a", "refs/pr/12a"), true},
		{id1, version{id: id1}, true},
		{strings.Repeat("A", 40), version{id: strings.Repeat("a", 40)}, true},
		{strings.Repeat("a", 64), version{id: strings.Repeat("a", 64)}, true},
		{"abcdef1", version{names: []string{"refs/heads/abcdef1", "refs/tags/abcdef1", "refs/abcdef1"}, prefix: "abcdef1"}, true},
		{"abcdef", names("refs/heads/abcdef", "refs/tags/abcdef", "refs/abcdef"), true},
		{"refs/heads/main^{" + id1 + "}", version{names: []string{"refs/heads/main"}, pin: id1}, true},
		{"pr/1^{" + strings.ToUpper(id1) + "}", version{names: []string{"refs/pull/1/head", "refs/heads/pr/1", "refs/tags/pr/1", "refs/pr/1"}, pin: id1}, true},
		{id1 + "^{" + id1 + "}", version{id: id1}, true},
		{id1 + "^{" + id2 + "}", version{id: id1}, false},
		{"main^{commit}", version{}, false},
		{"main^{" + id1, version{}, false},
		{"^{" + id1 + "}", version{}, false},
		{"main^{" + id1 + "}^{" + id1 + "}", version{}, false},
		{"main\n", version{}, false},
		{"refs/", version{}, false},
	} {
		got, ok := parseVersion(c.in)
		if ok != c.ok || ok && !cmp.Equal(got, c.want, cmp.AllowUnexported(version{})) {
			t.Errorf("parseVersion(%q) = %+v, %t; want %+v, %t", c.in, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseRefs(f *testing.F) {
	f.Add(packets(id1+" HEAD symref-target:refs/heads/main", id2+" refs/tags/v1 peeled:"+id1, "0000"))
	f.Add("0004000500060000")
	f.Add("ffff")
	f.Fuzz(func(t *testing.T, in string) {
		refs, err := parseRefs(strings.NewReader(in), all)
		if err != nil && len(refs) > 0 {
			t.Errorf("%d refs and the error %v", len(refs), err)
		}
		for _, r := range refs {
			if !isID(r.object) || !validRef(r.name) || r.peeled != "" && !isID(r.peeled) || r.target != "" && !validRef(r.target) {
				t.Errorf("parseRefs(%q) has %+v", in, r)
			}
			if strings.Count(string(packedRefs(map[string]string{r.name: r.object})), "\n") != 2 {
				t.Errorf("%q is more than one line", r.name)
			}
		}
	})
}

func FuzzParseAdvertisement(f *testing.F) {
	f.Add(packets("# service=git-upload-pack", "0000", "version 2", "object-format=sha256", "0000"))
	f.Add(packets("# service=git-upload-pack", "0000", id1+" HEAD\x00symref=HEAD:refs/heads/main", id2+" refs/tags/v", id1+" refs/tags/v^{}", "0000"))
	f.Fuzz(func(t *testing.T, in string) {
		ad, err := parseAdvertisement(strings.NewReader(in), all)
		if err != nil {
			return
		}
		for _, r := range ad.refs {
			if !isID(r.commit()) || !isID(r.object) || !validRef(r.name) {
				t.Errorf("parseAdvertisement(%q) has %+v", in, r)
			}
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"", "main", "pr/1", "refs/heads/a^{" + id1 + "}", id1, "abcdef1", "--upload-pack=x", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, ok := parseVersion(in)
		if !ok {
			return
		}
		if v.id == "" && len(v.names) == 0 || v.id != "" && !isID(v.id) || v.pin != "" && !isID(v.pin) || !isHex(v.prefix) {
			t.Errorf("parseVersion(%q) = %+v", in, v)
		}
		for _, name := range v.names {
			if !validRef(name) {
				t.Errorf("parseVersion(%q) has the name %q", in, name)
			}
		}
		// One packet for each name, whatever the version.
		if n := strings.Count(string(lsRefs(sha1Format, v.names)), "\n"); n != 3+len(v.names) {
			t.Errorf("lsRefs for %q has %d lines", in, n)
		}
	})
}

// An address that is accepted must mean the same host to every reader of it.
func FuzzSubmoduleURL(f *testing.F) {
	for _, s := range []string{"../x", "./x", "https://h.example.com/x", "https://h.example.com\\@evil/x", "../../../x", "..//evil.example.com/x", "https://a@b/c"} {
		f.Add(s)
	}
	parent, err := url.Parse("https://h.example.com/o/r.git")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := submoduleURL(parent, in)
		if err != nil {
			return
		}
		if strings.HasPrefix(in, "../") || strings.HasPrefix(in, "./") {
			if origin(u) != origin(parent) {
				t.Errorf("%q leads to %s", in, u)
			}
		}
		again, err := checkURL(u.String())
		if err != nil || again.String() != u.String() || again.Host != u.Host {
			t.Errorf("%q gives %s, which gives %v, %v", in, u, again, err)
		}
		rest, ok := strings.CutPrefix(u.String(), fmt.Sprintf("%s://%s/", u.Scheme, u.Host))
		if !ok || strings.ContainsAny(u.Host, "@\\/?# \t\r\n") || strings.ContainsAny(rest, " \\\r\n\x00?#") {
			t.Errorf("%q gives %s", in, u)
		}
	})
}
