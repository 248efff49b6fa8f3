package bitbucket

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

// The limits of lists.
// Source: Bitbucket Cloud REST API, "Pagination"; pull requests have their own.
const (
	pageSize     = 100
	pullPageSize = 50
	maxPulls     = 1000 // of forge.Polled
	// maxForks bounds how many pull requests of forks have their full commit
	// looked up in one Poll.
	maxForks = 100
)

// events are Bitbucket's names of the events to be told of.
// Source: Atlassian, "Event payloads".
var events = map[forge.EventType]string{
	forge.Push: "repo:push", forge.PullCreated: "pullrequest:created", forge.PullUpdated: "pullrequest:updated",
	forge.PullMerged: "pullrequest:fulfilled", forge.PullClosed: "pullrequest:rejected", forge.Comment: "pullrequest:comment_created",
}

// refuse is the error of an answer that is not a success. need is what the
// token or its user lacks if Bitbucket does not say.
func refuse(c forge.REST, doing, need string, a *forge.Reply) error {
	switch a.Status {
	case http.StatusUnauthorized:
		return c.Refused("%s. Import a new one", words(c, a))
	case http.StatusForbidden:
		if r := required(a); r != nil {
			need = "The token lacks the scope " + c.Clean(strings.Join(r, ", "))
		}
		return c.Failed("%s: %s. %s", doing, words(c, a), need)
	case http.StatusNotFound:
		return c.Failed("%s: %s. It does not exist, or the token's user may not see it. Correct the name, or give the user access", doing, words(c, a))
	}
	return c.Failed("%s: status %d: %s", doing, a.Status, words(c, a))
}

const (
	needRead  = "The token's user cannot read the repository, or the token lacks the scope repository:read"
	needPulls = "The token lacks the scope pullrequest:read (read:pullrequest:bitbucket for an API token)"
	needHooks = "The token needs the scope webhook (read, write and delete:webhook:bitbucket for an API token), and its user has to administer the repository"
)

// page is what every list of Bitbucket is.
type page[T any] struct {
	Values *[]T
	Next   string
}

// list reads the pages of a list and gives each entry to each, until that is
// false.
func list[T any](ctx context.Context, c forge.REST, path, doing, need string, each func(T) bool) error {
	return c.Pages(ctx, path, func(a *forge.Reply) (string, error) {
		values, next, err := read[T](c, a, doing, need)
		for _, v := range values {
			if !each(v) {
				return "", nil
			}
		}
		return next, err
	})
}

