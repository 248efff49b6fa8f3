package forgetest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GitLab is gitlab.com and an installation of one's own. Roles are the numbers
// of access levels.
// Source: GitLab REST API, version 4.
var GitLab = below("/api/v4", Dialect{
	clone:   []string{"read_repository", "write_repository", "api"},
	push:    []string{"write_repository", "api"},
	pullRef: "refs/merge-requests/%d/head",
	tell:    tellGitLab, sign: signGitLab,
}, gitlab)

// GitLabSigning is a GitLab whose hooks can sign.
// Source: GitLab, merge requests 230944 and 231325.
var GitLabSigning = func() Dialect {
	d := GitLab
	d.keys = true
	return d
}()

func gitlab(v *visit) {
	if v.token == nil {
		v.say(http.StatusUnauthorized, object{"message": "401 Unauthorized"})
		if v.sent {
			v.answer = object{"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize from the user."}
		}
		return
	}
	v.w.Header().Set("RateLimit-Limit", "2000")
	v.w.Header().Set("RateLimit-Remaining", "1999")
	v.w.Header().Set("RateLimit-Reset", strconv.FormatInt(v.s.now().Add(time.Minute).Unix(), 10))
	lacks := func(scopes string) {
		v.say(http.StatusForbidden, object{"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token.", "scope": scopes})
	}
	role := v.token.Role
	if role == 0 {
		role = 40
	}
	v.etags = true
	find := func() *repository {
		r := v.sees(v.path[1])
		if id, err := strconv.ParseInt(v.path[1], 10, 64); err == nil {
			for _, x := range v.visible("") {
				if x.id == id {
					r = x
				}
			}
		}
		if r == nil {
			v.say(http.StatusNotFound, object{"message": "404 Project Not Found"})
		}
		return r
	}
	switch {
	case v.is("GET", "user"):
		if !v.has("api", "read_api", "read_user") {
			lacks("api read_api read_user")
			return
		}
		v.say(200, object{"id": v.token.id, "username": v.token.Login, "name": v.token.Login, "state": "active", "bot": v.token.Bot})
	case v.is("GET", "personal_access_tokens", "self"):
		if !v.has("api", "read_api", "self_rotate") {
			lacks("api read_api self_rotate")
			return
		}
		end := any(nil)
		if !v.token.Expires.IsZero() {
			end = v.token.Expires.UTC().Format(time.DateOnly)
		}
		v.say(200, object{"id": v.token.id, "name": "Corbel", "revoked": false, "active": true, "scopes": v.token.Scopes, "user_id": v.token.id, "expires_at": end, "created_at": "2026-01-14T04:33:35.000Z"})
	case v.is("GET", "projects", "*"):
		if !v.has("api", "read_api") {
			lacks("api read_api")
			return
		}
		if r := find(); r != nil {
			p := v.s.gitlabProject(r)
			p["permissions"] = object{"project_access": object{"access_level": role, "notification_level": 3}, "group_access": nil}
			v.say(200, p)
		}
	case v.is("GET", "projects") && !v.has("api", "read_api"):
		lacks("api read_api")
	case v.is("GET", "projects"):
		list := []object{}
		for _, r := range v.visible(v.r.URL.Query().Get("search")) {
			list = append(list, v.s.gitlabProject(r))
		}
		v.gitlabPage(list)
	case len(v.path) > 2 && v.path[2] == "hooks" && !v.has("api") && v.r.Method != "GET":
		lacks("api")
	case len(v.path) > 2 && v.path[0] == "groups" && v.path[2] == "hooks":
		if role < 50 {
			v.say(http.StatusForbidden, object{"message": "403 Forbidden"})
			return
		}
		v.gitlabHooks(ofGroup+"/"+strings.ToLower(v.path[1]), nil)
	case len(v.path) > 2 && v.path[0] == "projects" && v.path[2] == "hooks":
		if r := find(); r != nil && role < 40 {
			v.say(http.StatusForbidden, object{"message": "403 Forbidden"})
		} else if r != nil {
			v.gitlabHooks(hooksOf(r), r)
		}
	case v.is("POST", "projects", "*", "statuses", "*"):
		if !v.has("api") {
			lacks("api")
			return
		}
		r := find()
		if r == nil {
			return
		}
		in, sha := v.body(), v.path[3]
		switch {
		case role < 30:
			v.say(http.StatusForbidden, object{"message": "403 Forbidden"})
		case !v.commits(r, sha):
			v.say(http.StatusNotFound, object{"message": "404 Commit Not Found"})
		case !slices.Contains([]string{"pending", "running", "success", "failed", "canceled"}, in["state"]):
			v.say(http.StatusBadRequest, object{"error": "state does not have a valid value"})
		case in["target_url"] != "" && !web(in["target_url"]):
			v.say(http.StatusBadRequest, object{"message": object{"target_url": []string{"is blocked: Only allowed schemes are http, https"}}})
		case in["ref"] == "" && !v.s.onBranch(r, sha) && len(v.s.Statuses(v.s.nameOf(r), sha)) == 0:
			v.say(http.StatusNotFound, object{"message": "404 References for commit Not Found"})
		case len([]rune(in["description"])) > 255, len([]rune(in["name"])) > 255, len([]rune(in["target_url"])) > 255:
			v.say(http.StatusBadRequest, object{"message": object{"base": []string{"is too long (maximum is 255 characters)"}}})
		case v.last(r, sha, in["name"]) == in["state"]:
			verb := map[string]string{"pending": "enqueue", "running": "run", "success": "success", "failed": "drop", "canceled": "cancel"}[in["state"]]
			v.say(http.StatusBadRequest, object{"message": fmt.Sprintf("Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via %q)", verb, in["state"], verb)})
		default:
			v.keep(r, sha, in["state"], in["name"], in["description"], in["target_url"])
			v.say(http.StatusCreated, object{"id": 93, "sha": sha, "status": in["state"], "name": in["name"], "target_url": in["target_url"], "description": in["description"]})
		}
	case v.r.Method == "GET" && len(v.path) > 2 && v.path[0] == "projects" && !v.has("api", "read_api"):
		lacks("api read_api")
	case v.r.Method == "GET" && len(v.path) > 2 && v.path[0] == "projects":
		if r := find(); r != nil {
			v.gitlabRead(r)
		}
	default:
		v.say(http.StatusNotFound, object{"error": "404 Not Found"})
	}
}

