// Package api is Corbel's contract: the shapes, enums, errors, constraints and
// operations of the AWS CodeBuild API, version 2016-10-06.
//
// Everything in *.gen.go comes from model/codebuild.json by way of modelgen;
// run "go generate ./api" after changing either. Only this file, decode.go and
// model.go are written by hand. A request document is read with Decode,
// which applies the constraint table and then fills the operation's input.
//
// Scalars are pointers, because absent and empty differ on the wire: an
// UpdateProject with description "" clears it, one without keeps it. A nil
// slice is left out of an answer, an empty one is written as [].
//
// The package imports the standard library only.
package api

//go:generate go run ./modelgen -model model/codebuild.json -enums model/own.json -package api -dir . -client ../internal/client
//go:generate go run ./modelgen -model model/logs.json -package logs -dir logs
//go:generate go run ./modelgen -model model/corbel.json -package corbel -dir corbel
//go:generate go run ./modelgen -model model/secretsmanager.json -package secretsmanager -dir secretsmanager
//go:generate go run ./modelgen -model model/ssm.json -package ssm -dir ssm
//go:generate go run ./modelgen -typescript ../internal/console/web/src/api.gen.ts -enums model/own.json model/codebuild.json model/logs.json model/corbel.json

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"
)

// A Secret is a string that the model marks as sensitive. It prints as
// [redacted] through fmt and log/slog. JSON is the wire, so there it is
// written as it is; Reveal is the other way to the text.
type Secret string

// Reveal returns the secret text. Its callers are few and are listed by a test.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer, for %#v.
func (Secret) GoString() string { return "[redacted]" }

// Format implements fmt.Formatter, for every other verb.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// A Timestamp is a point in time, written as epoch seconds with a fraction of
// milliseconds, as AWS JSON 1.1 has it.
type Timestamp struct{ time.Time }

// At returns t as a Timestamp, cut to milliseconds.
func At(t time.Time) *Timestamp { return &Timestamp{t.Truncate(time.Millisecond)} }

// MarshalJSON writes epoch seconds, such as 1548717462.122.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(nil, ms/1000, 10), nil
	}
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', 3, 64), nil
}

// UnmarshalJSON reads epoch seconds.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1e12 {
		return fmt.Errorf("timestamp %s is not a number of epoch seconds", b)
	}
	t.Time = time.UnixMilli(int64(math.Round(f * 1000))).UTC()
	return nil
}

// An Error is an answer of the service other than success. Code is the name
// of an exception of the model or one of the undeclared ones that every AWS
// service knows (ValidationException, AccessDeniedException, ...).
type Error struct {
	Code    string
	Message string
	Status  int // HTTP status; 0 means 400
}

// Errorf makes an Error with HTTP status 400. The text is for the user: it
// says what happened, to what, and what to do next.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error implements the error interface.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode, ErrorMessage and HTTPStatus are what awsjson writes.
func (e *Error) ErrorCode() string    { return e.Code }
func (e *Error) ErrorMessage() string { return e.Message }

// HTTPStatus returns the status of the answer, 400 unless set otherwise.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return 400
	}
	return e.Status
}

// NotImplemented is the answer of an operation that Corbel does not support.
// Its HTTP status is 501, which clients do not retry.
func NotImplemented(operation string) *Error {
	return &Error{
		Code:    "NotImplementedException",
		Message: "Corbel does not support " + operation + ". See docs/operations.md for what it supports.",
		Status:  501,
	}
}
