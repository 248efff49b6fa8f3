package gitlab_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitlab"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
	third  = "3333333333333333333333333333333333333333"

	shopProject = `{"id":15,"name":"Shop","namespace":"Octo","path_with_namespace":"octo/tea/shop","git_http_url":"https://gitlab.example.com/octo/tea/shop.git","default_branch":"main"}`
	shop        = `"project":` + shopProject
	mona        = `"user":{"id":5,"name":"Mona","username":"mona","email":"[REDACTED]"}`
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(e forge.Event) []forge.Event {
	e.Repository, e.RepositoryID, e.Organization = "octo/tea/shop", "15", "octo/tea"
	e.Actor = forge.Person{ID: "5", Login: "mona"}
	return []forge.Event{e}
}

func pushed(kind, ref, before, after, checkout string, total int, commits ...string) string {
	return fmt.Sprintf(`{"object_kind":%q,"event_name":%q,"before":%q,"after":%q,"ref":%q,"checkout_sha":%s,"user_id":5,"user_name":"Mona","user_username":"mona","project_id":15,%s,"commits":[%s],"total_commits_count":%d}`,
		kind, kind, before, after, ref, checkout, shop, strings.Join(commits, ","), total)
}

func commit(id, files string) string {
	return fmt.Sprintf(`{"id":%q,"message":"Count again\n","title":"Count again","author":{"name":"root","email":"root@example.com"},%s}`, id, files)
}

// attributes are those of a merge request from source.
func attributes(state string, project int, source, more string) string {
	return fmt.Sprintf(`{"id":99,"iid":7,"title":"Sell tea","state":%q,"author_id":2,"source_branch":"tea","target_branch":"main","source_project_id":%d,"target_project_id":15,
		"source":%s,"target":%s,"last_commit":{"id":%q,"message":"Sell tea\n","author":{"name":"root"}},"merge_commit_sha":null,"updated_at":"2026-11-27 12:00:00 UTC"%s}`,
		state, project, source, shopProject, second, more)
}

func asked(state string, project int, source, more string) string {
	return fmt.Sprintf(`{"object_kind":"merge_request","event_type":"merge_request",%s,%s,"object_attributes":%s,"changes":{}}`, mona, shop, attributes(state, project, source, more))
}

func pull(edit func(*forge.PullRequest)) *forge.PullRequest {
	p := &forge.PullRequest{
		Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2"}, Open: true,
		HeadRepo: "octo/tea/shop", HeadRef: "refs/heads/tea", HeadSHA: second, BaseRef: "refs/heads/main",
	}
	if edit != nil {
		edit(p)
	}
	return p
}

func pulled(t forge.EventType, note string, edit func(*forge.PullRequest)) forge.Event {
	p := pull(edit)
	return forge.Event{Type: t, Note: note, Pull: p, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: second, Message: "Sell tea\n", At: noon}
}

func closed(p *forge.PullRequest) { p.Open = false }

func noted(more string) string {
	return fmt.Sprintf(`{"object_kind":"note","event_type":"note",%s,"project_id":15,%s,"object_attributes":{"id":1,"note":"/codebuild_run(%s)","noteable_type":"MergeRequest","author_id":5,"system":false,"created_at":"2026-11-27 12:00:00 UTC",%s},"merge_request":%s}`,
		mona, shop, second, more, attributes("opened", 15, shopProject, ""))
}

func noting(t forge.EventType, note string) []forge.Event {
	p := pull(nil)
	return at(forge.Event{Type: t, Note: note, Pull: p, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: second, Text: "/codebuild_run(" + second + ")", At: noon})
}

func nobody(e forge.Event) []forge.Event {
	events := at(e)
	events[0].Actor = forge.Person{}
	return events
}

func released(action string) string {
	return fmt.Sprintf(`{"id":1,"object_kind":"release","action":%q,"name":"Tea","tag":"v1.2","released_at":"2026-11-27 12:00:00 UTC",%s,"commit":{"id":%q,"message":"Sell tea\n"}}`, action, shop, second)
}

