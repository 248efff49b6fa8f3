package sigv4_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsv4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/corbel-build/corbel/internal/sigv4"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var now = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)

// lookup knows one key.
func lookup(_ context.Context, id string) (string, error) {
	if id != keyID {
		return "", fmt.Errorf("key %s: %w", id, sigv4.ErrUnknownKey)
	}
	return secret, nil
}

// receive reads a request as a server would.
func receive(t testing.TB, wire string) (*http.Request, []byte) {
	t.Helper()
	r, body, err := tryReceive(wire)
	if err != nil {
		t.Fatalf("read request: %v\n%s", err, wire)
	}
	return r, body
}

func tryReceive(wire string) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// wire is r as it goes over the connection, the lines of its head ending in \n.
func wire(t testing.TB, r *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(b.String(), "\r\n\r\n") // a body may hold line ends of its own
	return strings.ReplaceAll(head, "\r\n", "\n") + "\n\n" + body
}

func signed(t testing.TB, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", "https://codebuild.eu-west-1.example.com/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "CodeBuild_20161006.ListProjects")
	sigv4.Sign(r, []byte(body), keyID, secret, "eu-west-1", "codebuild", now)
	return r
}

func wantRefusal(t *testing.T, err error, code, text string) {
	t.Helper()
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got error %v, want %s with %q", err, code, text)
	}
}

const mismatch = "The request signature we calculated does not match"

// The requests and signatures are those of AWS: the first is the example of
// the IAM User Guide, "Create a signed AWS API request", the others are cases
// of that name in the signing test suite of awslabs/aws-c-auth.
func TestVerify_PublishedVectors(t *testing.T) {
	t.Parallel()
	const suite = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
	const head = "Host:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n"
	for _, c := range []struct{ name, auth, wire string }{
		{"IAM ListUsers", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
			"GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\nHost: iam.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n%s\n"},
		{"get-vanilla", suite + "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
			"GET / HTTP/1.1\n" + head + "%s\n"},
		{"get-vanilla-query-order-key-case", suite + "SignedHeaders=host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
			"GET /?Param2=value2&Param1=value1 HTTP/1.1\n" + head + "%s\n"},
		{"get-vanilla-query-order-encoded", suite + "SignedHeaders=host;x-amz-date, Signature=371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
			"GET /?Param-3=Value3&Param=Value2&%%E1%%88%%B4=Value1 HTTP/1.1\n" + head + "%s\n"},
		{"get-vanilla-query-unreserved", suite + "SignedHeaders=host;x-amz-date, Signature=9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
			"GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\n" + head + "%s\n"},
		{"get-header-key-duplicate", suite + "SignedHeaders=host;my-header1;x-amz-date, Signature=c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
			"GET / HTTP/1.1\nMy-Header1:value2\nMy-Header1:value2\nMy-Header1:value1\n" + head + "%s\n"},
		{"get-header-value-order", suite + "SignedHeaders=host;my-header1;x-amz-date, Signature=08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
			"GET / HTTP/1.1\nMy-Header1:value4\nMy-Header1:value1\nMy-Header1:value3\nMy-Header1:value2\n" + head + "%s\n"},
		{"get-header-value-trim", suite + "SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
			"GET / HTTP/1.1\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\n" + head + "%s\n"},
		{"get-slashes-normalized", suite + "SignedHeaders=host;x-amz-date, Signature=9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
			"GET //example// HTTP/1.1\n" + head + "%s\n"},
		{"get-relative-relative-normalized", suite + "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
			"GET /example1/example2/../.. HTTP/1.1\n" + head + "%s\n"},
		{"post-header-key-sort", suite + "SignedHeaders=host;my-header1;x-amz-date, Signature=c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
			"POST / HTTP/1.1\nMy-Header1:value1\n" + head + "%s\n"},
		{"post-x-www-form-urlencoded", suite + "SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, Signature=d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
			"POST / HTTP/1.1\nContent-Type:application/x-www-form-urlencoded\nContent-Length:13\nx-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\n" + head + "%s\nParam1=value1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, body := receive(t, fmt.Sprintf(c.wire, "Authorization: "+c.auth+"\n"))
			var v sigv4.Verifier
			for _, what := range []string{"first", "with the key remembered"} {
				id, err := v.Verify(r, body, now, lookup)
				if err != nil || id.AccessKeyID != keyID || id.Region != "us-east-1" || !id.Date.Equal(now) {
					t.Errorf("%s: Verify = %+v, %v", what, id, err)
				}
			}
		})
	}
}

