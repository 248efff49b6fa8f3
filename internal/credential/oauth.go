package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// OAuth knows the apps that Corbel is at providers, and renews what was
// connected through them. A nil *OAuth knows none.
type OAuth struct {
	Transport http.RoundTripper
	Hosts     *forge.Hosts
	Apps      forge.OAuthApps
	Callback  string // where providers send people back to

	renewing sync.Map // ARN -> *sync.Mutex
}

const (
	// early is how long before its end a token is renewed: longer than the
	// requests last that it is opened for.
	early = 5 * time.Minute
	// renewTime bounds a renewal, which nobody's patience ends: what the
	// provider answers must be kept, since the refresh token is used up.
	renewTime = 10 * time.Second
)

// Client returns the app at a host of the server type. name may be "" where
// there is one host only. The error is a *Problem.
func (o *OAuth) Client(server api.ServerType, name string) (forge.OAuthClient, error) {
	var none forge.OAuthClient
	if o == nil {
		return none, problem("no OAuth app is configured for %s", server)
	}
	p, _ := o.Hosts.Provider(server)
	if p.OAuth == nil {
		return none, problem("%s cannot be connected with OAuth: import a token", server)
	}
	var found []forge.Host
	for _, h := range o.Hosts.For(server) {
		if name == "" || h.Name == name {
			found = append(found, h)
		}
	}
	switch {
	case len(found) == 0 && name != "":
		return none, problem("%s is not a host of %s", name, server)
	case len(found) == 0:
		return none, problem("no host is listed for %s", server)
	case len(found) > 1:
		return none, problem("there are several hosts of %s: say which", server)
	}
	app, ok := o.Apps.Of(found[0])
	if !ok {
		return none, problem("no OAuth app is configured for %s: start the server with -oauth %s=CLIENT_ID,secret=FILE, or import a token", found[0].Name, server)
	}
	return forge.OAuthClient{Transport: o.Transport, Host: found[0], Paths: *p.OAuth, App: app, Callback: o.Callback}, nil
}

// Flows tells which flows there are at a host.
func (o *OAuth) Flows(h forge.Host) (web, device bool) {
	if o == nil {
		return false, false
	}
	p, _ := o.Hosts.Provider(h.ServerType)
	_, web = o.Apps.Of(h)
	web = web && p.OAuth != nil
	return web, web && p.OAuth.Device != ""
}

// SealGrant is Seal for what a user has now let Corbel have at a host.
func SealGrant(v *vault.Vault, c store.Credential, host forge.Host, g forge.Grant, now time.Time) ([]byte, error) {
	return seal(v, c, granted(host.Name, g, now))
}

func granted(host string, g forge.Grant, now time.Time) plaintext {
	p := plaintext{Token: g.Token.Reveal(), Refresh: g.Refresh.Reveal(), Host: host}
	if g.Lasts != 0 {
		p.Expires = now.Add(g.Lasts)
	}
	return p
}

// fresh returns c's content with a token that lasts for a while: p, or what
// the provider gives in exchange for its refresh token. That is stored before
// it is used, since the refresh token is good once. If the provider refuses,
// the credential is REVOKED and the error a *Problem of kind
// forge.ErrRefused.
func (o *OAuth) fresh(ctx context.Context, r *Resolver, c store.Credential, p plaintext) (plaintext, error) {
	lasts := func(p plaintext, d time.Duration) bool {
		return p.Expires.IsZero() || r.Now().Add(d).Before(p.Expires)
	}
	if p.Refresh == "" || lasts(p, early) {
		return p, nil
	}
	if o == nil {
		return p, problem("the credential %s was connected with OAuth, and no OAuth app is configured to renew it", c.ARN)
	}
	lock, _ := o.renewing.LoadOrStore(c.ARN, new(sync.Mutex))
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
	defer cancel()
	// Somebody else may have been first.
	now, err := r.Store.Credential(ctx, c.Scope, c.ServerType)
	if errors.Is(err, store.ErrNotFound) || err == nil && (now.Generation != c.Generation || !now.Created.Equal(c.Created)) {
		return p, problem("the credential %s was deleted or replaced", c.ARN)
	} else if err != nil {
		return p, fmt.Errorf("read credential %s: %w", c.ARN, err)
	}
	if p, err = open(r.Vault, now); err != nil || lasts(p, early) {
		return p, err
	}
	client, err := o.Client(c.ServerType, p.Host)
	var g forge.Grant
	if err == nil {
		g, err = client.Renew(ctx, api.Secret(p.Refresh))
	}
	switch {
	case errors.Is(err, forge.ErrRefused):
		return p, r.revoked(ctx, now, err)
	case err != nil && lasts(p, 0):
		return p, nil // it will be tried again
	case err != nil:
		if mendable, ok := errors.AsType[*Problem](err); ok {
			return p, mendable
		}
		return p, fmt.Errorf("renew the credential %s: %w", c.ARN, err)
	}
	if g.Refresh == "" { // it stays good
		g.Refresh = api.Secret(p.Refresh)
	}
	p = granted(p.Host, g, r.Now())
	return p, r.Store.Update(ctx, func(tx store.Tx) error {
		kept, err := tx.Credential(ctx, c.Scope, c.ServerType)
		if errors.Is(err, store.ErrNotFound) || err == nil && (kept.Generation != now.Generation || !kept.Created.Equal(now.Created)) {
			return problem("the credential %s was deleted or replaced", c.ARN)
		} else if err != nil {
			return err
		}
		if kept.Sealed, err = seal(r.Vault, kept, p); err != nil {
			return err
		}
		if err := tx.PutCredential(ctx, kept); err != nil {
			return fmt.Errorf("store credential %s: %w", c.ARN, err)
		}
		return audit.Append(ctx, tx, renewal(r, c, client.Host.Name, nil))
	})
}

// revoked notes that the provider renews c no more, and returns the error that
// says so.
func (r *Resolver) revoked(ctx context.Context, c store.Credential, cause error) error {
	text := fmt.Sprintf("it could not be renewed: %v", cause)
	c.Health.State, c.Health.Detail, c.Health.Checked = Revoked, text, r.Now()
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutHealth(ctx, c); err != nil {
			return err
		}
		return audit.Append(ctx, tx, renewal(r, c, c.Health.Host, cause))
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("note that %s was revoked: %w", c.ARN, err)
	}
	return &Problem{text: "the credential " + c.ARN + " is of no use any more: " + text, cause: forge.ErrRefused}
}

// renewal is the audit log's record of a renewal.
func renewal(r *Resolver, c store.Credential, host string, problem error) audit.Record {
	record := audit.Record{
		Time: r.Now(), Account: c.Account, Region: c.Region, Principal: "corbel", Source: "codebuild.amazonaws.com", Event: "RenewSourceCredential",
		Resource: c.ARN, Detail: "at " + host,
	}
	if problem != nil {
		record.Outcome, record.Message = "Refused", problem.Error()
	}
	return record
}
