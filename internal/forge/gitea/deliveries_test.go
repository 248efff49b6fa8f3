package gitea_test

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
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/gitea"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
	third  = "3333333333333333333333333333333333333333"

	shopRepo = `{"id":12,"owner":{"id":3,"login":"octo-org","username":"octo-org"},"name":"shop","full_name":"octo-org/shop","clone_url":"https://git.example.com/octo-org/shop.git"}`
	shop     = `"repository":` + shopRepo + `,"sender":{"id":5,"login":"mona","username":"mona"}`
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func sign(h http.Header, body []byte, secret api.Secret, _ time.Time) {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	h.Set("X-Gitea-Signature", hex.EncodeToString(mac.Sum(nil)))
}

func at(e forge.Event) []forge.Event {
	e.Repository, e.RepositoryID, e.Organization = "octo-org/shop", "12", "octo-org"
	e.Actor = forge.Person{ID: "5", Login: "mona"}
	return []forge.Event{e}
}

func pushed(ref, before, after string, total int, commits ...string) string {
	head := "null"
	if after != forge.Zeros {
		head = commit(after, "")
	}
	return fmt.Sprintf(`{"ref":%q,"before":%q,"after":%q,"compare_url":"","commits":[%s],"total_commits":%d,"head_commit":%s,"pusher":{"id":5,"login":"mona"},%s}`,
		ref, before, after, strings.Join(commits, ","), total, head, shop)
}

func commit(id, file string) string {
	return fmt.Sprintf(`{"id":%q,"message":"Count again\n","author":{"name":"root","username":"admin"},"added":[%q],"removed":[],"modified":null}`, id, file)
}

func asked(action, state, ref, head string) string {
	return fmt.Sprintf(`{"action":%q,"number":7,"pull_request":{"id":99,"number":7,"user":{"id":2,"login":"hubot"},"title":"Sell tea","state":%q,"merged":%t,
		"base":{"label":"main","ref":"main","sha":%q,"repo_id":12,"repo":%s},"head":{"label":"tea","ref":%q,"sha":%q,"repo_id":12,"repo":%s},"updated_at":"2026-11-27T12:00:00Z"},"commit_id":"",%s}`,
		action, strings.TrimPrefix(state, "merged "), strings.HasPrefix(state, "merged "), first, shopRepo, ref, second, head, shop)
}

func pulled(t forge.EventType, note string, edit func(*forge.PullRequest)) []forge.Event {
	p := &forge.PullRequest{
		Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2", Login: "hubot"}, Open: true,
		HeadRepo: "octo-org/shop", HeadRef: "refs/heads/tea", HeadSHA: second, BaseRef: "refs/heads/main",
	}
	if edit != nil {
		edit(p)
	}
	return at(forge.Event{Type: t, Note: note, Pull: p, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: second, At: noon})
}

func commented(action string, isPull bool) string {
	return fmt.Sprintf(`{"action":%q,"issue":{"id":98,"number":7,"user":{"id":2,"login":"hubot"},"title":"Sell tea","state":"open"},
		"comment":{"id":1,"body":"/codebuild_run(%s)","user":{"id":5,"login":"mona"},"created_at":"2026-11-27T12:00:00Z"},"is_pull":%t,%s}`, action, second, isPull, shop)
}

func released(action, more string) string {
	return fmt.Sprintf(`{"action":%q,"release":{"id":1,"tag_name":"v1.2","target_commitish":"main","name":"Tea","published_at":"2026-11-27T12:00:00Z",%s},%s}`, action, more, shop)
}