// gitlabRead answers what can be asked about a project.
func (v *visit) gitlabRead(r *repository) {
	switch {
	case v.is("GET", "projects", "*", "members", "all", "*"):
		id, _ := strconv.ParseInt(v.path[4], 10, 64)
		p, ok := v.s.whose(id)
		level, err := strconv.Atoi(v.s.role(r, p))
		if !ok || err != nil {
			v.say(http.StatusNotFound, object{"message": "404 Not found"})
			return
		}
		v.say(200, object{"id": id, "username": p.Login, "name": p.Name, "state": "active", "access_level": level, "membership_state": "active", "expires_at": nil, "created_at": gitlabTime(v.s.started)})
	case v.is("GET", "projects", "*", "repository", "commits", "*", "merge_requests"):
		list := []object{}
		for _, p := range v.s.Pulls(v.s.nameOf(r)) {
			if p.SHA == v.path[4] {
				list = append(list, v.s.gitlabMerge(r, &p))
			}
		}
		v.gitlabPage(list)
	case v.is("GET", "projects", "*", "merge_requests"):
		list := []object{}
		for _, p := range v.open(r) {
			list = append(list, v.s.gitlabMerge(r, &p))
		}
		v.gitlabPage(list)
	case len(v.path) > 3 && v.path[2] == "merge_requests":
		p, ok := v.pull(r, v.path[3])
		switch {
		case !ok:
			v.say(http.StatusNotFound, object{"message": "404 Not found"})
		case len(v.path) == 4:
			out := v.s.gitlabMerge(r, &p)
			// Source: GitLab, "Diff limits administration": at most 1,000.
			n := len(v.s.differ(r, p.BaseSHA, p.SHA))
			out["changes_count"] = strconv.Itoa(n)
			if n > 1000 {
				out["changes_count"] = "1000+"
			}
			v.say(200, out)
		default:
			list := gitlabDiffs(v.s.differ(r, p.BaseSHA, p.SHA))
			v.gitlabPage(list[:min(len(list), 1000)])
		}
	case v.is("GET", "projects", "*", "repository", "compare"):
		q := v.r.URL.Query()
		a, b := v.s.resolve(r, q.Get("from")), v.s.resolve(r, q.Get("to"))
		if a == "" || b == "" {
			v.say(http.StatusNotFound, object{"message": "404 Commit Not Found"})
			return
		}
		diffs := gitlabDiffs(v.s.differ(r, a, b))
		if q.Get("straight") == "true" {
			diffs = gitlabDiffs(v.s.differences(r, a, b))
		}
		v.say(200, object{"commit": nil, "commits": []object{}, "diffs": diffs[:min(len(diffs), 1000)], "compare_timeout": false, "compare_same_ref": a == b, "web_url": v.s.URL})
	case v.is("GET", "projects", "*", "repository", "commits", "*"):
		list := v.s.log(r, "-1", v.path[4])
		if len(list) == 0 {
			v.say(http.StatusNotFound, object{"message": "404 Commit Not Found"})
			return
		}
		v.say(200, gitlabCommit(list[0]))
	case v.is("GET", "projects", "*", "repository", "branches"), v.is("GET", "projects", "*", "repository", "tags"):
		prefix := "refs/heads/"
		if v.path[3] == "tags" {
			prefix = "refs/tags/"
		}
		names, ids := v.s.named(r, prefix)
		list := []object{}
		for _, n := range names {
			list = append(list, object{"name": n, "target": ids[n], "protected": false, "commit": object{"id": ids[n], "short_id": ids[n][:8]}})
		}
		v.gitlabPage(list)
	default:
		v.say(http.StatusNotFound, object{"error": "404 Not Found"})
	}
}

