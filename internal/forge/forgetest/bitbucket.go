package forgetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

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