// read reads one page and the path of the next.
func read[T any](c forge.REST, a *forge.Reply, doing, need string) (values []T, next string, err error) {
	var p page[T]
	switch {
	case a.Status != http.StatusOK:
		return nil, "", refuse(c, doing, need, a)
	case !a.Decode(&p) || p.Values == nil:
		return nil, "", c.Strange(name, a)
	case p.Next != "":
		next, err = c.Below(p.Next)
	}
	return *p.Values, next, err
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

// hooks is how the hooks of a repository are reached.
func (f *Forge) hooks(host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.HookList, error) {
	c := f.client(host, t)
	c.Hide = []api.Secret{h.Secret}
	if owner.Kind != forge.OfRepository {
		return forge.HookList{}, c.Failed("Corbel makes webhooks of repositories at Bitbucket, not of an owner of kind %s", owner.Kind)
	}
	if err := c.CheckName("webhook", owner.Name, false); err != nil {
		return forge.HookList{}, err
	}
	path := "/repositories/" + owner.Name + "/hooks"
	return forge.HookList{
		REST: c, Provider: name, Path: path, First: path + "?pagelen=" + strconv.Itoa(pageSize), Change: http.MethodPut,
		List: func(a *forge.Reply) (list []forge.Hook, next string, err error) {
			values, next, err := read[struct{ UUID, URL string }](c, a, "list webhooks of "+owner.Name, needHooks)
			for _, v := range values {
				list = append(list, forge.Hook{ID: v.UUID, Address: v.URL})
			}
			return list, next, err
		},
		Document: func(h forge.Hook) any {
			return map[string]any{"description": "Corbel", "url": h.Address, "active": true, "secret": h.Secret.Reveal(), "events": names(h.Events)}
		},
		Read: func(a *forge.Reply) (string, bool) {
			var made struct{ UUID string }
			return made.UUID, a.Decode(&made) && made.UUID != ""
		},
		Refuse: func(c forge.REST, doing string, a *forge.Reply) error {
			return refuse(c, doing+" of "+owner.Name, needHooks, a)
		},
	}, nil
}

// names are Bitbucket's of those events that it has.
func names(of []forge.EventType) []string {
	var list []string
	for _, e := range of {
		if n := events[e]; n != "" && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// PutHook implements forge.Hooks with .../hooks of a repository.
func (f *Forge) PutHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.Hook, error) {
	hooks, err := f.hooks(host, t, owner, h)
	if err != nil {
		return forge.Hook{}, err
	}
	if len(names(h.Events)) == 0 {
		return forge.Hook{}, hooks.Failed("make the webhook of %s: Bitbucket can tell of none of the events %v", owner.Name, h.Events)
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

// account is a user. Some answers have no account_id, such as those about an
// access token's.
type account struct {
	AccountID string `json:"account_id"`
	UUID      string
	Nickname  string
}

func (a account) person() forge.Person {
	if a.AccountID == "" {
		return forge.Person{ID: a.UUID, Login: a.Nickname}
	}
	return forge.Person{ID: a.AccountID, Login: a.Nickname}
}

// quoted is text as a value in a query.
// Source: Bitbucket Cloud REST API, "Filter and sort API objects".
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// Role implements forge.Hooks with the repository's permissions in its
// workspace, which are the effective ones, of groups too. Bitbucket shows them
// to administrators of the repository only. The ID alone decides: nicknames
// are nobody's own.
func (f *Forge) Role(ctx context.Context, host forge.Host, t forge.Token, repo string, who forge.Person) (api.PullRequestBuildApproverRole, error) {
	c := f.client(host, t)
	doing := "find the role of a person in " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return "", err
	}
	if who.ID == "" {
		return "", nil
	}
	field := "user.account_id"
	if strings.HasPrefix(who.ID, "{") {
		field = "user.uuid"
	}
	workspace, slug, _ := strings.Cut(repo, "/")
	all := fmt.Sprintf("/workspaces/%s/permissions/repositories/%s?pagelen=%d", workspace, slug, pageSize)
	query := all + "&q=" + url.QueryEscape(field+"="+quoted(who.ID))
	var role api.PullRequestBuildApproverRole
	err := c.Pages(ctx, query, func(a *forge.Reply) (string, error) {
		switch {
		case a.Status == http.StatusNotFound:
			return "", nil
		case a.Status == http.StatusBadRequest && query != "":
			query = "" // the list can be filtered by user, but by which members is not documented
			return all, nil
		}
		type permission struct {
			Permission string
			User       account
		}
		values, next, err := read[permission](c, a, doing, "The token's user has to administer the repository to see who may do what there")
		for _, v := range values {
			if v.User.AccountID == who.ID || v.User.UUID == who.ID {
				role = roles[v.Permission]
				return "", nil
			}
		}
		return next, err
	})
	return role, err
}

var roles = map[string]api.PullRequestBuildApproverRole{
	"read":  api.PullRequestBuildApproverRoleBITBUCKET_READ,
	"write": api.PullRequestBuildApproverRoleBITBUCKET_WRITE,
	"admin": api.PullRequestBuildApproverRoleBITBUCKET_ADMIN,
}

// pull is a pull request in an answer. The ids of its commits are cut to 12
// digits.
type pull struct {
	ID                  int
	Title, State        string
	Author              account
	Source, Destination struct {
		Branch     struct{ Name string }
		Commit     struct{ Hash string }
		Repository *struct {
			UUID     string
			FullName string `json:"full_name"`
		}
	}
	Merge *struct{ Hash string } `json:"merge_commit"`
	Close bool                   `json:"close_source_branch"`
}

// request is p in the words of package forge, with the cut id of its commit.
func (p pull) request(host forge.Host) forge.PullRequest {
	out := forge.PullRequest{
		Number: p.ID, Title: p.Title, Author: p.Author.person(), Open: p.State == "OPEN",
		HeadRef: "refs/heads/" + p.Source.Branch.Name, HeadSHA: p.Source.Commit.Hash, BaseRef: "refs/heads/" + p.Destination.Branch.Name,
		Fork: true,
	}
	if from, to := p.Source.Repository, p.Destination.Repository; from != nil {
		out.HeadRepo = from.FullName
		out.Fork = to == nil || from.UUID != to.UUID
		if out.Fork {
			out.HeadURL = host.Clone(from.FullName)
		}
	}
	return out
}

// head finds the full id of a pull request's commit: its newest.
func head(ctx context.Context, c forge.REST, repo string, p *forge.PullRequest) error {
	path := fmt.Sprintf("/repositories/%s/pullrequests/%d/commits?pagelen=1", repo, p.Number)
	full := ""
	err := list(ctx, c, path, fmt.Sprintf("find the commit of pull request %d of %s", p.Number, repo), needPulls, func(v struct{ Hash string }) bool {
		full = v.Hash
		return false
	})
	if err == nil && full != "" && strings.HasPrefix(full, p.HeadSHA) {
		p.HeadSHA = full
	}
	return err
}

// PullRequest implements forge.Hooks with two calls, since the first answer
// has the id of the commit cut, and a third for one that was merged and whose
// branch was closed.
func (f *Forge) PullRequest(ctx context.Context, host forge.Host, t forge.Token, repo string, number int) (forge.PullRequest, error) {
	c := f.client(host, t)
	doing := fmt.Sprintf("get pull request %d of %s", number, repo)
	if err := c.CheckName(doing, repo, false); err != nil {
		return forge.PullRequest{}, err
	}
	var p pull
	err := one(ctx, c, fmt.Sprintf("/repositories/%s/pullrequests/%d", repo, number), doing, needPulls, &p, func() bool { return p.ID == number })
	if err != nil {
		return forge.PullRequest{}, err
	}
	out := p.request(host)
	if err := head(ctx, c, repo, &out); err != nil {
		return forge.PullRequest{}, err
	}
	if p.State == "MERGED" && p.Close && p.Merge != nil {
		out.Squash, err = squash(ctx, c, repo, p.Merge.Hash, out.HeadSHA)
	}
	return out, err
}

// squash is the commit of a merge if it stands for those of the pull request:
// it has one parent and is not the newest of them. Bitbucket does not say how it
// merged.
func squash(ctx context.Context, c forge.REST, repo, merge, head string) (string, error) {
	if merge == "" || strings.HasPrefix(head, merge) {
		return "", nil
	}
	var commit struct {
		Hash    string
		Parents []struct{ Hash string }
	}
	err := one(ctx, c, "/repositories/"+repo+"/commit/"+url.PathEscape(merge), "get commit "+merge+" of "+repo, needRead, &commit, func() bool { return strings.HasPrefix(commit.Hash, merge) })
	if err != nil || len(commit.Parents) != 1 {
		return "", err
	}
	return commit.Hash, nil
}

// ChangedFiles implements forge.Hooks with a diffstat: of two commits, or as a
// topic, which is what one adds to what both have in common.
func (f *Forge) ChangedFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int, before, sha string) ([]string, bool, error) {
	c := f.client(host, t)
	doing := "list changed files of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return nil, false, err
	}
	path, need := fmt.Sprintf("/repositories/%s/pullrequests/%d/diffstat?pagelen=%d", repo, number, pageSize), needPulls
	if number == 0 {
		if err := c.CheckCommit(doing, sha); err != nil {
			return nil, false, err
		}
		topic := strings.Trim(before, "0") == ""
		if topic {
			var err error
			if before, err = trunk(ctx, c, repo, doing); err != nil {
				return nil, false, err
			}
		}
		if err := c.CheckCommit(doing, before); err != nil {
			return nil, false, err
		}
		path, need = fmt.Sprintf("/repositories/%s/diffstat/%s..%s?topic=%t&pagelen=%d", repo, sha, before, topic, pageSize), needRead
	}
	var paths []string
	type side struct{ Path string }
	err := list(ctx, c, path, doing, need, func(v struct{ Old, New *side }) bool {
		for _, s := range []*side{v.Old, v.New} {
			if s != nil && s.Path != "" {
				paths = append(paths, s.Path)
			}
		}
		return true
	})
	slices.Sort(paths)
	return slices.Compact(paths), err == nil, err
}

// trunk is the commit of the main branch.
func trunk(ctx context.Context, c forge.REST, repo, doing string) (string, error) {
	var r struct {
		FullName   string `json:"full_name"`
		Mainbranch *struct{ Name string }
	}
	if err := one(ctx, c, "/repositories/"+repo, doing, needRead, &r, func() bool { return r.FullName != "" }); err != nil {
		return "", err
	}
	if r.Mainbranch == nil {
		return "", c.Failed("%s: the repository has no main branch", doing)
	}
	sha := ""
	path := "/repositories/" + repo + "/refs/branches?q=" + url.QueryEscape("name="+quoted(r.Mainbranch.Name))
	err := list(ctx, c, path, doing, needRead, func(v ref) bool {
		if v.Name == r.Mainbranch.Name {
			sha = v.Target.Hash
		}
		return sha == ""
	})
	return sha, err
}

// Message implements forge.Hooks.
func (f *Forge) Message(ctx context.Context, host forge.Host, t forge.Token, repo, sha string) (string, error) {
	c := f.client(host, t)
	doing := "get commit " + sha + " of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return "", err
	}
	if err := c.CheckCommit("get a commit of "+repo, sha); err != nil {
		return "", err
	}
	var commit struct{ Hash, Message string }
	err := one(ctx, c, "/repositories/"+repo+"/commit/"+sha, doing, needRead, &commit, func() bool { return strings.EqualFold(commit.Hash, sha) })
	return commit.Message, err
}

