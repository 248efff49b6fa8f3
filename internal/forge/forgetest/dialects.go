package forgetest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	etags  bool     // answers have them
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
		if v.etags && r.Method == http.MethodGet && v.status == http.StatusOK {
			tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(body))
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				v.status, body = http.StatusNotModified, nil
			}
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

// into reads the request's JSON. It is false if that is none.
func (v *visit) into(in any) bool {
	b, err := io.ReadAll(io.LimitReader(v.r.Body, 1<<20))
	return err == nil && json.Unmarshal(b, in) == nil
}

// body reads the request's JSON as an object of strings.
func (v *visit) body() map[string]string {
	var all map[string]any
	if !v.into(&all) {
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

// number is a number of the query, or what it is without one.
func (v *visit) number(name string, without int) int {
	if n, err := strconv.Atoi(v.r.URL.Query().Get(name)); err == nil && n >= 0 {
		return n
	}
	return without
}

// window is the part of a list that begins at start and has at most size
// entries, and whether there is more after it.
func window(list []object, start, size int) (part []object, more bool) {
	start = min(start, len(list))
	end := min(start+size, len(list))
	return append([]object{}, list[start:end]...), end < len(list)
}

// visible are the repositories that the token may know of whose name contains
// text, the newest first.
func (v *visit) visible(text string) []*repository {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	var list []*repository
	for key, r := range v.s.repos {
		allowed := r.public || v.token.Repositories == nil || slices.Contains(v.token.Repositories, r.name)
		if key == strings.ToLower(r.name) && allowed && strings.Contains(key, strings.ToLower(text)) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *repository) int { return int(b.id - a.id) })
	return list
}

// open are the open pull requests of r, the newest first.
func (v *visit) open(r *repository) []Pull {
	list := slices.DeleteFunc(v.s.Pulls(v.s.nameOf(r)), func(p Pull) bool { return p.State != "open" })
	slices.Reverse(list)
	return list
}

// pull is the pull request of r whose number is a part of the path.
func (v *visit) pull(r *repository, part string) (Pull, bool) {
	n, err := strconv.Atoi(part)
	if err != nil {
		return Pull{}, false
	}
	return v.s.Pull(v.s.nameOf(r), n)
}

// named are the refs below a prefix, as names without it and their commits, by
// name.
func (s *Server) named(r *repository, prefix string) (names []string, ids map[string]string) {
	refs, err := s.refs(r)
	if err != nil {
		panic(err) // the repository is the server's own
	}
	ids = map[string]string{}
	for ref, id := range refs {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			names, ids[name] = append(names, name), id
		}
	}
	slices.Sort(names)
	return names, ids
}

// log are the commits that git log chooses by args.
func (s *Server) log(r *repository, args ...string) []revision {
	list, err := s.revisions(r, args...)
	if err != nil {
		return nil
	}
	return list
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
