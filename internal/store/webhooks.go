package store

import (
	"context"
	"time"

	"github.com/corbel-build/corbel/api"
)

// WebhookReader is what can be read of webhooks and their deliveries.
type WebhookReader interface {
	Webhook(ctx context.Context, s Scope, project string) (Webhook, error)
	// WebhookAt returns the webhook whose payload address has the secret part.
	WebhookAt(ctx context.Context, address string) (Webhook, error)
	// WebhooksElsewhere lists the names of the projects whose webhook has a payload
	// address that does not begin with base and is not polled, in all scopes.
	WebhooksElsewhere(ctx context.Context, base string) ([]string, error)
	// DuePolls lists the webhooks to poll now, the most overdue first, but for
	// those with the addresses in except and those at the hosts in full.
	DuePolls(ctx context.Context, now time.Time, except, full []string, limit int) ([]Webhook, error)
	// NextPoll returns when the next one is due, but for those; ErrNotFound if
	// none ever is.
	NextPoll(ctx context.Context, except, full []string) (time.Time, error)

	// Delivery returns a delivery with its body, whatever its scope.
	Delivery(ctx context.Context, id int64) (Delivery, error)
	// Deliveries lists a page of the deliveries to the webhook with the address,
	// without their bodies, the newest first, those before the id; 0 is the
	// start. limit is at least 1.
	Deliveries(ctx context.Context, hook string, before int64, limit int) ([]Delivery, error)
	// DueHooks lists the webhooks to which a delivery is to be looked at now,
	// the most overdue first, but for those with the addresses in except and
	// those at the hosts in full.
	DueHooks(ctx context.Context, now time.Time, except, full []string, limit int) ([]DueHook, error)
	// DueDeliveries lists the deliveries to the webhook with the address to look
	// at now, without their bodies, the oldest first. Those that wait for another
	// are not due.
	DueDeliveries(ctx context.Context, now time.Time, hook string, limit int) ([]Delivery, error)
	// NextDelivery returns when the next waiting delivery is due, but for those
	// to the webhooks with the addresses in except and to those at the hosts in
	// full; ErrNotFound if none waits.
	NextDelivery(ctx context.Context, except, full []string) (time.Time, error)
	// LastWaiting returns the newest delivery to the webhook with the address
	// that came before another and waits in one of the lanes, and that lane, of
	// several the last one; ErrNotFound if there is none.
	LastWaiting(ctx context.Context, hook string, before int64, lanes []string) (id int64, lane string, err error)

	// Approvals lists the pull requests of a scope that wait for an approval,
	// of one project unless that is "", the oldest first, 1,000 at most.
	Approvals(ctx context.Context, s Scope, project string) ([]Approval, error)
	// Approval returns that of one pull request.
	Approval(ctx context.Context, s Scope, project, repository string, number int) (Approval, error)

	// DueRemovals lists the hooks to remove or to put right at their providers
	// now.
	DueRemovals(ctx context.Context, now time.Time, limit int) ([]Removal, error)
	// NextRemoval returns when the next one is due; ErrNotFound if there is
	// none.
	NextRemoval(ctx context.Context) (time.Time, error)
}

