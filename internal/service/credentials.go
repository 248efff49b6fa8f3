package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// authTypes is which ways of authentication a server type accepts at an
// import: those of the provider's tokens, and what stands for one. OAUTH
// belongs to the console. The personal access tokens of GitLab and of the
// server types that are Corbel's own, and BASIC_AUTH's absence for GitHub, are
// in docs/divergences.md.
func (s *Service) authTypes(t api.ServerType) []api.AuthType {
	p, _ := s.Hosts.Provider(t)
	return append(slices.Clone(p.Auth), api.AuthTypeCODECONNECTIONS, api.AuthTypeSECRETS_MANAGER)
}

// Bounds of an import, in bytes. The service has none; a header has.
const (
	maxToken    = 8 << 10
	maxUsername = 255
)

// checkImport applies the rules that cross the fields of an import.
func (s *Service) checkImport(in *api.ImportSourceCredentialsInput) error {
	if in.AuthType == api.AuthTypeOAUTH {
		return api.InvalidInputException("Auth type OAUTH cannot be imported through the API. Connect to %s with OAuth in the console, or import a token with PERSONAL_ACCESS_TOKEN", in.ServerType)
	}
	if allowed := s.authTypes(in.ServerType); !slices.Contains(allowed, in.AuthType) {
		names := make([]string, 0, 4)
		for _, a := range allowed {
			names = append(names, string(a))
		}
		return api.InvalidInputException("Auth type %s is not valid for server type %s. Valid auth types are %s", in.AuthType, in.ServerType, strings.Join(names, ", "))
	}
	// A token that was read from a file often has the file's line end.
	token := strings.TrimSpace(in.Token.Reveal())
	in.Token = api.Secret(token)
	switch {
	case token == "":
		return api.InvalidInputException("The token is empty")
	case len(token) > maxToken:
		return api.InvalidInputException("The token has %d bytes; no source provider has tokens of more than %d. Check what was copied", len(token), maxToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return api.InvalidInputException("The token contains white space or control characters. Check how it was copied")
	case strings.ContainsFunc(token, func(r rune) bool { return r > 0x7f }):
		return api.InvalidInputException("The token contains characters that are not ASCII, which no token has. Check how it was copied")
	}
	switch in.AuthType {
	case api.AuthTypeBASIC_AUTH:
		if in.Username == nil {
			return api.InvalidInputException("Username is required when auth type is BASIC_AUTH")
		}
		if len(*in.Username) > maxUsername || strings.ContainsFunc(*in.Username, func(r rune) bool { return r < ' ' || r == ':' || r == 0x7f || r == utf8.RuneError }) {
			return api.InvalidInputException("Username must have at most %d bytes and no colons or control characters", maxUsername)
		}
	case api.AuthTypeCODECONNECTIONS:
		if a, err := arn.Parse(token); err != nil || a.Service != "codeconnections" && a.Service != "codestar-connections" {
			return api.InvalidInputException("For auth type CODECONNECTIONS the token must be the ARN of a connection")
		}
	case api.AuthTypeSECRETS_MANAGER:
		if a, err := arn.Parse(token); err != nil || a.Service != "secretsmanager" {
			return api.InvalidInputException("For auth type SECRETS_MANAGER the token must be the ARN of a secret")
		}
	}
	return nil
}

// ImportSourceCredentials stores the token of a source provider, sealed. A
// stored one is replaced, or with shouldOverwrite false left as it is and
// ResourceAlreadyExistsException returned.
// Source: user guide, "Using access tokens with your source provider".
func (s *Service) ImportSourceCredentials(ctx context.Context, in *api.ImportSourceCredentialsInput) (*api.ImportSourceCredentialsOutput, error) {
	if err := s.checkImport(in); err != nil {
		return nil, err
	}
	p := access.From(ctx)
	c := store.Credential{
		Scope:      p.Scope,
		ServerType: in.ServerType,
		AuthType:   in.AuthType,
		ARN:        resource(p.Scope, "token", strings.ToLower(string(in.ServerType))),
	}
	overwrite := in.ShouldOverwrite == nil || *in.ShouldOverwrite
	if !overwrite { // do not trouble the provider for nothing
		if _, err := s.Store.Credential(ctx, c.Scope, c.ServerType); err == nil {
			return nil, exists(c.ServerType)
		} else if !absent(err) {
			return nil, fmt.Errorf("read credential %s: %w", c.ARN, err)
		}
	}
	var user string
	if in.AuthType == api.AuthTypeBASIC_AUTH {
		user = *in.Username // ignored for every other auth type
	}
	if in.AuthType == api.AuthTypeCODECONNECTIONS || in.AuthType == api.AuthTypeSECRETS_MANAGER {
		c.Resource = in.Token.Reveal() // an ARN, listed to everyone
		c.Health = store.Health{State: credential.Unverified, Detail: "the token is read when it is needed"}
		if in.AuthType == api.AuthTypeCODECONNECTIONS {
			c.Health.Detail = "connections exist at AWS only, so builds cannot use this: import a token or the ARN of a secret instead"
		}
	} else {
		health, err := s.checkToken(ctx, in.ServerType, forge.Token{Auth: in.AuthType, User: user, Value: in.Token})
		if err != nil {
			return nil, err
		}
		c.Health = health
	}
	err := s.keep(ctx, c, overwrite, "ImportSourceCredentials", func(c store.Credential) ([]byte, error) {
		return credential.Seal(s.Vault, c, user, in.Token)
	})
	if err != nil {
		return nil, err
	}
	return &api.ImportSourceCredentialsOutput{Arn: &c.ARN}, nil
}

// keep stores a credential with what seal seals for it, in place of an old one
// if overwrite is set.
func (s *Service) keep(ctx context.Context, c store.Credential, overwrite bool, event string, seal func(store.Credential) ([]byte, error)) error {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.Credential(ctx, c.Scope, c.ServerType)
		switch {
		case err == nil && !overwrite:
			return exists(c.ServerType)
		case err == nil:
			c.Created, c.Generation = old.Created, old.Generation
		case absent(err):
			c.Created = s.Now()
		default:
			return fmt.Errorf("read credential %s: %w", c.ARN, err)
		}
		c.Modified, c.NextCheck = s.Now(), s.Checker.Next(c.Health)
		c.Generation++
		if c.Sealed, err = seal(c); err != nil {
			return err
		}
		if err := tx.PutCredential(ctx, c); err != nil {
			return fmt.Errorf("store credential %s: %w", c.ARN, err)
		}
		return s.audit(ctx, tx, event, c.ARN, fmt.Sprintf("%s, generation %d, %s", c.AuthType, c.Generation, c.Health.State))
	})
	if err == nil {
		s.Checker.Wake()
	}
	return err
}

