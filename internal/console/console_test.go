package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProgram(t *testing.T) {
	t.Parallel()
	h, err := program(fstest.MapFS{
		"dist/index.html":           {Data: []byte("<html><head><title>x</title></head></html>")},
		"dist/index.html.gz":        {Data: []byte("must not be used")},
		"dist/icon.svg":             {Data: []byte("<svg/>")},
		"dist/assets/app-1a2.js":    {Data: []byte("raw")},
		"dist/assets/app-1a2.js.gz": {Data: []byte("zipped")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, accept              string
		status                    int
		kind, cache, coding, want string
	}{
		{"/console/", "gzip", 200, "text/html; charset=utf-8", "no-cache", "", `<html><head><base href="./"><title>x</title></head></html>`},
		{"/console/index.html", "", 200, "text/html; charset=utf-8", "no-cache", "", `<html><head><base href="./"><title>x</title></head></html>`},
		{"/console/builds/a%2Fb", "gzip", 200, "text/html; charset=utf-8", "no-cache", "", `<html><head><base href="../"><title>x</title></head></html>`},
		{"/corbel/console/projects/app/edit", "gzip", 200, "text/html; charset=utf-8", "no-cache", "", `<html><head><base href="../../"><title>x</title></head></html>`},
		{"/console/icon.svg", "gzip", 200, "image/svg+xml", "no-cache", "", "<svg/>"},
		{"/console/assets/app-1a2.js", "br, gzip;q=0.5", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "gzip", "zipped"},
		{"/console/assets/app-1a2.js", "gzip;q=0, br", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "", "raw"},
		{"/console/assets/app-1a2.js", "", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "", "raw"},
		{"/console/assets/app-old.js", "", 404, "text/plain; charset=utf-8", "", "", "this version of the console has no such file: load the page again\n"},
	} {
		res := get(t, h, c.path, "Accept-Encoding", c.accept)
		if got := body(t, res); res.StatusCode != c.status || got != c.want || res.Header.Get("Content-Type") != c.kind || res.Header.Get("Cache-Control") != c.cache || res.Header.Get("Content-Encoding") != c.coding {
			t.Errorf("%s for %q: %d %v\n%s", c.path, c.accept, res.StatusCode, res.Header, got)
		}
		if c.status != 200 {
			continue
		}
		again := get(t, h, c.path, "Accept-Encoding", c.accept, "If-None-Match", res.Header.Get("ETag"))
		if got := body(t, again); again.StatusCode != http.StatusNotModified || got != "" {
			t.Errorf("%s again: %d %q", c.path, again.StatusCode, got)
		}
	}
	if a, b := get(t, h, "/console/").Header.Get("ETag"), get(t, h, "/console/a/b").Header.Get("ETag"); a == b {
		t.Error("two documents with different addresses have one ETag")
	}
	if _, err := program(fstest.MapFS{"dist/app.js": {}}); err == nil {
		t.Error("a program without a document is served")
	}
}

// What is embedded is served, and asks for nothing that its policy forbids.
func TestProgram_Embedded(t *testing.T) {
	t.Parallel()
	h, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, get(t, h, "/console/"))
	if !strings.Contains(text, `<base href="./">`) || regexp.MustCompile(`<script>|<style|<script[^>]*>[^<]|\son[a-z]+=|(?:src|href)="(?:https?:)?/`).MatchString(text) {
		t.Errorf("the document is\n%s", text)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if res := get(t, h, "/console/"+m[1]); res.StatusCode != 200 || strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", m[1], res.StatusCode, res.Header.Get("Content-Type"))
		}
	}
}

// The pages of our own show what they are given as text, and their policy
// allows their own style and nothing else.
func TestPages(t *testing.T) {
	t.Parallel()
	const nasty = `"><script>alert(1)</script>`
	for name, write := range map[string]func(http.ResponseWriter, int){
		"login":  Login{KeyID: nasty, Region: nasty, Next: nasty, Problem: nasty}.Write,
		"notice": Notice{Title: nasty, Text: nasty, Problem: nasty, Next: "?state=" + nasty, At: true}.Write,
		"scheme": Notice{Title: "x", Next: "javascript:alert(1)", At: true}.Write,
	} {
		w := httptest.NewRecorder()
		write(w, http.StatusForbidden)
		text, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
		if strings.Contains(text, "<script") || strings.Contains(text, "javascript:") || w.Code != http.StatusForbidden || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v\n%s", name, w.Code, w.Header(), text)
		}
		_, inline, _ := strings.Cut(text, "<style>")
		inline, _, _ = strings.Cut(inline, "</style>")
		if !strings.Contains(policy, digest(inline)) || strings.Contains(policy, "unsafe") || strings.Contains(text, " style=") {
			t.Errorf("%s: the policy %s is not that of the style %.60s", name, policy, inline)
		}
	}
}
