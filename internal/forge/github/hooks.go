package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v84/github"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

const (
	// perPage is the most that GitHub gives in a page.
	perPage = 100
	// maxHooks is how many pages of hooks are looked through.
	// Source: GitHub, "Creating webhooks": at most 20 for each event.
	maxHooks = 10
	// maxPulls is how many pages of pull requests Poll reads: 1,000.
	maxPulls = 10
	// maxRefs is how many pages of branches, and of tags, Poll reads: 10,000.
	maxRefs = 100
	// maxFiles and maxCompared are where GitHub cuts the changed files of a
	// pull request and of a comparison.
	// Source: GitHub, "List pull requests files" and "Compare two commits".
	maxFiles, maxCompared = 3000, 300
	// maxSearch is how many pages of repositories one page of results is
	// looked for in.
	maxSearch = 10
	// maxMark bounds an ETag that is kept, in bytes. GitHub's have 68.
	maxMark = 128
)

// events are GitHub's names of what a hook is to be told of.
// Source: GitHub, "Webhook events and payloads".
var events = map[forge.EventType]string{
	forge.Push: "push", forge.PullCreated: "pull_request", forge.PullUpdated: "pull_request", forge.PullReopened: "pull_request",
	forge.PullMerged: "pull_request", forge.PullClosed: "pull_request", forge.Released: "release", forge.Prereleased: "release",
	forge.WorkflowJobQueued: "workflow_job", forge.Comment: "issue_comment",
}

// What calls need.
var (
	repositoryHooks = need{
		scopes: []string{"repo", "admin:repo_hook"}, scope: "admin:repo_hook, which comes with repo", permission: "Webhooks: write",
		otherwise: "The token's user does not administer the repository, or it does not exist",
	}
	organizationHooks = need{
		scopes: []string{"admin:org_hook"}, scope: "admin:org_hook", permission: "Webhooks: write of the organization",
		otherwise: "The token's user does not own the organization, or it does not exist",
	}
	pulls = need{
		scopes: []string{"repo"}, scope: "repo", permission: "Pull requests: read",
		otherwise: "The token's user cannot read the repository, or it or what was asked for does not exist",
	}
	contents = need{scopes: pulls.scopes, scope: pulls.scope, permission: "Contents: read", otherwise: pulls.otherwise}
	roles    = need{
		scopes: pulls.scopes, scope: pulls.scope, permission: "Metadata: read",
		otherwise: "The token's user cannot write to the repository, which GitHub wants of who asks for roles",
	}
	listing = need{scopes: pulls.scopes, scope: pulls.scope, permission: "Metadata: read", otherwise: "The token may not list repositories"}
)

// A question is what one method asks GitHub.
type question struct {
	client *github.Client
	host   forge.Host
	token  api.Secret
	path   string // below that of the API, before what each call adds
	about  string // what is being done, for errors
	need   need
	hide   []api.Secret // what GitHub is told and errors are not
}

// ask begins a question about a repository.
func (f *Forge) ask(host forge.Host, t forge.Token, repo, about string, n need) (question, error) {
	q := question{host: host, token: t.Value, about: about + " " + repo, need: n}
	owner, name, ok := strings.Cut(repo, "/")
	if !ok || !segment(owner) || !segment(name) {
		return q, q.wrong("repository %q is not owner/name", repo)
	}
	q.path = "repos/" + owner + "/" + name
	var err error
	q.client, err = f.client(host, t.Value)
	return q, err
}

