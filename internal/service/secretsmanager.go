package service

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/corbel-build/corbel/api"
	sm "github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/secret"
	"github.com/corbel-build/corbel/internal/store"
)

// SecretsManager implements the operations of Secrets Manager that builds and
// source credentials need. Values are sealed as source tokens are.
type SecretsManager struct{ *Service }

var _ sm.Service = SecretsManager{}

// The service's bounds. Source: user guide of Secrets Manager, quotas.
const (
	maxSecret   = 65536 // bytes of a value
	maxVersions = 100   // of a secret that have no stage
)

var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)

// find returns the secret that id names.
func (s SecretsManager) find(ctx context.Context, r store.SecretReader, id string) (store.Secret, error) {
	found, err := secret.Find(ctx, r, access.From(ctx).Scope, id)
	if absent(err) || err == nil && s.past(found) {
		return found, sm.ResourceNotFoundException("Secrets Manager can't find the specified secret.")
	} else if err != nil {
		return found, fmt.Errorf("read secret %s: %w", id, err)
	}
	return found, nil
}

// past reports whether the time of a secret that was marked for deletion has
// come. What is left of it goes when its name is used again.
func (s SecretsManager) past(x store.Secret) bool {
	return x.Doc.DeletedDate != nil && !s.Now().Before(x.Doc.DeletedDate.Time)
}

// A content is the value of a request: text or bytes.
type content struct {
	value  api.Secret
	binary bool
}

// contentOf checks that a request has at most one value of a size that can be
// stored. none says that it has neither.
func contentOf(text, binary api.Secret) (c content, none bool, err error) {
	switch {
	case text != "" && binary != "":
		return c, false, sm.InvalidParameterException("You can't specify both a binary secret value and a string secret value in the same secret.")
	case text == "" && binary == "":
		return c, true, nil
	case text != "":
		c.value = text
		if len(text) > maxSecret {
			return c, false, sm.InvalidParameterException("The value has %d bytes; it may have %d at most.", len(text), maxSecret)
		}
	default:
		c.value, c.binary = binary, true
		b, err := base64.StdEncoding.DecodeString(binary.Reveal())
		if err != nil {
			return c, false, sm.InvalidParameterException("SecretBinary must be base64.")
		}
		if len(b) > maxSecret {
			return c, false, sm.InvalidParameterException("The value has %d bytes; it may have %d at most.", len(b), maxSecret)
		}
	}
	return c, false, nil
}

// CreateSecret makes a secret, with a first version if the request has a value.
func (s SecretsManager) CreateSecret(ctx context.Context, in *sm.CreateSecretRequest) (*sm.CreateSecretResponse, error) {
	if !secretName.MatchString(*in.Name) {
		return nil, sm.InvalidParameterException("Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if len(in.AddReplicaRegions) > 0 {
		return nil, sm.InvalidParameterException("Replication to other regions is not supported.")
	}
	c, none, err := contentOf(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	p := access.From(ctx)
	now := s.Now()
	out := &sm.CreateSecretResponse{Name: in.Name}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.Secret(ctx, p.Scope, *in.Name)
		if err == nil && s.past(old) {
			if err = tx.DeleteSecret(ctx, p.Scope, old.Name); err == nil {
				err = store.ErrNotFound
			}
		}
		switch {
		case err == nil && old.Doc.DeletedDate != nil:
			return sm.InvalidRequestException("You can't create this secret because a secret with this name is already scheduled for deletion.")
		case err == nil && in.ClientRequestToken != nil && !none:
			// The same request again is answered as the first time.
			same, err := s.has(ctx, tx, old, *in.ClientRequestToken, c)
			if err == nil && !same {
				err = sm.ResourceExistsException("The operation failed because the secret %s already exists.", *in.Name)
			}
			out.ARN, out.VersionId = &old.ARN, in.ClientRequestToken
			return err
		case err == nil:
			return sm.ResourceExistsException("The operation failed because the secret %s already exists.", *in.Name)
		case !absent(err):
			return fmt.Errorf("read secret %s: %w", *in.Name, err)
		}
		fresh := store.Secret{Scope: p.Scope, Name: *in.Name, ARN: "arn:aws:secretsmanager:" + p.Region + ":" + p.Account + ":secret:" + *in.Name + "-" + suffix()}
		fresh.Doc = sm.DescribeSecretResponse{
			ARN: &fresh.ARN, Name: in.Name, Description: in.Description, KmsKeyId: in.KmsKeyId, Tags: in.Tags, Type: in.Type,
			CreatedDate: api.At(now), LastChangedDate: api.At(now),
		}
		if err := tx.PutSecret(ctx, fresh); err != nil {
			return fmt.Errorf("store secret %s: %w", fresh.ARN, err)
		}
		out.ARN = &fresh.ARN
		if !none {
			v, err := s.put(ctx, tx, fresh, value(in.ClientRequestToken), c, nil)
			if err != nil {
				return err
			}
			out.VersionId = &v
		}
		return s.audit(ctx, tx, "CreateSecret", fresh.ARN, "")
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// suffix is the end of a secret's ARN, so that a secret that is made anew under
// an old name is another one.
func suffix() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var b [6]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:])
}

