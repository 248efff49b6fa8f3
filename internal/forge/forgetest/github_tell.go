package forgetest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signGitHub sets the headers of GitHub's deliveries.
// Source: GitHub, "Webhook events and payloads", delivery headers.
func signGitHub(_ *Server, secret string, d *Delivery) {
	h := d.Header
	h.Set("User-Agent", "GitHub-Hookshot/044aadd")
	h.Set("Accept", "*/*")
	h.Set("X-GitHub-Event", d.Event)
	h.Set("X-GitHub-Delivery", d.GUID)
	h.Set("X-GitHub-Hook-ID", strconv.FormatInt(d.Hook, 10))
	h.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
	if d.Repo == "" {
		h.Set("X-GitHub-Hook-Installation-Target-Type", "organization")
	}
	h.Set("X-GitHub-Hook-Installation-Target-ID", "1")
	if secret == "" {
		return
	}
	old := hmac.New(sha1.New, []byte(secret))
	old.Write(d.Body)
	h.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(old.Sum(nil)))
	h.Set("X-Hub-Signature-256", "sha256="+sign256(secret, d.Body))
}

// sign256 is the HMAC of body with SHA-256, in hex.
func sign256(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// tellGitHub says what a hook at GitHub is told.
// Source: GitHub, "Webhook events and payloads".
func tellGitHub(s *Server, k Hook, h happening) []message {
	event := map[string]string{ping: "ping", pushed: "push", pulled: "pull_request", noted: "issue_comment", release: "release", queued: "workflow_job"}[h.what]
	if h.what != ping && !slices.Contains(k.Events, event) && !slices.Contains(k.Events, "*") {
		return nil
	}
	c := &call{s: s, at: s.URL + "/api/v3", repo: h.repo}
	body := object{"sender": c.account(h.actor, "User")}
	if h.repo != nil {
		body["repository"] = c.whole()
		if o := c.organization(); o != nil {
			body["organization"] = o
		}
	}
	one := func(action string, more object) []message {
		maps.Copy(body, more)
		body["action"] = action
		return []message{{event, body}}
	}
	switch h.what {
	case ping:
		hook := c.showHook(k)
		delete(body, "repository")
		if h.repo != nil {
			body["repository"] = c.whole()
		}
		maps.Copy(body, object{"zen": "Approachable is better than simple.", "hook_id": k.ID, "hook": hook})
		return []message{{event, body}}
	case pushed:
		return []message{{event, c.push(h, body)}}
	case pulled:
		more := object{"number": h.pull.Number, "pull_request": c.pull(h.pull, true)}
		if h.action == updated {
			more["before"], more["after"] = h.before, h.pull.SHA
		}
		if h.action == edited {
			more["changes"] = object{"title": object{"from": "Another title"}}
		}
		return one(map[string]string{opened: "opened", updated: "synchronize", edited: "edited", closed: "closed", merged: "closed", reopened: "reopened"}[h.action], more)
	case noted:
		action, more := "created", object{"issue": c.issue(h.pull), "comment": c.note(h.pull, h.note, h.at)}
		if h.note.Edited {
			action, more["changes"] = "edited", object{"body": object{"from": "Another text"}}
		}
		return one(action, more)
	case release:
		// One that is published is told three times.
		list := []string{"created", "published", "released"}
		if h.release.Prerelease {
			list[2] = "prereleased"
		}
		var all []message
		for _, action := range list {
			told := maps.Clone(body)
			told["action"], told["release"] = action, c.release(h.release, h.actor, h.at)
			all = append(all, message{event, told})
		}
		return all
	case queued:
		return one("queued", object{"workflow_job": c.job(h.job, h.at)})
	}
	return nil
}

// organization is the one whose repository it is, nil for a person's.
func (c *call) organization() object {
	p, ok := c.s.owner(c.s.nameOf(c.repo))
	if !ok {
		return nil
	}
	at := c.at + "/orgs/" + p.Login
	return object{
		"login": p.Login, "id": p.ID, "node_id": fmt.Sprintf("O_%d", p.ID), "url": at, "repos_url": at + "/repos", "events_url": at + "/events",
		"hooks_url": at + "/hooks", "issues_url": at + "/issues", "members_url": at + "/members{/member}",
		"public_members_url": at + "/public_members{/member}", "avatar_url": c.s.URL + "/avatars/o/1", "description": "",
	}
}

// push is the body of a push. It counts time in seconds where others have text.
func (c *call) push(h happening, body object) object {
	web, p := c.s.URL+"/"+c.s.nameOf(c.repo), h.push
	r := body["repository"].(object)
	owner := r["owner"].(object)
	owner["name"], owner["email"] = owner["login"], nil
	maps.Copy(r, object{
		"url": web, "created_at": c.s.started.Unix(), "pushed_at": h.at.Unix(), "stargazers": 0, "master_branch": "main",
	})
	if owner["type"] == "Organization" {
		r["organization"] = owner["login"]
	}
	show := func(v revision) object {
		who := object{"name": v.author, "email": v.email, "username": "mona", "date": v.at.Format(time.RFC3339)}
		return object{
			"id": v.id, "tree_id": v.tree, "distinct": true, "message": v.message, "timestamp": v.at.Format(time.RFC3339), "url": web + "/commit/" + v.id,
			"author": who, "committer": who, "added": v.added, "removed": v.removed, "modified": v.modified,
		}
	}
	// Source: GitHub, "push": at most 2,048 commits.
	commits := []object{}
	for _, v := range p.commits[max(0, len(p.commits)-2048):] {
		commits = append(commits, show(v))
	}
	maps.Copy(body, object{
		"ref": p.ref, "before": p.before, "after": p.after, "created": p.before == zeros, "deleted": p.head == nil, "forced": p.forced, "base_ref": nil,
		"compare": web + "/compare/" + p.before[:12] + "..." + p.after[:12], "commits": commits, "head_commit": nil,
		"pusher": object{"name": h.actor.Login, "email": h.actor.Login + "@users.noreply.example.com"},
	})
	if p.head != nil {
		body["head_commit"] = show(*p.head)
	}
	return body
}

// pull shows a pull request: as in a list, or with what only one by itself has.
func (c *call) pull(p *Pull, whole bool) object {
	name := c.s.nameOf(c.repo)
	at, web := c.at+"/repos/"+name, fmt.Sprintf("%s/%s/pull/%d", c.s.URL, name, p.Number)
	me, issue := fmt.Sprintf("%s/pulls/%d", at, p.Number), fmt.Sprintf("%s/issues/%d", at, p.Number)
	author := c.person(p.Author)
	none := func(is bool, text string) any {
		if !is {
			return nil
		}
		return text
	}
	side := func(r *repository, branch, sha string) object {
		if r == nil { // it is gone
			return object{"label": "unknown:" + branch, "ref": branch, "sha": sha, "user": nil, "repo": nil}
		}
		of := *c
		of.repo = r
		owner := of.owner(c.s.nameOf(r))
		return object{"label": owner["login"].(string) + ":" + branch, "ref": branch, "sha": sha, "user": owner, "repo": of.whole()}
	}
	state := p.State
	if state == "merged" {
		state = "closed"
	}
	changed := p.Changed.Format(time.RFC3339)
	href := func(text string) object { return object{"href": text} }
	out := object{
		"id": p.ID, "node_id": fmt.Sprintf("PR_%d", p.ID), "number": p.Number, "state": state, "locked": false, "title": p.Title, "user": author,
		"body": none(p.Body != "", p.Body), "labels": []object{}, "milestone": nil, "active_lock_reason": nil, "draft": false, "author_association": "CONTRIBUTOR",
		"created_at": p.Opened.Format(time.RFC3339), "updated_at": changed, "closed_at": none(state == "closed", changed), "merged_at": none(p.Merge != "", changed),
		"merge_commit_sha": none(p.Merge != "", p.Merge), "assignee": nil, "assignees": []object{}, "requested_reviewers": []object{}, "requested_teams": []object{}, "auto_merge": nil,
		"url": me, "html_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch", "issue_url": issue, "commits_url": me + "/commits",
		"review_comments_url": me + "/comments", "review_comment_url": at + "/pulls/comments{/number}", "comments_url": issue + "/comments", "statuses_url": at + "/statuses/" + p.SHA,
		"head": side(c.s.source(c.repo, p), p.Head, p.SHA), "base": side(c.repo, p.Base, p.BaseSHA),
		"_links": object{
			"self": href(me), "html": href(web), "issue": href(issue), "comments": href(issue + "/comments"), "review_comments": href(me + "/comments"),
			"review_comment": href(at + "/pulls/comments{/number}"), "commits": href(me + "/commits"), "statuses": href(at + "/statuses/" + p.SHA),
		},
	}
	if whole {
		by := any(nil)
		if p.MergeBy != "" {
			by = c.person(p.MergeBy)
		}
		files := c.s.differ(c.repo, p.BaseSHA, p.SHA)
		maps.Copy(out, object{
			"merged": p.Merge != "", "mergeable": nil, "rebaseable": nil, "mergeable_state": "unknown", "merged_by": by, "comments": 0, "review_comments": 0,
			"maintainer_can_modify": p.Fork != "", "commits": 1, "additions": len(files), "deletions": 0, "changed_files": len(files),
		})
	}
	return out
}

// issue shows a pull request as the issue that it is to comments.
func (c *call) issue(p *Pull) object {
	pull := c.pull(p, false)
	at := pull["issue_url"].(string)
	out := object{
		"url": at, "repository_url": strings.TrimSuffix(at, fmt.Sprintf("/issues/%d", p.Number)), "labels_url": at + "/labels{/name}", "comments_url": at + "/comments",
		"events_url": at + "/events", "timeline_url": at + "/timeline", "comments": 1, "performed_via_github_app": nil, "state_reason": nil, "reactions": reactions(at),
		"pull_request": object{"url": pull["url"], "html_url": pull["html_url"], "diff_url": pull["diff_url"], "patch_url": pull["patch_url"], "merged_at": pull["merged_at"]},
	}
	for _, same := range []string{
		"id", "node_id", "number", "title", "user", "labels", "state", "locked", "assignee", "assignees", "milestone", "created_at", "updated_at",
		"closed_at", "author_association", "active_lock_reason", "body", "draft", "html_url",
	} {
		out[same] = pull[same]
	}
	return out
}

func reactions(at string) object {
	out := object{"url": at + "/reactions", "total_count": 0}
	for _, name := range []string{"+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"} {
		out[name] = 0
	}
	return out
}

// note shows a comment.
func (c *call) note(p *Pull, n *Note, at time.Time) object {
	name := c.s.nameOf(c.repo)
	me := fmt.Sprintf("%s/repos/%s/issues/comments/%d", c.at, name, n.ID)
	then := at.Format(time.RFC3339)
	return object{
		"url": me, "html_url": fmt.Sprintf("%s/%s/pull/%d#issuecomment-%d", c.s.URL, name, p.Number, n.ID), "issue_url": fmt.Sprintf("%s/repos/%s/issues/%d", c.at, name, p.Number),
		"id": n.ID, "node_id": fmt.Sprintf("IC_%d", n.ID), "user": c.account(n.Author, "User"), "created_at": then, "updated_at": then, "body": n.Text,
		"author_association": "MEMBER", "performed_via_github_app": nil, "reactions": reactions(me),
	}
}

// release shows a release.
func (c *call) release(r *Release, by Person, at time.Time) object {
	name := c.s.nameOf(c.repo)
	me, then := fmt.Sprintf("%s/repos/%s/releases/%d", c.at, name, r.ID), at.Format(time.RFC3339)
	return object{
		"url": me, "assets_url": me + "/assets", "upload_url": me + "/assets{?name,label}", "html_url": c.s.URL + "/" + name + "/releases/tag/" + r.Tag,
		"id": r.ID, "node_id": fmt.Sprintf("RE_%d", r.ID), "author": c.account(by, "User"), "tag_name": r.Tag, "target_commitish": "main", "name": r.Name, "body": r.Body,
		"draft": false, "prerelease": r.Prerelease, "immutable": false, "created_at": then, "published_at": then, "updated_at": then, "assets": []object{},
		"tarball_url": c.at + "/repos/" + name + "/tarball/" + r.Tag, "zipball_url": c.at + "/repos/" + name + "/zipball/" + r.Tag,
	}
}

// job shows a job that waits for a runner.
func (c *call) job(j *Job, at time.Time) object {
	name, then := c.s.nameOf(c.repo), at.Format(time.RFC3339)
	me, run := fmt.Sprintf("%s/repos/%s/actions/jobs/%d", c.at, name, j.ID), fmt.Sprintf("%s/repos/%s/actions/runs/%d", c.at, name, j.ID)
	labels := j.Labels
	if labels == nil {
		labels = []string{}
	}
	return object{
		"id": j.ID, "run_id": j.ID, "workflow_name": j.Workflow, "head_branch": j.Branch, "run_url": run, "run_attempt": 1, "node_id": fmt.Sprintf("CR_%d", j.ID),
		"head_sha": j.SHA, "url": me, "html_url": fmt.Sprintf("%s/%s/actions/runs/%d/job/%d", c.s.URL, name, j.ID, j.ID), "status": "queued", "conclusion": nil, "created_at": then,
		"started_at": then, "completed_at": nil, "name": j.Name, "steps": []object{}, "check_run_url": fmt.Sprintf("%s/repos/%s/check-runs/%d", c.at, name, j.ID), "labels": labels,
		"runner_id": nil, "runner_name": nil, "runner_group_id": nil, "runner_group_name": nil,
	}
}
