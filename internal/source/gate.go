package source

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// A Pass lets the commands of a build read the repositories of a host.
type Pass struct {
	// Base is what addresses on the host begin with, such as
	// https://github.com.
	Base string
	// Upstream and Authorize are those of a Request. Nothing is read from
	// addresses that are not authorized.
	Upstream  func(url string) (upstream string, authorized bool, err error)
	Authorize func(context.Context) (string, error)
}

func (p Pass) host() string {
	_, host, _ := strings.Cut(p.Base, "://")
	return host
}

// A Gate lets git and git-lfs in the commands of a build read repositories of
// some hosts, all that the passes' credentials may read there. The commands get
// an address of the loopback interface and what opens it, and never a
// credential. Nothing can be written through it.
type Gate struct {
	passes []Pass
	proxy  *proxy
	agent  string
	by     http.RoundTripper

	mu      sync.Mutex
	remotes map[string]*remote // by address
	objects map[string]object  // of Git LFS, by what stands for them in addresses
}

// An object is a file of Git LFS at the host of a pass.
type object struct {
	remote *remote
	url    *url.URL
	header map[string]string
}

// Bounds of a gate. A build that exceeds them is slower, not wrong, but for
// maxObjects: it can fetch no more files of Git LFS than that.
const (
	maxRemotes = 1000
	maxObjects = 200_000
	maxBatch   = 1 << 20  // of a question about files of Git LFS, in bytes
	maxAnswer  = 16 << 20 // of its answer
)

// The path of the question about files of Git LFS, below a repository, and its
// media type.
// Source: git-lfs, docs/api/batch.md.
const (
	lfsBatch = "/info/lfs/objects/batch"
	lfsType  = "application/vnd.git-lfs+json"
	lfsPath  = "/.lfs/"
)

// OpenGate opens a gate. It closes with ctx, or with Close.
func (f *Fetcher) OpenGate(ctx context.Context, passes []Pass) (*Gate, error) {
	g := &Gate{passes: passes, agent: "git/" + f.version + " (corbel)", by: f.config.Transport, remotes: map[string]*remote{}, objects: map[string]object{}}
	var err error
	g.proxy, err = newProxy(ctx, f.config.MaxBytes, g.serve)
	return g, err
}

// Close ends the gate and every request in it. What opened it is worthless
// afterwards.
func (g *Gate) Close() { g.proxy.close() }

// Capability is what opens the gate.
func (g *Gate) Capability() string { return g.proxy.capability }

// Config is what git must be configured with to use the gate. Reading is
// redirected; whoever pushes does so at the host itself, with credentials of
// their own.
func (g *Gate) Config() []byte {
	var b bytes.Buffer
	b.WriteString("[include]\n\tpath = /etc/gitconfig\n")
	for _, p := range g.passes {
		fmt.Fprintf(&b, "[url \"%s/%s/\"]\n\tinsteadOf = %s/\n", g.proxy.address, p.host(), p.Base)
		fmt.Fprintf(&b, "[url \"%s/\"]\n\tpushInsteadOf = %[1]s/\n", p.Base)
	}
	fmt.Fprintf(&b, "[http \"%s/\"]\n\textraHeader = \"%s: %s\"\n\tproxy = \"\"\n", g.proxy.address, capabilityHeader, g.proxy.capability)
	return b.Bytes()
}

// serve answers reads of repositories and of files of Git LFS.
func (g *Gate) serve(_ *proxy, w http.ResponseWriter, req *http.Request) {
	path := req.URL.EscapedPath()
	if id, ok := strings.CutPrefix(path, lfsPath); ok {
		g.object(w, req, id)
		return
	}
	for _, end := range []string{infoRefs, uploadPack, lfsBatch} {
		repository, ok := strings.CutSuffix(path, end)
		if !ok {
			continue
		}
		r, err := g.remote(repository)
		if err != nil {
			http.Error(w, "corbel: "+err.Error(), http.StatusForbidden)
			return
		}
		if end == lfsBatch && req.Method == http.MethodPost {
			g.batch(w, req, r)
			return
		}
		if end, ok := readOf(req, strings.TrimSuffix(req.URL.Path, end)); ok {
			g.proxy.forward(w, req, r, end)
			return
		}
	}
	http.Error(w, "corbel: a build may only read repositories with the stored credential", http.StatusForbidden)
}

