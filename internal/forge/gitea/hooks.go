package gitea

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

const (
	// pageSize is what is asked for; servers may have a smaller greatest size.
	// Source: Gitea, "Configuration Cheat Sheet", api.MAX_RESPONSE_ITEMS.
	pageSize = 50
	maxPulls = 1000 // of forge.Polled
)

// events are Gitea's names of the events to be told of. pull_request includes
// what happens to a pull request otherwise, but older servers do not know it
// of new commits and comments.
// Source: Gitea, models of webhooks.
var events = map[forge.EventType][]string{
	forge.Push:        {"push", "create"},
	forge.PullCreated: {"pull_request"}, forge.PullUpdated: {"pull_request", "pull_request_sync"}, forge.PullReopened: {"pull_request"},
	forge.PullMerged: {"pull_request"}, forge.PullClosed: {"pull_request"},
	forge.Released: {"release"}, forge.Prereleased: {"release"},
	forge.Comment: {"pull_request_comment"},
}

// refuse is the error of an answer that is not a success. scope is what the
// token needs, and need what its user has to be allowed.
func refuse(c forge.REST, doing, scope, need string, a *forge.Reply) error {
	switch {
	case a.Status == http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", words(c, a))
	case unscoped(a):
		return c.Failed("%s: the token lacks the scope %s", doing, scope)
	case a.Status == http.StatusForbidden:
		return c.Failed("%s: %s. %s", doing, words(c, a), need)
	case a.Status == http.StatusNotFound:
		return c.Failed("%s: %s. It does not exist, or the token's user may not see it. Correct the name, or give the user access", doing, words(c, a))
	}
	return c.Failed("%s: status %d: %s", doing, a.Status, words(c, a))
}

const (
	readScope = "read:repository"
	needRead  = "The token's user may not read the repository"
)

// list reads the pages of a list and gives each entry to each, until that is
// false. path has a query already.
func list[T any](ctx context.Context, c forge.REST, path, doing string, each func(T) bool) error {
	p := pages{path: path}
	return c.Pages(ctx, p.at(1), func(a *forge.Reply) (string, error) {
		values, err := read[T](c, a, doing)
		for _, v := range values {
			if !each(v) {
				return "", nil
			}
		}
		return p.after(a, len(values)), err
	})
}

// pages counts what was read of a list. The server tells how much there is,
// but not always, and may make pages smaller than it was asked to.
type pages struct {
	path    string
	n, seen int
}

func (p *pages) at(n int) string {
	p.n = n
	return fmt.Sprintf("%s&limit=%d&page=%d", p.path, pageSize, n)
}

// after is the path of the page after an answer with so many entries, "" if
// there is none.
func (p *pages) after(a *forge.Reply, entries int) string {
	p.seen += entries
	total, err := strconv.Atoi(a.Header.Get("X-Total-Count"))
	if entries == 0 || err == nil && p.seen >= total {
		return ""
	}
	return p.at(p.n + 1)
}

// read reads a page.
func read[T any](c forge.REST, a *forge.Reply, doing string) ([]T, error) {
	var values []T
	switch {
	case a.Status != http.StatusOK:
		return nil, refuse(c, doing, readScope, needRead, a)
	case !a.Decode(&values) || values == nil:
		return nil, c.Strange(name, a)
	}
	return values, nil
}

// one gets a document, which is the one that was asked for if is says so.
func one(ctx context.Context, c forge.REST, path, doing string, into any, is func() bool) error {
	a, err := c.Get(ctx, path, "")
	switch {
	case err != nil:
		return err
	case a.Status != http.StatusOK:
		return refuse(c, doing, readScope, needRead, a)
	case !a.Decode(into) || !is():
		return c.Strange(name, a)
	}
	return nil
}

