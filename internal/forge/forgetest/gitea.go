package forgetest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Gitea is Gitea and Forgejo. Roles are read, write and admin.
// Source: Gitea's API, version 1.
var Gitea = below("/api/v1", Dialect{
	clone:   []string{"read:repository", "write:repository", "all"},
	push:    []string{"write:repository", "all"},
	pullRef: "refs/pull/%d/head",
	tell:    tellGitea, sign: signGitea,
}, gitea)

func gitea(v *visit) {
	fail := func(status int, message string) {
		v.say(status, object{"message": message, "url": v.s.URL + "/api/swagger"})
	}
	lacks := func(scope string) {
		fail(http.StatusForbidden, "token does not have at least one of required scope(s), required=["+scope+"], token scope="+strings.Join(v.token.Scopes, ","))
	}
	switch {
	case v.token == nil:
		fail(http.StatusUnauthorized, "invalid username, password or token")
		return
	case v.is("GET", "user"):
		if !v.has("read:user", "write:user", "all") {
			lacks("read:user")
			return
		}
		v.say(200, object{"id": v.token.id, "login": v.token.Login, "full_name": "", "email": v.token.Login + "@noreply.example.com"})
		return
	case v.is("GET", "repos", "search") && !v.has("read:repository", "write:repository", "all"):
		lacks("read:repository")
		return
	case v.is("GET", "repos", "search"):
		list := []object{}
		for _, r := range v.visible("") {
			if _, name, _ := strings.Cut(r.name, "/"); strings.Contains(strings.ToLower(name), strings.ToLower(v.r.URL.Query().Get("q"))) {
				list = append(list, v.s.giteaRepository(r))
			}
		}
		v.giteaPage(list)
		v.answer = object{"ok": true, "data": v.answer}
		return
	case len(v.path) > 2 && v.path[0] == "orgs" && v.path[2] == "hooks":
		verb := "write"
		if v.r.Method == "GET" {
			verb = "read"
		}
		if !v.has(verb+":organization", "write:organization", "all") {
			lacks(verb + ":organization")
			return
		}
		v.giteaHooks(ofOrganization+"/"+strings.ToLower(v.path[1]), v.path[3:], fail)
		return
	case len(v.path) < 3 || v.path[0] != "repos":
		fail(http.StatusNotFound, "The target couldn't be found.")
		return
	case v.r.Method == "GET" && !v.has("read:repository", "write:repository", "all"):
		lacks("read:repository")
		return
	case v.r.Method != "GET" && !v.has("write:repository", "all"):
		lacks("write:repository")
		return
	}
	r := v.sees(v.path[1] + "/" + v.path[2])
	switch {
	case r == nil:
		fail(http.StatusNotFound, "The target couldn't be found.")
	case v.is("GET", "repos", "*", "*"):
		v.say(200, v.s.giteaRepository(r))
	case len(v.path) > 3 && v.path[3] == "hooks":
		v.giteaHooks(hooksOf(r), v.path[4:], fail)
	case v.is("POST", "repos", "*", "*", "statuses", "*"):
		in, sha := v.body(), v.path[4]
		switch {
		case !v.commits(r, sha):
			fail(http.StatusNotFound, "object does not exist [id: "+sha+"]")
		case !slices.Contains([]string{"pending", "success", "error", "failure", "warning"}, in["state"]):
			fail(http.StatusBadRequest, "invalid state")
		case in["target_url"] != "" && !web(in["target_url"]):
			fail(http.StatusUnprocessableEntity, "target_url: invalid URL")
		default:
			v.keep(r, sha, in["state"], in["context"], in["description"], in["target_url"])
			v.say(http.StatusCreated, object{"id": 1, "status": in["state"], "context": in["context"], "description": in["description"], "target_url": in["target_url"]})
		}
	case v.r.Method == "GET":
		v.giteaRead(r, fail)
	default:
		fail(http.StatusNotFound, "The target couldn't be found.")
	}
}

