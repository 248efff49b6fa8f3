package corbel_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/sigv4"
)

// A browser keeps cookies and follows no redirect by itself.
type browser struct {
	t    *testing.T
	http *http.Client
	at   string // the console's address, with a slash at the end
}

func newBrowser(t *testing.T, at string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, at: at, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do sends a request to an address relative to the console's.
func (b *browser) do(method, to string, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	base, err := url.Parse(b.at)
	if err != nil {
		b.t.Fatal(err)
	}
	u, err := base.Parse(to)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, u.String(), strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(text)
}

// form is what the sign-in's form sends.
func form(key, secret string, more ...string) string {
	v := url.Values{"accessKeyId": {key}, "secretAccessKey": {secret}, "region": {"eu-west-1"}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

const formType = "application/x-www-form-urlencoded"

func (b *browser) login(key, secret string, more ...string) (*http.Response, string) {
	b.t.Helper()
	return b.do("POST", "login", form(key, secret, more...), "Content-Type", formType, "Sec-Fetch-Site", "same-origin")
}

// call is a call of the program: its status, and the answer's document.
func (b *browser) call(target, doc string, headers ...string) (int, map[string]any) {
	b.t.Helper()
	res, text := b.do("POST", "../", doc, append([]string{"X-Amz-Target", target, "Content-Type", "application/x-amz-json-1.1", "X-Corbel-Console", "1", "Sec-Fetch-Site", "same-origin"}, headers...)...)
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.t.Fatalf("%s: %s %s", target, res.Status, text)
	}
	return res.StatusCode, out
}

const listProjects = "CodeBuild_20161006.ListProjects"

// signedIn reports whether a call succeeds, or fails because the session ended.
func (b *browser) signedIn() bool {
	b.t.Helper()
	status, out := b.call(listProjects, "{}")
	if status != http.StatusOK && out["__type"] != "ExpiredTokenException" && out["__type"] != "MissingAuthenticationTokenException" {
		b.t.Errorf("ListProjects: %d %v", status, out)
	}
	return status == http.StatusOK
}

// Somebody signs in with an access key, calls what the CLI calls, and signs out.
func TestConsole_Session(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	c := s.client()
	secret := c.Secret.Reveal()
	b := newBrowser(t, s.url+"/console/")
	if b.signedIn() {
		t.Error("signed in without signing in")
	}
	res, text := b.do("GET", "login?next=projects/app%3Ftab%3Dbuilds", "")
	if res.StatusCode != http.StatusOK || !strings.Contains(text, "Secret access key") || !strings.Contains(text, `value="projects/app?tab=builds"`) || strings.Contains(text, "<script") {
		t.Errorf("the form: %s %s", res.Status, text)
	}
	res, _ = b.login(c.AccessKeyID, secret, "next", "projects/app?tab=builds")
	if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || got != "./projects/app?region=eu-west-1&tab=builds" {
		t.Fatalf("signing in: %s to %q", res.Status, got)
	}
	cookie := res.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || cookie.Path != "/" || len(cookie.Value) < 43 {
		t.Errorf("the cookie is %s", cookie)
	}
	if !b.signedIn() {
		t.Fatal("not signed in")
	}
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	if _, out := b.call(listProjects, "{}", "X-Corbel-Region", c.Region); len(out["projects"].([]any)) != 1 {
		t.Errorf("the projects of %s are %v", c.Region, out)
	}
	if status, out := b.call(listProjects, "{}", "X-Corbel-Region", "../x"); status != http.StatusBadRequest {
		t.Errorf("a region that is none: %d %v", status, out)
	}
	if status, out := b.call("Logs_20140328.DescribeLogGroups", "{}"); status != http.StatusOK {
		t.Errorf("logs: %d %v", status, out)
	}
	b.call("CodeBuild_20161006.DeleteProject", `{"name":"app"}`, "X-Corbel-Region", c.Region)

	// A session of before the sign-in is no session after it.
	before := newBrowser(t, s.url+"/console/")
	before.http.Jar.SetCookies(mustURL(t, s.url), []*http.Cookie{cookie})
	if res, _ = b.login(c.AccessKeyID, secret); res.StatusCode != http.StatusSeeOther || res.Cookies()[0].Value == cookie.Value {
		t.Errorf("signing in again: %s", res.Status)
	}
	if before.signedIn() || !b.signedIn() {
		t.Error("the session of before goes on")
	}

	s.stop()
	s.start()
	b.at = s.url + "/console/"
	if !b.signedIn() {
		t.Error("the session did not outlive the server")
	}
	kept := b.http.Jar.Cookies(mustURL(t, s.url))[0]
	if res, _ = b.do("POST", "logout", "", "Sec-Fetch-Site", "same-origin"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "./login" {
		t.Errorf("signing out: %s", res.Status)
	}
	b.http.Jar.SetCookies(mustURL(t, s.url), []*http.Cookie{kept})
	if b.signedIn() {
		t.Error("the session goes on after signing out")
	}

	events := s.must(corbel(t), "audit", "list", "-data", s.data)
	for _, want := range []string{"ConsoleLogin", "ConsoleLogout", "DeleteProject"} {
		if !strings.Contains(events, want) {
			t.Errorf("the audit log lacks %s:\n%s", want, events)
		}
	}
	for _, hidden := range []string{secret, cookie.Value, kept.Value} {
		if strings.Contains(events+s.log.String(), hidden) {
			t.Error("the log or the audit log has a secret of the session")
		}
		findPlanted(t, s.data, [][]byte{[]byte(hidden)})
	}
}

// signed is a call with the signature of the server's first key.
func (s *server) signed(target, doc string) *http.Request {
	s.t.Helper()
	c := s.client()
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url, strings.NewReader(doc))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sigv4.Sign(r, []byte(doc), c.AccessKeyID, c.Secret.Reveal(), "us-east-1", "codebuild", time.Now())
	return r
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Two servers at ports of one host do not end each other's sessions, though the
// browser sends the cookies of both to both.
func TestConsole_TwoServers(t *testing.T) {
	t.Parallel()
	var all []*browser
	for range 2 {
		s := serve(t, "-builds", "0")
		c := s.client()
		b := newBrowser(t, s.url+"/console/")
		if len(all) > 0 {
			b.http.Jar = all[0].http.Jar
		}
		b.login(c.AccessKeyID, c.Secret.Reveal())
		all = append(all, b)
	}
	for i, b := range all {
		if !b.signedIn() {
			t.Errorf("not signed in at server %d", i+1)
		}
	}
	all[0].do("POST", "logout", "", "Sec-Fetch-Site", "same-origin")
	if all[0].signedIn() || !all[1].signedIn() {
		t.Error("signing out at one is not signing out there alone")
	}
}

// The form is in the theme that was chosen in the console, and proposes the
// region of the page that somebody wants to.
func TestConsole_LoginForm(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, serve(t, "-builds", "0").url+"/console/")
	for cookie, want := range map[string]string{"dark": `<html lang="en" class="dark">`, "light": `<html lang="en" class="light">`, "system": `<html lang="en">`, `x"onload=`: `<html lang="en">`} {
		if _, text := b.do("GET", "login?next=builds%3Fregion%3Dsa-east-1", "", "Cookie", "corbel_theme="+cookie); !strings.Contains(text, want) || !strings.Contains(text, `value="sa-east-1"`) {
			t.Errorf("with the theme %s: %s", cookie, text)
		}
	}
}

// A session ends with its key.
func TestConsole_KeyDeleted(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	pair := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "guest", "-data", s.data))
	b := newBrowser(t, s.url+"/console/")
	if b.login(pair[0], pair[1]); !b.signedIn() {
		t.Fatal("not signed in")
	}
	s.must(corbel(t), "keys", "delete", pair[0], "-data", s.data)
	wait(t, "the end of the session of a deleted key", func() bool { return !b.signedIn() })
}

