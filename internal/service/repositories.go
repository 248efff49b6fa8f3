package service

import (
	"context"
	"errors"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
)

// ListRepositories lists repositories that the stored credential of the server
// type can see, those whose name contains search, for somebody to choose from.
// Each page is one use of the token.
func (s CorbelService) ListRepositories(ctx context.Context, in *corbel.ListRepositoriesInput) (*corbel.ListRepositoriesOutput, error) {
	p := access.From(ctx)
	server := api.ServerType(*in.ServerType)
	if _, ok := s.Hosts.Provider(server); !ok {
		return nil, api.InvalidInputException("There is no server type %s", server)
	}
	query := "repositories " + *in.ServerType + " " + value(in.Host) + " " + value(in.Search)
	page, err := after[string](p.Scope, query, in.NextToken)
	if err != nil {
		return nil, err
	}
	list, next, err := s.Checker.Repositories(ctx, p.Scope, server, value(in.Host), value(in.Search), value(page))
	if errors.Is(err, credential.ErrNoCredential) {
		return nil, api.ResourceNotFoundException("Could not find access token for server type %s", strings.ToLower(*in.ServerType))
	} else if mendable, ok := errors.AsType[*credential.Problem](err); ok {
		return nil, api.InvalidInputException("%v", mendable)
	} else if err != nil {
		return nil, err
	}
	out := &corbel.ListRepositoriesOutput{Repositories: []corbel.ListedRepository{}}
	for _, r := range list {
		out.Repositories = append(out.Repositories, corbel.ListedRepository{Name: &r.Name, Url: &r.URL, Private: &r.Private, DefaultBranch: some(r.Default)})
	}
	if next != "" {
		out.NextToken = nextToken(p.Scope, query, next)
	}
	return out, nil
}
