package github

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Bounds of a push, from where on its list of files is not all.
// Source: GitHub's description of its webhooks, webhook-push.
const (
	maxPushedCommits = 2048 // commits
	maxPushedFiles   = 3000 // of a commit
)

// deliveries reads webhooks of GitHub and GitHub Enterprise.
// Source: GitHub's documentation, "Webhook events and payloads" and
// "Validating webhook deliveries". The signature in SHA-1 is not looked at.
var deliveries = forge.Deliveries{
	Verify: func(h http.Header, body []byte, secret api.Secret, _ time.Time) (string, error) {
		return "", forge.VerifyHMAC(h, "X-Hub-Signature-256", "sha256=", body, secret)
	},
	Parse: parseDelivery,
	Describe: func(h http.Header) (event, id string) {
		return forge.Header(h, "X-GitHub-Event"), forge.Header(h, "X-GitHub-Delivery")
	},
	Events: []forge.EventType{
		forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed,
		forge.Released, forge.Prereleased, forge.WorkflowJobQueued, forge.Comment,
	},
	Owners: []forge.OwnerKind{forge.OfOrganization, forge.OfEnterprise},
	Roles: []api.PullRequestBuildApproverRole{
		api.PullRequestBuildApproverRoleGITHUB_READ,
		api.PullRequestBuildApproverRoleGITHUB_TRIAGE,
		api.PullRequestBuildApproverRoleGITHUB_WRITE,
		api.PullRequestBuildApproverRoleGITHUB_MAINTAIN,
		api.PullRequestBuildApproverRoleGITHUB_ADMIN,
	},
	PullRef: "refs/pull/%d/head",
}

// payload is what those of every event have. An event of an organization has
// no repository.
type payload struct {
	Action       string       `json:"action"`
	Repository   *payloadRepo `json:"repository"`
	Organization *payloadUser `json:"organization"`
	Sender       payloadUser  `json:"sender"`
}

type payloadUser struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
}

type payloadRepo struct {
	ID       int64           `json:"id"`
	FullName string          `json:"full_name"`
	CloneURL string          `json:"clone_url"`
	Owner    payloadUser     `json:"owner"`
	PushedAt json.RawMessage `json:"pushed_at"` // seconds in a push, else a text
}

type pushPayload struct {
	payload
	Ref        string               `json:"ref"`
	Before     string               `json:"before"`
	After      string               `json:"after"`
	HeadCommit *forge.PushedCommit  `json:"head_commit"`
	Commits    []forge.PushedCommit `json:"commits"`
}

type pullPayload struct {
	payload
	Number      int64        `json:"number"`
	PullRequest *payloadPull `json:"pull_request"`
}

type payloadPull struct {
	Number    int64       `json:"number"`
	Title     string      `json:"title"`
	State     string      `json:"state"`
	Merged    bool        `json:"merged"`
	User      payloadUser `json:"user"`
	Head      payloadSide `json:"head"`
	Base      payloadSide `json:"base"`
	UpdatedAt string      `json:"updated_at"`
}

type payloadSide struct {
	Ref  string       `json:"ref"`
	SHA  string       `json:"sha"`
	Repo *payloadRepo `json:"repo"`
}