// What is refused says the same whatever the cause, and more and more slowly.
func TestConsole_LoginRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	c := s.client()
	secret := c.Secret.Reveal()
	ended := strings.Fields(s.must(corbel(t), "keys", "create", "-expires", "1ms", "-data", s.data))
	b := newBrowser(t, s.url+"/console/")
	var texts []string
	for _, try := range [][2]string{{c.AccessKeyID, secret + "x"}, {"AKIAAAAAAAAAAAAAAAAA", secret}, {ended[0], ended[1]}, {secret, c.AccessKeyID}} {
		res, text := b.login(try[0], try[1])
		if res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s", try[0], res.Status)
		}
		texts = append(texts, strings.ReplaceAll(text, `value="`+try[0]+`"`, `value=""`))
		if strings.Contains(text, secret) {
			t.Error("the page repeats the secret")
		}
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("the answers differ:\n%s\n%s", texts[0], text)
		}
	}
	if res, _ := b.login(c.AccessKeyID, secret, "region", "Not A Region"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a region that is none: %s", res.Status)
	}
	var res *http.Response
	for range 10 { // a slow machine forgets the first waits meanwhile
		if res, _ = b.login(c.AccessKeyID, "wrong"); res.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("after many attempts: %s", res.Status)
	}
	if list := s.must(corbel(t), "audit", "list", "-failed", "-data", s.data); strings.Count(list, "ConsoleLogin") < 4 || strings.Contains(list, secret) {
		t.Errorf("the audit log of failures is\n%s", list)
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("the log has the secret")
	}
}

