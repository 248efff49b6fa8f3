package gitlab

import (
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// deliveries reads webhooks of GitLab. Persons and groups share one name space,
// and a delivery does not tell them apart: the owner's path is the
// organization.
// Source: GitLab's documentation, "Webhook events" and "Webhooks".
var deliveries = forge.Deliveries{
	Verify: verifyDelivery,
	Parse:  parseDelivery,
	Describe: func(h http.Header) (event, id string) {
		return forge.Header(h, "X-Gitlab-Event"), forge.Header(h, "X-Gitlab-Event-UUID")
	},
	Events: []forge.EventType{
		forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed,
		forge.Released, forge.WorkflowJobQueued, forge.Comment,
	},
	Owners: []forge.OwnerKind{forge.OfGroup},
	Roles: []api.PullRequestBuildApproverRole{
		api.PullRequestBuildApproverRoleGITLAB_GUEST,
		api.PullRequestBuildApproverRoleGITLAB_PLANNER,
		api.PullRequestBuildApproverRoleGITLAB_REPORTER,
		api.PullRequestBuildApproverRoleGITLAB_DEVELOPER,
		api.PullRequestBuildApproverRoleGITLAB_MAINTAINER,
		api.PullRequestBuildApproverRoleGITLAB_OWNER,
	},
	Squash:  true, // source: gitlab-org/gitlab#415449
	PullRef: "refs/merge-requests/%d/head",
}

// verifyDelivery checks the signature, which newer versions send, and the token that is
// the secret: each that is there must be right, and one must be there. The
// token does not cover the body; who reads it once can write deliveries. Where
// the secret is no signing key, the signature is by a key that somebody gave the
// hook at GitLab, and the token alone says who it is.
//
// GitLab's bodies have no time: a tag that is made again makes an equal one. The
// Idempotency-Key, which is the signed Webhook-Id too, stays the same when it
// delivers again, and older versions have the id of the event alone.
// Source: GitLab, app/services/web_hook_service.rb and merge requests 160952
// and 230944.
func verifyDelivery(h http.Header, body []byte, secret api.Secret, now time.Time) (id string, err error) {
	token := len(h.Values("X-Gitlab-Token")) > 0
	signed := len(h.Values("Webhook-Signature")) > 0 && !(token && forge.SigningKey(secret) == nil)
	if signed {
		if id, err = forge.VerifyStandard(h, body, secret, now); err != nil {
			return "", err
		}
	}
	if token || !signed {
		if err := forge.VerifyToken(h, "X-Gitlab-Token", secret); err != nil {
			return "", err
		}
	}
	if !signed {
		if id = forge.Header(h, "Idempotency-Key"); id == "" {
			id = forge.Header(h, "X-Gitlab-Event-UUID")
		}
	}
	return id, nil
}

type payload struct {
	Kind    string          `json:"object_kind"`
	Project *payloadProject `json:"project"`
	User    payloadUser     `json:"user"`
}

type payloadUser struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
}

type payloadProject struct {
	ID   int64  `json:"id"`
	Path string `json:"path_with_namespace"`
	URL  string `json:"git_http_url"`
}

type pushPayload struct {
	payload
	UserID       int64                `json:"user_id"`
	UserName     string               `json:"user_username"`
	Ref          string               `json:"ref"`
	Before       string               `json:"before"`
	After        string               `json:"after"`
	CheckoutSHA  string               `json:"checkout_sha"`
	Commits      []forge.PushedCommit `json:"commits"`
	TotalCommits int                  `json:"total_commits_count"`
}

type payloadMerge struct {
	IID             int64           `json:"iid"`
	Title           string          `json:"title"`
	State           string          `json:"state"`
	AuthorID        int64           `json:"author_id"`
	SourceBranch    string          `json:"source_branch"`
	TargetBranch    string          `json:"target_branch"`
	SourceProjectID int64           `json:"source_project_id"`
	TargetProjectID int64           `json:"target_project_id"`
	Source          *payloadProject `json:"source"`
	LastCommit      *struct {
		ID      string `json:"id"`
		Message string `json:"message"`
	} `json:"last_commit"`
	UpdatedAt string `json:"updated_at"`
}

type mergePayload struct {
	payload
	MergeRequest *struct {
		payloadMerge
		Action string `json:"action"`
		OldRev string `json:"oldrev"`
	} `json:"object_attributes"`
}

