package forgetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

// Told is a delivery and what it says.
type Told struct {
	Event string // the provider's name of it
	Body  string
	Want  []forge.Event
	Err   string // words of the error, where there is one
	// Disguised says that the body is of another event than Event.
	Disguised bool
}

// Telling is how a provider's deliveries are read, and how it makes them.
type Telling struct {
	Deliveries forge.Deliveries
	EventName  string // the header with the name of the event
	IDName     string // and the one with the id of the delivery
	Told       map[string]Told
	// Sign sets the headers of the signature.
	Sign func(h http.Header, body []byte, secret api.Secret, now time.Time)
	// Signature is the header that Sign sets and that covers the body, "" if
	// none does.
	Signature string
	// Foreign are the headers of other providers' signatures.
	Foreign []string
}

const (
	// toldSecret is base64, as some signatures need.
	toldSecret = api.Secret("whsec_Rm9yZ2V0ZXN0VG9sZFNlY3JldDAwMDAwMDAwMDE=")
	// planted is put into bodies, to be found in errors.
	planted = "ghp_ForgetestPlantedInDeliveries0000001"
)

var signedAt = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// Header are the headers of a delivery.
func (t Telling) header(event string) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set(t.EventName, event)
	h.Set(t.IDName, "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	return h
}

// Run checks the promises of forge.Deliveries.
func (t Telling) Run(test *testing.T) {
	test.Run("Told", t.told)
	test.Run("Hostile", t.hostile)
	test.Run("Wrong", t.wrong)
	test.Run("Crossed", t.crossed)
	test.Run("Verify", t.verify)
	test.Run("Describe", t.describe)
}

func (t Telling) told(test *testing.T) {
	test.Parallel()
	seen := map[forge.EventType]bool{}
	for name, c := range t.Told {
		test.Run(name, func(test *testing.T) {
			got, err := t.Deliveries.Parse(t.header(c.Event), []byte(c.Body))
			if c.Err != "" {
				if err == nil || !strings.Contains(err.Error(), c.Err) {
					test.Fatalf("error %v, want one with %q", err, c.Err)
				}
				return
			}
			if err != nil {
				test.Fatal(err)
			}
			for _, e := range got {
				if err := Safe(e); err != nil {
					test.Error(err)
				}
				seen[e.Type] = true
			}
			if diff := gocmp.Diff(c.Want, got); diff != "" {
				test.Errorf("want - got +:\n%s", diff)
			}
		})
	}
	for _, event := range t.Deliveries.Events {
		if !seen[event] {
			test.Errorf("no delivery of the table tells %s, which Events has", event)
		}
	}
	for event := range seen {
		if event != forge.NotOfInterest && !slices.Contains(t.Deliveries.Events, event) {
			test.Errorf("a delivery tells %s, which Events does not have", event)
		}
	}
}

// Safe says what is wrong with an event, whatever it was read from.
func Safe(e forge.Event) error {
	refs := []string{e.HeadRef, e.BaseRef}
	commits := []string{e.SHA, e.Before, e.Merge}
	people := []forge.Person{e.Actor}
	if e.Tag != "" {
		refs = append(refs, "refs/tags/"+e.Tag)
	}
	if p := e.Pull; p != nil {
		refs = append(refs, p.HeadRef, p.BaseRef)
		commits = append(commits, p.HeadSHA)
		people = append(people, p.Author)
		if p.Number < 1 {
			return fmt.Errorf("pull request number %d", p.Number)
		}
		if p.HeadRepo == "" && !p.Fork {
			return fmt.Errorf("a pull request from nowhere is not from a fork")
		}
		if p.HeadURL != "" && !strings.HasPrefix(p.HeadURL, "https://") {
			return fmt.Errorf("clone address %q", p.HeadURL)
		}
	}
	for _, ref := range refs {
		if ref != "" && !forge.ValidRef(ref) {
			return fmt.Errorf("ref %q", ref)
		}
	}
	for _, sha := range commits {
		if strings.Trim(sha, "0123456789abcdef") != "" || sha != "" && len(sha) < 12 || len(sha) > 64 {
			return fmt.Errorf("commit %q", sha)
		}
	}
	for _, p := range people {
		if p.ID == "" && p.Login != "" || strings.ContainsAny(p.ID, " \n\"'$") {
			return fmt.Errorf("person %+v", p)
		}
	}
	text, err := json.Marshal(e)
	if err != nil || bytes.Contains(text, []byte(`\u0000`)) {
		return fmt.Errorf("it cannot be written down, or has NUL: %v", err)
	}
	if e.Type == forge.NotOfInterest {
		if e.Note == "" {
			return fmt.Errorf("nothing says why it is of no interest")
		}
		return nil
	}
	pull := strings.HasPrefix(string(e.Type), "PULL_REQUEST") || e.Type == forge.Comment
	switch {
	case e.Repository == "" || e.RepositoryID == "":
		return fmt.Errorf("%s happened nowhere", e.Type)
	case e.Note != "":
		return fmt.Errorf("%s has the note %q", e.Type, e.Note)
	case pull && e.Pull == nil:
		return fmt.Errorf("%s of no pull request", e.Type)
	case e.Type == forge.Push && (e.SHA == "" || e.Before == "" || e.HeadRef == ""):
		return fmt.Errorf("a push of nothing: %+v", e)
	case pull && e.FilesKnown:
		return fmt.Errorf("the files of a pull request are known")
	case strings.Trim(e.SHA, "0") == "" && e.SHA != "":
		return fmt.Errorf("zeros are to be built")
	}
	return nil
}

