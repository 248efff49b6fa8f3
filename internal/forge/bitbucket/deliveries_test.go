package bitbucket_test

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
	"github.com/corbel-build/corbel/internal/forge/bitbucket"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"

	shopRepo = `{"type":"repository","uuid":"{b7f1c0de-0000-4000-8000-000000000001}","name":"Shop","full_name":"octo/shop","is_private":true}`
	mona     = `{"type":"user","display_name":"Mona","nickname":"mona","account_id":"557058:00000000-0000-4000-8000-000000000005","uuid":"{a0000000-0000-4000-8000-000000000005}"}`
	hubot    = `{"type":"team_user","display_name":"Hubot","nickname":"hubot","uuid":"{a0000000-0000-4000-8000-000000000002}"}`
	shop     = `"actor":` + mona + `,"repository":` + shopRepo
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func sign(h http.Header, body []byte, secret api.Secret, _ time.Time) {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	h.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func at(e forge.Event) forge.Event {
	e.Repository, e.RepositoryID = "octo/shop", "{b7f1c0de-0000-4000-8000-000000000001}"
	e.Actor = forge.Person{ID: "557058:00000000-0000-4000-8000-000000000005", Login: "mona"}
	return e
}

func one(e forge.Event) []forge.Event { return []forge.Event{at(e)} }

func ref(kind, name, sha string) string {
	return fmt.Sprintf(`{"type":%q,"name":%q,"target":{"type":"commit","hash":%q,"message":"Count again\n","date":"2001-01-01T00:00:00+00:00","author":{"raw":"root <root@example.com>","user":{"account_id":"1"}}}}`, kind, name, sha)
}

func change(old, now string) string {
	return fmt.Sprintf(`{"old":%s,"new":%s,"created":false,"closed":false,"forced":false,"truncated":true,"commits":[{"hash":%q,"message":"x"}]}`, old, now, first)
}

func pushed(changes ...string) string {
	return fmt.Sprintf(`{%s,"push":{"changes":[%s]}}`, shop, strings.Join(changes, ","))
}

func asked(state, source, more string) string {
	return fmt.Sprintf(`{%s,"pullrequest":{"type":"pullrequest","id":7,"title":"Sell tea","state":%q,"author":%s,
		"source":{"branch":{"name":"tea"},%s},"destination":{"branch":{"name":"main"},"commit":{"hash":"111111111111"},"repository":%s},
		"merge_commit":null,"close_source_branch":false,"updated_on":"2026-11-27T12:00:00.000000+00:00"}%s}`, shop, state, hubot, source, shopRepo, more)
}

const (
	own  = `"commit":{"hash":"222222222222"},"repository":` + shopRepo
	fork = `"commit":{"hash":"222222222222"},"repository":{"uuid":"{b7f1c0de-0000-4000-8000-000000000002}","full_name":"hubot/shop"}`
	gone = `"commit":null,"repository":null`
)

func pulled(t forge.EventType, edit func(*forge.PullRequest)) forge.Event {
	p := &forge.PullRequest{
		Number: 7, Title: "Sell tea", Author: forge.Person{ID: "{a0000000-0000-4000-8000-000000000002}", Login: "hubot"}, Open: true,
		HeadRepo: "octo/shop", HeadRef: "refs/heads/tea", HeadSHA: "222222222222", BaseRef: "refs/heads/main",
	}
	if edit != nil {
		edit(p)
	}
	return at(forge.Event{Type: t, Pull: p, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: p.HeadSHA, At: noon})
}

// comment is one by a person, last changed in a second of the minute.
func comment(by, second, more string) string {
	return fmt.Sprintf(`,"comment":{"id":1,"content":{"raw":"/codebuild_run(2222222222222222222222222222222222222222)","markup":"markdown"},"user":%s,"deleted":false,
		"created_on":"2026-11-27T12:00:00.000000+00:00","updated_on":"2026-11-27T12:00:%s+00:00"%s}`, by, second, more)
}

// disguised is a comment that is not as it was written by who sends it.
func disguised(body string) forgetest.Told {
	e := pulled(forge.NotOfInterest, nil)
	e.Note = "a comment that was changed, or is another person's, starts no build"
	return forgetest.Told{Event: "pullrequest:comment_created", Body: body, Disguised: true, Want: []forge.Event{e}}
}

func closed(p *forge.PullRequest) { p.Open = false }

var telling = forgetest.Telling{
	Deliveries: bitbucket.Provider.Deliveries, EventName: "X-Event-Key", IDName: "X-Request-UUID",
	Sign: sign, Signature: "X-Hub-Signature",
	Foreign: []string{"X-Hub-Signature-256", "X-Gitea-Signature", "X-Gitlab-Token", "Authorization"},
	Told: map[string]forgetest.Told{
		"push": {
			Event: "repo:push", Body: pushed(change(ref("branch", "main", first), ref("branch", "main", second))),
			Want: one(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: second, Message: "Count again\n"}),
		},
		"push of several": {
			Event: "repo:push", Body: pushed(
				change(ref("branch", "main", first), ref("branch", "main", second)), change("null", ref("branch", "tea/green", second)),
				change("null", ref("tag", "v1.2", second)), change(ref("branch", "old", first), "null"), change(ref("tag", "v0", first), "null")),
			Want: []forge.Event{
				at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: second, Message: "Count again\n"}),
				at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/tea/green", Before: forge.Zeros, SHA: second, Message: "Count again\n"}),
				at(forge.Event{Type: forge.Push, HeadRef: "refs/tags/v1.2", Before: forge.Zeros, SHA: second, Message: "Count again\n"}),
				at(forge.Event{Note: "the branch was deleted", HeadRef: "refs/heads/old", Before: first}),
				at(forge.Event{Note: "the tag was deleted", HeadRef: "refs/tags/v0", Before: first}),
			},
		},
		"push of nothing": {Event: "repo:push", Body: pushed(), Want: one(forge.Event{Note: "a push without changes starts no build"})},
		"created":         {Event: "pullrequest:created", Body: asked("OPEN", own, ""), Want: []forge.Event{pulled(forge.PullCreated, nil)}},
		"updated":         {Event: "pullrequest:updated", Body: asked("OPEN", own, ""), Want: []forge.Event{pulled(forge.PullUpdated, nil)}},
		"fulfilled": {
			Event: "pullrequest:fulfilled",
			Body:  strings.Replace(asked("MERGED", own, ""), `"merge_commit":null`, `"merge_commit":{"hash":"333333333333"}`, 1),
			Want:  []forge.Event{pulled(forge.PullMerged, closed)},
		},
		"fulfilled, branch closed": {
			Event: "pullrequest:fulfilled",
			Body:  strings.Replace(asked("MERGED", own, ""), `"merge_commit":null,"close_source_branch":false`, `"merge_commit":{"hash":"333333333333"},"close_source_branch":true`, 1),
			Want: func() []forge.Event {
				e := pulled(forge.PullMerged, closed)
				e.Merge = "333333333333"
				return []forge.Event{e}
			}(),
		},
		"rejected": {Event: "pullrequest:rejected", Body: asked("DECLINED", own, ""), Want: []forge.Event{pulled(forge.PullClosed, closed)}},
		"from a fork": {
			Event: "pullrequest:created", Body: asked("OPEN", fork, ""),
			Want: []forge.Event{pulled(forge.PullCreated, func(p *forge.PullRequest) {
				p.Fork, p.HeadRepo, p.HeadURL = true, "hubot/shop", "https://bitbucket.org/hubot/shop.git"
			})},
		},
		"from a fork that is gone": {
			Event: "pullrequest:created", Body: asked("OPEN", gone, ""),
			Want: []forge.Event{pulled(forge.PullCreated, func(p *forge.PullRequest) { p.Fork, p.HeadRepo, p.HeadSHA = true, "", "" })},
		},
		"comment": {
			Event: "pullrequest:comment_created",
			Body:  asked("OPEN", own, comment(mona, "00.000200", "")),
			Want: func() []forge.Event {
				e := pulled(forge.Comment, nil)
				e.Text = "/codebuild_run(" + second + ")"
				return []forge.Event{e}
			}(),
		},
		"comment edited":                {Event: "pullrequest:comment_updated", Body: asked("OPEN", own, comment(mona, "30.000000", "")), Want: one(forge.Event{Note: "the event pullrequest:comment_updated starts no build"})},
		"approved":                      {Event: "pullrequest:approved", Body: asked("OPEN", own, `,"approval":{"date":"2026-11-27T12:00:00.000000+00:00","user":`+mona+`}`), Want: one(forge.Event{Note: "the event pullrequest:approved starts no build"})},
		"edited comment as a new one":   disguised(asked("OPEN", own, comment(mona, "30.000000", ""))),
		"resolved comment as a new one": disguised(asked("OPEN", own, comment(hubot, "00.000000", ""))),
		"deleted comment as a new one":  disguised(asked("OPEN", own, comment(mona, "00.000000", `,"deleted":true`))),
		"merged one as a new one": {
			Event: "pullrequest:created", Body: asked("MERGED", own, ""), Disguised: true,
			Want: func() []forge.Event {
				e := pulled(forge.NotOfInterest, closed)
				e.Note = "the state of the pull request is not that of the event"
				return []forge.Event{e}
			}(),
		},
		"approval as an update": {Event: "pullrequest:updated", Body: asked("OPEN", own, `,"approval":{}`), Err: "is not of the event in the header X-Event-Key"},
		"comment as an update":  {Event: "pullrequest:updated", Body: asked("OPEN", own, comment(mona, "00.000000", "")), Err: "is not of the event in the header X-Event-Key"},
		"fork made":             {Event: "repo:fork", Body: `{` + shop + `,"fork":` + shopRepo + `}`, Want: one(forge.Event{Note: "the event repo:fork starts no build"})},
		"of nobody": {
			Event: "repo:push", Body: strings.Replace(pushed(), mona, `null`, 1),
			Want: []forge.Event{{Note: "a push without changes starts no build", Repository: "octo/shop", RepositoryID: "{b7f1c0de-0000-4000-8000-000000000001}"}},
		},
		"push header, other body":   {Event: "repo:push", Body: asked("OPEN", own, ""), Err: "member push of the delivery is missing"},
		"pull header, other body":   {Event: "pullrequest:created", Body: pushed(change("null", ref("tag", "v1", first))), Err: "member pullrequest of the delivery is missing"},
		"comment header, no text":   {Event: "pullrequest:comment_created", Body: asked("OPEN", own, ""), Err: "member comment"},
		"pull of another place":     {Event: "pullrequest:created", Body: strings.Replace(asked("OPEN", own, ""), `000000000001}`, `000000000009}`, 1), Err: "is not the repository of the event"},
		"branch of Mercurial":       {Event: "repo:push", Body: pushed(change("null", ref("named_branch", "main", first))), Err: "is neither branch nor tag"},
		"from nothing to nothing":   {Event: "repo:push", Body: pushed(change("null", "null")), Err: "push.changes"},
		"short commit of a push":    {Event: "repo:push", Body: pushed(change("null", ref("branch", "main", "222222222222"))), Err: "is not the id of a commit"},
		"branch with a line":        {Event: "repo:push", Body: pushed(change("null", ref("branch", "main\nx", first))), Err: "is not the name of a ref"},
		"branch that is an option":  {Event: "repo:push", Body: pushed(change("null", ref("branch", "a:b", first))), Err: "is not the name of a ref"},
		"account id with a newline": {Event: "repo:push", Body: strings.Replace(pushed(), "557058:", `557058:\n`, 1), Err: "actor.account_id"},
	},
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	telling.Run(t)
}

func FuzzParse(f *testing.F)  { telling.FuzzParse(f) }
func FuzzVerify(f *testing.F) { telling.FuzzVerify(f) }