// Sign makes the published signature too, where it signs the same headers.
func TestSign_PublishedVector(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequest("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sigv4.Sign(r, nil, keyID, secret, "us-east-1", "iam", now)
	const want = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	if got := r.Header.Get("Authorization"); got != want {
		t.Errorf("Authorization is\n%s, want\n%s", got, want)
	}
}

func TestVerify_Identity(t *testing.T) {
	t.Parallel()
	r, body := receive(t, wire(t, signed(t, `{}`)))
	var v sigv4.Verifier
	got, err := v.Verify(r, body, now.Add(time.Minute), lookup)
	want := sigv4.Identity{AccessKeyID: keyID, Region: "eu-west-1", Service: "codebuild", Date: now}
	if err != nil || got != want {
		t.Fatalf("Verify = %+v, %v; want %+v", got, err, want)
	}
	if err := got.ForService("codebuild"); err != nil {
		t.Errorf("ForService(codebuild): %v", err)
	}
	wantRefusal(t, got.ForService("logs"), "InvalidSignatureException", "Credential should be scoped to correct service: 'logs'.")
}

// The official Go SDK signs, we check.
func TestVerify_SDKSigner(t *testing.T) {
	t.Parallel()
	signer := awsv4.NewSigner()
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "body")
		host := rapid.SampledFrom([]string{"127.0.0.1:8080", "codebuild.eu-west-1.example.com", "[::1]:9", "example.com:8443"}).Draw(rt, "host")
		r, err := http.NewRequest("POST", "http://"+host+"/", bytes.NewReader(body))
		if err != nil {
			rt.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("User-Agent", "aws-sdk-go-v2/1.48.0  os/linux")
		r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
		for range rapid.IntRange(0, 3).Draw(rt, "headers") {
			r.Header.Add("X-Amz-"+rapid.StringMatching(`[A-Z][a-z]{1,8}`).Draw(rt, "name"), rapid.StringMatching(`[!-~][ -~]{0,20}[!-~]`).Draw(rt, "value"))
		}
		if rapid.Bool().Draw(rt, "query") {
			q := url.Values{}
			for range rapid.IntRange(0, 4).Draw(rt, "parameters") {
				q.Add(rapid.String().Draw(rt, "key"), rapid.String().Draw(rt, "value"))
			}
			r.URL.RawQuery = q.Encode()
		}
		h := sha256.Sum256(body)
		sum := hex.EncodeToString(h[:])
		if rapid.Bool().Draw(rt, "sends hash") {
			r.Header.Set("X-Amz-Content-Sha256", sum)
		}
		err = signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, sum, "codebuild", "us-west-2", now)
		if err != nil {
			rt.Fatal(err)
		}
		text := wire(t, r)
		got, read, err := tryReceive(text)
		if err != nil {
			rt.Fatalf("%v\n%s", err, text)
		}
		var v sigv4.Verifier
		id, err := v.Verify(got, read, now, lookup)
		if err != nil || id.Region != "us-west-2" || id.Service != "codebuild" {
			rt.Fatalf("Verify = %+v, %v\n%s", id, err, text)
		}
	})
}

// naive signs the named headers of a request that has arrived, by the letter
// of the description: a second opinion on our own canonical form.
func naive(r *http.Request, body []byte, names ...string) string {
	slices.Sort(names)
	canonical := r.Method + "\n/\n\n"
	for _, n := range names {
		value := strings.Join(strings.Fields(strings.Join(r.Header.Values(n), ",")), " ")
		switch n {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		case "transfer-encoding":
			value = "chunked"
		}
		canonical += n + ":" + value + "\n"
	}
	canonical += "\n" + strings.Join(names, ";") + "\n" + fmt.Sprintf("%x", sha256.Sum256(body))
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		io.WriteString(h, text)
		return h.Sum(nil)
	}
	date := r.Header.Get("X-Amz-Date")
	key := mac(mac(mac(mac([]byte("AWS4"+secret), date[:8]), "us-east-1"), "codebuild"), "aws4_request")
	scope := date[:8] + "/us-east-1/codebuild/aws4_request"
	sig := mac(key, fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", date, scope, sha256.Sum256([]byte(canonical))))
	return fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%x", keyID, scope, strings.Join(names, ";"), sig)
}

