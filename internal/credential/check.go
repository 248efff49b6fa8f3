package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// The states of a credential.
const (
	Valid        = "VALID"        // the provider knows the token and it has every scope
	Unverified   = "UNVERIFIED"   // nobody could be asked yet
	Insufficient = "INSUFFICIENT" // scopes are missing
	Expiring     = "EXPIRING"     // it ends within 14 days
	Expired      = "EXPIRED"      // it has ended
	Revoked      = "REVOKED"      // the provider refuses the token
)

// notices are how many days before a token ends somebody should hear of it.
var notices = []int{14, 7, 1}

const day = 24 * time.Hour

// State is the state of a credential at a time, which passes between checks.
func State(h store.Health, now time.Time) string {
	switch {
	case h.State == Revoked:
		return Revoked
	case !h.Expires.IsZero() && !now.Before(h.Expires):
		return Expired
	case !h.Expires.IsZero() && h.Expires.Sub(now) <= time.Duration(notices[0])*day:
		return Expiring
	}
	return h.State
}

// A Checker asks providers about tokens.
type Checker struct {
	*Resolver
	Forges map[api.ServerType]forge.Forge // of others nothing is asked
	Log    *slog.Logger
	// Every is the time between the checks of a credential, to which chance
	// adds or takes a tenth. 0 is never.
	Every time.Duration

	wake chan struct{} // receives when a credential became due
}

const (
	// checkTime bounds a check; at an import somebody waits for it.
	checkTime = 3 * time.Second
	// crowd is how many credentials are checked at a time.
	crowd = 8
	// scarce is how many requests a token needs to have left for a check that
	// nobody asked for.
	scarce = 50
	// suspicion bounds how often a credential that builds are refused with is
	// checked on their account.
	suspicion = time.Minute
)

// NewChecker returns a checker over r, of which it becomes the Suspect.
func NewChecker(r *Resolver, forges map[api.ServerType]forge.Forge, every time.Duration, log *slog.Logger) *Checker {
	c := &Checker{Resolver: r, Forges: forges, Log: log, Every: every, wake: make(chan struct{}, 1)}
	r.Suspect = c.suspect
	return c
}

