package datacenter

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// deliveries reads webhooks of Bitbucket Data Center. It tells no paths of
// files and names repositories "KEY/slug", of persons "~user/slug".
// Source: Bitbucket Data Center's documentation, "Event payload" and "Manage
// webhooks".
var deliveries = forge.Deliveries{
	Verify: func(h http.Header, body []byte, secret api.Secret, _ time.Time) (string, error) {
		return "", forge.VerifyHMAC(h, "X-Hub-Signature", "sha256=", body, secret)
	},
	Parse: parseDelivery,
	Describe: func(h http.Header) (event, id string) {
		return forge.Header(h, "X-Event-Key"), forge.Header(h, "X-Request-Id")
	},
	Events: []forge.EventType{
		forge.Push, forge.PullCreated, forge.PullUpdated, forge.PullMerged, forge.PullClosed, forge.Comment,
	},
	Owners: []forge.OwnerKind{forge.OfOrganization},
	Roles: []api.PullRequestBuildApproverRole{
		api.PullRequestBuildApproverRoleBITBUCKET_READ,
		api.PullRequestBuildApproverRoleBITBUCKET_WRITE,
		api.PullRequestBuildApproverRoleBITBUCKET_ADMIN,
	},
	PullRef: "refs/pull-requests/%d/from",
}

type payload struct {
	EventKey   string       `json:"eventKey"`
	Date       string       `json:"date"`
	Actor      payloadUser  `json:"actor"`
	Repository *payloadRepo `json:"repository"` // not of pull requests
}

type payloadUser struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type payloadRepo struct {
	ID      int64  `json:"id"`
	Slug    string `json:"slug"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
	Links struct {
		Clone []struct {
			Href string `json:"href"`
			Name string `json:"name"`
		} `json:"clone"`
	} `json:"links"`
}

type pushPayload struct {
	payload
	Changes []struct {
		RefID    string `json:"refId"`
		FromHash string `json:"fromHash"`
		ToHash   string `json:"toHash"`
	} `json:"changes"`
	ToCommit *struct { // newer versions
		ID      string `json:"id"`
		Message string `json:"message"`
	} `json:"toCommit"`
}

type pullPayload struct {
	payload
	PullRequest *struct {
		ID     int64  `json:"id"`
		Title  string `json:"title"`
		Open   bool   `json:"open"`
		Author struct {
			User payloadUser `json:"user"`
		} `json:"author"`
		FromRef    payloadSide `json:"fromRef"`
		ToRef      payloadSide `json:"toRef"`
		Properties struct {
			MergeCommit *struct {
				ID string `json:"id"`
			} `json:"mergeCommit"`
		} `json:"properties"`
	} `json:"pullRequest"`
	Comment *struct {
		Text string `json:"text"`
	} `json:"comment"`
}

type payloadSide struct {
	ID           string       `json:"id"`
	LatestCommit string       `json:"latestCommit"`
	Repository   *payloadRepo `json:"repository"`
}

var pullEvents = map[string]forge.EventType{
	"pr:opened":           forge.PullCreated,
	"pr:from_ref_updated": forge.PullUpdated,
	"pr:merged":           forge.PullMerged,
	"pr:declined":         forge.PullClosed,
	"pr:comment:added":    forge.Comment,
}

func parseDelivery(h http.Header, body []byte) ([]forge.Event, error) {
	var r forge.Reading
	event := r.Event(h, "X-Event-Key")
	switch {
	case event == "":
		return r.Settle()
	case event == "repo:refs_changed":
		return r.Settle(readPush(&r, h, body)...)
	case pullEvents[event] != forge.NotOfInterest:
		return r.Settle(readPull(&r, h, body, event))
	}
	var d payload
	var e forge.Event
	if r.Err = forge.Decode(h, body, &d); r.Err == nil && d.Repository != nil {
		e = d.event(&r, d.EventKey, "repository", d.Repository)
	}
	e.Note = forge.Ignored("event", event)
	return r.Settle(e)
}

// event is what an event in repo has from the members of every delivery. The
// body must be of the event that the header, which is not signed, says.
func (d payload) event(r *forge.Reading, key, member string, repo *payloadRepo) forge.Event {
	if d.EventKey != key {
		r.Wrong("eventKey", "is not that of the header X-Event-Key")
	}
	if repo == nil {
		r.Wrong(member, "is missing")
		return forge.Event{}
	}
	e := forge.Event{
		Repository:   repo.name(r, member),
		RepositoryID: r.ID(member+".id", repo.ID),
		Actor:        d.Actor.person(),
		At:           forge.When(d.Date),
	}
	if !strings.HasPrefix(repo.Project.Key, "~") {
		e.Organization = repo.Project.Key
	}
	return e
}

func (repo *payloadRepo) name(r *forge.Reading, member string) string {
	return r.Repository(member+".slug", repo.Project.Key+"/"+repo.Slug)
}

func (u payloadUser) person() forge.Person {
	if u.ID <= 0 {
		return forge.Person{}
	}
	return forge.Person{ID: strconv.FormatInt(u.ID, 10), Login: u.Name}
}

func readPush(r *forge.Reading, h http.Header, body []byte) []forge.Event {
	var d pushPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return nil
	}
	base := d.event(r, "repo:refs_changed", "repository", d.Repository)
	var events []forge.Event
	for _, c := range d.Changes {
		e := r.Push(base, "changes.", c.RefID, c.FromHash, c.ToHash)
		if d.ToCommit != nil && d.ToCommit.ID == e.SHA {
			e.Message = d.ToCommit.Message
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		r.Wrong("changes", "is missing")
	}
	return events
}

func readPull(r *forge.Reading, h http.Header, body []byte, key string) forge.Event {
	var d pullPayload
	if r.Err = forge.Decode(h, body, &d); r.Err != nil {
		return forge.Event{}
	}
	p := d.PullRequest
	if p == nil {
		r.Wrong("pullRequest", "is missing")
		return forge.Event{}
	}
	target, source := p.ToRef.Repository, p.FromRef.Repository
	e := d.event(r, key, "pullRequest.toRef.repository", target)
	e.Type = pullEvents[key]
	e.Pull = &forge.PullRequest{
		Number:  r.Number("pullRequest.id", p.ID),
		Title:   p.Title,
		Author:  p.Author.User.person(),
		Open:    p.Open,
		HeadRef: r.Ref("pullRequest.fromRef.id", "", p.FromRef.ID),
		HeadSHA: r.Commit("pullRequest.fromRef.latestCommit", p.FromRef.LatestCommit),
		BaseRef: r.Ref("pullRequest.toRef.id", "", p.ToRef.ID),
		Fork:    true,
	}
	if source != nil {
		e.Pull.HeadRepo = source.name(r, "pullRequest.fromRef.repository")
		e.Pull.Fork = target == nil || source.ID != target.ID
	}
	if source != nil && e.Pull.Fork {
		for _, c := range source.Links.Clone {
			if c.Name == "http" {
				e.Pull.HeadURL = forge.CloneURL(c.Href)
			}
		}
	}
	e.HeadRef, e.BaseRef, e.SHA = e.Pull.HeadRef, e.Pull.BaseRef, e.Pull.HeadSHA
	switch {
	case e.Type == forge.PullMerged && p.Properties.MergeCommit != nil:
		e.Merge = r.Commit("pullRequest.properties.mergeCommit.id", p.Properties.MergeCommit.ID)
	case e.Type == forge.Comment && d.Comment == nil:
		r.Wrong("comment", "is missing")
	case e.Type == forge.Comment:
		e.Text = d.Comment.Text
	}
	return e
}