// What clients sign and the SDK's own signer would refuse, recomputing it.
func TestVerify_HeadersThatOthersTripOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, headers, body, sign string }{
		{"user-agent", "User-Agent: aws-cli/1.16  Python/2.7\n", "{}", "user-agent"},
		{"trace id", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793\n", "{}", "x-amzn-trace-id"},
		{"trace id that a proxy added", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793\n", "{}", "content-type"},
		{"expect", "Expect: 100-continue\n", "{}", "expect"},
		{"default port", "", "{}", "content-type"},
		{"content-length", "", "{}", "content-length"},
		{"content-length of nothing", "", "", "content-length"},
		{"chunked", "Transfer-Encoding: chunked\n", "2\r\n{}\r\n0\r\n\r\n", "transfer-encoding"},
		{"repeated header", "Accept: a  b\nAccept: c \n", "{}", "accept"},
		{"empty header", "X-Amz-Empty:\n", "{}", "x-amz-empty"},
		{"header that is trimmed", "X-Amz-User-Agent:    aws-sdk-js/3   ua/2.1   \n", "{}", "x-amz-user-agent"},
		{"not ASCII", "X-Amz-Meta: Straße\n", "{}", "x-amz-meta"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			host := "localhost:8080"
			if c.name == "default port" {
				host = "localhost:80"
			}
			length := fmt.Sprintf("Content-Length: %d\n", len(c.body))
			if c.name == "chunked" {
				length = ""
			}
			text := "POST / HTTP/1.1\nHost: " + host + "\nContent-Type: application/x-amz-json-1.1\nX-Amz-Date: 20150830T123600Z\n" + length + c.headers + "\n" + c.body
			r, body := receive(t, text)
			r.Header.Set("Authorization", naive(r, body, "host", "x-amz-date", c.sign))
			var v sigv4.Verifier
			if _, err := v.Verify(r, body, now, lookup); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// A Date header stands in where there is no X-Amz-Date, in either form.
func TestVerify_DateHeader(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"20150830T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT"} {
		r, body := receive(t, "POST / HTTP/1.1\nHost: h\nContent-Length: 2\nDate: "+date+"\n\n{}")
		// The naive signer reads X-Amz-Date, so it gets one for a moment.
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		auth := naive(r, body, "date", "host")
		r.Header.Del("X-Amz-Date")
		r.Header.Set("Authorization", auth)
		var v sigv4.Verifier
		if _, err := v.Verify(r, body, now, lookup); err != nil {
			t.Errorf("Date: %s: %v", date, err)
		}
		r.Header.Set("Authorization", strings.Replace(auth, "date;host", "host", 1))
		_, err := v.Verify(r, body, now, lookup)
		wantRefusal(t, err, "InvalidSignatureException", "'Date' must be a 'SignedHeader'")
	}
}

// Whatever is signed and arrives is accepted, and not for another service's
// key, another body or another time.
func TestSignThenVerify(t *testing.T) {
	t.Parallel()
	var v sigv4.Verifier
	rapid.Check(t, func(rt *rapid.T) {
		label := rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`)
		region, service := label.Draw(rt, "region"), label.Draw(rt, "service")
		body := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(rt, "body")
		at := now.Add(time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "at")) * time.Second)
		u := url.URL{Scheme: "http", Host: "localhost:8080", Path: "/" + rapid.StringMatching(`[a-z ä%+/.]{0,12}`).Draw(rt, "path")}
		q := url.Values{}
		for range rapid.IntRange(0, 3).Draw(rt, "parameters") {
			q.Add(rapid.String().Draw(rt, "key"), rapid.String().Draw(rt, "value"))
		}
		u.RawQuery = q.Encode()
		r, err := http.NewRequest("POST", u.String(), bytes.NewReader(body))
		if err != nil {
			rt.Skip(err)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "headers") {
			r.Header.Add("X-Amz-"+rapid.StringMatching(`[A-Z][a-z]{1,8}`).Draw(rt, "name"), rapid.StringMatching(`[ -~äß]{0,20}`).Draw(rt, "value"))
		}
		sigv4.Sign(r, body, keyID, secret, region, service, at)
		text := wire(t, r)
		got, read, err := tryReceive(text)
		if err != nil {
			rt.Fatalf("%v\n%s", err, text)
		}
		skew := time.Duration(rapid.IntRange(-900, 900).Draw(rt, "skew")) * time.Second
		id, err := v.Verify(got, read, at.Add(skew), lookup)
		if err != nil || id.Region != region || id.Service != service {
			rt.Fatalf("Verify = %+v, %v\n%s", id, err, text)
		}
		if _, err := v.Verify(got, append(read, ' '), at, lookup); err == nil {
			rt.Fatalf("a longer body was accepted\n%s", text)
		}
		other := func(context.Context, string) (string, error) { return secret + "x", nil }
		if _, err := v.Verify(got, read, at, other); err == nil {
			rt.Fatalf("the signature of another secret was accepted\n%s", text)
		}
	})
}

// Every bit of the request is changed in turn. Whatever then says something
// else than before is refused. (The protocol's version, the case of names and a
// zero before the length say nothing else.)
func TestVerify_EveryChangedBitIsRefused(t *testing.T) {
	t.Parallel()
	const document = `{"sortOrder":"ASCENDING"}`
	r := signed(t, document)
	r.URL.Path, r.URL.RawQuery = "/a/b c", "x=1&y=%20z"
	r.Header.Set("User-Agent", "") // is not sent, since Sign does not sign it
	sigv4.Sign(r, []byte(document), keyID, secret, "eu-west-1", "codebuild", now)
	text := wire(t, r)
	says := func(r *http.Request, body []byte) string {
		r.Header.Del("Content-Length") // the body's length says it
		return fmt.Sprint(r.Method, r.RequestURI, r.Host, r.Header, string(body))
	}
	var v sigv4.Verifier
	got, body := receive(t, text)
	if _, err := v.Verify(got, body, now, lookup); err != nil {
		t.Fatalf("unchanged: %v\n%s", err, text)
	}
	said := says(got, body)
	var read int
	for i := range len(text) {
		for bit := range 8 {
			changed := []byte(text)
			changed[i] ^= 1 << bit
			got, body, err := tryReceive(string(changed))
			if err != nil || says(got, body) == said {
				continue
			}
			read++
			if _, err := v.Verify(got, body, now, lookup); err == nil {
				t.Errorf("byte %d, %q for %q, was accepted:\n%s", i, changed[i], text[i], changed)
			}
		}
	}
	if read < 2000 {
		t.Errorf("only %d changed requests could be read: the test proves little", read)
	}
}

func TestVerify_Refused(t *testing.T) {
	t.Parallel()
	resign := func(names ...string) func(*http.Request, []byte) {
		return func(r *http.Request, body []byte) { r.Header.Set("Authorization", naive(r, body, names...)) }
	}
	auth := func(old, new string) func(*http.Request, []byte) {
		return func(r *http.Request, _ []byte) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, old) {
				panic(old + " is not in " + h)
			}
			r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
		}
	}
	set := func(name string, values ...string) func(*http.Request, []byte) {
		return func(r *http.Request, _ []byte) { r.Header[name] = values }
	}
	const (
		missing      = "MissingAuthenticationTokenException"
		incomplete   = "IncompleteSignatureException"
		unrecognized = "UnrecognizedClientException"
		invalid      = "InvalidSignatureException"
	)
	for _, c := range []struct {
		name   string
		change func(r *http.Request, body []byte)
		code   string
		text   string
	}{
		{"no header", func(r *http.Request, _ []byte) { r.Header.Del("Authorization") }, missing, "Missing Authentication Token"},
		{"empty header", set("Authorization", ""), missing, "Missing Authentication Token"},
		{"presigned", func(r *http.Request, _ []byte) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"
		}, missing, "Missing Authentication Token: presigned"},
		{"two headers", func(r *http.Request, _ []byte) {
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
		}, incomplete, "more than one"},

		{"other scheme", set("Authorization", "Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345"), incomplete,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization="},
		{"other algorithm", auth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), incomplete, "Unsupported AWS 'algorithm'"},
		{"algorithm alone", set("Authorization", "AWS4-HMAC-SHA256"), incomplete, "requires 'Credential' parameter. "},
		{"no credential", auth("Credential=AKIDEXAMPLE/20150830/us-east-1/codebuild/aws4_request,", ""), incomplete, "Authorization header requires 'Credential' parameter. (Hashed"},
		{"no signature", auth(",Signature", ",Signature=,X"), incomplete, "parameter"},
		{"empty signature", func(r *http.Request, _ []byte) {
			h, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			r.Header.Set("Authorization", h+"Signature=")
		}, incomplete, "Authorization header requires 'Signature' parameter. (Hashed"},
		{"no signed headers", auth("SignedHeaders=content-type;host;x-amz-date,", ""), incomplete, "Authorization header requires 'SignedHeaders' parameter. (Hashed"},
		{"no date", func(r *http.Request, _ []byte) { r.Header.Del("X-Amz-Date") }, incomplete, "requires existence of either a 'X-Amz-Date' or a 'Date' header. "},
		{"two dates", set("X-Amz-Date", "20150830T123600Z", "20150830T123600Z"), incomplete, "requires existence of either"},
		{"no equal sign", auth("Signature=", "Signature:"), incomplete, "missing equal-sign"},
		{"comma at the end", func(r *http.Request, _ []byte) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+",")
		}, incomplete, "missing equal-sign"},
		{"credential twice", auth("Credential=", "Credential=AKIDOTHER/20150830/us-east-1/codebuild/aws4_request,Credential="), incomplete, "parameter twice"},
		{"unknown parameter", auth("Credential=", "Extra=1,Credential="), incomplete, "parameter twice, or one other"},

		{"four parts", auth("/us-east-1", ""), incomplete, "exactly 5 slash-delimited elements"},
		{"six parts", auth("/us-east-1", "/us-east-1/x"), incomplete, "exactly 5 slash-delimited elements"},
		{"terminator", auth("aws4_request", "aws5_request"), invalid, "valid terminator: 'aws4_request'"},
		{"no region", auth("/us-east-1/", "//"), invalid, "valid region"},
		{"path as region", auth("/us-east-1/", "/../"), invalid, "valid region"},
		{"long region", auth("/us-east-1/", "/"+strings.Repeat("a", 65)+"/"), invalid, "valid region"},
		{"no service", auth("/codebuild/", "//"), invalid, "valid service"},
		{"scope of another day", auth("/20150830/", "/20150829/"), invalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'."},
		{"another region", auth("/us-east-1/", "/us-east-2/"), invalid, mismatch},
		{"another service", auth("/codebuild/", "/logs/"), invalid, mismatch},

		{"date without form", set("X-Amz-Date", "2015-08-30"), incomplete, "Date must be in ISO-8601 'basic format'"},
		{"date with fraction", set("X-Amz-Date", "20150830T123600.5Z"), incomplete, "Date must be in ISO-8601 'basic format'"},
		{"another date", set("X-Amz-Date", "20150830T123601Z"), invalid, mismatch},

		{"host not signed", resign("content-type", "x-amz-date"), invalid, "'Host' or ':authority' must be a 'SignedHeader'"},
		{"date not signed", resign("content-type", "host"), invalid, "'X-Amz-Date' must be a 'SignedHeader'"},
		{"target added on the way", set("X-Amz-Target", "CodeBuild_20161006.DeleteProject"), invalid, "'X-Amz-Target' must be a 'SignedHeader'"},
		{"signed header that is not there", resign("host", "x-amz-date", "x-absent"), invalid, mismatch},
		{"name twice", auth("=content-type;", "=content-type;content-type;"), incomplete, "sorted and not repeated"},
		{"names not sorted", auth("=content-type;host;", "=host;content-type;"), incomplete, "sorted and not repeated"},
		{"capitals", auth("=content-type;", "=Content-Type;"), incomplete, "lower case"},
		{"empty name", auth("=content-type;", "=;content-type;"), incomplete, "names in lower case"},
		{"line break in a name", auth("=content-type;", "=content\ntype;"), incomplete, "names in lower case"},

		{"hash of another body", func(r *http.Request, body []byte) {
			r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64))
			resign("content-type", "host", "x-amz-date", "x-amz-content-sha256")(r, body)
		}, invalid, mismatch},
		{"unsigned payload", func(r *http.Request, body []byte) {
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			resign("content-type", "host", "x-amz-date", "x-amz-content-sha256")(r, body)
		}, invalid, mismatch},

		{"unknown key", auth("=AKIDEXAMPLE/", "=AKIDOTHER/"), unrecognized, "The security token included in the request is invalid."},
		{"impossible key", auth("=AKIDEXAMPLE/", "=AKID'EXAMPLE/"), unrecognized, "The security token included in the request is invalid."},
		{"endless key", auth("=AKIDEXAMPLE/", "="+strings.Repeat("A", 129)+"/"), unrecognized, "The security token included in the request is invalid."},
		{"temporary credentials", func(r *http.Request, body []byte) {
			r.Header.Set("X-Amz-Security-Token", "FwoGZXIvYXdzE")
			resign("content-type", "host", "x-amz-date", "x-amz-security-token")(r, body)
		}, unrecognized, "The security token included in the request is invalid."},

		{"another signature", auth("Signature=", "Signature=0"), invalid, mismatch},
		{"short signature", set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/codebuild/aws4_request,SignedHeaders=host;x-amz-date,Signature=00"), invalid, mismatch},
		{"query that cannot be read", func(r *http.Request, _ []byte) { r.URL.RawQuery = "a=%zz" }, invalid, mismatch},
		{"another method", func(r *http.Request, _ []byte) { r.Method = "PUT" }, invalid, mismatch},
		{"another host", func(r *http.Request, _ []byte) { r.Host = "localhost" }, invalid, mismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, body := receive(t, "POST / HTTP/1.1\nHost: localhost:8080\nContent-Type: application/x-amz-json-1.1\nContent-Length: 2\nX-Amz-Date: 20150830T123600Z\n\n{}")
			r.Header.Set("Authorization", naive(r, body, "content-type", "host", "x-amz-date"))
			var v sigv4.Verifier
			if _, err := v.Verify(r, body, now, lookup); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			c.change(r, body)
			id, err := v.Verify(r, body, now, lookup)
			wantRefusal(t, err, c.code, c.text)
			if id != (sigv4.Identity{}) {
				t.Errorf("identity %+v beside the error", id)
			}
			if err != nil && strings.Contains(err.Error(), "ghp_") {
				t.Errorf("the error repeats the header: %v", err)
			}
		})
	}
}

func TestVerify_Skew(t *testing.T) {
	t.Parallel()
	r, body := receive(t, wire(t, signed(t, `{}`)))
	var v sigv4.Verifier
	for _, c := range []struct {
		clock time.Time
		want  string // "" is accepted
	}{
		{now.Add(15 * time.Minute), ""},
		{now.Add(15*time.Minute + 999*time.Millisecond), ""},
		{now.Add(-15 * time.Minute), ""},
		{now.Add(15*time.Minute + time.Second), "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"},
		{now.Add(-15*time.Minute - time.Second), "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"},
		{now.AddDate(1, 0, 0), "Signature expired"},
		// The clock's zone does not matter.
		{now.Add(time.Minute).In(time.FixedZone("east", 9*3600)), ""},
	} {
		_, err := v.Verify(r, body, c.clock, lookup)
		if c.want == "" {
			if err != nil {
				t.Errorf("clock %v: %v", c.clock, err)
			}
			continue
		}
		wantRefusal(t, err, "InvalidSignatureException", c.want)
	}
}

// A request of last night, checked this morning: scope and date agree.
func TestVerify_OverMidnight(t *testing.T) {
	t.Parallel()
	late := time.Date(2026, 12, 31, 23, 59, 50, 0, time.UTC)
	r := signed(t, `{}`)
	sigv4.Sign(r, []byte(`{}`), keyID, secret, "eu-west-1", "codebuild", late)
	var v sigv4.Verifier
	if _, err := v.Verify(r, []byte(`{}`), late.Add(time.Minute), lookup); err != nil {
		t.Error(err)
	}
}

// A key that is deleted or replaced is refused from the next request on, though
// what was derived from it is remembered.
func TestVerify_KeyReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	r, body := receive(t, wire(t, signed(t, `{}`)))
	var v sigv4.Verifier
	if _, err := v.Verify(r, body, now, lookup); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(r, body, now, func(context.Context, string) (string, error) { return "another secret", nil })
	wantRefusal(t, err, "InvalidSignatureException", mismatch)
	_, err = v.Verify(r, body, now, func(context.Context, string) (string, error) { return "", sigv4.ErrUnknownKey })
	wantRefusal(t, err, "UnrecognizedClientException", "security token")
	if _, err := v.Verify(r, body, now, lookup); err != nil {
		t.Errorf("the key is back: %v", err)
	}
}

// An error of the store is ours, not the caller's.
func TestVerify_LookupFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	var v sigv4.Verifier
	_, err := v.Verify(signed(t, `{}`), []byte(`{}`), now, func(context.Context, string) (string, error) { return "", broken })
	var refusal *sigv4.Error
	if !errors.Is(err, broken) || errors.As(err, &refusal) {
		t.Errorf("error %v, want one that wraps %q and is no refusal", err, broken)
	}
}

func TestVerify_LookupOnlyWhenWorthIt(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "the request's")
	var v sigv4.Verifier
	var calls int
	count := func(ctx context.Context, id string) (string, error) {
		calls++
		if ctx.Value(key{}) == nil {
			t.Error("lookup got another context than the request's")
		}
		return lookup(ctx, id)
	}
	r := signed(t, `{}`).WithContext(ctx)
	if _, err := v.Verify(r, []byte(`{}`), now.Add(time.Hour), count); err == nil || calls != 0 {
		t.Errorf("expired: %v after %d lookups; want none", err, calls)
	}
	if _, err := v.Verify(r, []byte(`{}`), now, count); err != nil || calls != 1 {
		t.Errorf("valid: %v after %d lookups; want 1", err, calls)
	}
}

func TestVerify_Concurrent(t *testing.T) {
	t.Parallel()
	var v sigv4.Verifier
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() { // ends after its requests
			for i := range 50 {
				r := signed(t, `{}`)
				sigv4.Sign(r, []byte(`{}`), keyID, secret, fmt.Sprintf("r-%d", (g+i)%5), "codebuild", now)
				if _, err := v.Verify(r, []byte(`{}`), now, lookup); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestError_Query(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"MissingAuthenticationTokenException": "MissingAuthenticationToken",
		"IncompleteSignatureException":        "IncompleteSignature",
		"UnrecognizedClientException":         "InvalidClientTokenId",
		"InvalidSignatureException":           "SignatureDoesNotMatch",
	}
	got := map[string]string{}
	for code := range want {
		e := &sigv4.Error{Code: code, Message: "text"}
		query, status := e.Query()
		got[code] = query
		if status != 403 || e.HTTPStatus() != 400 || e.ErrorCode() != code || e.ErrorMessage() != "text" || e.Error() != code+": text" {
			t.Errorf("%s: query status %d, status %d, code %q, message %q, error %q", code, status, e.HTTPStatus(), e.ErrorCode(), e.ErrorMessage(), e)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("codes of the query protocol (-want +got):\n%s", d)
	}
}

// Nobody guesses a signature, and nothing that can be written into these
// headers makes Verify panic or say yes.
func FuzzVerify(f *testing.F) {
	r := signed(f, `{}`)
	valid := r.Header.Get("Authorization")
	f.Add(valid[:len(valid)-1]+"g", "20150830T123600Z", "a=b")
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/s/aws4_request,SignedHeaders=host;x-amz-date,Signature=0", "20150830T123600Z", "%zz")
	f.Add("AWS4-HMAC-SHA256 ,,=,Credential", "", "")
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		if auth == valid {
			t.Skip()
		}
		r, err := http.NewRequest("POST", "http://localhost/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		r.URL.RawQuery = query
		var v sigv4.Verifier
		_, err = v.Verify(r, nil, now, lookup)
		var e *sigv4.Error
		if !errors.As(err, &e) || e.Message == "" {
			t.Fatalf("Verify of %q: %v; want a refusal", auth, err)
		}
	})
}

func benchRequest(b *testing.B, size int) (*http.Request, []byte) {
	body := bytes.Repeat([]byte("x"), size)
	r, err := http.NewRequest("POST", "http://127.0.0.1:8080/", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "CodeBuild_20161006.CreateProject")
	r.Header.Set("Amz-Sdk-Invocation-Id", "11111111-2222-3333-4444-555555555555")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	h := sha256.Sum256(body)
	err = awsv4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, hex.EncodeToString(h[:]), "codebuild", "us-east-1", now)
	if err != nil {
		b.Fatal(err)
	}
	return r, body
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{100, 2125, 8 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			r, body := benchRequest(b, size)
			var v sigv4.Verifier
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r, body, now, lookup); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("body=100/key-not-remembered", func(b *testing.B) {
		r, body := benchRequest(b, 100)
		b.ReportAllocs()
		for b.Loop() {
			var v sigv4.Verifier
			if _, err := v.Verify(r, body, now, lookup); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	r, body := benchRequest(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		sigv4.Sign(r, body, keyID, secret, "us-east-1", "codebuild", now)
	}
}