// Ask asks each host that a token of the server type may be for what it
// thinks of it, all at once and for at most 3 seconds. One that accepts it is
// enough. The error is that of a host that refuses the token, if none accepts
// it and all answered.
func (c *Checker) Ask(ctx context.Context, server api.ServerType, token forge.Token) (store.Health, error) {
	f, hosts := c.Forges[server], c.Hosts.For(server)
	if token.Host != "" {
		hosts = slices.DeleteFunc(hosts, func(h forge.Host) bool { return h.Name != token.Host })
	}
	if f == nil {
		return store.Health{State: Unverified, Detail: "tokens of this server type are not checked"}, nil
	}
	if len(hosts) == 0 {
		return store.Health{State: Unverified, Detail: "no host is listed for " + string(server) + ", so nobody could be asked and the token is sent nowhere"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	checks, errs := make([]forge.Check, len(hosts)), make([]error, len(hosts))
	var asked sync.WaitGroup
	for i, h := range hosts {
		asked.Go(func() { checks[i], errs[i] = f.CheckCredential(ctx, h, token) })
	}
	asked.Wait()
	var refused, silent error
	var h store.Health
	for i, err := range errs {
		switch {
		case err == nil:
			return c.health(hosts[i], checks[i]), nil
		case errors.Is(err, forge.ErrRefused):
			if refused == nil {
				refused = err
				h = store.Health{State: Revoked, Detail: err.Error(), Host: hosts[i].Name, Checked: c.Now()}
			}
		case silent == nil:
			silent = err
		}
	}
	if silent != nil { // the one that did not answer may be the one it is for
		return store.Health{State: Unverified, Detail: silent.Error()}, silent
	}
	return h, refused
}

// health is a provider's answer as the store keeps it.
func (c *Checker) health(h forge.Host, answer forge.Check) store.Health {
	out := store.Health{
		State: Valid, Login: answer.Login, Kind: string(answer.Kind), Scopes: answer.Scopes, Missing: answer.Missing, Purpose: answer.Purpose,
		Host: h.Name, Expires: answer.Expires, Checked: c.Now(),
	}
	if answer.Remaining >= 0 {
		out.Remaining = &answer.Remaining
	}
	if len(answer.Missing) > 0 {
		out.State, out.Detail = Insufficient, "missing scopes: "+strings.Join(answer.Missing, ", ")
	}
	return out
}

// Next is when a credential that was just checked is due again; zero is never.
func (c *Checker) Next(h store.Health) time.Time {
	if c.Every == 0 || c.Forges == nil {
		return time.Time{}
	}
	wait := c.Every*9/10 + rand.N(c.Every/5+1)
	if h.Remaining != nil && *h.Remaining < scarce {
		wait = max(wait, time.Hour) // the providers' windows are no longer
	}
	return c.Now().Add(wait)
}

// Check asks the provider about a stored credential, now, and keeps the
// answer. A provider that does not answer changes nothing but the detail. It
// returns the credential as it is then; store.ErrNotFound if it was deleted
// or replaced meanwhile.
func (c *Checker) Check(ctx context.Context, cred store.Credential) (store.Credential, error) {
	token, err := c.token(ctx, cred)
	var mendable *Problem
	var h store.Health
	switch {
	case errors.Is(err, forge.ErrRefused): // its renewal, which is kept already
		if cred, err = c.Store.Credential(ctx, cred.Scope, cred.ServerType); err != nil {
			return cred, err
		}
		h = cred.Health
		cred.NextCheck = c.Next(h)
	case errors.As(err, &mendable):
		h = store.Health{State: Unverified, Detail: err.Error()}
		cred.NextCheck = c.Next(h)
	case err != nil:
		return cred, err
	default:
		if err := c.note(ctx, cred.Scope, store.CredentialUse{ARN: cred.ARN, Purpose: ForCheck, Host: hostNames(c.Hosts.For(cred.ServerType))}); err != nil {
			return cred, err
		}
		h = c.ask(ctx, &cred, token)
		if cred.AuthType == api.AuthTypeOAUTH {
			h.Expires = cred.Health.Expires // the token's own is renewed
		}
	}
	if h.Expires.Equal(cred.Health.Expires) { // else what was said of the former end does not count
		h.Noticed = cred.Health.Noticed
	}
	c.notice(ctx, cred, &h)
	cred.Health = h
	return cred, c.Store.Update(ctx, func(tx store.Tx) error { return tx.PutHealth(ctx, cred) })
}

// ask returns cred's health after a check, and sets when the next one is due.
func (c *Checker) ask(ctx context.Context, cred *store.Credential, token forge.Token) store.Health {
	old := cred.Health
	h, err := c.Ask(ctx, cred.ServerType, token)
	cred.NextCheck = c.Next(h)
	if err == nil {
		if old.State == Revoked {
			c.Log.InfoContext(ctx, "source credential works again", "arn", cred.ARN)
		}
		return h
	}
	if errors.Is(err, forge.ErrRefused) {
		h.Login, h.Kind, h.Scopes, h.Missing, h.Purpose, h.Expires = old.Login, old.Kind, old.Scopes, old.Missing, old.Purpose, old.Expires
		if old.State != Revoked {
			c.Log.WarnContext(ctx, "source credential refused by its provider: import a new token", "arn", cred.ARN, "host", h.Host, "error", err)
		}
		return h
	}
	if c.Every > 0 { // sooner than usual, but not before the provider wants
		cred.NextCheck = c.Now().Add(max(c.Every/4, forge.Retry(err).After))
	}
	old.Detail = "not checked again: " + err.Error()
	return old
}

// notice says once per threshold that a token is about to end.
func (c *Checker) notice(ctx context.Context, cred store.Credential, h *store.Health) {
	left := h.Expires.Sub(c.Now())
	if h.Expires.IsZero() || left > time.Duration(notices[0])*day {
		h.Noticed = 0 // a new end, or none
		return
	}
	for i := len(notices) - 1; i >= 0; i-- {
		if left > time.Duration(notices[i])*day {
			continue
		}
		if h.Noticed == 0 || h.Noticed > notices[i] {
			h.Noticed = notices[i]
			c.Log.WarnContext(ctx, "source credential ends soon: import a new token", "arn", cred.ARN, "user", h.Login, "expires", h.Expires, "days", max(int(left/day), 0))
		}
		return
	}
}

// suspect makes a credential due at once, unless it was checked just now.
func (c *Checker) suspect(ctx context.Context, s store.Scope, server api.ServerType) {
	err := c.Store.Update(ctx, func(tx store.Tx) error {
		cred, err := tx.Credential(ctx, s, server)
		if err != nil {
			return err
		}
		if c.Now().Sub(cred.Health.Checked) < suspicion && cred.Health.State == Revoked {
			return nil
		}
		cred.NextCheck = c.Now()
		return tx.PutHealth(ctx, cred)
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		c.Log.ErrorContext(ctx, "note that a source credential was refused", "server_type", server, "error", err)
		return
	}
	c.Wake()
}

// Wake makes Run look for what is due.
func (c *Checker) Wake() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Run checks credentials when they are due, until ctx ends.
func (c *Checker) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		wait, err := c.round(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.ErrorContext(ctx, "check source credentials", "error", err)
			wait = time.Minute
		}
		timer.Reset(wait)
	}
}

// round checks what is due, and returns how long until there is more.
func (c *Checker) round(ctx context.Context) (time.Duration, error) {
	for {
		due, err := c.Store.DueCredentials(ctx, c.Now(), crowd)
		if err != nil {
			return 0, err
		}
		if len(due) == 0 {
			break
		}
		errs := make([]error, len(due))
		var checks sync.WaitGroup
		for i, cred := range due {
			checks.Go(func() { errs[i] = c.one(ctx, cred) })
		}
		checks.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, err
		}
	}
	next, err := c.Store.NextCheck(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return time.Hour, nil // an import in between is at most that late
	} else if err != nil {
		return 0, err
	}
	return min(max(next.Sub(c.Now()), 10*time.Millisecond), time.Hour), nil
}

