package forgetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Hook is one that the API was asked to make.
type Hook struct {
	ID      int64
	Active  bool
	Events  []string // in the provider's words
	URL     string   // where deliveries go
	Secret  string
	Key     string // to sign with, where that is another thing than the secret
	Created time.Time
	Name    string // or description, where the provider has one
	Form    bool   // bodies are forms rather than JSON
	Last    int    // status of the last answer, 0 for none

	owner string // key of Server.hooks
}

// A message is what one hook is told, before it is signed.
type message struct {
	event string // in the provider's words
	body  any
}

// A Delivery is a message on its way, or that was.
type Delivery struct {
	ID     int64 // of this attempt
	GUID   string
	Hook   int64
	Repo   string // where it happened, "" for the ping of a hook of others
	Event  string // in the provider's words
	Again  bool   // somebody asked for it to be sent again
	At     time.Time
	Header http.Header
	Body   []byte
	Status int    // of the answer, 0 if there was none
	Answer []byte // its first 64 KiB
	Err    error  // why there was none

	hook Hook
	json []byte
}

// Misdelivery is how deliveries go wrong. The zero value is that they do not.
type Misdelivery struct {
	Twice  bool // each is sent a second time, with the same id
	Forged bool // signed with a secret that is not the hook's
	Bare   bool // not signed at all
	Held   bool // kept until Release
}

// deliveries is the state of what is delivered.
type deliveries struct {
	client *http.Client

	mu    sync.Mutex
	wrong Misdelivery
	held  []Delivery
	done  []Delivery
}

// The kinds of owners of hooks, as the keys of Server.hooks begin. A key is a
// kind, a slash, and a repository's id or the owner's name in lower case.
const (
	ofRepository   = "repos"
	ofOrganization = "orgs" // or workspace, or project
	ofGroup        = "groups"
	ofEnterprise   = "enterprises"
)

// hooksOf is the key of a repository's hooks.
func hooksOf(r *repository) string { return fmt.Sprintf("%s/%d", ofRepository, r.id) }

// Hooks returns the hooks of a repository, oldest first.
func (s *Server) Hooks(repo string) []Hook {
	r := s.repository(repo)
	if r == nil {
		return nil
	}
	return s.hooksAt(hooksOf(r))
}

// OwnerHooks returns the hooks of an owner that is not a repository, written
// "orgs/NAME", "groups/PATH" or "enterprises/NAME", oldest first.
func (s *Server) OwnerHooks(owner string) []Hook { return s.hooksAt(strings.ToLower(owner)) }

func (s *Server) hooksAt(key string) []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hooks[key])
}

// AddHook makes a hook by hand, as a person does on a page of the provider, and
// pings it. The owner is a repository's name, or written as for OwnerHooks.
func (s *Server) AddHook(owner, login string, h Hook) Hook {
	key, r := strings.ToLower(owner), s.repository(owner)
	if r != nil {
		key = hooksOf(r)
	}
	h, _ = s.makeHook(key, h, nil)
	s.ping(r, login, h)
	return h
}

// DropHook removes a hook by hand, and is false if the owner, written as for
// AddHook, has none of that id.
func (s *Server) DropHook(owner string, id int64) bool {
	key := strings.ToLower(owner)
	if r := s.repository(owner); r != nil {
		key = hooksOf(r)
	}
	return s.dropHook(key, id)
}

// ping tells a hook that it is there. That may come before the answer to who
// made it. The repository is nil if the hook is not one's.
func (s *Server) ping(r *repository, login string, h Hook) {
	s.happen(happening{what: ping, repo: r, actor: s.Person(login), hook: &h})
}

// hookAt finds a hook by its id.
func (s *Server) hookAt(key string, id int64) (Hook, bool) {
	for _, h := range s.hooksAt(key) {
		if h.ID == id {
			return h, true
		}
	}
	return Hook{}, false
}

// makeHook adds a hook, unless one there is like it.
func (s *Server) makeHook(key string, h Hook, like func(Hook) bool) (Hook, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if like != nil && slices.ContainsFunc(s.hooks[key], like) {
		return Hook{}, false
	}
	s.lastID++
	h.ID, h.owner, h.Created = s.lastID, key, s.now().UTC()
	s.hooks[key] = append(s.hooks[key], h)
	return h, true
}

// changeHook changes a hook, and is false if there is none of that id.
func (s *Server) changeHook(key string, id int64, change func(*Hook)) (Hook, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.hooks[key] {
		if h := &s.hooks[key][i]; h.ID == id {
			change(h)
			return *h, true
		}
	}
	return Hook{}, false
}

// dropHook removes a hook, and is false if there is none of that id.
func (s *Server) dropHook(key string, id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.hooks[key])
	s.hooks[key] = slices.DeleteFunc(s.hooks[key], func(h Hook) bool { return h.ID == id })
	return len(s.hooks[key]) < before
}

// watching are the active hooks that a happening may be told to.
func (s *Server) watching(h happening) []Hook {
	if h.hook != nil {
		return []Hook{*h.hook}
	}
	name := strings.ToLower(s.nameOf(h.repo)) + "/"
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Hook
	for key, hooks := range s.hooks {
		kind, owner, _ := strings.Cut(key, "/")
		if key == hooksOf(h.repo) || kind == ofEnterprise || kind != ofRepository && strings.HasPrefix(name, owner+"/") {
			list = append(list, hooks...)
		}
	}
	list = slices.DeleteFunc(list, func(k Hook) bool { return !k.Active })
	slices.SortFunc(list, func(a, b Hook) int { return int(a.ID - b.ID) })
	return list
}

