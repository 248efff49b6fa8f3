package delivery_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

var errParse = errors.New("the body is not the provider's")

// hosts has one provider, whose deliveries are a JSON list of repositories, each
// pushed to.
func hosts(t testing.TB) *forge.Hosts {
	t.Helper()
	h, err := forge.NewHosts([]forge.Provider{
		{
			Name: "GitHub", Server: api.ServerTypeGITHUB, Known: "github.com", Git: "https://github.com", API: "https://api.github.com",
			Deliveries: forge.Deliveries{Parse: func(h http.Header, body []byte) (events []forge.Event, err error) {
				var names []string
				if json.Unmarshal(body, &names) != nil {
					return nil, errParse
				}
				for _, n := range names {
					events = append(events, forge.Event{Type: forge.Push, Note: h.Get("X-GitHub-Event"), Repository: n})
				}
				return events, nil
			}},
		},
		{Name: "Bitbucket", Server: api.ServerTypeBITBUCKET, Known: "bitbucket.org", Git: "https://bitbucket.org", API: "https://api.bitbucket.org"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var hook = store.Webhook{Project: "site", Address: "addr-1", Source: api.SourceTypeGITHUB}

func pack(t testing.TB, body string) []byte {
	t.Helper()
	packed, err := delivery.Pack([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestPack(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, body := range [][]byte{nil, []byte("{}"), []byte("\x00\xff\n"), bytes.Repeat([]byte(`{"a":1}`), 1<<18), noise, []byte(pack(t, "packed twice"))} {
		packed, err := delivery.Pack(body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := delivery.Unpack(packed)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("Unpack(Pack(%d bytes)) = %d bytes, %v", len(body), len(got), err)
		}
	}
	if body := bytes.Repeat([]byte(`{"a":1}`), 1<<18); len(pack(t, string(body))) > len(body)/50 {
		t.Errorf("%d bytes that repeat were packed to %d", len(body), len(pack(t, string(body))))
	}
}

// Whatever byte is lost or changed, Unpack says so: no body is taken for
// another.
func TestUnpack_Damage(t *testing.T) {
	t.Parallel()
	body := strings.Repeat(`{"ref":"refs/heads/main","after":"0123456789abcdef"}`, 3)
	packed := pack(t, body)
	refused := func(what string, damaged []byte) {
		t.Helper()
		if got, err := delivery.Unpack(damaged); err == nil && string(got) != body {
			t.Errorf("%s: Unpack gives %q", what, got)
		} else if err != nil && !strings.HasPrefix(err.Error(), "read a stored delivery: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range packed {
		if _, err := delivery.Unpack(packed[:n]); err == nil {
			t.Errorf("the first %d of %d bytes: no error", n, len(packed))
		}
		for _, bit := range []byte{1, 0x80} {
			damaged := bytes.Clone(packed)
			damaged[n] ^= bit
			refused(fmt.Sprintf("byte %d of %d changed", n, len(packed)), damaged)
		}
	}
	refused("nothing", nil)
	refused("not packed", []byte(body))
	refused("more behind it", append(bytes.Clone(packed), "more"...))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	const token = "ghp_9fK2mQ7xTz4LbWc8VdY1nRs6HjE3uA0pGiXo"
	in := http.Header{}
	for name, v := range map[string]string{
		"X-GitHub-Event": "push", "X-GitHub-Delivery": "b7c0", "Content-Type": "application/json", "X-Event-Key": "repo:push", "X-Gitlab-Event": "Push Hook", "X-Gitea-Event": "push",
		"User-Agent": strings.Repeat("ü", 1000),
		// What signs a body, says who is there, or is ours.
		"X-Hub-Signature-256": "sha256=" + token, "X-Hub-Signature": token, "X-Gitlab-Token": token, "X-Gitea-Signature": token, "Webhook-Signature": token,
		"Authorization": "Bearer " + token, "Cookie": token, "X-Forwarded-For": "192.0.2.7", "Corbel-Body": "poll",
	} {
		in.Set(name, v)
	}
	kept := delivery.Headers(in)
	if text := fmt.Sprint(kept); strings.Contains(text, token) || strings.Contains(text, "192.0.2.7") {
		t.Errorf("kept: %s", text)
	}
	out := delivery.Header(kept)
	for _, name := range []string{"X-GitHub-Event", "X-GitHub-Delivery", "Content-Type", "X-Event-Key", "X-Gitlab-Event", "X-Gitea-Event"} {
		if got, want := out.Get(name), in.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(out) != 7 {
		t.Errorf("%d headers are kept: %v", len(out), out)
	}
	if got := []rune(out.Get("User-Agent")); len(got) != 500 {
		t.Errorf("a header of %d characters is kept", len(got))
	}
	if got := delivery.Headers(nil); got == nil || len(got) != 0 {
		t.Errorf("Headers(nil) = %#v", got)
	}
	// Again, as what is redelivered is.
	if diff := cmp.Diff(kept, delivery.Headers(out)); diff != "" {
		t.Errorf("kept again (-want +got):\n%s", diff)
	}
}

func TestPolled(t *testing.T) {
	t.Parallel()
	who := forge.Person{ID: "755743", Login: "ada"}
	events := []forge.Event{
		{
			Type: forge.PullUpdated, Note: "n", Repository: "acme/site", RepositoryID: "9", Organization: "acme", Actor: who, HeadRef: `refs/heads/a"b`, BaseRef: "refs/heads/main",
			SHA: "abc", Before: "def", Message: "Fix\n\n\u2028it", Merge: "012", Release: "One", Tag: "v1", Workflow: "ci", Files: []string{"a", "b c"}, FilesKnown: true,
			Text: "/approve", At: time.UnixMilli(1_700_000_000_123).UTC(),
			Pull: &forge.PullRequest{Number: 7, Title: "T", Author: who, Open: true, HeadRepo: "eve/site", HeadURL: "https://github.com/eve/site.git", HeadRef: "refs/heads/a", HeadSHA: "abc", BaseRef: "refs/heads/main", Fork: true},
		},
		{Type: forge.Push, Repository: "acme/site"},
	}
	in := store.Delivery{Scope: store.Scope{Account: "111122223333", Region: "eu-west-1"}, Project: "site", Hook: "addr-1", Received: time.UnixMilli(5), Headers: map[string]string{"X-Github-Event": "push"}}
	d, err := delivery.Polled(in, events)
	if err != nil {
		t.Fatal(err)
	}
	if d.Scope != in.Scope || d.Project != in.Project || d.Hook != in.Hook || d.Received != in.Received || d.Origin != store.Polled || d.Event == "" || d.Digest != nil || delivery.IsPermitted(d) {
		t.Errorf("Polled = %+v", d)
	}
	got, err := delivery.Events(hosts(t), hook, d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events, got); diff != "" {
		t.Errorf("Events (-want +got):\n%s", diff)
	}
	d.Origin = store.Redelivered // by a user, later
	if got, err := delivery.Events(hosts(t), hook, d); err != nil || len(got) != 2 {
		t.Errorf("redelivered: %v, %v", got, err)
	}
}

func TestPermitted(t *testing.T) {
	t.Parallel()
	d, err := delivery.Permitted(store.Delivery{Project: "site", Hook: "addr-1"}, "acme/site", 7, "abc", "ada")
	if err != nil {
		t.Fatal(err)
	}
	if d.Origin != store.Permitted || !delivery.IsPermitted(d) {
		t.Errorf("Permitted = %+v", d)
	}
	got, err := delivery.Events(hosts(t), hook, d)
	want := []forge.Event{{Type: forge.Comment, Repository: "acme/site", Organization: "acme", SHA: "abc", Actor: forge.Person{Login: "ada"}, Pull: &forge.PullRequest{Number: 7}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Events: %v (-want +got):\n%s", err, diff)
	}
	d.Origin = store.Redelivered
	if !delivery.IsPermitted(d) {
		t.Error("one that was redelivered is none any more")
	}
}

// A body of our own that is damaged is an error and no event.
func TestEvents_OwnDamage(t *testing.T) {
	t.Parallel()
	polled, err := delivery.Polled(store.Delivery{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	permitted, err := delivery.Permitted(store.Delivery{}, "acme/site", 7, "abc", "ada")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []store.Delivery{polled, permitted} {
		for _, body := range []string{"", "{", `"x"`, `[{"Type":"PUSH"},{"Type":7}]`, `{"repository":"acme/site","number":"7"}`, "[1]"} {
			d.Body = pack(t, body)
			if got, err := delivery.Events(hosts(t), hook, d); err == nil || len(got) > 0 {
				t.Errorf("%s of %q: %+v, %v", d.Origin, body, got, err)
			}
		}
	}
}

// Whoever sends a delivery, or gives one to be tried, cannot make Corbel take
// its body for what polling found or for an approval by a user: it goes to the
// provider's parser, however the header is written.
func TestEvents_ForgedOwnBody(t *testing.T) {
	t.Parallel()
	polled, err := delivery.Polled(store.Delivery{}, []forge.Event{{Type: forge.Push, Repository: "acme/other"}})
	if err != nil {
		t.Fatal(err)
	}
	permitted, err := delivery.Permitted(store.Delivery{}, "acme/site", 7, "abc", "ada")
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []store.Delivery{polled, permitted} {
		for name, value := range own.Headers { // whatever the header is called
			for _, name := range []string{name, strings.ToLower(name), strings.ToUpper(name), " " + name, name + " ", name + ":", strings.ReplaceAll(name, "-", "_"), "X-Github-Event\r\n" + name} {
				for _, origin := range []store.Origin{store.Delivered, store.Replayed, store.Redelivered, store.Polled, store.Permitted} {
					h := http.Header{"X-Github-Event": {value}, name: {value}}
					h.Add(name, value)
					d := store.Delivery{Origin: origin, Headers: delivery.Headers(h), Body: own.Body}
					if delivery.IsPermitted(d) {
						t.Errorf("%q: %s passes for an approval", name, origin)
					}
					if got, err := delivery.Events(hosts(t), hook, d); !errors.Is(err, errParse) {
						t.Errorf("%q: %s was read as %+v, %v", name, origin, got, err)
					}
				}
			}
		}
	}
	// The header's value in a header that is kept says nothing.
	d := store.Delivery{Headers: delivery.Headers(http.Header{"X-Github-Event": {"Corbel-Body: permission"}, "User-Agent": {"permission"}, "Content-Type": {"poll"}}), Body: permitted.Body}
	if _, err := delivery.Events(hosts(t), hook, d); !errors.Is(err, errParse) || delivery.IsPermitted(d) {
		t.Errorf("the value in another header: %v", err)
	}
}

func TestEvents_Provider(t *testing.T) {
	t.Parallel()
	d := store.Delivery{Origin: store.Delivered, Headers: delivery.Headers(http.Header{"X-Github-Event": {"push"}}), Body: pack(t, `["acme/site","acme/web"]`)}
	got, err := delivery.Events(hosts(t), hook, d)
	want := []forge.Event{{Type: forge.Push, Note: "push", Repository: "acme/site"}, {Type: forge.Push, Note: "push", Repository: "acme/web"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Events: %v (-want +got):\n%s", err, diff)
	}
	for _, source := range []api.SourceType{api.SourceTypeBITBUCKET, api.SourceTypeS3, ""} {
		other := hook
		other.Source = source
		if got, err := delivery.Events(hosts(t), other, d); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("a webhook of %q: %v, %v", source, got, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 5000)
	got := delivery.Describe(forge.Event{
		Type: forge.PullCreated, Note: "n", Repository: "acme/site", HeadRef: "refs/heads/a", BaseRef: "refs/heads/main", SHA: "abc",
		Actor: forge.Person{ID: "755743", Login: "ada"}, Pull: &forge.PullRequest{Number: 7}, Message: long, Text: long, Files: []string{long},
	})
	want := store.Result{Event: "PULL_REQUEST_CREATED", Note: "n", Repository: "acme/site", HeadRef: "refs/heads/a", BaseRef: "refs/heads/main", SHA: "abc", Actor: "755743", Login: "ada", Pull: 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Describe (-want +got):\n%s", diff)
	}
	huge := delivery.Describe(forge.Event{Repository: long, HeadRef: long, BaseRef: long, SHA: long, Actor: forge.Person{ID: long, Login: long}})
	if b, err := json.Marshal(huge); err != nil || len(b) > 4000 {
		t.Errorf("a result of %d bytes, %v", len(b), err)
	}
}

// Whatever is in the store, Events does not panic.
func FuzzEvents(f *testing.F) {
	f.Add("poll", []byte(`[{"Type":"PUSH"}]`), true)
	f.Add("permission", []byte(`{"number":7}`), true)
	f.Add("", []byte("\x1f\x8b"), false)
	h := hosts(f)
	f.Fuzz(func(t *testing.T, kind string, body []byte, whole bool) {
		if whole {
			body = pack(t, string(body))
		}
		events, err := delivery.Events(h, hook, store.Delivery{Headers: map[string]string{"Corbel-Body": kind}, Body: body})
		if err != nil && len(events) > 0 {
			t.Errorf("an error with %d events: %v", len(events), err)
		}
		for _, e := range events {
			delivery.Describe(e)
		}
	})
}

// The room that is made for a body is what it needs, and what damage makes of
// that is bounded.
func TestSize(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", strings.Repeat("a", 1<<20)} {
		packed, err := delivery.Pack([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := delivery.Size(packed); got != len(body) {
			t.Errorf("Size of %d bytes is %d", len(body), got)
		}
		copy(packed[len(packed)-4:], "\xff\xff\xff\xff")
		if got := delivery.Size(packed); got > delivery.MaxBody {
			t.Errorf("damaged, Size of %d bytes is %d", len(body), got)
		}
		if _, err := delivery.Unpack(packed); err == nil {
			t.Error("a damaged length is read")
		}
	}
	if got := delivery.Size([]byte("abc")); got != 0 {
		t.Errorf("Size of three bytes is %d", got)
	}
}
