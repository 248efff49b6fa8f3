// Package console serves the web console: the files of its program, which are
// built from the sources in web and embedded, and the few pages that must work
// without script.
//
// The program is a client of the public API and knows nothing else. Its
// addresses are relative, so that it works wherever a proxy puts it.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// policy is the Content-Security-Policy of the program: its own files and the
// API, nothing inline and nothing from elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

// protect sets what every answer of the console has.
func protect(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with less, a form has no Origin
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// types are the content types of the program's files. The machine's own table
// may lack them.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8", ".woff2": "font/woff2",
}

// A file is one of the program's.
type file struct {
	kind   string
	raw    []byte
	zipped []byte // its twin with gzip, nil if there is none
	etag   string
}

// Program serves the files of the program below /console/. A path that is no
// file is a page of the program, and gets its document.
func Program() (http.Handler, error) { return program(dist) }

func program(from fs.FS) (http.Handler, error) {
	files := map[string]file{}
	err := fs.WalkDir(from, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".gz") {
			return err
		}
		f := file{kind: types[path.Ext(name)]}
		if f.kind == "" {
			f.kind = "application/octet-stream"
		}
		if f.raw, err = fs.ReadFile(from, name); err != nil {
			return err
		}
		f.zipped, _ = fs.ReadFile(from, name+".gz") // not every file is worth one
		sum := sha256.Sum256(f.raw)
		f.etag = hex.EncodeToString(sum[:12])
		files[strings.TrimPrefix(name, "dist/")] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the console's files: %w", err)
	}
	document, ok := files["index.html"]
	if !ok {
		return nil, fmt.Errorf("the console has no index.html")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, name, _ := strings.Cut(r.URL.Path, "/console/")
		protect(w.Header(), policy)
		f, ok := files[name]
		switch {
		case ok && name != "index.html":
			serve(w, r, f, strings.HasPrefix(name, "assets/"))
		case strings.HasPrefix(name, "assets/"): // of another version
			http.Error(w, "this version of the console has no such file: load the page again", http.StatusNotFound)
		default:
			// As the browser sees it, to which an encoded slash is none.
			_, name, _ = strings.Cut(r.URL.EscapedPath(), "/console/")
			serve(w, r, based(document, name), false)
		}
	}), nil
}

// based tells the document of the page at name where the program is, as seen
// from there.
func based(f file, name string) file {
	up := strings.Repeat("../", strings.Count(name, "/"))
	if up == "" {
		up = "./"
	}
	return file{
		kind: f.kind, etag: f.etag + "-" + strconv.Itoa(len(up)),
		raw: bytes.Replace(f.raw, []byte("<head>"), []byte(`<head><base href="`+up+`">`), 1),
	}
}

// serve writes a file. One whose name has a hash of its content never changes.
func serve(w http.ResponseWriter, r *http.Request, f file, hashed bool) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	if hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, etag := f.raw, `"`+f.etag+`"`
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			body, etag = f.zipped, `"`+f.etag+`.gz"`
		}
	}
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the browser went away
	}
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); name == "gzip" || name == "*" {
			q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			n, err := strconv.ParseFloat(q, 64)
			return !ok || err == nil && n > 0
		}
	}
	return false
}

// digest is how a policy names an inline style.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