// tell delivers a happening to the hooks that want it.
func (s *Server) tell(h happening) {
	if s.dialect.tell == nil {
		return
	}
	for _, k := range s.watching(h) {
		for _, m := range s.dialect.tell(s, k, h) {
			body, err := json.Marshal(m.body)
			if err != nil {
				panic(err) // of plain maps
			}
			d := Delivery{GUID: guid(), Hook: k.ID, Event: m.event, hook: k, json: body}
			if h.repo != nil {
				d.Repo = s.nameOf(h.repo)
			}
			s.deliver(d)
		}
	}
}

// guid makes a random UUID.
func guid() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", uint32(a), uint16(a>>32), a>>48&0xfff, b>>48&0x3fff|0x8000, b&(1<<48-1))
}

// deliver sends, or keeps, as Misdeliver wants.
func (s *Server) deliver(d Delivery) {
	s.deliveries.mu.Lock()
	wrong := s.deliveries.wrong
	if wrong.Held {
		s.deliveries.held = append(s.deliveries.held, d)
	}
	s.deliveries.mu.Unlock()
	if wrong.Held {
		return
	}
	s.send(d, wrong)
	if wrong.Twice {
		s.send(d, wrong)
	}
}

// send makes the request of a delivery, and writes down how it went.
func (s *Server) send(d Delivery, wrong Misdelivery) Delivery {
	s.mu.Lock()
	s.lastID++
	d.ID, d.At = s.lastID, s.now().UTC()
	s.mu.Unlock()
	d.Header = http.Header{}
	d.Body = d.json
	d.Header.Set("Content-Type", "application/json")
	if d.hook.Form {
		d.Body = []byte(url.Values{"payload": {string(d.json)}}.Encode())
		d.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	secret := d.hook.Secret
	switch {
	case wrong.Bare:
		secret, d.hook.Key = "", ""
	case wrong.Forged && d.hook.Key != "":
		d.hook.Key = "whsec_" + base64.StdEncoding.EncodeToString([]byte("not the key that the hook has..."))
	case wrong.Forged:
		secret = "not-" + secret
	}
	s.dialect.sign(s, secret, &d)
	d.Status, d.Answer, d.Err = s.post(d)
	s.deliveries.mu.Lock()
	s.deliveries.done = append(s.deliveries.done, d)
	s.deliveries.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hooks := range s.hooks {
		for i := range hooks {
			if hooks[i].ID == d.Hook {
				hooks[i].Last = d.Status
			}
		}
	}
	return d
}

// post sends the body to the hook's address, if that is on this machine: no
// test calls the outside world.
func (s *Server) post(d Delivery) (status int, answer []byte, err error) {
	to, err := url.Parse(d.hook.URL)
	if err != nil {
		return 0, nil, err
	}
	if ip, err := netip.ParseAddr(to.Hostname()); to.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return 0, nil, fmt.Errorf("%s is not on this machine", to.Host)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.hook.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, nil, err
	}
	r.Header = d.Header.Clone()
	res, err := s.deliveries.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, sample))
	return res.StatusCode, answer, err
}

// Deliveries returns the attempts to deliver what happened in a repository,
// oldest first; "" is all, with pings of hooks of other owners.
func (s *Server) Deliveries(repo string) []Delivery {
	s.deliveries.mu.Lock()
	defer s.deliveries.mu.Unlock()
	var list []Delivery
	for _, d := range s.deliveries.done {
		if repo == "" || strings.EqualFold(repo, d.Repo) {
			list = append(list, d)
		}
	}
	return list
}

// Redeliver sends a delivery again, to where its hook points now, as a person
// can ask for. The provider's id of it stays.
func (s *Server) Redeliver(id int64) (Delivery, error) {
	for _, d := range s.Deliveries("") {
		if d.ID != id {
			continue
		}
		s.mu.Lock()
		found := false
		for _, hooks := range s.hooks {
			for _, h := range hooks {
				if h.ID == d.Hook {
					d.hook, found = h, true
				}
			}
		}
		s.mu.Unlock()
		if !found {
			return Delivery{}, fmt.Errorf("redeliver %d: the hook is gone", id)
		}
		d.Again = true
		return s.send(d, Misdelivery{}), nil
	}
	return Delivery{}, fmt.Errorf("redeliver %d: no such delivery", id)
}

// Misdeliver makes the deliveries from now on go wrong.
func (s *Server) Misdeliver(m Misdelivery) {
	s.deliveries.mu.Lock()
	defer s.deliveries.mu.Unlock()
	s.deliveries.wrong = m
}

// Release sends what was held, in the order that it happened or the newest
// first. What happens from now on is held no more.
func (s *Server) Release(newestFirst bool) {
	s.deliveries.mu.Lock()
	held := s.deliveries.held
	s.deliveries.held, s.deliveries.wrong.Held = nil, false
	wrong := s.deliveries.wrong
	s.deliveries.mu.Unlock()
	if newestFirst {
		slices.Reverse(held)
	}
	for _, d := range held {
		s.send(d, wrong)
	}
}
