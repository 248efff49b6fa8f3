package forgetest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// DataCenter is Bitbucket Data Center, version 8. Scopes of its tokens are the
// permissions repository:read, repository:write and repository:admin. Roles are
// REPO_READ, REPO_WRITE and REPO_ADMIN.
// Source: Bitbucket Data Center REST API.
var DataCenter = below("/rest", Dialect{
	clone:   []string{"repository:read", "repository:write", "repository:admin"},
	push:    []string{"repository:write", "repository:admin"},
	prefix:  "/scm",
	pullRef: "refs/pull-requests/%d/from",
	tell:    tellDataCenter, sign: signDataCenter,
}, dataCenter)

func dataCenter(v *visit) {
	fail := func(status int, message string) {
		v.say(status, object{"errors": []object{{"context": nil, "message": message, "exceptionName": "com.atlassian.bitbucket.AuthorisationException"}}})
	}
	if v.token != nil {
		v.w.Header().Set("X-AUSERNAME", v.token.Login)
		v.w.Header().Set("X-AUSERID", strconv.FormatInt(v.token.id, 10))
	}
	switch {
	case v.token == nil:
		fail(http.StatusUnauthorized, "Authentication failed. Please check your credentials and try again.")
		return
	case !v.has("repository:read", "repository:write", "repository:admin"):
		fail(http.StatusForbidden, "You are not permitted to access this resource")
		return
	case v.is("GET", "api", "1.0", "repos"):
		list := []object{}
		for _, r := range v.visible("") {
			if _, slug, _ := strings.Cut(r.name, "/"); strings.Contains(strings.ToLower(slug), strings.ToLower(v.r.URL.Query().Get("name"))) {
				list = append(list, v.s.dataCenterRepository(r))
			}
		}
		v.dataCenterPage(list)
		return
	case v.is("GET", "api", "1.0", "users"):
		v.dataCenterUsers()
		return
	case len(v.path) > 4 && v.path[2] == "projects" && v.path[4] == "webhooks":
		if !v.has("project:admin") {
			fail(http.StatusUnauthorized, "You are not permitted to access this resource")
			return
		}
		v.dataCenterHooks(ofOrganization+"/"+strings.ToLower(v.path[3]), v.path[5:], "project", fail)
		return
	case len(v.path) < 6 || v.path[2] != "projects" || v.path[4] != "repos":
		fail(http.StatusNotFound, "No such resource")
		return
	}
	r := v.sees(v.path[3] + "/" + v.path[5])
	if r == nil {
		fail(http.StatusNotFound, "Repository "+v.path[3]+"/"+v.path[5]+" does not exist.")
		return
	}
	at := []string{"api", "1.0", "projects", "*", "repos", "*"}
	switch {
	case v.is("GET", at...):
		v.say(200, v.s.dataCenterRepository(r))
	case len(v.path) > 6 && v.path[6] == "webhooks":
		if !v.has("repository:admin") {
			fail(http.StatusUnauthorized, "You are not permitted to access this resource")
			return
		}
		v.dataCenterHooks(hooksOf(r), v.path[7:], "repository", fail)
	case v.is("POST", append(at, "commits", "*", "builds")...):
		in, sha := v.body(), v.path[7]
		switch {
		case !slices.Contains([]string{"INPROGRESS", "SUCCESSFUL", "FAILED", "CANCELLED", "UNKNOWN"}, in["state"]), in["key"] == "", len([]rune(in["key"])) > 255, !web(in["url"]):
			fail(http.StatusBadRequest, "The build status is not valid: state, key and url are required")
		case !v.commits(r, sha):
			fail(http.StatusNotFound, "Commit '"+sha+"' does not exist in repository '"+v.path[5]+"'.")
		default:
			v.keep(r, sha, in["state"], in["name"], in["description"], in["url"])
			v.say(http.StatusNoContent, nil)
		}
	case v.r.Method == "GET":
		v.dataCenterRead(r, fail)
	default:
		fail(http.StatusNotFound, "No such resource")
	}
}

