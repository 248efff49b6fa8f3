package sigv4

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Verifier checks signed requests. The zero value is ready; it is safe for
// concurrent use. It remembers derived keys, which are half the cost of
// checking a small request, and nothing else: the caller's lookup is asked for
// every request.
type Verifier struct {
	mu   sync.RWMutex
	keys map[scopeKey][sha256.Size]byte
}

// A scopeKey names a derived key. The secret is part of the name, so the key
// of a secret that was replaced is never found again.
type scopeKey struct{ secret, date, region, service string }

// maxKeys bounds the remembered keys, about 200 bytes each. A key is used for
// a day in one region and service; only valid signatures leave one behind.
const maxKeys = 1024

// Verify checks the signature of r, whose body is body, against the server's
// clock. The body must be read whole; r.Body is not touched. lookup returns
// the secret of an access key, or ErrUnknownKey; it is called at most once,
// with r's context and an id of 1 to 128 letters, digits and underscores, and
// only if all that can be checked without the secret is in order.
//
// The error is an *Error, or whatever else lookup returned.
func (v *Verifier) Verify(r *http.Request, body []byte, now time.Time, lookup func(ctx context.Context, accessKeyID string) (secret string, err error)) (Identity, error) {
	headers := r.Header["Authorization"]
	if len(headers) == 0 || len(headers) == 1 && headers[0] == "" {
		if strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
			return Identity{}, refuse(codeMissing, "Missing Authentication Token: presigned requests are not accepted here, sign in the Authorization header")
		}
		return Identity{}, refuse(codeMissing, "Missing Authentication Token")
	}
	if len(headers) > 1 {
		return Identity{}, refuse(codeIncomplete, "There is more than one Authorization header")
	}
	date, dateHeader := requestDate(r)
	a, err := parseAuthorization(headers[0], date != "")
	if err != nil {
		return Identity{}, err
	}
	id := Identity{AccessKeyID: a.keyID, Region: a.region, Service: a.service}
	if id.Date, err = checkDate(date, now); err != nil {
		return Identity{}, err
	}
	date = id.Date.Format(isoBasic)
	if a.date != date[:8] {
		return Identity{}, refuse(codeInvalid, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			a.date+"' != '"+date[:8]+"', from '"+date+"'.")
	}
	if err := checkSigned(r, a.names, dateHeader); err != nil {
		return Identity{}, err
	}
	hash := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(hash[:])
	for _, claimed := range r.Header["X-Amz-Content-Sha256"] {
		if claimed != bodyHash {
			return Identity{}, errMismatch
		}
	}

	// There are no temporary credentials, so a session token belongs to none.
	if len(r.Header["X-Amz-Security-Token"]) > 0 || !isKeyID(a.keyID) {
		return Identity{}, errUnrecognized
	}
	secret, err := lookup(r.Context(), a.keyID)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return Identity{}, errUnrecognized
	case err != nil:
		return Identity{}, fmt.Errorf("look up access key %s: %w", a.keyID, err)
	}
	name := scopeKey{secret, a.date, a.region, a.service}
	v.mu.RLock()
	key, cached := v.keys[name]
	v.mu.RUnlock()
	if !cached {
		key = deriveKey(secret, a.date, a.region, a.service)
	}
	want, ok := signature(r, &key, date, a.scope, a.names, bodyHash)
	if !ok || subtle.ConstantTimeCompare(want[:], []byte(a.signature)) != 1 {
		return Identity{}, errMismatch
	}
	if !cached {
		v.remember(name, key)
	}
	return id, nil
}

// remember keeps a derived key. When there are too many it forgets all: that
// is rare, and costs each scope one derivation.
func (v *Verifier) remember(name scopeKey, key [sha256.Size]byte) {
	// The parts of the name lie in the request's header, which should not
	// live as long as they do.
	name.date, name.region, name.service = strings.Clone(name.date), strings.Clone(name.region), strings.Clone(name.service)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil || len(v.keys) >= maxKeys {
		v.keys = make(map[scopeKey][sha256.Size]byte)
	}
	v.keys[name] = key
}

