// Package store is the seam to what Corbel remembers: accounts, access keys,
// source credentials, projects, builds with their queue, and what is waiting
// to be sent.
//
// A store keeps facts and refuses contradictions; it decides nothing. Rules
// live in the rooms that call it. Documents are the contract's own JSON;
// what is not on the wire (sealed tokens, leases) has fields of its own here,
// so that it cannot leak through an answer.
//
// Every method is safe for concurrent use. An absent row is ErrNotFound.
// storetest.Run defines the contract that each adapter keeps.
package store

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/corbel-build/corbel/api"
)

// What callers branch on.
var (
	ErrNotFound  = errors.New("not found")
	ErrExists    = errors.New("exists already")
	ErrLeaseLost = errors.New("the lease on the build is lost")
)

// A Store keeps the state of one installation.
type Store interface {
	Reader

	// Update runs fn in one transaction and returns when what it wrote is
	// durable. An error of fn undoes what it wrote and is returned as it is.
	// fn may share its commit with others, so it must be quick: it reads and
	// writes through tx and waits for nothing else. It runs at most once.
	Update(ctx context.Context, fn func(tx Tx) error) error

	// Queued returns a channel that receives after a build was queued,
	// Stopping one that receives after RequestStop, and Outgoing one that
	// receives after a status was put. Delivered returns one that receives after
	// a delivery or a hook's removal was put, and Polling one that receives after
	// SetPoll. Wake-ups coalesce: the one receiver of each looks for everything
	// that is there. They are never closed.
	Queued() <-chan struct{}
	Stopping() <-chan struct{}
	Outgoing() <-chan struct{}
	Delivered() <-chan struct{}
	Polling() <-chan struct{}

	Close() error
}

// A Scope is the account and region that a resource lives in. Nothing crosses
// scopes.
type Scope struct {
	Account string // 12 digits
	Region  string
}

// Reader is what can be read, inside a transaction or outside.
type Reader interface {
	CredentialReader
	SecretReader
	SealedReader
	AuditReader
	SessionReader
	WebhookReader

	Account(ctx context.Context, id string) (Account, error)
	// Regions lists the regions in which an account has projects or source
	// credentials, by name.
	Regions(ctx context.Context, account string) ([]string, error)
	Accounts(ctx context.Context) ([]Account, error)
	AccessKey(ctx context.Context, id string) (AccessKey, error)
	// AccessKeys lists an account's keys, oldest first.
	AccessKeys(ctx context.Context, account string) ([]AccessKey, error)

	Project(ctx context.Context, s Scope, name string) (*api.Project, error)
	// ProjectNames lists a page of names. limit is at least 1.
	ProjectNames(ctx context.Context, s Scope, page ProjectPage) ([]ProjectKey, error)

	Build(ctx context.Context, s Scope, id string) (Build, error)
	// BuildDocuments returns the documents of those ids that exist, in the
	// order of ids.
	BuildDocuments(ctx context.Context, s Scope, ids []string) ([]api.Build, error)
	// BadgeStatus returns the status of the newest build of ref, a full name, of
	// the project whose badge's address has badge. ErrNotFound if there is no
	// such build or no such project.
	BadgeStatus(ctx context.Context, badge, ref string) (api.StatusType, error)
	// BuildKeys lists a page of builds: of one project by number, or of the
	// scope by the time of their request. limit is at least 1.
	BuildKeys(ctx context.Context, s Scope, page BuildPage) ([]BuildKey, error)
	// BuildOutcomes gives visit each build that was requested since then, of one
	// project or with "" of the scope, the newest first. It ends with an error
	// of visit, which must not use the store.
	BuildOutcomes(ctx context.Context, s Scope, project string, since time.Time, visit func(BuildOutcome) error) error
	// UnfinishedBuilds counts the builds of a project, or with "" of the scope,
	// that are queued and that are running.
	UnfinishedBuilds(ctx context.Context, s Scope, project string) (queued, running int, err error)
	// ActiveBuilds counts a project's builds that are queued or running,
	// but no further than limit.
	ActiveBuilds(ctx context.Context, s Scope, project string, limit int) (int, error)
	// QueuedBuilds counts an account's builds that are queued, in constant
	// time.
	QueuedBuilds(ctx context.Context, account string) (int, error)
	// IdempotentBuild returns what PutIdempotent stored for token, if it has
	// not expired.
	IdempotentBuild(ctx context.Context, s Scope, token string, now time.Time) (Idempotent, error)

	// StopRequests lists the ids of holder's builds that are to be stopped.
	StopRequests(ctx context.Context, holder string) ([]string, error)

	// LogGroups lists the log groups whose name starts with prefix, by name.
	LogGroups(ctx context.Context, s Scope, prefix, after string, limit int) ([]LogGroup, error)
	// LogStreams lists the streams of a group, by name or by time.
	LogStreams(ctx context.Context, s Scope, page StreamPage) ([]LogStream, error)
	LogStream(ctx context.Context, s Scope, group, stream string) (LogStream, error)

	// Check returns what PutCheck stored under name.
	Check(ctx context.Context, name string) ([]byte, error)
}

