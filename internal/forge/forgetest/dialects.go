package forgetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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

// Bitbucket is Bitbucket Cloud. A token with an Email is an API token, which
// wants that as its user name in the API and the login or
// x-bitbucket-api-token-auth in git; one that is a Bot is an access token; any
// other is an app password.
// Source: Bitbucket Cloud REST API and "Using API tokens".
var Bitbucket = below("/2.0", Dialect{
	clone: []string{"repository", "repository:read", "repository:write", "read:repository:bitbucket"},
	push:  []string{"repository:write", "write:repository:bitbucket"},
	gitUser: func(t *token, user string) bool {
		switch {
		case t.Bot:
			return user == "x-token-auth"
		case t.Email != "":
			return user == t.Login || user == "x-bitbucket-api-token-auth"
		}
		return user == t.Login
	},
}, bitbucket)

func bitbucket(v *visit) {
	fail := func(status int, message string, detail any) {
		e := object{"message": message}
		if detail != nil {
			e["detail"] = detail
		}
		v.say(status, object{"type": "error", "error": e})
	}
	if user, _, basic := v.r.BasicAuth(); v.token != nil {
		want := v.token.Login
		if v.token.Email != "" {
			want = v.token.Email
		}
		if basic == v.token.Bot || basic && user != want {
			v.token = nil
		}
	}
	if v.token == nil {
		fail(http.StatusUnauthorized, "Token is invalid, expired, or not supported for this endpoint.", nil)
		return
	}
	kind := "apppassword"
	if v.token.Bot {
		kind = "repo_access_token"
	} else if v.token.Email != "" {
		kind = "apitoken"
	}
	v.w.Header().Set("X-Credential-Type", kind)
	v.w.Header().Set("X-OAuth-Scopes", strings.Join(v.token.Scopes, ", "))
	lacks := func(required ...string) {
		v.w.Header().Set("X-Accepted-OAuth-Scopes", strings.Join(required, ", "))
		fail(http.StatusForbidden, "Your credentials lack one or more required privilege scopes.", object{"required": required, "granted": v.token.Scopes})
	}
	reads := v.has("repository", "repository:read", "repository:write", "read:repository:bitbucket")
	switch {
	case v.is("GET", "user") && (v.token.Bot || !v.has("account", "account:read", "read:user:bitbucket")):
		lacks("account")
	case v.is("GET", "user"):
		v.say(200, object{"type": "user", "uuid": fmt.Sprintf("{%d}", v.token.id), "username": v.token.Login, "nickname": v.token.Login, "display_name": v.token.Login, "account_id": "557058:1"})
	case len(v.path) < 3 || v.path[0] != "repositories":
		fail(http.StatusNotFound, "Resource not found", nil)
	case !reads:
		lacks("repository")
	case v.sees(v.path[1]+"/"+v.path[2]) == nil:
		fail(http.StatusNotFound, "You may not have access to this repository or it no longer exists in this workspace. If you think this repository exists and you have access, make sure you are authenticated.", nil)
	case v.is("GET", "repositories", "*", "*"):
		r := v.sees(v.path[1] + "/" + v.path[2])
		v.say(200, object{"type": "repository", "uuid": fmt.Sprintf("{%d}", r.id), "full_name": r.name, "name": v.path[2], "is_private": !r.public, "scm": "git"})
	case v.is("POST", "repositories", "*", "*", "commit", "*", "statuses", "build"):
		r, in := v.sees(v.path[1]+"/"+v.path[2]), v.body()
		switch {
		case !v.commits(r, v.path[4]):
			fail(http.StatusNotFound, "Commit not found", nil)
		case !slices.Contains([]string{"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"}, in["state"]):
			fail(http.StatusBadRequest, "Bad request", object{"state": "Unsupported state"})
		case in["key"] == "" || len([]rune(in["key"])) > 40:
			fail(http.StatusBadRequest, "key: Ensure this value has at most 40 characters", nil)
		case !web(in["url"]):
			fail(http.StatusBadRequest, "url: Enter a valid URL.", nil)
		default:
			v.keep(r, v.path[4], in["state"], in["name"], in["description"], in["url"])
			v.say(http.StatusCreated, object{"type": "build", "key": in["key"], "state": in["state"], "name": in["name"], "url": in["url"], "description": in["description"]})
		}
	default:
		fail(http.StatusNotFound, "Resource not found", nil)
	}
}

// GitLab is gitlab.com and an installation of one's own.
// Source: GitLab REST API, version 4.
var GitLab = below("/api/v4", Dialect{
	clone: []string{"read_repository", "write_repository", "api"},
	push:  []string{"write_repository", "api"},
}, gitlab)

