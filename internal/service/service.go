// Package service is what each operation does: CodeBuild's own, those of
// CloudWatch Logs that read build logs, and GetCallerIdentity.
//
// A method gets a request whose shape was validated. It checks the rules that
// cross fields first, does the rest in one transaction, and returns an
// *api.Error for what the caller did wrong; any other error is ours and is
// answered as an internal failure.
package service

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// Service implements api.Service for every account and region of one
// installation. The principal of the context says whose.
type Service struct {
	api.Unsupported

	Store   store.Store
	Vault   *vault.Vault
	Keys    *access.Keys
	Hosts   *forge.Hosts
	Checker *credential.Checker
	Flows   *OAuthFlows
	Logs    *buildlog.Logs
	Log     *slog.Logger
	Now     func() time.Time

	Verify    Verify
	MaxQueued int    // builds waiting in an account; further starts are refused. 0 is no limit
	URL       string // where people reach this server, without a slash at the end
	About     About

	turns turns // at the hooks of projects
}

// Verify says what an import does with the provider's opinion of a token.
type Verify string

// Reject refuses what the provider refuses, Record stores it and says so,
// Off does not ask.
const (
	Reject Verify = "reject"
	Record Verify = "record"
	Off    Verify = "off"
)

// name returns the resource's name in ref, which is a name or the ARN of a
// resource of the given kind in the caller's own account and region. ok is
// false when ref is an ARN of something else.
func name(p access.Principal, kind, ref string) (name string, ok bool) {
	if !strings.HasPrefix(ref, "arn:") {
		return ref, true
	}
	a, err := arn.Parse(ref)
	if err != nil || a.Service != "codebuild" || a.Account != p.Account || a.Region != p.Region {
		return "", false
	}
	return strings.CutPrefix(a.Resource, kind+"/")
}

// resource is the ARN of a resource of the caller.
func resource(s store.Scope, kind, name string) string {
	return arn.CodeBuild(s.Region, s.Account, kind+"/"+name).String()
}

// A cursor is what a nextToken holds: where a listing goes on, and for whom
// and what. It is no secret; it is bound to the caller so that it cannot be
// taken elsewhere by mistake.
type cursor[K any] struct {
	Scope store.Scope
	Query string
	After K
}

// nextToken writes the token of a listing that goes on after k.
func nextToken[K any](s store.Scope, query string, k K) *string {
	b, err := json.Marshal(cursor[K]{s, query, k})
	if err != nil {
		panic(err) // keys are plain structures
	}
	return new(base64.RawURLEncoding.EncodeToString(b))
}

// after reads a nextToken of the same scope and query; nil if there is none.
func after[K any](s store.Scope, query string, token *string) (*K, error) {
	if token == nil || *token == "" {
		return nil, nil
	}
	var c cursor[K]
	b, err := base64.RawURLEncoding.DecodeString(*token)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Scope != s || c.Query != query {
		return nil, api.InvalidInputException("Invalid nextToken provided: it must come from the previous page of the same listing")
	}
	return &c.After, nil
}

// value is what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// absent reports whether err says that there is no such row.
func absent(err error) bool { return errors.Is(err, store.ErrNotFound) }

// audit appends a line about a call to the audit log.
func (s *Service) audit(ctx context.Context, tx store.Tx, action, resource, detail string) error {
	r := s.record(ctx, action)
	r.Resource, r.Detail = resource, detail
	return audit.Append(ctx, tx, r)
}

// record is what the context knows of a call.
func (s *Service) record(ctx context.Context, action string) audit.Record {
	p := access.From(ctx)
	return audit.Record{
		Time: s.Now(), Account: p.Account, Region: p.Region, Principal: p.ARN(), KeyID: p.KeyID, Source: p.Service + ".amazonaws.com", Event: action,
		From: p.From, Agent: p.Agent, RequestID: p.RequestID,
	}
}

// Refused writes down that a call that changes something, or shows a secret,
// was refused or failed. Other calls leave no line.
func (s *Service) Refused(ctx context.Context, action string, err error) {
	for _, reading := range []string{"List", "BatchGet", "Describe", "Filter", "Check", "Resolve", "Poll", "GetLog", "GetReport", "GetResource"} {
		if strings.HasPrefix(action, reading) {
			return
		}
	}
	r := s.record(ctx, action)
	r.Outcome, r.Message = "InternalFailure", "the server failed"
	if e, ok := errors.AsType[*api.Error](err); ok {
		r.Outcome, r.Message = e.Code, e.Message
	}
	ctx = context.WithoutCancel(ctx) // the caller may have gone
	if err := s.Store.Update(ctx, func(tx store.Tx) error { return audit.Append(ctx, tx, r) }); err != nil {
		s.Log.ErrorContext(ctx, "write the audit log", "operation", action, "error", err)
	}
}
