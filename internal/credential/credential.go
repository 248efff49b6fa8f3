// Package credential knows which token a source uses, and is where tokens are
// sealed into and opened from the store.
//
// A Resolver answers with an Access: the repository, whose token it gets and
// why, and ways to use that token. The token is opened only when it is used,
// each time anew, only for the host that it is for, and after a line in the
// audit log says so. A Checker asks the providers what they think of the
// stored tokens, when one is imported and from then on.
package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// plaintext is what is sealed.
type plaintext struct {
	User  string `json:"user,omitzero"`
	Token string `json:"token"`
	// Of what was connected with OAuth:
	Refresh string    `json:"refresh,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Host    string    `json:"host,omitzero"` // name of the one host that it is for
}

// Binding is what the seal of a credential is bound to.
func Binding(c store.Credential) string {
	return vault.Binding("source-credential", c.ARN, c.Account, c.Region, strconv.FormatInt(c.Generation, 10))
}

// Seal seals a token, with the user name that goes with it, for the
// credential that c describes: its ARN, account, region and generation.
func Seal(v *vault.Vault, c store.Credential, user string, token api.Secret) ([]byte, error) {
	return seal(v, c, plaintext{User: user, Token: token.Reveal()})
}

func seal(v *vault.Vault, c store.Credential, p plaintext) ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("seal credential %s: %w", c.ARN, err)
	}
	sealed, err := v.Seal(Binding(c), api.Secret(b))
	if err != nil {
		return nil, fmt.Errorf("seal credential %s: %w", c.ARN, err)
	}
	return sealed, nil
}

func open(v *vault.Vault, c store.Credential) (plaintext, error) {
	text, err := v.Open(Binding(c), c.Sealed)
	if err != nil {
		return plaintext{}, fmt.Errorf("open credential %s: %w", c.ARN, err)
	}
	var p plaintext
	if json.Unmarshal([]byte(text.Reveal()), &p) != nil {
		return plaintext{}, fmt.Errorf("open credential %s: its content is damaged", c.ARN)
	}
	return p, nil
}

// A Resolver finds the credential of a source.
type Resolver struct {
	Store store.Store
	Vault *vault.Vault
	Hosts *forge.Hosts
	Now   func() time.Time
	// Secret reads the current version of a secret of Secrets Manager by its
	// ARN. Its error does not contain what it read.
	Secret func(ctx context.Context, s store.Scope, arn string) (api.Secret, error)
	// OAuth is how what was connected with OAuth is renewed.
	OAuth *OAuth
	// Suspect, if not nil, is told of a stored credential that a provider has
	// just refused.
	Suspect func(ctx context.Context, s store.Scope, server api.ServerType)
}

// An Origin is where it stands which credential a source uses.
type Origin string

// The origins, in the order in which they are looked at.
const (
	Source  Origin = "SOURCE"  // auth of the source itself
	Project Origin = "PROJECT" // auth of a primary source of type NO_SOURCE
	Account Origin = "ACCOUNT" // the account's stored credential for the server type
	None    Origin = "NONE"    // the repository is read without a credential
)

// A Problem is an error that the user can mend, such as a secret that is not
// what it should be.
type Problem struct {
	text  string
	cause error
}

func (p *Problem) Error() string { return p.text }

// Unwrap lets errors.Is find forge.ErrRefused where the provider said no.
func (p *Problem) Unwrap() error { return p.cause }

func problem(format string, args ...any) *Problem {
	return &Problem{text: fmt.Sprintf(format, args...)}
}

// ErrNoCredential says that the source is read without one.
var ErrNoCredential = errors.New("there is no credential for the source")

// connections is the problem of an auth type that only AWS can serve.
func connections() *Problem {
	return problem("auth type CODECONNECTIONS is not supported: connections exist at AWS only. Import a token with PERSONAL_ACCESS_TOKEN or BASIC_AUTH, or name a secret with SECRETS_MANAGER")
}

// An Access is a repository with the credential that it uses, if any.
type Access struct {
	Repository forge.Repository
	ServerType api.ServerType
	Origin     Origin
	// ARN is that of the stored credential or, where the source or the project
	// names a secret, of the secret. "" is anonymous.
	ARN string
	// Credential is the account's as it was when the source was resolved, nil
	// for other origins.
	Credential *store.Credential
	// Reason says for people why it is this one.
	Reason string
	// Build is the build on whose behalf the credential is used, "" if none.
	Build string

	r     *Resolver
	scope store.Scope

	mu    sync.Mutex
	noted map[string]bool // uses that are in the audit log
}

// Resolve finds the repository of src and the credential for it, in the
// service's order: what the source names itself, what a primary source of
// type NO_SOURCE names for the project, the account's default for the
// provider, or none. primary may be src itself. It opens nothing.
func (r *Resolver) Resolve(ctx context.Context, scope store.Scope, src, primary *api.ProjectSource) (*Access, error) {
	repo, err := r.Hosts.Locate(src.Type, deref(src.Location))
	if err != nil {
		return nil, problem("%v", err)
	}
	return r.resolve(ctx, scope, src, primary, repo)
}

// ResolveOwner is Resolve for what has no location of its own: an
// organization, an enterprise or a group at a host, which is named as locations
// name it. The repository of what it returns has the host alone.
func (r *Resolver) ResolveOwner(ctx context.Context, scope store.Scope, src, primary *api.ProjectSource, host string) (*Access, error) {
	for _, h := range r.Hosts.For(api.ServerType(src.Type)) {
		if h.Name == host {
			return r.resolve(ctx, scope, src, primary, forge.Repository{Host: h, Trusted: true})
		}
	}
	return nil, problem("%s is not a host that tokens for %s may be sent to; list it with corbel hosts", host, src.Type)
}

func (r *Resolver) resolve(ctx context.Context, scope store.Scope, src, primary *api.ProjectSource, repo forge.Repository) (*Access, error) {
	server := api.ServerType(src.Type) // source types of repositories have the same names
	a := &Access{Repository: repo, ServerType: server, Origin: None, r: r, scope: scope, noted: map[string]bool{}}
	if !repo.Trusted { // no token is for this host
		a.Reason = fmt.Sprintf("%s is not listed for %s, or is named with http, so no token is sent there", repo.Host.Name, server)
		return a, nil
	}
	auth, origin := src.Auth, Source
	if auth == nil && primary.Type == api.SourceTypeNO_SOURCE {
		auth, origin = primary.Auth, Project
	}
	switch {
	case auth == nil || auth.Type == api.SourceAuthTypeOAUTH: // OAUTH is the historic name of the account's
	case auth.Type == api.SourceAuthTypeSECRETS_MANAGER && deref(auth.Resource) != "":
		a.Origin, a.ARN = origin, *auth.Resource
		a.Reason = "the source names this secret"
		if origin == Project {
			a.Reason = "the project's primary source is NO_SOURCE and names this secret for every other"
		}
		return a, nil
	case auth.Type == api.SourceAuthTypeSECRETS_MANAGER:
		return nil, problem("auth type SECRETS_MANAGER needs the ARN of a secret as its resource")
	default:
		return nil, connections()
	}
	c, err := r.Store.Credential(ctx, scope, server)
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.Reason = fmt.Sprintf("no credential for %s is stored in account %s and region %s", server, scope.Account, scope.Region)
		return a, nil
	case err != nil:
		return nil, fmt.Errorf("read credential for %s: %w", server, err)
	case c.AuthType == api.AuthTypeCODECONNECTIONS:
		return nil, connections()
	}
	a.Origin, a.ARN, a.Credential = Account, c.ARN, &c
	a.Reason = fmt.Sprintf("it is the account's credential for %s in region %s", server, scope.Region)
	return a, nil
}

// Key separates what different credentials may see.
func (a *Access) Key() string {
	if a.ARN == "" {
		return "anonymous"
	}
	return a.ARN
}

// Anonymous is the same repository read without a credential.
func (a *Access) Anonymous() *Access {
	return &Access{
		Repository: a.Repository, ServerType: a.ServerType, Origin: None, Reason: "the build gets no credential for it", Build: a.Build,
		r: a.r, scope: a.scope, noted: map[string]bool{},
	}
}

// Upstream says where an address of the repository or of one of its submodules
// is fetched from, and whether the credential is for there: it is for the
// repository's own host, and for no other.
func (a *Access) Upstream(url string) (upstream string, authorized bool, err error) {
	hosts := a.r.Hosts
	for _, kind := range append([]api.ServerType{a.ServerType}, hosts.ServerTypes()...) {
		var repo forge.Repository
		if repo, err = hosts.Locate(api.SourceType(kind), url); err == nil {
			return repo.Upstream, a.ARN != "" && repo.Trusted && repo.Host.Name == a.Repository.Host.Name, nil
		}
	}
	return "", false, err
}

// The purposes of a use.
const (
	ForSource   = "DOWNLOAD_SOURCE"
	ForCommands = "BUILD_COMMANDS" // git in the commands of a build, through a gate
	ForStatus   = "COMMIT_STATUS"
	ForCheck    = "CHECK"
	ForWebhook  = "WEBHOOK"           // makes and removes hooks, asks about pull requests, polls
	ForList     = "LIST_REPOSITORIES" // for somebody to choose from
	ForMask     = "MASK"              // to hide the token in a log; it goes nowhere
)

// Token opens the credential for the purpose. What is deleted or replaced
// meanwhile is not opened any more. The first use for a purpose is a line in
// the audit log, which is there before Token returns.
func (a *Access) Token(ctx context.Context, purpose string) (forge.Token, error) {
	var t forge.Token
	version := ""
	switch a.Origin {
	case None:
		return t, ErrNoCredential
	case Account:
		c, err := a.r.Store.Credential(ctx, a.scope, a.ServerType)
		if errors.Is(err, store.ErrNotFound) {
			return t, problem("the credential %s was deleted", a.ARN)
		} else if err != nil {
			return t, fmt.Errorf("read credential %s: %w", a.ARN, err)
		}
		if t, err = a.r.token(ctx, c); err != nil {
			return t, err
		}
		if t.Host != "" && t.Host != a.Repository.Host.Name {
			return forge.Token{}, problem("the credential %s was connected at %s and is not sent to %s: import a token for that", a.ARN, t.Host, a.Repository.Host.Name)
		}
		version = strconv.FormatInt(c.Generation, 10)
	default:
		var err error
		if t, err = a.r.secret(ctx, a.scope, a.ServerType, a.ARN); err != nil {
			return t, err
		}
	}
	if purpose == ForMask {
		return t, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if key := purpose + " " + version; !a.noted[key] {
		if err := a.r.note(ctx, a.scope, store.CredentialUse{ARN: a.ARN, Purpose: purpose, Build: a.Build, Host: a.Repository.Host.Name}); err != nil {
			return forge.Token{}, err
		}
		a.noted[key] = true
	}
	return t, nil
}

// token opens a stored credential, or the secret that it names.
func (r *Resolver) token(ctx context.Context, c store.Credential) (forge.Token, error) {
	switch c.AuthType {
	case api.AuthTypeSECRETS_MANAGER:
		return r.secret(ctx, c.Scope, c.ServerType, c.Resource)
	case api.AuthTypeCODECONNECTIONS:
		return forge.Token{}, connections()
	}
	p, err := open(r.Vault, c)
	if err == nil && c.AuthType == api.AuthTypeOAUTH {
		p, err = r.OAuth.fresh(ctx, r, c, p)
	}
	if err != nil {
		return forge.Token{}, err
	}
	return forge.Token{Auth: c.AuthType, User: p.User, Value: api.Secret(p.Token), Host: p.Host}, nil
}

// secret reads a token from a secret.
// Source: user guide, "Using Secrets Manager secrets for access tokens", for
// the members of the secret.
func (r *Resolver) secret(ctx context.Context, s store.Scope, server api.ServerType, arn string) (forge.Token, error) {
	if r.Secret == nil {
		return forge.Token{}, problem("secrets cannot be read here, so %s cannot be used", arn)
	}
	text, err := r.Secret(ctx, s, arn)
	if err != nil {
		if ctx.Err() != nil {
			return forge.Token{}, ctx.Err()
		}
		return forge.Token{}, problem("the secret %s could not be read: %v", arn, err)
	}
	var v struct{ ServerType, AuthType, Token, Username *string }
	// The decoder's error may quote the secret.
	if json.Unmarshal([]byte(text.Reveal()), &v) != nil {
		return forge.Token{}, problem("the secret %s is not a JSON object with ServerType, AuthType and Token", arn)
	}
	p, _ := r.Hosts.Provider(server)
	switch {
	case v.ServerType == nil || v.AuthType == nil || deref(v.Token) == "":
		return forge.Token{}, problem("the secret %s lacks ServerType, AuthType or Token", arn)
	case *v.ServerType != string(server):
		return forge.Token{}, problem("the secret %s is not for server type %s; its ServerType says so", arn, server)
	case !slices.Contains(p.Auth, api.AuthType(*v.AuthType)):
		return forge.Token{}, problem("the secret %s has an AuthType that is not valid for %s", arn, server)
	case *v.AuthType == string(api.AuthTypeBASIC_AUTH) && deref(v.Username) == "":
		return forge.Token{}, problem("the secret %s has the AuthType BASIC_AUTH and lacks Username", arn)
	}
	t := forge.Token{Auth: api.AuthType(*v.AuthType), Value: api.Secret(*v.Token)}
	if t.Auth == api.AuthTypeBASIC_AUTH {
		t.User = *v.Username
	}
	return t, nil
}

// Refused tells that the provider did not take the token, so that it is
// checked at once.
func (a *Access) Refused(ctx context.Context) {
	if a.Origin == Account && a.r.Suspect != nil {
		a.r.Suspect(ctx, a.scope, a.ServerType)
	}
}

// basic is the user name and password that git presents, encoded.
func (a *Access) basic(t forge.Token) string {
	p, _ := a.r.Hosts.Provider(a.ServerType)
	return base64.StdEncoding.EncodeToString([]byte(p.GitUser(t) + ":" + t.Value.Reveal()))
}

// Authorize returns what makes the Authorization header of a git request for
// the purpose, or nil for anonymous access.
func (a *Access) Authorize(purpose string) func(context.Context) (string, error) {
	if a.ARN == "" {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		t, err := a.Token(ctx, purpose)
		if err != nil {
			return "", err
		}
		return "Basic " + a.basic(t), nil
	}
}

// Needles are the texts that must not show in a log of a build that uses the
// credential.
func (a *Access) Needles(ctx context.Context) ([]api.Secret, error) {
	if a.ARN == "" {
		return nil, nil
	}
	t, err := a.Token(ctx, ForMask)
	if err != nil {
		return nil, err
	}
	return []api.Secret{t.Value, api.Secret(a.basic(t))}, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
