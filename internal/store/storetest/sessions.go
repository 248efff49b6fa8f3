package storetest

import (
	"errors"

	"github.com/corbel-build/corbel/internal/store"
)

func sessions(b *bench) {
	session := func(hash, key string, used, expires int) store.Session {
		return store.Session{Hash: hash, KeyID: key, Region: "eu-west-1", Created: at(0), Used: at(used), Expires: at(expires)}
	}
	one, two, foreign := session("one", "AKIA1", 1, 100), session("two", "AKIA1", 50, 200), session("three", "AKIA2", 60, 300)
	b.update(func(tx store.Tx) error {
		return errors.Join(
			tx.PutAccount(b.ctx, store.Account{ID: home.Account, Created: at(0)}),
			tx.PutAccessKey(b.ctx, store.AccessKey{ID: "AKIA1", Account: home.Account, User: "ada", Sealed: []byte{1}, Created: at(0)}),
			tx.PutSession(b.ctx, one), tx.PutSession(b.ctx, two), tx.PutSession(b.ctx, foreign))
	})
	b.is("PutSession of a taken hash", b.s.Update(b.ctx, func(tx store.Tx) error {
		return tx.PutSession(b.ctx, session("two", "AKIA2", 0, 0))
	}), store.ErrExists)
	got, err := b.s.Session(b.ctx, two.Hash)
	b.is("Session", err, nil)
	b.same("Session", got, two)
	has := func(when string, s store.Session, want error) {
		b.Helper()
		_, err := b.s.Session(b.ctx, s.Hash)
		b.is("Session "+s.Hash+" "+when, err, want)
	}
	has("that is not there", session("none", "", 0, 0), store.ErrNotFound)

	b.update(func(tx store.Tx) error { return tx.UseSession(b.ctx, two.Hash, at(70)) })
	two.Used = at(70)
	got, err = b.s.Session(b.ctx, two.Hash)
	b.is("Session", err, nil)
	b.same("Session that was used", got, two)
	b.is("UseSession of none", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.UseSession(b.ctx, "none", at(1)) }), store.ErrNotFound)

	b.update(func(tx store.Tx) error { return tx.DeleteSessions(b.ctx, at(99), at(0)) })
	has("before its time is over", one, nil)
	b.update(func(tx store.Tx) error { return tx.DeleteSessions(b.ctx, at(100), at(0)) })
	has("after its time is over", one, store.ErrNotFound)
	b.update(func(tx store.Tx) error { return tx.DeleteSessions(b.ctx, at(100), at(60)) })
	has("after it was idle", foreign, store.ErrNotFound)
	has("after others were idle", two, nil)

	b.update(func(tx store.Tx) error { return tx.PutSession(b.ctx, foreign) })
	b.update(func(tx store.Tx) error { return tx.DeleteAccessKey(b.ctx, "AKIA1") })
	has("after its key was deleted", two, store.ErrNotFound)
	has("after another's key was deleted", foreign, nil)
	b.update(func(tx store.Tx) error { return tx.DeleteSession(b.ctx, foreign.Hash) })
	has("after DeleteSession", foreign, store.ErrNotFound)
	b.is("DeleteSession again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteSession(b.ctx, foreign.Hash) }), store.ErrNotFound)
}
