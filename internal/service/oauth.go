package service

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// OAuthFlows are the connections that people have begun and not finished. They
// are kept in memory: whoever waited for one when the server ended begins anew.
type OAuthFlows struct {
	ctx    context.Context // ends with the server
	cancel context.CancelFunc

	mu      sync.Mutex
	of      map[string]*oauthFlow // by state or id
	waiting sync.WaitGroup        // the device flows
}

// NewOAuthFlows returns none yet. Close ends those that wait.
func NewOAuthFlows() *OAuthFlows {
	f := &OAuthFlows{of: map[string]*oauthFlow{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Close ends the device flows and waits for them.
func (f *OAuthFlows) Close() {
	f.cancel()
	f.waiting.Wait()
}

type oauthFlow struct {
	owner    access.Principal
	server   api.ServerType
	client   forge.OAuthClient
	verifier string // of the web flow, "" for a device flow
	ends     time.Time

	// Of a device flow:
	state   corbel.OAuthState
	message string
	arn     string
}

const (
	// webTime is how long somebody may take at the provider.
	webTime = 10 * time.Minute
	// maxFlows bounds those of an account, and exchangeTime a call.
	maxFlows     = 20
	exchangeTime = 10 * time.Second
)

// add keeps a flow under a random name.
func (f *OAuthFlows) add(flow *oauthFlow, now time.Time) (id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for id, other := range f.of {
		if !now.Before(other.ends) {
			delete(f.of, id)
		} else if other.owner.Account == flow.owner.Account {
			n++
		}
	}
	if n >= maxFlows {
		return "", api.InvalidInputException("%d connections of this account were begun and not finished. Finish one, or wait %v", n, webTime)
	}
	id = rand.Text()
	f.of[id] = flow
	return id, nil
}

// StartOAuth begins to connect to a source provider. With the flow WEB the
// caller, who is signed in to the console, goes to authorizeUrl and comes back
// by the callback; with DEVICE a code is typed in at verificationUrl on any
// machine, and PollOAuth tells when it was.
func (s CorbelService) StartOAuth(ctx context.Context, in *corbel.StartOAuthInput) (*corbel.StartOAuthOutput, error) {
	p := access.From(ctx)
	server := api.ServerType(*in.ServerType)
	if _, ok := s.Hosts.Provider(server); !ok {
		return nil, api.InvalidInputException("There is no server type %s", server)
	}
	client, err := s.Checker.OAuth.Client(server, value(in.Host))
	if mendable, ok := errors.AsType[*credential.Problem](err); ok {
		return nil, api.InvalidInputException("%v", mendable)
	} else if err != nil {
		return nil, err
	}
	flow := &oauthFlow{owner: p, server: server, client: client}
	if in.Flow == corbel.OAuthFlowWEB {
		if p.Session == "" {
			return nil, api.InvalidInputException("The flow WEB is for the console, whose session it ends in. Use DEVICE, or import a token")
		}
		flow.verifier, flow.ends = oauth2.GenerateVerifier(), s.Now().Add(webTime)
		state, err := s.Flows.add(flow, s.Now())
		if err != nil {
			return nil, err
		}
		return &corbel.StartOAuthOutput{AuthorizeUrl: new(client.Address(state, flow.verifier)), Expires: stamp(flow.ends)}, nil
	}
	if client.Paths.Device == "" {
		return nil, api.InvalidInputException("%s has no device flow: use WEB in the console, or import a token", server)
	}
	asking, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	code, err := client.Device(asking)
	if err != nil {
		return nil, api.InvalidInputException("The connection could not be begun: %v", err)
	}
	flow.state, flow.ends = corbel.OAuthStatePENDING, code.Expires.Add(webTime) // told for a while after its end
	id, err := s.Flows.add(flow, s.Now())
	if err != nil {
		return nil, err
	}
	s.Flows.waiting.Go(func() { s.await(access.With(s.Flows.ctx, p), flow, code) })
	return &corbel.StartOAuthOutput{
		UserCode: &code.Code, VerificationUrl: &code.Address, Interval: new(int(code.Interval.Seconds())), FlowId: &id, Expires: stamp(code.Expires),
	}, nil
}

// await ends a device flow.
func (s CorbelService) await(ctx context.Context, flow *oauthFlow, code forge.DeviceCode) {
	state, message, arn := corbel.OAuthStateDONE, "", ""
	grant, err := flow.client.Await(ctx, code)
	if err == nil {
		arn, err = s.connect(ctx, flow, grant)
	}
	var e *api.Error
	switch {
	case err == nil:
	case errors.Is(err, forge.ErrDenied):
		state, message = corbel.OAuthStateDENIED, err.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, forge.ErrRefused), ctx.Err() != nil:
		state, message = corbel.OAuthStateEXPIRED, "the code was not typed in in time"
	case errors.As(err, &e):
		state, message = corbel.OAuthStateDENIED, e.Message
	default:
		state, message = corbel.OAuthStateDENIED, "the connection failed: "+problemText(err)
		s.Log.ErrorContext(ctx, "connect with OAuth", "server_type", flow.server, "error", err)
	}
	s.Flows.mu.Lock()
	defer s.Flows.mu.Unlock()
	flow.state, flow.message, flow.arn = state, message, arn
}

// problemText is what of an error is for people.
func problemText(err error) string {
	if e, ok := errors.AsType[*forge.Error](err); ok {
		return e.Error()
	}
	return "the server failed, and its log has the reason"
}

// PollOAuth tells how a device flow stands that the caller's account began.
func (s CorbelService) PollOAuth(ctx context.Context, in *corbel.PollOAuthInput) (*corbel.PollOAuthOutput, error) {
	p := access.From(ctx)
	s.Flows.mu.Lock()
	defer s.Flows.mu.Unlock()
	flow := s.Flows.of[*in.FlowId]
	if flow == nil || flow.verifier != "" || flow.owner.Scope != p.Scope || !s.Now().Before(flow.ends) {
		return nil, api.ResourceNotFoundException("There is no connection %q that waits. Begin again", *in.FlowId)
	}
	return &corbel.PollOAuthOutput{State: flow.state, Arn: some(flow.arn), Message: some(flow.message)}, nil
}

// FinishOAuth ends a web flow with what the provider sent the caller back with:
// a code, or the code of an error. It returns the server type that is
// connected. state is good once, and for the session that began only. Its
// errors are *api.Error or ours.
func (s CorbelService) FinishOAuth(ctx context.Context, state, code, problem string) (api.ServerType, error) {
	p := access.From(ctx)
	s.Flows.mu.Lock()
	flow := s.Flows.of[state]
	mine := flow != nil && flow.verifier != "" && flow.owner.Session == p.Session && p.Session != "" && s.Now().Before(flow.ends)
	if mine {
		delete(s.Flows.of, state)
	}
	s.Flows.mu.Unlock()
	switch {
	case !mine:
		return "", api.InvalidInputException("This connection was not begun here, was finished already, or took too long. Begin again")
	case problem == "access_denied":
		return "", api.InvalidInputException("The connection was declined at %s. Connect again to allow it", flow.client.Host.Name)
	case problem != "" || code == "":
		return "", api.InvalidInputException("%s refused the connection. Check the OAuth app's settings there: its callback address is %s", flow.client.Host.Name, flow.client.Callback)
	}
	// A code is good once, so what it gives is kept even if the caller goes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTime)
	defer cancel()
	grant, err := flow.client.Exchange(ctx, code, flow.verifier)
	if err != nil {
		return "", api.InvalidInputException("The connection failed: %v", err)
	}
	_, err = s.connect(access.With(ctx, withRegion(p, flow.owner.Region)), flow, grant)
	return flow.server, err
}

// withRegion is p in the region that the flow was begun in.
func withRegion(p access.Principal, region string) access.Principal {
	p.Region = region
	return p
}

// connect checks a grant as an import's token is checked, and stores it.
func (s CorbelService) connect(ctx context.Context, flow *oauthFlow, grant forge.Grant) (arn string, err error) {
	p := access.From(ctx)
	c := store.Credential{
		Scope: p.Scope, ServerType: flow.server, AuthType: api.AuthTypeOAUTH, ARN: resource(p.Scope, "token", strings.ToLower(string(flow.server))),
	}
	if c.Health, err = s.checkToken(ctx, flow.server, forge.Token{Auth: c.AuthType, Value: grant.Token, Host: flow.client.Host.Name}); err != nil {
		return "", err
	}
	now := s.Now()
	c.Health.Expires = time.Time{} // it is renewed
	if grant.Refresh == "" && grant.Lasts != 0 {
		c.Health.Expires = now.Add(grant.Lasts)
	}
	return c.ARN, s.keep(ctx, c, true, "ImportSourceCredentials", func(c store.Credential) ([]byte, error) {
		return credential.SealGrant(s.Vault, c, flow.client.Host, grant, now)
	})
}