// hooks is how the hooks of an owner are reached.
func (f *Forge) hooks(host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.HookList, error) {
	c := f.client(host, t)
	c.Hide = []api.Secret{h.Secret}
	var path, scope, need string
	var err error
	switch owner.Kind {
	case forge.OfRepository:
		path, scope, need = "/repos/"+owner.Name+"/hooks", "write:repository", "The token's user has to administer the repository"
		err = c.CheckName("webhook", owner.Name, false)
	case forge.OfOrganization:
		path, scope, need = "/orgs/"+owner.Name+"/hooks", "write:organization", "The token's user has to be an owner of the organization"
		if err = c.CheckOwner("webhook", owner.Name); err == nil && strings.Contains(owner.Name, "/") {
			err = c.Failed("webhook: %q is not the name of an organization", owner.Name)
		}
	default:
		err = c.Failed("Gitea has webhooks of repositories and organizations, not of an owner of kind %s", owner.Kind)
	}
	p := &pages{path: path + "?"}
	return forge.HookList{
		REST: c, Provider: name, Path: path, First: p.at(1), Change: http.MethodPatch,
		List: func(a *forge.Reply) (list []forge.Hook, next string, err error) {
			type hook struct {
				ID     int64
				Config struct{ URL string }
			}
			var values []hook
			switch {
			case a.Status != http.StatusOK:
				return nil, "", refuse(c, "list webhooks of "+owner.Name, scope, need, a)
			case !a.Decode(&values):
				return nil, "", c.Strange(name, a)
			}
			for _, v := range values {
				list = append(list, forge.Hook{ID: strconv.FormatInt(v.ID, 10), Address: v.Config.URL})
			}
			return list, p.after(a, len(values)), nil
		},
		Document: func(h forge.Hook) any {
			return map[string]any{
				"type": "gitea", "active": true, "events": names(h.Events),
				"config": map[string]string{"url": h.Address, "content_type": "json", "secret": h.Secret.Reveal()},
			}
		},
		Read: func(a *forge.Reply) (string, bool) {
			var made struct{ ID int64 }
			ok := a.Decode(&made) && made.ID > 0
			return strconv.FormatInt(made.ID, 10), ok
		},
		Refuse: func(c forge.REST, doing string, a *forge.Reply) error {
			return refuse(c, doing+" of "+owner.Name, scope, need, a)
		},
	}, err
}

// names are Gitea's of those events that it has.
func names(of []forge.EventType) []string {
	var list []string
	for _, e := range of {
		for _, n := range events[e] {
			if !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list
}

// PutHook implements forge.Hooks with .../hooks of a repository or an
// organization.
func (f *Forge) PutHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.Hook, error) {
	hooks, err := f.hooks(host, t, owner, h)
	if err != nil {
		return forge.Hook{}, err
	}
	if len(names(h.Events)) == 0 {
		return forge.Hook{}, hooks.Failed("make the webhook of %s: Gitea can tell of none of the events %v", owner.Name, h.Events)
	}
	return hooks.Put(ctx, h)
}

// DeleteHook implements forge.Hooks.
func (f *Forge) DeleteHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) error {
	hooks, err := f.hooks(host, t, owner, h)
	if err != nil {
		return err
	}
	return hooks.Delete(ctx, h)
}

var roles = map[string]api.PullRequestBuildApproverRole{
	"read":  api.PullRequestBuildApproverRoleGITHUB_READ,
	"write": api.PullRequestBuildApproverRoleGITHUB_WRITE,
	"admin": api.PullRequestBuildApproverRoleGITHUB_ADMIN,
	"owner": api.PullRequestBuildApproverRoleGITHUB_ADMIN,
}

// user is an account. ID stays when Login changes.
type user struct {
	ID    int64
	Login string
}

func (u user) person() forge.Person {
	return forge.Person{ID: strconv.FormatInt(u.ID, 10), Login: u.Login}
}

// Role implements forge.Hooks with .../collaborators/U/permission, which Gitea
// shows to administrators of the repository. A login that is another account's
// by now has no role.
func (f *Forge) Role(ctx context.Context, host forge.Host, t forge.Token, repo string, who forge.Person) (api.PullRequestBuildApproverRole, error) {
	c := f.client(host, t)
	doing := "find the role of a person in " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return "", err
	}
	if who.ID == "" || c.CheckOwner(doing, who.Login) != nil || strings.Contains(who.Login, "/") {
		return "", nil // nobody's at Gitea
	}
	a, err := c.Get(ctx, "/repos/"+repo+"/collaborators/"+url.PathEscape(who.Login)+"/permission", "")
	if err != nil {
		return "", err
	}
	var p struct {
		Permission string
		User       user
	}
	switch {
	case a.Status == http.StatusNotFound:
		return "", nil
	case a.Status != http.StatusOK:
		return "", refuse(c, doing, readScope, "The token's user has to administer the repository to see who may do what there", a)
	case !a.Decode(&p):
		return "", c.Strange(name, a)
	case p.User.person().ID != who.ID || !strings.EqualFold(p.User.Login, who.Login):
		return "", nil
	}
	return roles[p.Permission], nil
}

