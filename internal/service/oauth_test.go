package service

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
)

// session is the caller of ctx in a session of the console.
func session(ctx context.Context, name string) context.Context {
	p := access.From(ctx)
	p.Session = name
	return access.With(ctx, p)
}

// newOAuthBench is a bench that is an app at github.com.
func newOAuthBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("9d1f0c7be2a84a53b6e0f1d2c3b4a5968778695a"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Checker.OAuth = &credential.OAuth{Hosts: b.Hosts, Apps: forge.OAuthApps{"GITHUB": {ID: "Iv1.corbel", SecretFile: file}}, Callback: "http://127.0.0.1:8040/console/oauth/callback"}
	b.Flows = NewOAuthFlows()
	t.Cleanup(b.Flows.Close)
	return b
}

// begin starts a web flow and returns its id and its state.
func (b *bench) begin(t *testing.T, ctx context.Context) (id, state string) {
	t.Helper()
	out, err := b.own().StartOAuth(ctx, &corbel.StartOAuthInput{ServerType: new("GITHUB"), Flow: corbel.OAuthFlowWEB})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(*out.AuthorizeUrl)
	if err != nil {
		t.Fatal(err)
	}
	return *out.FlowId, u.Query().Get("state")
}

// Who began a web flow is told how it stands, and nobody else; also that it
// took too long, and for a while after its end.
func TestPollOAuth_Web(t *testing.T) {
	t.Parallel()
	b := newOAuthBench(t)
	mine := session(b.ctx, "mine")
	told := func(id string, state corbel.OAuthState, message string) {
		t.Helper()
		out, err := b.own().PollOAuth(mine, &corbel.PollOAuthInput{FlowId: &id})
		if err != nil || out.State != state || value(out.Message) != message {
			t.Errorf("PollOAuth = %+v, %v, want %s %q", out, err, state, message)
		}
	}
	unknown := func(ctx context.Context, id string) {
		t.Helper()
		_, err := b.own().PollOAuth(ctx, &corbel.PollOAuthInput{FlowId: &id})
		wantError(t, err, "ResourceNotFoundException", "waits for this connection no more")
	}
	id, state := b.begin(t, mine)
	told(id, corbel.OAuthStatePENDING, "")
	unknown(session(b.ctx, "another"), id)
	unknown(session(in("210987654321", "us-west-2", "alice"), "mine"), id)
	unknown(session(in("123456789012", "eu-west-1", "alice"), "mine"), id)
	const denied = "The connection was declined at github.com. Nothing is connected"
	_, _, err := b.own().FinishOAuth(mine, state, "", "access_denied")
	wantError(t, err, "InvalidInputException", denied)
	told(id, corbel.OAuthStateDENIED, denied)
	_, _, err = b.own().FinishOAuth(mine, state, "", "access_denied")
	wantError(t, err, "InvalidInputException", "was finished already")

	id, state = b.begin(t, mine)
	b.forward(webTime - time.Second)
	told(id, corbel.OAuthStatePENDING, "")
	b.forward(time.Second)
	told(id, corbel.OAuthStateEXPIRED, "Nobody came back from github.com in time. Connect again")
	_, _, err = b.own().FinishOAuth(mine, state, "code", "")
	wantError(t, err, "InvalidInputException", "took too long")
	b.forward(toldTime)
	unknown(mine, id)
}

// An account may have only so many connections that wait. Those that have
// ended are in nobody's way.
func TestStartOAuth_Bounded(t *testing.T) {
	t.Parallel()
	b := newOAuthBench(t)
	mine := session(b.ctx, "mine")
	for range 3 * maxFlows {
		_, state := b.begin(t, mine)
		if _, _, err := b.own().FinishOAuth(mine, state, "", "access_denied"); err == nil {
			t.Fatal("a denial is no error")
		}
	}
	if n := len(b.Flows.of); n > maxFlows {
		t.Errorf("%d flows are kept", n)
	}
	for range maxFlows {
		b.begin(t, mine)
	}
	begin := func(ctx context.Context) error {
		_, err := b.own().StartOAuth(ctx, &corbel.StartOAuthInput{ServerType: new("GITHUB"), Flow: corbel.OAuthFlowWEB})
		return err
	}
	wantError(t, begin(mine), "InvalidInputException", "were begun and not finished")
	if err := begin(session(in("210987654321", "us-west-2", "bob"), "his")); err != nil {
		t.Errorf("another account: %v", err)
	}
	b.forward(webTime)
	if err := begin(mine); err != nil {
		t.Errorf("when they have ended: %v", err)
	}
}

// A token that the provider gave and does not take is told of as what it is.
func TestCheckToken_OAuth(t *testing.T) {
	t.Parallel()
	b := newOAuthBench(t)
	b.answer = func(api.Secret) (forge.Check, error) {
		return forge.Check{}, &forge.Error{Kind: forge.ErrRefused, Host: "github.com", Text: "the token is refused"}
	}
	_, err := b.checkToken(b.ctx, api.ServerTypeGITHUB, forge.Token{Auth: api.AuthTypeOAUTH, Value: "gho_PlantedInServiceTests00000000000001", Host: "github.com"})
	wantError(t, err, "InvalidInputException", "Connect again")
}
