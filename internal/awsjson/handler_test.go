package awsjson_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/internal/awsjson"
)

// token is planted in requests. It must not be found in any log.
const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"

// A coded is an error as other packages have them.
type coded struct {
	code, message string
	status        int
}

func (e *coded) Error() string        { return e.code }
func (e *coded) ErrorCode() string    { return e.code }
func (e *coded) ErrorMessage() string { return e.message }
func (e *coded) HTTPStatus() int      { return e.status }

type whoKey struct{}

// A bench is a handler with one operation, and its log.
type bench struct {
	awsjson.Config
	mu  sync.Mutex
	log bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func newBench(call func(ctx context.Context, document []byte) (any, error)) *bench {
	b := new(bench)
	b.Config = awsjson.Config{
		Operations: map[string]awsjson.Operation{"Test_20261101.Echo": {Name: "Echo", Call: call}},
		Authenticate: func(r *http.Request, _ []byte) (context.Context, error) {
			if r.Header.Get("Authorization") == "" {
				return nil, &coded{"MissingAuthenticationTokenException", "Missing Authentication Token", 400}
			}
			return context.WithValue(r.Context(), whoKey{}, "alice"), nil
		},
		Principal: func(ctx context.Context) string { return ctx.Value(whoKey{}).(string) },
		Log:       slog.New(slog.NewJSONHandler(b, nil)),
	}
	return b
}

// lines returns the log, a map for each line.
func (b *bench) lines(t *testing.T) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(b.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

func request(body string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Test_20261101.Echo")
	r.Header.Set("Authorization", "yes")
	return r
}

func (b *bench) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	awsjson.New(b.Config).ServeHTTP(w, r)
	return w
}

func echo(_ context.Context, document []byte) (any, error) { return json.RawMessage(document), nil }

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestHandler_Answer(t *testing.T) {
	t.Parallel()
	type output struct {
		Name string   `json:"name,omitempty"`
		List []string `json:"list,omitempty"`
	}
	for _, c := range []struct {
		name string
		out  any
		want string
	}{
		{"document", output{Name: "site", List: []string{"a"}}, `{"name":"site","list":["a"]}`},
		{"no HTML escapes", &output{Name: "<a&b>"}, `{"name":"<a&b>"}`},
		{"other alphabets", &output{Name: "Straße 🚂"}, `{"name":"Straße 🚂"}`},
		{"empty output", &output{}, `{}`},
		{"nil", nil, `{}`},
		{"nil pointer", (*output)(nil), `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(func(context.Context, []byte) (any, error) { return c.out, nil })
			w := b.serve(request(`{}`))
			if w.Code != 200 || w.Body.String() != c.want {
				t.Errorf("HTTP %d %s, want 200 %s", w.Code, w.Body, c.want)
			}
			if got := w.Header().Get("Content-Type"); got != "application/x-amz-json-1.1" {
				t.Errorf("Content-Type %q", got)
			}
			if got := w.Header().Get("Content-Length"); got != fmt.Sprint(len(c.want)) {
				t.Errorf("Content-Length %q, want %d", got, len(c.want))
			}
			if got := w.Header().Get("x-amzn-RequestId"); !uuid4.MatchString(got) {
				t.Errorf("x-amzn-RequestId %q is no UUID of version 4", got)
			}
			if got := w.Header().Get("x-amzn-ErrorType"); got != "" {
				t.Errorf("x-amzn-ErrorType %q on success", got)
			}
		})
	}
}

func TestHandler_Document(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{`{"name":"site"}`, `{"name":"site"}`},
		{``, `{}`},
		{" \r\n", `{}`},
	} {
		b := newBench(echo)
		if w := b.serve(request(c.in)); w.Code != 200 || w.Body.String() != c.want {
			t.Errorf("%q: HTTP %d %s, want %s", c.in, w.Code, w.Body, c.want)
		}
	}
}

// The operation's context has the caller and the request id of the answer.
func TestHandler_Context(t *testing.T) {
	t.Parallel()
	var seen, authenticated string
	b := newBench(func(ctx context.Context, _ []byte) (any, error) {
		seen = fmt.Sprint(ctx.Value(whoKey{}), " ", awsjson.RequestID(ctx))
		return nil, nil
	})
	inner := b.Authenticate
	b.Authenticate = func(r *http.Request, body []byte) (context.Context, error) {
		authenticated = awsjson.RequestID(r.Context()) + " " + string(body)
		return inner(r, body)
	}
	id := b.serve(request(`{"a":1}`)).Header().Get("x-amzn-RequestId")
	if seen != "alice "+id || authenticated != id+` {"a":1}` {
		t.Errorf("the operation saw %q, the authentication %q; the answer's id is %s", seen, authenticated, id)
	}
	if got := awsjson.RequestID(context.Background()); got != "" {
		t.Errorf("RequestID outside of a request is %q", got)
	}
}

func TestHandler_Errors(t *testing.T) {
	t.Parallel()
	fails := func(err error) *bench {
		return newBench(func(context.Context, []byte) (any, error) { return nil, err })
	}
	target := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Amz-Target", v) }
	}
	content := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", v) }
	}
	for _, c := range []struct {
		name    string
		b       *bench
		body    string
		change  func(*http.Request)
		status  int
		code    string
		message string // "" is any
	}{
		{"coded", fails(&coded{"InvalidInputException", "Project name <x> & co", 400}), `{}`, nil, 400, "InvalidInputException", "Project name <x> & co"},
		{"coded and wrapped", fails(fmt.Errorf("create: %w", &coded{"ResourceNotFoundException", "no", 404})), `{}`, nil, 404, "ResourceNotFoundException", "no"},
		{"not implemented", fails(&coded{"NotImplementedException", "no", 501}), `{}`, nil, 501, "NotImplementedException", "no"},
		{"coded with an impossible status", fails(&coded{"X", "secret inside", 200}), `{}`, nil, 500, "InternalFailure", ""},
		{"coded without a code", fails(&coded{"", "secret inside", 400}), `{}`, nil, 500, "InternalFailure", ""},
		{"any other error", fails(errors.New("open /secret inside")), `{}`, nil, 500, "InternalFailure", ""},
		{"a cancellation that is not the request's", fails(context.Canceled), `{}`, nil, 500, "InternalFailure", ""},
		{"panic", newBench(func(context.Context, []byte) (any, error) { panic("secret inside") }), `{}`, nil, 500, "InternalFailure", ""},
		{"output that cannot be written", newBench(func(context.Context, []byte) (any, error) { return make(chan int), nil }), `{}`, nil, 500, "InternalFailure", ""},

		{"no signature", newBench(echo), `{}`, func(r *http.Request) { r.Header.Del("Authorization") }, 400, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"no signature, no target, no JSON", newBench(echo), `{`, func(r *http.Request) { r.Header = http.Header{} }, 400, "MissingAuthenticationTokenException", "Missing Authentication Token"},

		{"no target", newBench(echo), `{}`, target(""), 400, "UnknownOperationException", ""},
		{"unknown operation", newBench(echo), `{}`, target("Test_20261101.Delete"), 400, "UnknownOperationException", ""},
		{"unknown service", newBench(echo), `{}`, target("DynamoDB_20120810.Echo"), 400, "UnknownOperationException", ""},
		{"operation alone", newBench(echo), `{}`, target("Echo"), 400, "UnknownOperationException", ""},
		{"another case", newBench(echo), `{}`, target("test_20261101.echo"), 400, "UnknownOperationException", ""},

		{"version 1.0", newBench(echo), `{}`, content("application/x-amz-json-1.0"), 200, "", ""},
		{"with charset", newBench(echo), `{}`, content("application/x-amz-json-1.1; charset=UTF-8"), 200, "", ""},
		{"with a strange charset", newBench(echo), `{}`, content("application/x-amz-json-1.1; charset=utf-7"), 400, "UnknownOperationException", ""},
		{"no content type", newBench(echo), `{}`, func(r *http.Request) { r.Header.Del("Content-Type") }, 400, "UnknownOperationException", "The content type of the request must be application/x-amz-json-1.1"},
		{"plain JSON", newBench(echo), `{}`, content("application/json"), 400, "UnknownOperationException", ""},
		{"form", newBench(echo), `{}`, content("application/x-www-form-urlencoded"), 400, "UnknownOperationException", ""},

		{"half a document", newBench(echo), `{"a":`, nil, 400, "SerializationException", "The request's body is not valid JSON; the fault is at byte 5"},
		{"a list", newBench(echo), `[]`, nil, 400, "SerializationException", "The request's body is not a JSON object"},
		{"not UTF-8", newBench(echo), "{\"a\":\"\xff\"}", nil, 400, "SerializationException", "The request's body is not UTF-8"},
		{"too deep", newBench(echo), strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat(`}`, 65), nil, 400, "SerializationException", "The request's body is nested deeper than 64 levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := request(c.body)
			if c.change != nil {
				c.change(r)
			}
			w := c.b.serve(r)
			if w.Code != c.status {
				t.Fatalf("HTTP %d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.code == "" {
				return
			}
			id := w.Header().Get("x-amzn-RequestId")
			var doc map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
				t.Fatalf("%s: %v", w.Body, err)
			}
			if doc["__type"] != c.code || len(doc) != 2 || c.message != "" && doc["message"] != c.message {
				t.Errorf("document %s, want %s: %q", w.Body, c.code, c.message)
			}
			if got := w.Header().Get("x-amzn-ErrorType"); got != c.code {
				t.Errorf("x-amzn-ErrorType %q, want %q", got, c.code)
			}
			if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
				t.Errorf("Content-Length %q for %d bytes", got, w.Body.Len())
			}
			if c.code == "InternalFailure" && (strings.Contains(w.Body.String(), "secret") || !strings.Contains(doc["message"], id)) {
				t.Errorf("document %s, want the request id %s and no reason", w.Body, id)
			}
			lines := c.b.lines(t)
			if len(lines) != 1 || lines[0]["code"] != c.code || lines[0]["request_id"] != id {
				t.Fatalf("log %v, want one line with the code and the id", lines)
			}
			_, hasError := lines[0]["error"]
			if ours := c.code == "InternalFailure"; hasError != ours || (lines[0]["level"] == "ERROR") != ours {
				t.Errorf("log %v: level and error are for faults of ours only", lines[0])
			}
			if stack, ok := lines[0]["stack"].(string); (c.name == "panic") != (ok && strings.Contains(stack, "handler_test.go")) {
				t.Errorf("log %v: want a stack for panics only", lines[0])
			}
		})
	}
}

func TestHandler_AuthenticationThatFails(t *testing.T) {
	t.Parallel()
	for name, authenticate := range map[string]func(*http.Request, []byte) (context.Context, error){
		"neither context nor error": func(*http.Request, []byte) (context.Context, error) { return nil, nil },
		"store does not answer":     func(*http.Request, []byte) (context.Context, error) { return nil, errors.New("disk on fire") },
		"panic":                     func(*http.Request, []byte) (context.Context, error) { panic("disk on fire") },
	} {
		b := newBench(func(context.Context, []byte) (any, error) {
			t.Errorf("%s: the operation was called", name)
			return nil, nil
		})
		b.Authenticate = authenticate
		b.Principal = nil
		if w := b.serve(request(`{}`)); w.Code != 500 || strings.Contains(w.Body.String(), "fire") {
			t.Errorf("%s: HTTP %d %s, want 500 without the reason", name, w.Code, w.Body)
		}
	}
}

func TestNew_PanicsWithoutAuthentication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]awsjson.Config{
		"no authentication": {Log: slog.New(slog.DiscardHandler)},
		"no log":            {Authenticate: func(r *http.Request, _ []byte) (context.Context, error) { return r.Context(), nil }},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: New did not panic", name)
				}
			}()
			awsjson.New(c)
		}()
	}
}

// The caller has gone, or the server is told to stop.
func TestHandler_RequestIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(func(ctx context.Context, _ []byte) (any, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("wait for the store: %w", ctx.Err())
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := b.serve(request(`{}`).WithContext(ctx))
	if w.Code != 503 || !strings.Contains(w.Body.String(), `"__type":"ServiceUnavailableException"`) {
		t.Errorf("HTTP %d %s, want 503 ServiceUnavailableException", w.Code, w.Body)
	}
}

// One line for each request, and the document in none of them.
func TestHandler_Log(t *testing.T) {
	t.Parallel()
	b := newBench(func(_ context.Context, document []byte) (any, error) {
		if bytes.Contains(document, []byte("refuse")) {
			return nil, &coded{"InvalidInputException", "no " + token, 400}
		}
		return map[string]string{"token": token}, nil
	})
	for _, body := range []string{`{"token":"` + token + `"}`, `{"refuse":"` + token + `"}`, `{"broken":"` + token, `[` + token} {
		b.serve(request(body))
	}
	stranger := request(`{"token":"` + token + `"}`)
	stranger.Header.Del("Authorization")
	stranger.Header.Set("X-Amz-Target", token)
	b.serve(stranger)
	if strings.Contains(b.log.String(), token) {
		t.Errorf("the token is in the log:\n%s", b.log.String())
	}
	type line struct{ Message, Operation, Principal, Code string }
	var got []line
	for _, l := range b.lines(t) {
		got = append(got, line{l["msg"].(string), l["operation"].(string), l["principal"].(string), l["code"].(string)})
		if d, ok := l["duration"].(float64); !ok || d <= 0 || d > 60e9 {
			t.Errorf("duration %v", l["duration"])
		}
		if !uuid4.MatchString(fmt.Sprint(l["request_id"])) {
			t.Errorf("request_id %v", l["request_id"])
		}
	}
	want := []line{
		{"request", "Echo", "alice", "OK"},
		{"request", "Echo", "alice", "InvalidInputException"},
		{"request", "Echo", "alice", "SerializationException"},
		{"request", "Echo", "alice", "SerializationException"},
		{"request", "", "", "MissingAuthenticationTokenException"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
}

func TestHandler_BodyLimit(t *testing.T) {
	t.Parallel()
	document := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	for _, c := range []struct {
		name   string
		max    int64
		body   string
		length int64 // as the caller says
		status int
	}{
		{"just fits", 100, document(100), 100, 200},
		{"one too many", 100, document(101), 101, 413},
		{"no length, fits", 100, document(100), -1, 200},
		{"no length, one too many", 100, document(101), -1, 413},
		{"length says less", 100, document(101), 10, 413}, // a server would cut it; the bound is ours
		{"length says more than allowed", 100, document(50), 1 << 40, 413},
		{"default fits", 0, document(awsjson.DefaultMaxBody), awsjson.DefaultMaxBody, 200},
		{"default", 0, document(awsjson.DefaultMaxBody + 1), -1, 413},
	} {
		b := newBench(func(context.Context, []byte) (any, error) { return nil, nil })
		b.MaxBody = c.max
		r := request(c.body)
		r.ContentLength = c.length
		w := b.serve(r)
		if w.Code != c.status {
			t.Errorf("%s: HTTP %d %.200s, want %d", c.name, w.Code, w.Body, c.status)
		}
		if c.status == 413 && !strings.Contains(w.Body.String(), `"__type":"RequestEntityTooLargeException"`) {
			t.Errorf("%s: %s", c.name, w.Body)
		}
	}
}

// Over a real connection: a caller who announces more than he sends, one who
// announces too much and waits, and one who sends on and on.
func TestHandler_DishonestLength(t *testing.T) {
	t.Parallel()
	b := newBench(echo)
	b.MaxBody = 1000
	s := httptest.NewServer(awsjson.New(b.Config))
	t.Cleanup(s.Close)
	const head = "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: yes\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Test_20261101.Echo\r\n"
	for _, c := range []struct {
		name, wire, want string
		status           int
	}{
		{"ends early", head + "Content-Length: 100\r\n\r\n{}", "SerializationException", 400},
		{"announces too much", head + "Content-Length: 1000000000\r\n\r\n", "RequestEntityTooLargeException", 413},
		{"sends on and on", head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("100\r\n"+strings.Repeat("x", 256)+"\r\n", 5), "RequestEntityTooLargeException", 413},
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, c.wire); err != nil {
			t.Fatal(err)
		}
		if c.status == 400 {
			conn.(*net.TCPConn).CloseWrite()
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || !bytes.Contains(body, []byte(c.want)) {
			t.Errorf("%s: HTTP %d %s, %v; want %d %s", c.name, resp.StatusCode, body, err, c.status, c.want)
		}
		if c.status == 413 && !resp.Close {
			t.Errorf("%s: the connection is kept, with the rest of the body on it", c.name)
		}
	}
}

// The official SDK reads our answers and errors.
func TestHandler_SDK(t *testing.T) {
	t.Parallel()
	b := newBench(nil)
	b.Operations = map[string]awsjson.Operation{
		"CodeBuild_20161006.ListProjects": {Name: "ListProjects", Call: func(context.Context, []byte) (any, error) {
			return map[string][]string{"projects": {"<site>"}}, nil
		}},
		"CodeBuild_20161006.CreateProject": {Name: "CreateProject", Call: func(context.Context, []byte) (any, error) {
			return nil, &coded{"ResourceAlreadyExistsException", "Project already exists: <site>", 400}
		}},
	}
	s := httptest.NewServer(awsjson.New(b.Config))
	t.Cleanup(s.Close)
	client := codebuild.New(codebuild.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(s.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	out, err := client.ListProjects(t.Context(), &codebuild.ListProjectsInput{})
	if err != nil || len(out.Projects) != 1 || out.Projects[0] != "<site>" {
		t.Errorf("ListProjects = %+v, %v", out, err)
	}
	_, err = client.CreateProject(t.Context(), &codebuild.CreateProjectInput{
		Name: aws.String("x"), ServiceRole: aws.String("r"),
		Source:      &types.ProjectSource{Type: types.SourceTypeNoSource},
		Artifacts:   &types.ProjectArtifacts{Type: types.ArtifactsTypeNoArtifacts},
		Environment: &types.ProjectEnvironment{Type: types.EnvironmentTypeLinuxContainer, Image: aws.String("i"), ComputeType: types.ComputeTypeBuildGeneral1Small},
	})
	var exists *types.ResourceAlreadyExistsException
	if !errors.As(err, &exists) || exists.ErrorMessage() != "Project already exists: <site>" {
		t.Errorf("CreateProject: %v, want ResourceAlreadyExistsException", err)
	}
	_, err = client.ListBuilds(t.Context(), &codebuild.ListBuildsInput{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnknownOperationException" {
		t.Errorf("ListBuilds: %v, want UnknownOperationException", err)
	}
	var id interface{ ServiceRequestID() string }
	if !errors.As(err, &id) || !uuid4.MatchString(id.ServiceRequestID()) {
		t.Errorf("ListBuilds: %v, want a request id", err)
	}
}

func TestNewRequestID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := awsjson.NewRequestID()
		if !uuid4.MatchString(id) || seen[id] {
			t.Fatalf("request id %q is no new UUID of version 4", id)
		}
		seen[id] = true
	}
}

func BenchmarkHandler(b *testing.B) {
	bn := newBench(func(context.Context, []byte) (any, error) {
		return map[string]string{"arn": "arn:aws:codebuild:x"}, nil
	})
	bn.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	h := awsjson.New(bn.Config)
	body := `{"projectName":"site"}`
	r := request(body)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkNewRequestID(b *testing.B) {
	for b.Loop() {
		awsjson.NewRequestID()
	}
}
