package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says how a Fetcher works. Dir and Transport must be given.
type Config struct {
	// Dir is the cache, an absolute path; it is made if it does not exist. No
	// other process may use it.
	Dir string

	// Transport makes the requests to hosts. What it refuses is not fetched.
	// Redirects are not its business: only one to the same scheme, host and
	// port is followed.
	Transport http.RoundTripper

	// Confine restricts a git process to the directories readWrite before it
	// is started. Default: it runs unrestricted as UID.
	Confine func(cmd *exec.Cmd, readWrite ...string)

	// UID and GID own mirrors and trees. They matter to a server that runs
	// as root: git runs as this user then, who must be able to pass through
	// the directories above Dir. Other servers use their own.
	UID, GID int

	// Git is the git program. Default: git of PATH.
	Git string

	// Log gets what operators should know. Default: nothing.
	Log *slog.Logger

	// MaxBytes bounds what one fetch may transfer. Default: 20 GiB.
	MaxBytes int64

	// KeepTrees is how many trees of a repository stay in the cache that no
	// build uses. Default: 3; -1 is none.
	KeepTrees int

	// KeepMirrors is how long a mirror stays that nothing was fetched into.
	// Looked at by New. Default: 30 days.
	KeepMirrors time.Duration
}

// A Fetcher gets sources. Its methods may be called from any goroutine.
type Fetcher struct {
	config  Config
	git     string
	version string // of git
	foreign bool   // files and git processes belong to another user than the server
	log     *slog.Logger
	wait    func(ctx context.Context, d time.Duration) error

	dialects   dialects
	locks      locks
	background sync.WaitGroup // removals; Close waits for them

	mu      sync.Mutex
	mirrors map[string]*mirror            // by repository
	trees   map[string]map[string]*cached // by repository and tree name
	uses    int64                         // counts uses of trees
}

