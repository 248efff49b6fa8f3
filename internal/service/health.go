package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// CorbelService implements Corbel's own operations: what people want to know
// and do and CodeBuild's API has no word for. No answer contains a token.
type CorbelService struct{ *Service }

var _ corbel.Service = CorbelService{}

// DescribeSourceCredentials tells what is known of the caller's credentials,
// or of the one that is asked for.
func (s CorbelService) DescribeSourceCredentials(ctx context.Context, in *corbel.DescribeSourceCredentialsInput) (*corbel.DescribeSourceCredentialsOutput, error) {
	list, err := s.named(ctx, in.Arn)
	if err != nil {
		return nil, err
	}
	out, err := s.describe(ctx, list)
	return &corbel.DescribeSourceCredentialsOutput{SourceCredentials: out}, err
}

// CheckSourceCredentials asks the providers now, and for a repository what
// the credential that it would use may do there.
func (s CorbelService) CheckSourceCredentials(ctx context.Context, in *corbel.CheckSourceCredentialsInput) (*corbel.CheckSourceCredentialsOutput, error) {
	out := &corbel.CheckSourceCredentialsOutput{}
	if in.Repository != nil {
		a, can, err := s.Checker.CheckRepository(ctx, access.From(ctx).Scope, *in.Repository)
		if mendable, ok := errors.AsType[*credential.Problem](err); ok {
			return nil, api.InvalidInputException("%v", mendable)
		} else if err != nil {
			return nil, err
		}
		if in.Arn != nil && *in.Arn != a.ARN {
			return nil, api.InvalidInputException("The repository %s would use %s, not %s", a.Repository.URL, a.ARN, *in.Arn)
		}
		out.Repository = &corbel.RepositoryAbilities{
			Location: &a.Repository.URL, Host: &a.Repository.Host.Name, Arn: &a.ARN,
			Clone: ability(can.Clone), Status: ability(can.Status), Webhook: ability(can.Hook),
		}
		in.Arn = &a.ARN
	}
	list, err := s.named(ctx, in.Arn)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if list[i], err = s.Checker.Check(ctx, c); err != nil && !absent(err) {
			return nil, fmt.Errorf("check credential %s: %w", c.ARN, err)
		}
	}
	out.SourceCredentials, err = s.describe(ctx, list)
	return out, err
}

func ability(a forge.Ability) *corbel.Ability {
	out := &corbel.Ability{Answer: corbel.AnswerType(a.Can)}
	if a.Why != "" {
		out.Reason = &a.Why
	}
	return out
}

// named returns the credential with the ARN, or all.
func (s CorbelService) named(ctx context.Context, arn *string) ([]store.Credential, error) {
	list, err := s.Store.Credentials(ctx, access.From(ctx).Scope)
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	if arn == nil {
		return list, nil
	}
	for _, c := range list {
		if c.ARN == *arn {
			return []store.Credential{c}, nil
		}
	}
	return nil, api.ResourceNotFoundException("There is no source credential %s in this account and region", *arn)
}

func (s CorbelService) describe(ctx context.Context, list []store.Credential) ([]corbel.SourceCredential, error) {
	out := []corbel.SourceCredential{}
	for _, c := range list {
		h := c.Health
		d := corbel.SourceCredential{
			Arn: new(c.ARN), ServerType: new(string(c.ServerType)), AuthType: new(string(c.AuthType)),
			State:  corbel.CredentialState(credential.State(h, s.Now())),
			Detail: some(h.Detail), User: some(h.Login), Kind: some(h.Kind), Scopes: h.Scopes, Resource: some(c.Resource),
			Created: stamp(c.Created), Imported: stamp(c.Modified), Expires: stamp(h.Expires), LastChecked: stamp(h.Checked),
			Hosts: []string{},
		}
		if h.Remaining != nil {
			d.RequestsLeft = new(*h.Remaining)
		}
		for _, m := range h.Missing {
			d.MissingScopes = append(d.MissingScopes, corbel.MissingScope{Scope: new(m), NeededFor: some(h.Purpose[m])})
		}
		for _, host := range s.Hosts.For(c.ServerType) {
			d.Hosts = append(d.Hosts, host.Name)
		}
		u, err := s.Store.CredentialUse(ctx, c.Scope, c.ARN)
		switch {
		case err == nil:
			d.LastUsed = &corbel.CredentialUse{At: stamp(u.At), Purpose: some(u.Purpose), Build: some(u.Build), Host: some(u.Host)}
		case !absent(err):
			return nil, fmt.Errorf("read the last use of %s: %w", c.ARN, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// ResolveSourceCredentials tells for each source of a project which
// credential it would use, and why.
func (s CorbelService) ResolveSourceCredentials(ctx context.Context, in *corbel.ResolveSourceCredentialsInput) (*corbel.ResolveSourceCredentialsOutput, error) {
	p := access.From(ctx)
	var project *api.Project
	n, ok := name(p, "project", *in.ProjectName)
	err := error(store.ErrNotFound)
	if ok {
		project, err = s.Store.Project(ctx, p.Scope, n)
	}
	if absent(err) {
		return nil, api.ResourceNotFoundException("Project cannot be found: %s", *in.ProjectName)
	} else if err != nil {
		return nil, fmt.Errorf("read project: %w", err)
	}
	out := &corbel.ResolveSourceCredentialsOutput{ProjectName: project.Name, Sources: []corbel.ResolvedSource{}}
	for i, src := range append([]api.ProjectSource{*project.Source}, project.SecondarySources...) {
		r := corbel.ResolvedSource{SourceIdentifier: src.SourceIdentifier, Type: new(string(src.Type)), Location: src.Location, Origin: corbel.OriginTypeNONE}
		if i == 0 {
			r.SourceIdentifier = nil
		}
		if !gitHost(src.Type) {
			r.Reason = new("sources of type " + string(src.Type) + " use no source credential")
			out.Sources = append(out.Sources, r)
			continue
		}
		a, err := s.Checker.Resolve(ctx, p.Scope, &src, project.Source)
		if mendable, ok := errors.AsType[*credential.Problem](err); ok {
			r.Reason = new(mendable.Error())
			out.Sources = append(out.Sources, r)
			continue
		} else if err != nil {
			return nil, err
		}
		r.Host, r.Origin, r.Arn, r.Reason = &a.Repository.Host.Name, corbel.OriginType(a.Origin), some(a.ARN), &a.Reason
		switch {
		case a.Credential != nil:
			c := a.Credential
			r.ServerType, r.AuthType, r.Resource = new(string(c.ServerType)), new(string(c.AuthType)), some(c.Resource)
			r.State = corbel.CredentialState(credential.State(c.Health, s.Now()))
		case a.ARN != "":
			r.ServerType, r.AuthType, r.Resource = new(string(a.ServerType)), new(string(api.AuthTypeSECRETS_MANAGER)), &a.ARN
		}
		out.Sources = append(out.Sources, r)
	}
	return out, nil
}

// some is nil for "".
func some(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// stamp is nil for the zero time.
func stamp(t time.Time) *api.Timestamp {
	if t.IsZero() {
		return nil
	}
	return api.At(t)
}