// has reports whether a secret has the version with the same value. Another
// value is an error.
func (s SecretsManager) has(ctx context.Context, tx store.Tx, of store.Secret, id string, c content) (bool, error) {
	list, err := tx.SecretVersions(ctx, of.Scope, of.ARN)
	if err != nil {
		return false, fmt.Errorf("read versions of %s: %w", of.ARN, err)
	}
	i := slices.IndexFunc(list, func(v store.SecretVersion) bool { return v.ID == id })
	if i < 0 {
		return false, nil
	}
	old, err := s.Vault.Open(secret.Binding(list[i]), list[i].Sealed)
	if err != nil {
		return false, fmt.Errorf("open version %s of %s: %w", id, of.ARN, err)
	}
	if old != c.value || list[i].Binary != c.binary {
		return false, sm.ResourceExistsException("The operation failed because the version %s already exists with another value.", id)
	}
	return true, nil
}

// put stores a version and moves the stages to it, nil for the current one. A
// version that is there already with the same value is left as it is.
func (s SecretsManager) put(ctx context.Context, tx store.Tx, of store.Secret, token string, c content, stages []string) (string, error) {
	if token == "" {
		token = uuid.NewString()
	}
	if same, err := s.has(ctx, tx, of, token, c); err != nil || same {
		return token, err
	}
	list, err := tx.SecretVersions(ctx, of.Scope, of.ARN)
	if err != nil {
		return "", fmt.Errorf("read versions of %s: %w", of.ARN, err)
	}
	if len(stages) == 0 {
		stages = []string{secret.Current}
	}
	v := store.SecretVersion{Scope: of.Scope, Secret: of.ARN, ID: token, Stages: stages, Binary: c.binary, Created: s.Now()}
	if v.Sealed, err = s.Vault.Seal(secret.Binding(v), c.value); err != nil {
		return "", fmt.Errorf("seal secret %s: %w", of.ARN, err)
	}
	unused := 0
	for _, old := range list {
		before := len(old.Stages)
		was := slices.Contains(old.Stages, secret.Current)
		old.Stages = slices.DeleteFunc(slices.Clone(old.Stages), func(stage string) bool {
			return slices.Contains(stages, stage) || slices.Contains(stages, secret.Current) && stage == secret.Previous
		})
		if was && slices.Contains(stages, secret.Current) {
			old.Stages = append(old.Stages, secret.Previous)
		}
		if len(old.Stages) == 0 {
			if unused++; unused > maxVersions {
				if err := tx.DeleteSecretVersion(ctx, of.Scope, of.ARN, old.ID); err != nil {
					return "", fmt.Errorf("remove version %s of %s: %w", old.ID, of.ARN, err)
				}
				continue
			}
		}
		if len(old.Stages) != before || was {
			if err := tx.PutSecretVersion(ctx, old); err != nil {
				return "", fmt.Errorf("store version %s of %s: %w", old.ID, of.ARN, err)
			}
		}
	}
	if err := tx.PutSecretVersion(ctx, v); err != nil {
		return "", fmt.Errorf("store version %s of %s: %w", token, of.ARN, err)
	}
	of.Doc.LastChangedDate = api.At(s.Now())
	if err := tx.PutSecret(ctx, of); err != nil {
		return "", fmt.Errorf("store secret %s: %w", of.ARN, err)
	}
	return token, nil
}

// usable refuses a secret that is marked for deletion.
func usable(s store.Secret) error {
	if s.Doc.DeletedDate != nil {
		return sm.InvalidRequestException("You can't perform this operation on the secret because it was marked for deletion.")
	}
	return nil
}

