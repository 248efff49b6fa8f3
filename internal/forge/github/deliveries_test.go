package github_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/forge/github"
)

const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
	third  = "3333333333333333333333333333333333333333"

	shop   = `"repository":{"id":1296269,"full_name":"octo-org/shop","clone_url":"https://github.com/octo-org/shop.git","owner":{"id":9919,"login":"octo-org","type":"Organization"},"pushed_at":1795780800,"default_branch":"main"}`
	sender = `"organization":{"id":9919,"login":"octo-org"},"sender":{"id":583231,"login":"mona","type":"User"}`
)

func sign(h http.Header, body []byte, secret api.Secret, _ time.Time) {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

// at is an event in the repository shop.
func at(e forge.Event) []forge.Event {
	e.Repository, e.RepositoryID, e.Organization = "octo-org/shop", "1296269", "octo-org"
	if e.Actor == (forge.Person{}) {
		e.Actor = forge.Person{ID: "583231", Login: "mona"}
	}
	return []forge.Event{e}
}

func pushed(ref, before, after, more string) string {
	return fmt.Sprintf(`{"ref":%q,"before":%q,"after":%q,"created":false,"deleted":false,"forced":false,%s,%s,%s}`, ref, before, after, more, shop, sender)
}

func commit(id, files string) string {
	return fmt.Sprintf(`{"id":%q,"message":"Count again\n\nby hand","distinct":true,"author":{"name":"root","email":"root@example.com","username":"admin"},%s}`, id, files)
}

const shopSide = `{"id":1296269,"full_name":"octo-org/shop","clone_url":"https://github.com/octo-org/shop.git"}`

// asked is a body of a pull request from head.
func asked(action, state, head string) string {
	return fmt.Sprintf(`{"action":%q,"number":7,"pull_request":{"number":7,"title":"Sell tea","state":%q,"merged":%t,"draft":false,
		"user":{"id":2,"login":"hubot"},"head":{"ref":"tea","sha":%q,"repo":%s},"base":{"ref":"main","sha":%q,"repo":%s},
		"merge_commit_sha":%q,"updated_at":"2026-11-27T12:00:00Z"},%s,%s}`,
		action, strings.TrimPrefix(state, "merged "), strings.HasPrefix(state, "merged "), second, head, first, shopSide, third, shop, sender)
}

func pull(edit func(*forge.PullRequest)) *forge.PullRequest {
	p := &forge.PullRequest{
		Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2", Login: "hubot"}, Open: true,
		HeadRepo: "octo-org/shop", HeadRef: "refs/heads/tea", HeadSHA: second, BaseRef: "refs/heads/main",
	}
	if edit != nil {
		edit(p)
	}
	return p
}

func pulled(t forge.EventType, note string, edit func(*forge.PullRequest)) []forge.Event {
	return at(forge.Event{
		Type: t, Note: note, Pull: pull(edit), HeadRef: "refs/heads/tea", BaseRef: "refs/heads/main", SHA: second,
		At: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC),
	})
}

func commented(action, issue string) string {
	return fmt.Sprintf(`{"action":%q,"issue":{"number":7,"title":"Sell tea","state":"open","user":{"id":2,"login":"hubot"}%s},
		"comment":{"id":1,"body":"/codebuild_run(%s)","user":{"id":583231,"login":"mona"},"created_at":"2026-11-27T12:00:00Z","author_association":"OWNER"},%s,%s}`,
		action, issue, second, shop, sender)
}

func released(action string) string {
	return fmt.Sprintf(`{"action":%q,"release":{"id":1,"name":"Tea","tag_name":"v1.2","target_commitish":"main","draft":false,"prerelease":false,"published_at":"2026-11-27T12:00:00Z"},%s,%s}`, action, shop, sender)
}

func job(action, branch string) string {
	return fmt.Sprintf(`{"action":%q,"workflow_job":{"id":1,"run_id":2,"workflow_name":"CI","name":"test","status":"queued","head_branch":%s,"head_sha":%q,"labels":["codebuild-shop-2-1"],"created_at":"2026-11-27T12:00:00Z"},%s,%s}`,
		action, branch, second, shop, sender)
}