// side is the source or the target of a pull request.
type side struct {
	Ref, SHA string
	RepoID   int64 `json:"repo_id"`
	Repo     *struct {
		ID       int64
		FullName string `json:"full_name"`
	}
}

// pull is a pull request in an answer.
type pull struct {
	Number       int
	Title, State string
	User         user
	Head, Base   side
}

// request is p in the words of package forge. The source of a pull request
// without a branch is its ref in the repository that it asks.
func (p pull) request(host forge.Host) forge.PullRequest {
	out := forge.PullRequest{
		Number: p.Number, Title: p.Title, Author: p.User.person(), Open: p.State == "open",
		HeadRef: p.Head.Ref, HeadSHA: p.Head.SHA, BaseRef: "refs/heads/" + p.Base.Ref,
		Fork: p.Head.Repo == nil || p.Head.RepoID != p.Base.RepoID,
	}
	if !strings.HasPrefix(p.Head.Ref, "refs/") {
		out.HeadRef = "refs/heads/" + p.Head.Ref
	}
	if p.Head.Repo != nil {
		out.HeadRepo = p.Head.Repo.FullName
		if out.Fork {
			out.HeadURL = host.Clone(out.HeadRepo)
		}
	}
	return out
}

// PullRequest implements forge.Hooks.
func (f *Forge) PullRequest(ctx context.Context, host forge.Host, t forge.Token, repo string, number int) (forge.PullRequest, error) {
	c := f.client(host, t)
	doing := fmt.Sprintf("get pull request %d of %s", number, repo)
	if err := c.CheckName(doing, repo, false); err != nil {
		return forge.PullRequest{}, err
	}
	var p pull
	if err := one(ctx, c, fmt.Sprintf("/repos/%s/pulls/%d", repo, number), doing, &p, func() bool { return p.Number == number }); err != nil {
		return forge.PullRequest{}, err
	}
	return p.request(host), nil
}

// ChangedFiles implements forge.Hooks. Gitea compares by the commits that one
// side has and the other has not, each with its files, which together are more
// than the difference where one commit takes back what another did.
func (f *Forge) ChangedFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int, before, sha string) ([]string, bool, error) {
	c := f.client(host, t)
	doing := "list changed files of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return nil, false, err
	}
	var paths []string
	if number > 0 {
		err := list(ctx, c, fmt.Sprintf("/repos/%s/pulls/%d/files?", repo, number), doing, func(f file) bool {
			paths = append(paths, f.Name)
			if f.Former != "" {
				paths = append(paths, f.Former)
			}
			return true
		})
		slices.Sort(paths)
		return slices.Compact(paths), err == nil, err
	}
	if err := c.CheckCommit(doing, sha); err != nil {
		return nil, false, err
	}
	sides := [][2]string{{before, sha}, {sha, before}}
	if strings.Trim(before, "0") == "" {
		var r struct {
			Branch string `json:"default_branch"`
		}
		if err := one(ctx, c, "/repos/"+repo, doing, &r, func() bool { return r.Branch != "" }); err != nil {
			return nil, false, err
		}
		sides = [][2]string{{r.Branch, sha}}
	} else if err := c.CheckCommit(doing, before); err != nil {
		return nil, false, err
	}
	complete := true
	for _, s := range sides {
		more, whole, err := compare(ctx, c, repo, doing, s[0], s[1])
		if err != nil {
			return nil, false, err
		}
		paths, complete = append(paths, more...), complete && whole
	}
	slices.Sort(paths)
	return slices.Compact(paths), complete, nil
}

// file is a changed one.
type file struct {
	Name   string `json:"filename"`
	Former string `json:"previous_filename"`
}

