package storetest

import (
	"errors"

	"github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/api/ssm"
	"github.com/corbel-build/corbel/internal/store"
)

func secrets(b *bench) {
	a := store.Secret{Scope: home, Name: "a", ARN: "arn:a", Doc: secretsmanager.DescribeSecretResponse{Description: new("d")}}
	c := store.Secret{Scope: home, Name: "c/d", ARN: "arn:c", Doc: secretsmanager.DescribeSecretResponse{Tags: []secretsmanager.Tag{}}}
	v1 := store.SecretVersion{Scope: home, Secret: "arn:a", ID: "1", Stages: []string{"AWSPREVIOUS"}, Sealed: []byte{1}, Created: at(1)}
	v2 := store.SecretVersion{Scope: home, Secret: "arn:a", ID: "2", Stages: []string{"AWSCURRENT", "x"}, Binary: true, Sealed: []byte{2, 0}, Created: at(2)}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutSecret(b.ctx, c), tx.PutSecret(b.ctx, a), tx.PutSecretVersion(b.ctx, v1), tx.PutSecretVersion(b.ctx, v2),
			tx.PutSecretVersion(b.ctx, store.SecretVersion{Scope: home, Secret: "arn:c", ID: "1", Stages: []string{}, Sealed: []byte{3}, Created: at(1)}))
	})
	got, err := b.s.Secret(b.ctx, home, "a")
	b.is("Secret", err, nil)
	b.same("Secret", got, a)
	got, err = b.s.SecretOfARN(b.ctx, home, "arn:c")
	b.is("SecretOfARN", err, nil)
	b.same("SecretOfARN", got, c)
	_, err = b.s.Secret(b.ctx, store.Scope{Account: home.Account, Region: "elsewhere-1"}, "a")
	b.is("Secret of another region", err, store.ErrNotFound)
	list, err := b.s.Secrets(b.ctx, home, "", 1)
	b.is("Secrets", err, nil)
	b.same("Secrets, first page", list, []store.Secret{a})
	list, err = b.s.Secrets(b.ctx, home, "a", 9)
	b.is("Secrets", err, nil)
	b.same("Secrets, next page", list, []store.Secret{c})
	versions, err := b.s.SecretVersions(b.ctx, home, "arn:a")
	b.is("SecretVersions", err, nil)
	b.same("SecretVersions, the newest first", versions, []store.SecretVersion{v2, v1})
	b.update(func(tx store.Tx) error { return tx.DeleteSecretVersion(b.ctx, home, "arn:a", "1") })
	b.is("DeleteSecretVersion again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteSecretVersion(b.ctx, home, "arn:a", "1") }), store.ErrNotFound)
	b.update(func(tx store.Tx) error { return tx.DeleteSecret(b.ctx, home, "a") })
	b.is("DeleteSecret again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteSecret(b.ctx, home, "a") }), store.ErrNotFound)
	versions, err = b.s.SecretVersions(b.ctx, home, "arn:a")
	b.is("SecretVersions of what was deleted", err, nil)
	b.same("SecretVersions of what was deleted", len(versions), 0)
	versions, err = b.s.SecretVersions(b.ctx, home, "arn:c")
	b.is("SecretVersions of another", err, nil)
	b.same("SecretVersions of another", len(versions), 1)
}

func parameters(b *bench) {
	p := func(name string, version int64) store.Parameter {
		return store.Parameter{Scope: home, Name: name, Version: version, ARN: "arn:" + name, Doc: ssm.ParameterMetadata{Version: new(version)}, Sealed: []byte{byte(version)}}
	}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutParameter(b.ctx, p("/x", 1)), tx.PutParameter(b.ctx, p("/x", 2)), tx.PutParameter(b.ctx, p("/x", 3)), tx.PutParameter(b.ctx, p("/y", 1)))
	})
	b.is("PutParameter again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutParameter(b.ctx, p("/x", 2)) }), store.ErrExists)
	for version, want := range map[int64]int64{0: 3, 1: 1, 3: 3} {
		got, err := b.s.Parameter(b.ctx, home, "/x", version)
		b.is("Parameter", err, nil)
		b.same("Parameter", got, p("/x", want))
	}
	_, err := b.s.Parameter(b.ctx, home, "/x", 4)
	b.is("Parameter of a version that is not there", err, store.ErrNotFound)
	list, err := b.s.Parameters(b.ctx, home, "", 9)
	b.is("Parameters", err, nil)
	b.same("Parameters, the newest of each", list, []store.Parameter{p("/x", 3), p("/y", 1)})
	list, err = b.s.Parameters(b.ctx, home, "/x", 9)
	b.is("Parameters", err, nil)
	b.same("Parameters after one", list, []store.Parameter{p("/y", 1)})
	b.update(func(tx store.Tx) error { return tx.DeleteParameter(b.ctx, home, "/x", 2) })
	_, err = b.s.Parameter(b.ctx, home, "/x", 1)
	b.is("Parameter of an old version that was removed", err, store.ErrNotFound)
	_, err = b.s.Parameter(b.ctx, home, "/x", 0)
	b.is("Parameter that stays", err, nil)
	b.update(func(tx store.Tx) error { return tx.DeleteParameter(b.ctx, home, "/x", 0) })
	b.is("DeleteParameter again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteParameter(b.ctx, home, "/x", 0) }), store.ErrNotFound)
}
