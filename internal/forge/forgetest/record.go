package forgetest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/corbel-build/corbel/api"
)

// sample is how much of a body is written down, in bytes.
const sample = 64 << 10

// A Request is one that a server got.
type Request struct {
	Host   string // of the Host header
	Method string
	Path   string
	Query  string
	Header http.Header
	Body   []byte // the first 64 KiB

	// Pattern, Status and Answer are of REST calls that no fault answered:
	// "GET /repos/{owner}/{repo}", the status and the JSON of the answer.
	Pattern string
	Status  int
	Answer  []byte
}

// A recorder writes requests down.
type recorder struct {
	lock sync.Mutex
	list []*Request
}

// record writes r down and gives it its body back. It is false if the body
// could not be read.
func (rec *recorder) record(w http.ResponseWriter, r *http.Request) (*Request, bool) {
	var first bytes.Buffer
	_, err := io.CopyN(&first, r.Body, sample)
	one := &Request{
		Host: r.Host, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Header: r.Header.Clone(), Body: slices.Clone(first.Bytes()),
	}
	rec.lock.Lock()
	rec.list = append(rec.list, one)
	rec.lock.Unlock()
	if err != nil && err != io.EOF {
		http.Error(w, "body not readable", http.StatusBadRequest)
		return nil, false
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&first, r.Body), r.Body}
	return one, true
}

// answered notes what a REST call answered.
func (rec *recorder) answered(one *Request, pattern string, status int, answer []byte) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	one.Pattern, one.Status, one.Answer = pattern, status, answer
}

// Requests returns what the server got so far, oldest first.
func (rec *recorder) Requests() []Request {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	list := make([]Request, len(rec.list))
	for i, r := range rec.list {
		list[i] = *r
	}
	return list
}

// Saw returns the requests that contained secret, as it is or in base64, hex
// or URL encoding.
func (rec *recorder) Saw(secret api.Secret) []Request {
	text := secret.Reveal()
	needles := []string{text, url.QueryEscape(text), hex.EncodeToString([]byte(text))}
	// In base64 a text has three forms, by its offset. The characters at the
	// ends also depend on the neighbours.
	for offset := range 3 {
		e := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + text))
		needles = append(needles, e[[]int{0, 2, 3}[offset]:len(e)-4])
	}
	var list []Request
	for _, r := range rec.Requests() {
		all := fmt.Sprintln(r.Host, r.Method, r.Path, r.Query, r.Header, string(r.Body))
		if slices.ContainsFunc(needles, func(n string) bool { return strings.Contains(all, n) }) {
			list = append(list, r)
		}
	}
	return list
}

// An Evil is a server that answers every request with the same status, and
// writes down what it got.
type Evil struct {
	URL string // http://127.0.0.1:PORT

	recorder
	http    *http.Server
	serving sync.WaitGroup // the accept loop, which Close ends
}

// NewEvil starts an evil server. With status 200 it plays along: to the API it
// is a user, to git a repository. With 401 it asks for a name and a password.
func NewEvil(status int) (*Evil, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start evil host: %w", err)
	}
	e := &Evil{URL: "http://" + listener.Addr().String()}
	e.http = newHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := e.record(w, r); !ok {
			return
		}
		body := `{"id":1,"login":"evil"}`
		w.Header().Set("Content-Type", "application/json")
		switch {
		case status == http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Basic realm="evil"`)
		case strings.HasSuffix(r.URL.Path, "/info/refs"):
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			body = "001e# service=git-upload-pack\n0000" +
				"000eversion 2\n000cls-refs\n000afetch\n0000"
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	e.serving.Go(func() { _ = e.http.Serve(listener) })
	return e, nil
}

// Close stops the server.
func (e *Evil) Close() error {
	err := e.http.Close()
	e.serving.Wait()
	return err
}