func gitlab(v *visit) {
	if v.token == nil {
		v.say(http.StatusUnauthorized, object{"message": "401 Unauthorized"})
		if v.sent {
			v.answer = object{"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize from the user."}
		}
		return
	}
	v.w.Header().Set("RateLimit-Limit", "2000")
	v.w.Header().Set("RateLimit-Remaining", "1999")
	v.w.Header().Set("RateLimit-Reset", strconv.FormatInt(v.s.now().Add(time.Minute).Unix(), 10))
	lacks := func(scopes string) {
		v.say(http.StatusForbidden, object{"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token.", "scope": scopes})
	}
	role := v.token.Role
	if role == 0 {
		role = 40
	}
	find := func() *repository {
		r := v.sees(v.path[1])
		if r == nil {
			v.say(http.StatusNotFound, object{"message": "404 Project Not Found"})
		}
		return r
	}
	switch {
	case v.is("GET", "user"):
		if !v.has("api", "read_api", "read_user") {
			lacks("api read_api read_user")
			return
		}
		v.say(200, object{"id": v.token.id, "username": v.token.Login, "name": v.token.Login, "state": "active", "bot": v.token.Bot})
	case v.is("GET", "personal_access_tokens", "self"):
		if !v.has("api", "read_api", "self_rotate") {
			lacks("api read_api self_rotate")
			return
		}
		end := any(nil)
		if !v.token.Expires.IsZero() {
			end = v.token.Expires.UTC().Format(time.DateOnly)
		}
		v.say(200, object{"id": v.token.id, "name": "Corbel", "revoked": false, "active": true, "scopes": v.token.Scopes, "user_id": v.token.id, "expires_at": end, "created_at": "2026-01-14T04:33:35.000Z"})
	case v.is("GET", "projects", "*"):
		if !v.has("api", "read_api") {
			lacks("api read_api")
			return
		}
		if r := find(); r != nil {
			visibility := "private"
			if r.public {
				visibility = "public"
			}
			v.say(200, object{
				"id": r.id, "path_with_namespace": r.name, "visibility": visibility, "default_branch": "main", "http_url_to_repo": v.s.URL + "/" + r.name + ".git",
				"permissions": object{"project_access": object{"access_level": role, "notification_level": 3}, "group_access": nil},
			})
		}
	case v.is("POST", "projects", "*", "statuses", "*"):
		if !v.has("api") {
			lacks("api")
			return
		}
		r := find()
		if r == nil {
			return
		}
		in, sha := v.body(), v.path[3]
		switch {
		case role < 30:
			v.say(http.StatusForbidden, object{"message": "403 Forbidden"})
		case !v.commits(r, sha):
			v.say(http.StatusNotFound, object{"message": "404 Commit Not Found"})
		case !slices.Contains([]string{"pending", "running", "success", "failed", "canceled"}, in["state"]):
			v.say(http.StatusBadRequest, object{"error": "state does not have a valid value"})
		case in["target_url"] != "" && !web(in["target_url"]):
			v.say(http.StatusBadRequest, object{"message": object{"target_url": []string{"is blocked: Only allowed schemes are http, https"}}})
		case len([]rune(in["description"])) > 255:
			v.say(http.StatusBadRequest, object{"message": object{"description": []string{"is too long (maximum is 255 characters)"}}})
		case v.last(r, sha, in["name"]) == in["state"]:
			verb := map[string]string{"pending": "enqueue", "running": "run", "success": "success", "failed": "drop", "canceled": "cancel"}[in["state"]]
			v.say(http.StatusBadRequest, object{"message": fmt.Sprintf("Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via %q)", verb, in["state"], verb)})
		default:
			v.keep(r, sha, in["state"], in["name"], in["description"], in["target_url"])
			v.say(http.StatusCreated, object{"id": 93, "sha": sha, "status": in["state"], "name": in["name"], "target_url": in["target_url"], "description": in["description"]})
		}
	default:
		v.say(http.StatusNotFound, object{"error": "404 Not Found"})
	}
}

// DataCenter is Bitbucket Data Center, version 8. Scopes of its tokens are the
// permissions repository:read, repository:write and repository:admin.
// Source: Bitbucket Data Center REST API.
var DataCenter = below("/rest", Dialect{
	clone:  []string{"repository:read", "repository:write", "repository:admin"},
	push:   []string{"repository:write", "repository:admin"},
	prefix: "/scm",
}, dataCenter)