// dataCenterRead answers what can be asked about a repository.
func (v *visit) dataCenterRead(r *repository, fail func(int, string)) {
	at := []string{"api", "1.0", "projects", "*", "repos", "*"}
	q := v.r.URL.Query()
	missing := func(sha string) {
		fail(http.StatusNotFound, "Commit '"+sha+"' does not exist in repository '"+v.path[5]+"'.")
	}
	switch {
	case v.is("GET", append(at, "branches")...), v.is("GET", append(at, "tags")...):
		prefix, kind := "refs/heads/", "BRANCH"
		if v.path[6] == "tags" {
			prefix, kind = "refs/tags/", "TAG"
		}
		names, ids := v.s.named(r, prefix)
		list := []object{}
		for _, n := range names {
			list = append(list, object{"id": prefix + n, "displayId": n, "type": kind, "latestCommit": ids[n], "latestChangeset": ids[n]})
		}
		v.dataCenterPage(list)
	case v.is("GET", append(at, "branches", "default")...):
		v.say(200, object{"id": "refs/heads/main", "displayId": "main", "type": "BRANCH", "latestCommit": v.s.resolve(r, "refs/heads/main"), "isDefault": true})
	case v.is("GET", append(at, "commits", "*")...):
		if list := v.s.log(r, "-1", v.path[7]); len(list) == 1 {
			v.say(200, dataCenterCommit(list[0]))
		} else {
			missing(v.path[7])
		}
	case v.is("GET", append(at, "commits", "*", "changes")...):
		since, until := v.s.resolve(r, q.Get("since")), v.s.resolve(r, v.path[7])
		if since == "" || until == "" {
			missing(q.Get("since") + " or " + v.path[7])
			return
		}
		v.dataCenterChanges(v.s.differences(r, since, until), since, until)
	case v.is("GET", append(at, "compare", "changes")...):
		from, to := v.s.resolve(r, q.Get("from")), v.s.resolve(r, q.Get("to"))
		if from == "" || to == "" {
			missing(q.Get("from") + " or " + q.Get("to"))
			return
		}
		v.dataCenterChanges(v.s.differ(r, to, from), to, from)
	case v.is("GET", append(at, "pull-requests")...):
		list := []object{}
		for _, p := range v.open(r) {
			list = append(list, v.s.dataCenterPull(r, &p))
		}
		v.dataCenterPage(list)
	case len(v.path) > 7 && v.path[6] == "pull-requests":
		p, ok := v.pull(r, v.path[7])
		switch {
		case !ok:
			fail(http.StatusNotFound, "Pull request "+v.path[7]+" does not exist in "+v.path[3]+"/"+v.path[5]+".")
		case len(v.path) == 8:
			v.say(200, v.s.dataCenterPull(r, &p))
		case v.is("GET", append(at, "pull-requests", "*", "changes")...):
			v.dataCenterChanges(v.s.differ(r, p.BaseSHA, p.SHA), p.BaseSHA, p.SHA)
		default:
			fail(http.StatusNotFound, "No such resource")
		}
	default:
		fail(http.StatusNotFound, "No such resource")
	}
}

// dataCenterPage answers with a page of a list.
func (v *visit) dataCenterPage(list []object) {
	start, limit := v.number("start", 0), min(max(v.number("limit", 25), 1), 1000)
	part, more := window(list, start, limit)
	out := object{"values": part, "size": len(part), "limit": limit, "start": start, "isLastPage": !more, "nextPageStart": nil}
	if more {
		out["nextPageStart"] = start + limit
	}
	v.say(200, out)
}

// dataCenterChanges answers with the one page that there is of a comparison.
func (v *visit) dataCenterChanges(changes []difference, from, to string) {
	list := []object{}
	path := func(text string) object {
		parts := strings.Split(text, "/")
		return object{"components": parts, "name": parts[len(parts)-1], "parent": strings.Join(parts[:len(parts)-1], "/"), "toString": text}
	}
	for _, d := range changes {
		one := object{"contentId": d.blob, "path": path(d.path), "nodeType": "FILE", "type": map[string]string{"added": "ADD", "removed": "DELETE", "modified": "MODIFY", "renamed": "MOVE"}[d.status]}
		if d.old != "" {
			one["srcPath"] = path(d.old)
		}
		list = append(list, one)
	}
	limit := min(max(v.number("limit", 25), 1), 1000)
	part, more := window(list, 0, limit)
	v.say(200, object{"fromHash": from, "toHash": to, "values": part, "size": len(part), "limit": limit, "start": 0, "isLastPage": !more, "nextPageStart": nil})
}

// dataCenterUsers answers who has a permission, by name or through others.
func (v *visit) dataCenterUsers() {
	q := v.r.URL.Query()
	rank := []string{"", "REPO_READ", "REPO_WRITE", "REPO_ADMIN"}
	need := slices.Index(rank, q.Get("permission.1"))
	var r *repository
	if need > 0 {
		r = v.sees(q.Get("permission.1.projectKey") + "/" + q.Get("permission.1.repositorySlug"))
	}
	v.s.mu.Lock()
	people := slices.SortedFunc(maps.Values(v.s.people), func(a, b Person) int { return int(a.ID - b.ID) })
	v.s.mu.Unlock()
	list := []object{}
	for _, p := range people {
		if !strings.Contains(strings.ToLower(p.Login), strings.ToLower(q.Get("filter"))) {
			continue
		}
		// What cannot be read as a permission filters nothing.
		if need > 0 && (r == nil || slices.Index(rank, v.s.role(r, p)) < need) {
			continue
		}
		list = append(list, dataCenterUser(p))
	}
	v.dataCenterPage(list)
}

