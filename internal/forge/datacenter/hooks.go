package datacenter

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
	pageSize = 100
	maxPulls = 1000 // of forge.Polled
	// maxChanges is how many files the server lists at most, in one page; its
	// administrator may have set less.
	// Source: Bitbucket Data Center, property page.max.changes.
	maxChanges = 1000
)

// events are the server's names of the events to be told of.
// Source: Atlassian, "Event payload" for Bitbucket Data Center.
var events = map[forge.EventType]string{
	forge.Push: "repo:refs_changed", forge.PullCreated: "pr:opened", forge.PullUpdated: "pr:from_ref_updated",
	forge.PullMerged: "pr:merged", forge.PullClosed: "pr:declined", forge.Comment: "pr:comment:added",
}

// refuse is the error of an answer that is not a success. The server says 401
// both to a bad token and to a good one that may not.
func refuse(c forge.REST, doing, need string, a *forge.Reply) error {
	switch a.Status {
	case http.StatusUnauthorized:
		if a.Header.Get("X-AUSERNAME") == "" {
			return c.Refused("%s. Import a new one", words(c, a))
		}
		fallthrough
	case http.StatusForbidden:
		return c.Failed("%s: %s. %s", doing, words(c, a), need)
	case http.StatusNotFound:
		return c.Failed("%s: %s. It does not exist, or the token may not see it. Correct the name, or give the token access", doing, words(c, a))
	}
	return c.Failed("%s: status %d: %s", doing, a.Status, words(c, a))
}

const (
	needRead    = "The token needs Repository read there"
	needAdmin   = "The token needs Repository admin there"
	needProject = "The token needs Project admin there"
)

// list reads the pages of a list and gives each entry to each, until that is
// false. path has a query already.
func list[T any](ctx context.Context, c forge.REST, path, doing, need string, each func(T) bool) error {
	return c.Pages(ctx, at(path, 0), func(a *forge.Reply) (string, error) {
		p, err := read[T](c, a, doing, need)
		for _, v := range p.Values {
			if !each(v) {
				return "", nil
			}
		}
		return p.after(path), err
	})
}

// page is what every list of the server is.
type page[T any] struct {
	Values        []T
	IsLastPage    bool
	NextPageStart int
}

// after is the path of the page of path's list after p, "" if there is none.
func (p page[T]) after(path string) string {
	if p.IsLastPage || p.NextPageStart <= 0 {
		return ""
	}
	return at(path, p.NextPageStart)
}

// at is the path of the page that begins at start.
func at(path string, start int) string {
	return fmt.Sprintf("%s&limit=%d&start=%d", path, pageSize, start)
}

// read reads a page.
func read[T any](c forge.REST, a *forge.Reply, doing, need string) (p page[T], err error) {
	switch {
	case a.Status != http.StatusOK:
		return p, refuse(c, doing, need, a)
	case !a.Decode(&p) || p.Values == nil:
		return page[T]{}, c.Strange(name, a)
	}
	return p, nil
}

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

// hooks is how the hooks of an owner are reached.
func (f *Forge) hooks(host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.HookList, error) {
	c := f.client(host, t)
	c.Hide = []api.Secret{h.Secret}
	var path, need string
	var err error
	switch owner.Kind {
	case forge.OfRepository:
		path, need, err = "/api/1.0"+repository(owner.Name)+"/webhooks", needAdmin, c.CheckName("webhook", owner.Name, false)
	case forge.OfOrganization:
		path, need, err = "/api/1.0/projects/"+owner.Name+"/webhooks", needProject, c.CheckOwner("webhook", owner.Name)
	default:
		err = c.Failed("Bitbucket Data Center has webhooks of repositories and projects, not of an owner of kind %s", owner.Kind)
	}
	return forge.HookList{
		REST: c, Provider: name, Path: path, First: at(path+"?", 0), Change: http.MethodPut,
		List: func(a *forge.Reply) (list []forge.Hook, next string, err error) {
			type hook struct {
				ID  int64
				URL string
			}
			p, err := read[hook](c, a, "list webhooks of "+owner.Name, need)
			for _, v := range p.Values {
				list = append(list, forge.Hook{ID: strconv.FormatInt(v.ID, 10), Address: v.URL})
			}
			return list, p.after(path + "?"), err
		},
		Document: func(h forge.Hook) any {
			return map[string]any{
				"name": "Corbel", "url": h.Address, "active": true, "events": names(h.Events),
				"configuration": map[string]string{"secret": h.Secret.Reveal()}, "sslVerificationRequired": true,
			}
		},
		Read: func(a *forge.Reply) (string, bool) {
			var made struct{ ID int64 }
			ok := a.Decode(&made) && made.ID > 0
			return strconv.FormatInt(made.ID, 10), ok
		},
		Refuse: func(c forge.REST, doing string, a *forge.Reply) error {
			return refuse(c, doing+" of "+owner.Name, need, a)
		},
	}, err
}

