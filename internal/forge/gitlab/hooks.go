package gitlab

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

const (
	pageSize = 100  // GitLab's greatest. Source: GitLab REST API, "Pagination"
	maxPulls = 1000 // of forge.Polled
	// maxDiffs is where GitLab cuts a comparison, unless its administrator set
	// another limit, which is greater.
	// Source: GitLab, "Diff limits administration".
	maxDiffs = 1000
	// maxForks bounds how many forks' names are looked up in one Poll.
	maxForks = 100
	// maxMarks bounds how many pages of a list are asked for conditionally.
	maxMarks = 10
)

// refuse is the error of an answer that is not a success. need is what the
// token's user lacks if it is not the token itself.
func refuse(c forge.REST, doing, need string, a *forge.Reply) error {
	text := words(c, a)
	switch {
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", text)
	case a.Status == http.StatusForbidden && needed(a) != "":
		return c.Failed("%s: the token lacks the scope %s", doing, c.Clean(needed(a)))
	case a.Status == http.StatusForbidden:
		return c.Failed("%s: %s. %s", doing, text, need)
	case a.Status == http.StatusNotFound:
		return c.Failed("%s: %s. It does not exist, or the token's user may not see it. Correct the name, or give the user access", doing, text)
	}
	return c.Failed("%s: status %d: %s", doing, a.Status, text)
}

const (
	needReporter   = "The token's user needs the role Reporter in the project"
	needMaintainer = "The token's user needs the role Maintainer in the project"
	needOwner      = "The token's user needs the role Owner in the group, and the group a subscription that has webhooks of groups"
)

// one gets a document, which is the one that was asked for if is says so.
func one(ctx context.Context, c forge.REST, path, doing, need string, into any, is func() bool) error {
	a, err := c.Get(ctx, path, "")
	switch {
	case err != nil:
		return err
	case a.Status != http.StatusOK:
		return refuse(c, doing, need, a)
	case !a.Decode(into) || !is():
		return c.Strange(name, a)
	}
	return nil
}

// list reads the pages of a list and gives each entry to each, until that is
// false. path has a query already.
func list[T any](ctx context.Context, c forge.REST, path, doing, need string, each func(T) bool) error {
	return c.Pages(ctx, path+"&per_page="+strconv.Itoa(pageSize), func(a *forge.Reply) (string, error) {
		values, err := read[T](c, a, doing, need)
		for _, v := range values {
			if !each(v) {
				return "", nil
			}
		}
		return after(path, a), err
	})
}

// after is the path of the page after an answer, "" if there is none.
func after(path string, a *forge.Reply) string {
	n, err := strconv.Atoi(a.Header.Get("X-Next-Page"))
	if err != nil {
		return ""
	}
	return at(path, n)
}

// at is the path of page n of a list.
func at(path string, n int) string { return fmt.Sprintf("%s&per_page=%d&page=%d", path, pageSize, n) }

// read reads a page.
func read[T any](c forge.REST, a *forge.Reply, doing, need string) ([]T, error) {
	var values []T
	switch {
	case a.Status != http.StatusOK:
		return nil, refuse(c, doing, need, a)
	case !a.Decode(&values) || values == nil:
		return nil, c.Strange(name, a)
	}
	return values, nil
}