// Behind a trusted proxy, who guesses slows down himself and nobody else, and is
// the one whom the audit log names.
func TestConsole_LoginBehindProxy(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0", "-trusted-proxy", "127.0.0.1")
	c := s.client()
	guest := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "guest", "-data", s.data))
	try := func(address, id, secret string) int {
		res, _ := newBrowser(t, s.url+"/console/").do("POST", "login", form(id, secret), "Content-Type", formType, "X-Forwarded-For", address)
		return res.StatusCode
	}
	status := 0
	for range 10 {
		if status = try("203.0.113.66", c.AccessKeyID, "wrong"); status == http.StatusTooManyRequests {
			break
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("who guesses is answered with %d", status)
	}
	if status := try("192.0.2.7", guest[0], guest[1]); status != http.StatusSeeOther {
		t.Errorf("another is answered with %d", status)
	}
	list := s.must(corbel(t), "audit", "list", "-output", "json", "-data", s.data)
	for _, address := range []string{"203.0.113.66", "192.0.2.7"} {
		if !strings.Contains(list, address) {
			t.Errorf("the audit log does not have %s:\n%s", address, list)
		}
	}
	if out, err := s.run(corbel(t), "serve", "-data", t.TempDir(), "-trusted-proxy", "everybody"); err == nil || !strings.Contains(out, "neither an address nor a CIDR block") {
		t.Errorf("-trusted-proxy everybody: %v %s", err, out)
	}
}

// Another site can neither call with the session nor sign somebody in or out.
func TestConsole_OtherSites(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	c := s.client()
	b := newBrowser(t, s.url+"/console/")
	b.login(c.AccessKeyID, c.Secret.Reveal())
	for name, headers := range map[string][]string{
		"another site":                  {"Sec-Fetch-Site", "cross-site"},
		"another host of the same site": {"Sec-Fetch-Site", "same-site"},
		"another origin":                {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"no origin":                     {"Sec-Fetch-Site", "", "Origin", "null"},
		"no header of the console":      {"X-Corbel-Console", ""},
	} {
		if status, out := b.call("CodeBuild_20161006.DeleteProject", `{"name":"app"}`, headers...); status != http.StatusForbidden || out["__type"] != "AccessDeniedException" {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
	if res, _ := b.do("GET", "../?Action=ListProjects", "", "X-Amz-Target", listProjects, "X-Corbel-Console", "1"); res.StatusCode != http.StatusSeeOther {
		t.Errorf("GET: %s", res.Status)
	}
	for _, path := range []string{"login", "logout"} {
		res, _ := b.do("POST", path, form(c.AccessKeyID, c.Secret.Reveal()), "Content-Type", formType, "Sec-Fetch-Site", "cross-site")
		if res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
			t.Errorf("POST %s from elsewhere: %s", path, res.Status)
		}
	}
	if !b.signedIn() {
		t.Error("another site ended the session")
	}
	for next, want := range map[string]string{
		"//evil.example": "./", "/\\evil.example": "./", "https://evil.example": "./https://evil.example", "../../x": "./", "builds": "./builds", "a\r\nb": "./",
	} {
		if res, _ := b.login(c.AccessKeyID, c.Secret.Reveal(), "next", next); res.Header.Get("Location") != want+"?region=eu-west-1" {
			t.Errorf("next %q leads to %q, want %q", next, res.Header.Get("Location"), want)
		}
	}
	if res, _ := b.login(c.AccessKeyID, c.Secret.Reveal(), "next", "builds?x=1&region=us-east-1#y"); res.Header.Get("Location") != "./builds?region=eu-west-1&x=1#y" {
		t.Errorf("to a page in another region: %q", res.Header.Get("Location"))
	}
	// A signature counts, whoever's the cookie is.
	pair := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "other", "-data", s.data))
	b.login(pair[0], pair[1])
	cookie := b.http.Jar.Cookies(mustURL(t, s.url))[0]
	signed := s.signed(listProjects, "{}")
	signed.AddCookie(cookie)
	signed.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(signed)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("a signed request with a cookie: %s", res.Status)
	}
	signed = s.signed(listProjects, "{}")
	signed.Header.Set("Authorization", strings.Replace(signed.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
	signed.AddCookie(cookie)
	signed.Header.Set("X-Corbel-Console", "1")
	if res, err = http.DefaultClient.Do(signed); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a bad signature with a good cookie: %s", res.Status)
	}
}

