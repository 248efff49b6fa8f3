package storetest

import (
	"errors"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

func sealed(b *bench) {
	b.update(func(tx store.Tx) error {
		err := tx.PutAccount(b.ctx, store.Account{ID: home.Account, Created: at(0)})
		for i, server := range []api.ServerType{api.ServerTypeGITHUB, api.ServerTypeBITBUCKET, api.ServerTypeGITLAB} {
			err = errors.Join(err, tx.PutCredential(b.ctx, store.Credential{Scope: home, ServerType: server, ARN: "arn:" + string(server), Generation: 7, Sealed: []byte{byte(i), 0}}))
		}
		return errors.Join(err,
			tx.PutAccessKey(b.ctx, store.AccessKey{ID: "AKIA1", Account: home.Account, User: "u", Sealed: []byte{9}}),
			tx.PutSecretVersion(b.ctx, store.SecretVersion{Scope: home, Secret: "arn:s", ID: "v", Stages: []string{}, Sealed: []byte{10}}),
			tx.PutParameter(b.ctx, store.Parameter{Scope: home, Name: "/p", ARN: "arn:p", Version: 3, Sealed: []byte{11}}),
			tx.PutCheck(b.ctx, "root", []byte{12}))
	})
	found := map[string][]store.SealedValue{}
	for _, kind := range b.s.SealedKinds() {
		var after []string
		for {
			page, err := b.s.SealedValues(b.ctx, kind, after, 2)
			b.is("SealedValues", err, nil)
			if len(page) == 0 {
				break
			}
			found[kind] = append(found[kind], page...)
			after = page[len(page)-1].Key
		}
	}
	b.same("source credentials", found["source-credential"], []store.SealedValue{
		{Kind: "source-credential", Key: []string{home.Account, home.Region, "BITBUCKET"}, Parts: []string{"arn:BITBUCKET", home.Account, home.Region, "7"}, Sealed: []byte{1, 0}},
		{Kind: "source-credential", Key: []string{home.Account, home.Region, "GITHUB"}, Parts: []string{"arn:GITHUB", home.Account, home.Region, "7"}, Sealed: []byte{0, 0}},
		{Kind: "source-credential", Key: []string{home.Account, home.Region, "GITLAB"}, Parts: []string{"arn:GITLAB", home.Account, home.Region, "7"}, Sealed: []byte{2, 0}},
	})
	b.same("access keys", found["access-key"], []store.SealedValue{{Kind: "access-key", Key: []string{"AKIA1"}, Parts: []string{"AKIA1", home.Account}, Sealed: []byte{9}}})
	b.same("secrets", found["secret"][0].Parts, []string{"arn:s", home.Account, home.Region, "v"})
	b.same("parameters", found["parameter"][0].Parts, []string{"arn:p", home.Account, home.Region, "3"})
	b.same("check values", found["check"][0].Sealed, []byte{12})

	v := found["source-credential"][1]
	b.update(func(tx store.Tx) error { return tx.Reseal(b.ctx, v, []byte{99}) })
	c, err := b.s.Credential(b.ctx, home, api.ServerTypeGITHUB)
	b.is("Credential", err, nil)
	b.same("what was sealed again", c.Sealed, []byte{99})
	b.is("Reseal of what has changed", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.Reseal(b.ctx, v, []byte{100}) }), store.ErrNotFound)
}
