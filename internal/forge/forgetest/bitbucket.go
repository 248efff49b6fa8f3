package forgetest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bitbucket is Bitbucket Cloud. A token with an Email is an API token, which
// wants that as its user name in the API and the login or
// x-bitbucket-api-token-auth in git; one that is a Bot is an access token; any
// other is an app password. Roles are read, write and admin.
// Source: Bitbucket Cloud REST API and "Using API tokens".
var Bitbucket = below("/2.0", Dialect{
	clone: []string{"repository", "repository:read", "repository:write", "read:repository:bitbucket"},
	push:  []string{"repository:write", "write:repository:bitbucket"},
	gitUser: func(t *token, user string) bool {
		switch {
		case t.Bot, t.OAuth:
			return user == "x-token-auth"
		case t.Email != "":
			return user == t.Login || user == "x-bitbucket-api-token-auth"
		}
		return user == t.Login
	},
	tell: tellBitbucket, sign: signBitbucket,
}, bitbucket)

// bitbucketFail answers with Bitbucket's error document.
func (v *visit) bitbucketFail(status int, message string, detail any) {
	e := object{"message": message}
	if detail != nil {
		e["detail"] = detail
	}
	v.say(status, object{"type": "error", "error": e})
}

func bitbucket(v *visit) {
	fail := v.bitbucketFail
	if user, _, basic := v.r.BasicAuth(); v.token != nil {
		want := v.token.Login
		if v.token.Email != "" {
			want = v.token.Email
		}
		if basic == (v.token.Bot || v.token.OAuth) || basic && user != want {
			v.token = nil
		}
	}
	if v.token == nil {
		fail(http.StatusUnauthorized, "Token is invalid, expired, or not supported for this endpoint.", nil)
		return
	}
	kind := "apppassword"
	if v.token.Bot {
		kind = "repo_access_token"
	} else if v.token.OAuth {
		kind = "oauth2"
	} else if v.token.Email != "" {
		kind = "apitoken"
	}
	v.w.Header().Set("X-Credential-Type", kind)
	v.w.Header().Set("X-OAuth-Scopes", strings.Join(v.token.Scopes, ", "))
	lacks := func(required ...string) {
		v.w.Header().Set("X-Accepted-OAuth-Scopes", strings.Join(required, ", "))
		fail(http.StatusForbidden, "Your credentials lack one or more required privilege scopes.", object{"required": required, "granted": v.token.Scopes})
	}
	reads := v.has("repository", "repository:read", "repository:write", "repository:admin", "read:repository:bitbucket")
	switch {
	case v.is("GET", "user") && (v.token.Bot || !v.has("account", "account:read", "read:user:bitbucket")):
		lacks("account")
	case v.is("GET", "user"):
		p, _ := v.s.whose(v.token.id)
		v.say(200, v.s.bitbucketUser(p))
		v.answer.(object)["username"] = v.token.Login
	case v.is("GET", "user", "workspaces") && (v.token.Bot || !v.has("account", "account:read", "read:user:bitbucket")):
		lacks("account")
	case v.is("GET", "user", "workspaces"):
		slugs := map[string]bool{}
		list := []object{}
		for _, r := range v.visible("") {
			slug, _, _ := strings.Cut(r.name, "/")
			if !slugs[slug] {
				list = append(list, object{"type": "workspace_access", "administrator": true, "workspace": object{"type": "workspace_base", "slug": slug, "uuid": "{" + slug + "}"}})
			}
			slugs[slug] = true
		}
		v.bitbucketPage(list)
	case v.is("GET", "repositories", "*"):
		v.bitbucketRepositories()
	case v.is("GET", "workspaces", "*", "permissions", "repositories", "*"):
		if r := v.sees(v.path[1] + "/" + v.path[4]); r == nil {
			fail(http.StatusNotFound, "Repository not found", nil)
		} else if !v.has("repository:admin", "account", "read:repository:bitbucket", "repository", "repository:write") {
			lacks("repository:admin")
		} else {
			v.bitbucketPermissions(r)
		}
	case len(v.path) < 3 || v.path[0] != "repositories":
		fail(http.StatusNotFound, "Resource not found", nil)
	case len(v.path) > 3 && v.path[3] == "hooks":
		verb := map[string]string{"GET": "read", "DELETE": "delete"}[v.r.Method]
		if verb == "" {
			verb = "write"
		}
		switch r := v.sees(v.path[1] + "/" + v.path[2]); {
		case !v.has("webhook", verb+":webhook:bitbucket"):
			lacks("webhook")
		case r == nil:
			fail(http.StatusNotFound, "Repository not found", nil)
		default:
			v.bitbucketHooks(r)
		}
	case !reads:
		lacks("repository")
	case v.sees(v.path[1]+"/"+v.path[2]) == nil:
		fail(http.StatusNotFound, "You may not have access to this repository or it no longer exists in this workspace. If you think this repository exists and you have access, make sure you are authenticated.", nil)
	case len(v.path) > 3 && v.path[3] == "pullrequests" && !v.has("pullrequest", "pullrequest:read", "pullrequest:write", "read:pullrequest:bitbucket"):
		lacks("pullrequest")
	case len(v.path) > 3 && v.path[3] == "pullrequests":
		v.bitbucketPulls(v.sees(v.path[1] + "/" + v.path[2]))
	case v.is("GET", "repositories", "*", "*"):
		v.say(200, v.s.bitbucketRepository(v.sees(v.path[1]+"/"+v.path[2])))
	case v.is("GET", "repositories", "*", "*", "diffstat", "*"):
		v.bitbucketDiffstat(v.sees(v.path[1] + "/" + v.path[2]))
	case v.is("GET", "repositories", "*", "*", "refs"), v.is("GET", "repositories", "*", "*", "refs", "branches"):
		v.bitbucketRefs(v.sees(v.path[1] + "/" + v.path[2]))
	case v.is("GET", "repositories", "*", "*", "commit", "*"):
		r := v.sees(v.path[1] + "/" + v.path[2])
		if list := v.s.log(r, "-1", v.path[4]); len(list) == 1 {
			v.say(200, v.s.bitbucketCommit(r, list[0]))
		} else {
			fail(http.StatusNotFound, "Commit not found", object{"shas": []string{v.path[4]}})
		}
	case v.is("POST", "repositories", "*", "*", "commit", "*", "statuses", "build"):
		r, in := v.sees(v.path[1]+"/"+v.path[2]), v.body()
		switch {
		case !v.commits(r, v.path[4]):
			fail(http.StatusNotFound, "Commit not found", nil)
		case !slices.Contains([]string{"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"}, in["state"]):
			fail(http.StatusBadRequest, "Bad request", object{"state": "Unsupported state"})
		case in["key"] == "" || len([]rune(in["key"])) > 40:
			fail(http.StatusBadRequest, "key: Ensure this value has at most 40 characters", nil)
		case !web(in["url"]):
			fail(http.StatusBadRequest, "url: Enter a valid URL.", nil)
		default:
			v.keep(r, v.path[4], in["state"], in["name"], in["description"], in["url"])
			v.say(http.StatusCreated, object{"type": "build", "key": in["key"], "state": in["state"], "name": in["name"], "url": in["url"], "description": in["description"]})
		}
	default:
		fail(http.StatusNotFound, "Resource not found", nil)
	}
}