// safely parses, and fails the test for an event that is not safe or an error
// that repeats the body.
func (t Telling) safely(test testing.TB, h http.Header, body []byte) {
	test.Helper()
	events, err := t.Deliveries.Parse(h, body)
	if err != nil {
		if strings.Contains(err.Error(), planted) || len(events) > 0 {
			test.Errorf("the error repeats the body, or is not alone: %v", err)
		}
		return
	}
	if len(events) == 0 {
		test.Error("neither events nor an error")
	}
	for _, e := range events {
		if err := Safe(e); err != nil {
			test.Errorf("%v\nfrom %.2000s", err, body)
		}
	}
}

// awkward are values in place of those of a delivery, null first.
var awkward = []string{
	`null`, `true`, `0`, `-1`, `1e400`, `99999999999999999999999999`, `0.5`, `""`, `[]`, `{}`, `[null]`, `[[]]`, `{"":null}`,
	`"` + planted + `"`, `"../../` + planted + `"`, `"refs/heads/` + planted + ` "`, `"a\u0000b"`, `"\ud800"`, `"a\nb\"'$(id)` + "`" + `"`,
	`"refs/heads/-x"`, `"refs/heads/a..b"`, `"refs/heads/a.lock"`, `"refs/heads/a@{1}"`, `"refs/heads/é"`, `"0000000000000000000000000000000000000000"`,
	`"999999-01-01T00:00:00Z"`, strings.Repeat("[", 300) + strings.Repeat("]", 300), `"` + strings.Repeat("x", 5000) + `"`,
}

// hostile leaves out each value of the longest delivery of each event, or has
// null for it. Where no other event had a value of that name, it puts each
// awkward one there too.
func (t Telling) hostile(test *testing.T) {
	test.Parallel()
	longest := map[string]Told{}
	for _, c := range t.Told {
		if c.Err == "" && len(c.Body) > len(longest[c.Event].Body) {
			longest[c.Event] = c
		}
	}
	// Those that a build follows from are first: they look at most values.
	order := slices.SortedFunc(maps.Values(longest), func(a, b Told) int {
		return cmp.Or(strings.Compare(shape(b.Want), shape(a.Want)), strings.Compare(a.Event, b.Event))
	})
	seen := map[string]bool{}
	for _, c := range order {
		var whole any
		decoder := json.NewDecoder(strings.NewReader(c.Body))
		decoder.UseNumber()
		if err := decoder.Decode(&whole); err != nil {
			test.Fatal(err)
		}
		each(whole, "", seen, func(v any) { whole = v }, func() {
			body, err := json.Marshal(whole)
			if err != nil {
				test.Fatal(err)
			}
			t.safely(test, t.header(c.Event), body)
		})
	}
}

// each sets v, which is at path, and every value below it to null, or to each
// awkward value if the path is new, and takes members away; it calls try each
// time.
func each(v any, path string, seen map[string]bool, set func(any), try func()) {
	values := awkward[:1]
	if !seen[path] {
		values = awkward
	}
	seen[path] = true
	for _, a := range values {
		set(json.RawMessage(a))
		try()
	}
	set(v)
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			each(member, path+"."+key, seen, func(m any) { v[key] = m }, try)
			delete(v, key)
			try()
			v[key] = member
		}
	case []any:
		for i, member := range v {
			each(member, path+"[]", seen, func(m any) { v[i] = m }, try)
		}
	}
}

