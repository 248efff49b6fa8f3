package gitea

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// deliveries reads webhooks of Gitea and Forgejo, whose bodies are much like
// GitHub's. Owners of repositories share one name space, and a delivery does
// not tell persons from organizations: the owner is the organization.
// Source: Gitea's documentation, "Webhooks", and its modules structs and
// webhook.
var deliveries = forge.Deliveries{
	Verify: verifyDelivery,
	Parse:  parseDelivery,
	Describe: func(h http.Header) (event, id string) {
		return forge.Header(h, "X-Gitea-Event"), forge.Header(h, "X-Gitea-Delivery")
	},
	Events: []forge.EventType{
		forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullReopened, forge.PullMerged, forge.PullClosed,
		forge.Released, forge.Prereleased, forge.Comment,
	},
	Owners: []forge.OwnerKind{forge.OfOrganization},
	// Gitea knows no triage and no maintain.
	Roles: []api.PullRequestBuildApproverRole{
		api.PullRequestBuildApproverRoleGITHUB_READ,
		api.PullRequestBuildApproverRoleGITHUB_WRITE,
		api.PullRequestBuildApproverRoleGITHUB_ADMIN,
	},
	PullRef: "refs/pull/%d/head",
}

// verifyDelivery checks the server's own header and the one that it has for GitHub's
// sake: each that is there must be right, and one must be there.
func verifyDelivery(h http.Header, body []byte, secret api.Secret, _ time.Time) (string, error) {
	const compatible = "X-Hub-Signature-256"
	if len(h.Values("X-Gitea-Signature")) > 0 || len(h.Values(compatible)) == 0 {
		if err := forge.VerifyHMAC(h, "X-Gitea-Signature", "", body, secret); err != nil {
			return "", err
		}
	}
	if len(h.Values(compatible)) > 0 {
		return "", forge.VerifyHMAC(h, compatible, "sha256=", body, secret)
	}
	return "", nil
}

type payload struct {
	Action     string       `json:"action"`
	Repository *payloadRepo `json:"repository"`
	Sender     payloadUser  `json:"sender"`
}

type payloadUser struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

type payloadRepo struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
	CloneURL string `json:"clone_url"`
}

type pushPayload struct {
	payload
	Ref          string               `json:"ref"`
	Before       string               `json:"before"`
	After        string               `json:"after"`
	HeadCommit   *forge.PushedCommit  `json:"head_commit"`
	Commits      []forge.PushedCommit `json:"commits"`
	TotalCommits int                  `json:"total_commits"`
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
	IsPull bool `json:"is_pull"`
	Issue  *struct {
		Number int64       `json:"number"`
		Title  string      `json:"title"`
		State  string      `json:"state"`
		User   payloadUser `json:"user"`
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
		Draft       bool   `json:"draft"`
		Prerelease  bool   `json:"prerelease"`
		PublishedAt string `json:"published_at"`
	} `json:"release"`
}

func parseDelivery(h http.Header, body []byte) ([]forge.Event, error) {
	var r forge.Reading
	var e forge.Event
	switch event := r.Event(h, "X-Gitea-Event"); event {
	case "":
	case "push":
		e = readPush(&r, h, body)
	case "pull_request":
		e = readPull(&r, h, body)
	case "issue_comment":
		e = readComment(&r, h, body)
	case "release":
		e = readRelease(&r, h, body)
	default:
		var d payload
		if r.Err = forge.Decode(h, body, &d); r.Err == nil && d.Repository != nil {
			e = d.event(&r)
		}
		e.Note = forge.Ignored("event", event)
	}
	return r.Settle(e)
}

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
	e.Organization, _, _ = strings.Cut(e.Repository, "/")
	return e
}

// person is nobody for the server's own accounts, whose ids are below 0.
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
	if e.Type != forge.Push {
		return e
	}
	if c := d.HeadCommit; c != nil { // of an annotated tag, after is the tag's id
		e.SHA, e.Message = r.Commit("head_commit.id", c.ID), c.Message
	}
	e.Files = forge.Paths(d.Commits)
	// The list has the newest commits only, five by default. Of a new branch
	// the number of all is not told either.
	e.FilesKnown = d.Before != forge.Zeros && len(d.Commits) == d.TotalCommits &&
		slices.ContainsFunc(d.Commits, func(c forge.PushedCommit) bool { return c.ID == e.SHA })
	return e
}

var pullActions = map[string]forge.EventType{
	"opened":       forge.PullCreated,
	"synchronized": forge.PullUpdated,
	"reopened":     forge.PullReopened,
	"closed":       forge.PullClosed,
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
		HeadSHA: r.Commit("pull_request.head.sha", p.Head.SHA),
		BaseRef: r.Ref("pull_request.base.ref", "refs/heads/", p.Base.Ref),
		Fork:    true,
	}
	// Without a source branch, that is refs/pull/N/head.
	if strings.HasPrefix(p.Head.Ref, "refs/") {
		e.Pull.HeadRef = r.Ref("pull_request.head.ref", "", p.Head.Ref)
	} else {
		e.Pull.HeadRef = r.Ref("pull_request.head.ref", "refs/heads/", p.Head.Ref)
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

// readComment reads a comment on a pull request. Not every version tells the
// source of the pull request, which Hooks.PullRequest does; until then it
// counts as a fork.
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
	case !d.IsPull:
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
	switch {
	case d.Release == nil:
		r.Wrong("release", "is missing")
		return e
	case d.Action != "published":
		e.Note = forge.Ignored("action", d.Action)
		return e
	case d.Release.Draft:
		e.Note = "a draft of a release starts no build"
		return e
	case d.Release.Prerelease:
		e.Type = forge.Prereleased
	default:
		e.Type = forge.Released
	}
	e.HeadRef = r.Ref("release.tag_name", "refs/tags/", d.Release.TagName)
	e.Release, e.Tag, e.At = d.Release.Name, d.Release.TagName, forge.When(d.Release.PublishedAt)
	return e
}
