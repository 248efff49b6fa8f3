package forge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/corbel-build/corbel/api"
)

// REST calls one host's API with one token, for adapters of providers whose
// client libraries do not keep the promises of Forge (no second try, no
// further calls, an end by the context).
type REST struct {
	Transport http.RoundTripper
	Host      Host
	Token     api.Secret
	Sign      func(*http.Request) // puts the token into a header
	// Hide are further secrets that Clean takes out of a provider's words,
	// such as that of a hook. Like a token they have no place in an error.
	Hide []api.Secret
}

// A Reply is what a provider said, whatever it was.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte // at most 8 MiB
}

const (
	// pause is how long to wait after a limit that names no time.
	pause = time.Minute
	// maxText bounds what is repeated of a provider's words, in characters.
	maxText = 200
	// maxPages bounds a list that is read to its end.
	maxPages = 100
	// maxPage bounds the number of a page that somebody asks for.
	maxPage = 1 << 20
)

// Do sends a request to a path below the host's API, with in as JSON unless it
// is nil. It returns an *Error of kind ErrUnreachable if there was no answer,
// or one that says nothing about the request: a limit, a fault of the server,
// a redirect elsewhere.
func (c REST) Do(ctx context.Context, method, path string, in any) (*Reply, error) {
	return c.do(ctx, method, path, in, "")
}

// Get asks for a path below the host's API. With etag, which is the header of
// that name of a former answer, an answer that is the same has status 304 and
// no body. The error is that of Do.
func (c REST) Get(ctx context.Context, path, etag string) (*Reply, error) {
	return c.do(ctx, http.MethodGet, path, nil, etag)
}

// Pages gets path and then each path that read finds in the answer before,
// until that is "". A list of more than 100 pages is an error, which is no use
// to repeat.
func (c REST) Pages(ctx context.Context, path string, read func(*Reply) (next string, err error)) error {
	for range maxPages {
		a, err := c.Get(ctx, path, "")
		if err != nil {
			return err
		}
		if path, err = read(a); err != nil || path == "" {
			return err
		}
	}
	return c.Failed("the list has more than %d pages, which are not read", maxPages)
}

// Page reads the number of a page, 1 for "". doing is what for.
func (c REST) Page(doing, page string) (int, error) {
	n, err := strconv.Atoi(cmp.Or(page, "1"))
	if err != nil || n < 1 || n > maxPage {
		return 0, c.Failed("%s: there is no page %q", doing, page)
	}
	return n, nil
}

// Below returns the path below the host's API of an address that an answer
// names, for Do and Get. The error is for one that is elsewhere: a token stays
// at its host.
func (c REST) Below(address string) (string, error) {
	if path, ok := strings.CutPrefix(address, c.Host.API); ok && strings.HasPrefix(path, "/") {
		return path, nil
	}
	e := c.Unreachable("it continues a list at another address than %s, which was not followed: a token stays at its host", c.Host.API)
	e.Worthwhile = false
	return "", e
}

func (c REST) do(ctx context.Context, method, path string, in any, etag string) (*Reply, error) {
	if c.Host.API == "" {
		return nil, &Error{Host: c.Host.Name, Text: "no address of an API is known for it; list the host with corbel hosts"}
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode a request to %s: %w", c.Host.Name, err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.Host.API+path, body)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", c.Host.Name, err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "corbel")
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	c.Sign(r)
	res, err := Client(c.Transport, c.Host).Do(r)
	if err != nil {
		return nil, c.silent(err)
	}
	defer res.Body.Close()
	a := &Reply{Status: res.StatusCode, Header: res.Header}
	if a.Body, err = io.ReadAll(res.Body); err != nil {
		return nil, c.silent(err)
	}
	if etag != "" && a.Status == http.StatusNotModified {
		return a, nil
	}
	return a, c.trouble(a)
}

// silent is the error of a call without an answer.
func (c REST) silent(err error) *Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address
	}
	e := c.Unreachable("no answer: %s", c.Clean(err.Error()))
	e.Cause = err
	if errors.Is(err, context.DeadlineExceeded) {
		e.Text = "no answer in time"
	}
	e.Worthwhile = !errors.Is(err, ErrRedirect)
	return e
}

// trouble is nil if the answer is about the request.
func (c REST) trouble(a *Reply) error {
	after := a.Header.Get("Retry-After")
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable && after != "", a.Status == http.StatusForbidden && after != "":
		e := c.Unreachable("asked to wait: status %d", a.Status)
		e.After = pause
		if s, err := strconv.Atoi(after); err == nil && s >= 0 {
			e.After = time.Duration(s) * time.Second
		} else if at, err := http.ParseTime(after); err == nil {
			e.After = max(time.Until(at), time.Second)
		} else if reset, err := strconv.ParseInt(a.Header.Get("RateLimit-Reset"), 10, 64); err == nil {
			e.After = max(time.Until(time.Unix(reset, 0)), 0) + time.Second
		}
		return e
	case a.Status >= 500 || a.Status == http.StatusRequestTimeout:
		return c.Unreachable("the server has a problem: status %d", a.Status)
	case a.Status >= 300 && a.Status < 400:
		e := c.Unreachable("it redirects, which was not followed: a token stays at its host")
		e.Worthwhile = false
		return e
	}
	return nil
}