var (
	noon     = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	comments = forge.Event{
		Type: forge.Comment, Text: "/codebuild_run(" + second + ")", At: noon,
		Pull: &forge.PullRequest{Number: 7, Title: "Sell tea", Author: forge.Person{ID: "2", Login: "hubot"}, Open: true, Fork: true},
	}
)

var telling = forgetest.Telling{
	Deliveries: github.Provider.Deliveries, EventName: "X-GitHub-Event", IDName: "X-GitHub-Delivery",
	Sign: sign, Signature: "X-Hub-Signature-256",
	Foreign: []string{"X-Hub-Signature", "X-Gitea-Signature", "X-Gitlab-Token", "Webhook-Signature", "Authorization"},
	Told: map[string]forgetest.Told{
		"push": {
			Event: "push",
			Body: pushed("refs/heads/main", first, third, `"head_commit":`+commit(third, `"added":[],"modified":["b"],"removed":["a"]`)+`,"commits":[`+
				commit(second, `"added":["a b","é"],"modified":[],"removed":[]`)+`,`+commit(third, `"added":[],"modified":["b"],"removed":["a b"]`)+`]`),
			Want: at(forge.Event{
				Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n\nby hand",
				Files: []string{"a b", "b", "é"}, FilesKnown: true, At: noon,
			}),
		},
		"push of a new branch without commits": {
			Event: "push",
			Body:  pushed("refs/heads/a/b-c", forge.Zeros, second, `"head_commit":`+commit(second, `"added":["x"]`)+`,"commits":[]`),
			Want:  at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/a/b-c", Before: forge.Zeros, SHA: second, Message: "Count again\n\nby hand", At: noon}),
		},
		"push whose list does not reach its head": {
			Event: "push",
			Body:  pushed("refs/heads/main", first, third, `"head_commit":`+commit(third, `"added":[]`)+`,"commits":[`+commit(second, `"added":["a"]`)+`]`),
			Want:  at(forge.Event{Type: forge.Push, HeadRef: "refs/heads/main", Before: first, SHA: third, Message: "Count again\n\nby hand", Files: []string{"a"}, At: noon}),
		},
		"push of an annotated tag": {
			Event: "push",
			Body:  pushed("refs/tags/v1.2", forge.Zeros, first, `"head_commit":`+commit(second, `"added":[]`)+`,"commits":[]`),
			Want:  at(forge.Event{Type: forge.Push, HeadRef: "refs/tags/v1.2", Before: forge.Zeros, SHA: second, Message: "Count again\n\nby hand", At: noon}),
		},
		"branch deleted": {
			Event: "push",
			Body:  pushed("refs/heads/tea", second, forge.Zeros, `"head_commit":null,"commits":[]`),
			Want:  at(forge.Event{Note: "the branch was deleted", HeadRef: "refs/heads/tea", Before: second, At: noon}),
		},
		"tag deleted": {
			Event: "push",
			Body:  pushed("refs/tags/v1", second, forge.Zeros, `"head_commit":null,"commits":[]`),
			Want:  at(forge.Event{Note: "the tag was deleted", HeadRef: "refs/tags/v1", Before: second, At: noon}),
		},
		"push of notes": {
			Event: "push",
			Body:  pushed("refs/notes/commits", first, second, `"head_commit":null,"commits":[]`),
			Want:  at(forge.Event{Note: "a ref changed that is neither a branch nor a tag", HeadRef: "refs/notes/commits", Before: first, SHA: second, At: noon}),
		},
		"opened":      {Event: "pull_request", Body: asked("opened", "open", shopSide), Want: pulled(forge.PullCreated, "", nil)},
		"synchronize": {Event: "pull_request", Body: asked("synchronize", "open", shopSide), Want: pulled(forge.PullUpdated, "", nil)},
		"reopened":    {Event: "pull_request", Body: asked("reopened", "open", shopSide), Want: pulled(forge.PullReopened, "", nil)},
		"closed": {Event: "pull_request", Body: asked("closed", "closed", shopSide), Want: pulled(forge.PullClosed, "", func(p *forge.PullRequest) {
			p.Open = false
		})},
		"merged": {Event: "pull_request", Body: asked("closed", "merged closed", shopSide), Want: pulled(forge.PullMerged, "", func(p *forge.PullRequest) {
			p.Open = false
		})},
		"labeled": {Event: "pull_request", Body: asked("labeled", "open", shopSide), Want: pulled(forge.NotOfInterest, "the action labeled starts no build", nil)},
		"from a fork": {
			Event: "pull_request",
			Body:  asked("opened", "open", `{"id":77,"full_name":"hubot/shop","clone_url":"https://github.com/hubot/shop.git"}`),
			Want: pulled(forge.PullCreated, "", func(p *forge.PullRequest) {
				p.Fork, p.HeadRepo, p.HeadURL = true, "hubot/shop", "https://github.com/hubot/shop.git"
			}),
		},
		"from a repository of the same name": {
			Event: "pull_request",
			Body:  asked("opened", "open", `{"id":77,"full_name":"octo-org/shop","clone_url":"https://user:secret@github.com/octo-org/shop.git"}`),
			Want:  pulled(forge.PullCreated, "", func(p *forge.PullRequest) { p.Fork = true }),
		},
		"from a fork that is gone": {
			Event: "pull_request",
			Body:  asked("opened", "open", "null"),
			Want:  pulled(forge.PullCreated, "", func(p *forge.PullRequest) { p.Fork, p.HeadRepo = true, "" }),
		},
		"comment": {Event: "issue_comment", Body: commented("created", `,"pull_request":{"url":"https://api.github.com/repos/octo-org/shop/pulls/7"}`), Want: at(comments)},
		"comment edited": {Event: "issue_comment", Body: commented("edited", `,"pull_request":{}`), Want: at(func() forge.Event {
			e := comments
			e.Type, e.Note = forge.NotOfInterest, "the action edited starts no build"
			return e
		}())},
		"comment on an issue": {Event: "issue_comment", Body: commented("created", ""), Want: at(forge.Event{Note: "a comment on an issue starts no build"})},
		"released":            {Event: "release", Body: released("released"), Want: at(forge.Event{Type: forge.Released, HeadRef: "refs/tags/v1.2", Tag: "v1.2", Release: "Tea", At: noon})},
		"prereleased":         {Event: "release", Body: released("prereleased"), Want: at(forge.Event{Type: forge.Prereleased, HeadRef: "refs/tags/v1.2", Tag: "v1.2", Release: "Tea", At: noon})},
		"published":           {Event: "release", Body: released("published"), Want: at(forge.Event{Note: "the action published starts no build"})},
		"job queued":          {Event: "workflow_job", Body: job("queued", `"main"`), Want: at(forge.Event{Type: forge.WorkflowJobQueued, HeadRef: "refs/heads/main", SHA: second, Workflow: "CI", At: noon})},
		"job of no branch":    {Event: "workflow_job", Body: job("queued", `null`), Want: at(forge.Event{Type: forge.WorkflowJobQueued, SHA: second, Workflow: "CI", At: noon})},
		"job completed":       {Event: "workflow_job", Body: job("completed", `"main"`), Want: at(forge.Event{Note: "the action completed starts no build", HeadRef: "refs/heads/main", SHA: second, Workflow: "CI", At: noon})},
		"ping":                {Event: "ping", Body: `{"zen":"Keep it logically awesome.","hook_id":1,"hook":{"type":"Repository"},` + shop + `,` + sender + `}`, Want: at(forge.Event{Note: "the event ping starts no build"})},
		"ping of an organization": {
			Event: "ping", Body: `{"zen":"Keep it logically awesome.","hook_id":1,` + sender + `}`, Want: []forge.Event{{Note: "the event ping starts no build"}},
		},
		"push header, other body":   {Event: "push", Body: asked("opened", "open", shopSide), Err: "member ref"},
		"pull header, other body":   {Event: "pull_request", Body: released("released"), Err: "member pull_request of the delivery is missing"},
		"pull of another place":     {Event: "pull_request", Body: strings.Replace(asked("opened", "open", shopSide), `"base":{"ref":"main","sha":"`+first+`","repo":{"id":1296269`, `"base":{"ref":"main","sha":"`+first+`","repo":{"id":5`, 1), Err: "is not the repository of the event"},
		"id of the wrong type":      {Event: "push", Body: strings.Replace(pushed("refs/heads/main", first, second, `"commits":[]`), "1296269", `"1296269"`, 1), Err: "repository.id"},
		"no sender's word for refs": {Event: "push", Body: pushed("main", first, second, `"commits":[]`), Err: "member ref of the delivery is not the name of a ref"},
	},
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	telling.Run(t)
}

