package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/audit"
)

// defaultPage is how long a page of a listing of our own is unless the caller
// says otherwise.
const defaultPage = 50

// ListAuditRecords lists the audit log of the caller's account in every region,
// the newest record first. It does not check the chain; "corbel audit verify"
// does.
func (s CorbelService) ListAuditRecords(ctx context.Context, in *corbel.ListAuditRecordsInput) (*corbel.ListAuditRecordsOutput, error) {
	p := access.From(ctx)
	query := "audit " + value(in.Resource)
	from, err := after[int64](p.Scope, query, in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := defaultPage
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	lines, err := s.Store.AccountAudit(ctx, p.Account, value(in.Resource), value(from), limit+1)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	out := &corbel.ListAuditRecordsOutput{Records: []corbel.AuditRecord{}}
	if len(lines) > limit {
		lines = lines[:limit]
		out.NextToken = nextToken(p.Scope, query, lines[limit-1].Seq)
	}
	for _, l := range lines {
		var r audit.Record
		if err := json.Unmarshal(l.Doc, &r); err != nil {
			return nil, fmt.Errorf("read audit line %d: %w", l.Seq, err)
		}
		out.Records = append(out.Records, corbel.AuditRecord{
			Seq: &r.Seq, At: stamp(r.Time), Principal: &r.Principal, Event: &r.Event, Resource: some(r.Resource),
			Outcome: some(r.Outcome), Message: some(r.Message), Detail: some(r.Detail), From: some(r.From),
		})
	}
	return out, nil
}
