package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// Zeros stand for no commit in the pushes of every provider: before a new
	// branch, after a deleted one.
	Zeros = "0000000000000000000000000000000000000000"

	// maxDepth bounds objects and arrays in each other. Deliveries have about
	// ten; the decoder would go down 10,000 levels of 25 MiB.
	maxDepth = 100
	// maxRef bounds a ref, in bytes; the file systems of the providers do so
	// for each part of it.
	maxRef = 1024
)

// Decode reads the body of a delivery, a JSON object, into a struct. Of members
// with one name the last counts. The error says what is wrong and has nothing
// of the body but names of members that the struct has.
func Decode(h http.Header, body []byte, into any) error {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if media == "application/x-www-form-urlencoded" || bytes.HasPrefix(body, []byte("payload=")) {
		return errors.New("the delivery is a form: set the content type of the hook to application/json")
	}
	if err := wellFormed(body); err != nil {
		return err
	}
	err := json.Unmarshal(body, into)
	// The texts of these have pieces of the body.
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("member %s of the delivery is not of the type that it should be", wrong.Field)
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the delivery is not JSON, from byte %d on", wrong.Offset)
	}
	if err != nil {
		return errors.New("the delivery cannot be read as JSON")
	}
	return nil
}

// wellFormed refuses what is no object in UTF-8, what is nested too deep, and the
// character NUL, which no environment variable and no path can hold.
func wellFormed(body []byte) error {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return errors.New("the delivery is not a JSON object")
	}
	if !utf8.Valid(body) {
		return errors.New("the delivery is not UTF-8")
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			if bytes.HasPrefix(body[i+1:], []byte("u0000")) {
				return errors.New("the delivery has the character NUL")
			}
			i++ // may be a quote
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("the delivery is nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Header returns the one value of a header that identifies something, or "" if
// it is missing, doubled, longer than 100 bytes or of other characters than
// names and ids of the providers have.
func Header(h http.Header, name string) string {
	v, err := one(h, name)
	if err != nil || !plain(v, " _:.{}-") {
		return ""
	}
	return v
}

// plain reports whether s has 1 to 100 letters, digits and those of more.
func plain(s, more string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(more, c))
	})
}

// A Reading takes the facts of an event from the members of a delivery, and
// keeps the first thing that is wrong with one in Err. What it returns for a
// wrong one is the zero value.
type Reading struct{ Err error }

// Wrong says what is wrong with a member.
func (r *Reading) Wrong(member, what string) {
	if r.Err == nil {
		r.Err = fmt.Errorf("member %s of the delivery %s", member, what)
	}
}

// need reports whether ok, and says what is wrong otherwise.
func (r *Reading) need(ok, missing bool, member, what string) bool {
	if missing {
		what = "is missing"
	}
	if !ok || missing {
		r.Wrong(member, what)
	}
	return ok && !missing
}

// Event is the header that names the event.
func (r *Reading) Event(h http.Header, header string) string {
	event := Header(h, header)
	if event == "" {
		r.Err = fmt.Errorf("the header %s, which names the event, is missing, doubled or of odd characters", header)
	}
	return event
}