// names are the server's of those events that it has.
func names(of []forge.EventType) []string {
	var list []string
	for _, e := range of {
		if n := events[e]; n != "" && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// PutHook implements forge.Hooks with .../webhooks of a repository or project.
func (f *Forge) PutHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.Hook, error) {
	hooks, err := f.hooks(host, t, owner, h)
	if err != nil {
		return forge.Hook{}, err
	}
	if len(names(h.Events)) == 0 {
		return forge.Hook{}, hooks.Failed("make the webhook of %s: Bitbucket Data Center can tell of none of the events %v", owner.Name, h.Events)
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

// roles are the permissions that give them, the strongest first.
var roles = []struct {
	permission string
	role       api.PullRequestBuildApproverRole
}{
	{"REPO_ADMIN", api.PullRequestBuildApproverRoleBITBUCKET_ADMIN},
	{"REPO_WRITE", api.PullRequestBuildApproverRoleBITBUCKET_WRITE},
	{"REPO_READ", api.PullRequestBuildApproverRoleBITBUCKET_READ},
}

// user is a person. ID stays when name changes.
type user struct {
	ID   int64
	Name string
}

func (u user) person() forge.Person {
	return forge.Person{ID: strconv.FormatInt(u.ID, 10), Login: u.Name}
}

// Role implements forge.Hooks. It asks which users have a permission in the
// repository, from the strongest down; that counts what the project and groups
// give. The lists of permissions have only what a user was given by name.
// Source: Bitbucket Data Center REST API, GET /users.
func (f *Forge) Role(ctx context.Context, host forge.Host, t forge.Token, repo string, who forge.Person) (api.PullRequestBuildApproverRole, error) {
	c := f.client(host, t)
	doing := "find the role of a person in " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return "", err
	}
	if who.Login == "" || who.ID == "" {
		return "", nil
	}
	project, slug, _ := strings.Cut(repo, "/")
	for _, r := range roles {
		has := false
		query := url.Values{"filter": {who.Login}, "permission.1": {r.permission}, "permission.1.projectKey": {project}, "permission.1.repositorySlug": {slug}}
		path := "/api/1.0/users?" + query.Encode()
		err := list(ctx, c, path, doing, needRead, func(u user) bool {
			has = strings.EqualFold(u.Name, who.Login) && strconv.FormatInt(u.ID, 10) == who.ID
			return !has
		})
		switch {
		case err != nil:
			return "", err
		case has:
			return r.role, nil
		}
	}
	return "", nil
}

// side is the source or the target of a pull request.
type side struct {
	ID           string // refs/heads/NAME
	LatestCommit string
	Repository   *struct {
		ID      int64
		Slug    string
		Project struct{ Key string }
	}
}

// pull is a pull request in an answer.
type pull struct {
	ID             int
	Title, State   string
	Author         struct{ User user }
	FromRef, ToRef side
}

// request is p in the words of package forge.
func (p pull) request(host forge.Host) forge.PullRequest {
	out := forge.PullRequest{
		Number: p.ID, Title: p.Title, Author: p.Author.User.person(), Open: p.State == "OPEN",
		HeadRef: p.FromRef.ID, HeadSHA: p.FromRef.LatestCommit, BaseRef: p.ToRef.ID,
		Fork: true,
	}
	if from, to := p.FromRef.Repository, p.ToRef.Repository; from != nil {
		out.HeadRepo = from.Project.Key + "/" + from.Slug
		out.Fork = to == nil || from.ID != to.ID
		if out.Fork {
			out.HeadURL = host.Clone("scm/" + out.HeadRepo)
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
	if err := one(ctx, c, fmt.Sprintf("/api/1.0%s/pull-requests/%d", repository(repo), number), doing, needRead, &p, func() bool { return p.ID == number }); err != nil {
		return forge.PullRequest{}, err
	}
	return p.request(host), nil
}

// ChangedFiles implements forge.Hooks. The server has one page for it, whose
// end it tells.
func (f *Forge) ChangedFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int, before, sha string) ([]string, bool, error) {
	c := f.client(host, t)
	doing := "list changed files of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return nil, false, err
	}
	path := fmt.Sprintf("/api/1.0%s/pull-requests/%d/changes?limit=%d", repository(repo), number, maxChanges)
	if number == 0 {
		if err := c.CheckCommit(doing, sha); err != nil {
			return nil, false, err
		}
		path = fmt.Sprintf("/api/1.0%s/commits/%s/changes?since=%s&limit=%d", repository(repo), sha, before, maxChanges)
		if strings.Trim(before, "0") == "" {
			var trunk struct{ LatestCommit string }
			if err := one(ctx, c, "/api/1.0"+repository(repo)+"/branches/default", doing, needRead, &trunk, func() bool { return trunk.LatestCommit != "" }); err != nil {
				return nil, false, err
			}
			before = trunk.LatestCommit
			path = fmt.Sprintf("/api/1.0%s/compare/changes?from=%s&to=%s&limit=%d", repository(repo), sha, before, maxChanges)
		}
		if err := c.CheckCommit(doing, before); err != nil {
			return nil, false, err
		}
	}
	a, err := c.Get(ctx, path, "")
	if err != nil {
		return nil, false, err
	}
	type file struct {
		Path string `json:"toString"`
	}
	type change struct {
		Type string
		Path file
		Src  *file `json:"srcPath"` // of a moved or copied file
	}
	p, err := read[change](c, a, doing, needRead)
	if err != nil {
		return nil, false, err
	}
	var paths []string
	for _, ch := range p.Values {
		paths = append(paths, ch.Path.Path)
		if ch.Src != nil && ch.Type == "MOVE" {
			paths = append(paths, ch.Src.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), p.IsLastPage, nil
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
	var commit struct{ ID, Message string }
	err := one(ctx, c, "/api/1.0"+repository(repo)+"/commits/"+sha, "get commit "+sha+" of "+repo, needRead, &commit, func() bool { return strings.EqualFold(commit.ID, sha) })
	return commit.Message, err
}

// Poll implements forge.Hooks. The server has no conditional requests.
func (f *Forge) Poll(ctx context.Context, host forge.Host, t forge.Token, repo string, _ map[string]string) (forge.Polled, error) {
	c := f.client(host, t)
	doing := "list branches, tags and pull requests of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return forge.Polled{}, err
	}
	out := forge.Polled{Refs: map[string]string{}}
	for _, kind := range []string{"branches", "tags"} {
		err := list(ctx, c, "/api/1.0"+repository(repo)+"/"+kind+"?", doing, needRead, func(r struct{ ID, LatestCommit string }) bool {
			if r.LatestCommit != "" { // a tag need not be of a commit
				out.Refs[r.ID] = r.LatestCommit
			}
			return true
		})
		if err != nil {
			return forge.Polled{}, err
		}
	}
	err := list(ctx, c, "/api/1.0"+repository(repo)+"/pull-requests?state=OPEN&order=NEWEST", doing, needRead, func(p pull) bool {
		out.Pulls = append(out.Pulls, p.request(host))
		return len(out.Pulls) < maxPulls
	})
	if err != nil {
		return forge.Polled{}, err
	}
	return out, nil
}

// Repositories implements forge.Hooks. A page is its number. The list
// does not tell the default branch.
func (f *Forge) Repositories(ctx context.Context, host forge.Host, t forge.Token, search, page string) ([]forge.Listed, string, error) {
	c := f.client(host, t)
	query := url.Values{"permission": {"REPO_READ"}}
	if search != "" {
		query.Set("name", search)
	}
	n, err := c.Page("list repositories", page)
	if err != nil {
		return nil, "", err
	}
	a, err := c.Get(ctx, at("/api/1.0/repos?"+query.Encode(), (n-1)*pageSize), "")
	if err != nil {
		return nil, "", err
	}
	type item struct {
		Slug    string
		Public  bool
		Project struct{ Key string }
	}
	p, err := read[item](c, a, "list repositories", "The token needs Repository read")
	var found []forge.Listed
	for _, r := range p.Values {
		full := r.Project.Key + "/" + r.Slug
		found = append(found, forge.Listed{Name: full, URL: host.Clone("scm/" + full), Private: !r.Public})
	}
	next := ""
	if !p.IsLastPage {
		next = strconv.Itoa(n + 1)
	}
	return found, next, err
}