func job(status string, tag bool) string {
	return fmt.Sprintf(`{"object_kind":"build","ref":"main","tag":%t,"before_sha":%q,"sha":%q,"build_id":1,"build_name":"test","build_stage":"test","build_status":%q,"build_created_at":"2026-11-27T12:00:00.000Z",%s,%s}`,
		tag, first, second, status, mona, shop)
}

var told = map[string]forgetest.Told{
	"push": {
		Event: "Push Hook", Body: pushed("push", "refs/heads/main", first, third, `"`+third+`"`, 2, commit(second, `"added":[],"modified":["b"],"removed":["a"]`), commit(third, `"added":[],"modified":["b"],"removed":[]`)),
		Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n", Files: []string{"a", "b"}, FilesKnown: true}),
	},
	"push with a file that may be a renamed one": {
		Event: "Push Hook", Body: pushed("push", "refs/heads/main", first, third, `"`+third+`"`, 1, commit(third, `"added":["b"],"modified":[],"removed":[]`)),
		Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n", Files: []string{"b"}}),
	},
	"push of more than are told": {
		Event: "Push Hook", Body: pushed("push", "refs/heads/main", first, third, `"`+third+`"`, 21, commit(third, `"modified":["b"]`)),
		Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n", Files: []string{"b"}}),
	},
	"new branch": {
		Event: "Push Hook", Body: pushed("push", "refs/heads/tea", forge.Zeros, third, `"`+third+`"`, 0),
		Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/tea", Before: forge.Zeros, SHA: third}),
	},
	"annotated tag": {
		Event: "Tag Push Hook", Body: pushed("tag_push", "refs/tags/v1.2", forge.Zeros, first, `"`+third+`"`, 0),
		Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/tags/v1.2", Before: forge.Zeros, SHA: third}),
	},
	"branch deleted": {
		Event: "Push Hook", Body: pushed("push", "refs/heads/tea", third, forge.Zeros, "null", 0),
		Want: at(forge.Event{Note: "the branch was deleted", HeadRef: "refs/heads/tea", Before: third}),
	},
	"tag deleted": {
		Event: "Tag Push Hook", Body: pushed("tag_push", "refs/tags/v1.2", third, forge.Zeros, "null", 0),
		Want: at(forge.Event{Note: "the tag was deleted", HeadRef: "refs/tags/v1.2", Before: third}),
	},
	"open": {Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, `,"action":"open"`), Want: at(pulled(forge.PullCreated, "", nil))},
	"open by who acts": {
		Event: "Merge Request Hook", Body: strings.Replace(asked("opened", 15, shopProject, `,"action":"open"`), `"author_id":2`, `"author_id":5`, 1),
		Want: at(pulled(forge.PullCreated, "", func(p *forge.PullRequest) { p.Author = forge.Person{ID: "5", Login: "mona"} })),
	},
	"update": {Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, `,"action":"update","oldrev":"`+first+`"`), Want: at(pulled(forge.PullUpdated, "", nil))},
	"update of the title": {
		Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, `,"action":"update"`),
		Want: at(pulled(forge.NotOfInterest, "an update of a merge request without new commits starts no build", nil)),
	},
	"reopen": {Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, `,"action":"reopen"`), Want: at(pulled(forge.PullReopened, "", nil))},
	"close":  {Event: "Merge Request Hook", Body: asked("closed", 15, shopProject, `,"action":"close"`), Want: at(pulled(forge.PullClosed, "", closed))},
	"merge": {
		Event: "Merge Request Hook", Body: strings.Replace(asked("merged", 15, shopProject, `,"action":"merge"`), `"merge_commit_sha":null`, `"merge_commit_sha":"`+third+`"`, 1),
		Want: at(pulled(forge.PullMerged, "", closed)), // whether it was a squash has to be asked
	},
	"approved":     {Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, `,"action":"approved"`), Want: at(pulled(forge.NotOfInterest, "the action approved starts no build", nil))},
	"of no action": {Event: "Merge Request Hook", Body: asked("opened", 15, shopProject, ``), Want: at(pulled(forge.NotOfInterest, "an action that Corbel does not know", nil))},
	"from a fork": {
		Event: "Merge Request Hook", Body: asked("opened", 16, `{"id":16,"path_with_namespace":"hubot/shop","git_http_url":"https://gitlab.example.com/hubot/shop.git"}`, `,"action":"open"`),
		Want: at(pulled(forge.PullCreated, "", func(p *forge.PullRequest) {
			p.Fork, p.HeadRepo, p.HeadURL = true, "hubot/shop", "https://gitlab.example.com/hubot/shop.git"
		})),
	},
	"from a fork that is gone": {
		Event: "Merge Request Hook", Body: asked("opened", 0, "null", `,"action":"open"`),
		Want: at(pulled(forge.PullCreated, "", func(p *forge.PullRequest) { p.Fork, p.HeadRepo = true, "" })),
	},
	"note":                      {Event: "Note Hook", Body: noted(`"updated_at":"2026-11-27 12:34:56 UTC","action":"create"`), Want: noting(forge.Comment, "")},
	"note of an older version":  {Event: "Note Hook", Body: noted(`"updated_at":"2026-11-27 12:00:00 UTC"`), Want: noting(forge.Comment, "")},
	"note edited":               {Event: "Note Hook", Body: noted(`"updated_at":"2026-11-27 12:34:56 UTC","action":"update"`), Want: noting(forge.NotOfInterest, "a comment that was changed starts no build")},
	"note edited, of old":       {Event: "Note Hook", Body: noted(`"updated_at":"2026-11-27 12:34:56 UTC"`), Want: noting(forge.NotOfInterest, "a comment that was changed starts no build")},
	"note by GitLab":            {Event: "Note Hook", Body: strings.Replace(noted(`"action":"create"`), `"system":false`, `"system":true`, 1), Want: noting(forge.NotOfInterest, "a comment by GitLab itself starts no build")},
	"note on an issue":          {Event: "Note Hook", Body: strings.Replace(noted(`"action":"create"`), `"MergeRequest"`, `"Issue"`, 1), Want: at(forge.Event{Note: "a comment that is not on a merge request starts no build"})},
	"release":                   {Event: "Release Hook", Body: released("create"), Want: nobody(forge.Event{Type: forge.Released, HeadRef: "refs/tags/v1.2", SHA: second, Message: "Sell tea\n", Release: "Tea", Tag: "v1.2", At: noon})},
	"release updated":           {Event: "Release Hook", Body: released("update"), Want: nobody(forge.Event{Type: forge.Released, HeadRef: "refs/tags/v1.2", SHA: second, Message: "Sell tea\n", Release: "Tea", Tag: "v1.2", At: noon})},
	"release deleted":           {Event: "Release Hook", Body: released("delete"), Want: nobody(forge.Event{Note: "the action delete starts no build"})},
	"job waits":                 {Event: "Job Hook", Body: job("pending", false), Want: at(forge.Event{Type: forge.WorkflowJobQueued, HeadRef: "refs/heads/main", SHA: second, Workflow: "test", At: noon})},
	"job of a tag waits":        {Event: "Job Hook", Body: job("pending", true), Want: at(forge.Event{Type: forge.WorkflowJobQueued, HeadRef: "refs/tags/main", SHA: second, Workflow: "test", At: noon})},
	"job runs":                  {Event: "Job Hook", Body: job("running", false), Want: at(forge.Event{Note: "the job status running starts no build"})},
	"pipeline":                  {Event: "Pipeline Hook", Body: `{"object_kind":"pipeline","object_attributes":{"id":1},` + mona + `,` + shop + `}`, Want: at(forge.Event{Note: "the event Pipeline Hook starts no build"})},
	"push header, other kind":   {Event: "Push Hook", Body: pushed("tag_push", "refs/tags/v1", first, second, `"`+second+`"`, 0), Err: "object_kind"},
	"merge header, other body":  {Event: "Merge Request Hook", Body: noted(`"action":"create"`), Err: "object_kind"},
	"merge of another place":    {Event: "Merge Request Hook", Body: strings.Replace(asked("opened", 15, shopProject, `,"action":"open"`), `"target_project_id":15`, `"target_project_id":16`, 1), Err: "is not the project of the event"},
	"enormous id of the person": {Event: "Push Hook", Body: strings.Replace(pushed("push", "refs/heads/a", first, second, `"`+second+`"`, 0), `"user_id":5`, `"user_id":5e400`, 1), Err: "user_id"},
}