// The console works behind a proxy that does TLS and has it below a prefix,
// whether the proxy takes the prefix off or not.
func TestConsole_Proxy(t *testing.T) {
	t.Parallel()
	for _, strip := range []bool{true, false} {
		var at *url.URL
		proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = at.Scheme, at.Host, at.Host // as many proxies do
				if strip {
					p.Out.URL.Path = strings.TrimPrefix(p.Out.URL.Path, "/corbel")
				}
			}}).ServeHTTP(w, r)
		}))
		defer proxy.Close()
		s := serve(t, "-builds", "0", "-public-url", proxy.URL+"/corbel")
		at = mustURL(t, s.url)
		c := s.client()
		b := newBrowser(t, proxy.URL+"/corbel/console/")
		b.http.Transport = proxy.Client().Transport
		res, _ := b.do("GET", "../../corbel/console", "")
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != "console/" {
			t.Errorf("GET /corbel/console: %s to %q", res.Status, to)
		}
		// Without the slash at its end the prefix leads to the console too.
		follow := &http.Client{Transport: b.http.Transport}
		home, err := follow.Get(proxy.URL + "/corbel")
		if err != nil {
			t.Fatal(err)
		}
		home.Body.Close()
		if home.StatusCode != http.StatusOK || home.Request.URL.Path != "/corbel/console/" {
			t.Errorf("GET /corbel ends at %s: %s", home.Request.URL, home.Status)
		}
		// An old browser says only where it is, which is not what the proxy says.
		res, _ = b.do("POST", "login", form(c.AccessKeyID, c.Secret.Reveal()), "Content-Type", formType, "Origin", proxy.URL)
		if res.StatusCode != http.StatusSeeOther {
			t.Fatalf("signing in: %s", res.Status)
		}
		if cookie := res.Cookies()[0]; !cookie.Secure || cookie.Path != "/corbel/" {
			t.Errorf("the cookie is %s", cookie)
		}
		if !b.signedIn() {
			t.Errorf("not signed in (strip %t)", strip)
		}
		// A signature is over the path, prefix and all.
		signed, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/corbel/", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		signed.Header.Set("X-Amz-Target", listProjects)
		signed.Header.Set("Content-Type", "application/x-amz-json-1.1")
		sigv4.Sign(signed, []byte("{}"), c.AccessKeyID, c.Secret.Reveal(), "us-east-1", "codebuild", time.Now())
		if res, err = http.DefaultClient.Do(signed); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("a signed request below the prefix: %s", res.Status)
		}
		_, text := b.do("GET", "projects/app/edit", "")
		if !strings.Contains(text, `<base href="../../">`) {
			t.Errorf("the document of a page below is\n%s", text)
		}
	}
}

// Every answer of the console keeps scripts, frames and other sites out.
func TestConsole_Headers(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	b := newBrowser(t, s.url+"/console/")
	for _, path := range []string{"", "login", "projects/a", "assets/none.js"} {
		res, _ := b.do("GET", path, "")
		policy := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%q: the policy %q lacks %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") == "" || res.Header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
			t.Errorf("%q: headers %v", path, res.Header)
		}
	}
	if res, _ := b.do("GET", "assets/none.js", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not there: %s", res.Status)
	}
	if res, text := b.do("GET", "", ""); res.StatusCode != http.StatusOK || !bytes.Contains([]byte(text), []byte(`<base href="./">`)) {
		t.Errorf("the document: %s %s", res.Status, text)
	}
}
