package store

import (
	"context"
	"time"

	"github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/api/ssm"
)

// SecretReader is what can be read of Secrets Manager and Parameter Store.
type SecretReader interface {
	// Secret returns a secret by its name, SecretOfARN by its ARN.
	Secret(ctx context.Context, s Scope, name string) (Secret, error)
	SecretOfARN(ctx context.Context, s Scope, arn string) (Secret, error)
	// Secrets lists a page of secrets by name, those after the given name.
	// limit is at least 1.
	Secrets(ctx context.Context, s Scope, after string, limit int) ([]Secret, error)
	// SecretVersions lists the versions of a secret, the newest first.
	SecretVersions(ctx context.Context, s Scope, arn string) ([]SecretVersion, error)

	// Parameter returns a version of a parameter; 0 is the newest.
	Parameter(ctx context.Context, s Scope, name string, version int64) (Parameter, error)
	// Parameters lists a page of the newest versions of parameters by name,
	// those after the given name. limit is at least 1.
	Parameters(ctx context.Context, s Scope, after string, limit int) ([]Parameter, error)
}

// SecretWriter is what can be written of them.
type SecretWriter interface {
	// PutSecret stores or replaces a secret without its versions.
	PutSecret(ctx context.Context, s Secret) error
	// DeleteSecret removes a secret with its versions.
	DeleteSecret(ctx context.Context, s Scope, name string) error
	// PutSecretVersion stores or replaces a version.
	PutSecretVersion(ctx context.Context, v SecretVersion) error
	DeleteSecretVersion(ctx context.Context, s Scope, arn, version string) error

	// PutParameter stores a new version; ErrExists if it is there.
	PutParameter(ctx context.Context, p Parameter) error
	// DeleteParameter removes a parameter with all versions, or with before
	// above 0 the versions below it; ErrNotFound if nothing was removed.
	DeleteParameter(ctx context.Context, s Scope, name string, before int64) error
}

// A Secret is one of Secrets Manager, without its value.
type Secret struct {
	Scope
	Name string
	ARN  string
	Doc  secretsmanager.DescribeSecretResponse // without VersionIdsToStages
}

// A SecretVersion is a value of a secret.
type SecretVersion struct {
	Scope
	Secret  string // ARN
	ID      string
	Stages  []string
	Binary  bool // the value is base64 of bytes
	Sealed  []byte
	Created time.Time
}

// A Parameter is a version of a parameter of Parameter Store.
type Parameter struct {
	Scope
	Name    string
	Version int64
	ARN     string
	Doc     ssm.ParameterMetadata
	Sealed  []byte
}
