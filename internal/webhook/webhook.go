// Package webhook takes what source providers tell and starts builds from it.
//
// An Inbox is the whole of it. Its handler answers deliveries: it finds the
// webhook by the unguessable part of the address, checks the provider's
// signature over the body, and stores the delivery before it says yes; it asks
// nobody else, so an answer takes as long as a commit of the store. Run looks
// at what is stored: it reads the events in a delivery, applies the project's
// filter groups and its policy for pull requests, and queues builds. The build
// and what came of the event commit together, so a crash at any moment neither
// loses a delivery nor starts a build twice. What cannot be decided yet, since
// a provider does not answer, is tried again for hours.
//
// A signed body is good once for its webhook: most delivery ids are not signed,
// so the digest of the body is what is remembered, with the id where forge.Deliveries
// vouches for it.
//
// Poll asks providers that cannot reach the server, and puts what it finds into
// the same inbox. Run also settles hooks that are in doubt, and removes those
// that must not be there any more.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// The limits of a delivery.
const (
	// maxReading is how many bodies are read at a time, and maxReadingLarge how
	// many that are larger than large bytes or do not say how large they are;
	// others wait. Together they bound the memory, and neither waits for the other.
	maxReading, maxReadingLarge, large = 32, 2, 1 << 20
	// share and shareLarge are how many of them may be of one webhook: its address
	// is known to whoever may read the project, and slow bodies must not hold up
	// other webhooks.
	share, shareLarge = maxReading / 4, maxReadingLarge / 2
	// bodyTime is how long a body may wait for its turn, and how long it may take
	// then. Providers give up after ten seconds themselves. Source: GitHub, "Best
	// practices for using webhooks".
	bodyTime = 10 * time.Second
	// noteEvery is how often the store is told of refused deliveries.
	noteEvery = 2 * time.Second
)

// A Config is what an Inbox works with.
type Config struct {
	Store       store.Store
	Vault       *vault.Vault
	Credentials *credential.Resolver
	Forges      map[api.ServerType]forge.Forge
	Log         *slog.Logger
	Now         func() time.Time
	URL         string // where people reach this server, without a slash at the end
	// Keep is for how long a delivery is kept once it was looked at. 0 is 30
	// days.
	Keep time.Duration

	// Start queues a build within tx.
	Start func(ctx context.Context, tx store.Tx, s store.Scope, in *api.StartBuildInput, initiator string, t store.Trigger) (*api.Build, error)
	// Settle makes a hook at its provider what the store knows of it; gone is
	// that it is none of a webhook, and is to be removed.
	Settle func(ctx context.Context, r store.Removal) (gone bool, err error)
}

// An Inbox takes deliveries. One runs for each store.
type Inbox struct {
	Config
	reading, readingLarge *bodies
	parsing               sync.Mutex // one large delivery is looked into at a time

	mu      sync.Mutex
	refused map[string]refusal // by address; what the store was not told yet
}

type refusal struct {
	project string
	count   int
	reason  string    // of the last
	last    time.Time // when
}

// New returns an inbox.
func New(c Config) *Inbox {
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	return &Inbox{Config: c, reading: newBodies(maxReading, share), readingLarge: newBodies(maxReadingLarge, shareLarge), refused: map[string]refusal{}}
}

// ServeHTTP answers a delivery: 200 once it is stored, or was before; 404 for
// an address that no webhook has, 401 for a signature that is not right, 413
// for a body above 25 MiB, 415 for one that is a form, 503 for one that has to
// come again. An answer is a JSON
// object with a message.
func (in *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	answer := func(status int, format string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(format, args...)}) // the provider went away
	}
	// It holds for what is refused too: net/http reads a body that nobody wanted
	// before it sends the answer. A server of tests may have no deadlines.
	inTime := func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) }
	inTime()
	hook, err := in.Store.WebhookAt(ctx, r.URL.Query().Get("t"))
	if errors.Is(err, store.ErrNotFound) {
		answer(http.StatusNotFound, "No webhook has this address")
		return
	}
	if err != nil {
		in.Log.ErrorContext(ctx, "read a webhook", "error", err)
		answer(http.StatusServiceUnavailable, "The server cannot read its database; deliver again later")
		return
	}
	refuse := func(status int, reason string) {
		in.refuse(hook, reason)
		answer(status, "%s", reason)
	}
	provider, ok := in.Credentials.Hosts.Provider(api.ServerType(hook.Source))
	if !ok || provider.Deliveries.Verify == nil {
		refuse(http.StatusNotImplemented, "Webhooks of "+string(hook.Source)+" are not supported")
		return
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/x-www-form-urlencoded" {
		refuse(http.StatusUnsupportedMediaType, "The body is a form: set the content type of the hook to application/json")
		return
	}
	reading := in.reading
	if r.ContentLength < 0 || r.ContentLength > large {
		reading = in.readingLarge
	}
	turn, cancel := context.WithTimeout(ctx, bodyTime)
	defer cancel()
	leave, err := reading.enter(turn, hook.Address)
	if err != nil {
		answer(http.StatusServiceUnavailable, "Too many deliveries are being read; deliver again later")
		return
	}
	defer leave()
	inTime()
	var read bytes.Buffer
	read.Grow(int(min(max(r.ContentLength, 0), delivery.MaxBody)) + bytes.MinRead) // so that it is not copied
	_, err = read.ReadFrom(http.MaxBytesReader(w, r.Body, delivery.MaxBody))
	body := read.Bytes()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(http.StatusRequestEntityTooLarge, "The body is larger than 25 MiB")
		return
	} else if err != nil {
		refuse(http.StatusBadRequest, "The body could not be read to its end")
		return
	}
	signed, err := in.verify(hook, provider, r.Header, body)
	if err != nil {
		if _, unsigned := errors.AsType[*unsigned](err); !unsigned {
			in.Log.ErrorContext(ctx, "open the secret of a webhook", "project", hook.Project, "error", err)
			answer(http.StatusServiceUnavailable, "The server cannot check the signature now; deliver again later")
			return
		}
		refuse(http.StatusUnauthorized, err.Error())
		return
	}
	id, err := in.put(ctx, hook, provider, r.Header, body, digest(body, signed))
	switch {
	case errors.Is(err, store.ErrExists):
		answer(http.StatusOK, "Webhook received before; nothing is done again")
	case errors.Is(err, store.ErrNotFound):
		answer(http.StatusNotFound, "No webhook has this address")
	case err != nil:
		in.Log.ErrorContext(ctx, "store a delivery", "project", hook.Project, "error", err)
		answer(http.StatusServiceUnavailable, "The delivery could not be stored; deliver again later")
	default:
		answer(http.StatusOK, "Webhook received as delivery %d", id)
	}
}