// byToken is how every version proves itself: the secret is in a header, and
// nothing covers the body.
var byToken = forgetest.Telling{
	Deliveries: gitlab.Provider.Deliveries, EventName: "X-Gitlab-Event", IDName: "X-Gitlab-Event-UUID", Told: told,
	Sign: func(h http.Header, _ []byte, secret api.Secret, _ time.Time) {
		h.Set("X-Gitlab-Token", secret.Reveal())
	},
	Foreign: []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "Webhook-Signature", "Authorization"},
}

// bySignature is how newer ones do.
var bySignature = forgetest.Telling{
	Deliveries: gitlab.Provider.Deliveries, EventName: "X-Gitlab-Event", IDName: "X-Gitlab-Event-UUID", Told: told,
	Sign: func(h http.Header, body []byte, secret api.Secret, now time.Time) {
		signAt(h, "f5a8ee60-7a66-4f5e-9e0d-0a9b0a4e4a0f", strconv.FormatInt(now.Unix(), 10), body, secret)
	},
	Signature: "Webhook-Signature",
	Foreign:   []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "X-Gitlab-Token", "Authorization"},
}

func signAt(h http.Header, id, at string, body []byte, secret api.Secret) {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	t.Run("Token", byToken.Run)
	t.Run("Signature", bySignature.Run)
}