// hooks is how the hooks of an owner are reached. signs are the ids of those,
// once they are listed, whose deliveries GitLab signs.
func (f *Forge) hooks(host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (list forge.HookList, signs map[string]bool, err error) {
	c := f.client(host, t)
	signs = map[string]bool{}
	c.Hide = []api.Secret{h.Secret}
	var path, need string
	switch owner.Kind {
	case forge.OfRepository:
		path, need, err = project(owner.Name)+"/hooks", needMaintainer, c.CheckName("webhook", owner.Name, true)
	case forge.OfGroup:
		path, need, err = "/groups/"+url.PathEscape(owner.Name)+"/hooks", needOwner, c.CheckOwner("webhook", owner.Name)
	default:
		err = c.Failed("GitLab has webhooks of projects and groups, not of an owner of kind %s", owner.Kind)
	}
	return forge.HookList{
		REST: c, Provider: name, Path: path, First: at(path+"?", 1), Change: http.MethodPut,
		List: func(a *forge.Reply) (list []forge.Hook, next string, err error) {
			type hook struct {
				ID    int64
				URL   string
				Signs bool `json:"signing_token_present"`
			}
			values, err := read[hook](c, a, "list webhooks of "+owner.Name, need)
			for _, v := range values {
				id := strconv.FormatInt(v.ID, 10)
				list, signs[id] = append(list, forge.Hook{ID: id, Address: v.URL}), v.Signs
			}
			return list, after(path+"?", a), err
		},
		Read: func(a *forge.Reply) (string, bool) {
			var made struct{ ID int64 }
			ok := a.Decode(&made) && made.ID > 0
			return strconv.FormatInt(made.ID, 10), ok
		},
		Refuse: func(c forge.REST, doing string, a *forge.Reply) error {
			return refuse(c, doing+" of "+owner.Name, need, a)
		},
	}, signs, err
}

// key reports whether a secret is one that GitLab signs with: whsec_ and 32
// bytes in base64.
// Source: GitLab, merge request 231325.
func key(secret api.Secret) bool {
	return strings.HasPrefix(secret.Reveal(), "whsec_") && len(forge.SigningKey(secret)) == 32
}

// flags are GitLab's switches for the events to be told of.
// Source: GitLab, "Project webhooks API".
var flags = map[forge.EventType][]string{
	forge.Push:        {"push_events", "tag_push_events"},
	forge.PullCreated: {"merge_requests_events"}, forge.PullUpdated: {"merge_requests_events"}, forge.PullReopened: {"merge_requests_events"},
	forge.PullMerged: {"merge_requests_events"}, forge.PullClosed: {"merge_requests_events"},
	forge.Released: {"releases_events"}, forge.WorkflowJobQueued: {"job_events"}, forge.Comment: {"note_events"},
}

// document is what makes a hook. Every switch is set, so that a former state
// leaves nothing behind. The secret is the key to sign with, which versions that
// do not sign take no notice of, and also the token unless signed is set.
func document(h forge.Hook, signed bool) any {
	in := map[string]any{"url": h.Address, "token": h.Secret.Reveal(), "enable_ssl_verification": true}
	if key(h.Secret) {
		in["signing_token"] = h.Secret.Reveal()
	}
	if signed {
		in["token"] = ""
	}
	for _, list := range flags {
		for _, flag := range list {
			in[flag] = false
		}
	}
	for _, e := range h.Events {
		for _, flag := range flags[e] {
			in[flag] = true
		}
	}
	return in
}

// PutHook implements forge.Hooks with .../hooks of a project or a group. Where
// GitLab says that it signs, the token is taken away: it would be in every
// delivery, and whoever reads one could write others.
func (f *Forge) PutHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.Hook, error) {
	hooks, signs, err := f.hooks(host, t, owner, h)
	if err != nil {
		return forge.Hook{}, err
	}
	if !slices.ContainsFunc(h.Events, func(e forge.EventType) bool { return flags[e] != nil }) {
		return forge.Hook{}, hooks.Failed("make the webhook of %s: GitLab can tell of none of the events %v", owner.Name, h.Events)
	}
	told := false // whether GitLab was given the token
	hooks.Document = func(h forge.Hook) any {
		signed := signs[h.ID] && key(h.Secret)
		told = !signed
		return document(h, signed)
	}
	h, err = hooks.Put(ctx, h)
	if err == nil && told && signs[h.ID] && key(h.Secret) { // told by the list after it was made
		h, err = hooks.Put(ctx, h)
	}
	return h, err
}

// DeleteHook implements forge.Hooks.
func (f *Forge) DeleteHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) error {
	hooks, _, err := f.hooks(host, t, owner, h)
	if err != nil {
		return err
	}
	return hooks.Delete(ctx, h)
}

// roles are GitLab's access levels, the strongest first.
// Source: GitLab, "Members API"; Planner since 17.7.
var roles = []struct {
	level int
	role  api.PullRequestBuildApproverRole
}{
	{50, api.PullRequestBuildApproverRoleGITLAB_OWNER},
	{maintainer, api.PullRequestBuildApproverRoleGITLAB_MAINTAINER},
	{developer, api.PullRequestBuildApproverRoleGITLAB_DEVELOPER},
	{20, api.PullRequestBuildApproverRoleGITLAB_REPORTER},
	{15, api.PullRequestBuildApproverRoleGITLAB_PLANNER},
	{10, api.PullRequestBuildApproverRoleGITLAB_GUEST},
}

