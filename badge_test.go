package corbel_test

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// A badge shows the newest build of its branch or tag to everybody who has its
// address, and nothing else to anybody.
func TestBadge(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	if _, err := host.AddCommits("octo/app",
		forgetest.Commit{Branch: "bad/one&two", Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"false\"]}}\n"}},
		forgetest.Commit{Branch: "slow", Tag: "v1", Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"sleep 86397.5\"]}}\n"}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	address := func(on bool) string {
		t.Helper()
		out, err := s.client().UpdateProject(context.Background(), &api.UpdateProjectInput{Name: new("app"), BadgeEnabled: &on})
		if err != nil {
			t.Fatal(err)
		}
		if !on {
			return ""
		}
		return *out.Project.Badge.BadgeRequestUrl
	}
	get := func(url string) (text string, header http.Header) {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var svg struct {
			Title string   `xml:"title"`
			Texts []string `xml:"g>text"`
		}
		if err := xml.Unmarshal(body, &svg); resp.StatusCode != http.StatusOK || err != nil || len(svg.Texts) != 2 || svg.Title != "build: "+svg.Texts[1] {
			t.Fatalf("%s: %d %v\n%s", url, resp.StatusCode, err, body)
		}
		resp.Header.Del("Date")
		return svg.Texts[1], resp.Header
	}
	main := address(true)
	base, ok := strings.CutSuffix(main, "&branch=main")
	if !ok {
		t.Errorf("the address is %s", main)
	}
	says := func(url, want string) {
		t.Helper()
		if got, _ := get(url); got != want {
			t.Errorf("%s shows %s, want %s", url, got, want)
		}
	}
	says(main, "unknown")
	s.build(&api.StartBuildInput{ProjectName: new("app")})
	s.build(&api.StartBuildInput{ProjectName: new("app"), SourceVersion: new("bad/one&two")})
	says(main, "passing")
	says(base, "passing")
	says(base+"&branch=bad%2Fone%26two", "failing")
	// A branch of another repository that has the same name is another branch.
	if _, err := host.AddRepository(forgetest.Repository{Name: "octo/other", Commits: []forgetest.Commit{{Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"false\"]}}\n"}}}}); err != nil {
		t.Fatal(err)
	}
	if b := s.build(&api.StartBuildInput{ProjectName: new("app"), SourceLocationOverride: new("https://github.com/octo/other.git")}); b.BuildStatus != api.StatusTypeFAILED {
		t.Errorf("the build of another repository is %s", b.BuildStatus)
	}
	says(main, "passing")
	s.build(&api.StartBuildInput{ProjectName: new("app"), SourceLocationOverride: new("https://github.com/Octo/app"), BuildspecOverride: new("version: 0.2\nphases: {build: {commands: [\"false\"]}}\n")})
	says(main, "failing")
	s.build(&api.StartBuildInput{ProjectName: new("app")})
	says(base+"&branch=bad", "unknown")
	says(base+"&tag=main", "unknown")
	for _, version := range []string{"slow", "v1"} {
		out, err := s.client().StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app"), SourceVersion: &version})
		if err != nil {
			t.Fatal(err)
		}
		url := base + map[string]string{"slow": "&branch=slow", "v1": "&tag=v1"}[version]
		s.until("the badge shows a running build", func() bool { text, _ := get(url); return text == "in progress" })
		if _, err := s.client().StopBuild(context.Background(), &api.StopBuildInput{Id: out.Build.Id}); err != nil {
			t.Fatal(err)
		}
		s.await(*out.Build.Id)
		says(url, "failing")
	}

	// A cache asks whether it is still right.
	_, header := get(main)
	tag := header.Get("ETag")
	for known, want := range map[string]int{
		tag: http.StatusNotModified, "W/" + tag: http.StatusNotModified, `"x", W/` + tag: http.StatusNotModified, "*": http.StatusNotModified,
		`"x"`: http.StatusOK, strings.Trim(tag, `"`): http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, main, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", known)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || header.Get("Cache-Control") != "no-cache" || header.Get("Content-Type") != "image/svg+xml" {
			t.Errorf("to who knows %s: %d after %v", known, resp.StatusCode, header)
		}
	}

	// What there is not, what is not built and what is switched off look alike.
	_, never := get(base + "&branch=never")
	for _, url := range []string{s.url + "/badges", s.url + "/badges?uuid=", s.url + "/badges?uuid=app&branch=main", s.url + "/badges?uuid=00000000-0000-0000-0000-000000000000", base + "&branch=%00", base + "&branch=" + strings.Repeat("x", 8000)} {
		text, header := get(url)
		if text != "unknown" || header.Get("ETag") != never.Get("ETag") || len(header) != len(never) {
			t.Errorf("%.80s shows %s with %v", url, text, header)
		}
	}
	address(false)
	says(main, "unknown")
	if again := address(true); again == main {
		t.Error("a badge that was switched off has its old address")
	}
	s.stop()
	s.start()
	if _, err := s.client().DeleteProject(context.Background(), &api.DeleteProjectInput{Name: new("app")}); err != nil {
		t.Fatal(err)
	}
	says(strings.Replace(main, main[:strings.Index(main, "/badges")], s.url, 1), "unknown")
}