type notePayload struct {
	payload
	Note *struct {
		Note         string `json:"note"`
		NoteableType string `json:"noteable_type"`
		Action       string `json:"action"`
		System       bool   `json:"system"`
		CreatedAt    string `json:"created_at"`
		UpdatedAt    string `json:"updated_at"`
	} `json:"object_attributes"`
	MergeRequest *payloadMerge `json:"merge_request"`
}

type releasePayload struct {
	payload
	Action     string `json:"action"`
	Name       string `json:"name"`
	Tag        string `json:"tag"`
	ReleasedAt string `json:"released_at"`
	Commit     *struct {
		ID      string `json:"id"`
		Message string `json:"message"`
	} `json:"commit"`
}

type jobPayload struct {
	payload
	Ref       string `json:"ref"`
	Tag       bool   `json:"tag"`
	SHA       string `json:"sha"`
	Name      string `json:"build_name"`
	Status    string `json:"build_status"`
	CreatedAt string `json:"build_created_at"`
}

func parseDelivery(h http.Header, body []byte) ([]forge.Event, error) {
	var r forge.Reading
	var e forge.Event
	switch event := r.Event(h, "X-Gitlab-Event"); event {
	case "":
	case "Push Hook":
		e = readPush(&r, h, body, "push")
	case "Tag Push Hook":
		e = readPush(&r, h, body, "tag_push")
	case "Merge Request Hook":
		e = readMerge(&r, h, body)
	case "Note Hook":
		e = readNote(&r, h, body)
	case "Release Hook":
		e = readRelease(&r, h, body)
	case "Job Hook":
		e = readJob(&r, h, body)
	default:
		var d payload
		if r.Err = forge.Decode(h, body, &d); r.Err == nil && d.Project != nil {
			e = d.event(&r, d.Kind)
		}
		e.Note = forge.Ignored("event", event)
	}
	return r.Settle(e)
}

// event is what an event has from the members of every delivery. The body must
// be of the kind that the header, which is not signed, says.
func (d payload) event(r *forge.Reading, kind string) forge.Event {
	if d.Kind != kind {
		r.Wrong("object_kind", "is not that of the header X-Gitlab-Event")
	}
	if d.Project == nil {
		r.Wrong("project", "is missing")
		return forge.Event{}
	}
	e := forge.Event{
		Repository:   r.Repository("project.path_with_namespace", d.Project.Path),
		RepositoryID: r.ID("project.id", d.Project.ID),
		Actor:        payloadPerson(d.User.ID, d.User.Username),
	}
	if e.Repository != "" {
		e.Organization = path.Dir(e.Repository)
	}
	return e
}

func payloadPerson(id int64, name string) forge.Person {
	if id <= 0 {
		return forge.Person{}
	}
	return forge.Person{ID: strconv.FormatInt(id, 10), Login: name}
}

func readPush(r *forge.Reading, h http.Header, body []byte, kind string) forge.Event {
	var d pushPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := r.Push(d.event(r, kind), "", d.Ref, d.Before, d.After)
	e.Actor = payloadPerson(d.UserID, d.UserName)
	if e.Type != forge.Push {
		return e
	}
	// Of an annotated tag, after is the tag's id and this the commit's.
	e.SHA = r.Commit("checkout_sha", d.CheckoutSHA)
	e.Files = forge.Paths(d.Commits)
	head := slices.IndexFunc(d.Commits, func(c forge.PushedCommit) bool { return c.ID == e.SHA })
	if head >= 0 {
		e.Message = d.Commits[head].Message
	}
	// The list has the newest 20 commits. A renamed file is among those added,
	// without its old name.
	// Source: GitLab, app/models/commit.rb.
	e.FilesKnown = head >= 0 && len(d.Commits) == d.TotalCommits &&
		!slices.ContainsFunc(d.Commits, func(c forge.PushedCommit) bool { return len(c.Added) > 0 })
	return e
}

