// Package sigv4 checks and makes the signatures of AWS Signature Version 4,
// in the form that carries them in the Authorization header.
//
// A server keeps one Verifier and asks it about every request; a client calls
// Sign. Both are pure: the time is an argument, and what a key's secret is
// comes from a function of the caller.
//
//	id, err := verifier.Verify(r, body, time.Now(), func(ctx context.Context, keyID string) (string, error) {
//		key, err = store.AccessKey(ctx, keyID) // kept for later: whose key it is
//		...
//		return secret, nil // or sigv4.ErrUnknownKey
//	})
//	if err == nil {
//		err = id.ForService("codebuild")
//	}
//
// # What is refused
//
// A valid signature is not enough. The time of signing lies within Skew of the
// server's clock and on the date of the credential's scope. The host, the date
// and every X-Amz-* header are signed, so that nobody on the way can add one.
// The signed names are in lower case, sorted and not repeated. The body is
// always hashed; X-Amz-Content-Sha256, where sent, must be that hash, which
// rules out UNSIGNED-PAYLOAD and streaming signatures. Temporary credentials
// (X-Amz-Security-Token) do not exist here. Presigned URLs are answered as if
// they were not signed. Within Skew a request can be sent again by whoever has
// seen it, as with AWS: only TLS prevents that.
//
// # What is accepted though other implementations trip over it
//
// Clients sign user-agent, expect, x-amzn-trace-id, content-length, and host
// with a default port. The values are taken as they arrived, so a proxy in
// front must keep the Host header.
//
// The errors carry AWS's codes and words: SDKs correct their clock on some of
// them. Source of the algorithm: IAM User Guide, "AWS Signature Version 4 for
// API requests". Source of the vectors in the tests: the same guide, and the
// signing test suite of awslabs/aws-c-auth.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	// isoBasic is the form of X-Amz-Date, always in UTC.
	isoBasic = "20060102T150405Z"
)

// Skew is how far the time of signing may lie before or after the server's.
// Source: the wording of AWS's own refusal, which names 15 minutes.
const Skew = 15 * time.Minute

// ErrUnknownKey is what a lookup returns, wrapped or not, for an access key
// that does not exist or is disabled.
var ErrUnknownKey = errors.New("unknown access key")

// An Identity is what a valid signature proves: who signed, for what. The
// region and service consist of lower-case letters, digits and hyphens; whether
// they exist is for the caller to say.
type Identity struct {
	AccessKeyID string
	Region      string
	Service     string
	Date        time.Time // when it was signed, in whole seconds, UTC
}

// ForService returns an error unless the request was signed for the service of
// that signing name.
func (id Identity) ForService(name string) error {
	if id.Service == name {
		return nil
	}
	return refuse(codeInvalid, "Credential should be scoped to correct service: '"+name+"'.")
}

// An Error is a refusal, in the words of AWS's JSON services.
type Error struct {
	Code    string
	Message string
}

// The codes that Verify gives.
const (
	codeMissing      = "MissingAuthenticationTokenException"
	codeIncomplete   = "IncompleteSignatureException"
	codeUnrecognized = "UnrecognizedClientException"
	codeInvalid      = "InvalidSignatureException"
)

func refuse(code, message string) *Error { return &Error{code, message} }

// Error implements the error interface.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode returns the name of the exception.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage returns the text for the caller.
func (e *Error) ErrorMessage() string { return e.Message }

// HTTPStatus is 400: that is what AWS's JSON 1.0 and 1.1 services answer to
// all four codes, as is seen in the reports of their SDKs' users (aws-sdk-js
// 254, aws-sdk-ruby 431, aws-sdk-php 1114). The 403 of the "Common Errors"
// pages holds for the query and REST protocols.
func (e *Error) HTTPStatus() int { return 400 }

// Query returns the same refusal as the query protocol has it (STS, IAM): the
// code there, and the HTTP status, 403. Source: API references of STS and
// IAM, "Common Errors".
func (e *Error) Query() (code string, status int) {
	switch e.Code {
	case codeMissing:
		code = "MissingAuthenticationToken"
	case codeIncomplete:
		code = "IncompleteSignature"
	case codeUnrecognized:
		code = "InvalidClientTokenId"
	default:
		code = "SignatureDoesNotMatch"
	}
	return code, 403
}

// deriveKey makes the key that signs all requests of one scope.
func deriveKey(secret, date, region, service string) [sha256.Size]byte {
	k := sum([]byte("AWS4"+secret), date)
	k = sum(k[:], region)
	k = sum(k[:], service)
	return sum(k[:], terminator)
}

func sum[T string | []byte](key []byte, text T) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	h.Sum(out[:0])
	return out
}
