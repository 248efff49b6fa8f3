// Package forge is the seam to source providers: what they can be asked to do
// with a token, which hosts they are, and the one way to reach them.
//
// Hosts knows the hosts: those of the providers that everybody knows, such as
// github.com, and those that the operator lists. Locate turns the source location of a project into
// a Repository and says whether a stored token may be used there. Transport
// is under every connection to a provider, of git as of the API; it checks
// the address that is dialled and lets no credentials out to a host that is
// not of Hosts. Client adds what a caller of one host's API needs.
//
// A Forge is what an adapter implements, and a Provider how it describes
// itself. One adapter serves every host of its kind: a self-managed
// installation is another Host, not another Forge. The
// promises are in the comments of the methods; package forgetest checks them.
//
// A token is an api.Secret and is put into a request header, nowhere else. No
// error of this package or of an adapter contains it.
package forge

import (
	"context"
	"errors"
	"time"

	"github.com/corbel-build/corbel/api"
)

// A Forge does with a token what a source provider offers. It is safe for
// concurrent use, keeps nothing between calls, and waits no longer than the
// context lets it. It never tries again by itself.
type Forge interface {
	// CheckCredential asks host whose token this is and what it may do. It
	// changes nothing there. A token that lacks scopes is no error: see
	// Check.Missing.
	//
	// The error is ErrRefused if the provider knows the token as bad (unknown,
	// revoked, expired, or not authorized for single sign-on), and its text
	// names the host and the reason. It is ErrUnreachable if the question was
	// not answered: no connection, a time limit, a rate limit, an error of the
	// server, an answer that is not the provider's. Then nothing is known
	// about the token.
	CheckCredential(ctx context.Context, host Host, token Token) (Check, error)

	// CheckRepository asks what the token may do with repo, written
	// "owner/name". It changes nothing there: where the provider does not tell,
	// it sends what would be refused anyway, and reads from the refusal whether
	// the token was the reason. The error is that of CheckCredential.
	CheckRepository(ctx context.Context, host Host, token Token, repo string) (Abilities, error)

	// SetStatus gives the commit s.SHA of repo, written "owner/name", a status.
	// The newest status of a commit and context is the one that counts, so
	// calling it again with the same status is harmless. A description that is
	// too long for the provider is cut.
	//
	// Retry tells from the error whether and when to try again. A permanent
	// error says what is missing, such as a scope.
	SetStatus(ctx context.Context, host Host, token Token, repo string, s Status) error

	Hooks
}

// A Token is what is shown to a provider.
type Token struct {
	Auth  api.AuthType // PERSONAL_ACCESS_TOKEN, BASIC_AUTH or OAUTH
	User  string       // for BASIC_AUTH; "" otherwise
	Value api.Secret
	Host  string // name of the one host that it is for; "" is every one of its server type
}

// Abilities are what a token may do with a repository.
type Abilities struct {
	Clone  Ability // read it
	Status Ability // give its commits a status
	Hook   Ability // make and remove webhooks
}

// An Ability is whether a token may do something, and if that is not Yes, why:
// what is missing and what to do.
type Ability struct {
	Can Answer
	Why string
}

// An Answer is yes, no or unknown.
type Answer string

// The answers.
const (
	Yes     Answer = "YES"
	No      Answer = "NO"
	Unknown Answer = "UNKNOWN"
)

// A Check is what a provider says about a token.
type Check struct {
	// Login is the user whose token it is, "" for a token without a user.
	Login string
	Kind  Kind
	// Scopes are what was granted, as the provider names them. It is nil if
	// the provider does not tell, which is so for fine-grained tokens.
	Scopes []string
	// Missing are the scopes that the user guide asks for and that neither
	// were granted nor follow from those that were. It is nil where Scopes is.
	Missing []string
	// Purpose says for each missing scope what will not work without it.
	Purpose map[string]string
	// Expires is when the token ends, zero if it does not or nobody knows.
	Expires time.Time
	// Remaining is how many requests are left in the provider's current
	// window, -1 if it does not tell.
	Remaining int
}

// A Kind is the sort of a token.
type Kind string

// The kinds of tokens. The empty Kind is one that is not known.
const (
	Classic     Kind = "classic"      // a personal access token with scopes
	FineGrained Kind = "fine-grained" // a personal access token with permissions for repositories
	OAuth       Kind = "oauth"        // of an OAuth app
	App         Kind = "app"          // of an app's installation, or of a user through one
	Account     Kind = "account"      // of a person's account, such as Atlassian's API tokens
	AppPassword Kind = "app-password" // Bitbucket's former kind
	Resource    Kind = "resource"     // of a repository, project, group or workspace
)

// A Status is what a provider shows beside a commit.
type Status struct {
	SHA         string // the full commit id
	State       string // Pending, Success, Failure or Fault
	Context     string // tells statuses of one commit apart
	Description string
	TargetURL   string // a link; "" is none
}

// The states of a Status, in GitHub's words.
const (
	Pending = "pending"
	Success = "success"
	Failure = "failure"
	Fault   = "error" // the build could not be judged
)

// The errors of CheckCredential, for errors.Is.
var (
	ErrRefused     = errors.New("token refused")
	ErrUnreachable = errors.New("provider not reachable")
)

// An Error is a provider's answer other than the hoped for one, or the lack of
// an answer. Text is made for people and ends with what to do, if there is
// something.
type Error struct {
	Kind error // ErrRefused, ErrUnreachable or nil
	Host string
	Text string
	Again
	Cause error // nil if the provider answered
}

// Error implements the error interface.
func (e *Error) Error() string { return e.Host + ": " + e.Text }

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Again says whether a call that failed is worth another try.
type Again struct {
	Worthwhile bool
	// After is how long to wait at least. 0 leaves it to the caller.
	After time.Duration
}

// Retry returns what an error says about another try. Errors that are not of
// a Forge are not worth one, but for a deadline that has passed.
func Retry(err error) Again {
	var known *Error
	if errors.As(err, &known) {
		return known.Again
	}
	return Again{Worthwhile: errors.Is(err, context.DeadlineExceeded)}
}