func FuzzParse(f *testing.F)  { telling.FuzzParse(f) }
func FuzzVerify(f *testing.F) { telling.FuzzVerify(f) }

// A push of about 30 KB, as of a day's work.
func BenchmarkDelivery(b *testing.B) {
	var commits []string
	for i := range 60 {
		commits = append(commits, commit(fmt.Sprintf("%040x", i), `"timestamp":"2026-11-27T12:00:00Z","url":"https://github.com/octo-org/shop/commit/1","tree_id":"`+first+`","added":["internal/tea/kettle.go","internal/tea/kettle_test.go"],"modified":["docs/tea.md","README.md","go.mod"],"removed":["internal/tea/pot.go"]`))
	}
	telling.Benchmark(b, "push", []byte(pushed("refs/heads/main", first, third, `"commits":[`+strings.Join(commits, ",")+`]`)))
}

// The files of a push are known up to the bounds of GitHub.
func TestDeliveries_FilesOfLargePushes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		commits, files int
		known          bool
	}{{2047, 1, true}, {2048, 1, false}, {1, 2999, true}, {1, 3000, false}} {
		var commits []string
		for i := range c.commits {
			files := make([]string, c.files)
			for n := range files {
				files[n] = fmt.Sprintf(`"%d"`, n)
			}
			commits = append(commits, commit(fmt.Sprintf("%040x", i+1), `"added":[`+strings.Join(files, ",")+`]`))
		}
		head := fmt.Sprintf("%040x", c.commits)
		h := http.Header{"X-Github-Event": {"push"}}
		events, err := github.Provider.Deliveries.Parse(h, []byte(pushed("refs/heads/main", first, head, `"commits":[`+strings.Join(commits, ",")+`]`)))
		if err != nil || len(events) != 1 || events[0].FilesKnown != c.known || len(events[0].Files) != c.files {
			t.Errorf("%d commits of %d files: known %t, want %t; error %v", c.commits, c.files, events[0].FilesKnown, c.known, err)
		}
	}
}