// WebhookWriter is what can be written of them.
type WebhookWriter interface {
	// PutWebhook stores or replaces the webhook of a project. Its poll state is
	// not replaced.
	PutWebhook(ctx context.Context, w Webhook) error
	// DeleteWebhook removes a webhook with its approvals; ErrNotFound if there is
	// none. DeleteDeliveries removes what came for it.
	DeleteWebhook(ctx context.Context, s Scope, project string) error
	// SetPoll writes w's PollEvery, PollNext, PollProblem, PollFailing and Marks;
	// ErrNotFound if the webhook was deleted, or replaced by one with another
	// address.
	SetPoll(ctx context.Context, w Webhook) error
	// NoteRefused counts deliveries that were refused by add and keeps the
	// last reason; nothing happens if there is no such webhook.
	NoteRefused(ctx context.Context, address string, add int, reason string, at time.Time) error

	// PutDelivery stores a new delivery and returns its id. ErrExists if one
	// with the same digest came for the webhook before; a nil digest is like no
	// other. ErrNotFound if no webhook has the address d.Hook any more.
	PutDelivery(ctx context.Context, d Delivery) (int64, error)
	// SaveDelivery writes d's State, Next, Attempts, Problem, Results, Behind and,
	// unless nil, Lanes. What waits for it is due once it leaves a lane; with its
	// end it leaves all. Behind is taken as 0 if that one does not
	// wait. ErrNotFound if d is not waiting any more.
	SaveDelivery(ctx context.Context, d Delivery) error
	// DeleteDeliveries removes at most limit deliveries that are not waiting and
	// were received before a time, and at most as many of those that came for
	// deleted webhooks, and says how many rows it removed. Digests stay as long
	// as their webhook, so that what was signed cannot be sent again.
	DeleteDeliveries(ctx context.Context, before time.Time, limit int) (int, error)

	// PutApproval stores or replaces what waits for a pull request.
	PutApproval(ctx context.Context, a Approval) error
	// DeleteApproval removes it; ErrNotFound if there is none.
	DeleteApproval(ctx context.Context, s Scope, project, repository string, number int) error

	// PutRemoval stores a hook to remove or to put right and returns its id.
	PutRemoval(ctx context.Context, r Removal) (int64, error)
	// DeferRemoval notes a failed attempt and when to try again.
	DeferRemoval(ctx context.Context, id int64, next time.Time, problem string) error
	// DeleteRemoval forgets it; ErrNotFound if it is not there.
	DeleteRemoval(ctx context.Context, id int64) error
}

// A Webhook is what is not on the wire of a project's webhook: the contract's
// document is in the project.
type Webhook struct {
	Scope
	Project string
	Address string // the unguessable part of the payload's address
	Source  api.SourceType
	Host    string // at which it is, as source locations name it
	Owner   string // "owner/name", organization, enterprise or group
	Kind    string // of the owner; see forge.OwnerKind
	HookID  string // the provider's; "" if the user makes the hook
	Sealed  []byte // the secrets; see package credential
	Version int64  // counts changes of Sealed; part of its binding
	Created time.Time

	PollEvery   time.Duration // 0 is never
	PollNext    time.Time
	PollProblem string    // of the last poll, "" if it succeeded
	PollFailing time.Time // the first of those that failed one after the other; zero if the last one succeeded
	Marks       []byte    // what polling remembers, JSON

	Refused       int64 // deliveries with a wrong signature and the like
	RefusedReason string
	RefusedAt     time.Time
}

// A DeliveryState is where a delivery stands in the inbox.
type DeliveryState int

// A delivery waits until everything that follows from it is stored.
const (
	Waiting DeliveryState = iota
	Done
	Failed // given up
)

// An Origin is how a delivery came.
type Origin string

// The origins of deliveries.
const (
	Delivered   Origin = "DELIVERED"
	Polled      Origin = "POLLED"
	Redelivered Origin = "REDELIVERED" // a user wanted it looked at again
	Replayed    Origin = "REPLAYED"    // a user gave it
	Permitted   Origin = "PERMITTED"   // a user approved the build of a pull request
)

// A Delivery is what a provider said of something that happened, or what
// polling found.
type Delivery struct {
	ID int64 // set by the store, never twice the same
	Scope
	Project  string
	Hook     string // the webhook's address
	Origin   Origin
	Received time.Time
	Event    string            // the provider's name of it
	Provider string            // the provider's id of it
	Headers  map[string]string // those that say what the body is
	Digest   []byte            // of what tells it from others; nil is like no other
	Body     []byte            // gzip

	State    DeliveryState
	Next     time.Time // do not look at before
	Attempts int
	Problem  string
	Results  []Result // of each event in it
	// Behind is the id of a delivery to the same webhook that it waits for, 0 if
	// there is none; until that one leaves a lane it is not due.
	Behind int64
	// Lanes are what it waits in: of two deliveries in one lane, the older comes
	// first. They are not read back.
	Lanes []string
}

