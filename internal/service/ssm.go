package service

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/ssm"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/secret"
	"github.com/corbel-build/corbel/internal/store"
)

// ParameterStore implements the operations of Systems Manager's Parameter
// Store that builds need. Every value is sealed, whatever its type.
type ParameterStore struct{ *Service }

var _ ssm.Service = ParameterStore{}

// The service's bounds, in bytes of a value and in versions.
// Source: user guide of Systems Manager, "Managing parameter tiers".
const (
	maxStandard      = 4096
	maxAdvanced      = 8192
	keptOfParameters = 100
)

var parameterName = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// checkParameterName says what is wrong with a name.
func checkParameterName(name string) error {
	lower := strings.ToLower(strings.TrimPrefix(name, "/"))
	switch {
	case len(name) > 1011 || !parameterName.MatchString(name) || strings.Contains(name, "//") || strings.HasSuffix(name, "/"), strings.Contains(name, "/") && name[0] != '/':
		return api.Errorf("ValidationException", "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_")
	case strings.HasPrefix(lower, "aws"), strings.HasPrefix(lower, "ssm"):
		return api.Errorf("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).")
	case strings.Count(name, "/") > 15:
		return ssm.HierarchyLevelLimitExceededException("A hierarchy can have a maximum of 15 levels.")
	}
	return nil
}

// parameterARN is the ARN of a parameter. The slash that a hierarchy begins
// with is the one after "parameter".
func parameterARN(s store.Scope, name string) string {
	return "arn:aws:ssm:" + s.Region + ":" + s.Account + ":parameter/" + strings.TrimPrefix(name, "/")
}

// PutParameter stores a value, as a new version if there is one already.
func (s ParameterStore) PutParameter(ctx context.Context, in *ssm.PutParameterRequest) (*ssm.PutParameterResult, error) {
	if err := checkParameterName(*in.Name); err != nil {
		return nil, err
	}
	p := access.From(ctx)
	tier := in.Tier
	size := len(in.Value)
	switch {
	case tier == "" || tier == ssm.ParameterTierIntelligent_Tiering:
		if tier == ssm.ParameterTierIntelligent_Tiering && size > maxStandard {
			tier = ssm.ParameterTierAdvanced
		} else {
			tier = ssm.ParameterTierStandard
		}
	}
	if most := map[bool]int{true: maxAdvanced, false: maxStandard}[tier == ssm.ParameterTierAdvanced]; size > most {
		return nil, api.Errorf("ValidationException", "%s tier parameters support a maximum parameter value of %d characters.", tier, most)
	}
	if value(in.Policies) != "" {
		return nil, api.Errorf("ValidationException", "Parameter policies are not supported.")
	}
	if pattern := value(in.AllowedPattern); pattern != "" {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, ssm.InvalidAllowedPatternException("The allowed pattern is not a regular expression.")
		}
		if !re.MatchString(in.Value.Reveal()) {
			return nil, ssm.ParameterPatternMismatchException("Parameter value, cannot be validated against allowedPattern: %s", pattern)
		}
	}
	var version int64
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		kind := in.Type
		old, err := tx.Parameter(ctx, p.Scope, *in.Name, 0)
		switch {
		case absent(err) && kind == "":
			return api.Errorf("ValidationException", "A parameter type is required when you create a parameter.")
		case absent(err):
		case err != nil:
			return fmt.Errorf("read parameter %s: %w", *in.Name, err)
		case !value(in.Overwrite):
			return ssm.ParameterAlreadyExists("The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
		case kind == "":
			kind = old.Doc.Type
		case kind != old.Doc.Type && (kind == ssm.ParameterTypeSecureString || old.Doc.Type == ssm.ParameterTypeSecureString):
			return ssm.HierarchyTypeMismatchException("The parameter is of type %s and cannot become %s.", old.Doc.Type, kind)
		}
		fresh := store.Parameter{Scope: p.Scope, Name: *in.Name, Version: old.Version + 1, ARN: parameterARN(p.Scope, *in.Name)}
		fresh.Doc = ssm.ParameterMetadata{
			Name: in.Name, ARN: &fresh.ARN, Type: kind, KeyId: in.KeyId, LastModifiedDate: api.At(s.Now()), LastModifiedUser: new(p.ARN()),
			Description: in.Description, AllowedPattern: in.AllowedPattern, Version: &fresh.Version, Tier: tier, DataType: in.DataType, Policies: []ssm.ParameterInlinePolicy{},
		}
		if fresh.Doc.DataType == nil {
			fresh.Doc.DataType = new("text")
		}
		if kind == ssm.ParameterTypeSecureString && fresh.Doc.KeyId == nil {
			fresh.Doc.KeyId = new("alias/aws/ssm")
		}
		if fresh.Sealed, err = s.Vault.Seal(secret.ParameterBinding(fresh), in.Value); err != nil {
			return fmt.Errorf("seal parameter %s: %w", *in.Name, err)
		}
		if err := tx.PutParameter(ctx, fresh); err != nil {
			return fmt.Errorf("store parameter %s: %w", *in.Name, err)
		}
		if fresh.Version > keptOfParameters {
			if err := tx.DeleteParameter(ctx, p.Scope, *in.Name, fresh.Version-keptOfParameters+1); err != nil && !absent(err) {
				return fmt.Errorf("remove old versions of %s: %w", *in.Name, err)
			}
		}
		version = fresh.Version
		return s.audit(ctx, tx, "PutParameter", fresh.ARN, fmt.Sprintf("version %d", version))
	})
	if err != nil {
		return nil, err
	}
	return &ssm.PutParameterResult{Version: &version, Tier: tier}, nil
}