// An unsigned delivery is one that whoever knows the secret did not send.
type unsigned struct{ error }

func (u *unsigned) Unwrap() error { return u.error }

// verify checks the signature with each secret that is good now, and returns the
// id that tells the delivery from others with its body.
func (in *Inbox) verify(hook store.Webhook, provider forge.Provider, h http.Header, body []byte) (id string, err error) {
	now := in.Now()
	secrets, err := credential.OpenHook(in.Vault, hook, now)
	if err != nil {
		return "", err
	}
	err = errors.New("the webhook has no secret")
	for _, s := range secrets {
		if id, err = provider.Deliveries.Verify(h, body, s.Value, now); err == nil {
			return id, nil
		}
	}
	return "", &unsigned{err}
}

// put stores a delivery.
func (in *Inbox) put(ctx context.Context, hook store.Webhook, provider forge.Provider, h http.Header, body, digest []byte) (id int64, err error) {
	packed, err := delivery.Pack(body)
	if err != nil {
		return 0, err
	}
	d := store.Delivery{
		Scope: hook.Scope, Project: hook.Project, Hook: hook.Address, Origin: store.Delivered, Received: in.Now(),
		Headers: delivery.Headers(h), Body: packed, Digest: digest,
	}
	d.Event, d.Provider = provider.Deliveries.Describe(h)
	d.Event, d.Provider = forge.Cut(d.Event, 100), forge.Cut(d.Provider, 200)
	err = in.Store.Update(ctx, func(tx store.Tx) (err error) {
		d.Next = in.Now() // here, so that it has the order of the ids
		id, err = tx.PutDelivery(ctx, d)
		return err
	})
	return id, err
}

// digest is what a delivery is known again by.
func digest(body []byte, id string) []byte {
	sum := sha256.Sum256(body)
	if id != "" {
		sum = sha256.Sum256(append(sum[:], id...))
	}
	return sum[:]
}

// refuse counts a refused delivery. Anybody can send some, so the store and the
// log hear of them once in a while.
func (in *Inbox) refuse(hook store.Webhook, reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := in.refused[hook.Address]
	in.refused[hook.Address] = refusal{hook.Project, r.count + 1, reason, in.Now()}
}

// noteRefused tells the store and the log of the deliveries that were refused
// since the last time.
func (in *Inbox) noteRefused(ctx context.Context) {
	in.mu.Lock()
	list := in.refused
	in.refused = map[string]refusal{}
	in.mu.Unlock()
	for address, r := range list {
		in.Log.WarnContext(ctx, "delivery refused", "project", r.project, "reason", r.reason, "times", r.count)
		if err := in.Store.Update(ctx, func(tx store.Tx) error { return tx.NoteRefused(ctx, address, r.count, r.reason, r.last) }); err != nil {
			in.Log.ErrorContext(ctx, "note a refused delivery", "error", err)
		}
	}
}

// initiator is what a build says started it: the delivery's user agent.
// Source: recorded answers of the service, such as GitHub-Hookshot/1c6af21.
func initiator(d store.Delivery) string {
	if d.Event == "poll" && d.Headers["User-Agent"] == "" {
		return "corbel-poll"
	}
	agent, _, _ := strings.Cut(d.Headers["User-Agent"], " ")
	if agent == "" {
		agent = "webhook"
	}
	return forge.Cut(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, agent), 100)
}

// name says which delivery it is, for the log.
func name(d store.Delivery) slog.Attr {
	return slog.Group("delivery", "id", strconv.FormatInt(d.ID, 10), "project", d.Project, "event", d.Event)
}