// dataCenterEvents are the names of events that a hook may have, of those that
// concern code.
// Source: Bitbucket Data Center, "Event payload".
var dataCenterEvents = []string{
	"repo:refs_changed", "repo:modified", "repo:forked", "pr:opened", "pr:from_ref_updated", "pr:to_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted",
	"pr:comment:added", "pr:comment:edited", "pr:comment:deleted", "pr:reviewer:approved",
}

// dataCenterHooks answers about hooks; rest is the path after theirs.
func (v *visit) dataCenterHooks(key string, rest []string, scope string, fail func(int, string)) {
	show := func(k Hook) object {
		return object{
			"id": k.ID, "name": k.Name, "createdDate": k.Created.UnixMilli(), "updatedDate": k.Created.UnixMilli(), "events": k.Events, "configuration": object{}, "url": k.URL, "active": k.Active,
			"scopeType": scope, "sslVerificationRequired": true,
		}
	}
	if len(rest) == 0 && v.r.Method == "GET" {
		list := []object{}
		for _, k := range v.s.hooksAt(key) {
			list = append(list, show(k))
		}
		v.dataCenterPage(list)
		return
	}
	id := int64(0)
	if len(rest) == 1 {
		id, _ = strconv.ParseInt(rest[0], 10, 64)
	}
	known, there := v.s.hookAt(key, id)
	switch {
	case len(rest) == 0 && v.r.Method == "POST", len(rest) == 1 && v.r.Method == "PUT" && there:
		var in struct {
			Name, URL     string
			Active        bool
			Events        []string
			Configuration struct{ Secret *string }
		}
		if !v.into(&in) || !web(in.URL) || in.Name == "" {
			fail(http.StatusBadRequest, "The name and the URL must be valid")
			return
		}
		if len(in.Events) == 0 || slices.ContainsFunc(in.Events, func(e string) bool { return !slices.Contains(dataCenterEvents, e) }) {
			fail(http.StatusBadRequest, "At least one of the events is not known")
			return
		}
		set := func(k *Hook) {
			k.Name, k.URL, k.Active, k.Events = in.Name, in.URL, in.Active, in.Events
			k.Form = false // there are none
			if in.Configuration.Secret != nil {
				k.Secret = *in.Configuration.Secret
			}
		}
		if there {
			k, _ := v.s.changeHook(key, id, set)
			v.say(200, show(k))
			return
		}
		var k Hook
		set(&k)
		k, _ = v.s.makeHook(key, k, nil) // any number for an address
		v.say(http.StatusCreated, show(k))
	case !there:
		fail(http.StatusNotFound, "No webhook with that ID exists.")
	case v.r.Method == "GET":
		v.say(200, show(known))
	case v.r.Method == "DELETE":
		v.s.dropHook(key, id)
		v.say(http.StatusNoContent, nil)
	}
}

func dataCenterUser(p Person) object {
	return object{"id": p.ID, "name": p.Login, "slug": strings.ToLower(p.Login), "displayName": p.Name, "emailAddress": p.Login + "@example.com", "active": true, "type": "NORMAL"}
}

func (s *Server) dataCenterRepository(r *repository) object {
	name := s.nameOf(r)
	key, slug, _ := strings.Cut(name, "/")
	project := object{"key": key, "name": key, "type": "NORMAL"}
	if login, ok := strings.CutPrefix(key, "~"); ok {
		project["type"], project["owner"] = "PERSONAL", dataCenterUser(s.Person(login))
	}
	return object{
		"slug": slug, "id": r.id, "name": slug, "scmId": "git", "state": "AVAILABLE", "public": r.public, "project": project, "forkable": true,
		"links": object{"clone": []object{{"href": s.URL + "/scm/" + name + ".git", "name": "http"}}, "self": []object{{"href": s.URL + "/projects/" + key + "/repos/" + slug + "/browse"}}},
	}
}

func dataCenterCommit(c revision) object {
	parents := []object{}
	for _, p := range c.parents {
		parents = append(parents, object{"id": p, "displayId": p[:11]})
	}
	who := object{"name": c.author, "emailAddress": c.email}
	return object{
		"id": c.id, "displayId": c.id[:11], "author": who, "authorTimestamp": c.at.UnixMilli(), "committer": who, "committerTimestamp": c.at.UnixMilli(), "message": c.message, "parents": parents,
	}
}

