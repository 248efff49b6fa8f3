package forgetest

import (
	"net/http"
	"slices"
	"strings"
)

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
