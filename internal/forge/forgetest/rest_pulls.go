package forgetest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A difference is one path that differs between two commits.
type difference struct {
	status string // added, removed, modified, renamed
	path   string
	old    string // former path of a renamed one
	blob   string
}

// differ lists what to adds to the history that it shares with from, as three
// dots do, by path; nil if they share none.
func (s *Server) differ(r *repository, from, to string) []difference {
	base := s.shared(r, from, to)
	if base == "" {
		return nil
	}
	return s.differences(r, base, to)
}

// differences lists what differs between two commits, by path.
func (s *Server) differences(r *repository, base, to string) []difference {
	out, err := s.run(nil, "--git-dir", r.dir, "diff", "--raw", "--no-abbrev", "-M", "-z", base, to)
	if err != nil {
		return nil
	}
	var list []difference
	parts := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		f := strings.Fields(parts[i]) // modes, objects, status
		d := difference{path: parts[i+1], blob: f[3], status: map[byte]string{'A': "added", 'D': "removed", 'R': "renamed"}[f[4][0]]}
		switch d.status {
		case "":
			d.status = "modified"
		case "removed":
			d.blob = f[2]
		case "renamed":
			i++
			d.old, d.path = d.path, parts[i+1]
		}
		list = append(list, d)
	}
	return list
}

// shared is where the histories of two commits part, "" if they share none.
func (s *Server) shared(r *repository, a, b string) string {
	base, err := s.run(nil, "--git-dir", r.dir, "merge-base", a, b)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(base))
}

// files shows differences, those that GitHub does not cut.
func (c *call) files(list []difference, sha string, most int) []object {
	name := c.s.nameOf(c.repo)
	out := []object{}
	for _, d := range list[:min(len(list), most)] {
		one := object{
			"sha": d.blob, "filename": d.path, "status": d.status, "additions": 1, "deletions": 0, "changes": 1,
			"blob_url": c.s.URL + "/" + name + "/blob/" + sha + "/" + escape(d.path), "raw_url": c.s.URL + "/" + name + "/raw/" + sha + "/" + escape(d.path),
			"contents_url": c.at + "/repos/" + name + "/contents/" + escape(d.path) + "?ref=" + sha,
		}
		if d.old != "" {
			one["previous_filename"] = d.old
		}
		out = append(out, one)
	}
	return out
}

// foundPull is the pull request of the path.
func (c *call) foundPull() (*Pull, bool) {
	n, _ := strconv.Atoi(c.r.PathValue("pull_number"))
	p, ok := c.s.Pull(c.s.nameOf(c.repo), n)
	if !ok {
		c.fail(http.StatusNotFound, "Not Found")
	}
	return &p, ok
}

func (c *call) getPull() {
	if p, ok := c.foundPull(); ok {
		c.answer = c.pull(p, true)
	}
}

func (c *call) listPulls() {
	all, q := c.s.Pulls(c.s.nameOf(c.repo)), c.r.URL.Query()
	slices.Reverse(all) // the newest first, unless the query says otherwise
	if q.Get("direction") == "asc" {
		slices.Reverse(all)
	}
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	list := []object{}
	for _, p := range all {
		if state == "all" || (state == "open") == (p.State == "open") {
			list = append(list, c.pull(&p, false))
		}
	}
	c.page(list)
}

func (c *call) pullFiles() {
	if p, ok := c.foundPull(); ok {
		// Source: GitHub, "List pull requests files": at most 3,000.
		c.page(c.files(c.s.differ(c.repo, p.BaseSHA, p.SHA), p.SHA, 3000))
	}
}

// shownCommit is a commit as comparisons have it.
func (c *call) shownCommit(v revision) object {
	at := c.at + "/repos/" + c.s.nameOf(c.repo)
	who := object{"name": v.author, "email": v.email, "date": v.at.Format(time.RFC3339)}
	parents := []object{}
	for _, p := range v.parents {
		parents = append(parents, object{"sha": p, "url": at + "/commits/" + p, "html_url": c.s.URL + "/" + c.s.nameOf(c.repo) + "/commit/" + p})
	}
	return object{
		"url": at + "/commits/" + v.id, "sha": v.id, "node_id": "C_" + v.id, "html_url": c.s.URL + "/" + c.s.nameOf(c.repo) + "/commit/" + v.id,
		"comments_url": at + "/commits/" + v.id + "/comments", "author": nil, "committer": nil, "parents": parents,
		"commit": object{
			"url": at + "/git/commits/" + v.id, "author": who, "committer": who, "message": v.message, "comment_count": 0,
			"tree": object{"sha": v.tree, "url": at + "/git/trees/" + v.tree},
		},
	}
}

