package corbel_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	contract "github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// A receiver is where deliveries for a project go.
type receiver struct {
	*server
	project, url, secret string
}

// byHand makes a project of octo/app with a webhook that nobody has to make.
func (s *server) byHand(project string, groups [][]api.WebhookFilter) receiver {
	s.t.Helper()
	s.projectOf(project, &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	out, err := s.client().CreateWebhook(context.Background(), &api.CreateWebhookInput{ProjectName: &project, ManualCreation: new(true), FilterGroups: groups})
	if err != nil {
		s.t.Fatal(err)
	}
	return receiver{s, project, *out.Webhook.PayloadUrl, *out.Webhook.Secret}
}

func signature(secret string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// request is a signed push.
func (r receiver) request(body []byte) *http.Request {
	r.t.Helper()
	q, err := http.NewRequest(http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "GitHub-Hookshot/0000001")
	q.Header.Set("X-Github-Event", "push")
	q.Header.Set("X-Github-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	q.Header.Set("X-Hub-Signature-256", signature(r.secret, body))
	return q
}

// send sends a request; status 0 is that the connection was broken.
func (r receiver) send(q *http.Request) (status int, answer string) {
	r.t.Helper()
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// pushed is the body of a push to octo/app.
func pushed(ref, sha, message string) []byte {
	body, err := json.Marshal(map[string]any{
		"ref": ref, "before": strings.Repeat("0", 40), "after": sha,
		"repository": map[string]any{"id": 1296269, "full_name": "octo/app"}, "sender": map[string]any{"id": 583231, "login": "octocat"},
		"head_commit": map[string]any{"id": sha, "message": message}, "commits": []any{},
	})
	if err != nil {
		panic(err) // of plain values
	}
	return body
}

// inbox lists the newest deliveries.
func (r receiver) inbox() []contract.WebhookDelivery {
	r.t.Helper()
	in, err := json.Marshal(contract.ListWebhookDeliveriesInput{ProjectName: &r.project, MaxResults: new(60)})
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := r.client().Do(context.Background(), &contract.Contract, "ListWebhookDeliveries", in)
	if err != nil {
		r.t.Fatal(err)
	}
	var out contract.ListWebhookDeliveriesOutput
	if err := json.Unmarshal(answer, &out); err != nil {
		r.t.Fatal(err)
	}
	return out.Deliveries
}

// waits reports whether a delivery that has a problem with these words is not
// decided yet; "" is any, with a problem or without.
func (r receiver) waits(words string) bool {
	r.t.Helper()
	return slices.ContainsFunc(r.inbox(), func(d contract.WebhookDelivery) bool {
		return d.State == contract.DeliveryStateWAITING && (words == "" || d.Problem != nil && strings.Contains(*d.Problem, words))
	})
}

// decided waits until every delivery is.
func (r receiver) decided() {
	r.t.Helper()
	r.until("the deliveries are decided", func() bool { return !r.waits("") })
}

func (r receiver) builds() []string {
	r.t.Helper()
	out, err := r.client().ListBuildsForProject(context.Background(), &api.ListBuildsForProjectInput{ProjectName: &r.project})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Ids
}

// peak is the most memory that the server has used, in bytes.
func (s *server) peak() int {
	s.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				s.t.Fatal(err)
			}
			return n << 10
		}
	}
	s.t.Fatal("the kernel does not tell the peak of memory")
	return 0
}

// endless is a body without an end, and says how much of it was read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

// Whoever knows the address of a webhook and not its secret starts nothing, and
// whoever knows both starts one build with each body.
func TestHostileDeliveries(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	r := s.byHand("app", [][]api.WebhookFilter{{{Type: "EVENT", Pattern: new("PUSH")}}})
	other := s.byHand("other", nil)
	sha := strings.Repeat("a", 40)
	body := func(n string) []byte { return pushed("refs/heads/main", sha, n) }
	padded := func(size int) []byte {
		b := body("large")
		return append(b, bytes.Repeat([]byte(" "), size-len(b))...)
	}
	const mib = 1 << 20
	const received, before = "Webhook received as delivery", "received before"
	header := func(pairs ...string) func(*http.Request) {
		return func(q *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				if q.Header.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
					q.Header.Del(pairs[i])
				}
			}
		}
	}
	address := func(change func(*url.URL)) func(*http.Request) {
		return func(q *http.Request) { change(q.URL) }
	}
	mac := hmac.New(sha1.New, []byte(r.secret))
	mac.Write(body("sha1"))
	sha1only := "sha1=" + hex.EncodeToString(mac.Sum(nil))
	endlessBody := &endless{}
	good := strings.TrimPrefix(strings.SplitN(r.url, "?", 2)[1], "t=")
	good, _, _ = strings.Cut(good, "&")
	for _, c := range []struct {
		name   string
		body   []byte
		change func(*http.Request)
		status int
		words  string
		builds int // that follow
	}{
		{"good", body("1"), nil, 200, received, 1},
		{"again", body("1"), nil, 200, before, 0},
		{"again under another id", body("1"), header("X-Github-Delivery", "00000000-0000-0000-0000-000000000001"), 200, before, 0},
		{"again as another event", body("1"), header("X-Github-Event", "ping"), 200, before, 0},
		{"unsigned", body("2"), header("X-Hub-Signature-256", ""), 401, "", 0},
		{"empty signature", body("2"), header("X-Hub-Signature-256", "sha256="), 401, "", 0},
		{"signed with nothing", body("2"), header("X-Hub-Signature-256", signature("", body("2"))), 401, "", 0},
		{"signed with the address", body("2"), header("X-Hub-Signature-256", signature(good, body("2"))), 401, "", 0},
		{"signed for another webhook", body("2"), header("X-Hub-Signature-256", signature(other.secret, body("2"))), 401, "", 0},
		{"signature of another body", body("2"), header("X-Hub-Signature-256", signature(r.secret, body("1"))), 401, "", 0},
		{"signature too short", body("2"), header("X-Hub-Signature-256", signature(r.secret, body("2"))[:40]), 401, "", 0},
		{"signature with more", body("2"), header("X-Hub-Signature-256", signature(r.secret, body("2"))+"00"), 401, "", 0},
		{"SHA-1", body("sha1"), header("X-Hub-Signature-256", "", "X-Hub-Signature", sha1only), 401, "", 0},
		{"GitLab's token", body("2"), header("X-Hub-Signature-256", "", "X-Gitlab-Token", r.secret, "X-Gitlab-Event", "Push Hook"), 401, "", 0},
		{"Bitbucket's signature", body("2"), header("X-Hub-Signature-256", "", "X-Hub-Signature", signature(r.secret, body("2")), "X-Event-Key", "repo:push"), 401, "", 0},
		{"Gitea's signature", body("2"), header("X-Hub-Signature-256", "", "X-Gitea-Signature", signature(r.secret, body("2"))[7:], "X-Gitea-Event", "push"), 401, "", 0},
		{"no event", body("3"), header("X-Github-Event", ""), 200, received, 0},
		{"another provider's event", body("4"), header("X-Github-Event", "", "X-Gitlab-Event", "Push Hook"), 200, received, 0},
		{"an event that nobody knows", body("5"), header("X-Github-Event", strings.Repeat("x", 5000)), 200, received, 0},
		{"a form", body("6"), header("Content-Type", "application/x-www-form-urlencoded"), 415, "application/json", 0},
		{"a form in capitals", body("6"), header("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8"), 415, "application/json", 0},
		{"no JSON", []byte("hello"), nil, 200, received, 0},
		{"nothing", nil, nil, 200, received, 0},
		{"null", []byte("null"), nil, 200, received, 0},
		{"a list", []byte("[[]]"), nil, 200, received, 0},
		{"other types", []byte(`{"ref":1,"after":[],"repository":"x","sender":{"id":"y"}}`), nil, 200, received, 0},
		{"nested deeply", bytes.Repeat([]byte(`{"ref":`), 100_000), nil, 200, received, 0},
		{"lists nested deeply", append(bytes.Repeat([]byte("["), 100_000), bytes.Repeat([]byte("]"), 100_000)...), nil, 200, received, 0},
		{"gzip that is not said", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), nil, 200, received, 0},
		{"25 MiB", padded(25 * mib), nil, 200, received, 1},
		{"more than 25 MiB", padded(25*mib + 1), nil, 413, "25 MiB", 0},
		{"without an end", nil, func(q *http.Request) { q.Body, q.ContentLength, q.GetBody = io.NopCloser(endlessBody), -1, nil }, 413, "25 MiB", 0},
		{"another repository", bytes.Replace(body("7"), []byte("octo/app"), []byte("evil/app"), 1), nil, 200, received, 0},
		{"a repository that begins alike", bytes.Replace(body("8"), []byte("octo/app"), []byte("octo/app2"), 1), nil, 200, received, 0},
		{"a deleted branch", pushed("refs/heads/main", strings.Repeat("0", 40), "9"), nil, 200, received, 0},
		{"an option for a commit", pushed("refs/heads/main", "--upload-pack=touch", "10"), nil, 200, received, 0},
		{"half a commit", pushed("refs/heads/main", "abcdef", "11"), nil, 200, received, 0},
		{"not below heads", pushed("refs/pull/1/head", sha, "12"), nil, 200, received, 0},
		{"GET", nil, func(q *http.Request) { q.Method = http.MethodGet }, 405, "", 0},
		{"PUT", body("13"), func(q *http.Request) { q.Method = http.MethodPut }, 405, "", 0},
		{"a path below", body("13"), address(func(u *url.URL) { u.Path += "/x" }), 404, "", 0},
		{"no t", body("13"), address(func(u *url.URL) { u.RawQuery = "v=1" }), 404, "No webhook", 0},
		{"empty t", body("13"), address(func(u *url.URL) { u.RawQuery = "t=&v=1" }), 404, "No webhook", 0},
		{"t of nobody", body("13"), address(func(u *url.URL) { u.RawQuery = "t=" + strings.Repeat("A", 43) }), 404, "No webhook", 0},
		{"t with wildcards", body("13"), address(func(u *url.URL) { u.RawQuery = "t=%25" }), 404, "No webhook", 0},
		{"t with NUL", body("13"), address(func(u *url.URL) { u.RawQuery = "t=" + good + "%00" }), 404, "No webhook", 0},
		{"t in capitals", body("13"), address(func(u *url.URL) { u.RawQuery = "t=" + strings.ToUpper(good) }), 404, "No webhook", 0},
		{"t long", body("13"), address(func(u *url.URL) { u.RawQuery = "t=" + strings.Repeat("A", 50_000) }), 404, "No webhook", 0},
		{"t twice, another's first", body("13"), address(func(u *url.URL) { u.RawQuery = "t=x&t=" + good }), 404, "No webhook", 0},
		{"t twice, its own first", body("14"), address(func(u *url.URL) { u.RawQuery = "t=" + good + "&t=x" }), 200, received, 1},
		{"the name of the project", body("15"), address(func(u *url.URL) { u.RawQuery = "t=app" }), 404, "No webhook", 0},
		{"another webhook's address", body("15"), func(q *http.Request) { q.URL, _ = url.Parse(other.url) }, 401, "", 0},
	} {
		q := r.request(c.body)
		if c.change != nil {
			c.change(q)
		}
		was := len(r.builds())
		status, answer := r.send(q)
		if c.status == 413 && status == 0 {
			status, answer = 413, c.words // closed before all was sent
		}
		if status != c.status || !strings.Contains(answer, c.words) {
			t.Errorf("%s: HTTP %d %.300s; want %d with %q", c.name, status, answer, c.status, c.words)
		}
		if strings.Contains(answer, r.secret) || strings.Contains(answer, good) {
			t.Errorf("%s: the answer has a secret: %s", c.name, answer)
		}
		if status == 200 {
			r.decided()
		}
		if got := len(r.builds()) - was; got != c.builds {
			t.Errorf("%s: %d builds followed, want %d\n%s", c.name, got, c.builds, s.must(corbel(t), "webhook", "deliveries", "app", "--limit", "1"))
		}
	}
	if most := 25*mib + 8*mib; endlessBody.read > most {
		t.Errorf("%d bytes of the endless body were read, want at most %d", endlessBody.read, most)
	}

	// Refs with every awkward character either start the build of that ref or
	// nothing; no name becomes anything else.
	was, want := len(r.builds()), 0
	for i, name := range []string{
		"--upload-pack=touch", "-c", "$(id)", "`id`", "a;b", "a|b", "a&b", "a'b", `a"b`, "a#b", "a%00b", "日本", "é", strings.Repeat("x", 200), // are names
		"a b", "a\nb", "a\x00b", "a\x7fb", "../x", "a..b", "a~b", "a^{commit}", "a:b", "a?b", "a*b", "a[b", `a\b`, "@{1}", "a.lock", "", "/", ".", "a/", strings.Repeat("x", 100_000), // are none
	} {
		q := r.request(pushed("refs/heads/"+name, sha, fmt.Sprint("ref ", i)))
		if status, answer := r.send(q); status != 200 {
			t.Errorf("%.40q: HTTP %d %s", name, status, answer)
		}
		if i < 14 {
			want++
		}
	}
	r.decided()
	if got := len(r.builds()) - was; got != want {
		t.Errorf("awkward refs started %d builds, want %d:\n%s", got, want, s.must(corbel(t), "webhook", "deliveries", "app", "--limit", "40"))
	}

	// The same at once is one, and many large ones are no harm.
	was = len(r.builds())
	var mu sync.Mutex
	answers := map[string]int{}
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() {
			b := body("at once")
			q := r.request(b)
			q.Header.Set("X-Github-Delivery", fmt.Sprint(i))
			_, answer := r.send(q)
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(answer, received) {
				answer = received
			}
			answers[answer]++
		})
	}
	for range 8 {
		calls.Go(func() { r.send(r.request(padded(25*mib + 1))) })
	}
	calls.Wait()
	r.decided()
	if got := len(r.builds()) - was; got != 1 || answers[received] != 1 || len(answers) != 2 {
		t.Errorf("50 at once started %d builds: %v", got, answers)
	}

	// Cut off in the middle.
	at, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	cut := body("cut")
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n%s", at.RequestURI(), signature(r.secret, cut), len(cut), cut[:len(cut)/2])
	conn.Close()
	if status, answer := r.send(r.request(cut)); status != 200 || !strings.Contains(answer, received) {
		t.Errorf("sent whole after it was cut: HTTP %d %s", status, answer)
	}
	if got := other.builds(); len(got) != 0 {
		t.Errorf("another project has builds: %v", got)
	}
	if peak, most := s.peak(), 700*mib; peak > most {
		t.Errorf("the server used %d MiB, want at most %d", peak/mib, most/mib)
	}
	if log := s.log.String(); strings.Contains(log, "panic") || strings.Contains(log, r.secret) || strings.Contains(log, good) {
		t.Error("the server's log has a panic, the secret or the address")
	}
	findPlanted(t, s.data, [][]byte{[]byte(r.secret)})
}

