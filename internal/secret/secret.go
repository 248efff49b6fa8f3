// Package secret reads the values of Secrets Manager and Parameter Store: for
// builds, whose variables name them, and for source credentials that are kept
// in a secret. Values are this server's own, or those of AWS or of any other
// endpoint that speaks its API.
package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// Binding is what the seal of a secret's version is bound to.
func Binding(v store.SecretVersion) string {
	return vault.Binding("secret", v.Secret, v.Account, v.Region, v.ID)
}

// ParameterBinding is what the seal of a parameter's version is bound to.
func ParameterBinding(p store.Parameter) string {
	return vault.Binding("parameter", p.ARN, p.Account, p.Region, strconv.FormatInt(p.Version, 10))
}

// The stages that Secrets Manager moves by itself.
const (
	Current  = "AWSCURRENT"
	Previous = "AWSPREVIOUS"
)

// The errors of a Reader that its callers tell apart. Their texts name what was
// asked for, and never a value.
var (
	ErrNotFound = errors.New("there is none in this account and region")
	ErrDeleted  = errors.New("it is marked for deletion")
)

// A Reader reads values. It keeps nothing.
type Reader struct {
	Store store.Store
	Vault *vault.Vault
	// Remote is where values are read instead of the store: "" is the store,
	// "aws" is AWS, anything else the address of an endpoint. The server's
	// environment has the credentials, as any SDK reads them.
	Remote string
}

// Find returns the secret that an id names: a name, an ARN, or an ARN without
// the six characters at its end. store.ErrNotFound if there is none.
func Find(ctx context.Context, r store.SecretReader, s store.Scope, id string) (store.Secret, error) {
	if !strings.HasPrefix(id, "arn:") {
		return r.Secret(ctx, s, id)
	}
	found, err := r.SecretOfARN(ctx, s, id)
	if !errors.Is(err, store.ErrNotFound) {
		return found, err
	}
	parts := strings.SplitN(id, ":", 7)
	if len(parts) != 7 || parts[2] != "secretsmanager" || parts[3] != s.Region || parts[4] != s.Account || parts[5] != "secret" {
		return store.Secret{}, store.ErrNotFound
	}
	return r.Secret(ctx, s, parts[6])
}

// Version picks a version of those of a secret: by its id, its stage, or both,
// which must agree. Neither is the current one.
func Version(list []store.SecretVersion, id, stage string) (store.SecretVersion, bool) {
	if id == "" && stage == "" {
		stage = Current
	}
	i := slices.IndexFunc(list, func(v store.SecretVersion) bool {
		return (id == "" || v.ID == id) && (stage == "" || slices.Contains(v.Stages, stage))
	})
	if i < 0 {
		return store.SecretVersion{}, false
	}
	return list[i], true
}

// Secret returns the value of a secret's version, text or base64 of bytes.
func (r *Reader) Secret(ctx context.Context, s store.Scope, id, version, stage string) (api.Secret, error) {
	if r.Remote != "" {
		return r.remoteSecret(ctx, s, id, version, stage)
	}
	found, err := Find(ctx, r.Store, s, id)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("secret %s: %w", id, ErrNotFound)
	} else if err != nil {
		return "", fmt.Errorf("read secret %s: %w", id, err)
	}
	if found.Doc.DeletedDate != nil {
		return "", fmt.Errorf("secret %s: %w", id, ErrDeleted)
	}
	list, err := r.Store.SecretVersions(ctx, s, found.ARN)
	if err != nil {
		return "", fmt.Errorf("read versions of secret %s: %w", id, err)
	}
	v, ok := Version(list, version, stage)
	if !ok {
		return "", fmt.Errorf("secret %s, version %q, stage %q: %w", id, version, stage, ErrNotFound)
	}
	value, err := r.Vault.Open(Binding(v), v.Sealed)
	if err != nil {
		return "", fmt.Errorf("open secret %s: %w", id, err)
	}
	return value, nil
}

// Parameter returns the value of a parameter: a name, a name with :VERSION, or
// an ARN.
func (r *Reader) Parameter(ctx context.Context, s store.Scope, name string) (api.Secret, error) {
	if r.Remote != "" {
		return r.remoteParameter(ctx, s, name)
	}
	p, err := FindParameter(ctx, r.Store, s, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("parameter %s: %w", name, ErrNotFound)
	} else if err != nil {
		return "", fmt.Errorf("read parameter %s: %w", name, err)
	}
	value, err := r.Vault.Open(ParameterBinding(p), p.Sealed)
	if err != nil {
		return "", fmt.Errorf("open parameter %s: %w", name, err)
	}
	return value, nil
}

