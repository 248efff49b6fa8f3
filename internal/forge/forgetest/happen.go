package forgetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What can happen. Dialects have their own words for it.
const (
	ping    = "ping"
	pushed  = "push"
	pulled  = "pull"
	noted   = "note" // a comment
	release = "release"
	queued  = "queued" // a job of a workflow
)

// What can happen to a pull request.
const (
	opened   = "opened"
	updated  = "updated" // by commits
	edited   = "edited"  // its title
	closed   = "closed"
	merged   = "merged"
	reopened = "reopened"
)

// A happening is what hooks are told of. Which of its parts are set follows
// from what.
type happening struct {
	what  string
	at    time.Time
	repo  *repository // nil for the ping of a hook that is not a repository's
	actor Person
	hook  *Hook // of a ping

	push    *change
	action  string // of a pull request
	before  string // the former head, of an update
	pull    *Pull  // also of a note
	note    *Note
	release *Release
	job     *Job
}

// A change is what a push did to one ref.
type change struct {
	ref           string // full
	before, after string // 40 zeros for none
	forced        bool
	commits       []revision // oldest first
	head          *revision  // nil if the ref is gone
}

const zeros = "0000000000000000000000000000000000000000"

// A revision is a commit as deliveries tell of it.
type revision struct {
	id, tree, message        string
	parents                  []string
	author, email            string
	at                       time.Time
	added, removed, modified []string
}

// A Pull is a pull request, or a merge request.
type Pull struct {
	Title  string // default "Pull request"
	Body   string
	Author string // login; default octocat
	Head   string // branch
	// Fork is the repository that has the branch, "" for the one that is asked.
	Fork string
	Base string // branch; default main
	// Commits are pushed to the branch before, by the author.
	Commits []Commit
	// Close removes the branch when it is merged, and Squash merges it as one
	// commit; GitLab then moves its target there without another.
	Close, Squash bool

	// OpenPull and the others set these.
	ID      int64
	Number  int
	SHA     string // of Head
	BaseSHA string // of Base, when the pull request was opened or updated
	State   string // open, closed or merged
	Merge   string // the commit that merged it
	MergeBy string // login
	Opened  time.Time
	Changed time.Time
}

// A Note is a comment on a pull request.
type Note struct {
	ID     int64
	Text   string
	Author Person
	Edited bool // edited rather than new
}

// A Release is what Publish makes.
type Release struct {
	Tag        string // made at main if there is none
	Name       string
	Body       string
	Prerelease bool

	ID  int64
	SHA string
}

// A Job is one of a workflow that waits for a runner.
type Job struct {
	Workflow string
	Name     string
	Branch   string // default main
	Labels   []string

	ID  int64
	SHA string
}

// happen tells hooks, and returns when all have answered or failed.
func (s *Server) happen(h happening) {
	h.at = s.now().UTC()
	s.tell(h)
}

