package forge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
)

const hidden = api.Secret("whsec_ForgeRESTSecretOfAHook000001")

// rest is a client of an API that handler answers.
func rest(t *testing.T, handler http.HandlerFunc) forge.REST {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return forge.REST{
		Transport: http.DefaultTransport, Host: forge.Host{Name: "git.example.com", Git: s.URL, API: s.URL + "/api"}, Token: planted,
		Sign: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+planted.Reveal()) },
	}
}

func TestREST_Conditional(t *testing.T) {
	t.Parallel()
	c := rest(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` || r.URL.Path == "/api/always" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	for _, x := range []struct {
		path, etag string
		status     int
	}{{"/x", "", 200}, {"/x", `"1"`, 304}, {"/x", `"0"`, 200}} {
		if a, err := c.Get(t.Context(), x.path, x.etag); err != nil || a.Status != x.status {
			t.Errorf("Get(%s, %s) = %+v, %v, want status %d", x.path, x.etag, a, err, x.status)
		}
	}
	// Who asked for no condition gets no such answer.
	if a, err := c.Get(t.Context(), "/always", ""); err == nil {
		t.Errorf("304 without a condition: %+v, want an error", a)
	}
}

func TestREST_Pages(t *testing.T) {
	t.Parallel()
	n := 0
	c := rest(t, func(w http.ResponseWriter, r *http.Request) { n++ })
	again := func(*forge.Reply) (string, error) { return "/x", nil }
	if err := c.Pages(t.Context(), "/x", again); err == nil || forge.Retry(err).Worthwhile || n != 100 {
		t.Errorf("pages without end: %v after %d, want an error after 100", err, n)
	}
	for address, want := range map[string]string{
		c.Host.API + "/x?page=2": "/x?page=2", c.Host.API: "", c.Host.API + "x/": "", c.Host.API + "@evil.example.com/": "", c.Host.Git + "/x": "",
		"https://evil.example.com/api/x": "", "//evil.example.com/x": "", "/x": "", "": "",
	} {
		path, err := c.Below(address)
		if path != want || (err == nil) != (want != "") || forge.Retry(err).Worthwhile {
			t.Errorf("Below(%s) = %q, %v, want %q", address, path, err, want)
		}
	}
	for page, want := range map[string]int{"": 1, "1": 1, "17": 17, "0": 0, "-1": 0, "2x": 0, "99999999999": 0, "../x": 0} {
		if got, err := c.Page("list", page); got != want || (err == nil) != (want > 0) {
			t.Errorf("Page(%s) = %d, %v, want %d", page, got, err, want)
		}
	}
}

func TestREST_Clean(t *testing.T) {
	t.Parallel()
	c := rest(t, nil)
	c.Hide = []api.Secret{"", hidden}
	got := c.Clean("what are\n" + planted.Reveal() + " and " + hidden.Reveal() + "?" + strings.Repeat("x", 300))
	if strings.Contains(got, planted.Reveal()) || strings.Contains(got, hidden.Reveal()) || !strings.HasPrefix(got, "what are *** and ***?") || len([]rune(got)) > 200 {
		t.Errorf("Clean = %q", got)
	}
	if got := c.Clean("It couldn't be found."); got != "It couldn't be found" {
		t.Errorf("a sentence is %q", got)
	}
}

// TestHookList_Races: what happens at the provider between two calls.
func TestHookList_Races(t *testing.T) {
	t.Parallel()
	var calls []string
	status := map[string]int{}
	c := rest(t, func(w http.ResponseWriter, r *http.Request) {
		call := r.Method + " " + r.URL.Path
		calls = append(calls, call)
		if s := status[call]; s > 0 {
			w.WriteHeader(s)
			return
		}
		_, _ = fmt.Fprint(w, "{}")
	})
	list := forge.HookList{
		REST: c, Provider: "Example", Path: "/hooks", First: "/hooks", Change: "PUT",
		List: func(*forge.Reply) ([]forge.Hook, string, error) {
			return []forge.Hook{{ID: "{1}", Address: "https://a"}, {ID: "2", Address: "https://b"}, {ID: "3", Address: "https://a"}}, "", nil
		},
		Document: func(forge.Hook) any { return nil },
		Read:     func(*forge.Reply) (string, bool) { return "4", true },
		Refuse:   func(c forge.REST, doing string, a *forge.Reply) error { return c.Failed("%s: %d", doing, a.Status) },
	}
	for _, x := range []struct {
		name string
		hook forge.Hook
		fail map[string]int
		want string // calls after the list, and the id or the error
	}{
		{"by address, others go", forge.Hook{Address: "https://a"}, nil, "DELETE /api/hooks/3, PUT /api/hooks/{1}: {1}"},
		{"by id", forge.Hook{ID: "2", Address: "https://c"}, nil, "PUT /api/hooks/2: 2"},
		{"by id, those of its new address go", forge.Hook{ID: "3", Address: "https://b"}, nil, "DELETE /api/hooks/2, PUT /api/hooks/3: 3"},
		{"its id is another's by now", forge.Hook{ID: "9", Address: "https://b"}, nil, "PUT /api/hooks/2: 2"},
		{"gone after it was listed", forge.Hook{ID: "2", Address: "https://b"}, map[string]int{"PUT /api/hooks/2": 404}, "PUT /api/hooks/2, POST /api/hooks, GET /api/hooks: 4"},
		{"a double that is gone", forge.Hook{Address: "https://a"}, map[string]int{"DELETE /api/hooks/3": 404}, "DELETE /api/hooks/3, PUT /api/hooks/{1}: {1}"},
		{"new", forge.Hook{Address: "https://c"}, nil, "POST /api/hooks, GET /api/hooks: 4"},
		{"refused", forge.Hook{Address: "https://c"}, map[string]int{"POST /api/hooks": 422}, "POST /api/hooks: git.example.com: make the webhook: 422"},
	} {
		calls, status = nil, x.fail
		got, err := list.Put(t.Context(), x.hook)
		text := strings.Join(calls[1:], ", ") + ": "
		if err != nil {
			text += err.Error()
		} else {
			text += got.ID
			if !strings.HasPrefix(got.URL, c.Host.API+"/hooks/") {
				t.Errorf("%s: its own address is %q", x.name, got.URL)
			}
		}
		if text != x.want {
			t.Errorf("%s: %s, want %s", x.name, text, x.want)
		}
	}
}
