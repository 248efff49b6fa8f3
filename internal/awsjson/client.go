package awsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer bounds what Do reads, in bytes. The largest answers are pages of a
// hundred builds; ten times as much as a request may be is plenty.
const maxAnswer = 10 * DefaultMaxBody

// Do calls the operation that target names ("CodeBuild_20161006.StartBuild")
// at endpoint ("http://127.0.0.1:8080") and returns the document of the answer.
// sign is called with the complete request and its body; nil sends it unsigned.
// The error is a *ResponseError when the server answered, with whatever.
func Do(ctx context.Context, c *http.Client, endpoint, target string, body []byte, sign func(r *http.Request, body []byte)) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	r.Header.Set("Content-Type", ContentType)
	r.Header.Set("X-Amz-Target", target)
	if sign != nil {
		sign(r, body)
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", target, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", target, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("read the answer of %s: it is larger than %d bytes", target, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, readError(resp, answer)
	}
	return answer, nil
}

// readError reads an error document. The name of the exception is in __type or
// in a header, perhaps with a namespace before it or a URL behind it; the text
// is in message or Message. Source: Smithy, "AWS JSON 1.1 protocol", operation
// error serialization.
func readError(resp *http.Response, body []byte) *ResponseError {
	var doc struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // and Message: encoding/json ignores case
	}
	e := &ResponseError{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Amzn-Requestid")}
	if json.Unmarshal(body, &doc) == nil {
		e.Code, e.Message = doc.Type, doc.Message
	}
	if e.Code == "" {
		e.Code = resp.Header.Get("X-Amzn-Errortype")
	}
	if _, name, ok := strings.Cut(e.Code, "#"); ok {
		e.Code = name
	}
	e.Code, _, _ = strings.Cut(e.Code, ":")
	if e.Code == "" { // a proxy, or no server of this protocol at all
		e.Code = "UnknownError"
	}
	if e.Message == "" {
		e.Message = "the server answered HTTP " + resp.Status + " and no more"
	}
	return e
}
