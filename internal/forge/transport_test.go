package forge_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

const planted = api.Secret("ghp_TransportPlanted0123456789abcdefghij")

// resolver answers for names in .test with the addresses given, in both
// families, and for others with nothing. It is a DNS server on a pipe.
func resolver(names map[string][]string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { // ends when the resolver closes its side
			defer ours.Close()
			for {
				// Not being a packet connection, it has TCP's framing.
				var size [2]byte
				if _, err := io.ReadFull(ours, size[:]); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(ours, q); err != nil {
					return
				}
				a := dnsAnswer(q, names)
				if _, err := ours.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
					return
				}
			}
		}()
		return theirs, nil
	}}
}

// dnsAnswer answers the one question of q (RFC 1035, section 4).
func dnsAnswer(q []byte, names map[string][]string) []byte {
	name, at := "", 12
	for q[at] != 0 {
		name += string(q[at+1:at+1+int(q[at])]) + "."
		at += 1 + int(q[at])
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	end := at + 5
	var records []byte
	count := 0
	addresses := names[strings.TrimSuffix(strings.ToLower(name), ".")]
	for _, text := range addresses {
		ip := netip.MustParseAddr(text)
		if (kind == 1) != ip.Is4() {
			continue
		}
		count++
		records = append(records, 0xc0, 12)                               // the question's name
		records = append(records, q[at+1:end]...)                         // type and class
		records = append(records, 0, 0, 0, 0, 0, byte(len(ip.AsSlice()))) // no time to live
		records = append(records, ip.AsSlice()...)
	}
	code := byte(0)
	if addresses == nil {
		code = 3 // no such name
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80 | code, 0, 1, 0, byte(count), 0, 0, 0, 0}, q[12:end]...)
	return append(a, records...)
}

// send sends a request with tokens in every header that takes one.
func send(t *testing.T, c interface {
	Do(*http.Request) (*http.Response, error)
}, method, address string, token bool) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	if token {
		r.Header.Set("Authorization", "Bearer "+planted.Reveal())
		r.Header.Set("Private-Token", planted.Reveal())
	}
	res, err := c.Do(r)
	if err == nil {
		res.Body.Close()
	}
	return res, err
}