// New prepares the cache: it removes what a crash left half-made and refuses a
// git without the security fixes that this package depends on.
func New(c Config) (*Fetcher, error) {
	if !filepath.IsAbs(c.Dir) || c.Transport == nil {
		return nil, errors.New("source: Dir must be absolute and Transport given")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Git == "" {
		c.Git = "git"
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 20 << 30
	}
	if c.KeepTrees == 0 {
		c.KeepTrees = 3
	}
	if c.KeepMirrors == 0 {
		c.KeepMirrors = 30 * 24 * time.Hour
	}
	git, err := exec.LookPath(c.Git)
	if err != nil {
		return nil, fmt.Errorf("git is needed to fetch sources: install it: %w", err)
	}
	if git, err = filepath.Abs(git); err != nil {
		return nil, err
	}
	f := &Fetcher{
		config: c, git: git, log: c.Log, wait: sleep,
		foreign: os.Geteuid() == 0 && c.UID != 0,
		mirrors: map[string]*mirror{}, trees: map[string]map[string]*cached{},
	}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("prepare the cache of sources: %w", err)
	}
	if err := f.checkGit(context.Background()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close waits for removals in the background. Fetches must have returned.
func (f *Fetcher) Close() error {
	f.background.Wait()
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// A Request names a source.
type Request struct {
	// Key separates what different credentials may see: requests with
	// different keys share nothing of the cache. Account, region and
	// credential, or "anonymous". Whoever lets Upstream decide differently
	// for two requests gives them different keys too, since a tree has what
	// its submodules were fetched with.
	Key string

	// URL is the repository's address as people know it. It becomes
	// remote.origin.url of the tree.
	URL string

	// Upstream says where an address is really fetched from, and whether
	// Authorize is for there. It is asked for URL and for each submodule. A
	// server may refuse an address with an error that is fit to be shown.
	// Default: from the address itself; authorized for the host of URL.
	Upstream func(url string) (upstream string, authorized bool, err error)

	// Authorize returns the value of the Authorization header. It is called
	// for each request, at the last moment. Default: anonymous.
	Authorize func(context.Context) (string, error)

	// Version is a source version; see the package comment. Default: HEAD.
	Version string

	// Depth is the number of commits of history. 0 is all.
	Depth int

	// Submodules fetches them too.
	Submodules bool

	// Name is the source in error texts. Default: "primary source".
	Name string
}

// A Tree is a work tree with its repository. It is shared: whoever wants to
// write shows a copy-on-write view of it.
type Tree struct {
	Dir    string // absolute
	Commit string // id of the commit
	Ref    string // full name of the branch, tag or other ref; "" for a commit id

	// Release says that the tree is not used any more. It stays whole until
	// then. It may be called more than once.
	Release func()
}

// An Error is for the owner of a build. Its text has no secret.
type Error struct {
	Message string
	// Refused says that the host did not take the credential.
	Refused bool
}

func (e *Error) Error() string { return e.Message }

// Fetch returns the tree of a source version. It asks the host which commit
// that is even when the tree is in the cache.
func (f *Fetcher) Fetch(ctx context.Context, req Request) (*Tree, error) {
	p, err := f.origin(req)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		t, err := f.resolve(ctx, p, req.Version)
		if err == nil {
			var tree *Tree
			if tree, err = f.tree(ctx, p, t); err == nil {
				return tree, nil
			}
		}
		// A ref may move between the question and the fetch, and a mirror that
		// git found broken is gone now.
		var broken *gitError
		if errors.Is(err, errNotServed) && attempt < attempts || errors.As(err, &broken) && attempt == 1 {
			continue
		}
		return nil, p.explain(ctx, err)
	}
}

// A place is a repository that is being fetched: the source, or a submodule.
type place struct {
	*Request
	label  string   // in error texts
	url    *url.URL // as people know it
	remote *remote
}

// origin is the place of a request.
func (f *Fetcher) origin(req Request) (*place, error) {
	if req.Name == "" {
		req.Name = "primary source"
	}
	label := req.Name
	if req.Version != "" {
		label += " and source version " + printable(req.Version)
	}
	u, err := checkURL(req.URL)
	if err != nil {
		return nil, &Error{Message: err.Error() + " (" + label + ")"}
	}
	req.Depth = max(req.Depth, 0)
	if req.Upstream == nil {
		own := origin(u)
		req.Upstream = func(s string) (string, bool, error) {
			u, err := url.Parse(s)
			return s, err == nil && origin(u) == own, nil
		}
	}
	return f.place(&req, u, label)
}

func (f *Fetcher) place(req *Request, u *url.URL, label string) (*place, error) {
	upstream, authorized, err := req.Upstream(u.String())
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("%v (%s)", err, label)}
	}
	base, err := checkURL(upstream)
	if err != nil {
		return nil, fmt.Errorf("upstream of %s: %w", printable(u.Host), err)
	}
	p := &place{Request: req, label: label, url: u,
		remote: &remote{transport: f.config.Transport, agent: "git/" + f.version + " (corbel)", authorize: req.Authorize}}
	if !authorized {
		p.remote.authorize = nil
	}
	p.remote.base.Store(base)
	return p, nil
}

// repository names the mirror and the trees of a place at a depth. The address
// is the one before any redirect.
func (p *place) repository(depth int) string {
	return hash(p.Key, p.url.String(), strconv.Itoa(depth))
}

// hash is a short name for a list of texts.
func hash(texts ...string) string {
	h := sha256.New()
	for _, s := range texts {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

var (
	// errNotFound is a version that the repository does not have.
	errNotFound = errors.New("no such ref")
	// errNotServed is an object that the host named and did not give.
	errNotServed = errors.New("the host does not serve the commit")
)

// explain makes an error of a fetch fit for the owner of the build. The four
// stems are the service's. Source: recorded builds of the service.
func (p *place) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var (
		known    *Error
		status   statusError
		redirect redirectError
		insecure insecureError
		network  networkError
		foreign  foreignError
		broken   *gitError
	)
	say := func(format string, args ...any) error {
		return &Error{Message: fmt.Sprintf(format, args...) + " for " + p.label}
	}
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errNotFound), errors.Is(err, errNotServed):
		return say("reference not found")
	case errors.As(err, &status):
		switch {
		case status == http.StatusUnauthorized && p.remote.authorize == nil:
			return say("authentication required")
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return &Error{Message: "authorization failed for " + p.label, Refused: true}
		case status == http.StatusNotFound:
			return say("repository not found")
		case status == http.StatusTooManyRequests:
			return say("%s limits requests at the moment; start the build again later: status 429", p.url.Host)
		}
		return say("%s answered with status %d", p.url.Host, status)
	case errors.As(err, &redirect):
		return say("%s redirects to %s, which was not followed: a source is fetched from its own host only", redirect.from, redirect.to)
	case errors.As(err, &insecure):
		return say("%v", insecure)
	case errors.As(err, &network):
		return say("no connection to %s: %s", network.host, network.reason)
	case errors.As(err, &foreign):
		return say("%s did not answer like a git repository", foreign.host)
	case errors.Is(err, errTooLarge):
		return say("the repository is too large to be fetched")
	case errors.As(err, &broken):
		return say("git could not use the repository: %s,", printable(broken.words()))
	}
	return fmt.Errorf("fetch %s: %w", p.label, err)
}

