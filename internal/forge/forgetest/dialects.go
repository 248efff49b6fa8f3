package forgetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A visit is one request to the API of a provider other than GitHub.
type visit struct {
	s      *Server
	r      *http.Request
	w      http.ResponseWriter
	token  *token   // nil is anonymous or unknown
	sent   bool     // a token was sent, known or not
	path   []string // after the base, decoded
	status int
	answer any
}

// below makes a Dialect whose API is below base and answers with answer, which
// sets status and answer of the visit.
func below(base string, d Dialect, answer func(*visit)) Dialect {
	d.api = func(path string) (string, bool) {
		rest, ok := strings.CutPrefix(path, base)
		return rest, ok
	}
	d.serve = func(s *Server, w http.ResponseWriter, r *http.Request, _ string, rec *Request) {
		v := &visit{s: s, r: r, w: w, status: http.StatusOK}
		v.token, v.sent = s.tokenOf(r)
		for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(r.URL.EscapedPath(), base), "/"), "/") {
			text, err := url.PathUnescape(part)
			if err != nil {
				http.Error(w, "bad path", http.StatusBadRequest)
				return
			}
			v.path = append(v.path, text)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		answer(v)
		body, err := json.Marshal(v.answer)
		if err != nil {
			panic(err) // of plain maps
		}
		s.answered(rec, "", v.status, body)
		w.WriteHeader(v.status)
		_, _ = w.Write(body)
	}
	return d
}

func (v *visit) say(status int, answer any) { v.status, v.answer = status, answer }

// is reports whether the request has the method and the path, in which * is
// any part.
func (v *visit) is(method string, path ...string) bool {
	if v.r.Method != method || len(v.path) != len(path) {
		return false
	}
	for i, part := range path {
		if part != "*" && part != v.path[i] {
			return false
		}
	}
	return true
}

// has reports whether the token has one of the scopes.
func (v *visit) has(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(v.token.Scopes, s) })
}

// sees finds a repository that the token may know of.
func (v *visit) sees(name string) *repository {
	r := v.s.repository(name)
	if r == nil || r.public {
		return r
	}
	if v.token == nil || v.token.Repositories != nil && !slices.Contains(v.token.Repositories, r.name) {
		return nil
	}
	return r
}

// body reads the request's JSON as an object of strings.
func (v *visit) body() map[string]string {
	b, err := io.ReadAll(io.LimitReader(v.r.Body, 1<<20))
	if err != nil {
		return nil
	}
	var all map[string]any
	if json.Unmarshal(b, &all) != nil {
		return nil
	}
	out := map[string]string{}
	for k, x := range all {
		out[k] = fmt.Sprint(x)
	}
	return out
}

// commits reports whether the repository has the commit.
func (v *visit) commits(r *repository, sha string) bool {
	return v.s.resolve(r, sha) == sha
}

// keep stores a status.
func (v *visit) keep(r *repository, sha, state, context, description, link string) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.lastID++
	r.statuses[sha] = append(r.statuses[sha], Status{v.s.lastID, state, context, description, link, v.token.Login, v.s.now().UTC()})
}

// last is the newest state of a context on a commit.
func (v *visit) last(r *repository, sha, context string) string {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	for _, s := range slices.Backward(r.statuses[sha]) {
		if s.Context == context {
			return s.State
		}
	}
	return ""
}

func web(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