// askHooks begins a question about the hooks of an owner.
func (f *Forge) askHooks(host forge.Host, t forge.Token, owner forge.Owner, about string) (question, error) {
	q := question{host: host, token: t.Value, about: about + " " + owner.Name, need: organizationHooks}
	switch owner.Kind {
	case forge.OfRepository:
		q, err := f.ask(host, t, owner.Name, about, repositoryHooks)
		q.path += "/hooks"
		return q, err
	case forge.OfOrganization:
		if !segment(owner.Name) {
			return q, q.wrong("%q is not the name of an organization", owner.Name)
		}
		q.path = "orgs/" + owner.Name + "/hooks"
	case forge.OfEnterprise:
		// Source: user guide, "Set up a global or organization GitHub webhook":
		// a global one is made by hand.
		return q, q.wrong("GitHub's API has no webhooks of enterprises. Do it by hand, in the settings of the enterprise, with content type application/json")
	default:
		return q, q.wrong("GitHub has no owner of the kind %s", owner.Kind)
	}
	var err error
	q.client, err = f.client(host, t.Value)
	return q, err
}

// wrong is the error of what is not even asked.
func (q question) wrong(format string, args ...any) error {
	return &forge.Error{Host: q.host.Name, Text: q.about + ": " + fmt.Sprintf(format, args...)}
}

// strange is the error of an answer that is not GitHub's.
func (q question) strange() error {
	return unreachable(q.host, q.about+": the answer is not one of GitHub's API; is "+q.host.API+" the right address?", nil)
}

// failed is what an error of a call says.
func (q question) failed(err error, res *github.Response) error {
	return failed(q.host, q.token, q.about, q.need, err, res, q.hide...)
}

// send makes a call below the question's path. The error is the library's.
func (q question) send(ctx context.Context, method, path string, in, out any, options ...github.RequestOption) (*github.Response, error) {
	r, err := q.client.NewRequest(method, q.path+path, in, options...)
	if err != nil {
		return nil, err
	}
	return q.client.Do(ctx, r, out)
}

// get reads what is below the question's path.
func (q question) get(ctx context.Context, path string, out any) error {
	if res, err := q.send(ctx, http.MethodGet, path, nil, out); err != nil {
		return q.failed(err, res)
	}
	return nil
}

// PutHook implements forge.Hooks. GitHub refuses a second hook with the same
// address, so what it says after an answer was lost leads to the first.
func (f *Forge) PutHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) (forge.Hook, error) {
	q, err := f.askHooks(host, t, owner, "make the webhook of")
	if err != nil {
		return forge.Hook{}, err
	}
	q.hide = []api.Secret{h.Secret}
	in := github.Hook{Active: new(true), Config: &github.HookConfig{
		URL: &h.Address, ContentType: new("json"), InsecureSSL: new("0"), Secret: new(h.Secret.Reveal()),
	}}
	for _, e := range h.Events {
		if name := events[e]; name != "" && !slices.Contains(in.Events, name) {
			in.Events = append(in.Events, name)
		}
	}
	if in.Events == nil {
		return forge.Hook{}, q.wrong("GitHub tells of none of the events %q", h.Events)
	}
	put := func() (github.Hook, *github.Response, error) {
		var out github.Hook
		found, res, err := q.find(ctx, h)
		if err != nil {
			return out, res, err
		}
		if len(found) == 0 {
			in.Name = new("web")
			res, err := q.send(ctx, http.MethodPost, "", in, &out)
			return out, res, err
		}
		// The others first: no two may have the address.
		for _, id := range found[1:] {
			if res, err := q.remove(ctx, id); err != nil {
				return out, res, err
			}
		}
		in.Name = nil
		res, err = q.send(ctx, http.MethodPatch, hookPath(found[0]), in, &out)
		return out, res, err
	}
	out, res, err := put()
	if err != nil && outdated(err, res) {
		out, res, err = put()
	}
	if err != nil {
		return forge.Hook{}, q.failed(err, res)
	}
	if out.GetID() == 0 {
		return forge.Hook{}, q.strange()
	}
	h.ID, h.URL = strconv.FormatInt(out.GetID(), 10), out.GetURL()
	return h, nil
}

// outdated reports whether a hook was made, or removed, since the hooks were
// listed.
func outdated(err error, res *github.Response) bool {
	a := answerOf(err, res)
	if a == nil {
		return false
	}
	exists := slices.ContainsFunc(a.detail, func(d string) bool { return strings.Contains(d, "already exists") })
	return a.status == http.StatusUnprocessableEntity && exists || a.status == http.StatusNotFound && res.Request.Method == http.MethodPatch
}