// gitlabPage answers with a page of a list.
func (v *visit) gitlabPage(list []object) {
	size, n := min(max(v.number("per_page", 20), 1), 100), max(v.number("page", 1), 1)
	part, more := window(list, (n-1)*size, size)
	h := v.w.Header()
	h.Set("X-Page", strconv.Itoa(n))
	h.Set("X-Per-Page", strconv.Itoa(size))
	h.Set("X-Total", strconv.Itoa(len(list)))
	h.Set("X-Next-Page", "")
	if more {
		h.Set("X-Next-Page", strconv.Itoa(n+1))
		q := v.r.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		h.Set("Link", "<"+v.s.URL+v.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	}
	v.say(200, part)
}

// gitlabSwitches are the events that a hook can be told of, of those that
// concern code.
// Source: GitLab, "Project webhooks API".
var gitlabSwitches = []string{
	"push_events", "tag_push_events", "merge_requests_events", "note_events", "releases_events", "job_events",
	"issues_events", "confidential_issues_events", "confidential_note_events", "pipeline_events", "wiki_page_events", "deployment_events",
}

// gitlabHooks answers about the hooks of a project, or of a group if r is nil.
func (v *visit) gitlabHooks(key string, r *repository) {
	show := func(k Hook) object {
		out := object{"id": k.ID, "url": k.URL, "name": nil, "description": nil, "created_at": gitlabTime(k.Created), "enable_ssl_verification": true, "alert_status": "executable", "push_events_branch_filter": nil}
		for _, name := range gitlabSwitches {
			out[name] = slices.Contains(k.Events, name)
		}
		if r != nil {
			out["project_id"] = r.id
		}
		if v.s.dialect.keys {
			out["token_present"], out["signing_token_present"] = k.Secret != "", k.Key != ""
		}
		return out
	}
	if len(v.path) == 3 && v.r.Method == "GET" {
		list := []object{}
		for _, k := range v.s.hooksAt(key) {
			list = append(list, show(k))
		}
		v.gitlabPage(list)
		return
	}
	id := int64(0)
	if len(v.path) == 4 {
		id, _ = strconv.ParseInt(v.path[3], 10, 64)
	}
	known, there := v.s.hookAt(key, id)
	switch {
	case len(v.path) == 3 && v.r.Method == "POST", len(v.path) == 4 && v.r.Method == "PUT" && there:
		in := object{}
		if !v.into(&in) {
			v.say(http.StatusBadRequest, object{"error": "url is missing"})
			return
		}
		address, _ := in["url"].(string)
		if !web(address) {
			v.say(http.StatusUnprocessableEntity, object{"error": "Invalid url given"})
			return
		}
		signing, _ := in["signing_token"].(string)
		if !v.s.dialect.keys {
			signing = ""
		}
		if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signing, "whsec_")); signing != "" && (err != nil || len(key) != 32 || !strings.HasPrefix(signing, "whsec_")) {
			v.say(http.StatusUnprocessableEntity, object{"error": "signing_token is invalid"})
			return
		}
		set := func(k *Hook) {
			k.URL, k.Active = address, true
			if signing != "" {
				k.Key = signing
			}
			k.Form = false // there are none
			if secret, ok := in["token"].(string); ok {
				k.Secret = secret
			}
			for _, name := range gitlabSwitches {
				on, told := in[name].(bool)
				if told {
					k.Events = slices.DeleteFunc(k.Events, func(e string) bool { return e == name })
				}
				if on {
					k.Events = append(k.Events, name)
				}
			}
		}
		if there {
			k, _ := v.s.changeHook(key, id, set)
			v.say(200, show(k))
			return
		}
		k := Hook{Events: []string{"push_events"}} // its default is on
		set(&k)
		k, _ = v.s.makeHook(key, k, nil) // any number for an address
		v.say(http.StatusCreated, show(k))
	case !there:
		v.say(http.StatusNotFound, object{"message": "404 Not found"})
	case v.r.Method == "GET":
		v.say(200, show(known))
	case v.r.Method == "DELETE":
		v.s.dropHook(key, id)
		v.say(http.StatusNoContent, nil)
	}
}

func gitlabTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// gitlabProject is a project as the API shows it.
func (s *Server) gitlabProject(r *repository) object {
	visibility, name := "private", s.nameOf(r)
	if r.public {
		visibility = "public"
	}
	return object{
		"id": r.id, "name": name[strings.LastIndex(name, "/")+1:], "path": name[strings.LastIndex(name, "/")+1:], "path_with_namespace": name, "visibility": visibility, "archived": false,
		"default_branch": "main", "http_url_to_repo": s.URL + "/" + name + ".git", "ssh_url_to_repo": "git@gitlab.example.com:" + name + ".git", "web_url": s.URL + "/" + name,
	}
}

func (s *Server) gitlabUser(p Person) object {
	return object{"id": p.ID, "username": p.Login, "name": p.Name, "state": "active", "avatar_url": nil, "web_url": s.URL + "/" + p.Login}
}

func gitlabCommit(c revision) object {
	title, _, _ := strings.Cut(c.message, "\n")
	return object{
		"id": c.id, "short_id": c.id[:8], "title": title, "message": c.message, "author_name": c.author, "author_email": c.email, "parent_ids": c.parents,
		"authored_date": gitlabTime(c.at), "committed_date": gitlabTime(c.at), "created_at": gitlabTime(c.at),
	}
}

// gitlabDiffs shows differences.
func gitlabDiffs(changes []difference) []object {
	list := []object{}
	for _, d := range changes {
		old := d.old
		if old == "" {
			old = d.path
		}
		list = append(list, object{
			"old_path": old, "new_path": d.path, "a_mode": "100644", "b_mode": "100644", "diff": "@@ -0,0 +1 @@\n+changed\n", "collapsed": false, "too_large": false,
			"new_file": d.status == "added", "renamed_file": d.status == "renamed", "deleted_file": d.status == "removed", "generated_file": false,
		})
	}
	return list
}

var gitlabStates = map[string]string{"open": "opened", "closed": "closed", "merged": "merged"}

// gitlabMerge is a merge request as the API shows it.
func (s *Server) gitlabMerge(r *repository, p *Pull) object {
	from := any(nil)
	if source := s.source(r, p); source != nil {
		from = source.id
	}
	out := object{
		"id": p.ID, "iid": p.Number, "project_id": r.id, "title": p.Title, "description": p.Body, "state": gitlabStates[p.State], "author": s.gitlabUser(s.Person(p.Author)),
		"source_branch": p.Head, "target_branch": p.Base, "source_project_id": from, "target_project_id": r.id, "sha": p.SHA, "merge_commit_sha": nil, "squash_commit_sha": nil,
		"created_at": gitlabTime(p.Opened), "updated_at": gitlabTime(p.Changed), "draft": false, "merge_status": "can_be_merged", "squash": false,
		"web_url": fmt.Sprintf("%s/%s/-/merge_requests/%d", s.URL, s.nameOf(r), p.Number), "diff_refs": object{"base_sha": p.BaseSHA, "head_sha": p.SHA, "start_sha": p.BaseSHA},
	}
	if p.Squash {
		out["squash"] = true
	}
	if p.Merge != "" && p.Squash {
		out["squash_commit_sha"] = p.Merge
	} else if p.Merge != "" {
		out["merge_commit_sha"] = p.Merge
	}
	return out
}