var (
	comments = forge.Event{
		Type: forge.Comment, Text: "/codebuild_run(" + second + ")", At: noon,
		Pull: &forge.PullRequest{Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2", Login: "hubot"}, Open: true, Fork: true},
	}
	tea = forge.Event{HeadRef: "refs/tags/v1.2", Tag: "v1.2", Release: "Tea", At: noon}
)

func as(e forge.Event, t forge.EventType, note string) []forge.Event {
	e.Type, e.Note = t, note
	return at(e)
}

var telling = forgetest.Telling{
	Deliveries: gitea.Provider.Deliveries, EventName: "X-Gitea-Event", IDName: "X-Gitea-Delivery",
	Sign: sign, Signature: "X-Gitea-Signature",
	Foreign: []string{"X-Hub-Signature", "X-Hub-Signature-256", "X-Gogs-Signature", "X-Gitlab-Token", "Authorization"},
	Told: map[string]forgetest.Told{
		"push": {
			Event: "push", Body: pushed("refs/heads/main", first, third, 2, commit(third, "b"), commit(second, "a")),
			Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n", Files: []string{"a", "b"}, FilesKnown: true}),
		},
		"push of more than are told": {
			Event: "push", Body: pushed("refs/heads/main", first, third, 9, commit(third, "b")),
			Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n", Files: []string{"b"}}),
		},
		"new branch": {
			Event: "push", Body: pushed("refs/heads/tea", forge.Zeros, third, 1, commit(third, "b")),
			Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/tea", Before: forge.Zeros, SHA: third, Message: "Count again\n", Files: []string{"b"}}),
		},
		"tag": {
			Event: "push", Body: pushed("refs/tags/v1", forge.Zeros, third, 0),
			Want: at(forge.Event{Type: forge.Push, HeadRef: "refs/tags/v1", Before: forge.Zeros, SHA: third, Message: "Count again\n"}),
		},
		"branch deleted": {
			Event: "push", Body: pushed("refs/heads/tea", third, forge.Zeros, 0),
			Want: at(forge.Event{Note: "the branch was deleted", HeadRef: "refs/heads/tea", Before: third}),
		},
		"opened":       {Event: "pull_request", Body: asked("opened", "open", "tea", shopRepo), Want: pulled(forge.PullCreated, "", nil)},
		"synchronized": {Event: "pull_request", Body: asked("synchronized", "open", "tea", shopRepo), Want: pulled(forge.PullUpdated, "", nil)},
		"reopened":     {Event: "pull_request", Body: asked("reopened", "open", "tea", shopRepo), Want: pulled(forge.PullReopened, "", nil)},
		"closed":       {Event: "pull_request", Body: asked("closed", "closed", "tea", shopRepo), Want: pulled(forge.PullClosed, "", func(p *forge.PullRequest) { p.Open = false })},
		"merged":       {Event: "pull_request", Body: asked("closed", "merged closed", "tea", shopRepo), Want: pulled(forge.PullMerged, "", func(p *forge.PullRequest) { p.Open = false })},
		"edited":       {Event: "pull_request", Body: asked("edited", "open", "tea", shopRepo), Want: pulled(forge.NotOfInterest, "the action edited starts no build", nil)},
		"from a fork": {
			Event: "pull_request", Body: asked("opened", "open", "tea", `{"id":13,"full_name":"hubot/shop","clone_url":"https://git.example.com/hubot/shop.git"}`),
			Want: pulled(forge.PullCreated, "", func(p *forge.PullRequest) {
				p.Fork, p.HeadRepo, p.HeadURL = true, "hubot/shop", "https://git.example.com/hubot/shop.git"
			}),
		},
		"from a fork that is gone": {
			Event: "pull_request", Body: asked("opened", "open", "refs/pull/7/head", "null"),
			Want: pulled(forge.PullCreated, "", func(p *forge.PullRequest) { p.Fork, p.HeadRepo, p.HeadRef = true, "", "refs/pull/7/head" }),
		},
		"comment":             {Event: "issue_comment", Body: commented("created", true), Want: at(comments)},
		"comment edited":      {Event: "issue_comment", Body: commented("edited", true), Want: as(comments, forge.NotOfInterest, "the action edited starts no build")},
		"comment on an issue": {Event: "issue_comment", Body: commented("created", false), Want: at(forge.Event{Note: "a comment on an issue starts no build"})},
		"review":              {Event: "pull_request_comment", Body: asked("reviewed", "open", "tea", shopRepo), Want: at(forge.Event{Note: "the event pull_request_comment starts no build"})},
		"released":            {Event: "release", Body: released("published", `"draft":false,"prerelease":false`), Want: as(tea, forge.Released, "")},
		"prereleased":         {Event: "release", Body: released("published", `"draft":false,"prerelease":true`), Want: as(tea, forge.Prereleased, "")},
		"draft":               {Event: "release", Body: released("published", `"draft":true,"prerelease":false`), Want: at(forge.Event{Note: "a draft of a release starts no build"})},
		"release deleted":     {Event: "release", Body: released("deleted", `"draft":false`), Want: at(forge.Event{Note: "the action deleted starts no build"})},
		"of the server itself": {
			Event: "create", Body: strings.Replace(`{"ref":"tea","ref_type":"branch",`+shop+`}`, `"sender":{"id":5`, `"sender":{"id":-2`, 1),
			Want: []forge.Event{{Note: "the event create starts no build", Repository: "octo-org/shop", RepositoryID: "12", Organization: "octo-org"}},
		},
		"push header, other body": {Event: "push", Body: asked("opened", "open", "tea", shopRepo), Err: "member ref"},
		"pull of another place":   {Event: "pull_request", Body: strings.Replace(asked("opened", "open", "tea", shopRepo), `"id":12`, `"id":13`, 1), Err: "is not the repository of the event"},
	},
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	telling.Run(t)
}

func FuzzParse(f *testing.F)  { telling.FuzzParse(f) }
func FuzzVerify(f *testing.F) { telling.FuzzVerify(f) }

// The server sends its own header and GitHub's. Either will do alone, and none
// may be wrong.
func TestDeliveries_TwoSignatures(t *testing.T) {
	t.Parallel()
	body, secret := []byte(`{}`), api.Secret("forgetest-hook-secret-0000000003")
	h := http.Header{}
	sign(h, body, secret, noon)
	right := h.Get("X-Gitea-Signature")
	wrong := strings.Repeat("0", len(right))
	for _, c := range []struct {
		own, compatible string
		ok              bool
	}{
		{right, "sha256=" + right, true},
		{right, "", true},
		{"", "sha256=" + right, true},
		{wrong, "sha256=" + right, false},
		{right, "sha256=" + wrong, false},
		{right, right, false},
		{"sha256=" + right, "", false},
		{"", "", false},
	} {
		h := http.Header{}
		if c.own != "" {
			h.Set("X-Gitea-Signature", c.own)
		}
		if c.compatible != "" {
			h.Set("X-Hub-Signature-256", c.compatible)
		}
		if _, err := gitea.Provider.Deliveries.Verify(h, body, secret, noon); (err == nil) != c.ok {
			t.Errorf("own %.10q, compatible %.16q: error %v", c.own, c.compatible, err)
		}
	}
}
