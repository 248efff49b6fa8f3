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
	taken    bool   // its state was used, which is good once
	ends     time.Time

	state   corbel.OAuthState
	message string
	arn     string
}

const (
	// webTime is how long somebody may take at the provider.
	webTime = 10 * time.Minute
	// toldTime is how long after its end a flow is told of. Browsers let a tab
	// that nobody looks at ask once a minute.
	toldTime = 10 * time.Minute
	// webInterval is how many seconds the console waits between two questions
	// how a web flow stands.
	webInterval = 2
	// maxFlows bounds those of an account, and exchangeTime a call.
	maxFlows     = 20
	exchangeTime = 10 * time.Second
)

// add keeps a flow, which now begins, under a random name. If the account has
// too many, those that have ended are told of no more.
func (f *OAuthFlows) add(flow *oauthFlow, now time.Time) (id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	var ended []string
	for id, other := range f.of {
		switch {
		case !now.Before(other.ends.Add(toldTime)):
			delete(f.of, id)
		case other.owner.Account != flow.owner.Account:
		case other.at(now) == corbel.OAuthStatePENDING:
			n++
		default:
			ended = append(ended, id)
		}
	}
	if n >= maxFlows {
		return "", api.InvalidInputException("%d connections of this account were begun and not finished. Finish one, or wait %v", n, webTime)
	}
	if n+len(ended) >= maxFlows {
		for _, id := range ended {
			delete(f.of, id)
		}
	}
	id, flow.state = rand.Text(), corbel.OAuthStatePENDING
	f.of[id] = flow
	return id, nil
}

// at is the flow's state. Nobody but who asks notices that a web flow took too
// long.
func (f *oauthFlow) at(now time.Time) corbel.OAuthState {
	if f.state == corbel.OAuthStatePENDING && f.verifier != "" && !f.taken && !now.Before(f.ends) {
		return corbel.OAuthStateEXPIRED
	}
	return f.state
}

// end notes how a flow has ended, which err says.
func (f *OAuthFlows) end(flow *oauthFlow, state corbel.OAuthState, arn string, err error) {
	message := ""
	if err != nil {
		message = problemText(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	flow.state, flow.arn, flow.message = state, arn, message
}

// StartOAuth begins to connect to a source provider. With the flow WEB the
// caller, who is signed in to the console, goes to authorizeUrl and comes back
// by the callback; with DEVICE a code is typed in at verificationUrl on any
// machine. PollOAuth tells how that went.
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
		return &corbel.StartOAuthOutput{AuthorizeUrl: new(client.Address(state, flow.verifier)), FlowId: &state, Interval: new(webInterval), Expires: stamp(flow.ends)}, nil
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
	flow.ends = code.Expires
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
	grant, err := flow.client.Await(ctx, code)
	arn := ""
	state := corbel.OAuthStateDENIED
	switch {
	case errors.Is(err, forge.ErrDenied):
		err = denied(flow)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, forge.ErrRefused), err != nil && ctx.Err() != nil:
		state, err = corbel.OAuthStateEXPIRED, api.InvalidInputException("Nobody entered the code at %s in time. Connect again for another one", flow.client.Host.Name)
	case err == nil:
		if arn, err = s.connect(ctx, flow, grant); err == nil {
			state = corbel.OAuthStateDONE
		}
	}
	if _, told := errors.AsType[*api.Error](err); err != nil && !told {
		s.Log.ErrorContext(ctx, "connect with OAuth", "server_type", flow.server, "error", err)
	}
	s.Flows.end(flow, state, arn, err)
}

// denied is what a user is told who said no, or somebody else for them.
func denied(flow *oauthFlow) *api.Error {
	return api.InvalidInputException("The connection was declined at %s. Nothing is connected", flow.client.Host.Name)
}

// problemText is what of an error is for people.
func problemText(err error) string {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Message
	}
	if e, ok := errors.AsType[*forge.Error](err); ok {
		return "The connection failed: " + e.Error()
	}
	return "The connection failed: the server's log has the reason"
}

// PollOAuth tells how a flow stands that the caller's account began; a web flow
// it tells to the session alone.
func (s CorbelService) PollOAuth(ctx context.Context, in *corbel.PollOAuthInput) (*corbel.PollOAuthOutput, error) {
	p := access.From(ctx)
	s.Flows.mu.Lock()
	defer s.Flows.mu.Unlock()
	flow, now := s.Flows.of[*in.FlowId], s.Now()
	if flow == nil || flow.owner.Scope != p.Scope || flow.verifier != "" && flow.owner.Session != p.Session || !now.Before(flow.ends.Add(toldTime)) {
		return nil, api.ResourceNotFoundException("The server waits for this connection no more: it was started again, you have signed in anew, or it took too long. Connect again")
	}
	out := &corbel.PollOAuthOutput{State: flow.at(now), Arn: some(flow.arn), Message: some(flow.message)}
	if out.State == corbel.OAuthStateEXPIRED && flow.message == "" {
		out.Message = new("Nobody came back from " + flow.client.Host.Name + " in time. Connect again")
	}
	return out, nil
}

// FinishOAuth ends a web flow with what the provider sent the caller back with:
// a code, or the code of an error. It returns what is connected: the server
// type, and the region, which need not be the session's. state is good once,
// and for the session that began only. Its errors are *api.Error or ours.
func (s CorbelService) FinishOAuth(ctx context.Context, state, code, problem string) (api.ServerType, string, error) {
	p := access.From(ctx)
	s.Flows.mu.Lock()
	flow := s.Flows.of[state]
	mine := flow != nil && flow.verifier != "" && !flow.taken && flow.owner.Session == p.Session && p.Session != "" && s.Now().Before(flow.ends)
	if mine {
		flow.taken = true
	}
	s.Flows.mu.Unlock()
	if !mine {
		return "", "", api.InvalidInputException("This connection was not begun here, was finished already, or took too long. Begin again")
	}
	arn, err := s.finish(ctx, flow, code, problem)
	if err != nil {
		s.Flows.end(flow, corbel.OAuthStateDENIED, "", err)
		return "", "", err
	}
	s.Flows.end(flow, corbel.OAuthStateDONE, arn, nil)
	return flow.server, flow.owner.Region, nil
}

func (s CorbelService) finish(ctx context.Context, flow *oauthFlow, code, problem string) (arn string, err error) {
	switch {
	case problem == "access_denied":
		return "", denied(flow)
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
	return s.connect(access.With(ctx, withRegion(access.From(ctx), flow.owner.Region)), flow, grant)
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