// get returns a parameter as the service shows it.
func (s ParameterStore) get(ctx context.Context, name string, decrypt bool) (*ssm.Parameter, error) {
	p, err := secret.FindParameter(ctx, s.Store, access.From(ctx).Scope, name)
	if err != nil {
		return nil, err
	}
	out := &ssm.Parameter{Name: &p.Name, Type: p.Doc.Type, Version: &p.Version, LastModifiedDate: p.Doc.LastModifiedDate, ARN: &p.ARN, DataType: p.Doc.DataType}
	if _, selector, ok := strings.Cut(name, ":"); ok && !strings.HasPrefix(name, "arn:") {
		out.Selector = new(":" + selector)
	}
	if p.Doc.Type == ssm.ParameterTypeSecureString && !decrypt {
		out.Value = "kms:sealed" // the service shows the ciphertext; ours is nobody's business
		return out, nil
	}
	out.Value, err = s.Vault.Open(secret.ParameterBinding(p), p.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open parameter %s: %w", name, err)
	}
	return out, nil
}

// GetParameter returns a parameter by name, name:version or ARN.
func (s ParameterStore) GetParameter(ctx context.Context, in *ssm.GetParameterRequest) (*ssm.GetParameterResult, error) {
	p, err := s.get(ctx, *in.Name, value(in.WithDecryption))
	if absent(err) {
		name, selector, _ := strings.Cut(*in.Name, ":")
		if _, other := s.get(ctx, name, false); selector != "" && other == nil {
			return nil, ssm.ParameterVersionNotFound("Systems Manager could not find version %s of %s. Verify the version and try again.", selector, name)
		}
		return nil, ssm.ParameterNotFound("Parameter %s not found.", *in.Name)
	} else if err != nil {
		return nil, err
	}
	return &ssm.GetParameterResult{Parameter: p}, s.noteRead(ctx, "GetParameter", *p.ARN, value(in.WithDecryption))
}

// noteRead writes down that a value was read in clear.
func (s ParameterStore) noteRead(ctx context.Context, action, arn string, decrypted bool) error {
	if !decrypted {
		return nil
	}
	return s.Store.Update(ctx, func(tx store.Tx) error { return s.audit(ctx, tx, action, arn, "") })
}