// one checks a credential that is due. One that cannot be opened must not be
// due for ever.
func (c *Checker) one(ctx context.Context, cred store.Credential) error {
	_, err := c.Check(ctx, cred)
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, store.ErrNotFound):
		return nil
	}
	c.Log.ErrorContext(ctx, "check source credential", "arn", cred.ARN, "error", err)
	cred.NextCheck = c.Next(cred.Health)
	if cred.NextCheck.IsZero() { // it was due because of a suspicion
		cred.NextCheck = c.Now().Add(time.Hour)
	}
	err = c.Store.Update(ctx, func(tx store.Tx) error { return tx.PutHealth(ctx, cred) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func hostNames(hosts []forge.Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return strings.Join(names, " ")
}

// CheckRepository asks what the account's credential may do with a repository,
// whose location says which one that is.
func (c *Checker) CheckRepository(ctx context.Context, s store.Scope, location string) (*Access, forge.Abilities, error) {
	var access *Access
	var wrong error
	for _, server := range c.Hosts.ServerTypes() {
		src := &api.ProjectSource{Type: api.SourceType(server), Location: &location}
		a, err := c.Resolve(ctx, s, src, src)
		if err != nil {
			if wrong == nil {
				wrong = err
			}
			continue
		}
		if access == nil || a.Repository.Trusted {
			access = a
		}
		if a.Repository.Trusted {
			break
		}
	}
	if access == nil {
		return nil, forge.Abilities{}, problem("%v", wrong)
	}
	token, err := access.Token(ctx, ForCheck)
	if err != nil {
		if errors.Is(err, ErrNoCredential) {
			return access, forge.Abilities{}, problem("no credential would be used for %s: %s", access.Repository.URL, access.Reason)
		}
		return access, forge.Abilities{}, err
	}
	f := c.Forges[access.ServerType]
	if f == nil {
		return access, forge.Abilities{}, problem("repositories of %s are not checked", access.ServerType)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*checkTime)
	defer cancel()
	can, err := f.CheckRepository(ctx, access.Repository.Host, token, access.Repository.Name)
	if errors.Is(err, forge.ErrRefused) {
		access.Refused(ctx)
	}
	if err != nil {
		return access, can, problem("%v", fmt.Errorf("check %s: %w", access.Repository.Name, err))
	}
	return access, can, nil
}

// Repositories lists a page of the repositories that the account's credential
// for the server type can see at a host, as forge.Hooks.Repositories does. host
// may be "" where there is one only. ErrNoCredential if none is stored.
func (c *Checker) Repositories(ctx context.Context, s store.Scope, server api.ServerType, host, search, page string) (list []forge.Listed, next string, err error) {
	hosts := c.Hosts.For(server)
	switch {
	case host == "" && len(hosts) == 0:
		return nil, "", problem("no host is listed for %s", server)
	case host == "" && len(hosts) > 1:
		return nil, "", problem("there are several hosts of %s: say which", server)
	case host == "":
		host = hosts[0].Name
	}
	src := &api.ProjectSource{Type: api.SourceType(server)}
	a, err := c.ResolveOwner(ctx, s, src, src, host)
	if err != nil {
		return nil, "", err
	}
	token, err := a.Token(ctx, ForList)
	if err != nil {
		return nil, "", err
	}
	f := c.Forges[server]
	if f == nil {
		return nil, "", problem("repositories of %s are not listed", server)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*checkTime)
	defer cancel()
	list, next, err = f.Repositories(ctx, a.Repository.Host, token, search, page)
	if errors.Is(err, forge.ErrRefused) {
		a.Refused(ctx)
	}
	if err != nil {
		return nil, "", &Problem{text: fmt.Sprintf("list repositories: %v", err), cause: err}
	}
	for i := range list {
		list[i].URL = a.Repository.Host.Location(list[i].URL)
	}
	return list, next, nil
}
