package service

import (
	"context"
	"encoding/xml"

	"github.com/corbel-build/corbel/internal/access"
)

// CallerIdentity is the answer of GetCallerIdentity, in the XML of the query
// protocol.
type CallerIdentity struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	Arn       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

// GetCallerIdentity says who signed the request.
func (s *Service) GetCallerIdentity(ctx context.Context) CallerIdentity {
	p := access.From(ctx)
	return CallerIdentity{Arn: p.ARN(), UserID: p.KeyID, Account: p.Account}
}
