package forge

import (
	"context"
	"net/http"
	"time"

	"github.com/corbel-build/corbel/api"
)

// An EventType is what happened at a provider, in the words of a webhook's
// EVENT filter.
// Source: API reference, WebhookFilter, type EVENT.
type EventType string

// The types of events that can start a build. Comment and the empty type
// start none by themselves.
const (
	Push              EventType = "PUSH"
	PullCreated       EventType = "PULL_REQUEST_CREATED"
	PullUpdated       EventType = "PULL_REQUEST_UPDATED"
	PullReopened      EventType = "PULL_REQUEST_REOPENED"
	PullMerged        EventType = "PULL_REQUEST_MERGED"
	PullClosed        EventType = "PULL_REQUEST_CLOSED"
	Released          EventType = "RELEASED"
	Prereleased       EventType = "PRERELEASED"
	WorkflowJobQueued EventType = "WORKFLOW_JOB_QUEUED"
	Comment           EventType = "COMMENT" // on a pull request; may approve a build
	NotOfInterest     EventType = ""        // Event.Note says what it was
)

// An Event is one thing that a delivery says happened. Every fact comes from
// what the provider states itself; names in commits are nobody's word.
type Event struct {
	Type EventType
	Note string // what a NotOfInterest event is and why nothing follows, such as "ping" or "the branch was deleted"

	Repository   string // "owner/name", where it happened; for pull requests the one that they ask
	RepositoryID string // the provider's, which stays when it is renamed
	Organization string // the login of the organization, the path of the group, or "" for a person's repository; the owner, whoever it is, where a delivery does not tell (GitLab, Gitea)

	// Actor is who did it, by the provider's account of the delivery: GitHub's
	// sender, Bitbucket's actor, GitLab's user. The zero Person is not known.
	Actor Person

	HeadRef  string       // refs/heads/NAME or refs/tags/NAME; of a pull request, its source branch
	BaseRef  string       // refs/heads/NAME of a pull request's target, else ""
	SHA      string       // the commit to build, of Bitbucket's pull requests its first 12 digits; "" if there is none, as for a deleted branch
	Before   string       // of a push: the former commit, 40 zeros for a new branch
	Message  string       // of the commit SHA, where the delivery has it; MessageUnknown says that nobody could be asked for it
	Merge    string       // the commit of a merge, where the delivery tells it; of Bitbucket's only if the source branch is closed with it
	Pull     *PullRequest // of events of pull requests and of comments on them; of GitHub's and Gitea's comments without Head and Base, and as a Fork
	Release  string       // name of a release
	Tag      string       // tag of a release, without refs/tags/
	Workflow string       // name of a workflow, for WorkflowJobQueued

	// Files are the paths that a push changed, in both names of a renamed file.
	// FilesKnown says that they are all: not for pull requests and not for a
	// push whose list the provider cut, which Forge.ChangedFiles answers.
	Files      []string
	FilesKnown bool

	MessageUnknown bool

	// Text is a comment's, At the time that the provider gives to the event.
	Text string
	At   time.Time
}

// A Person is an account at a provider. ID is what it calls the account for
// good: numbers at GitHub, GitLab and Gitea, Bitbucket's account_id, Data
// Center's numeric id. Login may change and be taken by another.
type Person struct{ ID, Login string }

// A PullRequest asks to merge Head into Base. Number is its number within the
// repository that it asks.
type PullRequest struct {
	Number   int
	Title    string
	Author   Person
	Open     bool
	HeadRepo string // "owner/name" of its source; "" if that is gone
	HeadURL  string // https address to clone HeadRepo from, where it is a fork and told
	HeadRef  string // refs/heads/NAME there
	HeadSHA  string
	BaseRef  string // refs/heads/NAME
	Fork     bool   // its source is another repository, or one that is gone
	Squash   string // the one commit that a merge made of its commits, where Deliveries.Squash is set and the service would tell it
}

// An Owner is what a hook watches.
type Owner struct {
	Kind OwnerKind
	Name string // "owner/name", the organization's or enterprise's name, or the group's path
}

// An OwnerKind is the sort of an Owner.
type OwnerKind string

// The kinds of owners. Only repositories have hooks at every provider.
const (
	OfRepository   OwnerKind = "REPOSITORY"
	OfOrganization OwnerKind = "ORGANIZATION" // GitHub's, Gitea's; a project of Data Center
	OfEnterprise   OwnerKind = "ENTERPRISE"   // GitHub Enterprise
	OfGroup        OwnerKind = "GROUP"        // GitLab's
)

// A Hook makes a provider tell about events.
type Hook struct {
	ID      string // the provider's; "" before it is made
	URL     string // the address of the hook itself in the provider's API, where it has one
	Address string // where deliveries go; a hook is found again by it
	Secret  api.Secret
	Events  []EventType // those to be told of, with Comment if comments are wanted
}