// A DueHook is a webhook to which a delivery is due.
type DueHook struct {
	Address string
	Host    string // "" if the webhook was deleted
}

// A Result is what came of one event of a delivery.
type Result struct {
	Event      string   `json:"event,omitzero"`
	Note       string   `json:"note,omitzero"`
	Repository string   `json:"repository,omitzero"`
	HeadRef    string   `json:"headRef,omitzero"`
	BaseRef    string   `json:"baseRef,omitzero"`
	SHA        string   `json:"sha,omitzero"`
	Actor      string   `json:"actor,omitzero"` // account id
	Login      string   `json:"login,omitzero"`
	Pull       int      `json:"pull,omitzero"`
	Outcome    string   `json:"outcome"` // STARTED, NO_MATCH, AWAITING_APPROVAL, IGNORED or FAILED; "" is not decided
	Reason     string   `json:"reason,omitzero"`
	Groups     []string `json:"groups,omitzero"` // why each filter group does not match, "" for one that does
	Build      string   `json:"build,omitzero"`
}

// An Approval is a pull request that waits for somebody to approve its build.
type Approval struct {
	Scope
	Project    string
	Repository string
	Number     int
	Title      string
	Author     string // login
	SHA        string
	Since      time.Time
	Event      []byte // what would have started the build, JSON
}

// A Removal is a hook that must not be at its provider any more, or that is in
// doubt until somebody takes the removal back: then it is removed unless it is
// the webhook's.
type Removal struct {
	ID int64 // set by the store
	Scope
	Project  string
	Source   *api.ProjectSource // with whose credential
	Primary  *api.ProjectSource
	Host     string
	Owner    string
	Kind     string
	HookID   string
	Address  string // the payload's whole address
	Created  time.Time
	Next     time.Time
	Attempts int
}

// A Trigger is what started a build by a webhook.
type Trigger struct {
	Event       string `json:"event"`   // PUSH, PULL_REQUEST_CREATED, ...
	Trigger     string `json:"trigger"` // branch/NAME, tag/NAME or pr/N
	HeadRef     string `json:"headRef,omitzero"`
	BaseRef     string `json:"baseRef,omitzero"`
	Actor       string `json:"actor,omitzero"`
	PrevCommit  string `json:"prevCommit,omitzero"`
	MergeCommit string `json:"mergeCommit,omitzero"`
	// Version is what is fetched in place of the source version: a ref that is
	// bound to the commit that was delivered.
	Version string `json:"version"`
	// Untrusted says why the build gets no secrets, "" if it does.
	Untrusted string `json:"untrusted,omitzero"`
	Delivery  int64  `json:"delivery"`
	SHA       string `json:"sha,omitzero"` // the commit that was delivered, "" if none was told
	// Location is that of the repository whose pull request it is, where the source
	// is a fork. It is the one that hears of the build.
	Location string `json:"location,omitzero"`
	// Waited is the context of the failed status that said that the commit waits
	// for approval, "" if there is none.
	Waited string `json:"waited,omitzero"`
}

// Variables are the environment variables that tell a build of what started it.
// Source: user guide, "Environment variables in build environments".
func (t Trigger) Variables() map[string]string {
	vars := map[string]string{"CODEBUILD_WEBHOOK_EVENT": t.Event, "CODEBUILD_WEBHOOK_TRIGGER": t.Trigger}
	for name, val := range map[string]string{
		"HEAD_REF": t.HeadRef, "BASE_REF": t.BaseRef, "ACTOR_ACCOUNT_ID": t.Actor, "PREV_COMMIT": t.PrevCommit, "MERGE_COMMIT": t.MergeCommit,
	} {
		if val != "" {
			vars["CODEBUILD_WEBHOOK_"+name] = val
		}
	}
	return vars
}