// signGitLab sets the headers of GitLab's deliveries. The secret itself is one.
// Source: GitLab, "Webhooks", delivery headers.
func signGitLab(s *Server, secret string, d *Delivery) {
	h := d.Header
	h.Set("User-Agent", "GitLab/18.5.0")
	h.Set("X-Gitlab-Event", d.Event)
	h.Set("X-Gitlab-Event-UUID", d.GUID)
	h.Set("X-Gitlab-Webhook-UUID", fmt.Sprintf("00000000-0000-4000-8000-%012d", d.Hook))
	h.Set("X-Gitlab-Instance", s.URL)
	h.Set("Idempotency-Key", d.GUID)
	if secret != "" {
		h.Set("X-Gitlab-Token", secret)
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.hook.Key, "whsec_")); err == nil && len(key) > 0 {
		at := strconv.FormatInt(s.now().Unix(), 10)
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", d.GUID, at, d.Body)
		h.Set("Webhook-Id", d.GUID)
		h.Set("Webhook-Timestamp", at)
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
}

// tellGitLab says what a hook at GitLab is told.
// Source: GitLab, "Webhook events".
func tellGitLab(s *Server, k Hook, h happening) []message {
	if h.repo == nil {
		return nil
	}
	project := s.gitlabTold(h.repo)
	body := object{"user": s.gitlabUser(h.actor), "project": project, "repository": object{"name": project["name"], "url": project["ssh_url"], "description": "", "homepage": project["web_url"]}}
	wants, event := "", ""
	switch h.what {
	case pushed:
		wants, event = "push_events", "Push Hook"
		if strings.HasPrefix(h.push.ref, "refs/tags/") {
			wants, event = "tag_push_events", "Tag Push Hook"
		}
		s.gitlabPush(body, h)
	case pulled:
		wants, event = "merge_requests_events", "Merge Request Hook"
		merge := s.gitlabToldMerge(h.repo, h.pull)
		merge["action"] = map[string]string{opened: "open", updated: "update", edited: "update", closed: "close", merged: "merge", reopened: "reopen"}[h.action]
		if h.action == updated {
			merge["oldrev"] = h.before
		}
		changes := object{}
		if h.action == edited {
			changes["title"] = object{"previous": "Another title", "current": h.pull.Title}
		}
		body["object_kind"], body["event_type"], body["object_attributes"], body["changes"], body["labels"] = "merge_request", "merge_request", merge, changes, []object{}
	case noted:
		wants, event = "note_events", "Note Hook"
		made, action := h.at, "create"
		if h.note.Edited {
			made, action = h.at.Add(-time.Minute), "update"
		}
		body["object_kind"], body["event_type"], body["merge_request"], body["project_id"] = "note", "note", s.gitlabToldMerge(h.repo, h.pull), h.repo.id
		body["object_attributes"] = object{
			"id": h.note.ID, "note": h.note.Text, "noteable_type": "MergeRequest", "noteable_id": h.pull.ID, "author_id": h.note.Author.ID, "project_id": h.repo.id, "system": false, "internal": false,
			"action": action, "created_at": gitlabToldTime(made), "updated_at": gitlabToldTime(h.at), "url": fmt.Sprintf("%s/-/merge_requests/%d#note_%d", project["web_url"], h.pull.Number, h.note.ID),
		}
	case release:
		wants, event = "releases_events", "Release Hook"
		then := gitlabToldTime(h.at)
		body["object_kind"] = "release"
		maps.Copy(body, object{
			"id": h.release.ID, "action": "create", "name": h.release.Name, "tag": h.release.Tag, "description": h.release.Body, "url": fmt.Sprintf("%s/-/releases/%s", project["web_url"], h.release.Tag),
			"created_at": then, "released_at": then, "assets": object{"count": 0, "links": []object{}, "sources": []object{}},
		})
		if list := s.log(h.repo, "-1", h.release.SHA); len(list) == 1 {
			body["commit"] = s.gitlabToldCommit(h.repo, list[0])
		}
	case queued:
		wants, event = "job_events", "Job Hook"
		maps.Copy(body, object{
			"object_kind": "build", "ref": h.job.Branch, "tag": false, "sha": h.job.SHA, "build_id": h.job.ID, "build_name": h.job.Name, "build_stage": "test", "build_status": "pending",
			"build_created_at": gitlabToldTime(h.at), "build_started_at": nil, "build_finished_at": nil, "project_id": h.repo.id, "project_name": project["path_with_namespace"], "runner": nil,
		})
	}
	if !slices.Contains(k.Events, wants) {
		return nil
	}
	return []message{{event, body}}
}

