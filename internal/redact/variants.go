package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// variants lists the forms of a secret that are replaced. Of one that has
// lines, each line counts too; and since its line ends are not searched for,
// it is found with any or none of them.
func variants(secret string) []string {
	secret = strings.Trim(secret, " \t\r\n")
	texts := []string{secret}
	if strings.ContainsAny(secret, "\r\n") {
		unix := strings.ReplaceAll(secret, "\r\n", "\n")
		texts = append(texts, unix, strings.ReplaceAll(unix, "\n", "\r\n"))
		for line := range strings.SplitSeq(unix, "\n") {
			texts = append(texts, strings.Trim(line, " \t\r"))
		}
	}
	var all []string
	for _, s := range texts {
		if len(s) < minLength {
			continue
		}
		all = append(all, s)
		all = append(all, base64Forms(s)...)
		all = append(all,
			hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
			url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(url.QueryEscape(s), "+", "%20"),
			quoted(json.Marshal(s)), quoted(plainJSON(s)), quoted([]byte(strconv.Quote(s)), nil),
			strings.ReplaceAll(s, "'", `'\''`),
			html.EscapeString(s), xmlText.Replace(s), xmlNamed.Replace(s),
			strings.ReplaceAll(s, "$", "$$")) // in Makefiles and Jenkinsfiles
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// XML writers differ in what they escape.
var (
	xmlText  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	xmlNamed = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")
)

// quoted returns what is between the quotes.
func quoted(q []byte, err error) string {
	if err != nil {
		return "" // a string always has a JSON form
	}
	return string(q[1 : len(q)-1])
}

// plainJSON is JSON as most languages write it, without Go's escapes for HTML.
func plainJSON(s string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// base64Forms are the characters that a secret alone determines when it is
// encoded at each of the three alignments within a longer text, such as
// user:token. Those that share bits with what stands around it are left out.
func base64Forms(s string) (out []string) {
	for shift := range 3 {
		padded := append(make([]byte, shift), s...)
		from := (shift*8 + 5) / 6 // the first character with none of the padding's bits
		to := len(padded) * 8 / 6 // behind the last one that is whole
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			out = append(out, enc.EncodeToString(padded)[from:to])
		}
	}
	return out
}

// maxShape bounds what looks like a token, in bytes.
const maxShape = 512

// A shape is what the tokens of a provider look like: a prefix and at least
// min characters of an alphabet. It is not searched for across lines.
type shape struct {
	prefix string
	min    int
	in     func(byte) bool
}

// shapes are those that the providers document, with the shortest lengths a
// little below the real ones. Sources: GitHub, "About authentication to
// GitHub", token formats; GitLab, "Token overview", token prefixes; Atlassian,
// "Using API tokens" and "App passwords"; AWS, IAM identifiers, unique ID
// prefixes. An AWS access key id is no secret by itself, but stands beside
// one.
var shapes = []shape{
	{"ghp_", 20, word}, {"gho_", 20, word}, {"ghu_", 20, word}, {"ghs_", 20, word}, {"ghr_", 20, word}, {"github_pat_", 20, word},
	{"glpat-", 16, word}, {"glrt-", 16, word},
	{"ATBB", 24, word}, {"ATATT", 24, word}, {"ATCTT", 24, word},
	{"AKIA", 16, upper}, {"ASIA", 16, upper},
}

func word(c byte) bool { return upper(c) || c >= 'a' && c <= 'z' || c == '_' || c == '-' }

func upper(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// match returns the length of the token that text begins with, or 0. more
// says that text may end within one.
func (s shape) match(text []byte) (n int, more bool) {
	if len(text) < len(s.prefix) {
		return 0, string(text) == s.prefix[:len(text)]
	}
	if string(text[:len(s.prefix)]) != s.prefix {
		return 0, false
	}
	n = len(s.prefix)
	for n < len(text) && n < maxShape && s.in(text[n]) {
		n++
	}
	more = n == len(text) && n < maxShape
	if n-len(s.prefix) < s.min {
		n = 0
	}
	return n, more
}