var (
	errMismatch = refuse(codeInvalid, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	errUnrecognized = refuse(codeUnrecognized, "The security token included in the request is invalid.")
)

// An authorization is an Authorization header taken apart.
type authorization struct {
	keyID, date, region, service string
	scope                        string   // date/region/service/aws4_request
	names                        []string // the signed headers: sorted, lower case
	signature                    string
}

// parseAuthorization reads an Authorization header. hasDate only adds to the
// text of the error: AWS says all that is missing at once. As there, the text
// has a hash of the header in place of the header, which may be somebody's
// password in the wrong scheme.
func parseAuthorization(header string, hasDate bool) (authorization, error) {
	scheme, rest, _ := strings.Cut(strings.TrimLeft(header, " "), " ")
	if scheme != algorithm {
		if strings.HasPrefix(scheme, "AWS4-") {
			return authorization{}, refuse(codeIncomplete, "Unsupported AWS 'algorithm': only "+algorithm+" is supported.")
		}
		rest = ""
	}
	var credential, signed, sig string
	if strings.Trim(rest, " ") != "" {
		for part := range strings.SplitSeq(rest, ",") {
			name, value, ok := strings.Cut(strings.Trim(part, " "), "=")
			if !ok {
				return authorization{}, refuse(codeIncomplete, "Invalid key=value pair (missing equal-sign) in Authorization header "+
					"(hashed with SHA-256 and encoded with Base64): '"+fingerprint(header)+"'.")
			}
			var dst *string
			switch name {
			case "Credential":
				dst = &credential
			case "SignedHeaders":
				dst = &signed
			case "Signature":
				dst = &sig
			}
			if dst == nil || *dst != "" {
				return authorization{}, refuse(codeIncomplete, "Authorization header has a parameter twice, or one other than Credential, SignedHeaders and Signature.")
			}
			*dst = value
		}
	}
	var missing strings.Builder
	for _, p := range [...]struct{ name, value string }{{"Credential", credential}, {"Signature", sig}, {"SignedHeaders", signed}} {
		if p.value == "" {
			missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if !hasDate {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() > 0 {
		return authorization{}, refuse(codeIncomplete, missing.String()+"(Hashed with SHA-256 and encoded with Base64) Authorization="+fingerprint(header))
	}

	a := authorization{names: strings.Split(signed, ";"), signature: sig}
	if strings.Count(credential, "/") != 4 {
		return authorization{}, refuse(codeIncomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term")
	}
	a.keyID, a.scope, _ = strings.Cut(credential, "/")
	a.date, rest, _ = strings.Cut(a.scope, "/")
	a.region, rest, _ = strings.Cut(rest, "/")
	a.service, rest, _ = strings.Cut(rest, "/")
	switch {
	case rest != terminator:
		return authorization{}, refuse(codeInvalid, "Credential should be scoped with a valid terminator: '"+terminator+"'.")
	case !isLabel(a.region):
		return authorization{}, refuse(codeInvalid, "Credential should be scoped to a valid region.")
	case !isLabel(a.service):
		return authorization{}, refuse(codeInvalid, "Credential should be scoped to a valid service.")
	}
	for i, name := range a.names {
		// AWS calculates another signature here and says no more than that.
		if !isHeaderName(name) || i > 0 && a.names[i-1] >= name {
			return authorization{}, refuse(codeIncomplete, "SignedHeaders must be names in lower case, sorted and not repeated.")
		}
	}
	return a, nil
}

func fingerprint(header string) string {
	h := sha256.Sum256([]byte(header))
	return base64.StdEncoding.EncodeToString(h[:])
}

// requestDate returns the date that was signed, as it was written, and the
// header it is in. Two such headers are none.
func requestDate(r *http.Request) (date, header string) {
	header = "X-Amz-Date"
	if len(r.Header[header]) == 0 {
		header = "Date"
	}
	if values := r.Header[header]; len(values) == 1 {
		date = values[0]
	}
	return date, header
}

// checkDate reads a date, which in a Date header may also be in HTTP's own
// form, and compares it with the clock.
func checkDate(date string, now time.Time) (time.Time, error) {
	t, err := time.Parse(isoBasic, date)
	if err == nil && len(date) != len(isoBasic) {
		err = errors.New("it has a fraction") // which Parse lets pass
	}
	if err != nil {
		t, err = http.ParseTime(date)
	}
	if err != nil {
		return t, refuse(codeIncomplete, "Date must be in ISO-8601 'basic format', such as 20150830T123600Z. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	t, now = t.UTC(), now.UTC().Truncate(time.Second)
	if limit := now.Add(-Skew); t.Before(limit) {
		return t, refuse(codeInvalid, "Signature expired: "+t.Format(isoBasic)+" is now earlier than "+limit.Format(isoBasic)+" ("+now.Format(isoBasic)+" - 15 min.)")
	}
	if limit := now.Add(Skew); t.After(limit) {
		return t, refuse(codeInvalid, "Signature not yet current: "+t.Format(isoBasic)+" is still later than "+limit.Format(isoBasic)+" ("+now.Format(isoBasic)+" + 15 min.)")
	}
	return t, nil
}

// checkSigned makes sure that what must be signed is.
func checkSigned(r *http.Request, names []string, dateHeader string) error {
	if _, ok := slices.BinarySearch(names, "host"); !ok {
		return refuse(codeInvalid, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if name != dateHeader && !strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		if _, ok := slices.BinarySearch(names, strings.ToLower(name)); !ok {
			return refuse(codeInvalid, "'"+name+"' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return nil
}

// isLabel tells whether s is a possible region or service: it becomes part of
// ARNs and keys of the store.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 64
}

// isKeyID tells whether s is a possible access key id.
// Source: IAM API reference, accessKeyIdType (\w, at most 128).
func isKeyID(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 128
}

// isHeaderName tells whether s is a header's name in lower case. The
// characters are those of RFC 9110, 5.6.2, without the capitals.
func isHeaderName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