// Tx is one transaction.
type Tx interface {
	Reader
	CredentialWriter
	SecretWriter
	SealedWriter
	AuditWriter
	SessionWriter
	WebhookWriter

	PutAccount(ctx context.Context, a Account) error
	// PutAccessKey stores a new key; ErrExists if the id is taken.
	PutAccessKey(ctx context.Context, k AccessKey) error
	// DeleteAccessKey removes a key with the sessions that stand for it.
	DeleteAccessKey(ctx context.Context, id string) error
	// SetPolicy replaces a key's policy; ErrNotFound if there is no such key.
	SetPolicy(ctx context.Context, id, policy string) error

	// CreateProject stores a new project; ErrExists if the name is taken.
	CreateProject(ctx context.Context, s Scope, p *api.Project) error
	// UpdateProject replaces a project; ErrNotFound if there is none.
	UpdateProject(ctx context.Context, s Scope, p *api.Project) error
	// DeleteProject removes a project and keeps its builds; ErrNotFound if
	// there is none.
	DeleteProject(ctx context.Context, s Scope, name string) error

	// NextBuildNumber counts a project's builds up, from 1. A number is
	// never given twice, not even after the project was deleted.
	NextBuildNumber(ctx context.Context, s Scope, project string) (int64, error)
	// QueueBuild stores a new build in state Queued.
	QueueBuild(ctx context.Context, b Build) error
	// RequestStop notes that a build is to be stopped, unless it is
	// complete. It returns the build as it is then.
	RequestStop(ctx context.Context, s Scope, id string) (Build, error)
	// EndQueuedBuild completes a build that nobody has claimed; ErrNotFound
	// if it is not in state Queued any more.
	EndQueuedBuild(ctx context.Context, b Build) error
	// DeleteBuild removes a completed build; ErrNotFound if there is none or
	// it is not complete.
	DeleteBuild(ctx context.Context, s Scope, id string) error
	// AddContext appends a context to the last phase but COMPLETED of a
	// completed build; nothing happens to others.
	AddContext(ctx context.Context, s Scope, id string, c api.PhaseContext) error
	PutIdempotent(ctx context.Context, s Scope, i Idempotent) error

	// ClaimBuild hands the oldest queued build to holder until the lease
	// ends. Two holders never have the same build. ErrNotFound when the
	// queue is empty.
	ClaimBuild(ctx context.Context, holder string, until time.Time) (Build, error)
	// ExtendLeases holds all of holder's builds until then.
	ExtendLeases(ctx context.Context, holder string, until time.Time) error
	// SaveBuild writes a claimed build's document and state. ErrLeaseLost
	// if b.Holder with b.Attempt does not have it any more.
	SaveBuild(ctx context.Context, b Build) error
	// ReturnBuild puts a claimed build back into the queue with its
	// document; ErrLeaseLost as SaveBuild.
	ReturnBuild(ctx context.Context, b Build) error
	// ExpiredBuilds lists running builds whose lease ended before now, and,
	// if others is set, all that another holder than except has.
	ExpiredBuilds(ctx context.Context, now time.Time, except string, others bool) ([]Build, error)
	// OverdueBuilds lists queued builds whose time in the queue ended
	// before now.
	OverdueBuilds(ctx context.Context, now time.Time) ([]Build, error)

	// PutLogStream notes a log and its group; nothing happens if it is
	// there already.
	PutLogStream(ctx context.Context, s Scope, l LogStream) error

	// PutStatus appends a commit status to the outbox.
	PutStatus(ctx context.Context, s CommitStatus) error
	// DueStatuses lists the statuses to send now, but for those with the ids in
	// except and those at the hosts in full. Of each commit and context only
	// the oldest unsent one is listed, so that order is kept.
	DueStatuses(ctx context.Context, now time.Time, except []int64, full []string, limit int) ([]CommitStatus, error)
	// DeferStatus notes a failed attempt and when to try again.
	DeferStatus(ctx context.Context, id int64, next time.Time, problem string) error
	// DeleteStatus removes a status that was sent or given up.
	DeleteStatus(ctx context.Context, id int64) error
	// NextStatus returns when the next status is due, but for those;
	// ErrNotFound if none is waiting.
	NextStatus(ctx context.Context, except []int64, full []string) (time.Time, error)

	// PutCheck stores a value under a name, once; ErrExists afterwards.
	PutCheck(ctx context.Context, name string, value []byte) error
}

