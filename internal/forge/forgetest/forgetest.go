// Package forgetest has a source provider that tells the truth, one that lies,
// and the suite that every forge.Forge must pass.
//
// New starts a Server: an HTTP server on 127.0.0.1 that speaks as GitHub does.
// AddRepository makes a repository, AddToken a token. Its git is git's own
// http-backend behind Basic auth; its REST API answers with GitHub's bodies and
// headers, below /api/v3 as an Enterprise server does and also below /, as
// api.github.com does. It has state: statuses and hooks that were made are
// listed. Inject makes it misbehave.
//
// Things happen there when a test says so: Push, Move, OpenPull, Comment,
// Publish and others, and when git pushes. Each tells the hooks that want to
// know, over HTTP to addresses on this machine, and returns when they have
// answered; Deliveries has what they were told, Redeliver tells it again, and
// Misdeliver makes it go wrong.
//
// NewEvil starts a server that answers everything with one status. Redirect to
// one that says 401 and to one that says 200: some leaks only show with one.
//
// Both write down every request, and Saw answers whether a token got there.
//
// The package does not need package testing, but for Run: the demonstration
// program uses it too.
package forgetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
)

// Options are the choices of New. The zero value is good.
type Options struct {
	// Dir is where repositories are kept. The default is a directory that
	// Close removes.
	Dir string
	// TLS serves https with a certificate that only Server.CA signs.
	TLS bool
	// Dialect is which provider it speaks as. The default is GitHub.
	Dialect *Dialect
	// Now is the clock that tokens expire by. The default is time.Now.
	Now func() time.Time
	// Patience is how long an answer to a delivery may take. The default is 10
	// seconds, as GitHub's.
	Patience time.Duration
}

// A Dialect is how a provider speaks.
type Dialect struct {
	// api says whether a path is of the REST API, and without its base.
	api func(path string) (rest string, ok bool)
	// routes, if there are any, are those of the API, and serve answers a call
	// of it, whose path without its base is path.
	routes func(*Server) *http.ServeMux
	serve  func(s *Server, w http.ResponseWriter, r *http.Request, path string, rec *Request)

	clone  []string // the scopes that each let a token read a private repository
	push   []string // and write to one
	prefix string   // of the paths of repositories, such as /scm
	// gitUser says whether git may present this user name beside the token;
	// nil is any.
	gitUser func(t *token, user string) bool

	// pullRef is the ref of a pull request's head in the repository that it
	// asks, with %d for its number; "" if it has none there.
	pullRef string
	// tell says what a hook is told of a happening: nothing if it did not ask
	// for that. It is nil where nothing is told yet.
	tell func(s *Server, k Hook, h happening) []message
	// sign sets the headers of a delivery, which say what it is and, unless
	// secret is "", that it is the provider's.
	sign func(s *Server, secret string, d *Delivery)
	// keys says that hooks can have a key to sign with beside the secret.
	keys bool
}

// GitHub is that of github.com and of an Enterprise server.
var GitHub = Dialect{
	api: func(path string) (string, bool) {
		rest := strings.TrimPrefix(path, "/api/v3")
		return rest, rest != path || strings.HasPrefix(path, "/repos/") || strings.HasPrefix(path, "/repositories/") || strings.HasPrefix(path, "/orgs/") || path == "/user" || strings.HasPrefix(path, "/user/") || path == "/rate_limit"
	},
	routes: (*Server).rest,
	serve:  (*Server).serveREST,
	clone:  []string{"repo"},
	push:   []string{"repo"},

	pullRef: "refs/pull/%d/head",
	tell:    tellGitHub,
	sign:    signGitHub,
}

// A Token is known to a Server.
type Token struct {
	Value api.Secret
	Login string // the user; default octocat
	Email string // of the user; Bitbucket's API tokens want it
	Bot   bool   // a token of a repository, project or group rather than a person's
	OAuth bool   // a token that an OAuth app was given
	Role  int    // GitLab's access level in its projects; default maintainer

	// Scopes make it a classic token, which may do what they say.
	Scopes []string
	// Permissions make it a fine-grained one, such as contents: read,
	// statuses: write. The server then tells no scopes.
	Permissions map[string]string

	Repositories []string  // "owner/name" that it may see; nil is all
	Expires      time.Time // zero is never
	SSO          bool      // the organization wants it authorized first
}

