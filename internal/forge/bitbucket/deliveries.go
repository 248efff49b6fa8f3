package bitbucket

import (
	"net/http"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// deliveries reads webhooks of Bitbucket. It tells no paths of files, no time
// of a push, and of pull requests the first twelve digits of their commits.
// Source: Bitbucket Cloud's documentation, "Event payloads" and "Manage
// webhooks".
var deliveries = forge.Deliveries{
	Verify: func(h http.Header, body []byte, secret api.Secret, _ time.Time) (string, error) {
		return "", forge.VerifyHMAC(h, "X-Hub-Signature", "sha256=", body, secret)
	},
	Parse: parseDelivery,
	Describe: func(h http.Header) (event, id string) {
		return forge.Header(h, "X-Event-Key"), forge.Header(h, "X-Request-UUID")
	},
	Events: []forge.EventType{
		forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullMerged, forge.PullClosed, forge.Comment,
	},
	Roles: []api.PullRequestBuildApproverRole{
		api.PullRequestBuildApproverRoleBITBUCKET_READ,
		api.PullRequestBuildApproverRoleBITBUCKET_WRITE,
		api.PullRequestBuildApproverRoleBITBUCKET_ADMIN,
	},
	Squash: true,
}

type payload struct {
	Actor      payloadUser  `json:"actor"`
	Repository *payloadRepo `json:"repository"`
}

type payloadUser struct {
	AccountID string `json:"account_id"`
	UUID      string `json:"uuid"`
	Nickname  string `json:"nickname"`
}

type payloadRepo struct {
	UUID     string `json:"uuid"`
	FullName string `json:"full_name"`
}

type pushPayload struct {
	payload
	Push *struct {
		Changes []struct {
			Old *payloadRef `json:"old"`
			New *payloadRef `json:"new"`
		} `json:"changes"`
	} `json:"push"`
}

type payloadRef struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash    string `json:"hash"`
		Message string `json:"message"`
	} `json:"target"`
}

type pullPayload struct {
	payload
	PullRequest *struct {
		ID                int64          `json:"id"`
		Title             string         `json:"title"`
		State             string         `json:"state"`
		Author            payloadUser    `json:"author"`
		Source            payloadSide    `json:"source"`
		Destination       payloadSide    `json:"destination"`
		MergeCommit       *payloadCommit `json:"merge_commit"`
		CloseSourceBranch bool           `json:"close_source_branch"`
		UpdatedOn         string         `json:"updated_on"`
	} `json:"pullrequest"`
	Comment *struct {
		User    payloadUser `json:"user"`
		Content struct {
			Raw string `json:"raw"`
		} `json:"content"`
		Deleted   bool   `json:"deleted"`
		CreatedOn string `json:"created_on"`
		UpdatedOn string `json:"updated_on"`
	} `json:"comment"`
	Approval       *struct{} `json:"approval"`
	ChangesRequest *struct{} `json:"changes_request"`
}

type payloadSide struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit     *payloadCommit `json:"commit"`
	Repository *payloadRepo   `json:"repository"`
}

type payloadCommit struct {
	Hash string `json:"hash"`
}

// pullEvents are the events of pull requests, with the state that each leaves.
// An update may be a new title as well as new commits; Bitbucket does not tell.
var pullEvents = map[string]struct {
	event forge.EventType
	state string
}{
	"pullrequest:created":         {forge.PullCreated, "OPEN"},
	"pullrequest:updated":         {forge.PullUpdated, "OPEN"},
	"pullrequest:fulfilled":       {forge.PullMerged, "MERGED"},
	"pullrequest:rejected":        {forge.PullClosed, "DECLINED"},
	"pullrequest:comment_created": {forge.Comment, ""},
}

func parseDelivery(h http.Header, body []byte) ([]forge.Event, error) {
	var r forge.Reading
	event := r.Event(h, "X-Event-Key")
	switch {
	case event == "":
		return r.Settle()
	case event == "repo:push":
		return r.Settle(readPush(&r, h, body)...)
	case pullEvents[event].event != forge.NotOfInterest:
		return r.Settle(readPull(&r, h, body, event))
	}
	var d payload
	var e forge.Event
	if r.Err = forge.Decode(h, body, &d); r.Err == nil && d.Repository != nil {
		e = d.event(&r)
	}
	e.Note = forge.Ignored("event", event)
	return r.Settle(e)
}

func (d payload) event(r *forge.Reading) forge.Event {
	if d.Repository == nil {
		r.Wrong("repository", "is missing")
		return forge.Event{}
	}
	return forge.Event{
		Repository:   r.Repository("repository.full_name", d.Repository.FullName),
		RepositoryID: r.Key("repository.uuid", d.Repository.UUID),
		Actor:        d.Actor.person(r, "actor"),
	}
}

