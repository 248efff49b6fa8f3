package forgetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Status is a commit status that the API was given.
type Status struct {
	ID          int64
	State       string
	Context     string
	Description string
	TargetURL   string
	Creator     string
	Created     time.Time
}

// Statuses returns the statuses of a commit, oldest first.
func (s *Server) Statuses(repo, sha string) []Status {
	r := s.repository(repo)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil {
		return nil
	}
	return slices.Clone(r.statuses[sha])
}

// object is a JSON object.
type object = map[string]any

// A call is one request to the API.
type call struct {
	s      *Server
	r      *http.Request
	w      http.ResponseWriter
	at     string      // the address of the API as the caller used it
	path   string      // as the caller wrote it
	token  *token      // nil is anonymous
	repo   *repository // of paths with one
	status int
	answer any // nil is no body
}

// callKey is where the routes find their call in the context.
type callKey struct{}

// fail answers with GitHub's error document. fields are for status 422.
func (c *call) fail(status int, message string, fields ...object) {
	c.status = status
	doc := object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}
	if len(fields) > 0 {
		doc["errors"] = fields
	}
	c.answer = doc
}

// rest are the routes of the API, with the names of GitHub's description.
func (s *Server) rest() *http.ServeMux {
	mux := http.NewServeMux()
	const (
		seeHooks  = "admin:repo_hook, read:repo_hook, repo, write:repo_hook"
		makeHooks = "admin:repo_hook, repo, write:repo_hook"
	)
	// accepted are the scopes that the header X-Accepted-OAuth-Scopes names,
	// and permission the one of X-Accepted-GitHub-Permissions.
	route := func(pattern, accepted, permission string, do func(*call)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(callKey{}).(*call)
			c.r = r
			scopes := strings.FieldsFunc(accepted, func(r rune) bool { return r == ',' || r == ' ' })
			if c.token != nil && c.token.Permissions != nil {
				w.Header().Set("X-Accepted-GitHub-Permissions", permission)
			} else if c.token != nil {
				w.Header().Set("X-Accepted-OAuth-Scopes", accepted)
			}
			if r.PathValue("owner") != "" && !c.findRepository(scopes, permission) {
				return
			}
			do(c)
		})
	}
	route("GET /user", "", "", (*call).user)
	route("GET /rate_limit", "", "", (*call).rateLimit)
	route("GET /repos/{owner}/{repo}", "repo", "metadata=read", (*call).repository)
	route("POST /repos/{owner}/{repo}/statuses/{sha}", "repo, repo:status", "statuses=write", (*call).createStatus)
	route("GET /repos/{owner}/{repo}/commits/{ref}/statuses", "repo, repo:status", "statuses=read", (*call).listStatuses)
	route("GET /repos/{owner}/{repo}/commits/{ref}/status", "repo, repo:status", "statuses=read", (*call).combinedStatus)
	route("GET /repos/{owner}/{repo}/git/ref/{ref...}", "repo", "contents=read", (*call).reference)
	route("GET /repos/{owner}/{repo}/hooks", seeHooks, "repository_hooks=read", (*call).listHooks)
	route("POST /repos/{owner}/{repo}/hooks", makeHooks, "repository_hooks=write", (*call).createHook)
	route("GET /repos/{owner}/{repo}/hooks/{hook_id}", seeHooks, "repository_hooks=read", (*call).getHook)
	route("PATCH /repos/{owner}/{repo}/hooks/{hook_id}", makeHooks, "repository_hooks=write", (*call).editHook)
	route("DELETE /repos/{owner}/{repo}/hooks/{hook_id}", "admin:repo_hook, repo", "repository_hooks=write", (*call).deleteHook)
	route("POST /repos/{owner}/{repo}/hooks/{hook_id}/pings", seeHooks, "repository_hooks=read", (*call).pingHook)
	for pattern, do := range map[string]func(*call){
		"GET /orgs/{org}/hooks": (*call).listHooks, "POST /orgs/{org}/hooks": (*call).createHook, "GET /orgs/{org}/hooks/{hook_id}": (*call).getHook,
		"PATCH /orgs/{org}/hooks/{hook_id}": (*call).editHook, "DELETE /orgs/{org}/hooks/{hook_id}": (*call).deleteHook,
		"POST /orgs/{org}/hooks/{hook_id}/pings": (*call).pingHook,
	} {
		route(pattern, "admin:org_hook", "organization_hooks=write", organizationHooks(do))
	}
	route("GET /repos/{owner}/{repo}/collaborators/{username}/permission", "repo", "metadata=read", (*call).permission)
	route("GET /repos/{owner}/{repo}/pulls", "repo", "pull_requests=read", (*call).listPulls)
	route("GET /repos/{owner}/{repo}/pulls/{pull_number}", "repo", "pull_requests=read", (*call).getPull)
	route("GET /repos/{owner}/{repo}/pulls/{pull_number}/files", "repo", "pull_requests=read", (*call).pullFiles)
	route("GET /repos/{owner}/{repo}/compare/{basehead...}", "repo", "contents=read", (*call).compare)
	route("GET /repos/{owner}/{repo}/git/commits/{commit_sha}", "repo", "contents=read", (*call).gitCommit)
	route("GET /repos/{owner}/{repo}/branches", "repo", "contents=read", (*call).branches)
	route("GET /repos/{owner}/{repo}/tags", "repo", "metadata=read", (*call).tags)
	route("GET /user/repos", "repo", "metadata=read", (*call).ownRepositories)
	return mux
}