func TestDeliveries_SHA1IsNoSignature(t *testing.T) {
	t.Parallel()
	body, secret := []byte(`{"zen":"Approachable is better than simple."}`), api.Secret("forgetest-hook-secret-0000000001")
	mac := hmac.New(sha1.New, []byte(secret.Reveal()))
	mac.Write(body)
	sum := "sha1=" + hex.EncodeToString(mac.Sum(nil))
	for _, h := range []http.Header{{"X-Hub-Signature": {sum}}, {"X-Hub-Signature-256": {sum}}} {
		if _, err := github.Provider.Deliveries.Verify(h, body, secret, noon); err == nil {
			t.Errorf("%v is accepted", h)
		}
	}
}

// examples are the published examples of deliveries of GitHub and of each
// version of GitHub Enterprise Server, by event.
func examples(t *testing.T) map[string][]json.RawMessage {
	t.Helper()
	dir := os.Getenv("CORBEL_WEBHOOK_EXAMPLES")
	if dir == "" {
		if os.Getenv("CORBEL_TEST_STRICT") != "" {
			t.Fatal("CORBEL_WEBHOOK_EXAMPLES is not set, and CI may skip nothing")
		}
		t.Skip("CORBEL_WEBHOOK_EXAMPLES is not set, so no published example of a delivery is read; internal/forge/forgetest/testdata/fetch-webhook-examples.sh fetches them")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no examples of deliveries: %v", dir, err)
	}
	all := map[string][]json.RawMessage{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("read the examples of deliveries: %v", err)
		}
		var list []struct {
			Name     string
			Examples []json.RawMessage
		}
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatalf("read the examples of deliveries %s: %v", file, err)
		}
		for _, e := range list {
			all[e.Name] = append(all[e.Name], e.Examples...)
		}
	}
	return all
}