// Role implements forge.Hooks with the members of the project and of the
// groups above it and those that were invited. The question is by id, so the
// login does not matter. Of a level between two, such as a custom one, it is
// the lower.
func (f *Forge) Role(ctx context.Context, host forge.Host, t forge.Token, repo string, who forge.Person) (api.PullRequestBuildApproverRole, error) {
	c := f.client(host, t)
	doing := "find the role of a person in " + repo
	if err := c.CheckName(doing, repo, true); err != nil {
		return "", err
	}
	if id, err := strconv.ParseInt(who.ID, 10, 64); err != nil || id <= 0 {
		return "", nil // nobody's at GitLab
	}
	a, err := c.Get(ctx, project(repo)+"/members/all/"+who.ID, "")
	if err != nil {
		return "", err
	}
	var member struct {
		ID    int64
		State string
		Level int `json:"access_level"`
	}
	switch {
	case a.Status == http.StatusNotFound:
		return "", nil
	case a.Status != http.StatusOK:
		return "", refuse(c, doing, needReporter, a)
	case !a.Decode(&member) || strconv.FormatInt(member.ID, 10) != who.ID:
		return "", c.Strange(name, a)
	case member.State != "active": // blocked, or waiting to be admitted
		return "", nil
	}
	for _, r := range roles {
		if member.Level >= r.level {
			return r.role, nil
		}
	}
	return "", nil
}

// merge is a merge request in an answer.
type merge struct {
	IID          int
	Title, State string
	Author       struct {
		ID       int64
		Username string
	}
	Source  string `json:"source_branch"`
	Target  string `json:"target_branch"`
	SHA     string
	Squash  string `json:"squash_commit_sha"`
	From    *int64 `json:"source_project_id"` // null if it is gone
	To      int64  `json:"target_project_id"`
	Changes string `json:"changes_count"` // "1000+" if there are more; of a single one
}

// request is m in the words of package forge, without the name of a fork.
func (m merge) request(repo string) forge.PullRequest {
	out := forge.PullRequest{
		Number: m.IID, Title: m.Title, Author: forge.Person{ID: strconv.FormatInt(m.Author.ID, 10), Login: m.Author.Username},
		Open: m.State == "opened" || m.State == "locked", HeadRef: "refs/heads/" + m.Source, HeadSHA: m.SHA, BaseRef: "refs/heads/" + m.Target,
		Fork: m.From == nil || *m.From != m.To, Squash: m.Squash,
	}
	if !out.Fork {
		out.HeadRepo = repo
	}
	return out
}

// fork finds the name of a project by its id, "" if it is gone or hidden.
func fork(ctx context.Context, c forge.REST, id int64) (string, error) {
	a, err := c.Get(ctx, "/projects/"+strconv.FormatInt(id, 10), "")
	if err != nil {
		return "", err
	}
	var p struct {
		Path string `json:"path_with_namespace"`
	}
	switch {
	case a.Status == http.StatusForbidden || a.Status == http.StatusNotFound:
		return "", nil
	case a.Status != http.StatusOK:
		return "", refuse(c, "find the source of a merge request", needReporter, a)
	case !a.Decode(&p) || p.Path == "":
		return "", c.Strange(name, a)
	}
	return p.Path, nil
}

// PullRequest implements forge.Hooks. The name of a fork takes a second call.
func (f *Forge) PullRequest(ctx context.Context, host forge.Host, t forge.Token, repo string, number int) (forge.PullRequest, error) {
	c := f.client(host, t)
	m, err := request(ctx, c, repo, number)
	if err != nil {
		return forge.PullRequest{}, err
	}
	out := m.request(repo)
	if out.Fork && m.From != nil {
		if out.HeadRepo, err = fork(ctx, c, *m.From); err != nil {
			return forge.PullRequest{}, err
		}
		if out.HeadRepo != "" {
			out.HeadURL = host.Clone(out.HeadRepo)
		}
	}
	return out, nil
}

// request gets a merge request.
func request(ctx context.Context, c forge.REST, repo string, number int) (m merge, err error) {
	doing := fmt.Sprintf("get merge request %d of %s", number, repo)
	if err := c.CheckName(doing, repo, true); err != nil {
		return m, err
	}
	err = one(ctx, c, fmt.Sprintf("%s/merge_requests/%d", project(repo), number), doing, needReporter, &m, func() bool { return m.IID == number })
	return m, err
}

// diff is a changed file.
type diff struct {
	Old string `json:"old_path"`
	New string `json:"new_path"`
}