// TestRedirectMatrix: a host answers with every redirect there is, to every
// spelling of an evil host there is. The token stays, whether or not the evil
// host is one that tokens of another sort may go to.
func TestRedirectMatrix(t *testing.T) {
	t.Parallel()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		status, err := strconv.Atoi(q.Get("status"))
		if err != nil {
			return // what some of the redirects lead to
		}
		w.Header().Set("Location", q.Get("to"))
		w.WriteHeader(status)
	}))
	t.Cleanup(good.Close)
	cases := 0
	for _, says := range []int{200, 401} {
		evil, err := forgetest.NewEvil(says)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = evil.Close() })
		g, e := strings.TrimPrefix(good.URL, "http://"), strings.TrimPrefix(evil.URL, "http://127.0.0.1:")
		dns := resolver(map[string][]string{
			"evil.test": {"127.0.0.1"}, "two.test": {"127.0.0.1", "10.0.0.1", "::1"}, "github.com.evil.test": {"127.0.0.1"},
			"2130706433": {"127.0.0.1"}, "0x7f000001": {"127.0.0.1"}, "127.1": {"127.0.0.1"}, "0177.0.0.1": {"127.0.0.1"}, "0": {"127.0.0.1"},
			"xn--evl-zxa.test": {"127.0.0.1"}, "127.0.0.1.evil.test": {"127.0.0.1"},
		})
		locations := []string{
			"http://127.0.0.1:" + e + "/x", "//127.0.0.1:" + e + "/x", "HTTP://127.0.0.1:" + e, "http:127.0.0.1:" + e, "/\\127.0.0.1:" + e + "/x",
			"http://" + g + "@127.0.0.1:" + e + "/", "http://x:y@" + g + "/", "http://x@127.0.0.1:" + e, "http://127.0.0.1:" + e + "\\@" + g + "/", "http://127.0.0.1:" + e + "#@" + g + "/",
			"http://localhost:" + e, "http://LOCALHOST:" + e, "http://localhost.:" + e, "http://evil.test:" + e, "http://two.test:" + e, "http://github.com.evil.test:" + e, "http://127.0.0.1.evil.test:" + e,
			"http://evıl.test:" + e, "http://１２７.0.0.1:" + e, "http://①②⑦.0.0.1:" + e, "http://127。0。0。1:" + e,
			"http://2130706433:" + e, "http://0x7f000001:" + e, "http://127.1:" + e, "http://0177.0.0.1:" + e, "http://0:" + e, "http://0.0.0.0:" + e, "http://127.0.0.2:" + e,
			"http://[::ffff:127.0.0.1]:" + e, "http://[::ffff:7f00:1]:" + e, "http://[::1]:" + e, "http://[::]:" + e, "http://[fe80::1%25lo]:" + e, "http://[::ffff:127.0.0.1%25lo]:" + e,
			"https://" + g + "/x", "https://127.0.0.1:" + e, "ftp://127.0.0.1:" + e, "file:///etc/passwd", "javascript:alert(1)", "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/",
		}
		for _, entries := range [][]string{
			{"github.com=" + good.URL},
			{"github.com=" + good.URL, "GITHUB_ENTERPRISE=" + evil.URL, "GITLAB_SELF_MANAGED=http://localhost:" + e},
		} {
			h := hosts(t, entries...)
			rt := forge.TransportWithResolver(h, dns)
			client := forge.Client(rt, h.For(api.ServerTypeGITHUB)[0])
			t.Cleanup(client.CloseIdleConnections)
			for _, location := range locations {
				for _, method := range []string{"GET", "POST"} {
					for _, status := range []int{301, 302, 303, 307, 308} {
						cases++
						address := fmt.Sprintf("%s/?status=%d&to=%s", good.URL, status, url.QueryEscape(location))
						res, err := send(t, client, method, address, true)
						// Some spellings are a path on the host itself to Go.
						if err == nil && "http://"+res.Request.URL.Host != good.URL {
							t.Errorf("%s %d to %q was followed to %s", method, status, location, res.Request.URL)
						}
						if err != nil && strings.Contains(err.Error(), planted.Reveal()) {
							t.Errorf("%s %d to %q: the error shows the token: %v", method, status, location, err)
						}
					}
				}
			}
			// Nobody follows for a caller of the Transport. The same places,
			// asked for directly:
			bare := &http.Client{Transport: rt}
			for _, location := range locations {
				cases++
				u, err := url.Parse(location)
				if err != nil || !u.IsAbs() || u.Host == "" {
					continue
				}
				if _, err := send(t, client, "GET", location, true); err == nil {
					t.Errorf("a client of %s sent a request to %s", good.URL, location)
				}
				listed := len(entries) > 1 && (u.Host == "127.0.0.1:"+e || strings.EqualFold(u.Host, "localhost:"+e)) && u.User == nil && u.Scheme == "http"
				if listed {
					continue
				}
				if _, err := send(t, bare, "GET", location, true); err == nil || !strings.Contains(err.Error(), "refused to") {
					t.Errorf("a token for %s: error %v, want a refusal", location, err)
				}
				if _, err := send(t, bare, "GET", location, false); err == nil {
					t.Errorf("%s, which is not public, was dialled", location)
				}
			}
		}
		if got := evil.Saw(planted); len(got) != 0 {
			t.Errorf("the evil host saw the token: %+v", got)
		}
		if got := evil.Requests(); len(got) != 0 {
			t.Errorf("the evil host got %+v", got)
		}
		// It does get what is meant for it, so silence above means something.
		h := hosts(t, "GITHUB_ENTERPRISE="+evil.URL)
		c := forge.Client(forge.Transport(h), h.For(api.ServerTypeGITHUB_ENTERPRISE)[0])
		t.Cleanup(c.CloseIdleConnections)
		if _, err := send(t, c, "GET", evil.URL, true); err != nil || len(evil.Saw(planted)) != 1 {
			t.Errorf("a listed host got %d requests with its token, %v, want 1", len(evil.Saw(planted)), err)
		}
	}
	t.Logf("%d cases", cases)
	if cases < 500 {
		t.Errorf("%d cases, want 500 at least", cases)
	}
}