func hookPath(id int64) string { return "/" + strconv.FormatInt(id, 10) }

// find returns the ids of the hooks that are h: the one of its ID first, then
// those of its address.
func (q question) find(ctx context.Context, h forge.Hook) (found []int64, res *github.Response, err error) {
	for page := 1; page <= maxHooks; page++ {
		var list []github.Hook
		res, err = q.send(ctx, http.MethodGet, fmt.Sprintf("?per_page=%d&page=%d", perPage, page), nil, &list)
		if err != nil {
			return nil, res, err
		}
		for _, k := range list {
			switch id := k.GetID(); {
			case strconv.FormatInt(id, 10) == h.ID:
				found = slices.Insert(found, 0, id)
			case h.Address != "" && k.GetConfig().GetURL() == h.Address:
				found = append(found, id)
			}
		}
		if res.NextPage == 0 {
			break
		}
	}
	return found, res, nil
}

// remove removes a hook, if it is there.
func (q question) remove(ctx context.Context, id int64) (*github.Response, error) {
	res, err := q.send(ctx, http.MethodDelete, hookPath(id), nil, nil)
	if a := answerOf(err, res); a != nil && a.status == http.StatusNotFound {
		return res, nil
	}
	return res, err
}

// DeleteHook implements forge.Hooks.
func (f *Forge) DeleteHook(ctx context.Context, host forge.Host, t forge.Token, owner forge.Owner, h forge.Hook) error {
	q, err := f.askHooks(host, t, owner, "remove the webhook of")
	if err != nil {
		return err
	}
	q.hide = []api.Secret{h.Secret}
	found, res, err := q.find(ctx, h)
	if err != nil {
		return q.failed(err, res)
	}
	for _, id := range found {
		if res, err := q.remove(ctx, id); err != nil {
			return q.failed(err, res)
		}
	}
	return nil
}

// approvers are GitHub's roles by role_name, each with the permission that has
// to go with it. An organization's own role counts as its permission.
// Source: GitHub, "Get repository permissions for a user".
var approvers = map[string]struct {
	permission string
	role       api.PullRequestBuildApproverRole
}{
	"read":     {"read", api.PullRequestBuildApproverRoleGITHUB_READ},
	"triage":   {"read", api.PullRequestBuildApproverRoleGITHUB_TRIAGE},
	"write":    {"write", api.PullRequestBuildApproverRoleGITHUB_WRITE},
	"maintain": {"write", api.PullRequestBuildApproverRoleGITHUB_MAINTAIN},
	"admin":    {"admin", api.PullRequestBuildApproverRoleGITHUB_ADMIN},
}

// Role implements forge.Hooks. GitHub is asked by login and answers with the
// id: a login that meanwhile is another's has no role. In a public repository
// everybody has GITHUB_READ, as GitHub says.
func (f *Forge) Role(ctx context.Context, host forge.Host, t forge.Token, repo string, who forge.Person) (api.PullRequestBuildApproverRole, error) {
	q, err := f.ask(host, t, repo, "find the role of "+who.Login+" in", roles)
	if err != nil || who.ID == "" || !segment(who.Login) {
		return "", err
	}
	var level github.RepositoryPermissionLevel
	res, err := q.send(ctx, http.MethodGet, "/collaborators/"+url.PathEscape(who.Login)+"/permission", nil, &level)
	if err != nil {
		if a := answerOf(err, res); a != nil && a.status == http.StatusNotFound {
			return "", nil // nobody, or nobody that the token may know
		}
		return "", q.failed(err, res)
	}
	if u := level.GetUser(); strconv.FormatInt(u.GetID(), 10) != who.ID || !strings.EqualFold(u.GetLogin(), who.Login) {
		return "", nil
	}
	if a, ok := approvers[level.GetRoleName()]; ok && a.permission == level.GetPermission() {
		return a.role, nil
	}
	return approvers[level.GetPermission()].role, nil
}