// compare lists the files of the commits that to has and from has not.
func compare(ctx context.Context, c forge.REST, repo, doing, from, to string) (paths []string, complete bool, err error) {
	a, err := c.Get(ctx, "/repos/"+repo+"/compare/"+url.PathEscape(from)+"..."+to, "")
	if err != nil {
		return nil, false, err
	}
	var out struct {
		Total   int `json:"total_commits"`
		Commits *[]struct{ Files *[]file }
	}
	switch {
	case a.Status != http.StatusOK:
		return nil, false, refuse(c, doing, readScope, needRead, a)
	case a.Cut():
		return nil, false, nil
	case !a.Decode(&out) || out.Commits == nil:
		return nil, false, c.Strange(name, a)
	}
	complete = len(*out.Commits) >= out.Total
	for _, commit := range *out.Commits {
		if commit.Files == nil { // a server that does not tell them
			complete = false
			continue
		}
		for _, f := range *commit.Files {
			paths = append(paths, f.Name)
		}
	}
	return paths, complete, nil
}

// Message implements forge.Hooks.
func (f *Forge) Message(ctx context.Context, host forge.Host, t forge.Token, repo, sha string) (string, error) {
	c := f.client(host, t)
	if err := c.CheckName("get a commit", repo, false); err != nil {
		return "", err
	}
	if err := c.CheckCommit("get a commit of "+repo, sha); err != nil {
		return "", err
	}
	var out struct {
		SHA    string
		Commit struct{ Message string }
	}
	err := one(ctx, c, "/repos/"+repo+"/git/commits/"+sha+"?stat=false&verification=false&files=false", "get commit "+sha+" of "+repo, &out, func() bool { return strings.EqualFold(out.SHA, sha) })
	return out.Commit.Message, err
}

// Poll implements forge.Hooks. Gitea has no conditional requests.
func (f *Forge) Poll(ctx context.Context, host forge.Host, t forge.Token, repo string, _ map[string]string) (forge.Polled, error) {
	c := f.client(host, t)
	doing := "list branches, tags and pull requests of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return forge.Polled{}, err
	}
	out := forge.Polled{Refs: map[string]string{}}
	type ref struct {
		Name   string
		Commit struct{ ID, SHA string } // of a branch and of a tag
	}
	for kind, prefix := range map[string]string{"branches": "refs/heads/", "tags": "refs/tags/"} {
		err := list(ctx, c, "/repos/"+repo+"/"+kind+"?", doing, func(r ref) bool {
			if id := r.Commit.ID + r.Commit.SHA; id != "" { // a tag need not be of a commit
				out.Refs[prefix+r.Name] = id
			}
			return true
		})
		if err != nil {
			return forge.Polled{}, err
		}
	}
	err := list(ctx, c, "/repos/"+repo+"/pulls?state=open", doing, func(p pull) bool {
		out.Pulls = append(out.Pulls, p.request(host))
		return len(out.Pulls) < maxPulls
	})
	if err != nil {
		return forge.Polled{}, err
	}
	return out, nil
}

// Repositories implements forge.Hooks. A page is its number.
func (f *Forge) Repositories(ctx context.Context, host forge.Host, t forge.Token, search, page string) ([]forge.Listed, string, error) {
	c := f.client(host, t)
	const doing = "list repositories"
	n, err := c.Page(doing, page)
	if err != nil {
		return nil, "", err
	}
	p := pages{path: "/repos/search?" + url.Values{"q": {search}, "sort": {"updated"}, "order": {"desc"}}.Encode(), seen: (n - 1) * pageSize}
	a, err := c.Get(ctx, p.at(n), "")
	if err != nil {
		return nil, "", err
	}
	type item struct {
		FullName string `json:"full_name"`
		Private  bool
		Branch   string `json:"default_branch"`
	}
	var out struct{ Data *[]item }
	switch {
	case a.Status != http.StatusOK:
		return nil, "", refuse(c, doing, readScope, needRead, a)
	case !a.Decode(&out) || out.Data == nil:
		return nil, "", c.Strange(name, a)
	}
	var found []forge.Listed
	for _, r := range *out.Data {
		found = append(found, forge.Listed{Name: r.FullName, URL: host.Clone(r.FullName), Private: r.Private, Default: r.Branch})
	}
	next := ""
	if p.after(a, len(found)) != "" {
		next = strconv.Itoa(n + 1)
	}
	return found, next, nil
}
