package forgetest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

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
