package credential

import (
	"context"
	"fmt"

	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store"
)

// note writes a use of a token down, before it is used.
func (r *Resolver) note(ctx context.Context, s store.Scope, u store.CredentialUse) error {
	u.At = r.Now()
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.NoteUse(ctx, s, u); err != nil {
			return err
		}
		detail := u.Purpose + " at " + u.Host
		if u.Build != "" {
			detail += " for build " + u.Build
		}
		return audit.Append(ctx, tx, audit.Record{
			Time: u.At, Account: s.Account, Region: s.Region, Principal: "corbel", Source: "codebuild.amazonaws.com", Event: "UseSourceCredential", Resource: u.ARN, Detail: detail,
		})
	})
	if err != nil {
		return fmt.Errorf("note the use of %s: %w", u.ARN, err)
	}
	return nil
}
