package awsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// DefaultMaxBody bounds a request's document. A project can carry a buildspec
// for each of 13 sources; 4 MiB gives each 300 KiB, and 64 strangers who send
// as much as they may, which must be read before their signature can be
// checked, still hold only 256 MiB.
const DefaultMaxBody = 4 << 20

// An Operation is what X-Amz-Target can name.
type Operation struct {
	// Name is what the log calls it.
	Name string
	// Call carries the operation out. The document has passed CheckDocument
	// and is never empty. The output is written by encoding/json; nil, also
	// a nil pointer, is written as {}. Call may panic.
	Call func(ctx context.Context, document []byte) (output any, err error)
}

// A Config says what a handler serves.
type Config struct {
	// Operations holds the operations by target, such as
	// "CodeBuild_20161006.StartBuild". It is not copied.
	Operations map[string]Operation
	// Authenticate says who sent the request. The context it returns comes
	// from r.Context() and is the operation's. Required.
	Authenticate func(r *http.Request, body []byte) (context.Context, error)
	// Principal names the caller for the log, from Authenticate's context.
	// nil leaves the principal out.
	Principal func(ctx context.Context) string
	// MaxBody bounds the body, in bytes. 0 is DefaultMaxBody.
	MaxBody int64
	// Log gets a line for each request. Required.
	Log *slog.Logger
}

// New returns the handler for POST /. It panics when Authenticate or Log is
// missing, rather than serve everybody or say nothing.
func New(c Config) http.Handler {
	if c.Authenticate == nil || c.Log == nil {
		panic("awsjson: Config needs Authenticate and Log")
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	return &handler{c}
}

type handler struct{ Config }

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := NewRequestID()
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	op, known := h.Operations[r.Header.Get("X-Amz-Target")]
	principal, body, err := h.answer(w, r, op, known)

	status, level := http.StatusOK, slog.LevelInfo
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("operation", op.Name), slog.String("principal", principal))
	if err != nil {
		e, ours := asResponse(r.Context(), err, id)
		status, body = e.Status, e.document()
		w.Header().Set("X-Amzn-Errortype", e.Code)
		attrs = append(attrs, slog.String("code", e.Code))
		if ours {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", err.Error()))
		}
		if p, ok := errors.AsType[*panicked](err); ok {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
	} else {
		attrs = append(attrs, slog.String("code", "OK"))
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	w.Write(body) // if the caller has gone there is nobody left to tell
	attrs = append(attrs, slog.Duration("duration", time.Since(start)), slog.String("request_id", id))
	h.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

// answer does all that can go wrong, which is why it recovers.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, op Operation, known bool) (principal string, body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	document, err := ReadBody(w, r, h.MaxBody)
	if err != nil {
		return "", nil, err
	}
	ctx, err := h.Authenticate(r, document)
	switch {
	case err != nil:
		return "", nil, err
	case ctx == nil:
		return "", nil, errors.New("authentication returned neither a context nor an error")
	}
	if h.Principal != nil {
		principal = h.Principal(ctx)
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return principal, nil, fail(400, "UnknownOperationException", "The content type of the request must be %s", ContentType)
	}
	if !known {
		return principal, nil, fail(400, "UnknownOperationException", "X-Amz-Target names no operation of this server")
	}
	if err := CheckDocument(document); err != nil {
		return principal, nil, err
	}
	if len(bytes.TrimSpace(document)) == 0 {
		document = []byte("{}")
	}
	out, err := op.Call(ctx, document)
	if err != nil {
		return principal, nil, err
	}
	body, err = encode(out)
	if err != nil {
		return principal, nil, fmt.Errorf("encode the output of %s: %w", op.Name, err)
	}
	return principal, body, nil
}

// A panicked is a panic on its way to the log.
type panicked struct {
	value any
	stack []byte
}

// Error implements the error interface.
func (p *panicked) Error() string { return fmt.Sprint("panic: ", p.value) }

// asResponse makes of any error what the caller is told. ours is whether it is
// a fault of the server, whose text is not for the caller.
func asResponse(ctx context.Context, err error, id string) (_ *ResponseError, ours bool) {
	var coded interface {
		error
		ErrorCode() string
		ErrorMessage() string
		HTTPStatus() int
	}
	if errors.As(err, &coded) {
		e := &ResponseError{Code: coded.ErrorCode(), Message: coded.ErrorMessage(), Status: coded.HTTPStatus()}
		if e.Status >= 400 && e.Status <= 599 && e.Code != "" {
			return e, false
		}
	} else if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return fail(503, "ServiceUnavailableException", "The request was given up before it was finished. Try again."), false
	}
	return fail(500, "InternalFailure", "The server failed. Its log has the reason under the request id %s.", id), true
}

// document is the error document. Strings can always be encoded.
func (e *ResponseError) document() []byte {
	body, _ := encode(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{e.Code, e.Message})
	return body
}

// encode writes a document: no HTML escapes, which would only make it longer,
// and {} for nothing.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	doc := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if string(doc) == "null" {
		return []byte("{}"), nil
	}
	return doc, nil
}

// isJSON tells whether a content type is one of the protocol's: version 1.1 or
// 1.0, with or without the charset.
func isJSON(contentType string) bool {
	if contentType == ContentType {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset, has := params["charset"]
	return err == nil && (media == ContentType || media == "application/x-amz-json-1.0") &&
		(!has || strings.EqualFold(charset, "utf-8"))
}

// ReadBody reads the body of r, at most max bytes of it, whatever its length
// was said to be. The errors are those of the protocol. What is left of a body
// that is too large is not waited for: net/http closes the connection.
func ReadBody(w http.ResponseWriter, r *http.Request, max int64) ([]byte, error) {
	tooLarge := fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "The request's body is larger than %d bytes", max)
	if r.ContentLength > max {
		return nil, tooLarge
	}
	// The length is a promise that costs the caller nothing: room is made for
	// 64 KiB of it, and for more as more arrives.
	var b bytes.Buffer
	b.Grow(int(min(max, r.ContentLength+bytes.MinRead, 64<<10)))
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, max))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, tooLarge
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fail(400, "SerializationException", "The request's body ends early")
	case err != nil:
		return nil, fail(400, "SerializationException", "The request's body could not be read")
	}
	return b.Bytes(), nil
}