type commentPayload struct {
	payload
	Issue *struct {
		Number      int64       `json:"number"`
		Title       string      `json:"title"`
		State       string      `json:"state"`
		User        payloadUser `json:"user"`
		PullRequest *struct{}   `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		Body      string `json:"body"`
		CreatedAt string `json:"created_at"`
	} `json:"comment"`
}

type releasePayload struct {
	payload
	Release *struct {
		Name        string `json:"name"`
		TagName     string `json:"tag_name"`
		PublishedAt string `json:"published_at"`
	} `json:"release"`
}

type jobPayload struct {
	payload
	WorkflowJob *struct {
		WorkflowName string `json:"workflow_name"`
		HeadBranch   string `json:"head_branch"`
		HeadSHA      string `json:"head_sha"`
		CreatedAt    string `json:"created_at"`
	} `json:"workflow_job"`
}

func parseDelivery(h http.Header, body []byte) ([]forge.Event, error) {
	var r forge.Reading
	var e forge.Event
	switch event := r.Event(h, "X-GitHub-Event"); event {
	case "":
	case "push":
		e = readPush(&r, h, body)
	case "pull_request":
		e = readPull(&r, h, body)
	case "issue_comment":
		e = readComment(&r, h, body)
	case "release":
		e = readRelease(&r, h, body)
	case "workflow_job":
		e = readWorkflowJob(&r, h, body)
	default:
		var d payload
		if r.Err = forge.Decode(h, body, &d); r.Err == nil && d.Repository != nil {
			e = d.event(&r)
		}
		e.Note = forge.Ignored("event", event)
	}
	return r.Settle(e)
}

// event is what an event has from the members of every delivery.
func (d payload) event(r *forge.Reading) forge.Event {
	if d.Repository == nil {
		r.Wrong("repository", "is missing")
		return forge.Event{}
	}
	e := forge.Event{
		Repository:   r.Repository("repository.full_name", d.Repository.FullName),
		RepositoryID: r.ID("repository.id", d.Repository.ID),
		Actor:        d.Sender.person(),
	}
	if d.Organization != nil {
		e.Organization = d.Organization.Login
	} else if d.Repository.Owner.Type == "Organization" {
		e.Organization = d.Repository.Owner.Login
	}
	return e
}

func (a payloadUser) person() forge.Person {
	if a.ID <= 0 {
		return forge.Person{}
	}
	return forge.Person{ID: strconv.FormatInt(a.ID, 10), Login: a.Login}
}

func readPush(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d pushPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := r.Push(d.event(r), "", d.Ref, d.Before, d.After)
	if d.Repository != nil {
		// Later than the year 2200 is no time of a push.
		if seconds, err := strconv.ParseInt(string(d.Repository.PushedAt), 10, 64); err == nil && 0 < seconds && seconds < 7258118400 {
			e.At = time.Unix(seconds, 0).UTC()
		}
	}
	if e.Type != forge.Push {
		return e
	}
	if c := d.HeadCommit; c != nil {
		// Of an annotated tag, after is the tag's id and this the commit's.
		e.SHA, e.Message = r.Commit("head_commit.id", c.ID), c.Message
	}
	e.Files = forge.Paths(d.Commits)
	e.FilesKnown = len(d.Commits) < maxPushedCommits &&
		slices.ContainsFunc(d.Commits, func(c forge.PushedCommit) bool { return c.ID == e.SHA }) &&
		!slices.ContainsFunc(d.Commits, func(c forge.PushedCommit) bool {
			return len(c.Added)+len(c.Modified)+len(c.Removed) >= maxPushedFiles
		})
	return e
}

var pullActions = map[string]forge.EventType{
	"opened":      forge.PullCreated,
	"synchronize": forge.PullUpdated,
	"reopened":    forge.PullReopened,
	"closed":      forge.PullClosed,
}

func readPull(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d pullPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	p := d.PullRequest
	if p == nil {
		r.Wrong("pull_request", "is missing")
		return forge.Event{}
	}
	e := d.event(r)
	if p.Base.Repo == nil || d.Repository != nil && p.Base.Repo.ID != d.Repository.ID {
		r.Wrong("pull_request.base.repo", "is not the repository of the event")
	}
	if p.Number != d.Number {
		r.Wrong("number", "is not that of the pull request")
	}
	e.Pull = &forge.PullRequest{
		Number:  r.Number("pull_request.number", p.Number),
		Title:   p.Title,
		Author:  p.User.person(),
		Open:    p.State == "open",
		HeadRef: r.Ref("pull_request.head.ref", "refs/heads/", p.Head.Ref),
		HeadSHA: r.Commit("pull_request.head.sha", p.Head.SHA),
		BaseRef: r.Ref("pull_request.base.ref", "refs/heads/", p.Base.Ref),
		Fork:    true,
	}
	if head := p.Head.Repo; head != nil {
		e.Pull.HeadRepo = r.Repository("pull_request.head.repo.full_name", head.FullName)
		e.Pull.Fork = p.Base.Repo == nil || head.ID != p.Base.Repo.ID
		if e.Pull.Fork {
			e.Pull.HeadURL = forge.CloneURL(head.CloneURL)
		}
	}
	e.HeadRef, e.BaseRef, e.SHA = e.Pull.HeadRef, e.Pull.BaseRef, e.Pull.HeadSHA
	e.At = forge.When(p.UpdatedAt)
	e.Type = pullActions[d.Action]
	switch {
	case e.Type == forge.PullClosed && p.Merged:
		e.Type = forge.PullMerged
	case e.Type == forge.NotOfInterest:
		e.Note = forge.Ignored("action", d.Action)
	}
	return e
}

// readComment reads a comment on a pull request. It does not tell the source
// of the pull request, which Hooks.PullRequest does; until then it counts as a
// fork.
func readComment(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d commentPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r)
	switch {
	case d.Issue == nil:
		r.Wrong("issue", "is missing")
	case d.Comment == nil:
		r.Wrong("comment", "is missing")
	case d.Issue.PullRequest == nil:
		e.Note = "a comment on an issue starts no build"
	default:
		e.Pull = &forge.PullRequest{
			Number: r.Number("issue.number", d.Issue.Number),
			Title:  d.Issue.Title,
			Author: d.Issue.User.person(),
			Open:   d.Issue.State == "open",
			Fork:   true,
		}
		e.Text, e.At = d.Comment.Body, forge.When(d.Comment.CreatedAt)
		if d.Action == "created" {
			e.Type = forge.Comment
		} else { // what was approved is what was written first
			e.Note = forge.Ignored("action", d.Action)
		}
	}
	return e
}

func readRelease(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d releasePayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r)
	if d.Release == nil {
		r.Wrong("release", "is missing")
		return e
	}
	switch d.Action {
	case "released":
		e.Type = forge.Released
	case "prereleased":
		e.Type = forge.Prereleased
	default: // a draft may have no tag yet
		e.Note = forge.Ignored("action", d.Action)
		return e
	}
	e.HeadRef = r.Ref("release.tag_name", "refs/tags/", d.Release.TagName)
	e.Release, e.Tag, e.At = d.Release.Name, d.Release.TagName, forge.When(d.Release.PublishedAt)
	return e
}

func readWorkflowJob(r *forge.Reading, h http.Header, body []byte) forge.Event {
	var d jobPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r)
	j := d.WorkflowJob
	if j == nil {
		r.Wrong("workflow_job", "is missing")
		return e
	}
	e.Workflow, e.At = j.WorkflowName, forge.When(j.CreatedAt)
	e.SHA = r.Commit("workflow_job.head_sha", j.HeadSHA)
	if j.HeadBranch != "" {
		e.HeadRef = r.Ref("workflow_job.head_branch", "refs/heads/", j.HeadBranch)
	}
	if d.Action == "queued" {
		e.Type = forge.WorkflowJobQueued
	} else {
		e.Note = forge.Ignored("action", d.Action)
	}
	return e
}