// A Server is a stand-in for GitHub. Its methods may be called at any time.
type Server struct {
	URL string // http://127.0.0.1:PORT, or https
	CA  []byte // PEM, with Options.TLS

	recorder
	git     string // the program
	dir     string
	ownDir  bool
	now     func() time.Time
	http    *http.Server
	dialect *Dialect
	routes  *http.ServeMux // of the API
	started time.Time

	mu            sync.Mutex
	tokens        map[api.Secret]*token
	repos         map[string]*repository // by lower-case name, old names too
	people        map[string]Person      // by lower-case login
	organizations map[string]int64       // ids by lower-case login
	hooks         map[string][]Hook      // by owner, see ofRepository
	faults        []*Fault
	lastID        int64

	oauth      oauth
	deliveries deliveries
	patience   time.Duration
	serving    sync.WaitGroup // the accept loop, which Close ends
}

type token struct {
	Token
	id   int64 // of its person
	used int   // requests, for the rate limit
}

// New starts a server. It needs the git program.
func New(o Options) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("start git host: %w", err)
	}
	s := &Server{
		git: git, dir: o.Dir, now: o.Now, patience: o.Patience,
		tokens: map[api.Secret]*token{}, repos: map[string]*repository{}, people: map[string]Person{},
		organizations: map[string]int64{}, hooks: map[string][]Hook{}, lastID: 1296269,
	}
	if s.patience == 0 {
		s.patience = 10 * time.Second
	}
	s.deliveries.client = &http.Client{
		Transport:     &http.Transport{}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.started = s.now()
	if s.dialect = o.Dialect; s.dialect == nil {
		s.dialect = &GitHub
	}
	if s.dialect.routes != nil {
		s.routes = s.dialect.routes(s)
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "forgetest-"); err != nil {
			return nil, fmt.Errorf("start git host: %w", err)
		}
		s.ownDir = true
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("start git host: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start git host: %w", err), s.Close())
	}
	s.http = newHTTP(http.HandlerFunc(s.serve))
	s.URL = "http://" + listener.Addr().String()
	if o.TLS {
		cert, ca, err := certificate()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start git host: %w", err), listener.Close(), s.Close())
		}
		s.CA, s.URL = ca, "https://"+listener.Addr().String()
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
		listener = tls.NewListener(listener, s.http.TLSConfig)
	}
	s.serving.Go(func() { _ = s.http.Serve(listener) })
	return s, nil
}

// Close stops the server and removes what it made.
func (s *Server) Close() error {
	var err error
	if s.http != nil {
		err = s.http.Close()
		s.serving.Wait()
	}
	s.deliveries.client.CloseIdleConnections()
	if s.ownDir {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// AddToken makes a token known, in place of one with the same value.
func (s *Server) AddToken(t Token) {
	if t.Login == "" {
		t.Login = "octocat"
	}
	p := s.Person(t.Login)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[t.Value] = &token{Token: t, id: p.ID}
}

// RevokeToken makes a token unknown.
func (s *Server) RevokeToken(value api.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, value)
}

// Used is how many requests the rate limit of a token has counted.
func (s *Server) Used(value api.Secret) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[value]; t != nil {
		return t.used
	}
	return 0
}

// may reports whether t has what one of the scopes allows, or the permission,
// written "statuses=write".
func (t *token) may(permission string, scopes ...string) bool {
	if t.Permissions != nil {
		name, level, _ := strings.Cut(permission, "=")
		have := t.Permissions[name]
		return name == "metadata" || have == level || have == "write" || have == "admin"
	}
	for _, have := range t.Scopes {
		for _, s := range scopes {
			if have == s {
				return true
			}
		}
	}
	return len(scopes) == 0
}

// sees reports whether t may know that a private repository exists.
func (t *token) sees(r *repository) bool {
	if t == nil || !t.may("metadata=read", append([]string{"repo:status", "admin:repo_hook", "write:repo_hook", "read:repo_hook"}, r.clone...)...) {
		return false
	}
	if t.Repositories == nil {
		return true
	}
	for _, name := range t.Repositories {
		if strings.EqualFold(name, r.name) {
			return true
		}
	}
	return false
}

// serve is the handler of everything.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	rec, ok := s.record(w, r)
	if !ok {
		return
	}
	if s.serveOAuth(w, r) {
		return
	}
	path, api := s.dialect.api(r.URL.Path)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api {
			s.dialect.serve(s, w, r, path, rec)
		} else {
			s.serveGit(w, r)
		}
	})
	if f := s.fault(r.Method, path); f != nil {
		f.Do(w, r, next)
		return
	}
	next(w, r)
}

// newHTTP is a server that says nothing about broken connections, which tests
// are full of.
func newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// certificate makes a certificate for this machine that signs itself.
func certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "forgetest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