// An Account owns everything else.
type Account struct {
	ID      string // 12 digits
	Created time.Time
}

// An AccessKey lets a user of an account sign requests.
type AccessKey struct {
	ID      string // AKIA and 16 characters
	Account string
	User    string // becomes the initiator of builds
	Sealed  []byte // the secret, sealed with the key id as its binding
	Created time.Time
	Policy  string    // what it may do, as JSON; "" is everything in its account
	Expires time.Time // zero is never
}

// Ended reports whether the key's time is over.
func (k AccessKey) Ended(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// A ProjectPage asks for a page of project names after After.
type ProjectPage struct {
	SortBy     api.ProjectSortByType // default NAME
	Descending bool
	After      *ProjectKey // nil is the start
	Limit      int
}

// A ProjectKey is a project's place in every order.
type ProjectKey struct {
	Name     string
	Created  time.Time
	Modified time.Time
}

// A BuildPage asks for a page of builds after After.
type BuildPage struct {
	Project    string         // "" is all of the scope
	Status     api.StatusType // "" is any, as is an Initiator of ""
	Initiator  string
	Since      time.Time // leaves out what was requested before
	Descending bool
	After      *BuildKey // nil is the start
	Limit      int
}

// A BuildKey is a build's place in every order.
type BuildKey struct {
	ID        string
	Number    int64
	Requested time.Time
}

// A BuildOutcome is what became of a build.
type BuildOutcome struct {
	ID, Project string
	Status      api.StatusType
	Requested   time.Time
	Dequeued    time.Time // when it no longer waited for its turn; zero is not yet
	Ended       time.Time // zero is not yet
}

// A BuildState is where a build stands in the queue.
type BuildState int

// A build is queued, then held by a runner, then complete.
const (
	Queued BuildState = iota
	Running
	Complete
)

// A Build is a build with its place in the queue.
type Build struct {
	Scope
	Doc        *api.Build // never nil; its Id, ProjectName and BuildNumber are columns too
	State      BuildState
	Requested  time.Time
	QueueUntil time.Time // ends a build that still waits then
	Stop       bool      // StopBuild was called
	Holder     string    // of the lease, while running
	Attempt    int       // counts the claims
	// Ref is the full name of the branch or tag of the project's repository that
	// the primary source was got from, "" before that, for a commit id and for
	// another repository. SaveBuild writes it.
	Ref string
	// Trigger is what started it, nil if that was no webhook.
	Trigger *Trigger
}

// BadgeOf is what the address of p's badge has in place of a name, "" without a
// badge.
func BadgeOf(p *api.Project) string {
	if p.Badge == nil || p.Badge.BadgeRequestUrl == nil {
		return ""
	}
	u, err := url.Parse(*p.Badge.BadgeRequestUrl)
	if err != nil {
		return ""
	}
	return u.Query().Get("uuid")
}

// An Idempotent remembers which build an idempotency token started.
type Idempotent struct {
	Token   string
	Digest  string // of the request's parameters
	Build   string // build id
	Expires time.Time
}

// A LogGroup is a set of log streams by name.
type LogGroup struct {
	Name    string
	Created time.Time // of its oldest stream
}

// A StreamPage asks for a page of a group's streams after After.
type StreamPage struct {
	Group      string
	Prefix     string
	ByTime     bool
	Descending bool
	After      *LogStream // nil is the start
	Limit      int
}

// A LogStream is one build's log. A stream is named after its build, so names
// do not repeat within a group.
type LogStream struct {
	Group, Name string
	Build       string // build id
	Created     time.Time
}

// A CommitStatus waits in the outbox to be sent to a provider.
type CommitStatus struct {
	ID int64 // set by the store, never twice the same
	Scope
	Project     string
	Build       string // build id
	Source      *api.ProjectSource
	Host        string // of Source's location; set by the store
	SHA         string
	State       string // pending, success, failure or error
	Context     string
	Description string
	TargetURL   string
	Created     time.Time
	Next        time.Time // do not send before
	Attempts    int
}
