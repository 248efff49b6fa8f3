package corbel_test

import (
	"testing"

	"github.com/corbel-build/corbel/api"
)

// Who has no session is led to the sign-in page and from there to where they
// wanted to go, in the region that they typed, whatever the tab had before.
func TestConsole_FirstVisit(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	c := s.client()
	s.project("create", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := newTab(t, s.url+"/console/")
	b.expects(refused) // of the one call that shows that there is no session
	b.goTo("projects?tab=x")
	b.arrives("/console/login?next=projects%3Ftab%3Dx")
	evaluate[int](b, `sessionStorage.setItem("corbel.region", "sa-east-1"), 1`)
	b.fillSignIn(c.AccessKeyID, c.Secret.Reveal())
	b.arrives("/console/projects?tab=x")
	b.find("button", c.Region)
	if region := evaluate[string](b, `sessionStorage.getItem("corbel.region")`); region != c.Region {
		t.Errorf("signed in to %s, the tab is in %s", c.Region, region)
	}

	// A region that is none is not taken. From here on nothing is refused.
	b = b.another()
	b.goTo("projects?region=zz")
	b.click("link", "create") // a name like any other
	b.find("heading", "create")
	b.try("the focus is at the heading", b.focused(`document.activeElement.localName === "h1"`))
	b.goTo("projects")
	b.click("button", "Create build project")
	b.find("heading", "Create build project")
}

// A dialog that did what it asked for closes, and does not come back for
// something else.
func TestConsole_Dialogs(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0", "-verify-credentials", "off")
	c := s.client()
	for _, server := range []api.ServerType{api.ServerTypeGITHUB, api.ServerTypeGITLAB, api.ServerTypeBITBUCKET} {
		if _, err := c.ImportSourceCredentials(t.Context(), &api.ImportSourceCredentialsInput{ServerType: server, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: api.Secret(planted)}); err != nil {
			t.Fatal(err)
		}
	}
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITLAB, Location: new("https://gitlab.com/octo/app.git")})
	s.project("other", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := s.console("credentials")
	b.click("radio", "Choose GitLab")
	b.click("button", "Delete")
	dialog := b.in("dialog", "Disconnect GitLab*")
	dialog.find("link", "app")
	if dialog.has("link", "other") {
		t.Error("a project without its type of source is named")
	}
	dialog.click("button", "Disconnect")
	b.reads("Disconnected GitLab")
	b.gone("dialog", "*")
	b.try("the focus is at the heading", b.focused(`document.activeElement.localName === "h1"`))
	b.click("radio", "Choose Bitbucket")
	b.click("button", "Delete")
	dialog = b.in("dialog", "Disconnect Bitbucket*")
	dialog.find("button", "Cancel")
	b.reads("No project uses it.")

	dialog.click("button", "Cancel")
	for _, user := range []string{"one", "two"} {
		s.must(corbel(t), "keys", "create", "-user", user, "-data", s.data)
	}
	b.goTo("access-keys")
	b.reads("one", "two")
	evaluate[int](b, `[...document.querySelectorAll("tr")].find((r) => /\bone\b/.test(r.innerText)).querySelector("input").click(), 1`)
	b.click("button", "Delete")
	b.in("dialog", "Delete the access key*").click("button", "Delete")
	b.reads("Deleted key")
	b.gone("dialog", "*")
	evaluate[int](b, `[...document.querySelectorAll("tr")].find((r) => /\btwo\b/.test(r.innerText)).querySelector("input").click(), 1`)
	b.click("button", "Edit policy")
	b.in("dialog", "Policy of*").find("button", "Cancel")
	if b.has("dialog", "Delete the access key*") {
		t.Error("the dialog of before is there again")
	}
}
