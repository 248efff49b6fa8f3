// Package credential knows which stored token a source uses, and is where
// tokens are sealed into and opened from the store.
//
// A Resolver answers with an Access: the repository, whose token it gets, and
// ways to use that token. The token is opened only when it is used, and only
// for the host that it is for.
package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// The states of a credential.
const (
	Valid        = "VALID"        // the provider knows the token and it has every scope
	Unverified   = "UNVERIFIED"   // nobody could be asked
	Insufficient = "INSUFFICIENT" // scopes are missing, or the provider does not tell
	Refused      = "REFUSED"      // the provider refuses the token
)

// plaintext is what is sealed.
type plaintext struct {
	User  string `json:"user,omitzero"`
	Token string `json:"token"`
}

func binding(c store.Credential) string {
	return vault.Binding("source-credential", c.ARN, c.Account, c.Region, strconv.FormatInt(c.Generation, 10))
}

// Seal seals a token, with the user name that goes with it, for the
// credential that c describes: its ARN, account, region and generation.
func Seal(v *vault.Vault, c store.Credential, user string, token api.Secret) ([]byte, error) {
	b, err := json.Marshal(plaintext{user, token.Reveal()})
	if err != nil {
		return nil, fmt.Errorf("seal credential %s: %w", c.ARN, err)
	}
	sealed, err := v.Seal(binding(c), api.Secret(b))
	if err != nil {
		return nil, fmt.Errorf("seal credential %s: %w", c.ARN, err)
	}
	return sealed, nil
}

func open(v *vault.Vault, c store.Credential) (plaintext, error) {
	text, err := v.Open(binding(c), c.Sealed)
	if err != nil {
		return plaintext{}, fmt.Errorf("open credential %s: %w", c.ARN, err)
	}
	var p plaintext
	if json.Unmarshal([]byte(text.Reveal()), &p) != nil {
		return plaintext{}, fmt.Errorf("open credential %s: its content is damaged", c.ARN)
	}
	return p, nil
}

// Health is a provider's answer as the store keeps it.
func Health(h forge.Host, c forge.Check, now time.Time) store.Health {
	out := store.Health{State: Valid, Login: c.Login, Scopes: c.Scopes, Missing: c.Missing, Host: h.Name, Expires: c.Expires, Checked: now}
	if len(c.Missing) > 0 {
		out.State, out.Detail = Insufficient, "missing scopes: "+strings.Join(c.Missing, ", ")
	}
	return out
}

// A Resolver finds the credential of a source.
type Resolver struct {
	Store store.Store
	Vault *vault.Vault
	Hosts *forge.Hosts
}

// An Access is a repository with the credential that it uses, if any.
type Access struct {
	Repository forge.Repository
	Credential *store.Credential // nil is anonymous
	kind       api.SourceType
	vault      *vault.Vault
	hosts      *forge.Hosts
}

// ErrUnsupported is the error of a kind of credential that cannot be used
// yet.
var ErrUnsupported = errors.New("is not supported yet: import a token for the account and leave auth out")

// Resolve finds the repository of src and the credential for it, in the
// service's order: what the source names itself, what a primary source of
// type NO_SOURCE names for the project, the account's default for the
// provider, or none. primary may be src itself.
func (r *Resolver) Resolve(ctx context.Context, scope store.Scope, src, primary *api.ProjectSource) (*Access, error) {
	server := api.ServerType(src.Type) // source types of repositories have the same names
	repo, err := r.Hosts.Locate(src.Type, deref(src.Location))
	if err != nil {
		return nil, err
	}
	a := &Access{Repository: repo, kind: src.Type, vault: r.Vault, hosts: r.Hosts}
	auth := src.Auth
	if auth == nil && primary.Type == api.SourceTypeNO_SOURCE {
		auth = primary.Auth
	}
	if auth != nil && auth.Type != api.SourceAuthTypeOAUTH {
		return nil, fmt.Errorf("auth type %s %w", auth.Type, ErrUnsupported)
	}
	if !repo.Trusted {
		return a, nil // no token is for this host
	}
	c, err := r.Store.Credential(ctx, scope, server)
	if errors.Is(err, store.ErrNotFound) {
		return a, nil
	} else if err != nil {
		return nil, fmt.Errorf("read credential for %s: %w", server, err)
	}
	if c.AuthType == api.AuthTypeSECRETS_MANAGER || c.AuthType == api.AuthTypeCODECONNECTIONS {
		return nil, fmt.Errorf("the stored credential's auth type %s %w", c.AuthType, ErrUnsupported)
	}
	a.Credential = &c
	return a, nil
}

// Key separates what different credentials may see.
func (a *Access) Key() string {
	if a.Credential == nil {
		return "anonymous"
	}
	return a.Credential.ARN
}

// Upstream says where an address of the repository or of one of its submodules
// is fetched from, and whether the credential is for there: it is for the
// repository's own host, and for no other.
func (a *Access) Upstream(url string) (upstream string, authorized bool, err error) {
	for _, kind := range append([]api.ServerType{api.ServerType(a.kind)}, a.hosts.ServerTypes()...) {
		var repo forge.Repository
		if repo, err = a.hosts.Locate(api.SourceType(kind), url); err == nil {
			return repo.Upstream, a.Credential != nil && repo.Trusted && repo.Host.Name == a.Repository.Host.Name, nil
		}
	}
	return "", false, err
}

// Token opens the credential for use with the provider's API.
func (a *Access) Token() (forge.Token, error) {
	if a.Credential == nil {
		return forge.Token{}, errors.New("there is no credential")
	}
	p, err := open(a.vault, *a.Credential)
	return forge.Token{Auth: a.Credential.AuthType, User: p.User, Value: api.Secret(p.Token)}, err
}

// basic is the user name and password that git presents, encoded.
func (a *Access) basic(t forge.Token) string {
	p, _ := a.hosts.Provider(a.Credential.ServerType)
	return base64.StdEncoding.EncodeToString([]byte(p.GitUser(t) + ":" + t.Value.Reveal()))
}

// Authorize returns what makes the Authorization header of a git request, or
// nil for anonymous access.
func (a *Access) Authorize() func(context.Context) (string, error) {
	if a.Credential == nil {
		return nil
	}
	return func(context.Context) (string, error) {
		t, err := a.Token()
		if err != nil {
			return "", err
		}
		return "Basic " + a.basic(t), nil
	}
}

// Needles are the texts that must not show in a log of a build that uses the
// credential.
func (a *Access) Needles() ([]api.Secret, error) {
	if a.Credential == nil {
		return nil, nil
	}
	t, err := a.Token()
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