// giteaRead answers what can be asked about a repository.
func (v *visit) giteaRead(r *repository, fail func(int, string)) {
	switch {
	case v.is("GET", "repos", "*", "*", "collaborators", "*", "permission"):
		p, ok := v.s.who(v.path[4])
		if !ok {
			fail(http.StatusNotFound, "user does not exist [uid: 0, name: "+v.path[4]+"]")
			return
		}
		role := v.s.role(r, p)
		if role == "" {
			role = "none"
		}
		if role == "none" && r.public {
			role = "read"
		}
		v.say(200, object{"permission": role, "role_name": role, "user": v.s.giteaUser(p)})
	case v.is("GET", "repos", "*", "*", "branches"), v.is("GET", "repos", "*", "*", "tags"):
		prefix := "refs/heads/"
		if v.path[3] == "tags" {
			prefix = "refs/tags/"
		}
		names, ids := v.s.named(r, prefix)
		list := []object{}
		for _, n := range names {
			if v.path[3] == "tags" {
				list = append(list, object{"name": n, "message": "", "id": ids[n], "commit": object{"sha": ids[n], "url": v.s.URL, "created": giteaTime(v.s.started)}})
			} else {
				list = append(list, object{"name": n, "commit": object{"id": ids[n], "message": ""}, "protected": false})
			}
		}
		v.giteaPage(list)
	case v.is("GET", "repos", "*", "*", "git", "commits", "*"):
		if list := v.s.log(r, "-1", v.path[5]); len(list) == 1 {
			v.say(200, v.s.giteaCommit(r, list[0]))
		} else {
			fail(http.StatusNotFound, "object does not exist [id: "+v.path[5]+", rel_path: ]")
		}
	case v.is("GET", "repos", "*", "*", "compare", "*"):
		from, to, ok := strings.Cut(v.path[4], "...")
		a, b := v.s.resolve(r, from), v.s.resolve(r, to)
		if !ok || a == "" || b == "" {
			fail(http.StatusNotFound, "The target couldn't be found.")
			return
		}
		list := []object{}
		for _, c := range v.s.log(r, b, "^"+a) {
			list = append(list, v.s.giteaCommit(r, c))
		}
		v.say(200, object{"total_commits": len(list), "commits": list})
	case v.is("GET", "repos", "*", "*", "pulls"):
		list := []object{}
		for _, p := range v.open(r) {
			list = append(list, v.s.giteaPull(r, &p))
		}
		v.giteaPage(list)
	case len(v.path) > 4 && v.path[3] == "pulls":
		p, ok := v.pull(r, v.path[4])
		switch {
		case !ok:
			fail(http.StatusNotFound, "The target couldn't be found.")
		case len(v.path) == 5:
			v.say(200, v.s.giteaPull(r, &p))
		case v.is("GET", "repos", "*", "*", "pulls", "*", "files"):
			list := []object{}
			for _, d := range v.s.differ(r, p.BaseSHA, p.SHA) {
				one := object{"filename": d.path, "status": map[string]string{"added": "added", "removed": "deleted", "modified": "changed", "renamed": "renamed"}[d.status], "additions": 1, "deletions": 0, "changes": 1}
				if d.old != "" {
					one["previous_filename"] = d.old
				}
				list = append(list, one)
			}
			v.giteaPage(list)
		default:
			fail(http.StatusNotFound, "The target couldn't be found.")
		}
	default:
		fail(http.StatusNotFound, "The target couldn't be found.")
	}
}