// serveREST answers a call of the API whose path without /api/v3 is path.
func (s *Server) serveREST(w http.ResponseWriter, r *http.Request, path string, rec *Request) {
	c := &call{s: s, r: r, w: w, at: s.URL + strings.TrimSuffix(r.URL.Path, path), path: r.URL.Path, status: http.StatusOK}
	h := w.Header()
	h.Set("Server", "github.com")
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-GitHub-Request-Id", fmt.Sprintf("%04X:%06X:%07X:%07X:%08X", rand.N(1<<16), rand.N(1<<24), rand.N(1<<28), rand.N(1<<28), s.now().Unix()))
	h.Set("X-GitHub-Api-Version-Selected", "2022-11-28")
	t, sent := s.tokenOf(r)
	c.token = t
	c.count(1)
	switch {
	case r.Header.Get("User-Agent") == "":
		c.fail(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header")
	case sent && t == nil:
		c.fail(http.StatusUnauthorized, "Bad credentials")
	case t != nil && t.SSO:
		h.Set("X-GitHub-SSO", "required; url=https://github.com/orgs/octo-org/sso?authorization_request=AZSCKtL4U8yX1H3sCQIVnVgmjmon5fWxks5YrqhJgah0b2tlbl9pZM4EuMz4")
		c.fail(http.StatusForbidden, "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this organization.")
	default:
		if t != nil && t.Permissions == nil {
			h.Set("X-OAuth-Scopes", strings.Join(t.Scopes, ", "))
		}
		if t != nil && !t.Expires.IsZero() {
			h.Set("github-authentication-token-expiration", t.Expires.UTC().Format("2006-01-02 15:04:05")+" UTC")
		}
		in := r.Clone(context.WithValue(r.Context(), callKey{}, c))
		in.URL.Path = s.byID(path)
		in.URL.RawPath = ""
		if _, pattern := s.routes.Handler(in); pattern == "" {
			c.fail(http.StatusNotFound, "Not Found")
		} else {
			s.routes.ServeHTTP(w, in)
		}
	}
	c.send(rec)
}

// send writes the answer, and writes down what it was.
func (c *call) send(rec *Request) {
	var body []byte
	if c.answer != nil {
		var err error
		if body, err = json.Marshal(c.answer); err != nil {
			panic(err) // of plain maps
		}
	}
	if c.r.Method == http.MethodGet && c.status == http.StatusOK {
		sum := sha256.Sum256(body)
		tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
		c.w.Header().Set("ETag", tag)
		if c.r.Header.Get("If-None-Match") == tag {
			c.status, body = http.StatusNotModified, nil
			c.count(-1) // it costs nothing
		}
	}
	c.s.answered(rec, c.r.Pattern, c.status, body)
	c.w.WriteHeader(c.status)
	_, _ = c.w.Write(body)
}

// page answers with the part of a list that the query asks for, and tells
// where the others are.
// Source: GitHub, "Using pagination in the REST API".
func (c *call) page(list []object) {
	q := c.r.URL.Query()
	number := func(name string, standard, most int) int {
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 {
			return standard
		}
		return min(n, most)
	}
	size, page := number("per_page", 30, 100), number("page", 1, 1<<20)
	last := max(1, (len(list)+size-1)/size)
	var links []string
	link := func(to int, rel string) {
		q.Set("page", strconv.Itoa(to))
		links = append(links, fmt.Sprintf("<%s%s?%s>; rel=%q", c.s.URL, c.path, q.Encode(), rel))
	}
	if page > 1 {
		link(page-1, "prev")
	}
	if page < last {
		link(page+1, "next")
		link(last, "last")
	}
	if page > 1 {
		link(1, "first")
	}
	if links != nil {
		c.w.Header().Set("Link", strings.Join(links, ", "))
	}
	from := min(len(list), (page-1)*size)
	c.answer = list[from:min(len(list), from+size)]
}

// byID turns /repositories/ID into the path with the name, as a redirect of a
// renamed repository needs it.
func (s *Server) byID(path string) string {
	rest, ok := strings.CutPrefix(path, "/repositories/")
	if !ok {
		return path
	}
	id, rest, _ := strings.Cut(rest, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		if strconv.FormatInt(r.id, 10) == id {
			return strings.TrimSuffix("/repos/"+r.name+"/"+rest, "/")
		}
	}
	return path
}

// count counts n requests and sets the headers of the rate limit.
func (c *call) count(n int) {
	limit, used := 60, 0
	c.s.mu.Lock()
	if c.token != nil {
		limit = 5000
		c.token.used += n
		used = c.token.used
	}
	c.s.mu.Unlock()
	h := c.w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Used", strconv.Itoa(used))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-used)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(c.s.started.Add(time.Hour).Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

// findRepository sets c.repo, or answers as GitHub does to those who may not
// know, or may not do this.
func (c *call) findRepository(scopes []string, permission string) bool {
	asked := c.r.PathValue("owner") + "/" + c.r.PathValue("repo")
	r := c.s.repository(asked)
	reading := c.r.Method == http.MethodGet && slices.Contains([]string{"metadata=read", "statuses=read", "contents=read", "pull_requests=read"}, permission)
	switch {
	case r == nil, !r.public && !c.token.sees(r):
		c.fail(http.StatusNotFound, "Not Found")
		return false
	case r.public && reading:
	case c.token == nil:
		c.fail(http.StatusUnauthorized, "Requires authentication")
		return false
	case !c.token.may(permission, scopes...) && c.token.Permissions != nil:
		c.fail(http.StatusForbidden, "Resource not accessible by personal access token")
		return false
	case !c.token.may(permission, scopes...):
		c.fail(http.StatusNotFound, "Not Found")
		return false
	}
	if name := c.s.nameOf(r); !strings.EqualFold(name, asked) {
		rest := strings.TrimPrefix(c.r.URL.Path, "/repos/"+asked)
		target := c.at + "/repositories/" + strconv.FormatInt(r.id, 10) + rest
		status := http.StatusTemporaryRedirect
		if c.r.Method == http.MethodGet {
			status = http.StatusMovedPermanently
		}
		c.fail(status, http.StatusText(status))
		c.answer.(object)["url"] = target
		c.w.Header().Set("Location", target)
		return false
	}
	c.repo = r
	return true
}

// body reads the request's JSON into v.
func (c *call) body(v any) bool {
	b, err := io.ReadAll(io.LimitReader(c.r.Body, 1<<20))
	if err != nil || json.Unmarshal(b, v) != nil {
		c.fail(http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	return true
}

func (c *call) user() {
	if c.token == nil {
		c.fail(http.StatusUnauthorized, "Requires authentication")
		return
	}
	u := c.account(Person{ID: c.token.id, Login: c.token.Login}, "User")
	maps.Copy(u, object{
		"user_view_type": "public", "name": c.token.Login, "company": nil, "blog": "", "location": nil, "email": nil, "hireable": nil, "bio": nil,
		"twitter_username": nil, "public_repos": 2, "public_gists": 0, "followers": 20, "following": 0,
		"created_at": "2008-01-14T04:33:35Z", "updated_at": "2026-01-14T04:33:35Z",
	})
	c.answer = u
}

// account is what GitHub shows of one beside other things.
func (c *call) account(p Person, kind string) object {
	at := c.at + "/users/" + p.Login
	return object{
		"login": p.Login, "id": p.ID, "node_id": fmt.Sprintf("U_%d", p.ID), "avatar_url": c.s.URL + "/avatars/u/" + strconv.FormatInt(p.ID, 10),
		"gravatar_id": "", "url": at, "html_url": c.s.URL + "/" + p.Login, "followers_url": at + "/followers",
		"following_url": at + "/following{/other_user}", "gists_url": at + "/gists{/gist_id}", "starred_url": at + "/starred{/owner}{/repo}",
		"subscriptions_url": at + "/subscriptions", "organizations_url": at + "/orgs", "repos_url": at + "/repos",
		"events_url": at + "/events{/privacy}", "received_events_url": at + "/received_events", "type": kind, "site_admin": false,
	}
}

// person shows who has the login.
func (c *call) person(login string) object { return c.account(c.s.Person(login), "User") }

// owner shows whose a repository is.
func (c *call) owner(name string) object {
	p, organization := c.s.owner(name)
	if organization {
		return c.account(p, "Organization")
	}
	return c.account(p, "User")
}

func (c *call) rateLimit() {
	h := c.w.Header()
	number := func(name string) int { n, _ := strconv.Atoi(h.Get(name)); return n }
	core := object{
		"limit": number("X-RateLimit-Limit"), "used": number("X-RateLimit-Used"),
		"remaining": number("X-RateLimit-Remaining"), "reset": number("X-RateLimit-Reset"),
	}
	c.answer = object{"resources": object{"core": core, "search": core}, "rate": core}
}

// shown is the repository as GitHub shows it everywhere.
func (c *call) shown() object {
	name := c.s.nameOf(c.repo)
	_, short, _ := strings.Cut(name, "/")
	at, web := c.at+"/repos/"+name, c.s.URL+"/"+name
	r := object{
		"id": c.repo.id, "node_id": fmt.Sprintf("R_%d", c.repo.id), "name": short, "full_name": name, "owner": c.owner(name),
		"private": !c.repo.public, "html_url": web, "description": nil, "fork": c.repo.parent != "", "url": at,
	}
	for key, path := range map[string]string{
		"archive": "{archive_format}{/ref}", "assignees": "assignees{/user}", "blobs": "git/blobs{/sha}", "branches": "branches{/branch}",
		"collaborators": "collaborators{/collaborator}", "comments": "comments{/number}", "commits": "commits{/sha}",
		"compare": "compare/{base}...{head}", "contents": "contents/{+path}", "contributors": "contributors", "deployments": "deployments",
		"downloads": "downloads", "events": "events", "forks": "forks", "git_commits": "git/commits{/sha}", "git_refs": "git/refs{/sha}",
		"git_tags": "git/tags{/sha}", "issue_comment": "issues/comments{/number}", "issue_events": "issues/events{/number}",
		"issues": "issues{/number}", "keys": "keys{/key_id}", "labels": "labels{/name}", "languages": "languages", "merges": "merges",
		"milestones": "milestones{/number}", "notifications": "notifications{?since,all,participating}", "pulls": "pulls{/number}",
		"releases": "releases{/id}", "stargazers": "stargazers", "statuses": "statuses/{sha}", "subscribers": "subscribers",
		"subscription": "subscription", "tags": "tags", "teams": "teams", "trees": "git/trees{/sha}", "hooks": "hooks",
	} {
		r[key+"_url"] = at + "/" + path
	}
	return r
}

func (c *call) repository() { c.answer = c.whole() }

// whole is the repository as GitHub shows it by itself and in deliveries.
func (c *call) whole() object {
	r := c.shown()
	visibility := "private"
	if c.repo.public {
		visibility = "public"
	}
	clone := c.s.URL + "/" + c.s.nameOf(c.repo) + ".git"
	then := "2026-01-26T19:14:43Z"
	writes := c.token != nil && c.token.may("contents=write", "repo")
	maps.Copy(r, object{
		"clone_url": clone, "git_url": strings.Replace(clone, "http", "git", 1), "ssh_url": "git@" + strings.TrimPrefix(clone, "http://"), "svn_url": strings.TrimSuffix(clone, ".git"), "mirror_url": nil,
		"homepage": nil, "language": nil, "forks_count": 0, "forks": 0, "stargazers_count": 0, "watchers_count": 0, "watchers": 0,
		"size": 1, "default_branch": "main", "open_issues_count": 0, "open_issues": 0, "is_template": false, "topics": []string{},
		"has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false, "has_downloads": true, "has_discussions": false, "has_pull_requests": true,
		"archived": false, "disabled": false, "visibility": visibility, "pushed_at": then, "created_at": then, "updated_at": then,
		"permissions":   object{"admin": writes, "maintain": writes, "push": writes, "triage": writes, "pull": true},
		"network_count": 0, "subscribers_count": 1, "license": nil, "allow_forking": true, "web_commit_signoff_required": false,
	})
	return r
}

// problem is one entry of the errors of status 422.
func problem(resource, field, message string) object {
	return object{"resource": resource, "code": "custom", "field": field, "message": message}
}

func (c *call) createStatus() {
	var in struct {
		State, Context, Description string
		TargetURL                   string `json:"target_url"`
	}
	if !c.body(&in) {
		return
	}
	sha := c.r.PathValue("sha")
	if in.Context == "" {
		in.Context = "default"
	}
	link, err := url.Parse(in.TargetURL)
	switch {
	case !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State):
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Status", "state", "state is not included in the list"))
		return
	case len([]rune(in.Description)) > 140:
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Status", "description", "description is too long (maximum is 140 characters)"))
		return
	case len([]rune(in.Context)) > 255:
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Status", "context", "context is too long (maximum is 255 characters)"))
		return
	case err != nil || in.TargetURL != "" && link.Scheme != "http" && link.Scheme != "https":
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Status", "target_url", "target_url must use http(s) scheme"))
		return
	}
	if c.s.resolve(c.repo, sha) != sha {
		c.fail(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
		return
	}
	c.s.mu.Lock()
	c.s.lastID++
	st := Status{c.s.lastID, in.State, in.Context, in.Description, in.TargetURL, c.token.Login, c.s.now().UTC()}
	same := 0
	for _, old := range c.repo.statuses[sha] {
		if old.Context == st.Context {
			same++
		}
	}
	full := same >= 1000 // of a commit and context
	if !full {
		c.repo.statuses[sha] = append(c.repo.statuses[sha], st)
	}
	c.s.mu.Unlock()
	if full {
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Status", "sha", "This SHA and context has reached the maximum number of statuses."))
		return
	}
	c.status, c.answer = http.StatusCreated, c.showStatus(st, sha)
	c.w.Header().Set("Location", c.at+"/repos/"+c.s.nameOf(c.repo)+"/statuses/"+sha)
}

func (c *call) showStatus(s Status, sha string) object {
	empty := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	creator := c.person(s.Creator)
	then := s.Created.Format(time.RFC3339)
	return object{
		"url": c.at + "/repos/" + c.s.nameOf(c.repo) + "/statuses/" + sha, "avatar_url": creator["avatar_url"],
		"id": s.ID, "node_id": fmt.Sprintf("SC_%d", s.ID), "state": s.State, "description": empty(s.Description), "target_url": empty(s.TargetURL),
		"context": s.Context, "created_at": then, "updated_at": then, "creator": creator,
	}
}

// commit resolves the path's ref.
func (c *call) commit() (string, bool) {
	id := c.s.resolve(c.repo, c.r.PathValue("ref"))
	if id == "" {
		c.fail(http.StatusNotFound, "Not Found")
	}
	return id, id != ""
}

// reference shows a ref.
func (c *call) reference() {
	ref := "refs/" + c.r.PathValue("ref")
	id, err := c.s.run(nil, "--git-dir", c.repo.dir, "rev-parse", "--verify", "-q", "--end-of-options", ref)
	if err != nil {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	at, sha := c.at+"/repos/"+c.s.nameOf(c.repo), strings.TrimSpace(string(id))
	c.answer = object{
		"ref": ref, "node_id": "REF_1", "url": at + "/git/" + ref,
		"object": object{"type": "commit", "sha": sha, "url": at + "/git/commits/" + sha},
	}
}

// newestFirst returns the statuses of a commit.
func (c *call) newestFirst(sha string) []Status {
	list := c.s.Statuses(c.s.nameOf(c.repo), sha)
	slices.Reverse(list)
	return list
}

func (c *call) listStatuses() {
	sha, ok := c.commit()
	if !ok {
		return
	}
	list := []object{}
	for _, s := range c.newestFirst(sha) {
		list = append(list, c.showStatus(s, sha))
	}
	c.answer = list
}

func (c *call) combinedStatus() {
	sha, ok := c.commit()
	if !ok {
		return
	}
	seen := map[string]bool{}
	list := []object{}
	state := "success"
	for _, s := range c.newestFirst(sha) {
		if seen[s.Context] {
			continue
		}
		seen[s.Context] = true
		one := c.showStatus(s, sha)
		delete(one, "creator")
		list = append(list, one)
		switch s.State {
		case "failure", "error":
			state = "failure"
		case "pending":
			if state == "success" {
				state = "pending"
			}
		}
	}
	if len(list) == 0 {
		state = "pending"
	}
	at := c.at + "/repos/" + c.s.nameOf(c.repo) + "/commits/" + sha
	c.answer = object{
		"state": state, "statuses": list, "sha": sha, "total_count": len(list), "repository": c.shown(),
		"commit_url": at, "url": at + "/status",
	}
}