// remote is the repository at a path of the gate, /HOST/OWNER/NAME.
func (g *Gate) remote(path string) (*remote, error) {
	for _, p := range g.passes {
		rest, ok := strings.CutPrefix(path, "/"+p.host()+"/")
		if !ok {
			continue
		}
		u, err := checkURL(p.Base + "/" + rest)
		if err != nil {
			return nil, err
		}
		upstream, authorized, err := p.Upstream(u.String())
		if err != nil || !authorized {
			return nil, errors.New("the stored credential is not for this address")
		}
		base, err := checkURL(upstream)
		if err != nil {
			return nil, errors.New("the stored credential is not for this address")
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		r := g.remotes[upstream]
		if r == nil {
			if len(g.remotes) >= maxRemotes {
				g.remotes = map[string]*remote{} // what it learned of renamed ones can be learned again
			}
			r = &remote{transport: g.by, agent: g.agent, authorize: p.Authorize}
			r.base.Store(base)
			g.remotes[upstream] = r
		}
		return r, nil
	}
	return nil, errors.New("no stored credential is for this host")
}

// An action is where a file of Git LFS is.
type action struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header,omitempty"`
	ExpiresIn int               `json:"expires_in,omitempty"`
	ExpiresAt string            `json:"expires_at,omitempty"`
}

// batch asks the host where files of Git LFS are. Files on the host itself get
// an address of the gate: they want the credential, and some hosts repeat it in
// their answer.
func (g *Gate) batch(w http.ResponseWriter, req *http.Request, r *remote) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBatch+1))
	var question struct{ Operation string }
	if err != nil || len(body) > maxBatch || json.Unmarshal(body, &question) != nil {
		lfsError(w, http.StatusRequestEntityTooLarge, "the question cannot be understood")
		return
	}
	if question.Operation != "download" {
		lfsError(w, http.StatusForbidden, "a build may only read with the stored credential")
		return
	}
	resp, err := r.send(req.Context(), http.MethodPost, lfsBatch, http.Header{"Accept": {lfsType}, "Content-Type": {lfsType}}, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		status := http.StatusBadGateway
		if known, ok := errors.AsType[statusError](err); ok {
			status = int(known)
		}
		lfsError(w, status, "the host did not serve the request")
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) <= maxAnswer {
		answer, err = g.rewrite(req.Context(), answer, r)
	}
	if err != nil || len(answer) > maxAnswer {
		lfsError(w, http.StatusBadGateway, "the host's answer cannot be used")
		return
	}
	w.Header().Set("Content-Type", lfsType)
	_, _ = w.Write(answer)
}

