package corbel_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// visit opens any address.
func (b *tab) visit(address string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("open %s: %v", address, err)
	}
}

// leadsTo waits until the address is another one, however each is escaped.
func (b *tab) leadsTo(what, address string) {
	b.t.Helper()
	b.try("arrive from "+what, func(ctx context.Context) error {
		where, err := chromedp.Run(ctx, chromedp.Location())
		if at, _ := url.PathUnescape(where); err == nil && at != address {
			err = fmt.Errorf("the address is %s, want %s", where, address)
		}
		return err
	})
}

// ledToSignIn waits for the sign-in page, before anything is looked for on the
// page that goes, and returns its address.
func (b *tab) ledToSignIn() (address string) {
	b.t.Helper()
	b.try("the sign-in page", func(ctx context.Context) (err error) {
		if address, err = chromedp.Run(ctx, chromedp.Location()); err == nil && !strings.Contains(address, "/console/login?next=") {
			err = fmt.Errorf("the address is %s", address)
		}
		return err
	})
	return address
}

// twice writes a name into the fragment of an address as CloudWatch's console
// does today.
func twice(name string) string {
	return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(url.QueryEscape(name), "+", "%20")), "%", "$")
}

// Every address that the server gives to somebody leads a browser to what it
// is of, also below a path and for somebody who has to sign in first.
func TestConsole_Links(t *testing.T) {
	t.Parallel()
	const prefix = "/deep/corbel"
	p := newBetween(t, nil, (*httptest.Server).Start, prefix)
	h := newHooked(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"page $CODEBUILD_BUILD_URL\"\n"}, "-public-url", p.URL+prefix)
	p.to.Store(mustURL(t, h.url))
	h.codebuild(nil, "update-project", "--name", "app", "--badge-enabled")
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED"}]]`)
	c := h.client()

	start := func(logs *api.CloudWatchLogsConfig) (first string, b *api.Build) {
		t.Helper()
		in := &api.StartBuildInput{ProjectName: new("app"), ReportBuildStatusOverride: new(true)}
		if logs != nil {
			in.LogsConfigOverride = &api.LogsConfig{CloudWatchLogs: logs}
		}
		out, err := c.StartBuild(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if b = h.await(*out.Build.Id); b.BuildStatus != api.StatusTypeSUCCEEDED {
			t.Fatalf("the build is %s:\n%s", b.BuildStatus, h.logOf(b))
		}
		h.seen[*b.Id] = true
		return *out.Build.Logs.DeepLink, b
	}
	fresh, plain := start(nil)
	_, named := start(&api.CloudWatchLogsConfig{Status: api.LogsConfigStatusTypeENABLED, GroupName: new("/shop/builds#1"), StreamName: new("n\u00e4chtlich; 50%25 $20 #1")})
	uuid := func(b *api.Build) string { _, id, _ := strings.Cut(*b.Id, ":"); return id }
	home := p.URL + prefix + "/cloudwatch/home?region=us-east-1"
	if want := home + "&build=" + *plain.Id + "#logEvent:group=/aws/codebuild/app;stream=" + uuid(plain); *plain.Logs.DeepLink != want {
		t.Errorf("deepLink is %s, want %s", *plain.Logs.DeepLink, want)
	}
	if u, err := url.Parse(*named.Logs.DeepLink); err != nil || u.Fragment != "logEvent:group=/shop/builds#1;stream=n\u00e4chtlich; 50%25 $20 #1/"+uuid(named) {
		t.Errorf("deepLink is %s, %v", *named.Logs.DeepLink, err)
	}
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"}); err != nil {
		t.Fatal(err)
	}
	pull, err := h.host.OpenPull("octo/app", forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Commits: []forgetest.Commit{{Files: map[string]string{"e": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	targets := func(sha string) (list []string) {
		for _, s := range h.host.Statuses("octo/app", sha) {
			list = append(list, s.TargetURL)
		}
		return list
	}
	h.until("the commits have their statuses", func() bool { return len(targets(h.sha)) == 4 && len(targets(pull.SHA)) == 1 })
	printed := regexp.MustCompile(`(?m)^page (\S+)`).FindStringSubmatch(h.logOf(plain))
	if len(printed) != 2 || !slices.Contains(targets(h.sha), printed[1]) {
		t.Fatalf("the build says that its page is %q, the statuses %q", printed, targets(h.sha))
	}

	// Somebody who is not signed in goes by the sign-in page.
	console := p.URL + prefix + "/console/"
	b := newTab(t, console)
	b.expects("the server responded with a status of 40")
	in := func(want string) {
		t.Helper()
		b.ledToSignIn()
		b.fillSignIn(c.AccessKeyID, c.Secret.Reveal())
		b.leadsTo("the sign-in page", console+want)
	}
	b.visit(*plain.Logs.DeepLink) // and is led there
	in("builds/" + *plain.Id)
	b.shows("page " + p.URL)
	b.click("button", "Account of*")
	b.click("menuitem", "Sign out")
	b.find("button", "Sign in")
	v2 := home + "#logsV2:log-groups/log-group/" + twice("/shop/builds#1") + "/log-events/" + twice(*named.Logs.StreamName)
	b.visit(v2)
	in("builds/" + *named.Id)
	b.shows("page " + p.URL)

	b = b.another()
	for _, link := range []struct{ what, address, path string }{
		{"a fresh build's deepLink", fresh, "builds/" + *plain.Id},
		{"a deepLink", *plain.Logs.DeepLink, "builds/" + *plain.Id},
		{"the deepLink of a log with names of its own", *named.Logs.DeepLink, "builds/" + *named.Id},
		{"an address of AWS's form", home + "#logsV2:log-groups/log-group/" + twice("/aws/codebuild/app") + "/log-events/" + uuid(plain), "builds/" + *plain.Id},
		{"one with names of its own", v2, "builds/" + *named.Id},
		{"one of the older form", home + "#logEventViewer:group=/aws/codebuild/app;stream=" + uuid(plain) + ";start=PT3H", "builds/" + *plain.Id},
		{"the page of a build", printed[1], "builds/" + *plain.Id},
		{"the page that approves", targets(pull.SHA)[0], "projects/app/webhook"},
	} {
		b.visit(link.address)
		b.leadsTo(link.what+" "+link.address, console+link.path)
		if strings.HasPrefix(link.path, "builds/") {
			b.shows("page " + p.URL)
			if !b.has("tab", "Build log") || evaluate[string](b, `document.querySelector("[role=tab][aria-selected=true]").textContent`) != "Build log" {
				t.Errorf("%s shows another part of the build", link.what)
			}
		} else {
			b.reads("Who can start builds")
		}
	}
	for address, says := range map[string]string{
		home + "#logsV2:log-groups/log-group/" + twice("/shop/builds#1") + "/log-events/0b57ac1e-1111-4222-8333-444455556666": "There is no build for the log stream 0b57ac1e-1111-4222-8333-444455556666 of the log group /shop/builds#1.",
		home + "#logEvent:group=/aws/lambda/shop;stream=2026/11/27/x":                                                         "Its name does not end in the id of a build",
		home + "#logEvent:group=null;stream=null":                                                                             "The address names no log",
		p.URL + prefix + "/cloudwatch/home":                                                                                   "The address names no log",
		home + "&build=app:0b57ac1e-1111-4222-8333-444455556666#logEvent:group=x;stream=y":                                    "There is no such build",
	} {
		b.visit(address)
		b.reads(says)
	}

	// Without the slash at its end, the server's own address leads to the console.
	for _, at := range []string{p.URL + prefix, p.URL + prefix + "/", p.URL + prefix + "/console"} {
		b.visit(at)
		b.arrives(prefix + "/console/dashboard")
	}
	projects, err := c.BatchGetProjects(t.Context(), &api.BatchGetProjectsInput{Names: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	b.visit(*projects.Projects[0].Badge.BadgeRequestUrl)
	if text := evaluate[string](b, `document.documentElement.textContent`); !strings.Contains(text, "passing") {
		t.Errorf("the badge reads %q", text)
	}
}

// A link into another region than that of the sign-in leads there also when
// somebody signs in in another tab, which knows nothing of this one.
func TestConsole_LinkToRegion(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	c := s.client()
	elsewhere := s.client()
	elsewhere.Region = "eu-central-1"
	_, err := elsewhere.CreateProject(t.Context(), &api.CreateProjectInput{
		Name: new("far"), ServiceRole: new("arn:aws:iam::" + s.account() + ":role/x"), Source: &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Buildspec: new("version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")},
		Artifacts: &api.ProjectArtifacts{Type: api.ArtifactsTypeNO_ARTIFACTS}, Environment: &api.ProjectEnvironment{Type: api.EnvironmentTypeLINUX_CONTAINER, Image: new("host"), ComputeType: api.ComputeTypeBUILD_GENERAL1_SMALL},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := elsewhere.StartBuild(t.Context(), &api.StartBuildInput{ProjectName: new("far")})
	if err != nil {
		t.Fatal(err)
	}
	b := newTab(t, s.url+"/console/")
	b.expects("the server responded with a status of 40")
	b.visit(*out.Build.Logs.DeepLink)
	login := b.ledToSignIn()
	other := newTab(t, s.url+"/console/")
	other.visit(login)
	other.fillSignIn(c.AccessKeyID, c.Secret.Reveal())
	other.find("heading", "far #1")
	if region := evaluate[string](other, `sessionStorage.getItem("corbel.region")`); region != elsewhere.Region {
		t.Errorf("the region is %q", region)
	}
}