// pull is the merge request m of the project that is e's.
func (m payloadMerge) pull(r *forge.Reading, member string, target *payloadProject) *forge.PullRequest {
	if target != nil && m.TargetProjectID != target.ID {
		r.Wrong(member+".target_project_id", "is not the project of the event")
	}
	p := &forge.PullRequest{
		Number:  r.Number(member+".iid", m.IID),
		Title:   m.Title,
		Author:  payloadPerson(m.AuthorID, ""),
		Open:    m.State == "opened",
		HeadRef: r.Ref(member+".source_branch", "refs/heads/", m.SourceBranch),
		BaseRef: r.Ref(member+".target_branch", "refs/heads/", m.TargetBranch),
		Fork:    m.Source == nil || m.SourceProjectID != m.TargetProjectID,
	}
	if m.LastCommit != nil {
		p.HeadSHA = r.Commit(member+".last_commit.id", m.LastCommit.ID)
	}
	if m.Source != nil {
		p.HeadRepo = r.Repository(member+".source.path_with_namespace", m.Source.Path)
		if p.Fork {
			p.HeadURL = forge.CloneURL(m.Source.URL)
		}
	}
	return p
}

func readMerge(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d mergePayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r, "merge_request")
	m := d.MergeRequest
	if m == nil {
		r.Wrong("object_attributes", "is missing")
		return e
	}
	e.Pull = m.pull(r, "object_attributes", d.Project)
	if e.Pull.Author.ID == e.Actor.ID { // a delivery names who acted only
		e.Pull.Author.Login = e.Actor.Login
	}
	e.HeadRef, e.BaseRef, e.SHA = e.Pull.HeadRef, e.Pull.BaseRef, e.Pull.HeadSHA
	e.At = forge.When(m.UpdatedAt)
	if m.LastCommit != nil {
		e.Message = m.LastCommit.Message
	}
	switch m.Action {
	case "open":
		e.Type = forge.PullCreated
	case "reopen":
		e.Type = forge.PullReopened
	case "close":
		e.Type = forge.PullClosed
	case "merge":
		e.Type = forge.PullMerged
	case "update":
		if m.OldRev == "" {
			e.Note = "an update of a merge request without new commits starts no build"
			break
		}
		e.Type = forge.PullUpdated
	default:
		e.Note = forge.Ignored("action", m.Action)
	}
	return e
}

func readNote(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d notePayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r, "note")
	n := d.Note
	switch {
	case n == nil:
		r.Wrong("object_attributes", "is missing")
		return e
	case n.NoteableType != "MergeRequest":
		e.Note = "a comment that is not on a merge request starts no build"
		return e
	case d.MergeRequest == nil:
		r.Wrong("merge_request", "is missing")
		return e
	}
	e.Pull = d.MergeRequest.pull(r, "merge_request", d.Project)
	e.HeadRef, e.BaseRef, e.SHA = e.Pull.HeadRef, e.Pull.BaseRef, e.Pull.HeadSHA
	e.Text, e.At = n.Note, forge.When(n.CreatedAt)
	// Before version 16.11 there is no action. What was approved is what was
	// written first.
	created := n.Action == "create" || n.Action == "" && n.CreatedAt != "" && n.CreatedAt == n.UpdatedAt
	switch {
	case n.System:
		e.Note = "a comment by GitLab itself starts no build"
	case !created:
		e.Note = "a comment that was changed starts no build"
	default:
		e.Type = forge.Comment
	}
	return e
}

func readRelease(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d releasePayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r, "release")
	if d.Action != "create" && d.Action != "update" { // source: user guide, "GitLab webhook events"
		e.Note = forge.Ignored("action", d.Action)
		return e
	}
	e.Type = forge.Released
	e.HeadRef = r.Ref("tag", "refs/tags/", d.Tag)
	e.Release, e.Tag, e.At = d.Name, d.Tag, forge.When(d.ReleasedAt)
	if d.Commit != nil {
		e.SHA, e.Message = r.Commit("commit.id", d.Commit.ID), d.Commit.Message
	}
	return e
}

func readJob(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d jobPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r, "build")
	if d.Status != "pending" { // waits for a runner
		e.Note = forge.Ignored("job status", d.Status)
		return e
	}
	e.Type = forge.WorkflowJobQueued
	prefix := "refs/heads/"
	if d.Tag {
		prefix = "refs/tags/"
	}
	e.HeadRef = r.Ref("ref", prefix, d.Ref)
	e.SHA = r.Commit("sha", d.SHA)
	e.Workflow, e.At = d.Name, forge.When(d.CreatedAt)
	return e
}