// rewrite makes an answer of the host one for the build: files can be read
// only, with nothing in it that holds the credential.
func (g *Gate) rewrite(ctx context.Context, text []byte, r *remote) ([]byte, error) {
	var answer struct {
		Transfer string `json:"transfer,omitempty"`
		HashAlgo string `json:"hash_algo,omitempty"`
		Objects  []struct {
			OID           string             `json:"oid"`
			Size          int64              `json:"size"`
			Authenticated bool               `json:"authenticated,omitempty"`
			Actions       map[string]*action `json:"actions,omitempty"`
			Error         *struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"error,omitempty"`
		} `json:"objects"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Transfer != "" && answer.Transfer != "basic" {
		return nil, errProtocol
	}
	secrets, err := r.secrets(ctx)
	if err != nil {
		return nil, err
	}
	base := r.base.Load()
	for i, o := range answer.Objects {
		at := o.Actions["download"]
		answer.Objects[i].Actions = nil
		if at == nil {
			continue
		}
		u, err := base.Parse(at.Href)
		if err != nil || u.User != nil || u.Scheme != "https" && origin(u) != origin(base) {
			return nil, errProtocol
		}
		if origin(u) == origin(base) {
			id, err := g.keep(object{r, u, at.Header})
			if err != nil {
				return nil, err
			}
			at = &action{Href: g.proxy.address + lfsPath + id, ExpiresIn: at.ExpiresIn, ExpiresAt: at.ExpiresAt}
		}
		// Git LFS would send its own credentials otherwise.
		answer.Objects[i].Authenticated = true
		answer.Objects[i].Actions = map[string]*action{"download": at}
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	for _, s := range secrets {
		if bytes.Contains(out, []byte(s)) {
			return nil, errProtocol
		}
	}
	return out, nil
}

// secrets are the texts of an Authorization header that must go nowhere else.
func (r *remote) secrets(ctx context.Context) ([]string, error) {
	if r.authorize == nil {
		return nil, nil
	}
	value, err := r.authorize(ctx)
	if err != nil {
		return nil, authError{err}
	}
	_, coded, _ := strings.Cut(value, " ")
	list := []string{coded}
	if plain, err := base64.StdEncoding.DecodeString(coded); err == nil {
		_, token, _ := strings.Cut(string(plain), ":")
		list = append(list, token)
	}
	return list, nil
}

// keep remembers an object and returns what stands for it.
func (g *Gate) keep(o object) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.objects) >= maxObjects {
		return "", errTooLarge
	}
	id := rand.Text()
	g.objects[id] = o
	return id, nil
}

// object sends a file of Git LFS.
func (g *Gate) object(w http.ResponseWriter, req *http.Request, id string) {
	g.mu.Lock()
	o, ok := g.objects[id]
	g.mu.Unlock()
	if !ok || req.Method != http.MethodGet {
		http.Error(w, "corbel: there is no such object", http.StatusNotFound)
		return
	}
	resp, err := o.get(req)
	if err != nil {
		if req.Context().Err() == nil {
			http.Error(w, "corbel: the host did not serve the object", http.StatusBadGateway)
		}
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{"Content-Length", "Content-Range", "Content-Type", "Content-Encoding"} {
		if v := resp.Header.Values(name); len(v) > 0 {
			w.Header()[name] = v
		}
	}
	w.WriteHeader(resp.StatusCode)
	if err := g.proxy.copy(w, resp.Body, o.url.Host); err != nil && req.Context().Err() == nil {
		panic(http.ErrAbortHandler) // so that the rest is not taken for the end
	}
}

// get makes the request for an object. Hosts redirect to where they store
// files; nothing that authorizes goes there.
func (o object) get(req *http.Request) (*http.Response, error) {
	const maxRedirects = 5
	at := o.url
	for range maxRedirects {
		out, err := http.NewRequestWithContext(req.Context(), http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, errProtocol
		}
		out.Header.Set("User-Agent", o.remote.agent)
		out.Header.Set("Accept-Encoding", "identity")
		if v := req.Header.Get("Range"); v != "" {
			out.Header.Set("Range", v)
		}
		if origin(at) == origin(o.url) {
			if err := o.authorize(out); err != nil {
				return nil, err
			}
		}
		resp, err := o.remote.transport.RoundTrip(out)
		if err != nil {
			return nil, networkError{at.Host, reason(err)}
		}
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
			return resp, nil
		}
		drain(resp)
		resp.Body.Close()
		location := resp.Header.Get("Location")
		if resp.StatusCode < 300 || resp.StatusCode >= 400 || location == "" {
			return nil, statusError(resp.StatusCode)
		}
		next, err := at.Parse(location)
		if err != nil || next.User != nil || next.Scheme != "https" && origin(next) != origin(at) {
			return nil, redirectError{at.Host, "an address that is none"}
		}
		at = next
	}
	return nil, redirectError{o.url.Host, "too many other addresses"}
}

// authorize adds what the host told to send with a request for the object, or
// what it gets with every other.
func (o object) authorize(req *http.Request) error {
	for name, value := range o.header {
		req.Header.Set(name, value)
	}
	if req.Header.Get("Authorization") != "" || o.remote.authorize == nil {
		return nil
	}
	if req.URL.Scheme != "https" && !isLoopback(req.URL.Hostname()) {
		return insecureError{req.URL.Host}
	}
	value, err := o.remote.authorize(req.Context())
	if err != nil {
		return authError{err}
	}
	req.Header.Set("Authorization", value)
	return nil
}

// lfsError answers as the API of Git LFS does.
func lfsError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", mime.FormatMediaType(lfsType, nil))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": "corbel: " + message})
}
