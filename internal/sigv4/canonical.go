package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// signature computes what the signature of r is, in lower-case hex. date is in
// isoBasic, scope is date/region/service/aws4_request, names are the signed
// headers, sorted. ok is false when a signed header is not there or the query
// cannot be read; such a request has no signature.
func signature(r *http.Request, key *[sha256.Size]byte, date, scope string, names []string, bodyHash string) (sig [2 * sha256.Size]byte, ok bool) {
	b := make([]byte, 0, 1024)
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.URL)
	b = append(b, '\n')
	if b, ok = appendQuery(b, r.URL.RawQuery); !ok {
		return sig, false
	}
	b = append(b, '\n')
	for _, name := range names {
		b = append(b, name...)
		b = append(b, ':')
		if b, ok = appendHeader(b, r, name); !ok {
			return sig, false
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range names {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	b = append(b, bodyHash...)

	canonical := sha256.Sum256(b)
	b = append(b[:0], algorithm+"\n"...)
	b = append(b, date...)
	b = append(b, '\n')
	b = append(b, scope...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, canonical[:])
	mac := sum(key[:], b)
	hex.Encode(sig[:], mac[:])
	return sig, true
}

// appendHeader writes the value of a header as it is signed: repeated headers
// joined by commas, the ends trimmed, runs of spaces folded. Three headers are
// not where the others are, since net/http takes them out.
func appendHeader(b []byte, r *http.Request, name string) (_ []byte, ok bool) {
	switch name {
	case "host":
		if r.Host != "" {
			return append(b, r.Host...), true
		}
		return append(b, r.URL.Host...), r.URL.Host != "" // a client's request
	case "content-length":
		return strconv.AppendInt(b, r.ContentLength, 10), r.ContentLength >= 0
	case "transfer-encoding":
		return append(b, strings.Join(r.TransferEncoding, ",")...), len(r.TransferEncoding) > 0
	}
	values := r.Header.Values(name)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFolded(b, strings.Trim(v, " \t"))
	}
	return b, len(values) > 0
}

func appendFolded(b []byte, v string) []byte {
	for {
		i := strings.Index(v, "  ")
		if i < 0 {
			return append(b, v...)
		}
		b = append(b, v[:i+1]...)
		v = strings.TrimLeft(v[i:], " ")
	}
}

// appendPath writes the path without empty and dot segments, encoded a second
// time, as every service but S3 has it.
func appendPath(b []byte, u *url.URL) []byte {
	p := u.EscapedPath()
	if p == "" || p == "/" {
		return append(b, '/')
	}
	clean := path.Clean("/" + p)
	b = appendEscaped(b, clean, true)
	if strings.HasSuffix(p, "/") && clean != "/" {
		b = append(b, '/')
	}
	return b
}

// appendQuery writes the parameters, encoded anew and sorted by name and then
// value, both in their encoded form.
func appendQuery(b []byte, raw string) (_ []byte, ok bool) {
	if raw == "" {
		return b, true
	}
	type parameter struct{ name, value string }
	var all []parameter
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return b, false
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return b, false
		}
		all = append(all, parameter{string(appendEscaped(nil, name, false)), string(appendEscaped(nil, value, false))})
	}
	slices.SortFunc(all, func(x, y parameter) int {
		if c := strings.Compare(x.name, y.name); c != 0 {
			return c
		}
		return strings.Compare(x.value, y.value)
	})
	for i, p := range all {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b, true
}

// appendEscaped percent-encodes everything but RFC 3986's unreserved
// characters and, in a path, slashes. Package url leaves more as it is.
func appendEscaped(b []byte, s string, slash bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && slash:
			b = append(b, c)
		default:
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return b
}