// Unreachable is the error of a question that was not answered.
func (c REST) Unreachable(format string, args ...any) *Error {
	return &Error{Kind: ErrUnreachable, Host: c.Host.Name, Text: fmt.Sprintf(format, args...), Again: Again{Worthwhile: true}}
}

// Refused is the error of a token that the provider knows as bad.
func (c REST) Refused(format string, args ...any) *Error {
	return &Error{Kind: ErrRefused, Host: c.Host.Name, Text: "the token is refused: " + fmt.Sprintf(format, args...)}
}

// Failed is the error of a call that is no use to repeat.
func (c REST) Failed(format string, args ...any) *Error {
	return &Error{Host: c.Host.Name, Text: fmt.Sprintf(format, args...)}
}

// Strange is the error of an answer that is not the provider's.
func (c REST) Strange(provider string, a *Reply) *Error {
	return c.Unreachable("the answer (status %d) is not one of %s's API; is %s the right address?", a.Status, provider, c.Host.API)
}

// Clean makes another's words fit to be shown: short, on one line, without the
// token and what else is to be hidden, and without a full stop, since the
// sentence goes on.
func (c REST) Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	for _, secret := range append([]api.Secret{c.Token}, c.Hide...) {
		if t := secret.Reveal(); t != "" {
			text = strings.ReplaceAll(text, t, "***")
		}
	}
	return Cut(strings.TrimSuffix(text, "."), maxText)
}

// Cut shortens s to n characters, the last of which then is an ellipsis.
func Cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Key is s where it has at most n characters, and else a hash of it that has:
// texts that differ give keys that differ.
func Key(s string, n int) string {
	if len([]rune(s)) <= n {
		return s
	}
	h := sha256.Sum256([]byte(s))
	key := hex.EncodeToString(h[:])
	return key[:min(n, len(key))]
}

// Label is s where it has at most n characters, and else its beginning with a part
// of its hash: texts that differ give labels that differ. n is above 17.
func Label(s string, n int) string {
	if len([]rune(s)) <= n {
		return s
	}
	const hash = 16
	return Cut(s, n-hash) + Key(s, hash)
}

// Remaining reads how many requests are left from the first of the headers
// that tells, -1 if none does.
func (a *Reply) Remaining(headers ...string) int {
	for _, h := range headers {
		if n, err := strconv.Atoi(a.Header.Get(h)); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// Decode reads the answer's document. It is lenient: what is absent or of
// another type than expected is as if the provider had not said it.
func (a *Reply) Decode(v any) bool { return json.Unmarshal(a.Body, v) == nil }

// Cut reports whether the answer is a JSON object that is longer than what is
// read of one, so that Decode fails.
func (a *Reply) Cut() bool { return len(a.Body) >= maxAnswer && a.Body[0] == '{' }

// CheckToken says why a text cannot be a token, before it becomes a header.
func (c REST) CheckToken() error {
	if strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &Error{Kind: ErrRefused, Host: c.Host.Name, Text: "this is not a token: it contains a space, a line break or another character that tokens do not have. Copy it again"}
	}
	return nil
}

// CheckStatus checks what a status is given for: repo as owner/name, where
// groups lets the owner be a path, and the status itself.
func (c REST) CheckStatus(repo string, groups bool, s Status) error {
	const doing = "set commit status"
	if err := c.CheckName(doing, repo, groups); err != nil {
		return err
	}
	if err := c.CheckCommit(doing, s.SHA); err != nil {
		return err
	}
	switch s.State {
	case Pending, Success, Failure, Fault:
		return nil
	}
	return c.Failed("%s: there is no state %q", doing, s.State)
}

// CheckName checks that repo is owner/name, where groups lets the owner be a
// path, before it becomes a part of an address. doing is what for.
func (c REST) CheckName(doing, repo string, groups bool) error {
	parts := strings.Split(repo, "/")
	bad := len(parts) < 2 || len(parts) > 2 && !groups
	for i, p := range parts {
		bad = bad || !segment(owner(i, p))
	}
	if bad {
		return c.Failed("%s: repository %q is not owner/name", doing, repo)
	}
	return nil
}

// owner is a part of a name without the tilde that the first may begin with.
func owner(i int, part string) string {
	if i == 0 {
		return strings.TrimPrefix(part, "~")
	}
	return part
}

// CheckOwner checks the name of an organization, or of a group with its
// parents, as CheckName does.
func (c REST) CheckOwner(doing, name string) error {
	for i, p := range strings.Split(name, "/") {
		if !segment(owner(i, p)) {
			return c.Failed("%s: %q is not the name of an owner", doing, name)
		}
	}
	return nil
}

// CheckCommit checks that sha is the full id of a commit, as CheckName does.
func (c REST) CheckCommit(doing, sha string) error {
	if len(sha) != 40 && len(sha) != 64 || strings.Trim(sha, "0123456789abcdefABCDEF") != "" {
		return c.Failed("%s: %q is not the id of a commit", doing, sha)
	}
	return nil
}