// ref is a branch or a tag.
type ref struct {
	Type, Name string
	Target     struct{ Hash string }
}

// Poll implements forge.Hooks. Bitbucket documents no conditional requests.
// The marks keep the full ids of the commits of forks' pull requests, which
// take a call each.
func (f *Forge) Poll(ctx context.Context, host forge.Host, t forge.Token, repo string, marks map[string]string) (forge.Polled, error) {
	c := f.client(host, t)
	doing := "list branches, tags and pull requests of " + repo
	if err := c.CheckName(doing, repo, false); err != nil {
		return forge.Polled{}, err
	}
	out := forge.Polled{Refs: map[string]string{}, Marks: map[string]string{}}
	err := list(ctx, c, fmt.Sprintf("/repositories/%s/refs?pagelen=%d", repo, pageSize), doing, needRead, func(r ref) bool {
		kind := "refs/heads/"
		if r.Type == "tag" {
			kind = "refs/tags/"
		}
		if r.Target.Hash != "" { // a tag need not be of a commit
			out.Refs[kind+r.Name] = r.Target.Hash
		}
		return true
	})
	if err != nil {
		return forge.Polled{}, err
	}
	err = list(ctx, c, fmt.Sprintf("/repositories/%s/pullrequests?state=OPEN&sort=-created_on&pagelen=%d", repo, pullPageSize), doing, needPulls, func(p pull) bool {
		out.Pulls = append(out.Pulls, p.request(host))
		return len(out.Pulls) < maxPulls
	})
	if err != nil {
		return forge.Polled{}, err
	}
	forks := 0
	for i := range out.Pulls {
		p := &out.Pulls[i]
		key := "pull " + strconv.Itoa(p.Number)
		full := marks[key]
		if !p.Fork {
			full = out.Refs[p.HeadRef]
		}
		switch {
		case full != "" && strings.HasPrefix(full, p.HeadSHA):
			p.HeadSHA = full
		case forks < maxForks:
			forks++
			if err := head(ctx, c, repo, p); err != nil {
				return forge.Polled{}, err
			}
		}
		if p.Fork {
			out.Marks[key] = p.HeadSHA
		}
	}
	return out, nil
}