func (c *call) compare() {
	from, to, ok := strings.Cut(c.r.PathValue("basehead"), "...")
	a, b := c.s.resolve(c.repo, from), c.s.resolve(c.repo, to)
	if !ok || a == "" || b == "" {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	base := c.s.shared(c.repo, a, b)
	if base == "" {
		c.fail(http.StatusNotFound, "No common ancestor between "+from+" and "+to+".")
		return
	}
	log := func(args ...string) []revision { list, _ := c.s.revisions(c.repo, args...); return list }
	ahead, behind := log("--reverse", b, "^"+a), log(a, "^"+b)
	status := "diverged"
	switch {
	case a == b:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	commits := []object{}
	for _, v := range ahead {
		commits = append(commits, c.shownCommit(v))
	}
	c.page(commits)
	files := []object{} // only on the first page
	if p := c.r.URL.Query().Get("page"); p == "" || p == "1" {
		// Source: GitHub, "Compare two commits": at most 300.
		files = c.files(c.s.differ(c.repo, a, b), b, 300)
	}
	name := c.s.nameOf(c.repo)
	web := c.s.URL + "/" + name + "/compare/" + from + "..." + to
	c.answer = object{
		"url": c.at + "/repos/" + name + "/compare/" + from + "..." + to, "html_url": web, "permalink_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch",
		"base_commit": c.shownCommit(log("-1", a)[0]), "merge_base_commit": c.shownCommit(log("-1", base)[0]), "status": status, "ahead_by": len(ahead),
		"behind_by": len(behind), "total_commits": len(ahead), "commits": c.answer, "files": files,
	}
}

func (c *call) gitCommit() {
	sha := c.r.PathValue("commit_sha")
	if c.s.resolve(c.repo, sha) != sha {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	list, _ := c.s.revisions(c.repo, "-1", sha)
	v := c.shownCommit(list[0])
	inner := v["commit"].(object)
	delete(inner, "comment_count")
	inner["sha"], inner["node_id"], inner["html_url"], inner["parents"] = sha, v["node_id"], v["html_url"], v["parents"]
	inner["verification"] = object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
	c.answer = inner
}

// listed are the names and commits of refs below a prefix, by name.
func (c *call) listed(prefix string) (names []string, ids map[string]string) {
	refs, err := c.s.refs(c.repo)
	if err != nil {
		c.fail(http.StatusInternalServerError, "Server Error")
	}
	ids = map[string]string{}
	for ref, id := range refs {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			names, ids[name] = append(names, name), id
		}
	}
	slices.Sort(names)
	return names, ids
}

func (c *call) branches() {
	names, ids := c.listed("refs/heads/")
	list := []object{}
	for _, n := range names {
		list = append(list, object{"name": n, "commit": object{"sha": ids[n], "url": c.at + "/repos/" + c.s.nameOf(c.repo) + "/commits/" + ids[n]}, "protected": false})
	}
	c.page(list)
}

func (c *call) tags() {
	names, ids := c.listed("refs/tags/")
	slices.Reverse(names)
	at := c.at + "/repos/" + c.s.nameOf(c.repo)
	list := []object{}
	for _, n := range names {
		list = append(list, object{
			"name": n, "commit": object{"sha": ids[n], "url": at + "/commits/" + ids[n]}, "node_id": "REF_" + n,
			"zipball_url": at + "/zipball/refs/tags/" + escape(n), "tarball_url": at + "/tarball/refs/tags/" + escape(n),
		})
	}
	c.page(list)
}

// permission tells what somebody may do: role_name is the role, permission what
// it was called before there were more than three.
// Source: GitHub, "Get repository permissions for a user".
func (c *call) permission() {
	p, ok := c.s.who(c.r.PathValue("username"))
	if !ok {
		c.fail(http.StatusNotFound, c.r.PathValue("username")+" is not a user")
		return
	}
	if !c.token.may("contents=write", "repo") && c.token.Permissions == nil {
		c.fail(http.StatusForbidden, "Must have push access to view collaborator permission.")
		return
	}
	role := c.s.role(c.repo, p)
	permission, known := map[string]string{"": "none", "read": "read", "triage": "read", "write": "write", "maintain": "write", "admin": "admin"}[role]
	switch {
	case role == "" && c.repo.public:
		role, permission = "read", "read" // as anybody
	case role == "":
		role = "none"
	case !known:
		role, permission, _ = strings.Cut(role, "/")
	}
	user := c.account(p, "User")
	has := func(of ...string) bool { return slices.Contains(of, permission) }
	user["permissions"] = object{"pull": !has("none"), "triage": has("write", "admin"), "push": has("write", "admin"), "maintain": has("admin"), "admin": has("admin")}
	user["role_name"] = role
	c.answer = object{"permission": permission, "role_name": role, "user": user}
}

// ownRepositories are those that the token can see, the newest first.
func (c *call) ownRepositories() {
	if c.token == nil {
		c.fail(http.StatusUnauthorized, "Requires authentication")
		return
	}
	c.s.mu.Lock()
	var all []*repository
	for key, r := range c.s.repos {
		if key == strings.ToLower(r.name) && (r.public || c.token.sees(r)) {
			all = append(all, r)
		}
	}
	c.s.mu.Unlock()
	slices.SortFunc(all, func(a, b *repository) int { return int(b.id - a.id) })
	list := []object{}
	for _, r := range all {
		of := *c
		of.repo = r
		list = append(list, of.whole())
	}
	c.page(list)
}

// escape makes a path a part of an address.
func escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }
