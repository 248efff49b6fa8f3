package forge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/forge"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for name, c := range map[string]struct{ body, err string }{
		"an object":            {" \n{\"name\":\"tea\"}\n", ""},
		"the last of two":      {`{"name":"coffee","name":"tea"}`, ""},
		"brackets in a text":   {`{"name":"tea","a":"` + strings.Repeat(`[{\"\\`, 500) + `"}`, ""},
		"as deep as it may be": {`{"name":"tea",` + nested(99)[1:], ""},
		"deeper":               {`{"name":"tea",` + nested(100)[1:], "nested deeper than 100 levels"},
		"closing only":         {`{"name":"tea"}` + strings.Repeat("}", 200), "not JSON"},
		"a NUL":                {`{"name":"tea\u0000"}`, "NUL"},
		"an escaped escape":    {`{"name":"tea","a":"\\u0000"}`, ""},
		"a raw NUL":            {"{\"name\":\"tea\x00\"}", "not JSON"},
		"not UTF-8":            {"{\"name\":\"tea\xff\"}", "UTF-8"},
		"a list":               {`[]`, "not a JSON object"},
		"nothing":              {``, "not a JSON object"},
		"a form":               {`payload=%7B%7D`, "application/json"},
		"another type":         {`{"name":{"secret":1}}`, "member name of the delivery is not of the type"},
		"a huge number":        {`{"number":1e999}`, "member number of the delivery is not of the type"},
		"two":                  {`{}{}`, "not JSON, from byte 3 on"},
	} {
		var got struct {
			Name   string `json:"name"`
			Number int    `json:"number"`
		}
		err := forge.Decode(http.Header{}, []byte(c.body), &got)
		if c.err == "" && (err != nil || got.Name != "tea") || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %+v, %v; want %q", name, got, err, c.err)
		}
	}
}

func TestValidRef(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"refs/heads/main": true, "refs/heads/a/b-c_d.e": true, "refs/heads/-x": true, "refs/heads/é": true, "refs/tags/v1.2@x": true,
		"refs/heads/refs/heads/x": true, "refs/heads/@": true, "refs/heads/a$(id)": true, "refs/heads/" + strings.Repeat("x", 1013): true,
		"": false, "main": false, "HEAD": false, "refs/": false, "refs/heads/": false, "refs//x": false, "/refs/heads/x": false,
		"refs/heads/a..b": false, "refs/heads/a@{1}": false, "refs/heads/.a": false, "refs/heads/a/.b": false, "refs/heads/a.": false,
		"refs/heads/a.lock": false, "refs/heads/a.lock/b": false, "refs/heads/a b": false, "refs/heads/a\nb": false, "refs/heads/a\x00b": false,
		"refs/heads/a\x7fb": false, "refs/heads/a~1": false, "refs/heads/a^": false, "refs/heads/a:b": false, "refs/heads/a?": false,
		"refs/heads/a*": false, "refs/heads/a[b": false, `refs/heads/a\b`: false, "refs/heads/" + strings.Repeat("x", 1014): false,
	} {
		if got := forge.ValidRef(name); got != want {
			t.Errorf("ValidRef(%.40q) = %t, want %t", name, got, want)
		}
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-27T12:00:00Z": noon, "2026-11-27T13:00:00.000000+01:00": noon, "2026-11-27T13:00:00+0100": noon,
		"2026-11-27 12:00:00 UTC": noon, "2026-11-27 13:00:00 +0100": noon,
		"": {}, "noon": {}, "1795780800": {}, "2026-11-27": {}, "99999-01-01T00:00:00Z": {},
	} {
		if got := forge.When(text); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("When(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestCloneURL(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://github.com/octo-org/shop.git": true, "https://git.example.com:8443/scm/~hubot/shop.git": true,
		"": false, "http://github.com/a/b.git": false, "ssh://git@github.com/a/b.git": false, "git@github.com:a/b.git": false,
		"https://ghp_ForgetestInAnAddress000000000000001@github.com/a/b.git": false, "https:///a/b": false, "https://github.com/a?b": false,
		"https://github.com/a#b": false, "file:///etc/passwd": false, "https://github.com/\n": false, "https://h/" + strings.Repeat("x", 2048): false,
	} {
		if got := forge.CloneURL(address); got != "" && got != address || (got != "") != ok {
			t.Errorf("CloneURL(%.60q) = %.60q, want it kept: %t", address, got, ok)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	got := forge.Paths([]forge.PushedCommit{{Added: []string{"b", "a"}, Removed: []string{"c"}}, {Modified: []string{"a"}}, {}})
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("Paths = %q, want %q", got, want)
	}
}