func dataCenter(v *visit) {
	fail := func(status int, message string) {
		v.say(status, object{"errors": []object{{"context": nil, "message": message, "exceptionName": "com.atlassian.bitbucket.AuthorisationException"}}})
	}
	if v.token != nil {
		v.w.Header().Set("X-AUSERNAME", v.token.Login)
		v.w.Header().Set("X-AUSERID", strconv.FormatInt(v.token.id, 10))
	}
	switch {
	case v.token == nil:
		fail(http.StatusUnauthorized, "Authentication failed. Please check your credentials and try again.")
		return
	case !v.has("repository:read", "repository:write", "repository:admin"):
		fail(http.StatusForbidden, "You are not permitted to access this resource")
		return
	case v.is("GET", "api", "1.0", "repos"):
		v.say(200, object{"size": 0, "limit": 1, "isLastPage": true, "values": []object{}, "start": 0})
		return
	case len(v.path) < 6 || v.path[2] != "projects" || v.path[4] != "repos":
		fail(http.StatusNotFound, "No such resource")
		return
	}
	r := v.sees(v.path[3] + "/" + v.path[5])
	if r == nil {
		fail(http.StatusNotFound, "Repository "+v.path[3]+"/"+v.path[5]+" does not exist.")
		return
	}
	at := []string{"api", "1.0", "projects", "*", "repos", "*"}
	switch {
	case v.is("GET", at...):
		v.say(200, object{"slug": v.path[5], "id": r.id, "name": v.path[5], "scmId": "git", "state": "AVAILABLE", "public": r.public, "project": object{"key": v.path[3]}})
	case v.is("GET", append(at, "webhooks")...):
		if !v.has("repository:admin") {
			fail(http.StatusUnauthorized, "You are not permitted to access this resource")
			return
		}
		v.say(200, object{"size": 0, "limit": 1, "isLastPage": true, "values": []object{}, "start": 0})
	case v.is("POST", append(at, "commits", "*", "builds")...):
		in, sha := v.body(), v.path[7]
		switch {
		case !slices.Contains([]string{"INPROGRESS", "SUCCESSFUL", "FAILED", "CANCELLED", "UNKNOWN"}, in["state"]), in["key"] == "", len([]rune(in["key"])) > 255, !web(in["url"]):
			fail(http.StatusBadRequest, "The build status is not valid: state, key and url are required")
		case !v.commits(r, sha):
			fail(http.StatusNotFound, "Commit '"+sha+"' does not exist in repository '"+v.path[5]+"'.")
		default:
			v.keep(r, sha, in["state"], in["name"], in["description"], in["url"])
			v.say(http.StatusNoContent, nil)
		}
	default:
		fail(http.StatusNotFound, "No such resource")
	}
}

// Gitea is Gitea and Forgejo.
// Source: Gitea's API, version 1.
var Gitea = below("/api/v1", Dialect{
	clone: []string{"read:repository", "write:repository", "all"},
	push:  []string{"write:repository", "all"},
}, gitea)

func gitea(v *visit) {
	fail := func(status int, message string) {
		v.say(status, object{"message": message, "url": v.s.URL + "/api/swagger"})
	}
	lacks := func(scope string) {
		fail(http.StatusForbidden, "token does not have at least one of required scope(s), required=["+scope+"], token scope="+strings.Join(v.token.Scopes, ","))
	}
	switch {
	case v.token == nil:
		fail(http.StatusUnauthorized, "invalid username, password or token")
		return
	case v.is("GET", "user"):
		if !v.has("read:user", "write:user", "all") {
			lacks("read:user")
			return
		}
		v.say(200, object{"id": v.token.id, "login": v.token.Login, "full_name": "", "email": v.token.Login + "@noreply.example.com"})
		return
	case len(v.path) < 3 || v.path[0] != "repos":
		fail(http.StatusNotFound, "The target couldn't be found.")
		return
	case v.r.Method == "GET" && !v.has("read:repository", "write:repository", "all"):
		lacks("read:repository")
		return
	case v.r.Method != "GET" && !v.has("write:repository", "all"):
		lacks("write:repository")
		return
	}
	r := v.sees(v.path[1] + "/" + v.path[2])
	switch {
	case r == nil:
		fail(http.StatusNotFound, "The target couldn't be found.")
	case v.is("GET", "repos", "*", "*"):
		v.say(200, object{"id": r.id, "full_name": r.name, "private": !r.public, "default_branch": "main", "permissions": object{"admin": true, "push": true, "pull": true}})
	case v.is("POST", "repos", "*", "*", "statuses", "*"):
		in, sha := v.body(), v.path[4]
		switch {
		case !v.commits(r, sha):
			fail(http.StatusNotFound, "object does not exist [id: "+sha+"]")
		case !slices.Contains([]string{"pending", "success", "error", "failure", "warning"}, in["state"]):
			fail(http.StatusBadRequest, "invalid state")
		case in["target_url"] != "" && !web(in["target_url"]):
			fail(http.StatusUnprocessableEntity, "target_url: invalid URL")
		default:
			v.keep(r, sha, in["state"], in["context"], in["description"], in["target_url"])
			v.say(http.StatusCreated, object{"id": 1, "status": in["state"], "context": in["context"], "description": in["description"], "target_url": in["target_url"]})
		}
	default:
		fail(http.StatusNotFound, "The target couldn't be found.")
	}
}