func FuzzParse(f *testing.F)  { byToken.FuzzParse(f) }
func FuzzVerify(f *testing.F) { bySignature.FuzzVerify(f) }

func TestDeliveries_StandardWebhooks(t *testing.T) {
	t.Parallel()
	const key = "Zm9yZ2V0ZXN0U2lnbmluZ0tleTAwMDAwMDAwMDAwMDE="
	body := []byte(`{"object_kind":"push"}`)
	now := func(off time.Duration) string { return strconv.FormatInt(noon.Add(off).Unix(), 10) }
	for name, c := range map[string]struct {
		secret api.Secret
		edit   func(h http.Header)
		ok     bool
	}{
		"prefix":            {"whsec_" + key, func(http.Header) {}, true},
		"no prefix":         {key, func(http.Header) {}, true},
		"two prefixes":      {"whsec_whsec_" + key, func(http.Header) {}, false},
		"no base64":         {"whsec_not base64", func(http.Header) {}, false},
		"a prefix only":     {"whsec_", func(http.Header) {}, false},
		"five minutes old":  {key, func(h http.Header) { signAt(h, "a", now(-5*time.Minute), body, key) }, true},
		"older":             {key, func(h http.Header) { signAt(h, "a", now(-5*time.Minute-time.Second), body, key) }, false},
		"five minutes off":  {key, func(h http.Header) { signAt(h, "a", now(5*time.Minute), body, key) }, true},
		"more off":          {key, func(h http.Header) { signAt(h, "a", now(5*time.Minute+time.Second), body, key) }, false},
		"at no time":        {key, func(h http.Header) { signAt(h, "a", "noon", body, key) }, false},
		"with a plus":       {key, func(h http.Header) { signAt(h, "a", "+"+now(0), body, key) }, false},
		"the end of time":   {key, func(h http.Header) { signAt(h, "a", "9223372036854775807", body, key) }, false},
		"before all":        {key, func(h http.Header) { signAt(h, "a", "-9223372036854775808", body, key) }, false},
		"id with a dot":     {key, func(h http.Header) { signAt(h, "a.b", now(0), body, key) }, false},
		"several":           {key, func(h http.Header) { h.Set("Webhook-Signature", "v1a,AAAA v1,AAAA "+h.Get("Webhook-Signature")) }, true},
		"several, none":     {key, func(h http.Header) { h.Set("Webhook-Signature", "v1,AAAA v1,BBBB") }, false},
		"another version":   {key, func(h http.Header) { h.Set("Webhook-Signature", "v2"+h.Get("Webhook-Signature")[2:]) }, false},
		"and a right token": {key, func(h http.Header) { h.Set("X-Gitlab-Token", key) }, true},
		"and a wrong token": {key, func(h http.Header) { h.Set("X-Gitlab-Token", key[1:]) }, false},
		"wrong, but a right token": {key, func(h http.Header) {
			h.Set("X-Gitlab-Token", key)
			h.Set("Webhook-Signature", "v1,AAAA")
		}, false},
	} {
		h := http.Header{}
		signAt(h, "a", now(0), body, c.secret)
		c.edit(h)
		if id, err := gitlab.Provider.Deliveries.Verify(h, body, c.secret, noon); (err == nil) != c.ok || c.ok && id != "a" {
			t.Errorf("%s: id %q, error %v", name, id, err)
		}
	}
}