// bitbucketPage answers with a page of a list.
func (v *visit) bitbucketPage(list []object) {
	size, n := v.number("pagelen", 10), max(v.number("page", 1), 1)
	most := 100
	if len(v.path) == 4 && v.path[3] == "pullrequests" {
		most = 50
	}
	if size < 1 || size > most {
		v.bitbucketFail(http.StatusBadRequest, "Invalid pagelen", nil)
		return
	}
	part, more := window(list, (n-1)*size, size)
	out := object{"values": part, "pagelen": size, "page": n, "size": len(list)}
	if more {
		q := v.r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		out["next"] = v.s.URL + v.r.URL.EscapedPath() + "?" + q.Encode()
	}
	v.say(200, out)
}

// condition reads a query of one comparison, such as name="main".
func condition(q, operator string) (field, value string, ok bool) {
	field, value, ok = strings.Cut(q, operator)
	value, err := strconv.Unquote(value)
	return field, value, ok && err == nil
}

func (v *visit) bitbucketRepositories() {
	part := ""
	if q := v.r.URL.Query().Get("q"); q != "" {
		field, value, ok := condition(q, "~")
		if !ok || field != "name" {
			v.bitbucketFail(http.StatusBadRequest, "Invalid query", nil)
			return
		}
		part = value
	}
	list := []object{}
	for _, r := range v.visible("") {
		workspace, slug, _ := strings.Cut(r.name, "/")
		if workspace == v.path[1] && strings.Contains(strings.ToLower(slug), strings.ToLower(part)) {
			list = append(list, v.s.bitbucketRepository(r))
		}
	}
	v.bitbucketPage(list)
}