// giteaPage answers with a page of a list. A page has at most 50 entries,
// whatever was asked for.
func (v *visit) giteaPage(list []object) {
	size, n := min(max(v.number("limit", 30), 1), 50), max(v.number("page", 1), 1)
	part, more := window(list, (n-1)*size, size)
	h := v.w.Header()
	h.Set("X-Total-Count", strconv.Itoa(len(list)))
	if more {
		q := v.r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		h.Set("Link", "<"+v.s.URL+v.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	}
	v.say(200, part)
}

// giteaHooks answers about hooks; rest is the path after theirs.
func (v *visit) giteaHooks(key string, rest []string, fail func(int, string)) {
	show := func(k Hook) object {
		return object{
			"id": k.ID, "type": "gitea", "branch_filter": "", "config": object{"url": k.URL, "content_type": "json"}, "events": k.Events, "authorization_header": "", "active": k.Active,
			"updated_at": giteaTime(k.Created), "created_at": giteaTime(k.Created),
		}
	}
	if len(rest) == 0 && v.r.Method == "GET" {
		list := []object{}
		for _, k := range v.s.hooksAt(key) {
			list = append(list, show(k))
		}
		v.giteaPage(list)
		return
	}
	id := int64(0)
	if len(rest) == 1 {
		id, _ = strconv.ParseInt(rest[0], 10, 64)
	}
	known, there := v.s.hookAt(key, id)
	switch {
	case len(rest) == 0 && v.r.Method == "POST", len(rest) == 1 && v.r.Method == "PATCH" && there:
		var in struct {
			Type   string
			Active *bool
			Config map[string]string
			Events []string
		}
		ok := v.into(&in)
		switch {
		case !ok || !there && in.Type != "gitea":
			fail(http.StatusUnprocessableEntity, "Invalid hook type: "+in.Type)
			return
		case !there && in.Config["url"] == "":
			fail(http.StatusUnprocessableEntity, "Missing config option: url")
			return
		case !there && in.Config["content_type"] == "":
			fail(http.StatusUnprocessableEntity, "Missing config option: content_type")
			return
		}
		set := func(k *Hook) {
			if text, ok := in.Config["url"]; ok {
				k.URL = text
			}
			if text, ok := in.Config["secret"]; ok {
				k.Secret = text
			}
			if text, ok := in.Config["content_type"]; ok {
				k.Form = text != "json"
			}
			if k.Events = in.Events; len(in.Events) == 0 {
				k.Events = []string{"push"}
			}
			if in.Active != nil {
				k.Active = *in.Active
			}
		}
		if there {
			k, _ := v.s.changeHook(key, id, set)
			v.say(200, show(k))
			return
		}
		var k Hook // not active unless asked for
		set(&k)
		k, _ = v.s.makeHook(key, k, nil) // any number for an address
		v.say(http.StatusCreated, show(k))
	case !there:
		fail(http.StatusNotFound, "The target couldn't be found.")
	case v.r.Method == "GET":
		v.say(200, show(known))
	case v.r.Method == "DELETE":
		v.s.dropHook(key, id)
		v.say(http.StatusNoContent, nil)
	}
}

func giteaTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *Server) giteaUser(p Person) object {
	return object{"id": p.ID, "login": p.Login, "login_name": "", "username": p.Login, "full_name": p.Name, "email": p.Login + "@noreply.example.com", "html_url": s.URL + "/" + p.Login}
}

func (s *Server) giteaRepository(r *repository) object {
	name := s.nameOf(r)
	owner, _ := s.owner(name)
	return object{
		"id": r.id, "owner": s.giteaUser(owner), "name": name[strings.Index(name, "/")+1:], "full_name": name, "private": !r.public, "fork": r.parent != "", "empty": false, "archived": false,
		"html_url": s.URL + "/" + name, "url": s.URL + "/api/v1/repos/" + name, "clone_url": s.URL + "/" + name + ".git", "ssh_url": "git@gitea.example.com:" + name + ".git",
		"default_branch": "main", "permissions": object{"admin": true, "push": true, "pull": true},
	}
}

func (s *Server) giteaCommit(r *repository, c revision) object {
	files := []object{}
	for status, list := range map[string][]string{"added": c.added, "removed": c.removed, "modified": c.modified} {
		for _, path := range list {
			files = append(files, object{"filename": path, "status": status})
		}
	}
	who := object{"name": c.author, "email": c.email, "date": giteaTime(c.at)}
	return object{
		"sha": c.id, "created": giteaTime(c.at), "url": s.URL + "/api/v1/repos/" + s.nameOf(r) + "/git/commits/" + c.id, "html_url": s.URL + "/" + s.nameOf(r) + "/commit/" + c.id,
		"commit": object{"message": c.message, "author": who, "committer": who}, "author": nil, "committer": nil, "files": files,
	}
}