// wrong is what is no delivery of any kind.
func (t Telling) wrong(test *testing.T) {
	test.Parallel()
	for _, c := range t.Told {
		good := c.Body
		for name, body := range map[string]string{
			"empty": "", "text": planted, "null": "null", "list": "[" + good + "]", "twice": good + good, "more": good + planted,
			"cut": good[:len(good)-1], "cut early": good[:len(good)/2], "not UTF-8": strings.Replace(good, `"`, "\"\xff", 1),
			"deep": `{"a":` + strings.Repeat(`[`, 1_000_000) + strings.Repeat(`]`, 1_000_000) + `}`, "BOM": "\ufeff" + good,
			"comment": "// " + planted + "\n" + good, "quotes": strings.ReplaceAll(good, `"`, `'`), "NUL": strings.Replace(good, `"`, `"\u0000`, 1),
		} {
			events, err := t.Deliveries.Parse(t.header(c.Event), []byte(body))
			if err == nil {
				test.Errorf("%s is read as %+v", name, events)
			} else if strings.Contains(err.Error(), planted) {
				test.Errorf("%s: the error repeats the body: %v", name, err)
			}
		}
		form := t.header(c.Event)
		form.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		for _, h := range []http.Header{form, t.header(c.Event)} {
			if _, err := t.Deliveries.Parse(h, []byte("payload=%7B%7D")); err == nil || !strings.Contains(err.Error(), "application/json") {
				test.Errorf("a form: error %v, want one that names the content type to choose", err)
			}
		}
		for _, h := range []http.Header{{}, {t.EventName: {c.Event, c.Event}}, {http.CanonicalHeaderKey(t.EventName): {""}}, {http.CanonicalHeaderKey(t.EventName): {c.Event, c.Event}}} {
			if events, err := t.Deliveries.Parse(h, []byte(good)); err == nil {
				test.Errorf("without the one header of the event it is read as %+v", events)
			}
		}
		break
	}
}

// crossed gives each delivery the name of each other event: names are not
// signed, so a body must not pass as another's.
func (t Telling) crossed(test *testing.T) {
	test.Parallel()
	for name, c := range t.Told {
		for other, o := range t.Told {
			if c.Err != "" || o.Err != "" || c.Disguised || c.Event == o.Event || shape(o.Want) == "" {
				continue
			}
			events, err := t.Deliveries.Parse(t.header(o.Event), []byte(c.Body))
			if err == nil && shape(events) != "" && shape(events) != shape(c.Want) {
				test.Errorf("%s passes as %s: %+v", name, other, events)
			}
		}
	}
}

// shape is the sort of body that events come from, "" if none is of interest.
func shape(events []forge.Event) string {
	for _, e := range events {
		switch {
		case e.Type == forge.Comment:
			return "comment"
		case e.Pull != nil && e.Type != forge.NotOfInterest:
			return "pull"
		case e.Type != forge.NotOfInterest:
			return string(e.Type)
		}
	}
	return ""
}

