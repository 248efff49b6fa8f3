// Package delivery knows what a delivery is in the store: how its body is
// packed, which headers are kept with it, and which events are in it. Those who
// put deliveries there and those who look at them have it in common.
package delivery

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// MaxBody is how large the body of a delivery may be, in bytes.
// Source: GitHub, "Webhook events and payloads": payloads are capped at 25 MB.
const MaxBody = 25 << 20

// kept are the headers that say what a body is. Those that sign it are not.
var kept = []string{
	"Content-Type", "User-Agent", "X-Github-Event", "X-Github-Delivery", "X-Github-Hook-Id", "X-Github-Hook-Installation-Target-Type", "X-Event-Key", "X-Request-Uuid", "X-Hook-Uuid", "X-Attempt-Number",
	"X-Gitlab-Event", "X-Gitlab-Event-Uuid", "X-Gitlab-Instance", "Idempotency-Key", "Webhook-Id", "X-Request-Id", "X-Gitea-Event", "X-Gitea-Delivery", "X-Gitea-Event-Type", "X-Forgejo-Event",
}

// Headers are those of h that say what a body is.
func Headers(h http.Header) map[string]string {
	out := map[string]string{}
	for _, name := range kept {
		if v := h.Get(name); v != "" {
			out[name] = forge.Cut(v, 500)
		}
	}
	return out
}

// Header is what Headers was given, as far as it was kept.
func Header(kept map[string]string) http.Header {
	h := http.Header{}
	for name, v := range kept {
		h.Set(name, v)
	}
	return h
}

// packers are writers to use again: one takes more than a megabyte.
var packers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // there is that level
	}
	return z
}}

// Pack makes a body small for the store.
func Pack(body []byte) ([]byte, error) {
	z := packers.Get().(*gzip.Writer)
	defer func() {
		z.Reset(nil)
		packers.Put(z)
	}()
	var b bytes.Buffer
	z.Reset(&b)
	_, err := z.Write(body)
	if err == nil {
		err = z.Close()
	}
	return b.Bytes(), err
}

// Unpack returns what Pack was given.
func Unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("read a stored delivery: %w", err)
	}
	var b bytes.Buffer
	b.Grow(Size(packed) + bytes.MinRead) // so that it is not copied
	if _, err = b.ReadFrom(z); err != nil {
		return nil, fmt.Errorf("read a stored delivery: %w", err)
	}
	return b.Bytes(), nil
}

// Size says how many bytes Unpack returns, by what gzip notes at the end, and
// MaxBody at most, whatever damage makes of that.
// Source: RFC 1952, ISIZE.
func Size(packed []byte) int {
	if len(packed) < 4 {
		return 0
	}
	return min(int(binary.LittleEndian.Uint32(packed[len(packed)-4:])), MaxBody)
}

// bodyHeader says that a body is one of our own, polled or permitted. It is not
// among those that are kept of a request.
const (
	bodyHeader = "Corbel-Body"
	polled     = "poll"
	permitted  = "permission"
)

// Polled is a delivery of events that polling found.
func Polled(d store.Delivery, events []forge.Event) (store.Delivery, error) {
	return ours(d, store.Polled, polled, events)
}

func ours(d store.Delivery, origin store.Origin, kind string, body any) (store.Delivery, error) {
	d.Origin, d.Event, d.Headers = origin, kind, map[string]string{bodyHeader: kind}
	b, err := json.Marshal(body)
	if err == nil {
		d.Body, err = Pack(b)
	}
	return d, err
}

// A permission is the body of a delivery whose origin is Permitted.
type permission struct {
	Repository string `json:"repository"`
	Number     int    `json:"number"`
	SHA        string `json:"sha"`
	By         string `json:"by"`
}

// Permitted is a delivery by which a user of this server approves the build of
// a commit of a pull request.
func Permitted(d store.Delivery, repository string, number int, sha, by string) (store.Delivery, error) {
	return ours(d, store.Permitted, permitted, permission{repository, number, sha, by})
}

// IsPolled reports whether d is what Polled returns, or one of those that was
// redelivered.
func IsPolled(d store.Delivery) bool { return d.Headers[bodyHeader] == polled }

// IsPermitted reports whether d is one, or one of those that was redelivered.
func IsPermitted(d store.Delivery) bool { return d.Headers[bodyHeader] == permitted }

// Events reads the events in a delivery to a webhook. An error says what is
// wrong with the body.
func Events(hosts *forge.Hosts, hook store.Webhook, d store.Delivery) ([]forge.Event, error) {
	body, err := Unpack(d.Body)
	if err != nil {
		return nil, err
	}
	switch d.Headers[bodyHeader] {
	case polled:
		var list []forge.Event
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, fmt.Errorf("read what polling found: %w", err)
		}
		return list, nil
	case permitted:
		var p permission
		if err := json.Unmarshal(body, &p); err != nil {
			return nil, fmt.Errorf("read an approval: %w", err)
		}
		organization, _, _ := strings.Cut(p.Repository, "/")
		return []forge.Event{{Type: forge.Comment, Repository: p.Repository, Organization: organization, SHA: p.SHA, Actor: forge.Person{Login: p.By}, Pull: &forge.PullRequest{Number: p.Number}}}, nil
	}
	provider, ok := hosts.Provider(api.ServerType(hook.Source))
	if !ok || provider.Deliveries.Parse == nil {
		return nil, fmt.Errorf("webhooks of %s are not supported", hook.Source)
	}
	return provider.Deliveries.Parse(Header(d.Headers), body)
}

// Describe is what a result says of an event before anything is decided.
func Describe(e forge.Event) store.Result {
	r := store.Result{
		Event: string(e.Type), Note: e.Note, Repository: forge.Cut(e.Repository, 300), HeadRef: forge.Cut(e.HeadRef, 300), BaseRef: forge.Cut(e.BaseRef, 300),
		SHA: forge.Cut(e.SHA, 64), Actor: forge.Cut(e.Actor.ID, 100), Login: forge.Cut(e.Actor.Login, 100),
	}
	if e.Pull != nil {
		r.Pull = e.Pull.Number
	}
	return r
}
