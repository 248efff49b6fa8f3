package service

import (
	"context"
	"fmt"
	"slices"

	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
)

// DescribeSession tells who calls: the key that signed or signed in, when it or
// its session ends, and in which regions there is something to see.
func (s CorbelService) DescribeSession(ctx context.Context, _ *corbel.DescribeSessionInput) (*corbel.DescribeSessionOutput, error) {
	p := access.From(ctx)
	regions, err := s.Store.Regions(ctx, p.Account)
	if err != nil {
		return nil, fmt.Errorf("list regions: %w", err)
	}
	if !slices.Contains(regions, p.Region) {
		regions = append(regions, p.Region)
		slices.Sort(regions)
	}
	return &corbel.DescribeSessionOutput{
		Account: &p.Account, User: &p.User, AccessKeyId: &p.KeyID, Region: &p.Region, Partition: new("aws"),
		Regions: regions, Restricted: new(p.Policy != nil), Expires: stamp(p.Ends),
	}, nil
}
