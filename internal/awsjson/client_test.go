package awsjson_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/internal/awsjson"
)

func authorize(r *http.Request, _ []byte) { r.Header.Set("Authorization", "yes") }

// Client and server understand each other.
func TestDo(t *testing.T) {
	t.Parallel()
	b := newBench(func(_ context.Context, document []byte) (any, error) {
		if strings.Contains(string(document), "bad") {
			return nil, &coded{"InvalidInputException", "Project name <bad>", 400}
		}
		return map[string]string{"got": string(document)}, nil
	})
	s := httptest.NewServer(awsjson.New(b.Config))
	t.Cleanup(s.Close)
	for _, endpoint := range []string{s.URL, s.URL + "/"} {
		got, err := awsjson.Do(t.Context(), s.Client(), endpoint, "Test_20261101.Echo", []byte(`{"a":1}`), authorize)
		if want := `{"got":"{\"a\":1}"}`; err != nil || string(got) != want {
			t.Errorf("Do at %s = %s, %v; want %s", endpoint, got, err, want)
		}
	}
	_, err := awsjson.Do(t.Context(), s.Client(), s.URL, "Test_20261101.Echo", []byte(`{"bad":1}`), authorize)
	var e *awsjson.ResponseError
	if !errors.As(err, &e) || e.Code != "InvalidInputException" || e.Message != "Project name <bad>" || e.Status != 400 || !uuid4.MatchString(e.RequestID) {
		t.Errorf("Do: %#v, want InvalidInputException with a request id", err)
	}
	_, err = awsjson.Do(t.Context(), s.Client(), s.URL, "Test_20261101.Echo", nil, nil)
	if !errors.As(err, &e) || e.Code != "MissingAuthenticationTokenException" {
		t.Errorf("unsigned: %v, want MissingAuthenticationTokenException", err)
	}
}

// What is signed is what is sent.
func TestDo_SignsTheWholeRequest(t *testing.T) {
	t.Parallel()
	var sent http.Header
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	t.Cleanup(s.Close)
	_, err := awsjson.Do(t.Context(), s.Client(), s.URL, "Test_20261101.Echo", []byte(`{"a":1}`), func(r *http.Request, b []byte) {
		if r.Method != "POST" || r.URL.Path != "/" || r.Header.Get("X-Amz-Target") != "Test_20261101.Echo" || r.Header.Get("Content-Type") != awsjson.ContentType || string(b) != `{"a":1}` {
			t.Errorf("signed %s %s %v %s", r.Method, r.URL, r.Header, b)
		}
		authorize(r, b)
	})
	if err != nil || string(body) != `{"a":1}` || sent.Get("Authorization") != "yes" || sent.Get("X-Amz-Target") != "Test_20261101.Echo" {
		t.Errorf("sent %v %s, %v", sent, body, err)
	}
}

func TestDo_ErrorDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		header string // x-amzn-ErrorType
		body   string
		want   awsjson.ResponseError
	}{
		{"ours", 400, "X", `{"__type":"InvalidInputException","message":"no"}`, awsjson.ResponseError{Code: "InvalidInputException", Message: "no", Status: 400}},
		{"namespace", 400, "", `{"__type":"com.amazonaws.codebuild#InvalidInputException","message":"no"}`, awsjson.ResponseError{Code: "InvalidInputException", Message: "no", Status: 400}},
		{"capital", 400, "", `{"__type":"AccessDeniedException","Message":"no"}`, awsjson.ResponseError{Code: "AccessDeniedException", Message: "no", Status: 400}},
		{"header alone", 404, "aws.x#NotFound:http://internal.amazon.com/coral/", `{"message":"no"}`, awsjson.ResponseError{Code: "NotFound", Message: "no", Status: 404}},
		{"no text", 400, "", `{"__type":"UnknownOperationException"}`, awsjson.ResponseError{Code: "UnknownOperationException", Message: "the server answered HTTP 400 Bad Request and no more", Status: 400}},
		{"proxy", 502, "", `<html>bad gateway</html>`, awsjson.ResponseError{Code: "UnknownError", Message: "the server answered HTTP 502 Bad Gateway and no more", Status: 502}},
		{"nothing", 500, "", ``, awsjson.ResponseError{Code: "UnknownError", Message: "the server answered HTTP 500 Internal Server Error and no more", Status: 500}},
		{"no content is no success", 204, "", ``, awsjson.ResponseError{Code: "UnknownError", Message: "the server answered HTTP 204 No Content and no more", Status: 204}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("x-amzn-RequestId", "id-1")
				if c.header != "" {
					w.Header().Set("x-amzn-ErrorType", c.header)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			t.Cleanup(s.Close)
			_, err := awsjson.Do(t.Context(), s.Client(), s.URL, "T.O", nil, nil)
			var got *awsjson.ResponseError
			if !errors.As(err, &got) {
				t.Fatalf("Do: %v", err)
			}
			c.want.RequestID = "id-1"
			if d := cmp.Diff(&c.want, got); d != "" {
				t.Errorf("error (-want +got):\n%s", d)
			}
		})
	}
}

func TestDo_NoAnswer(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Amz-Target") {
		case "T.Endless":
			for range 42 << 10 { // 42 MiB, or until the client has had enough
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		case "T.Cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}
	}))
	t.Cleanup(s.Close)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		endpoint string
		target   string
		want     string
	}{
		{"endless answer", t.Context(), s.URL, "T.Endless", "read the answer of T.Endless: it is larger than 41943040 bytes"},
		{"answer cut off", t.Context(), s.URL, "T.Cut", "read the answer of T.Cut: unexpected EOF"},
		{"given up", canceled, s.URL, "T.O", "context canceled"},
		{"no server", t.Context(), "http://127.0.0.1:1", "T.O", "call T.O: "},
		{"no address", t.Context(), "://", "T.O", "call T.O: "},
	} {
		_, err := awsjson.Do(c.ctx, s.Client(), c.endpoint, c.target, nil, nil)
		var e *awsjson.ResponseError
		if err == nil || errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