// Every published example is read as what its action says, is verified when it
// is signed, and is refused when a bit of it, its signature or the secret is
// another.
func TestDeliveries_Examples(t *testing.T) {
	t.Parallel()
	want := map[string]forge.EventType{
		"push": forge.Push, "pull_request opened": forge.PullCreated, "pull_request synchronize": forge.PullUpdated,
		"pull_request reopened": forge.PullReopened, "pull_request closed": forge.PullClosed,
		"release released": forge.Released, "release prereleased": forge.Prereleased,
		"workflow_job queued": forge.WorkflowJobQueued, "issue_comment created": forge.Comment,
	}
	const secret = api.Secret("forgetest-hook-secret-0000000002")
	seen := map[forge.EventType]int{}
	count := 0
	for name, list := range examples(t) {
		for i, body := range list {
			count++
			var facts struct {
				Action  string
				Deleted bool
				Issue   struct {
					PullRequest *struct{} `json:"pull_request"`
				}
				PullRequest struct{ Merged bool } `json:"pull_request"`
				Sender      struct{ ID int64 }
				Repository  struct {
					ID       int64
					FullName string `json:"full_name"`
				}
			}
			if err := json.Unmarshal(body, &facts); err != nil && name == "push" {
				t.Fatal(err)
			}
			expect := want[strings.TrimSpace(name+" "+facts.Action)]
			switch {
			case expect == forge.PullClosed && facts.PullRequest.Merged:
				expect = forge.PullMerged
			case expect == forge.Push && facts.Deleted, expect == forge.Comment && facts.Issue.PullRequest == nil:
				expect = forge.NotOfInterest
			}
			h := http.Header{}
			h.Set("X-GitHub-Event", name)
			events, err := github.Provider.Deliveries.Parse(h, body)
			if err != nil || len(events) != 1 || events[0].Type != expect {
				t.Errorf("example %d of %s %s is read as %+v, %v; want %q", i, name, facts.Action, events, err, expect)
				continue
			}
			e := events[0]
			seen[e.Type]++
			if err := forgetest.Safe(e); err != nil {
				t.Errorf("example %d of %s %s: %v", i, name, facts.Action, err)
			}
			if expect != forge.NotOfInterest && (e.Actor.ID != fmt.Sprint(facts.Sender.ID) || e.Repository != facts.Repository.FullName || e.RepositoryID != fmt.Sprint(facts.Repository.ID)) {
				t.Errorf("example %d of %s %s happened by %v in %s %s", i, name, facts.Action, e.Actor, e.Repository, e.RepositoryID)
			}

			sign(h, body, secret, noon)
			verify := func(h http.Header, body []byte, secret api.Secret, now time.Time) error {
				_, err := github.Provider.Deliveries.Verify(h, body, secret, now)
				return err
			}
			if err := verify(h, body, secret, noon); err != nil {
				t.Errorf("example %d of %s is refused: %v", i, name, err)
			}
			bit := func(text []byte, n int) []byte {
				other := []byte(string(text))
				other[n/8%len(other)] ^= 1 << (n % 8)
				return other
			}
			// Of each example another bit; the suite turns every one of a short body.
			n := count * 7919
			signature := h.Get("X-Hub-Signature-256")
			if verify(h, bit(body, n), secret, noon) == nil || verify(h, body, api.Secret(bit([]byte(secret), n)), noon) == nil {
				t.Errorf("example %d of %s is accepted with another bit %d", i, name, n)
			}
			for n := range len(signature) * 8 {
				h.Set("X-Hub-Signature-256", string(bit([]byte(signature), n)))
				if verify(h, body, secret, noon) == nil {
					t.Errorf("example %d of %s is accepted with bit %d of the signature changed", i, name, n)
				}
			}
		}
	}
	if count < 300 || seen[forge.Push] == 0 || seen[forge.PullCreated] == 0 || seen[forge.Prereleased] == 0 || seen[forge.WorkflowJobQueued] == 0 {
		t.Errorf("%d examples, of them %v: that are not all", count, seen)
	}
}