// PullRequest implements forge.Hooks.
func (f *Forge) PullRequest(ctx context.Context, host forge.Host, t forge.Token, repo string, number int) (forge.PullRequest, error) {
	q, err := f.ask(host, t, repo, fmt.Sprintf("read pull request %d of", number), pulls)
	if err != nil {
		return forge.PullRequest{}, err
	}
	var p github.PullRequest
	if err := q.get(ctx, "/pulls/"+strconv.Itoa(number), &p); err != nil {
		return forge.PullRequest{}, err
	}
	if p.GetNumber() != number || !isCommit(p.GetHead().GetSHA()) {
		return forge.PullRequest{}, q.strange()
	}
	return pullOf(&p), nil
}

// pullOf reads a pull request. That it is from a fork follows from the ids of
// the repositories, which stay when names change.
func pullOf(p *github.PullRequest) forge.PullRequest {
	head, base := p.GetHead(), p.GetBase()
	out := forge.PullRequest{
		Number: p.GetNumber(), Title: p.GetTitle(), Open: p.GetState() == "open",
		Author:  forge.Person{ID: strconv.FormatInt(p.GetUser().GetID(), 10), Login: p.GetUser().GetLogin()},
		HeadRef: "refs/heads/" + head.GetRef(), HeadSHA: head.GetSHA(), BaseRef: "refs/heads/" + base.GetRef(),
		HeadRepo: head.GetRepo().GetFullName(),
		Fork:     head.GetRepo().GetID() == 0 || head.GetRepo().GetID() != base.GetRepo().GetID(),
	}
	if out.Fork {
		out.HeadURL = head.GetRepo().GetCloneURL()
	}
	return out
}

// ChangedFiles implements forge.Hooks. A comparison tells what one side adds
// to the history that both share; for commits of which neither is in the
// other's history, both sides count.
func (f *Forge) ChangedFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int, before, sha string) ([]string, bool, error) {
	if number > 0 {
		return f.pullFiles(ctx, host, t, repo, number)
	}
	q, err := f.ask(host, t, repo, "compare commits of", contents)
	if err != nil {
		return nil, false, err
	}
	from := before
	switch {
	case !isCommit(before), !isCommit(sha):
		return nil, false, q.wrong("%q and %q are not the ids of two commits", before, sha)
	case strings.Trim(before, "0") == "":
		var r github.Repository
		if err := q.get(ctx, "", &r); err != nil {
			return nil, false, err
		}
		if r.GetDefaultBranch() == "" {
			return nil, false, q.strange()
		}
		from = r.GetDefaultBranch()
	}
	paths, status, complete, err := q.compare(ctx, from, sha)
	if err != nil || from != before || status == "ahead" || status == "identical" {
		return paths, complete, err
	}
	back, _, whole, err := q.compare(ctx, sha, from)
	return distinct(append(paths, back...)), complete && whole, err
}

// compare lists the paths that to changes since it parted from from, with
// GitHub's word for how they relate.
func (q question) compare(ctx context.Context, from, to string) (paths []string, status string, complete bool, err error) {
	var out github.CommitsComparison
	// All of the files are in the first page, in which one commit is enough.
	if err := q.get(ctx, "/compare/"+url.PathEscape(from)+"..."+url.PathEscape(to)+"?per_page=1", &out); err != nil {
		return nil, "", false, err
	}
	if !slices.Contains([]string{"ahead", "behind", "diverged", "identical"}, out.GetStatus()) {
		return nil, "", false, q.strange()
	}
	return names(out.Files), out.GetStatus(), len(out.Files) < maxCompared, nil
}

