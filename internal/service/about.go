package service

import (
	"context"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/filtergroup"
)

// About is what DescribeServer tells of the installation.
type About struct {
	Version  string
	Builds   int           // that run at a time
	Executor func() string // where builds run, and what keeps them apart
}

// DescribeServer tells what this installation offers, and for each source
// provider where its hosts are, how tokens are made and what they are for. Who
// has no grant for it hears of the providers alone, and not where their APIs are:
// how the server is set up is its operator's business.
func (s CorbelService) DescribeServer(ctx context.Context, _ *corbel.DescribeServerInput) (*corbel.DescribeServerOutput, error) {
	out := &corbel.DescribeServerOutput{Providers: []corbel.SourceProvider{}}
	granted := s.Authorize(ctx, "corbel", "DescribeServer", nil) == nil
	if granted {
		out.Version, out.PublicUrl, out.Builds, out.VerifyCredentials = some(s.About.Version), &s.URL, &s.About.Builds, new(string(s.Verify))
		if s.About.Executor != nil {
			out.Executor = some(s.About.Executor())
		}
	}
	for _, server := range s.Hosts.ServerTypes() {
		p, _ := s.Hosts.Provider(server)
		d := corbel.SourceProvider{
			ServerType: new(string(server)), Name: new(serverNames[api.SourceType(server)]), Known: new(server == p.Server), GitUserHint: some(p.UserHint),
			Hosts: []corbel.ProviderHost{}, TokenUrls: []corbel.TokenUrl{}, AuthTypes: texts(p.Auth),
			Oauth:  &corbel.OAuthFlows{Web: new(false), Device: new(false)}, // of some host
			Scopes: []corbel.AskedScope{}, Events: texts(filtergroup.Known(p.Deliveries.Events)), ApproverRoles: texts(p.Deliveries.Roles),
		}
		for _, h := range s.Hosts.For(server) {
			web, device := s.Checker.OAuth.Flows(h)
			*d.Oauth.Web, *d.Oauth.Device = *d.Oauth.Web || web, *d.Oauth.Device || device
			host := corbel.ProviderHost{Name: &h.Name, Git: &h.Git, Oauth: &corbel.OAuthFlows{Web: &web, Device: &device}}
			if granted {
				host.Api, host.InsecureSsl = &h.API, new(h.Insecure())
			}
			d.Hosts = append(d.Hosts, host)
			d.TokenUrls = append(d.TokenUrls, corbel.TokenUrl{Host: &h.Name, Url: new(p.Tokens(h.Git))})
		}
		for _, a := range p.Scopes {
			d.Scopes = append(d.Scopes, corbel.AskedScope{Scope: &a.Name, NeededFor: &a.For})
		}
		out.Providers = append(out.Providers, d)
	}
	return out, nil
}

// texts are the values of an enum as they are.
func texts[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}