// TestDeliveries_ID: what tells deliveries with one body apart is what GitLab
// keeps when it delivers again, and of a signed one what is signed.
func TestDeliveries_ID(t *testing.T) {
	t.Parallel()
	const key, text = "whsec_Zm9yZ2V0ZXN0U2lnbmluZ0tleTAwMDAwMDAwMDAwMDE=", "PlantedSecretThatIsNoSigningKey_0000000001"
	body := []byte(`{"object_kind":"push"}`)
	header := func(list ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(list); i += 2 {
			h.Add(list[i], list[i+1])
		}
		return h
	}
	signed := func(h http.Header) http.Header {
		signAt(h, "signed", strconv.FormatInt(noon.Unix(), 10), body, key)
		return h
	}
	for name, c := range map[string]struct {
		h      http.Header
		secret api.Secret
		id     string
		ok     bool
	}{
		"a token":                            {header("X-Gitlab-Token", text, "Idempotency-Key", "again", "X-Gitlab-Event-UUID", "event"), text, "again", true},
		"a token of an older version":        {header("X-Gitlab-Token", text, "X-Gitlab-Event-UUID", "event"), text, "event", true},
		"a token and no id":                  {header("X-Gitlab-Token", text), text, "", true},
		"a token and two ids":                {header("X-Gitlab-Token", text, "Idempotency-Key", "a", "Idempotency-Key", "b"), text, "", true},
		"a key as token":                     {header("X-Gitlab-Token", key, "Idempotency-Key", "again"), key, "again", true},
		"a signature":                        {signed(header("Idempotency-Key", "forged", "X-Gitlab-Event-UUID", "forged")), key, "signed", true},
		"a signature and the token":          {signed(header("X-Gitlab-Token", key, "Idempotency-Key", "forged")), key, "signed", true},
		"a token, and a key of somebody's":   {signed(header("X-Gitlab-Token", text, "Idempotency-Key", "again")), text, "again", true},
		"no token, and a key of somebody's":  {signed(header("Idempotency-Key", "again")), text, "", false},
		"a wrong one, and that of somebody":  {signed(header("X-Gitlab-Token", text[1:], "Idempotency-Key", "again")), text, "", false},
		"a wrong one, and a right signature": {signed(header("X-Gitlab-Token", text)), key, "", false},
	} {
		id, err := gitlab.Provider.Deliveries.Verify(c.h, body, c.secret, noon)
		if (err == nil) != c.ok || id != c.id {
			t.Errorf("%s: id %q, error %v; want %q", name, id, err, c.id)
		}
	}
}