// person prefers the id that CodeBuild's filters have; tokens of repositories
// and workspaces have accounts without one.
func (a payloadUser) person(r *forge.Reading, member string) forge.Person {
	switch {
	case a.AccountID != "":
		return forge.Person{ID: r.Key(member+".account_id", a.AccountID), Login: a.Nickname}
	case a.UUID != "":
		return forge.Person{ID: r.Key(member+".uuid", a.UUID), Login: a.Nickname}
	}
	return forge.Person{}
}

func readPush(r *forge.Reading, h http.Header, body []byte) []forge.Event {
	var d pushPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return nil
	}
	base := d.event(r)
	if d.Push == nil {
		r.Wrong("push", "is missing")
		return nil
	}
	var events []forge.Event
	for _, c := range d.Push.Changes {
		before, after, now := forge.Zeros, forge.Zeros, c.New
		if c.Old != nil {
			before = c.Old.Target.Hash
		}
		if c.New != nil {
			after = c.New.Target.Hash
		} else if now = c.Old; now == nil {
			r.Wrong("push.changes", "has one from nothing to nothing")
			return nil
		}
		prefix := "refs/heads/"
		if now.Type == "tag" {
			prefix = "refs/tags/"
		} else if now.Type != "branch" {
			r.Wrong("push.changes.type", "is neither branch nor tag")
		}
		name := r.Ref("push.changes.name", prefix, now.Name)
		e := r.Push(base, "push.changes.", name, before, after)
		if e.Type == forge.Push {
			e.Message = now.Target.Message
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		base.Note = "a push without changes starts no build"
		events = append(events, base)
	}
	return events
}

// readPull reads an event of a pull request. Its name is in a header, which is
// not signed, and the bodies are much alike. So what the body has must fit the
// name: the state, a comment that is its writer's and as it was written. An
// update alone may pass as the creation, and the other way round.
func readPull(r *forge.Reading, h http.Header, body []byte, key string) forge.Event {
	var d pullPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	e := d.event(r)
	p := d.PullRequest
	if p == nil {
		r.Wrong("pullrequest", "is missing")
		return e
	}
	target := p.Destination.Repository
	if target == nil || d.Repository != nil && target.UUID != d.Repository.UUID {
		r.Wrong("pullrequest.destination.repository", "is not the repository of the event")
	}
	e.Pull = &forge.PullRequest{
		Number:  r.Number("pullrequest.id", p.ID),
		Title:   p.Title,
		Author:  p.Author.person(r, "pullrequest.author"),
		Open:    p.State == "OPEN",
		HeadRef: r.Ref("pullrequest.source.branch.name", "refs/heads/", p.Source.Branch.Name),
		BaseRef: r.Ref("pullrequest.destination.branch.name", "refs/heads/", p.Destination.Branch.Name),
		Fork:    true,
	}
	if c := p.Source.Commit; c != nil { // gone with its repository
		e.Pull.HeadSHA = r.ShortCommit("pullrequest.source.commit.hash", c.Hash)
	}
	if source := p.Source.Repository; source != nil {
		e.Pull.HeadRepo = r.Repository("pullrequest.source.repository.full_name", source.FullName)
		e.Pull.Fork = target == nil || source.UUID != target.UUID
		if e.Pull.Fork && e.Pull.HeadRepo != "" {
			e.Pull.HeadURL = "https://bitbucket.org/" + e.Pull.HeadRepo + ".git"
		}
	}
	e.HeadRef, e.BaseRef, e.SHA = e.Pull.HeadRef, e.Pull.BaseRef, e.Pull.HeadSHA
	e.At = forge.When(p.UpdatedOn)
	e.Type = pullEvents[key].event
	state := pullEvents[key].state
	if d.Approval != nil || d.ChangesRequest != nil || (d.Comment != nil) != (e.Type == forge.Comment) {
		r.Wrong("comment, approval or changes_request", "is not of the event in the header X-Event-Key")
	}
	switch c := d.Comment; {
	case state != "" && p.State != state:
		e.Type, e.Note = forge.NotOfInterest, "the state of the pull request is not that of the event"
	case e.Type == forge.PullMerged && p.MergeCommit != nil && p.CloseSourceBranch:
		e.Merge = r.ShortCommit("pullrequest.merge_commit.hash", p.MergeCommit.Hash)
	case c == nil:
	case d.Actor.UUID == "" || c.User.UUID != d.Actor.UUID || c.Deleted || forge.When(c.UpdatedOn).Sub(forge.When(c.CreatedOn)) > time.Second:
		e.Type, e.Note = forge.NotOfInterest, "a comment that was changed, or is another person's, starts no build"
	default:
		e.Text, e.At = c.Content.Raw, forge.When(c.CreatedOn)
	}
	return e
}