// A target is what a version means in a repository at a moment.
type target struct {
	commit  string
	object  string // to be fetched: the commit, or an annotated tag of it
	ref     string // "" if the version is a commit id
	depth   int    // 0 is the whole history
	listing []ref  // with depth 0, all branches and tags, if they were asked for
	prefix  string // an abbreviated id, while commit is not known

	// tip is an object that must lead to the commit; "any" stands for the
	// branches and tags, "" for no doubt.
	tip string
}

const anyTip = "any"

// resolve asks the host what a version means. This is the only request for a
// tree that is in the cache.
func (f *Fetcher) resolve(ctx context.Context, p *place, s string) (target, error) {
	v, ok := parseVersion(s)
	if !ok {
		return target{}, errNotFound
	}
	if v.id != "" {
		return f.resolveID(ctx, p, v.id)
	}
	refs, err := f.refs(ctx, p.remote, v.names, func(name string) bool {
		for _, n := range v.names {
			if n == name {
				return true
			}
		}
		return false
	})
	if err != nil {
		return target{}, err
	}
	r, ok := v.pick(refs)
	switch {
	case !ok && v.prefix != "":
		return target{prefix: v.prefix, tip: anyTip}, nil
	case !ok:
		return target{}, errNotFound
	}
	t := target{commit: r.commit(), object: r.object, ref: r.name, depth: p.Depth}
	if r.name == "HEAD" {
		t.ref = r.target
	}
	if v.pin != "" && v.pin != t.commit {
		t = target{commit: v.pin, object: v.pin, ref: t.ref, tip: t.object}
	}
	return t, nil
}

// resolveID finds out about a commit id. If its tree is in the cache the
// question is only whether we may still see the repository.
func (f *Fetcher) resolveID(ctx context.Context, p *place, id string) (target, error) {
	t := target{commit: id, object: id, depth: p.Depth}
	whole := t
	whole.depth = 0
	for _, known := range []target{t, whole} {
		if f.cached(p, known) {
			_, err := f.refs(ctx, p.remote, []string{"HEAD"}, func(string) bool { return false })
			return known, err
		}
	}
	refs, err := f.refs(ctx, p.remote, branchesAndTags, isBranchOrTag)
	if err != nil {
		return target{}, err
	}
	whole.listing = refs
	for _, r := range refs {
		if r.commit() == id {
			if t.depth == 0 {
				return whole, nil
			}
			return t, nil
		}
	}
	whole.tip = anyTip // history must tell
	return whole, nil
}

var branchesAndTags = []string{"refs/heads/", "refs/tags/"}

func isBranchOrTag(name string) bool {
	return strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
}

// locks are mutexes with names, whose waiting ends with a context.
type locks struct {
	mu sync.Mutex
	m  map[string]*namedLock
}

type namedLock struct {
	held  chan struct{} // full while held; never closed
	users int
}

func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.m == nil {
		l.m = map[string]*namedLock{}
	}
	n := l.m[name]
	if n == nil {
		n = &namedLock{held: make(chan struct{}, 1)}
		l.m[name] = n
	}
	n.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.users--; n.users == 0 {
			delete(l.m, name)
		}
	}
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