// gitlabToldTime is a time as deliveries write it.
func gitlabToldTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// gitlabTold is a project as deliveries tell of it, not as the API does.
func (s *Server) gitlabTold(r *repository) object {
	name := s.nameOf(r)
	level := 0
	if r.public {
		level = 20
	}
	web, ssh := s.URL+"/"+name, "git@gitlab.example.com:"+name+".git"
	return object{
		"id": r.id, "name": name[strings.LastIndex(name, "/")+1:], "description": "", "web_url": web, "avatar_url": nil, "git_ssh_url": ssh, "git_http_url": web + ".git",
		"namespace": name[:strings.LastIndex(name, "/")], "visibility_level": level, "path_with_namespace": name, "default_branch": "main", "ci_config_path": nil,
		"homepage": web, "url": ssh, "ssh_url": ssh, "http_url": web + ".git",
	}
}

func (s *Server) gitlabToldCommit(r *repository, c revision) object {
	title, _, _ := strings.Cut(c.message, "\n")
	return object{
		"id": c.id, "message": c.message, "title": title, "timestamp": c.at.Format(time.RFC3339), "url": s.URL + "/" + s.nameOf(r) + "/-/commit/" + c.id, "author": object{"name": c.author, "email": c.email},
	}
}

// gitlabPush adds what a push is told with: the newest 20 commits.
func (s *Server) gitlabPush(body object, h happening) {
	c := h.push
	commits := []object{}
	for _, v := range c.commits[max(0, len(c.commits)-20):] {
		one := s.gitlabToldCommit(h.repo, v)
		one["added"], one["modified"], one["removed"] = v.added, v.modified, v.removed
		commits = append(commits, one)
	}
	kind := "push"
	if strings.HasPrefix(c.ref, "refs/tags/") {
		kind = "tag_push"
	}
	delete(body, "user")
	maps.Copy(body, object{
		"object_kind": kind, "event_name": kind, "ref": c.ref, "ref_protected": false, "before": c.before, "after": c.after, "checkout_sha": nil, "message": nil, "project_id": h.repo.id,
		"user_id": h.actor.ID, "user_name": h.actor.Name, "user_username": h.actor.Login, "user_email": nil, "user_avatar": nil, "commits": commits, "total_commits_count": len(c.commits), "push_options": object{},
	})
	if c.head != nil {
		body["checkout_sha"] = c.head.id
	}
}

// gitlabToldMerge is a merge request as deliveries tell of it.
func (s *Server) gitlabToldMerge(r *repository, p *Pull) object {
	from, source := any(nil), s.source(r, p)
	told := any(nil)
	if source != nil {
		from, told = source.id, s.gitlabTold(source)
	}
	last := any(nil)
	if list := s.log(r, "-1", p.SHA); len(list) == 1 {
		last = s.gitlabToldCommit(r, list[0])
	}
	out := object{
		"id": p.ID, "iid": p.Number, "title": p.Title, "description": p.Body, "author_id": s.Person(p.Author).ID, "state": gitlabStates[p.State], "state_id": 1, "draft": false, "work_in_progress": false,
		"source_branch": p.Head, "target_branch": p.Base, "source_project_id": from, "target_project_id": r.id, "source": told, "target": s.gitlabTold(r), "last_commit": last,
		"merge_status": "can_be_merged", "merge_commit_sha": nil, "created_at": gitlabToldTime(p.Opened), "updated_at": gitlabToldTime(p.Changed), "assignee_ids": []int64{}, "reviewer_ids": []int64{}, "labels": []object{},
		"url": fmt.Sprintf("%s/%s/-/merge_requests/%d", s.URL, s.nameOf(r), p.Number),
	}
	if p.Merge != "" && !p.Squash { // of a squash it tells nothing
		out["merge_commit_sha"] = p.Merge
	}
	return out
}
