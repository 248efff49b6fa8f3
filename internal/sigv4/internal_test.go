package sigv4

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The derivation's example of the IAM User Guide.
func TestDeriveKey(t *testing.T) {
	t.Parallel()
	key := deriveKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
	const want = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
	if got := fmt.Sprintf("%x", key); got != want {
		t.Errorf("deriveKey = %s, want %s", got, want)
	}
}

// The remembered keys are bounded, and strangers cannot add to them.
func TestVerifier_RemembersFewKeys(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	lookup := func(context.Context, string) (string, error) { return "secret", nil }
	var v Verifier
	try := func(secret, region string) error {
		r, err := http.NewRequest("POST", "http://localhost/", nil)
		if err != nil {
			t.Fatal(err)
		}
		Sign(r, nil, "AKIDEXAMPLE", secret, region, "codebuild", now)
		_, err = v.Verify(r, nil, now, lookup)
		return err
	}
	for i := range 10 {
		if err := try("wrong", fmt.Sprint("r-", i)); err == nil {
			t.Fatal("a wrong signature was accepted")
		}
	}
	if len(v.keys) != 0 {
		t.Errorf("wrong signatures left %d keys behind", len(v.keys))
	}
	for i := range maxKeys + 10 {
		if err := try("secret", fmt.Sprint("r-", i)); err != nil {
			t.Fatal(err)
		}
		if len(v.keys) > maxKeys {
			t.Fatalf("%d keys are remembered; the limit is %d", len(v.keys), maxKeys)
		}
	}
	if len(v.keys) == 0 {
		t.Error("no key is remembered")
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d67")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=host,Signature=0")
	f.Add("AWS4-HMAC-SHA256 ,=,")
	f.Add("Basic dXNlcjpwYXNz")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := parseAuthorization(header, true)
		if err != nil {
			if a.keyID != "" || a.names != nil {
				t.Fatalf("%q: %+v beside error %v", header, a, err)
			}
			return
		}
		if a.scope != a.date+"/"+a.region+"/"+a.service+"/"+terminator || a.signature == "" {
			t.Fatalf("%q: %+v", header, a)
		}
		if strings.Trim(a.region+a.service, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || a.region == "" || a.service == "" {
			t.Fatalf("%q: region %q, service %q", header, a.region, a.service)
		}
		if len(slices.Compact(slices.Clone(a.names))) != len(a.names) || !slices.IsSorted(a.names) || a.names[0] == "" {
			t.Fatalf("%q: signed headers %q", header, a.names)
		}
		// Written again in the usual form, it is the same.
		again, err := parseAuthorization(algorithm+" Credential="+a.keyID+"/"+a.scope+", SignedHeaders="+strings.Join(a.names, ";")+", Signature="+a.signature, true)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(a) {
			t.Fatalf("%q: %+v, read again %+v, %v", header, a, again, err)
		}
	})
}
