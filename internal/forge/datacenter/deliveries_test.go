package datacenter_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/datacenter"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
	third  = "3333333333333333333333333333333333333333"

	shopRepo  = `{"slug":"shop","id":84,"name":"Shop","scmId":"git","state":"AVAILABLE","project":{"key":"OCTO","id":8,"name":"Octo","type":"NORMAL"},"links":{"clone":[{"href":"ssh://git@git.example.com:7999/octo/shop.git","name":"ssh"},{"href":"https://git.example.com/scm/octo/shop.git","name":"http"}]}}`
	hubotRepo = `{"slug":"shop","id":85,"name":"Shop","project":{"key":"~HUBOT","type":"PERSONAL"},"links":{"clone":[{"href":"ssh://git@git.example.com:7999/~hubot/shop.git","name":"ssh"},{"href":"https://git.example.com/scm/~hubot/shop.git","name":"http"}]}}`
	mona      = `"date":"2026-11-27T13:00:00+0100","actor":{"name":"mona","emailAddress":"mona@example.com","id":5,"displayName":"Mona","active":true,"slug":"mona","type":"NORMAL"}`
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func sign(h http.Header, body []byte, secret api.Secret, _ time.Time) {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	h.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func at(e forge.Event) forge.Event {
	e.Repository, e.RepositoryID, e.Organization = "OCTO/shop", "84", "OCTO"
	e.Actor, e.At = forge.Person{ID: "5", Login: "mona"}, noon
	return e
}

func one(e forge.Event) []forge.Event { return []forge.Event{at(e)} }

func pushed(repo, more string, changes ...string) string {
	return fmt.Sprintf(`{"eventKey":"repo:refs_changed",%s,"repository":%s,"changes":[%s]%s}`, mona, repo, strings.Join(changes, ","), more)
}

func change(ref, from, to string) string {
	return fmt.Sprintf(`{"ref":{"id":%q,"displayId":"x","type":"BRANCH"},"refId":%q,"fromHash":%q,"toHash":%q,"type":"UPDATE"}`, ref, ref, from, to)
}

func asked(key, state, source, more string) string {
	return fmt.Sprintf(`{"eventKey":%q,%s,"pullRequest":{"id":7,"version":0,"title":"Sell tea","state":%q,"open":%t,"closed":%t,
		"fromRef":{"id":"refs/heads/tea","displayId":"tea","latestCommit":%q,"repository":%s},"toRef":{"id":"refs/heads/main","displayId":"main","latestCommit":%q,"repository":%s},
		"author":{"user":{"name":"hubot","id":2},"role":"AUTHOR"},"properties":{"mergeCommit":{"displayId":"3333","id":%q}}}%s}`,
		key, mona, state, state == "OPEN", state != "OPEN", second, source, first, shopRepo, third, more)
}

func pulled(t forge.EventType, edit func(*forge.PullRequest)) forge.Event {
	p := &forge.PullRequest{
		Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2", Login: "hubot"}, Open: true,
		HeadRepo: "OCTO/shop", HeadRef: "refs/heads/tea", HeadSHA: second, BaseRef: "refs/heads/main",
	}
	if edit != nil {
		edit(p)
	}
	return at(forge.Event{Type: t, Pull: p, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: second})
}

func closed(p *forge.PullRequest) { p.Open = false }

var telling = forgetest.Telling{
	Deliveries: datacenter.Provider.Deliveries, EventName: "X-Event-Key", IDName: "X-Request-Id",
	Sign: sign, Signature: "X-Hub-Signature",
	Foreign: []string{"X-Hub-Signature-256", "X-Gitea-Signature", "X-Gitlab-Token", "Authorization"},
	Told: map[string]forgetest.Told{
		"push": {
			Event: "repo:refs_changed", Body: pushed(shopRepo, `,"toCommit":{"id":"`+second+`","message":"Count again\n"}`, change("refs/heads/main", first, second)),
			Want: one(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: second, Message: "Count again\n"}),
		},
		"push of several": {
			Event: "repo:refs_changed", Body: pushed(shopRepo, "", change("refs/heads/tea", forge.Zeros, second), change("refs/tags/v1.2", forge.Zeros, third), change("refs/heads/old", first, forge.Zeros)),
			Want: []forge.Event{
				at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/tea", Before: forge.Zeros, SHA: second}),
				at(forge.Event{Type: forge.Push, HeadRef: "refs/tags/v1.2", Before: forge.Zeros, SHA: third}),
				at(forge.Event{Note: "the branch was deleted", HeadRef: "refs/heads/old", Before: first}),
			},
		},
		"push to a person's": {
			Event: "repo:refs_changed", Body: pushed(hubotRepo, "", change("refs/heads/main", first, second)),
			Want: []forge.Event{{
				Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: second,
				Repository: "~HUBOT/shop", RepositoryID: "85", Actor: forge.Person{ID: "5", Login: "mona"}, At: noon,
			}},
		},
		"opened":           {Event: "pr:opened", Body: asked("pr:opened", "OPEN", shopRepo, ""), Want: []forge.Event{pulled(forge.PullCreated, nil)}},
		"from ref updated": {Event: "pr:from_ref_updated", Body: asked("pr:from_ref_updated", "OPEN", shopRepo, `,"previousFromHash":"`+first+`"`), Want: []forge.Event{pulled(forge.PullUpdated, nil)}},
		"merged": {
			Event: "pr:merged", Body: asked("pr:merged", "MERGED", shopRepo, ""),
			Want: func() []forge.Event {
				e := pulled(forge.PullMerged, closed)
				e.Merge = third
				return []forge.Event{e}
			}(),
		},
		"declined": {Event: "pr:declined", Body: asked("pr:declined", "DECLINED", shopRepo, ""), Want: []forge.Event{pulled(forge.PullClosed, closed)}},
		"from a fork": {
			Event: "pr:opened", Body: asked("pr:opened", "OPEN", hubotRepo, ""),
			Want: []forge.Event{pulled(forge.PullCreated, func(p *forge.PullRequest) {
				p.Fork, p.HeadRepo, p.HeadURL = true, "~HUBOT/shop", "https://git.example.com/scm/~hubot/shop.git"
			})},
		},
		"from a fork that is gone": {
			Event: "pr:opened", Body: asked("pr:opened", "OPEN", "null", ""),
			Want: []forge.Event{pulled(forge.PullCreated, func(p *forge.PullRequest) { p.Fork, p.HeadRepo = true, "" })},
		},
		"comment": {
			Event: "pr:comment:added", Body: asked("pr:comment:added", "OPEN", shopRepo, `,"comment":{"id":1,"text":"/codebuild_run(`+second+`)","author":{"name":"mona","id":5}}`),
			Want: func() []forge.Event {
				e := pulled(forge.Comment, nil)
				e.Text = "/codebuild_run(" + second + ")"
				return []forge.Event{e}
			}(),
		},
		"comment edited": {Event: "pr:comment:edited", Body: asked("pr:comment:edited", "OPEN", shopRepo, `,"comment":{"text":"/codebuild_run"}`), Want: []forge.Event{{Note: "the event pr:comment:edited starts no build"}}},
		"modified":       {Event: "repo:modified", Body: `{"eventKey":"repo:modified",` + mona + `,"repository":` + shopRepo + `}`, Want: one(forge.Event{Note: "the event repo:modified starts no build"})},
		"ping":           {Event: "diagnostics:ping", Body: `{"test":true}`, Want: []forge.Event{{Note: "the event diagnostics:ping starts no build"}}},

		"push header, other body":    {Event: "repo:refs_changed", Body: asked("pr:opened", "OPEN", shopRepo, ""), Err: "eventKey"},
		"opened header, merged body": {Event: "pr:opened", Body: asked("pr:merged", "MERGED", shopRepo, ""), Err: "eventKey"},
		"push of nothing":            {Event: "repo:refs_changed", Body: pushed(shopRepo, ""), Err: "changes"},
		"enormous number":            {Event: "pr:opened", Body: strings.Replace(asked("pr:opened", "OPEN", shopRepo, ""), `"id":7`, `"id":2147483648`, 1), Err: "pullRequest.id"},
	},
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	telling.Run(t)
}

func FuzzParse(f *testing.F)  { telling.FuzzParse(f) }
func FuzzVerify(f *testing.F) { telling.FuzzVerify(f) }