// PutSecretValue stores a new version.
func (s SecretsManager) PutSecretValue(ctx context.Context, in *sm.PutSecretValueRequest) (*sm.PutSecretValueResponse, error) {
	c, none, err := contentOf(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	} else if none {
		return nil, sm.InvalidRequestException("You must provide either SecretString or SecretBinary.")
	}
	out := &sm.PutSecretValueResponse{}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		found, err := s.find(ctx, tx, *in.SecretId)
		if err == nil {
			err = usable(found)
		}
		if err != nil {
			return err
		}
		v, err := s.put(ctx, tx, found, value(in.ClientRequestToken), c, in.VersionStages)
		if err != nil {
			return err
		}
		out.ARN, out.Name, out.VersionId, out.VersionStages = &found.ARN, &found.Name, &v, in.VersionStages
		if len(out.VersionStages) == 0 {
			out.VersionStages = []string{secret.Current}
		}
		return s.audit(ctx, tx, "PutSecretValue", found.ARN, v)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateSecret changes what is known of a secret, and with a value makes a new
// version.
func (s SecretsManager) UpdateSecret(ctx context.Context, in *sm.UpdateSecretRequest) (*sm.UpdateSecretResponse, error) {
	c, none, err := contentOf(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	out := &sm.UpdateSecretResponse{}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		found, err := s.find(ctx, tx, *in.SecretId)
		if err == nil {
			err = usable(found)
		}
		if err != nil {
			return err
		}
		if in.Description != nil {
			found.Doc.Description = in.Description
		}
		if in.KmsKeyId != nil {
			found.Doc.KmsKeyId = in.KmsKeyId
		}
		if in.Type != nil {
			found.Doc.Type = in.Type
		}
		found.Doc.LastChangedDate = api.At(s.Now())
		out.ARN, out.Name = &found.ARN, &found.Name
		if none {
			err = tx.PutSecret(ctx, found)
		} else {
			var v string
			v, err = s.put(ctx, tx, found, value(in.ClientRequestToken), c, nil)
			out.VersionId = &v
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, "UpdateSecret", found.ARN, value(out.VersionId))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// GetSecretValue opens a version.
func (s SecretsManager) GetSecretValue(ctx context.Context, in *sm.GetSecretValueRequest) (*sm.GetSecretValueResponse, error) {
	found, err := s.find(ctx, s.Store, *in.SecretId)
	if err == nil {
		err = usable(found)
	}
	if err != nil {
		return nil, err
	}
	list, err := s.Store.SecretVersions(ctx, found.Scope, found.ARN)
	if err != nil {
		return nil, fmt.Errorf("read versions of %s: %w", found.ARN, err)
	}
	v, ok := secret.Version(list, value(in.VersionId), value(in.VersionStage))
	if !ok {
		switch {
		case in.VersionId != nil && in.VersionStage != nil && slices.ContainsFunc(list, func(v store.SecretVersion) bool { return v.ID == *in.VersionId }):
			return nil, sm.InvalidRequestException("You provided a VersionStage that is not associated to the provided VersionId.")
		case in.VersionId != nil:
			return nil, sm.ResourceNotFoundException("Secrets Manager can't find the specified secret value for VersionId: %s", *in.VersionId)
		}
		stage := value(in.VersionStage)
		if stage == "" {
			stage = secret.Current
		}
		return nil, sm.ResourceNotFoundException("Secrets Manager can't find the specified secret value for staging label: %s", stage)
	}
	text, err := s.Vault.Open(secret.Binding(v), v.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open version %s of %s: %w", v.ID, found.ARN, err)
	}
	out := &sm.GetSecretValueResponse{ARN: &found.ARN, Name: &found.Name, VersionId: &v.ID, VersionStages: v.Stages, CreatedDate: api.At(v.Created)}
	if v.Binary {
		out.SecretBinary = text
	} else {
		out.SecretString = text
	}
	return out, s.Store.Update(ctx, func(tx store.Tx) error { return s.audit(ctx, tx, "GetSecretValue", found.ARN, v.ID) })
}

// stages are the stages of the versions that have any.
func stages(list []store.SecretVersion) map[string][]string {
	out := map[string][]string{}
	for _, v := range list {
		if len(v.Stages) > 0 {
			out[v.ID] = v.Stages
		}
	}
	return out
}

// DescribeSecret tells all but the value.
func (s SecretsManager) DescribeSecret(ctx context.Context, in *sm.DescribeSecretRequest) (*sm.DescribeSecretResponse, error) {
	found, err := s.find(ctx, s.Store, *in.SecretId)
	if err != nil {
		return nil, err
	}
	list, err := s.Store.SecretVersions(ctx, found.Scope, found.ARN)
	if err != nil {
		return nil, fmt.Errorf("read versions of %s: %w", found.ARN, err)
	}
	found.Doc.VersionIdsToStages = stages(list)
	return &found.Doc, nil
}

// matches reports whether a secret is one that the filters want: each must
// match, with one of its values.
func matches(s store.Secret, filters []sm.Filter) bool {
	for _, f := range filters {
		var texts []string
		switch string(f.Key) {
		case "name":
			texts = []string{s.Name}
		case "description":
			texts = []string{value(s.Doc.Description)}
		case "tag-key", "tag-value":
			for _, t := range s.Doc.Tags {
				texts = append(texts, map[bool]string{true: value(t.Key), false: value(t.Value)}[f.Key == "tag-key"])
			}
		case "all":
			texts = []string{s.Name, value(s.Doc.Description)}
			for _, t := range s.Doc.Tags {
				texts = append(texts, value(t.Key), value(t.Value))
			}
		}
		if !slices.ContainsFunc(f.Values, func(want string) bool {
			no := strings.HasPrefix(want, "!")
			want = strings.ToLower(strings.TrimPrefix(want, "!"))
			return slices.ContainsFunc(texts, func(t string) bool { return strings.HasPrefix(strings.ToLower(t), want) }) != no
		}) {
			return false
		}
	}
	return true
}

// ListSecrets lists secrets by name.
func (s SecretsManager) ListSecrets(ctx context.Context, in *sm.ListSecretsRequest) (*sm.ListSecretsResponse, error) {
	if in.SortBy != "" && in.SortBy != "name" || in.SortOrder == "desc" {
		return nil, sm.InvalidParameterException("Secrets are listed by name, ascending; leave SortBy and SortOrder out.")
	}
	p := access.From(ctx)
	limit := 100
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	from, err := after[string](p.Scope, "ListSecrets", in.NextToken)
	if err != nil {
		return nil, sm.InvalidNextTokenException("The NextToken is not one of this listing.")
	}
	next := value(from)
	out := &sm.ListSecretsResponse{SecretList: []sm.SecretListEntry{}}
	for {
		page, err := s.Store.Secrets(ctx, p.Scope, next, 100)
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		for _, found := range page {
			if found.Doc.DeletedDate != nil && !value(in.IncludePlannedDeletion) || !matches(found, in.Filters) {
				next = found.Name
				continue
			}
			if len(out.SecretList) == limit {
				out.NextToken = nextToken(p.Scope, "ListSecrets", next)
				return out, nil
			}
			next = found.Name
			versions, err := s.Store.SecretVersions(ctx, found.Scope, found.ARN)
			if err != nil {
				return nil, fmt.Errorf("read versions of %s: %w", found.ARN, err)
			}
			d := found.Doc
			out.SecretList = append(out.SecretList, sm.SecretListEntry{
				ARN: d.ARN, Name: d.Name, Type: d.Type, Description: d.Description, KmsKeyId: d.KmsKeyId, Tags: d.Tags, CreatedDate: d.CreatedDate,
				LastChangedDate: d.LastChangedDate, DeletedDate: d.DeletedDate, SecretVersionsToStages: stages(versions),
			})
		}
		if len(page) < 100 {
			return out, nil
		}
	}
}

// DeleteSecret marks a secret for deletion, or deletes it at once.
func (s SecretsManager) DeleteSecret(ctx context.Context, in *sm.DeleteSecretRequest) (*sm.DeleteSecretResponse, error) {
	force := value(in.ForceDeleteWithoutRecovery)
	days := int64(30)
	if in.RecoveryWindowInDays != nil {
		days = *in.RecoveryWindowInDays
		if force {
			return nil, sm.InvalidParameterException("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
		}
		if days < 7 || days > 30 {
			return nil, sm.InvalidParameterException("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
		}
	}
	now := s.Now()
	out := &sm.DeleteSecretResponse{}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		found, err := s.find(ctx, tx, *in.SecretId)
		var gone *api.Error
		if errors.As(err, &gone) && force { // as the service, which says it is done
			out.Name, out.DeletionDate = in.SecretId, api.At(now)
			return nil
		} else if err != nil {
			return err
		}
		out.ARN, out.Name, out.DeletionDate = &found.ARN, &found.Name, api.At(now)
		if force {
			if err := tx.DeleteSecret(ctx, found.Scope, found.Name); err != nil {
				return fmt.Errorf("delete secret %s: %w", found.ARN, err)
			}
			return s.audit(ctx, tx, "DeleteSecret", found.ARN, "at once")
		}
		if err := usable(found); err != nil {
			return err
		}
		out.DeletionDate = api.At(now.Add(time.Duration(days) * 24 * time.Hour))
		found.Doc.DeletedDate = out.DeletionDate
		if err := tx.PutSecret(ctx, found); err != nil {
			return fmt.Errorf("mark secret %s: %w", found.ARN, err)
		}
		return s.audit(ctx, tx, "DeleteSecret", found.ARN, fmt.Sprintf("in %d days", days))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
