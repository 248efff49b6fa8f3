package forgetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/corbel-build/corbel/api"
)

// A Repository is what AddRepository makes.
type Repository struct {
	Name    string // "owner/name"
	Public  bool   // may be read without a token
	Fork    string // name of the repository that it is a fork of
	Commits []Commit
}

// A Commit is added to a branch or a pull request, on top of what is there.
// The first commit of a branch other than main is on top of main, and that of
// a pull request too.
type Commit struct {
	Branch  string            // default main
	Pull    int               // number of a pull request; then there is no branch
	Tag     string            // also makes this lightweight tag
	Message string            // default "change"
	Files   map[string]string // path to content: added or replaced
	Delete  []string          // paths
	// Modes are the modes of files that are not 100644: 100755 is executable,
	// 120000 a link to Files' content, 160000 a submodule at the commit that
	// is Files' content.
	Modes map[string]string
}

// repository is a bare one in a directory, with its state in the API.
type repository struct {
	id     int64
	name   string // as it is called now
	dir    string
	public bool
	clone  []string // the dialect's

	moving   sync.Mutex // refs, while it is seen what changed
	pushing  sync.Mutex // one AddCommits at a time
	commits  int        // so far, for their times
	statuses map[string][]Status
	parent   string           // name of what it is a fork of
	roles    map[int64]string // of people, in the provider's words
	pulls    []*Pull          // by number, from 1
}

// ref is where c goes.
func (c *Commit) ref() string {
	switch {
	case c.Pull > 0:
		return "refs/pull/" + strconv.Itoa(c.Pull) + "/head"
	case c.Branch != "":
		return "refs/heads/" + c.Branch
	}
	return "refs/heads/main"
}

// AddRepository makes a repository and returns the ids of its commits. The
// same commits have the same ids each time.
func (s *Server) AddRepository(r Repository) ([]string, error) {
	if owner, name, ok := strings.Cut(r.Name, "/"); !ok || owner == "" || name == "" {
		return nil, fmt.Errorf("add repository %q: want owner/name", r.Name)
	}
	s.mu.Lock()
	s.lastID++
	made := &repository{
		id: s.lastID, name: r.Name, public: r.Public, clone: s.dialect.clone, parent: r.Fork,
		statuses: map[string][]Status{}, roles: map[int64]string{},
	}
	made.dir = filepath.Join(s.dir, strconv.FormatInt(made.id, 10)+".git")
	taken := s.repos[strings.ToLower(r.Name)] != nil
	s.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("add repository %s: it exists", r.Name)
	}
	// github.com hands out any object by its id, and filters.
	for _, args := range [][]string{
		{"init", "-q", "--bare", "--initial-branch=main", "--template=", made.dir},
		{"--git-dir", made.dir, "config", "uploadpack.allowAnySHA1InWant", "true"},
		{"--git-dir", made.dir, "config", "uploadpack.allowFilter", "true"},
		{"--git-dir", made.dir, "config", "http.receivepack", "true"},
	} {
		if _, err := s.run(nil, args...); err != nil {
			return nil, fmt.Errorf("add repository %s: %w", r.Name, err)
		}
	}
	if r.Fork != "" {
		from := s.repository(r.Fork)
		if from == nil {
			return nil, fmt.Errorf("add repository %s: no repository %s", r.Name, r.Fork)
		}
		made.commits = from.commits
		if _, err := s.run(nil, "--git-dir", made.dir, "fetch", "-q", "--no-write-fetch-head", from.dir, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
			return nil, fmt.Errorf("add repository %s: %w", r.Name, err)
		}
	}
	ids, err := s.commit(made, r.Commits)
	if err != nil {
		return nil, fmt.Errorf("add repository %s: %w", r.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[strings.ToLower(r.Name)] = made
	return ids, nil
}

// RemoveRepository makes a repository gone.
func (s *Server) RemoveRepository(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repos, strings.ToLower(name))
}