func (t Telling) verify(test *testing.T) {
	test.Parallel()
	body := []byte(`{"zen":"Half measures are as bad as nothing at all."}`)
	signed := http.Header{}
	t.Sign(signed, body, toldSecret, signedAt)
	check := func(h http.Header, body []byte, secret api.Secret) error {
		_, err := t.Deliveries.Verify(h, body, secret, signedAt)
		if err != nil {
			for _, text := range []string{err.Error(), fmt.Sprintf("%#v", err)} {
				for _, values := range h {
					for _, v := range values {
						if len(v) > 10 && strings.Contains(text, v) {
							test.Errorf("the error shows the header: %s", text)
						}
					}
				}
				if strings.Contains(text, secret.Reveal()) && secret != "" {
					test.Errorf("the error shows the secret: %s", text)
				}
			}
		}
		return err
	}
	refused := func(what string, h http.Header, body []byte, secret api.Secret) {
		test.Helper()
		if check(h, body, secret) == nil {
			test.Errorf("%s is accepted", what)
		}
	}
	if err := check(signed, body, toldSecret); err != nil {
		test.Fatalf("what is signed right is refused: %v", err)
	}
	// Where there is a signature, what it does not cover says nothing.
	if t.Signature != "" {
		other := signed.Clone()
		for _, name := range []string{t.IDName, "Idempotency-Key", "X-Request-Id"} {
			other.Set(name, "another")
		}
		one, err := t.Deliveries.Verify(signed, body, toldSecret, signedAt)
		two, errOther := t.Deliveries.Verify(other, body, toldSecret, signedAt)
		if err != nil || errOther != nil || one != two {
			test.Errorf("a header that is not signed makes the id %q, %v of %q, %v", two, errOther, one, err)
		}
	}
	refused("no header", http.Header{}, body, toldSecret)
	refused("an empty secret", signed, body, "")
	empty := http.Header{}
	t.Sign(empty, body, "", signedAt)
	refused("a signature with the empty secret", empty, body, "")
	refused("the empty secret's signature", empty, body, toldSecret)
	for i := range toldSecret[:len(toldSecret)-2] { // the end is padding
		if i < len("whsec_") && t.Signature == "Webhook-Signature" {
			continue
		}
		other := []byte(toldSecret)
		other[i] ^= 2
		refused(fmt.Sprintf("another secret at %d", i), signed, body, api.Secret(other))
	}
	if t.Signature != "" {
		for i := range len(body) * 8 {
			other := slices.Clone(body)
			other[i/8] ^= 1 << (i % 8)
			refused(fmt.Sprintf("another body at bit %d", i), signed, other, toldSecret)
		}
		refused("a longer body", signed, append(slices.Clone(body), '\n'), toldSecret)
		refused("a shorter body", signed, body[:len(body)-1], toldSecret)
		refused("no body", signed, nil, toldSecret)
	}
	for name, values := range signed {
		value := values[0]
		change := func(what string, values ...string) {
			test.Helper()
			h := signed.Clone()
			h[name] = values
			refused(name+" "+what, h, body, toldSecret)
		}
		for i := range len(value) * 8 {
			other := []byte(value)
			other[i/8] ^= 1 << (i % 8)
			change(fmt.Sprintf("with bit %d changed", i), string(other))
		}
		change("doubled", value, value)
		change("doubled, first", "", value)
		change("empty", "")
		change("cut", value[:len(value)-1])
		change("longer", value+"0")
		change("joined", value+","+value)
		if name != "Webhook-Signature" { // a list with blanks between
			change("with a blank", " "+value)
		}
		if upper := strings.ToUpper(value); upper != value {
			change("in upper case", upper)
		}
		h := signed.Clone()
		delete(h, name)
		refused("a missing "+name, h, body, toldSecret)
		for _, foreign := range t.Foreign {
			h := http.Header{}
			h.Set(foreign, value)
			refused(value+" in "+foreign, h, body, toldSecret)
		}
	}
}

func (t Telling) describe(test *testing.T) {
	test.Parallel()
	for _, c := range t.Told {
		event, id := t.Deliveries.Describe(t.header(c.Event))
		if event != c.Event || id != "72d3162e-cc78-11e3-81ab-4c9367dc0958" {
			test.Errorf("%s is described as %q, %q", c.Event, event, id)
		}
	}
	if event, id := t.Deliveries.Describe(http.Header{}); event != "" || id != "" {
		test.Errorf("nothing is described as %q, %q", event, id)
	}
	h := http.Header{}
	h.Set(t.EventName, "push\"><script>")
	h.Set(t.IDName, strings.Repeat("7", 1000))
	if event, id := t.Deliveries.Describe(h); event != "" || id != "" {
		test.Errorf("odd headers are described as %q, %q", event, id)
	}
}

// FuzzParse fuzzes Parse from the deliveries of the table.
func (t Telling) FuzzParse(f *testing.F) {
	for _, c := range t.Told {
		f.Add(c.Event, []byte(c.Body))
	}
	f.Fuzz(func(test *testing.T, event string, body []byte) {
		h := http.Header{}
		h.Set(t.EventName, event)
		t.safely(test, h, body)
	})
}

// FuzzVerify fuzzes Verify with a secret that nobody knows.
func (t Telling) FuzzVerify(f *testing.F) {
	signed := http.Header{}
	t.Sign(signed, []byte("{}"), "Zm9yZ2V0ZXN0Rm9yZ2VkU2VjcmV0", signedAt)
	var names, values [3]string
	for name, v := range signed {
		i := slices.Index(names[:], "")
		names[i], values[i] = name, v[0]
	}
	f.Add(names[0], values[0], names[1], values[1], names[2], values[2], []byte("{}"))
	f.Fuzz(func(test *testing.T, n0, v0, n1, v1, n2, v2 string, body []byte) {
		h := http.Header{}
		h.Add(n0, v0)
		h.Add(n1, v1)
		h.Add(n2, v2)
		if _, err := t.Deliveries.Verify(h, body, toldSecret, signedAt); err == nil {
			test.Errorf("forged: %q over %q", h, body)
		}
	})
}

// Benchmark measures Verify and Parse of a delivery.
func (t Telling) Benchmark(b *testing.B, event string, body []byte) {
	h := t.header(event)
	t.Sign(h, body, toldSecret, signedAt)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Deliveries.Verify(h, body, toldSecret, signedAt); err != nil {
			b.Fatal(err)
		}
		if _, err := t.Deliveries.Parse(h, body); err != nil {
			b.Fatal(err)
		}
	}
}