func (s *Server) dataCenterPull(r *repository, p *Pull) object {
	side := func(r *repository, branch, sha string) object {
		out := object{"id": "refs/heads/" + branch, "displayId": branch, "latestCommit": sha, "type": "BRANCH"}
		if r != nil { // else it is gone
			out["repository"] = s.dataCenterRepository(r)
		}
		return out
	}
	out := object{
		"id": p.Number, "version": 1, "title": p.Title, "description": p.Body, "state": map[string]string{"open": "OPEN", "closed": "DECLINED", "merged": "MERGED"}[p.State],
		"open": p.State == "open", "closed": p.State != "open", "draft": false, "locked": false, "createdDate": p.Opened.UnixMilli(), "updatedDate": p.Changed.UnixMilli(),
		"fromRef": side(s.source(r, p), p.Head, p.SHA), "toRef": side(r, p.Base, p.BaseSHA),
		"author":    object{"user": dataCenterUser(s.Person(p.Author)), "role": "AUTHOR", "approved": false, "status": "UNAPPROVED"},
		"reviewers": []object{}, "participants": []object{}, "links": object{"self": []any{nil}},
	}
	if p.Merge != "" {
		out["properties"] = object{"mergeCommit": object{"id": p.Merge, "displayId": p.Merge[:11]}}
		out["closedDate"] = p.Changed.UnixMilli()
	}
	return out
}

// signDataCenter sets the headers of the server's deliveries.
// Source: Bitbucket Data Center, "Event payload" and "Manage webhooks".
func signDataCenter(_ *Server, secret string, d *Delivery) {
	h := d.Header
	h.Set("User-Agent", "Atlassian HttpClient 4.2.0 / Bitbucket-8.19.0 (8019000) / Default")
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Event-Key", d.Event)
	h.Set("X-Request-Id", d.GUID)
	if secret != "" {
		h.Set("X-Hub-Signature", "sha256="+sign256(secret, d.Body))
	}
}

// tellDataCenter says what a hook at Bitbucket Data Center is told. That a pull
// request was opened again is not told, and there are no releases.
// Source: Bitbucket Data Center, "Event payload".
func tellDataCenter(s *Server, k Hook, h happening) []message {
	if h.repo == nil {
		return nil
	}
	body := object{"date": h.at.Format("2006-01-02T15:04:05-0700"), "actor": dataCenterUser(h.actor)}
	event := ""
	switch h.what {
	case pushed:
		event = "repo:refs_changed"
		s.dataCenterPush(body, h)
	case pulled:
		event = map[string]string{opened: "pr:opened", updated: "pr:from_ref_updated", edited: "pr:modified", merged: "pr:merged", closed: "pr:declined"}[h.action]
		body["pullRequest"] = s.dataCenterPull(h.repo, h.pull)
		switch h.action {
		case updated:
			body["previousFromHash"] = h.before
		case edited:
			body["previousTitle"], body["previousDescription"] = "Another title", nil
		}
	case noted:
		event = "pr:comment:added"
		if h.note.Edited {
			event, body["previousComment"] = "pr:comment:edited", "Another text"
		}
		body["pullRequest"] = s.dataCenterPull(h.repo, h.pull)
		body["comment"] = object{
			"id": h.note.ID, "version": 0, "text": h.note.Text, "author": dataCenterUser(h.note.Author), "createdDate": h.at.UnixMilli(), "updatedDate": h.at.UnixMilli(),
			"comments": []object{}, "tasks": []object{}, "severity": "NORMAL", "state": "OPEN",
		}
	}
	if !slices.Contains(k.Events, event) {
		return nil
	}
	body["eventKey"] = event
	return []message{{event, body}}
}

// dataCenterPush adds what a push is told with.
func (s *Server) dataCenterPush(body object, h happening) {
	c := h.push
	kind, name := "BRANCH", strings.TrimPrefix(c.ref, "refs/heads/")
	if tag, ok := strings.CutPrefix(c.ref, "refs/tags/"); ok {
		kind, name = "TAG", tag
	}
	what := "UPDATE"
	if c.before == zeros {
		what = "ADD"
	} else if c.after == zeros {
		what = "DELETE"
	}
	body["repository"] = s.dataCenterRepository(h.repo)
	body["changes"] = []object{{"ref": object{"id": c.ref, "displayId": name, "type": kind}, "refId": c.ref, "fromHash": c.before, "toHash": c.after, "type": what}}
	if c.head != nil {
		body["toCommit"] = dataCenterCommit(*c.head)
	}
}
