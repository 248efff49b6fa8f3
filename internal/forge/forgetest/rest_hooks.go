package forgetest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hooksKey is where the hooks of the path are: a repository's or an
// organization's.
func (c *call) hooksKey() string {
	if c.repo != nil {
		return hooksOf(c.repo)
	}
	return ofOrganization + "/" + strings.ToLower(c.r.PathValue("org"))
}

// organizationHooks lets through who may see them, and answers the others as
// GitHub does: with 404.
func organizationHooks(do func(*call)) func(*call) {
	return func(c *call) {
		may := c.token != nil && c.token.may("organization_hooks=write", "admin:org_hook")
		switch {
		case c.token == nil:
			c.fail(http.StatusUnauthorized, "Requires authentication")
		case !may && c.token.Permissions != nil:
			c.fail(http.StatusForbidden, "Resource not accessible by personal access token")
		case !may:
			c.fail(http.StatusNotFound, "Not Found")
		default:
			do(c)
		}
	}
}

// hookIn is the body of a request to make or change a hook.
type hookIn struct {
	Name   string
	Active *bool
	Events []string
	Config *struct {
		URL         string
		Secret      *string
		ContentType string `json:"content_type"`
	}
}

// readHook reads the body, and answers one that cannot be.
func (c *call) readHook() (in hookIn, ok bool) {
	if !c.body(&in) {
		return in, false
	}
	if in.Config != nil && !web(in.Config.URL) {
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Hook", "url", "url is malformed"))
		return in, false
	}
	for _, e := range in.Events {
		if !slices.Contains([]string{"*", "push", "pull_request", "issue_comment", "release", "workflow_job", "create", "delete"}, e) {
			c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Hook", "events", "Events is invalid: "+e))
			return in, false
		}
	}
	return in, true
}

// set changes k as a request asks.
func (in hookIn) set(k *Hook) {
	if in.Active != nil {
		k.Active = *in.Active
	}
	if in.Events != nil {
		k.Events = in.Events
	}
	if in.Config != nil {
		// A change of config is a change of the whole: who leaves out the
		// secret takes it away.
		// Source: GitHub, "Update a repository webhook".
		k.URL, k.Form, k.Secret = in.Config.URL, in.Config.ContentType != "json", ""
		if in.Config.Secret != nil {
			k.Secret = *in.Config.Secret
		}
	}
}

func (c *call) createHook() {
	in, ok := c.readHook()
	if !ok {
		return
	}
	if in.Config == nil {
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", problem("Hook", "url", "url is missing"))
		return
	}
	k := Hook{Active: true, Events: []string{"push"}, Name: "web"}
	in.set(&k)
	k, ok = c.s.makeHook(c.hooksKey(), k, func(old Hook) bool { return old.URL == k.URL })
	if !ok {
		of := "repository"
		if c.repo == nil {
			of = "organization"
		}
		c.fail(http.StatusUnprocessableEntity, "Validation Failed", object{"resource": "Hook", "code": "custom", "message": "Hook already exists on this " + of})
		return
	}
	c.s.ping(c.repo, c.token.Login, k)
	c.status, c.answer = http.StatusCreated, c.showHook(k)
	c.w.Header().Set("Location", c.answer.(object)["url"].(string))
}

func (c *call) showHook(k Hook) object {
	at := c.at + "/" + k.owner
	if c.repo != nil {
		at = c.at + "/repos/" + c.s.nameOf(c.repo)
	}
	at += fmt.Sprintf("/hooks/%d", k.ID)
	config := object{"content_type": "json", "insecure_ssl": "0", "url": k.URL}
	if k.Form {
		config["content_type"] = "form"
	}
	if k.Secret != "" {
		config["secret"] = "********"
	}
	then := k.Created.Format(time.RFC3339)
	out := object{
		"type": "Organization", "id": k.ID, "name": "web", "active": k.Active, "events": k.Events, "config": config,
		"updated_at": then, "created_at": then, "url": at, "ping_url": at + "/pings", "deliveries_url": at + "/deliveries",
	}
	if c.repo != nil {
		out["type"], out["test_url"] = "Repository", at+"/test"
		last := object{"code": nil, "status": "unused", "message": nil}
		if k.Last > 0 {
			last = object{"code": k.Last, "status": "active", "message": http.StatusText(k.Last)}
		}
		out["last_response"] = last
	}
	return out
}

func (c *call) listHooks() {
	list := []object{}
	for _, k := range c.s.hooksAt(c.hooksKey()) {
		list = append(list, c.showHook(k))
	}
	c.page(list)
}

// hookID is that of the path; there is no hook 0.
func (c *call) hookID() int64 {
	id, _ := strconv.ParseInt(c.r.PathValue("hook_id"), 10, 64)
	return id
}

func (c *call) getHook() {
	k, ok := c.s.hookAt(c.hooksKey(), c.hookID())
	if !ok {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	c.answer = c.showHook(k)
}

func (c *call) editHook() {
	in, ok := c.readHook()
	if !ok {
		return
	}
	k, ok := c.s.changeHook(c.hooksKey(), c.hookID(), in.set)
	if !ok {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	c.answer = c.showHook(k)
}

func (c *call) deleteHook() {
	if !c.s.dropHook(c.hooksKey(), c.hookID()) {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	c.status = http.StatusNoContent
}

func (c *call) pingHook() {
	k, ok := c.s.hookAt(c.hooksKey(), c.hookID())
	if !ok {
		c.fail(http.StatusNotFound, "Not Found")
		return
	}
	c.s.ping(c.repo, c.token.Login, k)
	c.status = http.StatusNoContent
}