// giteaPull shows a pull request, in the API as in deliveries.
func (s *Server) giteaPull(r *repository, p *Pull) object {
	side := func(r *repository, branch, sha string) object {
		if r == nil { // it is gone
			return object{"label": branch, "ref": branch, "sha": sha, "repo_id": -1, "repo": nil}
		}
		return object{"label": branch, "ref": branch, "sha": sha, "repo_id": r.id, "repo": s.giteaRepository(r)}
	}
	state := p.State
	if state == "merged" {
		state = "closed"
	}
	out := object{
		"id": p.ID, "url": fmt.Sprintf("%s/%s/pulls/%d", s.URL, s.nameOf(r), p.Number), "html_url": fmt.Sprintf("%s/%s/pulls/%d", s.URL, s.nameOf(r), p.Number), "number": p.Number, "user": s.giteaUser(s.Person(p.Author)),
		"title": p.Title, "body": p.Body, "labels": []object{}, "state": state, "draft": false, "is_locked": false, "comments": 0, "mergeable": true, "merged": p.Merge != "", "merged_at": nil,
		"merge_commit_sha": nil, "merged_by": nil, "head": side(s.source(r, p), p.Head, p.SHA), "base": side(r, p.Base, p.BaseSHA), "merge_base": p.BaseSHA,
		"created_at": giteaTime(p.Opened), "updated_at": giteaTime(p.Changed), "closed_at": nil,
	}
	if p.State != "open" {
		out["closed_at"] = giteaTime(p.Changed)
	}
	if p.Merge != "" {
		out["merge_commit_sha"], out["merged_at"], out["merged_by"] = p.Merge, giteaTime(p.Changed), s.giteaUser(s.Person(p.MergeBy))
	}
	return out
}

// signGitea sets the headers of Gitea's deliveries, which are also those of
// Gogs and of GitHub. Beside the event they name a finer type of it.
// Source: Gitea, services/webhook.
func signGitea(_ *Server, secret string, d *Delivery) {
	h := d.Header
	kind := d.Event
	if d.Event == "issue_comment" {
		kind = "pull_request_comment" // others are not told of
	} else if bytes.Contains(d.json, []byte(`"action":"synchronized"`)) {
		kind = "pull_request_sync"
	}
	hex := ""
	if secret != "" {
		hex = sign256(secret, d.Body)
		h.Set("X-Hub-Signature-256", "sha256="+hex)
	}
	for _, brand := range []string{"Gitea", "Gogs", "GitHub"} {
		h.Set("X-"+brand+"-Delivery", d.GUID)
		h.Set("X-"+brand+"-Event", d.Event)
		h.Set("X-"+brand+"-Event-Type", kind)
		if brand != "GitHub" {
			h.Set("X-"+brand+"-Signature", hex) // empty without a secret
		}
	}
	h.Set("User-Agent", "Go-http-client/1.1")
}