// TestRedirectWithin: a host may send a call to another path of its own.
func TestRedirectWithin(t *testing.T) {
	t.Parallel()
	var got []string
	mux := http.NewServeMux()
	mux.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b", http.StatusTemporaryRedirect) })
	mux.HandleFunc("/b", func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Header.Get("Authorization"))
	})
	loops := 0
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { loops++; http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/see", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b", http.StatusFound) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	h := hosts(t, "github.com="+s.URL)
	c := forge.Client(forge.Transport(h), h.For(api.ServerTypeGITHUB)[0])
	t.Cleanup(c.CloseIdleConnections)
	for _, method := range []string{"GET", "POST"} {
		if _, err := send(t, c, method, s.URL+"/a", true); err != nil || len(got) != 1 || got[0] != method+" Bearer "+planted.Reveal() {
			t.Errorf("%s: %v, target got %d calls", method, err, len(got))
		}
		got = nil
	}
	if _, err := send(t, c, "POST", s.URL+"/see", true); !errors.Is(err, forge.ErrRedirect) || len(got) != 0 {
		t.Errorf("a POST that would become a GET: error %v, target got %d calls", err, len(got))
	}
	if _, err := send(t, c, "GET", s.URL+"/loop", true); !errors.Is(err, forge.ErrRedirect) || loops != 6 {
		t.Errorf("endless redirects: error %v after %d calls, want ErrRedirect after 6", err, loops)
	}
}

// TestDial: addresses that are not public are dialled for listed hosts only,
// whatever the names say.
func TestDial(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	names := map[string][]string{
		"four.test": {"127.0.0.1"}, "six.test": {"::1"}, "many.test": {"10.0.0.1", "127.0.0.1", "fd00::1", "::1"}, "mapped.test": {"::ffff:127.0.0.1"},
		"nat64.test": {"64:ff9b::7f00:1"}, "meta.test": {"169.254.169.254"}, "ula.test": {"fd00:ec2::254"}, "azure.test": {"168.63.129.16"},
	}
	h := hosts(t, "GITHUB_ENTERPRISE=http://localhost"+port, "GITLAB_SELF_MANAGED=https://four.test"+port)
	rt := forge.TransportWithResolver(h, resolver(names))
	c := &http.Client{Transport: rt}
	t.Cleanup(c.CloseIdleConnections)
	for name := range names {
		if name == "four.test" {
			continue
		}
		for _, address := range []string{"http://" + name + port, "https://" + name} {
			_, err := send(t, c, "GET", address, false)
			if err == nil || !strings.Contains(err.Error(), "not a public address") || !strings.Contains(err.Error(), "-host") {
				t.Errorf("GET %s: error %v, want one that says the address is not public", address, err)
			}
		}
	}
	if _, err := send(t, c, "GET", "http://localhost"+port, true); err != nil {
		t.Errorf("a listed loopback address: %v", err)
	}
	// Listed, so dialled; it speaks no TLS.
	if _, err := send(t, c, "GET", "https://four.test"+port, false); err == nil || !strings.Contains(err.Error(), "HTTPS") {
		t.Errorf("a listed host with a private address: error %v, want one about TLS", err)
	}
	if _, err := send(t, c, "GET", "http://nowhere.test", false); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that does not exist: %v", err)
	}
	// Listed with https only: with http it is no host for tokens.
	if _, err := send(t, c, "GET", "http://four.test"+port, true); err == nil || !strings.Contains(err.Error(), "refused to send credentials") {
		t.Errorf("a token for a listed host over http: error %v, want a refusal", err)
	}
	if _, err := send(t, c, "GET", "http://four.test"+port, false); err != nil {
		t.Errorf("the same without a token: %v", err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "github.com"
	if res, err := c.Do(r); err == nil {
		res.Body.Close()
		t.Error("a request for another host than the one it is sent to was sent")
	}
	// http is for loopback also when the listed name says otherwise.
	listed := map[string]string{"moved.test:80": "http"}
	dns := resolver(map[string][]string{"moved.test": {"10.0.0.1"}})
	if conn, err := forge.Dial(t.Context(), dns, listed, "moved.test:80"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("dial of a listed http host on 10.0.0.1 = %v, %v, want a refusal", conn, err)
	}
	if forge.UsesProxy(rt) {
		t.Error("the transport uses a proxy of the environment")
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"140.82.121.4": true, "8.8.8.8": true, "172.15.0.1": true, "172.32.0.1": true, "2606:50c0:8000::153": true, "192.0.1.1": true,
		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false, "192.0.0.192": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "168.63.129.16": false, "203.0.113.9": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false, "ff02::1": false, "::7f00:1": false,
		"64:ff9b::a00:1": false, "2002:7f00:1::": false, "2001:0:1::1": false, "2001:db8::1": false, "100::1": false,
		"::ffff:100.64.0.1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true,
	} {
		if got := forge.Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("public(%s) = %v, want %v", text, got, want)
		}
	}
}