// What the provider, the limits and the server's end keep from being decided
// waits, and is then decided once.
func TestHostileDeliveries_Wait(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, sha := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\n"})
	if err := host.SetRole("octo/app", "octocat", "admin"); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-host", "github.com="+host.URL, "-builds", "0")
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	groups := [][]api.WebhookFilter{{{Type: "EVENT", Pattern: new("PULL_REQUEST_CREATED")}, {Type: "FILE_PATH", Pattern: new("^src/")}}}
	if _, err := s.client().CreateWebhook(context.Background(), &api.CreateWebhookInput{ProjectName: new("app"), FilterGroups: groups}); err != nil {
		t.Fatal(err)
	}
	app := receiver{server: s, project: "app"}
	open := func(name string) {
		t.Helper()
		if _, err := host.OpenPull("octo/app", forgetest.Pull{Head: name, Commits: []forgetest.Commit{{Message: name, Files: map[string]string{"src/" + name: "1"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	problems := func(words string) func() bool { return func() bool { return app.waits(words) } }
	decided := func(builds int) {
		t.Helper()
		app.decided()
		if got := app.builds(); len(got) != builds {
			t.Errorf("there are %d builds, want %d:\n%s", len(got), builds, s.must(corbel(t), "webhook", "deliveries", "app"))
		}
	}

	// Neither files nor roles can be had; the server is stopped and killed.
	host.Inject(forgetest.Fault{Path: "/repos/octo/app/pulls/", Do: forgetest.Answer(502, nil, "")})
	open("files")
	s.until("the delivery waits for its files", problems("502"))
	s.stop()
	s.start()
	s.until("the delivery waits again", problems("502"))
	s.kill()
	s.start()
	host.Heal()
	host.Inject(forgetest.Fault{Path: "/repos/octo/app/collaborators/", Do: forgetest.Reset()})
	s.until("the delivery waits for a role", problems("role of octocat"))
	host.Heal()
	decided(1)

	// The server has another address now, which an update tells the provider.
	if _, err := s.client().UpdateWebhook(context.Background(), &api.UpdateWebhookInput{ProjectName: new("app")}); err != nil {
		t.Fatal(err)
	}
	if hooks := host.Hooks("octo/app"); len(hooks) != 1 || !strings.HasPrefix(hooks[0].URL, s.url) {
		t.Errorf("the server is at %s, and the hooks are %+v", s.url, hooks)
	}

	// The limit of builds at a time is reached.
	if _, err := s.client().UpdateProject(context.Background(), &api.UpdateProjectInput{Name: new("app"), ConcurrentBuildLimit: new(1)}); err != nil {
		t.Fatal(err)
	}
	open("limit")
	s.until("the delivery waits for the limit", problems("active builds"))
	if _, err := s.client().StopBuild(context.Background(), &api.StopBuildInput{Id: new(app.builds()[0])}); err != nil {
		t.Fatal(err)
	}
	decided(2)

	// The project is deleted while its deliveries wait, and comes again.
	host.Inject(forgetest.Fault{Path: "/repos/octo/app/pulls/", Do: forgetest.Answer(502, nil, "")})
	open("deleted")
	s.until("the delivery waits for its files", problems("502"))
	if _, err := s.client().DeleteProject(context.Background(), &api.DeleteProjectInput{Name: new("app")}); err != nil {
		t.Fatal(err)
	}
	s.until("the hook is gone", func() bool { return len(host.Hooks("octo/app")) == 0 })
	host.Heal()
	again := s.byHand("app", nil)
	if status, answer := again.send(again.request(pushed("refs/heads/main", sha, "after"))); status != 200 {
		t.Errorf("a push to the new project: HTTP %d %s", status, answer)
	}
	s.until("the old delivery was looked at", func() bool { return strings.Contains(s.log.String(), "the webhook was deleted") })
	decided(3)
	if list := s.must(corbel(t), "webhook", "deliveries", "app"); strings.Contains(list, "PULL_REQUEST") {
		t.Errorf("the new webhook has the old one's deliveries:\n%s", list)
	}
	if log := s.log.String(); strings.Contains(log, "panic") || strings.Contains(log, planted) {
		t.Error("the server's log has a panic or the token")
	}
}

// Slow bodies for one webhook, whose address its readers know, hold up no
// other, and are given up.
func TestHostileDeliveries_Slow(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	var slow struct{ Webhook api.Webhook }
	h.codebuild(&slow, "create-webhook", "--project-name", "app", "--manual-creation")
	h.projectOf("other", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	h.codebuild(nil, "create-webhook", "--project-name", "other")
	var conns []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", strings.TrimPrefix(*slow.Webhook.PayloadUrl, h.url))
		conns = append(conns, c)
	}
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "push", Files: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	list := h.host.Deliveries("octo/app")
	if d := list[len(list)-1]; d.Event != "push" || d.Status != 200 {
		t.Errorf("beside slow bodies a push was answered with %d %s %v", d.Status, d.Answer, d.Err)
	}
	// Those that are read are given up, and those that wait are sent away, both
	// before the server's own limit of a minute. Which are which is nobody's to say.
	end := time.Now().Add(50 * time.Second)
	for i, c := range conns {
		_ = c.SetReadDeadline(end)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, " 400 ") && !strings.Contains(line, " 503 ") {
			t.Errorf("slow body %d was answered with %q, %v", i, line, err)
		}
	}
}