// ID is a number that names something for good, from 1 on.
func (r *Reading) ID(member string, n int64) string {
	if !r.need(n > 0, n == 0, member, "is not an id") {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Number is that of a pull request, from 1 to 2³¹-1.
func (r *Reading) Number(member string, n int64) int {
	if !r.need(0 < n && n < 1<<31, n == 0, member, "is not the number of a pull request") {
		return 0
	}
	return int(n)
}

// Key is an id of letters, digits and the characters of UUIDs and Atlassian's
// account ids, at most 100 bytes.
func (r *Reading) Key(member, s string) string {
	if !r.need(plain(s, "_:{}-"), s == "", member, "is not an id") {
		return ""
	}
	return s
}

// Repository is "owner/name", where the owner may be a path.
func (r *Reading) Repository(member, name string) string {
	parts := strings.Split(strings.TrimPrefix(name, "~"), "/")
	ok := 2 <= len(parts) && len(parts) <= 21 && !slices.ContainsFunc(parts, func(s string) bool { return !segment(s) })
	if !r.need(ok, name == "", member, "is not the name of a repository") {
		return ""
	}
	return name
}

// Commit is the full id of a commit.
func (r *Reading) Commit(member, id string) string {
	if id = r.end(member, id); isZero(id) {
		r.Wrong(member, "is no commit")
		return ""
	}
	return id
}

// ShortCommit is the id of a commit or its first 12 digits or more.
func (r *Reading) ShortCommit(member, id string) string {
	if !r.need(12 <= len(id) && len(id) <= 64 && isHex(id) && !isZero(id), id == "", member, "is not the id of a commit") {
		return ""
	}
	return id
}

// end is an end of a push: the full id of a commit, or zeros.
func (r *Reading) end(member, id string) string {
	if !r.need((len(id) == 40 || len(id) == 64) && isHex(id), id == "", member, "is not the id of a commit") {
		return ""
	}
	return id
}

// Ref is a full ref: prefix, such as refs/heads/, and the name in the member.
func (r *Reading) Ref(member, prefix, name string) string {
	if !r.need(ValidRef(prefix+name), name == "", member, "is not the name of a ref") {
		return ""
	}
	return prefix + name
}

// Push makes e a push that moved ref from the commit before to after, or says
// why nothing follows from it. member is where the three are in the delivery.
func (r *Reading) Push(e Event, member, ref, before, after string) Event {
	e.HeadRef = r.Ref(member+"ref", "", ref)
	e.Before = r.end(member+"before", before)
	e.SHA = r.end(member+"after", after)
	kind := "branch"
	switch {
	case strings.HasPrefix(ref, "refs/tags/"):
		kind = "tag"
	case !strings.HasPrefix(ref, "refs/heads/"):
		e.Note = "a ref changed that is neither a branch nor a tag"
		return e
	}
	if isZero(e.SHA) {
		e.SHA, e.Note = "", "the "+kind+" was deleted"
		return e
	}
	e.Type = Push
	return e
}

// Settle returns the events of a delivery, or the error of r.
func (r *Reading) Settle(events ...Event) ([]Event, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	return events, nil
}

// Ignored says what a delivery of no interest was, such as Ignored("event",
// "ping"). A word that is not one is left out.
func Ignored(kind, word string) string {
	if !plain(word, " _:-") {
		return "an " + kind + " that Corbel does not know"
	}
	return "the " + kind + " " + word + " starts no build"
}

// isZero reports whether id stands for no commit.
func isZero(id string) bool { return id != "" && strings.Trim(id, "0") == "" }

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') })
}

// ValidRef reports whether git allows name as a ref below refs/.
// Source: git-check-ref-format(1).
func ValidRef(name string) bool {
	rest, ok := strings.CutPrefix(name, "refs/")
	if !ok || len(name) > maxRef || strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return false
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) }) {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// A PushedCommit is a commit of a push, as GitHub, GitLab and Gitea tell it.
type PushedCommit struct {
	ID                       string
	Message                  string
	Added, Modified, Removed []string
}

// Paths are the paths that the commits changed, sorted, each once.
func Paths(commits []PushedCommit) []string {
	var paths []string
	for _, c := range commits {
		paths = slices.Concat(paths, c.Added, c.Modified, c.Removed)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// CloneURL returns address if it is a plain https address, else "".
func CloneURL(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(address) > maxLocation {
		return ""
	}
	return address
}

// When reads the times of deliveries, and is the zero time for others.
func When(s string) time.Time {
	for _, layout := range []string{
		time.RFC3339,
		"2006-01-02T15:04:05-0700", // Data Center
		"2006-01-02 15:04:05 UTC",  // GitLab
		"2006-01-02 15:04:05 -0700",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