// pullFiles lists the paths that a pull request changes.
func (f *Forge) pullFiles(ctx context.Context, host forge.Host, t forge.Token, repo string, number int) ([]string, bool, error) {
	q, err := f.ask(host, t, repo, fmt.Sprintf("list the files of pull request %d of", number), pulls)
	if err != nil {
		return nil, false, err
	}
	var files []*github.CommitFile
	for page := 1; page <= maxFiles/perPage; page++ {
		var list []*github.CommitFile
		if err := q.get(ctx, fmt.Sprintf("/pulls/%d/files?per_page=%d&page=%d", number, perPage, page), &list); err != nil {
			return nil, false, err
		}
		files = append(files, list...)
		if len(list) < perPage {
			break
		}
	}
	return names(files), len(files) < maxFiles, nil
}

// names are the paths of files, both of a renamed one.
func names(files []*github.CommitFile) []string {
	var paths []string
	for _, f := range files {
		paths = append(paths, f.GetFilename())
		if old := f.GetPreviousFilename(); old != "" {
			paths = append(paths, old)
		}
	}
	return distinct(paths)
}

// distinct sorts paths, and drops what is there twice.
func distinct(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Message implements forge.Hooks.
func (f *Forge) Message(ctx context.Context, host forge.Host, t forge.Token, repo, sha string) (string, error) {
	q, err := f.ask(host, t, repo, "read the message of a commit of", contents)
	if err != nil {
		return "", err
	}
	if !isCommit(sha) {
		return "", q.wrong("%q is not the id of a commit", sha)
	}
	var c github.Commit
	if err := q.get(ctx, "/git/commits/"+sha, &c); err != nil {
		return "", err
	}
	if !strings.EqualFold(c.GetSHA(), sha) {
		return "", q.strange()
	}
	return c.GetMessage(), nil
}

// Poll implements forge.Hooks. A mark is the ETag of a page, by the name of
// the list and the number of the page. What is unchanged costs one request a
// page, and no rate limit.
// Source: GitHub, "Best practices for using the REST API", conditional requests.
func (f *Forge) Poll(ctx context.Context, host forge.Host, t forge.Token, repo string, marks map[string]string) (forge.Polled, error) {
	q, err := f.ask(host, t, repo, "poll", contents)
	if err != nil {
		return forge.Polled{}, err
	}
	out := forge.Polled{Marks: map[string]string{}}
	p := poll{question: q, out: &out}
	branches, sameBranches, err := read[github.Branch](ctx, p, "branches", "", maxRefs, marks)
	if err != nil {
		return forge.Polled{}, err
	}
	tags, sameTags, err := read[github.RepositoryTag](ctx, p, "tags", "", maxRefs, marks)
	if err != nil {
		return forge.Polled{}, err
	}
	// The refs are told together.
	out.RefsUnchanged = sameBranches && sameTags
	if sameBranches && !sameTags {
		if branches, _, err = read[github.Branch](ctx, p, "branches", "", maxRefs, nil); err != nil {
			return forge.Polled{}, err
		}
	}
	if sameTags && !sameBranches {
		if tags, _, err = read[github.RepositoryTag](ctx, p, "tags", "", maxRefs, nil); err != nil {
			return forge.Polled{}, err
		}
	}
	if !out.RefsUnchanged {
		out.Refs = map[string]string{}
		for _, b := range branches {
			out.Refs["refs/heads/"+b.GetName()] = b.GetCommit().GetSHA()
		}
		for _, t := range tags {
			out.Refs["refs/tags/"+t.GetName()] = t.GetCommit().GetSHA()
		}
		for name, sha := range out.Refs {
			if !isCommit(sha) || strings.HasSuffix(name, "/") {
				return forge.Polled{}, q.strange()
			}
		}
	}
	p.need = pulls
	open, same, err := read[*github.PullRequest](ctx, p, "pulls", "&state=open&sort=created&direction=desc", maxPulls, marks)
	if err != nil {
		return forge.Polled{}, err
	}
	out.PullsUnchanged = same
	for _, o := range open {
		out.Pulls = append(out.Pulls, pullOf(o))
	}
	return out, nil
}

// A poll is a question whose answers leave marks.
type poll struct {
	question
	out *forge.Polled
}

// read reads the pages of a list, or finds that none has changed since marks.
// A page after the last full one is read too, so that it has a mark and what
// is added there is seen.
func read[T any](ctx context.Context, p poll, list, query string, most int, marks map[string]string) (all []T, same bool, err error) {
	mark := func(page int) string { return list + " " + strconv.Itoa(page) }
	ask := func(page int, etag string) (items []T, res *github.Response, err error) {
		var options []github.RequestOption
		if etag != "" {
			options = append(options, func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
		}
		res, err = p.send(ctx, http.MethodGet, fmt.Sprintf("/%s?per_page=%d&page=%d%s", list, perPage, page, query), nil, &items, options...)
		if err != nil && (res == nil || res.Response == nil || res.StatusCode != http.StatusNotModified) {
			return nil, res, p.failed(err, res)
		}
		if seconds, err := strconv.Atoi(res.Header.Get("X-Poll-Interval")); err == nil && seconds > 0 && seconds <= 24*60*60 {
			p.out.After = max(p.out.After, time.Duration(seconds)*time.Second)
		}
		return items, res, nil
	}
	var first []T
	var answered *github.Response // to page 1, if that has changed
	same = marks[mark(1)] != ""
	for page := 1; same && page <= most && marks[mark(page)] != ""; page++ {
		items, res, err := ask(page, marks[mark(page)])
		if err != nil {
			return nil, false, err
		}
		if same = res.StatusCode == http.StatusNotModified; !same && page == 1 {
			first, answered = items, res
		}
	}
	if same {
		for page := 1; marks[mark(page)] != ""; page++ {
			p.out.Marks[mark(page)] = marks[mark(page)]
		}
		return nil, true, nil
	}
	for page := 1; ; page++ {
		items, res := first, answered
		if page > 1 || res == nil {
			if items, res, err = ask(page, ""); err != nil {
				return nil, false, err
			}
		}
		all = append(all, items...)
		if etag := res.Header.Get("ETag"); len(etag) <= maxMark {
			p.out.Marks[mark(page)] = etag
		}
		switch {
		case len(items) < perPage:
			return all, false, nil
		case page < most:
		case list == "pulls":
			return all, false, nil
		default:
			return nil, false, p.wrong("it has more than %d %s, too many to poll. Make a webhook instead", most*perPage, list)
		}
	}
}

// Repositories implements forge.Hooks. GitHub's search knows every public
// repository and no part of a word, so the names of the user's own are
// searched here, those pushed to last first. A page may be shorter than others.
func (f *Forge) Repositories(ctx context.Context, host forge.Host, t forge.Token, search, page string) ([]forge.Listed, string, error) {
	q := question{host: host, token: t.Value, path: "user/repos", about: "list repositories", need: listing}
	number := 1
	if page != "" {
		n, err := strconv.Atoi(page)
		if err != nil || n < 1 {
			return nil, "", q.wrong("there is no page %q", page)
		}
		number = n
	}
	var err error
	if q.client, err = f.client(host, t.Value); err != nil {
		return nil, "", err
	}
	for range maxSearch {
		var found []github.Repository
		res, err := q.send(ctx, http.MethodGet, fmt.Sprintf("?sort=pushed&per_page=%d&page=%d", perPage, number), nil, &found)
		if err != nil {
			return nil, "", q.failed(err, res)
		}
		var list []forge.Listed
		for _, r := range found {
			if strings.Contains(strings.ToLower(r.GetFullName()), strings.ToLower(search)) {
				list = append(list, forge.Listed{Name: r.GetFullName(), URL: r.GetCloneURL(), Private: r.GetPrivate(), Default: r.GetDefaultBranch()})
			}
		}
		if number = res.NextPage; number == 0 {
			return list, "", nil
		}
		if len(list) > 0 {
			return list, strconv.Itoa(number), nil
		}
	}
	return nil, strconv.Itoa(number), nil
}