// GetParameters returns several, and which there are not.
func (s ParameterStore) GetParameters(ctx context.Context, in *ssm.GetParametersRequest) (*ssm.GetParametersResult, error) {
	out := &ssm.GetParametersResult{Parameters: []ssm.Parameter{}, InvalidParameters: []string{}}
	for _, name := range in.Names {
		p, err := s.get(ctx, name, value(in.WithDecryption))
		switch {
		case absent(err):
			out.InvalidParameters = append(out.InvalidParameters, name)
		case err != nil:
			return nil, err
		default:
			out.Parameters = append(out.Parameters, *p)
			if err := s.noteRead(ctx, "GetParameters", *p.ARN, value(in.WithDecryption)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// DeleteParameter removes a parameter with all versions.
func (s ParameterStore) DeleteParameter(ctx context.Context, in *ssm.DeleteParameterRequest) (*ssm.DeleteParameterResult, error) {
	p := access.From(ctx)
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.DeleteParameter(ctx, p.Scope, *in.Name, 0); absent(err) {
			return ssm.ParameterNotFound("Parameter %s not found.", *in.Name)
		} else if err != nil {
			return fmt.Errorf("delete parameter %s: %w", *in.Name, err)
		}
		return s.audit(ctx, tx, "DeleteParameter", parameterARN(p.Scope, *in.Name), "")
	})
	if err != nil {
		return nil, err
	}
	return &ssm.DeleteParameterResult{}, nil
}

// wants reports whether a parameter passes a filter.
func wants(d ssm.ParameterMetadata, key, option string, values []string) (bool, error) {
	text := ""
	switch key {
	case "Name":
		text = *d.Name
	case "Type":
		text = string(d.Type)
	case "KeyId":
		text = value(d.KeyId)
	case "Tier":
		text = string(d.Tier)
	case "DataType":
		text = value(d.DataType)
	case "Path":
		return slices.ContainsFunc(values, func(v string) bool {
			rest, ok := strings.CutPrefix(*d.Name, strings.TrimSuffix(v, "/")+"/")
			return ok && (option == "Recursive" || !strings.Contains(rest, "/"))
		}), nil
	default:
		return false, ssm.InvalidFilterKey("The filter key %s is not valid. Valid filter keys include: [Path, Name, Type, KeyId, DataType, Tier]", key)
	}
	switch option {
	case "", "Equals":
		return slices.Contains(values, text), nil
	case "BeginsWith":
		return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(text, v) }), nil
	case "Contains":
		return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(text, v) }), nil
	}
	return false, ssm.InvalidFilterOption("The filter option %s is not valid. Valid options include: [Equals, BeginsWith, Contains]", option)
}

// DescribeParameters lists parameters by name, without values.
func (s ParameterStore) DescribeParameters(ctx context.Context, in *ssm.DescribeParametersRequest) (*ssm.DescribeParametersResult, error) {
	p := access.From(ctx)
	limit := 50
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	from, err := after[string](p.Scope, "DescribeParameters", in.NextToken)
	if err != nil {
		return nil, ssm.InvalidNextToken("The specified token isn't valid.")
	}
	next := value(from)
	out := &ssm.DescribeParametersResult{Parameters: []ssm.ParameterMetadata{}}
	for {
		page, err := s.Store.Parameters(ctx, p.Scope, next, 100)
		if err != nil {
			return nil, fmt.Errorf("list parameters: %w", err)
		}
		for _, found := range page {
			keep := true
			for _, f := range in.ParameterFilters {
				ok, err := wants(found.Doc, *f.Key, value(f.Option), f.Values)
				if err != nil {
					return nil, err
				}
				keep = keep && ok
			}
			for _, f := range in.Filters {
				ok, err := wants(found.Doc, string(f.Key), "BeginsWith", f.Values)
				if err != nil {
					return nil, err
				}
				keep = keep && ok
			}
			if keep && len(out.Parameters) == limit {
				out.NextToken = nextToken(p.Scope, "DescribeParameters", next)
				return out, nil
			}
			if next = found.Name; keep {
				out.Parameters = append(out.Parameters, found.Doc)
			}
		}
		if len(page) < 100 {
			return out, nil
		}
	}
}