// FindParameter returns the parameter that a text names: a name or an ARN, with
// :VERSION or without. store.ErrNotFound if there is none.
func FindParameter(ctx context.Context, r store.SecretReader, s store.Scope, text string) (store.Parameter, error) {
	if prefix := "arn:aws:ssm:" + s.Region + ":" + s.Account + ":parameter/"; strings.HasPrefix(text, prefix) {
		name := strings.TrimPrefix(text, prefix)
		if strings.Contains(name, "/") { // a hierarchy begins with a slash, which an ARN shares with "parameter/"
			name = "/" + name
		}
		text = name
	} else if strings.HasPrefix(text, "arn:") {
		return store.Parameter{}, store.ErrNotFound
	}
	name, selector, versioned := strings.Cut(text, ":")
	var version int64
	if versioned {
		var err error
		if version, err = strconv.ParseInt(selector, 10, 64); err != nil || version < 1 {
			return store.Parameter{}, store.ErrNotFound
		}
	}
	return r.Parameter(ctx, s, name, version)
}

// Reference returns the value that a variable of type SECRETS_MANAGER names, as
// secret-id:json-key:version-stage:version-id, of which all but the first may
// be left out. The id may be an ARN. With a key the secret is a JSON object and
// the value one of its members.
// Source: user guide, "Build specification reference", env/secrets-manager.
func (r *Reader) Reference(ctx context.Context, s store.Scope, text string) (api.Secret, error) {
	id, key, stage, version := ParseReference(text)
	value, err := r.Secret(ctx, s, id, version, stage)
	if err != nil || key == "" {
		return value, err
	}
	var members map[string]any
	if json.Unmarshal([]byte(value.Reveal()), &members) != nil { // its error may quote the value
		return "", fmt.Errorf("secret %s is not a JSON object, so it has no key %s", id, key)
	}
	switch v := members[key].(type) {
	case string:
		return api.Secret(v), nil
	case nil:
		return "", fmt.Errorf("secret %s has no key %s", id, key)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("secret %s: key %s has no text", id, key)
		}
		return api.Secret(b), nil
	}
}

// ParseReference takes a reference apart.
func ParseReference(text string) (id, key, stage, version string) {
	parts := strings.Split(text, ":")
	n := 1
	if parts[0] == "arn" && len(parts) >= 7 {
		n = 7
	}
	id = strings.Join(parts[:n], ":")
	rest := append(parts[n:], "", "", "")
	return id, rest[0], rest[1], rest[2]
}

// settings are those of the server's environment, for the region of the scope.
func (r *Reader) settings(ctx context.Context, s store.Scope) (aws.Config, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.Region))
	if err == nil && r.Remote != "aws" {
		c.BaseEndpoint = &r.Remote
	}
	return c, err
}

func (r *Reader) remoteSecret(ctx context.Context, s store.Scope, id, version, stage string) (api.Secret, error) {
	c, err := r.settings(ctx, s)
	if err != nil {
		return "", fmt.Errorf("read the settings for AWS: %w", err)
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	if version != "" {
		in.VersionId = &version
	}
	if stage != "" {
		in.VersionStage = &stage
	}
	out, err := secretsmanager.NewFromConfig(c).GetSecretValue(ctx, in)
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", id, said(err))
	}
	if out.SecretString == nil {
		return api.Secret(out.SecretBinary), nil
	}
	return api.Secret(*out.SecretString), nil
}

func (r *Reader) remoteParameter(ctx context.Context, s store.Scope, name string) (api.Secret, error) {
	c, err := r.settings(ctx, s)
	if err != nil {
		return "", fmt.Errorf("read the settings for AWS: %w", err)
	}
	out, err := ssm.NewFromConfig(c).GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		return "", fmt.Errorf("read parameter %s: %w", name, said(err))
	}
	return api.Secret(aws.ToString(out.Parameter.Value)), nil
}

// said is what the endpoint answered, without the SDK's account of the way.
func said(err error) error {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		if strings.Contains(answer.ErrorCode(), "NotFound") {
			return ErrNotFound
		}
		return fmt.Errorf("%s: %s", answer.ErrorCode(), answer.ErrorMessage())
	}
	return err
}