// AddCommits adds to a repository as a push does, of which no hook is told.
func (s *Server) AddCommits(name string, commits ...Commit) ([]string, error) {
	r := s.repository(name)
	if r == nil {
		return nil, fmt.Errorf("add commits to %s: no such repository", name)
	}
	ids, err := s.commit(r, commits)
	if err != nil {
		return nil, fmt.Errorf("add commits to %s: %w", name, err)
	}
	return ids, nil
}

// RenameRepository gives a repository another name. The old one redirects.
func (s *Server) RenameRepository(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[strings.ToLower(from)]
	if r == nil {
		return fmt.Errorf("rename %s: no such repository", from)
	}
	r.name = to
	s.repos[strings.ToLower(to)] = r
	return nil
}

// repository finds one by its present or an old name.
func (s *Server) repository(name string) *repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repos[strings.ToLower(name)]
}

// nameOf returns what r is called now.
func (s *Server) nameOf(r *repository) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.name
}

// commit writes commits with one run of git fast-import.
func (s *Server) commit(r *repository, commits []Commit) ([]string, error) {
	if len(commits) == 0 {
		return nil, nil
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()
	exists := map[string]bool{}
	out, err := s.run(nil, "--git-dir", r.dir, "for-each-ref", "--format=%(refname)")
	if err != nil {
		return nil, err
	}
	for _, ref := range strings.Fields(string(out)) {
		exists[ref] = true
	}
	var in bytes.Buffer
	data := func(text string) { fmt.Fprintf(&in, "data %d\n%s\n", len(text), text) }
	touched := map[string]bool{}
	for i, c := range commits {
		ref := c.ref()
		fmt.Fprintf(&in, "commit %s\nmark :%d\n", ref, i+1)
		// A fixed clock, a minute apart, so that ids are the same each time.
		fmt.Fprintf(&in, "author Mona Lisa <mona@example.com> %[1]d +0000\ncommitter Mona Lisa <mona@example.com> %[1]d +0000\n", 1790000000+60*r.commits)
		r.commits++
		if c.Message == "" {
			c.Message = "change"
		}
		data(c.Message)
		switch {
		case touched[ref]: // fast-import goes on from there
		case exists[ref]:
			fmt.Fprintf(&in, "from %s^0\n", ref)
		case touched["refs/heads/main"]:
			in.WriteString("from refs/heads/main\n")
		case exists["refs/heads/main"]:
			in.WriteString("from refs/heads/main^0\n")
		}
		touched[ref] = true
		for _, path := range c.Delete {
			fmt.Fprintf(&in, "D %s\n", path)
		}
		for _, path := range slices.Sorted(maps.Keys(c.Files)) {
			mode := "100644"
			if m := c.Modes[path]; m != "" {
				mode = m
			}
			if mode == "160000" {
				fmt.Fprintf(&in, "M %s %s %s\n", mode, c.Files[path], path)
				continue
			}
			fmt.Fprintf(&in, "M %s inline %s\n", mode, path)
			data(c.Files[path])
		}
		in.WriteString("\n")
		if c.Tag != "" {
			fmt.Fprintf(&in, "reset refs/tags/%s\nfrom :%d\n\n", c.Tag, i+1)
		}
	}
	marks := filepath.Join(r.dir, "forgetest-marks")
	if _, err := s.run(&in, "--git-dir", r.dir, "fast-import", "--quiet", "--export-marks="+marks); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(marks)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(commits))
	for line := range strings.Lines(string(text)) {
		mark, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(strings.TrimPrefix(mark, ":")); err == nil && 0 < n && n <= len(ids) {
			ids[n-1] = id
		}
	}
	return ids, os.Remove(marks)
}

// gitEnv is all that git sees of this process.
func (s *Server) gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
	}
}

func (s *Server) run(in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.Command(s.git, args...)
	cmd.Env, cmd.Stdin = s.gitEnv(), in
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}

