package forgetest

import (
	"net/http"
	"slices"
	"strconv"
)

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