// tellGitea says what a hook at Gitea is told. Who asks for pull_request is
// told of all that happens to one.
// Source: Gitea, "Webhooks", and its modules structs and webhook.
func tellGitea(s *Server, k Hook, h happening) []message {
	if h.repo == nil {
		return nil
	}
	var all []message
	repo, sender := s.giteaRepository(h.repo), s.giteaUser(h.actor)
	add := func(event string, wanted []string, body object) {
		if slices.ContainsFunc(wanted, func(e string) bool { return slices.Contains(k.Events, e) }) {
			body["repository"], body["sender"] = repo, sender
			all = append(all, message{event, body})
		}
	}
	switch h.what {
	case pushed:
		kind, name := "branch", strings.TrimPrefix(h.push.ref, "refs/heads/")
		if tag, ok := strings.CutPrefix(h.push.ref, "refs/tags/"); ok {
			kind, name = "tag", tag
		}
		if h.push.after == zeros {
			add("delete", []string{"delete"}, object{"ref": name, "ref_type": kind, "pusher_type": "user"})
			return all
		}
		add("push", []string{"push"}, s.giteaPush(h))
		if h.push.before == zeros {
			add("create", []string{"create"}, object{"sha": h.push.after, "ref": name, "ref_type": kind})
		}
	case pulled:
		body := object{"action": map[string]string{opened: "opened", updated: "synchronized", edited: "edited", closed: "closed", merged: "closed", reopened: "reopened"}[h.action], "number": h.pull.Number, "pull_request": s.giteaPull(h.repo, h.pull), "requested_reviewer": nil, "commit_id": "", "review": nil}
		switch h.action {
		case updated:
			add("pull_request", []string{"pull_request", "pull_request_sync"}, body)
		case edited:
			body["changes"] = object{"title": object{"from": "Another title"}}
			add("pull_request", []string{"pull_request", "pull_request_only"}, body)
		default:
			add("pull_request", []string{"pull_request", "pull_request_only"}, body)
		}
	case noted:
		body := object{
			"action": "created", "is_pull": true, "pull_request": s.giteaPull(h.repo, h.pull),
			"issue": object{"id": h.pull.ID, "number": h.pull.Number, "title": h.pull.Title, "state": map[bool]string{true: "open", false: "closed"}[h.pull.State == "open"], "user": s.giteaUser(s.Person(h.pull.Author)), "pull_request": object{"merged": h.pull.Merge != "", "merged_at": nil, "draft": false}},
			"comment": object{
				"id": h.note.ID, "body": h.note.Text, "user": s.giteaUser(h.note.Author), "created_at": giteaTime(h.at), "updated_at": giteaTime(h.at), "issue_url": "",
				"pull_request_url": fmt.Sprintf("%s/%s/pulls/%d", s.URL, s.nameOf(h.repo), h.pull.Number),
			},
		}
		if h.note.Edited {
			body["action"], body["changes"] = "edited", object{"body": object{"from": "Another text"}}
		}
		add("issue_comment", []string{"pull_request", "pull_request_comment"}, body)
	case release:
		r := h.release
		add("release", []string{"release"}, object{"action": "published", "release": object{
			"id": r.ID, "tag_name": r.Tag, "target_commitish": "main", "name": r.Name, "body": r.Body, "draft": false, "prerelease": r.Prerelease, "author": sender,
			"created_at": giteaTime(h.at), "published_at": giteaTime(h.at), "html_url": s.URL + "/" + s.nameOf(h.repo) + "/releases/tag/" + r.Tag, "assets": []object{},
		}})
	}
	return all
}

// giteaPush is the body of a push, with the newest five commits.
// Source: Gitea, "Configuration Cheat Sheet", ui.FEED_MAX_COMMIT_NUM.
func (s *Server) giteaPush(h happening) object {
	c := h.push
	show := func(v revision) object {
		who := object{"name": v.author, "email": v.email, "username": ""}
		return object{
			"id": v.id, "message": v.message, "url": s.URL + "/" + s.nameOf(h.repo) + "/commit/" + v.id, "author": who, "committer": who, "verification": nil, "timestamp": giteaTime(v.at),
			"added": v.added, "removed": v.removed, "modified": v.modified,
		}
	}
	commits := []object{}
	for _, v := range slices.Backward(c.commits) { // the newest first
		if len(commits) < 5 {
			commits = append(commits, show(v))
		}
	}
	return object{
		"ref": c.ref, "before": c.before, "after": c.after, "compare_url": s.URL + "/" + s.nameOf(h.repo) + "/compare/" + c.before + "..." + c.after, "commits": commits,
		"total_commits": len(c.commits), "head_commit": show(*c.head), "pusher": s.giteaUser(h.actor),
	}
}