// serveGit answers git over HTTP as github.com does: who may not know of a
// repository is asked for a password, and with a good one told that there is
// none.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	i := strings.LastIndex(r.URL.Path, "/info/refs")
	if i < 0 {
		i = strings.LastIndex(r.URL.Path, "/git-")
	}
	if i < 1 {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	asked, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path[:i], ".git"), s.dialect.prefix+"/")
	if !ok {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	action := r.URL.Path[i:]
	service := strings.TrimPrefix(action, "/")
	if action == "/info/refs" {
		service = r.URL.Query().Get("service")
	}
	if service != "git-upload-pack" && service != "git-receive-pack" {
		http.Error(w, "Please upgrade your git client.\nGitHub.com no longer supports git over dumb-http", http.StatusForbidden)
		return
	}
	push := service == "git-receive-pack"
	refuse := func(status int, text string) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		}
		http.Error(w, text, status)
	}
	t, sent := s.tokenOf(r)
	if user, _, ok := r.BasicAuth(); ok && t != nil && s.dialect.gitUser != nil && !s.dialect.gitUser(t, user) {
		t = nil
	}
	repo := s.repository(asked)
	switch {
	case sent && t == nil:
		refuse(http.StatusUnauthorized, "Invalid username or token. Password authentication is not supported for Git operations.")
		return
	case t == nil && (push || repo == nil || !repo.public):
		refuse(http.StatusUnauthorized, "Repository not found.")
		return
	case repo == nil || !repo.public && !t.sees(repo):
		refuse(http.StatusNotFound, "Repository not found.")
		return
	case t != nil && t.SSO:
		refuse(http.StatusForbidden, "The organization has enabled or enforced SAML SSO. To access this repository, you must re-authorize the token.")
		return
	case !repo.public && !t.may("contents=read", s.dialect.clone...), push && !t.may("contents=write", s.dialect.push...):
		refuse(http.StatusForbidden, "Write access to repository not granted.")
		return
	}
	if name := s.nameOf(repo); !strings.EqualFold(name, asked) {
		target := s.dialect.prefix + "/" + name + ".git" + action
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", s.URL+target)
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}

	env := append(s.gitEnv(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1")
	if t != nil {
		env = append(env, "REMOTE_USER="+t.Login)
	}
	if p := r.Header.Get("Git-Protocol"); p != "" && strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789=:.-") == "" {
		env = append(env, "GIT_PROTOCOL="+p)
	}
	out := r.Clone(r.Context())
	// CGI would put the token into the environment of git.
	out.Header.Del("Authorization")
	out.URL.Path = "/" + filepath.Base(repo.dir) + action
	if out.ContentLength < 0 || len(out.TransferEncoding) > 0 {
		// CGI wants to know the length.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
		if err != nil {
			http.Error(w, "body not readable", http.StatusBadRequest)
			return
		}
		out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	backend := &cgi.Handler{Path: s.git, Args: []string{"http-backend"}, Root: "/", Dir: s.dir, Env: env, Stderr: io.Discard}
	if t == nil || !push || action == "/info/refs" {
		backend.ServeHTTP(w, out)
		return
	}
	// The push is through; what is wrong with telling of it is no matter of git.
	_ = s.changing(repo, s.Person(t.Login), func() error { backend.ServeHTTP(w, out); return nil })
}

// tokenOf finds the token that r carries. sent says that it carries one, known
// or not.
func (s *Server) tokenOf(r *http.Request) (t *token, sent bool) {
	header := r.Header.Get("Authorization")
	if header == "" && r.Header.Get("Private-Token") == "" {
		return nil, false
	}
	value := ""
	if header == "" {
		value = r.Header.Get("Private-Token") // GitLab's
	} else if _, password, ok := r.BasicAuth(); ok {
		value = password
	} else if scheme, rest, ok := strings.Cut(header, " "); ok && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token")) {
		value = rest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t = s.tokens[api.Secret(value)]
	if t != nil && !t.Expires.IsZero() && !s.now().Before(t.Expires) {
		return nil, true
	}
	return t, true
}
