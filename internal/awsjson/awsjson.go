// Package awsjson speaks AWS JSON 1.1 over HTTP, as a server and as a client.
// It knows no service: operations are functions from a document to a value.
//
// New makes the server's half, a handler to mount for POST /. Do is the
// client's half. CheckDocument is the guard that every document has passed
// before an operation sees it.
//
// A request is answered in this order:
//
//  1. It gets a request id, which RequestID finds in the context and the
//     caller in x-amzn-RequestId.
//  2. Its body is read, up to a bound: RequestEntityTooLargeException (413).
//  3. It is authenticated. AWS looks at target and document before the
//     signature; here nobody without a key learns what there is, and nothing
//     a stranger sends is parsed.
//  4. Content type and X-Amz-Target name an operation, or
//     UnknownOperationException (400).
//  5. The document is checked, or SerializationException (400).
//  6. The operation is called and its output written.
//
// # Errors
//
// An error that has the methods
//
//	ErrorCode() string
//	ErrorMessage() string
//	HTTPStatus() int
//
// itself or in its chain, is written as it says. Any other error, and a panic,
// is the InternalFailure of the protocol (500): the caller gets the request id,
// the log gets the text. One that comes of the request's own context having
// ended is ServiceUnavailableException (503), which SDKs try again.
//
// # Log
//
// Each request leaves one line, "request", with operation, principal, code,
// duration and request_id; the error and the stack of an InternalFailure are
// on the same line. Documents are never logged.
package awsjson

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// ContentType is the media type of requests and answers.
const ContentType = "application/x-amz-json-1.1"

// A ResponseError is an answer of the protocol other than success: what Do
// returns, and what the handler itself has to say.
type ResponseError struct {
	Code      string // InvalidInputException, without a namespace before it
	Message   string
	Status    int    // HTTP status
	RequestID string // empty on the server's side
}

// Error implements the error interface.
func (e *ResponseError) Error() string { return e.Code + ": " + e.Message }

// ErrorCode returns the name of the exception.
func (e *ResponseError) ErrorCode() string { return e.Code }

// ErrorMessage returns the text for the caller.
func (e *ResponseError) ErrorMessage() string { return e.Message }

// HTTPStatus returns the status of the answer.
func (e *ResponseError) HTTPStatus() int { return e.Status }

func fail(status int, code, format string, args ...any) *ResponseError {
	return &ResponseError{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

type requestIDKey struct{}

// RequestID returns the id of the request that ctx belongs to, "" if there is
// none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// NewRequestID makes a request id: a random UUID, version 4 (RFC 9562, 5.4).
func NewRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:], b[0:4])
	hex.Encode(s[9:], b[4:6])
	hex.Encode(s[14:], b[6:8])
	hex.Encode(s[19:], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