func exists(t api.ServerType) error {
	return api.ResourceAlreadyExistsException("Access token with server type %s already exists. Delete its source credential and try again.", t)
}

// checkToken asks the provider about a token that is to be stored.
func (s *Service) checkToken(ctx context.Context, server api.ServerType, token forge.Token) (store.Health, error) {
	if s.Verify == Off {
		return store.Health{State: credential.Unverified, Detail: "checking is switched off"}, nil
	}
	h, err := s.Checker.Ask(ctx, server, token)
	switch {
	case errors.Is(err, forge.ErrRefused) && s.Verify == Reject:
		next := "Create a new token and import that"
		if token.Auth == api.AuthTypeOAUTH {
			next = "Connect again"
		}
		return h, api.InvalidInputException("The token was not stored: %v. %s", err, next)
	case err != nil:
		s.Log.WarnContext(ctx, "token stored without the provider's word", "server_type", server, "error", err)
	}
	return h, nil
}

// ListSourceCredentials lists what is stored, never a token or a user name.
func (s *Service) ListSourceCredentials(ctx context.Context, _ *api.ListSourceCredentialsInput) (*api.ListSourceCredentialsOutput, error) {
	list, err := s.Store.Credentials(ctx, access.From(ctx).Scope)
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	out := &api.ListSourceCredentialsOutput{SourceCredentialsInfos: []api.SourceCredentialsInfo{}}
	for _, c := range list {
		info := api.SourceCredentialsInfo{Arn: new(c.ARN), ServerType: c.ServerType, AuthType: c.AuthType}
		if c.Resource != "" {
			info.Resource = new(c.Resource)
		}
		out.SourceCredentialsInfos = append(out.SourceCredentialsInfos, info)
	}
	sort.Slice(out.SourceCredentialsInfos, func(i, j int) bool {
		return out.SourceCredentialsInfos[i].ServerType < out.SourceCredentialsInfos[j].ServerType
	})
	return out, nil
}

// DeleteSourceCredentials removes a stored token. Projects that used it stay.
func (s *Service) DeleteSourceCredentials(ctx context.Context, in *api.DeleteSourceCredentialsInput) (*api.DeleteSourceCredentialsOutput, error) {
	p := access.From(ctx)
	a, err := arn.Parse(*in.Arn)
	tail, ok := strings.CutPrefix(a.Resource, "token/")
	if err != nil || !ok || a.Service != "codebuild" {
		return nil, api.InvalidInputException("Invalid ARN %q: want the ARN of a source credential, such as %s", *in.Arn, resource(p.Scope, "token", "github"))
	}
	server := api.ServerType(strings.ToUpper(tail))
	missing := api.ResourceNotFoundException("Could not find access token for server type %s", tail)
	if *in.Arn != resource(p.Scope, "token", strings.ToLower(string(server))) {
		return nil, missing // of another account or region, or no server type in lower case
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.DeleteCredential(ctx, p.Scope, server); absent(err) {
			return missing
		} else if err != nil {
			return fmt.Errorf("delete credential %s: %w", *in.Arn, err)
		}
		return s.audit(ctx, tx, "DeleteSourceCredentials", *in.Arn, "")
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteSourceCredentialsOutput{Arn: in.Arn}, nil
}