// ChangedFiles implements forge.Hooks. Of a merge request the count that comes
// with it tells whether the list is whole. Commits are compared with each
// other, or with the default branch from where both parted; GitLab sends the
// contents along, so that there is no list where that is too much.
func (f *Forge) ChangedFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int, before, sha string) ([]string, bool, error) {
	c := f.client(host, t)
	doing := "list changed files of " + repo
	var diffs []diff
	complete := false
	if number > 0 {
		m, err := request(ctx, c, repo, number)
		if err != nil {
			return nil, false, err
		}
		err = list(ctx, c, fmt.Sprintf("%s/merge_requests/%d/diffs?", project(repo), number), doing, needReporter, func(d diff) bool {
			diffs = append(diffs, d)
			return true
		})
		if err != nil {
			return nil, false, err
		}
		complete = m.Changes == strconv.Itoa(len(diffs))
	} else {
		if err := c.CheckName(doing, repo, true); err != nil {
			return nil, false, err
		}
		if err := c.CheckCommit(doing, sha); err != nil {
			return nil, false, err
		}
		straight := strings.Trim(before, "0") != ""
		if !straight {
			var p struct {
				Branch string `json:"default_branch"`
			}
			if err := one(ctx, c, project(repo), doing, needReporter, &p, func() bool { return p.Branch != "" }); err != nil {
				return nil, false, err
			}
			before = p.Branch
		} else if err := c.CheckCommit(doing, before); err != nil {
			return nil, false, err
		}
		a, err := c.Get(ctx, project(repo)+"/repository/compare?"+url.Values{"from": {before}, "to": {sha}, "straight": {strconv.FormatBool(straight)}}.Encode(), "")
		if err != nil {
			return nil, false, err
		}
		var out struct {
			Diffs    *[]diff
			TimedOut bool `json:"compare_timeout"`
		}
		switch {
		case a.Status != http.StatusOK:
			return nil, false, refuse(c, doing, needReporter, a)
		case a.Cut():
			return nil, false, nil
		case !a.Decode(&out) || out.Diffs == nil:
			return nil, false, c.Strange(name, a)
		}
		diffs, complete = *out.Diffs, !out.TimedOut && len(*out.Diffs) < maxDiffs
	}
	var paths []string
	for _, d := range diffs {
		paths = append(paths, d.Old, d.New)
	}
	slices.Sort(paths)
	return slices.Compact(paths), complete, nil
}

// Message implements forge.Hooks.
func (f *Forge) Message(ctx context.Context, host forge.Host, t forge.Token, repo, sha string) (string, error) {
	c := f.client(host, t)
	doing := "get commit " + sha + " of " + repo
	if err := c.CheckName("get a commit", repo, true); err != nil {
		return "", err
	}
	if err := c.CheckCommit("get a commit of "+repo, sha); err != nil {
		return "", err
	}
	var commit struct{ ID, Message string }
	err := one(ctx, c, project(repo)+"/repository/commits/"+sha, doing, needReporter, &commit, func() bool { return strings.EqualFold(commit.ID, sha) })
	return commit.Message, err
}