// TestAuthorities: a host is who its own authorities say, or else the
// system's.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	start := func() (*forgetest.Server, string) {
		s, err := forgetest.New(forgetest.Options{TLS: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		s.AddToken(forgetest.Token{Value: planted, Scopes: []string{"repo"}})
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, s.CA, 0o600); err != nil {
			t.Fatal(err)
		}
		return s, file
	}
	one, ca := start()
	two, _ := start()
	h := hosts(t, "GITHUB_ENTERPRISE="+one.URL+" ca="+ca, "GITHUB_ENTERPRISE="+two.URL)
	rt := forge.Transport(h)
	c := &http.Client{Transport: rt}
	t.Cleanup(c.CloseIdleConnections)
	res, err := send(t, c, "GET", one.URL+"/api/v3/user", true)
	if err != nil || res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("with its authority: %v, %v, want 200 over HTTP/2", res, err)
	}
	if _, err := send(t, c, "GET", two.URL+"/api/v3/user", true); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without an authority of its own: error %v, want one about its certificate", err)
	}
	if got := two.Requests(); len(got) != 0 {
		t.Errorf("a host with a bad certificate got %+v", got)
	}
	// One host's authority is nobody else's.
	h = hosts(t, "GITHUB_ENTERPRISE="+two.URL+" ca="+ca)
	c = &http.Client{Transport: forge.Transport(h)}
	t.Cleanup(c.CloseIdleConnections)
	if _, err := send(t, c, "GET", two.URL+"/api/v3/user", true); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	// Whoever signed it, if the operator says so of this host; of no other.
	h = hosts(t, "GITHUB_ENTERPRISE="+two.URL+" insecure-ssl", "GITLAB_SELF_MANAGED="+one.URL)
	c = &http.Client{Transport: forge.Transport(h)}
	t.Cleanup(c.CloseIdleConnections)
	if res, err := send(t, c, "GET", two.URL+"/api/v3/user", true); err != nil || res.TLS == nil {
		t.Errorf("with insecure-ssl: %v, %v", res, err)
	}
	before := len(one.Requests())
	if _, err := send(t, c, "GET", one.URL+"/api/v3/user", true); err == nil || len(one.Requests()) != before {
		t.Error("insecure-ssl of one host holds for another")
	}
}

// TestClientReadsNotWithoutEnd: an answer is cut at 8 MiB.
func TestClientReadsNotWithoutEnd(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 1<<20)
		for range 32 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	h := hosts(t, "github.com="+s.URL)
	c := forge.Client(forge.Transport(h), h.For(api.ServerTypeGITHUB)[0])
	t.Cleanup(c.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != 8<<20 {
		t.Errorf("read %d bytes, %v, want 8 MiB", n, err)
	}
}
