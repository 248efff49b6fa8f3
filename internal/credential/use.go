package credential

import (
	"context"
	"fmt"

	"github.com/corbel-build/corbel/internal/store"
)

// note writes a use of a token down, before it is used.
func (r *Resolver) note(ctx context.Context, s store.Scope, u store.CredentialUse) error {
	u.At = r.Now()
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.NoteUse(ctx, s, u); err != nil {
			return err
		}
		return tx.PutAudit(ctx, store.Audit{
			At: u.At, Scope: s, Principal: "corbel", Action: "UseSourceCredential", Resource: u.ARN,
			Detail: fmt.Sprintf("%s at %s, build %q", u.Purpose, u.Host, u.Build),
		})
	})
	if err != nil {
		return fmt.Errorf("note the use of %s: %w", u.ARN, err)
	}
	return nil
}