// Push adds commits, and tells hooks about each branch and tag that they
// changed. It returns the ids of the commits.
func (s *Server) Push(repo, login string, commits ...Commit) ([]string, error) {
	r := s.repository(repo)
	if r == nil {
		return nil, fmt.Errorf("push to %s: no such repository", repo)
	}
	var ids []string
	err := s.changing(r, s.Person(login), func() error {
		var err error
		ids, err = s.commit(r, commits)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("push to %s: %w", repo, err)
	}
	return ids, nil
}

// Move points a ref, written in full, to a commit that the repository has, and
// tells hooks. With sha "" it deletes the ref. It is how a tag is pushed, a
// branch reset or deleted.
func (s *Server) Move(repo, login, ref, sha string) error {
	r := s.repository(repo)
	if r == nil {
		return fmt.Errorf("move %s of %s: no such repository", ref, repo)
	}
	err := s.changing(r, s.Person(login), func() error {
		args := []string{"--git-dir", r.dir, "update-ref", ref, sha}
		if sha == "" {
			args = []string{"--git-dir", r.dir, "update-ref", "-d", ref}
		}
		_, err := s.run(nil, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("move %s of %s: %w", ref, repo, err)
	}
	return nil
}

// changing does what changes refs of r, and tells hooks what changed, also of
// pull requests whose branch it was.
func (s *Server) changing(r *repository, actor Person, do func() error) error {
	changes, err := s.changes(r, do)
	if err != nil {
		return err
	}
	for _, c := range changes {
		s.happen(happening{what: pushed, repo: r, actor: actor, push: c})
		if branch, ok := strings.CutPrefix(c.ref, "refs/heads/"); ok && c.head != nil {
			if err := s.follow(r, actor, branch, c.after); err != nil {
				return err
			}
		}
	}
	return nil
}

// changes are those that do makes to branches and tags, by name.
func (s *Server) changes(r *repository, do func() error) ([]*change, error) {
	r.moving.Lock()
	defer r.moving.Unlock()
	before, err := s.refs(r)
	if err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	after, err := s.refs(r)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	var list []*change
	for _, ref := range slices.Sorted(maps.Keys(names)) {
		if before[ref] == after[ref] || !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/") {
			continue
		}
		c, err := s.changeOf(r, ref, before, after)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// changeOf describes what happened to one ref.
func (s *Server) changeOf(r *repository, ref string, before, after map[string]string) (*change, error) {
	c := &change{ref: ref, before: before[ref], after: after[ref]}
	if c.before == "" {
		c.before = zeros
	}
	if c.after == "" {
		c.after = zeros
		return c, nil
	}
	head, err := s.revisions(r, "-1", c.after)
	if err != nil {
		return nil, err
	}
	c.head = &head[0]
	switch {
	case strings.HasPrefix(ref, "refs/tags/"):
	case c.before != zeros:
		_, err := s.run(nil, "--git-dir", r.dir, "merge-base", "--is-ancestor", c.before, c.after)
		c.forced = err != nil
		if c.commits, err = s.revisions(r, "--reverse", c.after, "^"+c.before); err != nil {
			return nil, err
		}
	default:
		args := []string{"--reverse", c.after}
		for name, id := range before {
			if strings.HasPrefix(name, "refs/heads/") {
				args = append(args, "^"+id)
			}
		}
		if c.commits, err = s.revisions(r, args...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// refs are the refs of r and their commits, tags peeled.
func (s *Server) refs(r *repository) (map[string]string, error) {
	out, err := s.run(nil, "--git-dir", r.dir, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		all[f[0]] = f[len(f)-1]
	}
	return all, nil
}

// onBranch reports whether a branch of r has the commit.
func (s *Server) onBranch(r *repository, sha string) bool {
	out, err := s.run(nil, "--git-dir", r.dir, "for-each-ref", "--contains", sha, "refs/heads/")
	return err == nil && len(out) > 0
}

// resolve returns the commit that a name means in r, "" if there is none.
func (s *Server) resolve(r *repository, name string) string {
	id, err := s.run(nil, "--git-dir", r.dir, "rev-parse", "--verify", "-q", "--end-of-options", name+"^{commit}")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// revisions describes commits that git log chooses by args.
func (s *Server) revisions(r *repository, args ...string) ([]revision, error) {
	const format = "--format=%x01%H%x02%T%x02%P%x02%an%x02%ae%x02%ct%x02%B%x02"
	out, err := s.run(nil, append([]string{"--git-dir", r.dir, "log", "--root", "--name-status", "--no-renames", "-z", format}, args...)...)
	if err != nil {
		return nil, err
	}
	var list []revision
	for text := range strings.SplitSeq(string(out), "\x01") {
		f := strings.Split(text, "\x02")
		if len(f) != 8 {
			continue // before the first
		}
		seconds, err := strconv.ParseInt(f[5], 10, 64)
		if err != nil {
			return nil, err
		}
		one := revision{
			id: f[0], tree: f[1], parents: strings.Fields(f[2]), author: f[3], email: f[4], at: time.Unix(seconds, 0).UTC(),
			message: strings.TrimSuffix(f[6], "\n"), added: []string{}, removed: []string{}, modified: []string{},
		}
		parts := strings.FieldsFunc(strings.TrimLeft(f[7], "\n"), func(r rune) bool { return r == 0 })
		for i := 0; i+1 < len(parts); i += 2 {
			switch path := parts[i+1]; strings.TrimSpace(parts[i]) {
			case "A":
				one.added = append(one.added, path)
			case "D":
				one.removed = append(one.removed, path)
			default:
				one.modified = append(one.modified, path)
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// OpenPull opens a pull request in repo, and tells hooks. Its head becomes
// readable there under the ref that the provider has for it.
func (s *Server) OpenPull(repo string, p Pull) (Pull, error) {
	r, source := s.repository(repo), s.repository(repo)
	if p.Fork != "" {
		source = s.repository(p.Fork)
	}
	if r == nil || source == nil {
		return Pull{}, fmt.Errorf("open a pull request in %s from %q: no such repository", repo, p.Fork)
	}
	if p.Title == "" {
		p.Title = "Pull request"
	}
	if p.Author == "" {
		p.Author = "octocat"
	}
	if p.Base == "" {
		p.Base = "main"
	}
	if len(p.Commits) > 0 {
		commits := slices.Clone(p.Commits)
		for i := range commits {
			commits[i].Branch = p.Head
		}
		if _, err := s.Push(source.name, p.Author, commits...); err != nil {
			return Pull{}, fmt.Errorf("open a pull request: %w", err)
		}
	}
	p.SHA, p.BaseSHA = s.resolve(source, "refs/heads/"+p.Head), s.resolve(r, "refs/heads/"+p.Base)
	if p.SHA == "" || p.BaseSHA == "" {
		return Pull{}, fmt.Errorf("open a pull request in %s from %s to %s: no such branch", repo, p.Head, p.Base)
	}
	p.State, p.Opened = "open", s.now().UTC()
	p.Changed = p.Opened
	s.mu.Lock()
	s.lastID++
	p.ID, p.Number = s.lastID, len(r.pulls)+1
	kept := p
	r.pulls = append(r.pulls, &kept)
	s.mu.Unlock()
	if err := s.show(r, source, &p); err != nil {
		return Pull{}, fmt.Errorf("open a pull request in %s: %w", repo, err)
	}
	s.happen(happening{what: pulled, action: opened, repo: r, actor: s.Person(p.Author), pull: &p})
	return p, nil
}

// show makes the head of a pull request readable in the repository that it
// asks, where the provider does that. A comparison needs it there anyway.
func (s *Server) show(r, source *repository, p *Pull) error {
	ref := "refs/forgetest/pull/%d"
	if s.dialect.pullRef != "" {
		ref = s.dialect.pullRef
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()
	_, err := s.run(nil, "--git-dir", r.dir, "fetch", "-q", "--no-tags", "--no-write-fetch-head", source.dir, "+refs/heads/"+p.Head+":"+fmt.Sprintf(ref, p.Number))
	return err
}

// Pull returns a pull request as it is now.
func (s *Server) Pull(repo string, number int) (Pull, bool) {
	r := s.repository(repo)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil || number < 1 || number > len(r.pulls) {
		return Pull{}, false
	}
	return *r.pulls[number-1], true
}

// Pulls returns the pull requests of a repository, oldest first.
func (s *Server) Pulls(repo string) []Pull {
	r := s.repository(repo)
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Pull
	if r != nil {
		for _, p := range r.pulls {
			list = append(list, *p)
		}
	}
	return list
}

// source is the repository that has the branch of a pull request of r, nil if
// it is gone.
func (s *Server) source(r *repository, p *Pull) *repository {
	if p.Fork == "" {
		return r
	}
	return s.repository(p.Fork)
}

// UpdatePull pushes commits to the branch of a pull request.
func (s *Server) UpdatePull(repo string, number int, login string, commits ...Commit) (Pull, error) {
	p, ok := s.Pull(repo, number)
	if !ok || len(commits) == 0 {
		return Pull{}, fmt.Errorf("update pull request %d of %s: no such one, or no commits", number, repo)
	}
	commits = slices.Clone(commits)
	for i := range commits {
		commits[i].Branch = p.Head
	}
	name := repo
	if p.Fork != "" {
		name = p.Fork
	}
	if _, err := s.Push(name, login, commits...); err != nil {
		return Pull{}, fmt.Errorf("update pull request %d of %s: %w", number, repo, err)
	}
	p, _ = s.Pull(repo, number)
	return p, nil
}

// follow tells of the open pull requests whose branch moved.
func (s *Server) follow(source *repository, actor Person, branch, sha string) error {
	type moved struct {
		r      *repository
		p      Pull
		before string
	}
	var list []moved
	s.mu.Lock()
	for key, r := range s.repos {
		if key != strings.ToLower(r.name) {
			continue // an old name
		}
		for _, p := range r.pulls {
			from := r
			if p.Fork != "" {
				from = s.repos[strings.ToLower(p.Fork)]
			}
			if from == source && p.State == "open" && p.Head == branch && p.SHA != sha {
				before := p.SHA
				p.SHA, p.Changed = sha, s.now().UTC()
				list = append(list, moved{r, *p, before})
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b moved) int { return int(a.p.ID - b.p.ID) })
	for _, m := range list {
		if err := s.show(m.r, source, &m.p); err != nil {
			return err
		}
		s.happen(happening{what: pulled, action: updated, repo: m.r, actor: actor, pull: &m.p, before: m.before})
	}
	return nil
}

// changePull changes a pull request and tells hooks.
func (s *Server) changePull(repo string, number int, login, action string, change func(*Pull) error) (Pull, error) {
	r := s.repository(repo)
	if _, ok := s.Pull(repo, number); !ok {
		return Pull{}, fmt.Errorf("pull request %d of %s: no such one", number, repo)
	}
	s.mu.Lock()
	p := r.pulls[number-1]
	err := change(p)
	p.Changed = s.now().UTC()
	told := *p
	s.mu.Unlock()
	if err != nil {
		return Pull{}, fmt.Errorf("pull request %d of %s: %w", number, repo, err)
	}
	s.happen(happening{what: pulled, action: action, repo: r, actor: s.Person(login), pull: &told})
	return told, nil
}

// turn makes a change from one state to another.
func turn(from, to string) func(*Pull) error {
	return func(p *Pull) error {
		if p.State != from {
			return fmt.Errorf("it is %s", p.State)
		}
		p.State = to
		return nil
	}
}

// ClosePull closes a pull request without merging it.
func (s *Server) ClosePull(repo string, number int, login string) (Pull, error) {
	return s.changePull(repo, number, login, closed, turn("open", "closed"))
}

// ReopenPull opens one again that was closed.
func (s *Server) ReopenPull(repo string, number int, login string) (Pull, error) {
	return s.changePull(repo, number, login, reopened, turn("closed", "open"))
}

// RetitlePull gives one another title.
func (s *Server) RetitlePull(repo string, number int, login, title string) (Pull, error) {
	return s.changePull(repo, number, login, edited, func(p *Pull) error { p.Title = title; return nil })
}

// MergePull merges a pull request with a merge commit, or one that stands for
// its commits, which is also a push to its base.
func (s *Server) MergePull(repo string, number int, login string) (Pull, error) {
	r := s.repository(repo)
	p, ok := s.Pull(repo, number)
	if !ok || p.State != "open" {
		return Pull{}, fmt.Errorf("merge pull request %d of %s: no such one, or not open", number, repo)
	}
	wrong := func(err error) (Pull, error) {
		return Pull{}, fmt.Errorf("merge pull request %d of %s: %w", number, repo, err)
	}
	base := s.resolve(r, "refs/heads/"+p.Base)
	tree, err := s.run(nil, "--git-dir", r.dir, "merge-tree", "--write-tree", base, p.SHA)
	if err != nil {
		return wrong(err)
	}
	args := []string{
		"--git-dir", r.dir, "-c", "user.name=Mona Lisa", "-c", "user.email=mona@example.com",
		"commit-tree", strings.TrimSpace(string(tree)), "-m", fmt.Sprintf("Merge pull request #%d from %s\n\n%s", number, p.Head, p.Title), "-p", base,
	}
	if !p.Squash {
		args = append(args, "-p", p.SHA)
	}
	made, err := s.run(nil, args...)
	if err != nil {
		return wrong(err)
	}
	merge := strings.TrimSpace(string(made))
	told, err := s.changePull(repo, number, login, merged, func(p *Pull) error {
		p.State, p.Merge, p.MergeBy = "merged", merge, login
		return nil
	})
	if err != nil {
		return wrong(err)
	}
	err = s.Move(repo, login, "refs/heads/"+p.Base, merge)
	if err == nil && p.Close && p.Fork == "" {
		err = s.Move(repo, login, "refs/heads/"+p.Head, "")
	}
	return told, err
}

// Comment writes a comment on a pull request.
func (s *Server) Comment(repo string, number int, login, text string) (Note, error) {
	r := s.repository(repo)
	p, ok := s.Pull(repo, number)
	if !ok {
		return Note{}, fmt.Errorf("comment on pull request %d of %s: no such one", number, repo)
	}
	s.mu.Lock()
	s.lastID++
	n := Note{ID: s.lastID, Text: text}
	s.mu.Unlock()
	n.Author = s.Person(login)
	s.happen(happening{what: noted, repo: r, actor: n.Author, pull: &p, note: &n})
	return n, nil
}

// EditComment changes the text of a comment, which may have been another's.
func (s *Server) EditComment(repo string, number int, login string, n Note, text string) error {
	r := s.repository(repo)
	p, ok := s.Pull(repo, number)
	if !ok {
		return fmt.Errorf("edit a comment on pull request %d of %s: no such one", number, repo)
	}
	n.Text, n.Edited = text, true
	s.happen(happening{what: noted, repo: r, actor: s.Person(login), pull: &p, note: &n})
	return nil
}

// Publish makes a release.
func (s *Server) Publish(repo, login string, rel Release) (Release, error) {
	r := s.repository(repo)
	if r == nil || rel.Tag == "" {
		return Release{}, errors.New("publish a release: no such repository, or no tag")
	}
	if rel.SHA = s.resolve(r, "refs/tags/"+rel.Tag); rel.SHA == "" {
		rel.SHA = s.resolve(r, "refs/heads/main")
		if err := s.Move(repo, login, "refs/tags/"+rel.Tag, rel.SHA); err != nil {
			return Release{}, fmt.Errorf("publish a release: %w", err)
		}
	}
	if rel.Name == "" {
		rel.Name = rel.Tag
	}
	s.mu.Lock()
	s.lastID++
	rel.ID = s.lastID
	s.mu.Unlock()
	s.happen(happening{what: release, repo: r, actor: s.Person(login), release: &rel})
	return rel, nil
}

// Queue lets a job of a workflow wait for a runner.
func (s *Server) Queue(repo, login string, j Job) (Job, error) {
	r := s.repository(repo)
	if r == nil {
		return Job{}, fmt.Errorf("queue a job in %s: no such repository", repo)
	}
	if j.Branch == "" {
		j.Branch = "main"
	}
	if j.SHA = s.resolve(r, "refs/heads/"+j.Branch); j.SHA == "" {
		return Job{}, fmt.Errorf("queue a job in %s: no branch %s", repo, j.Branch)
	}
	s.mu.Lock()
	s.lastID++
	j.ID = s.lastID
	s.mu.Unlock()
	s.happen(happening{what: queued, repo: r, actor: s.Person(login), job: &j})
	return j, nil
}