// Poll implements forge.Hooks with conditional requests. GitLab counts them
// like others, but answers them briefly.
func (f *Forge) Poll(ctx context.Context, host forge.Host, t forge.Token, repo string, marks map[string]string) (forge.Polled, error) {
	c := f.client(host, t)
	doing := "list branches, tags and merge requests of " + repo
	if err := c.CheckName(doing, repo, true); err != nil {
		return forge.Polled{}, err
	}
	w := &watch{c: c, doing: doing, old: marks, marks: map[string]string{}}
	branches, tags := project(repo)+"/repository/branches?", project(repo)+"/repository/tags?"
	pulls := project(repo) + "/merge_requests?state=opened&order_by=created_at&sort=desc"

	out := forge.Polled{Marks: w.marks}
	sameBranches, err := w.same(ctx, "branches", branches)
	if err != nil {
		return forge.Polled{}, err
	}
	if sameBranches {
		if out.RefsUnchanged, err = w.same(ctx, "tags", tags); err != nil {
			return forge.Polled{}, err
		}
	}
	if out.RefsUnchanged {
		w.keep("branches")
		w.keep("tags")
	}
	type ref struct {
		Name   string
		Commit struct{ ID string }
	}
	if !out.RefsUnchanged {
		out.Refs = map[string]string{}
		for key, path := range map[string]string{"branches": branches, "tags": tags} {
			prefix := map[string]string{"branches": "refs/heads/", "tags": "refs/tags/"}[key]
			err := all(ctx, w, key, path, func(r ref) bool {
				if r.Commit.ID != "" { // a tag need not be of a commit
					out.Refs[prefix+r.Name] = r.Commit.ID
				}
				return true
			})
			if err != nil {
				return forge.Polled{}, err
			}
		}
	}
	if out.PullsUnchanged, err = w.same(ctx, "pulls", pulls); err != nil {
		return forge.Polled{}, err
	}
	if out.PullsUnchanged {
		w.keep("pulls")
		return out, nil
	}
	forks := map[int64]string{}
	var failed error
	err = all(ctx, w, "pulls", pulls, func(m merge) bool {
		p := m.request(repo)
		if p.Fork && m.From != nil {
			known, ok := forks[*m.From]
			if !ok && len(forks) < maxForks {
				known, failed = fork(ctx, c, *m.From)
				forks[*m.From] = known
			}
			if p.HeadRepo = known; known != "" {
				p.HeadURL = host.Clone(known)
			}
		}
		out.Pulls = append(out.Pulls, p)
		return failed == nil && len(out.Pulls) < maxPulls
	})
	if failed != nil {
		return forge.Polled{}, failed
	}
	if err != nil {
		return forge.Polled{}, err
	}
	return out, nil
}

// A watch asks for lists that were asked for before. A mark is the ETag of a
// page; its key is the list's and the page's number.
type watch struct {
	c          forge.REST
	doing      string
	old, marks map[string]string
}

func mark(key string, n int) string { return key + " " + strconv.Itoa(n) }

// same reports whether no page of the list has changed.
func (w *watch) same(ctx context.Context, key, path string) (bool, error) {
	n := 1
	for ; w.old[mark(key, n)] != ""; n++ {
		a, err := w.c.Get(ctx, at(path, n), w.old[mark(key, n)])
		if err != nil {
			return false, err
		}
		if a.Status != http.StatusNotModified {
			return false, nil
		}
	}
	return n > 1, nil
}

// keep keeps the marks of a list that is the same.
func (w *watch) keep(key string) {
	for n := 1; w.old[mark(key, n)] != ""; n++ {
		w.marks[mark(key, n)] = w.old[mark(key, n)]
	}
}

// all reads the whole list and keeps the ETags of its pages, unless there are
// too many. After a last page that is full an empty one is read, so that it has
// a mark and what is added there is seen.
func all[T any](ctx context.Context, w *watch, key, path string, each func(T) bool) error {
	n := 0
	tags := map[string]string{}
	err := w.c.Pages(ctx, at(path, 1), func(a *forge.Reply) (string, error) {
		values, err := read[T](w.c, a, w.doing, needReporter)
		n++
		if tag := a.Header.Get("ETag"); tag != "" {
			tags[mark(key, n)] = tag
		}
		for _, v := range values {
			if !each(v) {
				return "", nil
			}
		}
		if len(values) < pageSize {
			return "", err
		}
		return at(path, n+1), err
	})
	if n <= maxMarks && len(tags) == n {
		maps.Copy(w.marks, tags)
	}
	return err
}

// Repositories implements forge.Hooks with the projects that the token's user
// is a member of. A page is its number.
func (f *Forge) Repositories(ctx context.Context, host forge.Host, t forge.Token, search, page string) ([]forge.Listed, string, error) {
	c := f.client(host, t)
	query := url.Values{"membership": {"true"}, "archived": {"false"}, "order_by": {"last_activity_at"}, "search_namespaces": {"true"}}
	if search != "" {
		query.Set("search", search)
	}
	n, err := c.Page("list projects", page)
	if err != nil {
		return nil, "", err
	}
	a, err := c.Get(ctx, at("/projects?"+query.Encode(), n), "")
	if err != nil {
		return nil, "", err
	}
	type item struct {
		Path       string `json:"path_with_namespace"`
		Visibility string
		Branch     string `json:"default_branch"`
	}
	values, err := read[item](c, a, "list projects", "The token lacks the scope read_api")
	var found []forge.Listed
	for _, p := range values {
		found = append(found, forge.Listed{Name: p.Path, URL: host.Clone(p.Path), Private: p.Visibility != "public", Default: p.Branch})
	}
	return found, a.Header.Get("X-Next-Page"), err
}