// Hooks is what a Forge does for webhooks and for polling. The promises of
// Forge hold for it: nothing is kept, nothing is tried again, no error has the
// token or a hook's secret. An error tells the provider's own words, what the
// token lacks, if that can be known, and what to do; a rate limit is
// ErrUnreachable with Again.After set.
type Hooks interface {
	// PutHook makes the hook, active and with JSON bodies, or changes the one
	// of the same ID or the same Address, whatever it was like. So calling it
	// again, after an answer was lost, leaves one hook. It returns h with ID
	// and URL set. After an error that is not worth another try, nothing was
	// made or changed.
	PutHook(ctx context.Context, host Host, token Token, owner Owner, h Hook) (Hook, error)

	// DeleteHook removes the hook of h.ID, and each whose address is
	// h.Address. That there is none is no error.
	DeleteHook(ctx context.Context, host Host, token Token, owner Owner, h Hook) error

	// Role returns what who may do with repo, in the words of an approver
	// role; "" is nothing, or nothing that the token may know.
	Role(ctx context.Context, host Host, token Token, repo string, who Person) (api.PullRequestBuildApproverRole, error)

	// PullRequest returns a pull request as it is now.
	PullRequest(ctx context.Context, host Host, token Token, repo string, number int) (PullRequest, error)

	// ChangedFiles lists the paths that differ: of a pull request if number is
	// above 0, else between two commits of repo; before may be zeros, for
	// what sha's history adds to the default branch. complete is false where
	// the provider cuts the list.
	ChangedFiles(ctx context.Context, host Host, token Token, repo string, number int, before, sha string) (paths []string, complete bool, err error)

	// Message returns the message of a commit.
	Message(ctx context.Context, host Host, token Token, repo, sha string) (string, error)

	// Poll returns the branches, tags and open pull requests of repo. marks are
	// those of the answer before, nil at first: where the provider has
	// conditional requests, what did not change since is not sent again, costs
	// no rate limit, and is told by the two Unchanged.
	Poll(ctx context.Context, host Host, token Token, repo string, marks map[string]string) (Polled, error)

	// Repositories lists a page of those that the token can see and whose name
	// contains search, best known first; next is "" on the last page and else
	// what page is for the one after. page is "" at first.
	Repositories(ctx context.Context, host Host, token Token, search, page string) (list []Listed, next string, err error)
}

// Polled is what Hooks.Poll found.
type Polled struct {
	Refs           map[string]string // full name -> commit; branches and tags
	Pulls          []PullRequest     // open ones, at most 1,000, the newest first
	RefsUnchanged  bool              // then Refs is nil
	PullsUnchanged bool              // then Pulls is nil
	Marks          map[string]string
	After          time.Duration // the provider's wish how long to wait, 0 if it has none
}

// Listed is a repository to choose from.
type Listed struct {
	Name    string // "owner/name"
	URL     string // https address to clone
	Private bool
	Default string // branch
}

// Deliveries is how a provider's deliveries are read. Both functions are pure
// and safe for concurrent use; they never panic, whatever they get.
type Deliveries struct {
	// Verify checks that whoever sent the body knows the secret, in constant
	// time. A nil error is the only yes. A signature over a time is good for
	// five minutes around now.
	//
	// A delivery that has id and body of another is a repetition. So id is one
	// that the provider keeps when it delivers again, and that is signed with the
	// body; or it is not, where a token proves who sent the delivery and nothing
	// covers the body: whoever can change such an id can write bodies as well. It
	// is "" where the body alone is signed, which is then good once.
	Verify func(h http.Header, body []byte, secret api.Secret, now time.Time) (id string, err error)

	// Parse reads a delivery whose signature was verified. One delivery can
	// tell of several events, as Bitbucket's pushes of several branches do.
	// What the provider tells and nothing follows from is one NotOfInterest
	// event. An error is for a body that is not the provider's, and says what
	// is wrong with it; it has nothing of the body but names of members.
	Parse func(h http.Header, body []byte) ([]Event, error)

	// Describe names a delivery for listings: the provider's name of the event
	// and its id of the delivery, "" where the headers lack them.
	Describe func(h http.Header) (event, id string)

	// Events are the types of events that the provider can tell of.
	Events []EventType
	// Owners are the kinds of owners, beside repositories, that it has hooks for.
	Owners []OwnerKind
	// Roles are its approver roles, the weakest first.
	Roles []api.PullRequestBuildApproverRole
	// Squash says that a delivery of a merge does not tell whether it was a
	// squash, and Forge.PullRequest does.
	Squash bool
	// PullRef is the ref of a pull request's head in the repository that it
	// asks, with %d for the number, such as refs/pull/%d/head; "" if the
	// commit is in the source's repository only.
	PullRef string
}

// Writers are the roles that may write to a repository: whose approval is asked
// for where a policy names none.
func (d Deliveries) Writers() []api.PullRequestBuildApproverRole {
	for i, r := range d.Roles {
		switch r {
		case api.PullRequestBuildApproverRoleGITHUB_WRITE, api.PullRequestBuildApproverRoleGITLAB_DEVELOPER, api.PullRequestBuildApproverRoleBITBUCKET_WRITE:
			return d.Roles[i:]
		}
	}
	return nil
}
