package service

import (
	"context"
	"fmt"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/store"
)

// describeKey tells of a key, never its secret.
func describeKey(k store.AccessKey) *corbel.AccessKey {
	return &corbel.AccessKey{AccessKeyId: &k.ID, User: &k.User, Created: stamp(k.Created), Expires: stamp(k.Expires), Policy: some(k.Policy)}
}

// ListAccessKeys lists the keys of the caller's account, oldest first. Keys are
// the account's in every region.
func (s CorbelService) ListAccessKeys(ctx context.Context, _ *corbel.ListAccessKeysInput) (*corbel.ListAccessKeysOutput, error) {
	list, err := s.Store.AccessKeys(ctx, access.From(ctx).Account)
	if err != nil {
		return nil, fmt.Errorf("list access keys: %w", err)
	}
	out := &corbel.ListAccessKeysOutput{AccessKeys: []corbel.AccessKey{}}
	for _, k := range list {
		out.AccessKeys = append(out.AccessKeys, *describeKey(k))
	}
	return out, nil
}

// CreateAccessKey makes a key for a user of the account. The answer has its
// secret, which is told no second time. Whoever may call it can give the new
// key rights that the caller lacks, as with IAM's operation of that name.
func (s CorbelService) CreateAccessKey(ctx context.Context, in *corbel.CreateAccessKeyInput) (*corbel.CreateAccessKeyOutput, error) {
	p := access.From(ctx)
	var expires time.Time
	if in.Expires != nil {
		expires = in.Expires.Time
		if !expires.After(s.Now()) {
			return nil, api.InvalidInputException("The key would have ended before it begins: expires is in the past")
		}
	}
	key, secret, err := s.Keys.New(p.Account, *in.User, value(in.Policy), expires)
	if err != nil {
		return nil, api.InvalidInputException("%v", err)
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.Keys.Put(ctx, tx, key, secret); err != nil {
			return err
		}
		return s.audit(ctx, tx, "CreateAccessKey", owner(key), key.ID)
	})
	if err != nil {
		return nil, fmt.Errorf("store an access key: %w", err)
	}
	return &corbel.CreateAccessKeyOutput{AccessKey: describeKey(key), SecretAccessKey: secret}, nil
}

// owner is the ARN of a key's user.
func owner(k store.AccessKey) string {
	return access.Principal{Scope: store.Scope{Account: k.Account}, User: k.User}.ARN()
}

// ownKey returns a key of the caller's account, in tx.
func (s CorbelService) ownKey(ctx context.Context, tx store.Tx, id string) (store.AccessKey, error) {
	key, err := tx.AccessKey(ctx, id)
	if absent(err) || err == nil && key.Account != access.From(ctx).Account {
		return key, api.ResourceNotFoundException("There is no access key %s in this account", id)
	}
	return key, err
}

// DeleteAccessKey removes a key. Requests signed with it are refused within a
// tenth of a second, and the console's sessions that stand for it end.
func (s CorbelService) DeleteAccessKey(ctx context.Context, in *corbel.DeleteAccessKeyInput) (*corbel.DeleteAccessKeyOutput, error) {
	return &corbel.DeleteAccessKeyOutput{}, s.Store.Update(ctx, func(tx store.Tx) error {
		key, err := s.ownKey(ctx, tx, *in.AccessKeyId)
		if err != nil {
			return err
		}
		if err := tx.DeleteAccessKey(ctx, key.ID); err != nil {
			return fmt.Errorf("delete access key %s: %w", key.ID, err)
		}
		return s.audit(ctx, tx, "DeleteAccessKey", owner(key), key.ID)
	})
}

// PutAccessKeyPolicy replaces a key's policy, an IAM policy document. Without
// one the key has all rights in its account again.
func (s CorbelService) PutAccessKeyPolicy(ctx context.Context, in *corbel.PutAccessKeyPolicyInput) (*corbel.PutAccessKeyPolicyOutput, error) {
	policy := value(in.Policy)
	if policy != "" {
		if _, err := access.ParsePolicy(policy); err != nil {
			return nil, api.InvalidInputException("%v", err)
		}
	}
	var key store.AccessKey
	err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
		if key, err = s.ownKey(ctx, tx, *in.AccessKeyId); err != nil {
			return err
		}
		if err := tx.SetPolicy(ctx, key.ID, policy); err != nil {
			return fmt.Errorf("set the policy of access key %s: %w", key.ID, err)
		}
		key.Policy = policy
		return s.audit(ctx, tx, "PutAccessKeyPolicy", owner(key), key.ID)
	})
	if err != nil {
		return nil, err
	}
	return &corbel.PutAccessKeyPolicyOutput{AccessKey: describeKey(key)}, nil
}