func (v *visit) bitbucketPermissions(r *repository) {
	field, want, ok := "", "", true
	if q := v.r.URL.Query().Get("q"); q != "" {
		if field, want, ok = condition(q, "="); !ok || field != "user.account_id" && field != "user.uuid" {
			v.bitbucketFail(http.StatusBadRequest, "Invalid query", nil)
			return
		}
	}
	list := []object{}
	for _, id := range v.s.members(r) {
		p, ok := v.s.whose(id)
		if !ok || field == "user.account_id" && p.Account != want || field == "user.uuid" && bitbucketID(id) != want {
			continue
		}
		list = append(list, object{"type": "repository_permission", "permission": v.s.role(r, p), "user": v.s.bitbucketUser(p), "repository": v.s.bitbucketRepository(r)})
	}
	v.bitbucketPage(list)
}

// bitbucketEvents are the names of events that a hook may have, of those that
// concern code.
// Source: Bitbucket Cloud, "Event payloads".
var bitbucketEvents = []string{
	"repo:push", "repo:fork", "repo:updated", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected",
	"pullrequest:approved", "pullrequest:comment_created", "pullrequest:comment_updated", "pullrequest:comment_deleted",
}

func (v *visit) bitbucketHooks(r *repository) {
	key := hooksOf(r)
	show := func(k Hook) object {
		return object{
			"type": "webhook_subscription", "uuid": bitbucketID(k.ID), "description": k.Name, "url": k.URL, "active": k.Active, "events": k.Events,
			"secret_set": k.Secret != "", "subject_type": "repository", "created_at": bitbucketTime(k.Created), "skip_cert_verification": false,
			"links": object{"self": object{"href": v.s.URL + "/2.0/repositories/" + v.s.nameOf(r) + "/hooks/" + url.PathEscape(bitbucketID(k.ID))}},
		}
	}
	if len(v.path) == 4 && v.r.Method == "GET" {
		list := []object{}
		for _, k := range v.s.hooksAt(key) {
			list = append(list, show(k))
		}
		v.bitbucketPage(list)
		return
	}
	id := int64(0)
	if len(v.path) == 5 {
		for _, k := range v.s.hooksAt(key) {
			if bitbucketID(k.ID) == v.path[4] {
				id = k.ID
			}
		}
	}
	known, there := v.s.hookAt(key, id)
	switch {
	case len(v.path) == 4 && v.r.Method == "POST", len(v.path) == 5 && v.r.Method == "PUT" && there:
		var in struct {
			Description, URL string
			Secret           *string
			Active           bool
			Events           []string
		}
		ok := v.into(&in)
		switch {
		case !ok || !web(in.URL):
			v.bitbucketFail(http.StatusBadRequest, "Bad request", object{"url": "Enter a valid URL."})
			return
		case len(in.Events) == 0 || slices.ContainsFunc(in.Events, func(e string) bool { return !slices.Contains(bitbucketEvents, e) }):
			v.bitbucketFail(http.StatusBadRequest, "Bad request", object{"events": "Select at least one valid event."})
			return
		}
		set := func(k *Hook) {
			k.Name, k.URL, k.Active, k.Events = in.Description, in.URL, in.Active, in.Events
			k.Form = false // there are none
			if in.Secret != nil {
				k.Secret = *in.Secret
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
		v.bitbucketFail(http.StatusNotFound, "Webhook not found", nil)
	case v.r.Method == "GET":
		v.say(200, show(known))
	case v.r.Method == "DELETE":
		v.s.dropHook(key, id)
		v.say(http.StatusNoContent, nil)
	}
}

func (v *visit) bitbucketPulls(r *repository) {
	if v.is("GET", "repositories", "*", "*", "pullrequests") {
		list := []object{}
		for _, p := range v.open(r) {
			list = append(list, v.s.bitbucketPull(r, &p))
		}
		v.bitbucketPage(list)
		return
	}
	p, ok := v.pull(r, v.path[4])
	switch {
	case !ok:
		v.bitbucketFail(http.StatusNotFound, "Pull request not found", nil)
	case v.is("GET", "repositories", "*", "*", "pullrequests", "*"):
		v.say(200, v.s.bitbucketPull(r, &p))
	case v.is("GET", "repositories", "*", "*", "pullrequests", "*", "commits"):
		list := []object{}
		for _, c := range v.s.log(r, p.SHA, "^"+p.BaseSHA) {
			list = append(list, v.s.bitbucketCommit(r, c))
		}
		v.bitbucketPage(list)
	case v.is("GET", "repositories", "*", "*", "pullrequests", "*", "diffstat"):
		q := v.r.URL.Query()
		q.Set("topic", "true")
		q.Set("from_pullrequest_id", v.path[4])
		v.w.Header().Set("Location", v.s.URL+"/2.0/repositories/"+v.s.nameOf(r)+"/diffstat/"+p.SHA+".."+p.BaseSHA+"?"+q.Encode())
		v.say(http.StatusFound, object{})
	default:
		v.bitbucketFail(http.StatusNotFound, "Resource not found", nil)
	}
}

// bitbucketDiffstat compares: the source is the first of the two commits.
func (v *visit) bitbucketDiffstat(r *repository) {
	source, target, ok := strings.Cut(v.path[4], "..")
	a, b := v.s.resolve(r, source), v.s.resolve(r, target)
	if !ok || a == "" || b == "" {
		v.bitbucketFail(http.StatusNotFound, "Commit not found", nil)
		return
	}
	changes := v.s.differ(r, b, a)
	if v.r.URL.Query().Get("topic") == "false" {
		changes = v.s.differences(r, b, a)
	}
	list := []object{}
	for _, d := range changes {
		side := func(path string) object { return object{"type": "commit_file", "path": path} }
		one := object{"type": "diffstat", "status": d.status, "lines_added": 1, "lines_removed": 0, "old": side(d.path), "new": side(d.path)}
		switch d.status {
		case "added":
			one["old"] = nil
		case "removed":
			one["new"] = nil
		case "renamed":
			one["old"] = side(d.old)
		}
		list = append(list, one)
	}
	v.bitbucketPage(list)
}

func (v *visit) bitbucketRefs(r *repository) {
	only := ""
	if q := v.r.URL.Query().Get("q"); q != "" {
		field, value, ok := condition(q, "=")
		if !ok || field != "name" {
			v.bitbucketFail(http.StatusBadRequest, "Invalid query", nil)
			return
		}
		only = value
	}
	list := []object{}
	for _, kind := range []struct{ kind, prefix string }{{"branch", "refs/heads/"}, {"tag", "refs/tags/"}} {
		names, ids := v.s.named(r, kind.prefix)
		for _, n := range names {
			if (only == "" || only == n) && (kind.kind == "branch" || len(v.path) == 4) {
				list = append(list, object{"type": kind.kind, "name": n, "target": object{"type": "commit", "hash": ids[n]}})
			}
		}
	}
	v.bitbucketPage(list)
}

// bitbucketID is a uuid as Bitbucket writes it.
func bitbucketID(id int64) string { return fmt.Sprintf("{00000000-0000-4000-8000-%012d}", id) }

func bitbucketTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func (s *Server) bitbucketUser(p Person) object {
	return object{"type": "user", "uuid": bitbucketID(p.ID), "account_id": p.Account, "nickname": p.Login, "display_name": p.Name, "links": object{}}
}

func (s *Server) bitbucketRepository(r *repository) object {
	name := s.nameOf(r)
	workspace, slug, _ := strings.Cut(name, "/")
	return object{
		"type": "repository", "uuid": bitbucketID(r.id), "full_name": name, "name": slug, "slug": slug, "is_private": !r.public, "scm": "git",
		"mainbranch": object{"type": "branch", "name": "main"}, "workspace": object{"type": "workspace", "slug": workspace, "name": workspace, "uuid": "{" + workspace + "}"},
		"links": object{"html": object{"href": "https://bitbucket.org/" + name}},
	}
}

func (s *Server) bitbucketCommit(r *repository, c revision) object {
	parents := []object{}
	for _, p := range c.parents {
		parents = append(parents, object{"type": "commit", "hash": p})
	}
	return object{
		"type": "commit", "hash": c.id, "message": c.message, "date": c.at.Format(time.RFC3339), "parents": parents,
		"author": object{"type": "author", "raw": c.author + " <" + c.email + ">"}, "summary": object{"raw": c.message},
		"links": object{"html": object{"href": "https://bitbucket.org/" + s.nameOf(r) + "/commits/" + c.id}},
	}
}

// bitbucketPull shows a pull request. Commits are cut to 12 digits.
func (s *Server) bitbucketPull(r *repository, p *Pull) object {
	brief := func(r *repository) any {
		if r == nil {
			return nil // it is gone
		}
		return object{"type": "repository", "uuid": bitbucketID(r.id), "full_name": s.nameOf(r), "name": strings.SplitN(s.nameOf(r), "/", 2)[1], "links": object{}}
	}
	short := func(sha string) object { return object{"type": "commit", "hash": sha[:12]} }
	merge := any(nil)
	if p.Merge != "" {
		merge = short(p.Merge)
	}
	out := object{
		"type": "pullrequest", "id": p.Number, "title": p.Title, "description": p.Body, "author": s.bitbucketUser(s.Person(p.Author)),
		"state":       map[string]string{"open": "OPEN", "closed": "DECLINED", "merged": "MERGED"}[p.State],
		"source":      object{"branch": object{"name": p.Head}, "commit": short(p.SHA), "repository": brief(s.source(r, p))},
		"destination": object{"branch": object{"name": p.Base}, "commit": short(p.BaseSHA), "repository": brief(r)}, "merge_commit": merge,
		"close_source_branch": p.Close, "closed_by": nil, "reason": "", "created_on": bitbucketTime(p.Opened), "updated_on": bitbucketTime(p.Changed),
		"comment_count": 0, "task_count": 0, "reviewers": []object{}, "participants": []object{}, "links": object{},
	}
	if p.MergeBy != "" {
		out["closed_by"] = s.bitbucketUser(s.Person(p.MergeBy))
	}
	return out
}

// signBitbucket sets the headers of Bitbucket's deliveries.
// Source: Bitbucket Cloud, "Event payloads" and "Secure webhooks".
func signBitbucket(_ *Server, secret string, d *Delivery) {
	h := d.Header
	h.Set("User-Agent", "Bitbucket-Webhooks/2.0")
	h.Set("X-Event-Key", d.Event)
	h.Set("X-Hook-UUID", strings.Trim(bitbucketID(d.Hook), "{}"))
	h.Set("X-Request-UUID", d.GUID)
	h.Set("X-Attempt-Number", "1")
	if d.Again {
		h.Set("X-Attempt-Number", "2")
	}
	if secret != "" {
		h.Set("X-Hub-Signature", "sha256="+sign256(secret, d.Body))
	}
}

// tellBitbucket says what a hook at Bitbucket is told. A pull request that was
// declined cannot be opened again, and there are no releases.
// Source: Bitbucket Cloud, "Event payloads".
func tellBitbucket(s *Server, k Hook, h happening) []message {
	if h.repo == nil {
		return nil
	}
	body := object{"actor": s.bitbucketUser(h.actor), "repository": s.bitbucketRepository(h.repo)}
	event := ""
	switch h.what {
	case pushed:
		event = "repo:push"
		body["push"] = object{"changes": []object{s.bitbucketChange(h.repo, h.push)}}
	case pulled:
		event = map[string]string{
			opened: "pullrequest:created", updated: "pullrequest:updated", edited: "pullrequest:updated", merged: "pullrequest:fulfilled", closed: "pullrequest:rejected",
		}[h.action]
		body["pullrequest"] = s.bitbucketPull(h.repo, h.pull)
	case noted:
		event = "pullrequest:comment_created"
		if h.note.Edited {
			event = "pullrequest:comment_updated"
		}
		body["pullrequest"] = s.bitbucketPull(h.repo, h.pull)
		body["comment"] = object{
			"type": "pullrequest_comment", "id": h.note.ID, "content": object{"raw": h.note.Text, "markup": "markdown", "html": ""}, "user": s.bitbucketUser(h.note.Author),
			"created_on": bitbucketTime(h.at), "updated_on": bitbucketTime(h.at), "deleted": false,
		}
	}
	if !slices.Contains(k.Events, event) {
		return nil
	}
	return []message{{event, body}}
}

// bitbucketChange is what a push did to a ref, with at most five commits.
func (s *Server) bitbucketChange(r *repository, c *change) object {
	kind, name := "branch", strings.TrimPrefix(c.ref, "refs/heads/")
	if tag, ok := strings.CutPrefix(c.ref, "refs/tags/"); ok {
		kind, name = "tag", tag
	}
	at := func(sha string) any {
		list := s.log(r, "-1", sha)
		if sha == zeros || len(list) == 0 {
			return nil
		}
		return object{"type": kind, "name": name, "target": s.bitbucketCommit(r, list[0]), "links": object{}}
	}
	commits := []object{}
	for _, v := range slices.Backward(c.commits) { // the newest first
		if len(commits) < 5 {
			commits = append(commits, s.bitbucketCommit(r, v))
		}
	}
	return object{
		"old": at(c.before), "new": at(c.after), "created": c.before == zeros, "closed": c.after == zeros, "forced": c.forced,
		"commits": commits, "truncated": len(c.commits) > 5, "links": object{},
	}
}