// Repositories implements forge.Hooks workspace by workspace, since Bitbucket
// lists no others; a page is "workspace number".
// Source: Bitbucket Cloud changelog, CHANGE-2770 and CHANGE-3022.
func (f *Forge) Repositories(ctx context.Context, host forge.Host, t forge.Token, search, page string) ([]forge.Listed, string, error) {
	c := f.client(host, t)
	const doing = "list repositories"
	if t.Auth != api.AuthTypeBASIC_AUTH && t.Auth != api.AuthTypeOAUTH { // which are a person's
		return nil, "", c.Failed("%s: an access token of a repository, project or workspace cannot list. Write the repository's address", doing)
	}
	var workspaces []string
	type membership struct{ Workspace struct{ Slug string } }
	err := list(ctx, c, fmt.Sprintf("/user/workspaces?pagelen=%d", pageSize), doing, "The token lacks the scope account (read:user:bitbucket and read:workspace:bitbucket for an API token)", func(m membership) bool {
		if c.CheckOwner(doing, m.Workspace.Slug) == nil {
			workspaces = append(workspaces, m.Workspace.Slug)
		}
		return true
	})
	if err != nil {
		return nil, "", err
	}
	slices.Sort(workspaces)
	at, number, _ := strings.Cut(page, " ")
	n, err := c.Page(doing, number)
	if err == nil && at != "" && !slices.Contains(workspaces, at) {
		err = c.Failed("%s: there is no page %q", doing, page)
	}
	if err != nil {
		return nil, "", err
	}
	for i, w := range workspaces {
		if w < at {
			continue
		}
		if w > at {
			n = 1
		}
		path := fmt.Sprintf("/repositories/%s?role=member&sort=-updated_on&pagelen=%d&page=%d", w, pageSize, n)
		if search != "" {
			path += "&q=" + url.QueryEscape("name~"+quoted(search))
		}
		found, next, err := f.listed(ctx, c, host, path, doing)
		if err != nil {
			return nil, "", err
		}
		switch {
		case next:
			return found, w + " " + strconv.Itoa(n+1), nil
		case len(found) > 0 && i+1 < len(workspaces):
			return found, workspaces[i+1] + " 1", nil
		case len(found) > 0:
			return found, "", nil
		}
	}
	return nil, "", nil
}

// listed reads a page of a workspace's repositories, and whether there is a
// next one.
func (f *Forge) listed(ctx context.Context, c forge.REST, host forge.Host, path, doing string) (found []forge.Listed, more bool, err error) {
	a, err := c.Get(ctx, path, "")
	if err != nil {
		return nil, false, err
	}
	type repository struct {
		FullName   string `json:"full_name"`
		Private    bool   `json:"is_private"`
		Mainbranch *struct{ Name string }
	}
	values, next, err := read[repository](c, a, doing, needRead)
	for _, r := range values {
		l := forge.Listed{Name: r.FullName, URL: host.Clone(r.FullName), Private: r.Private}
		if r.Mainbranch != nil {
			l.Default = r.Mainbranch.Name
		}
		found = append(found, l)
	}
	return found, next != "", err
}
