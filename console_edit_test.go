package corbel_test

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/corbel-build/corbel/api"
)

// now is a project as the server has it.
func (s *server) now(name string) api.Project {
	s.t.Helper()
	out, err := s.client().BatchGetProjects(context.Background(), &api.BatchGetProjectsInput{Names: []string{name}})
	if err != nil || len(out.Projects) != 1 {
		s.t.Fatal(out, err)
	}
	return out.Projects[0]
}

// What the form says of a webhook is what it is afterwards, and what it no
// longer says is asked about.
func TestConsole_EditWebhook(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"x": "y"})
	if _, err := h.client().CreateWebhook(context.Background(), &api.CreateWebhookInput{
		ProjectName: new("app"), ManualCreation: new(true), PullRequestBuildPolicy: &api.PullRequestBuildPolicy{RequiresCommentApproval: api.PullRequestBuildCommentApprovalDISABLED},
		FilterGroups: [][]api.WebhookFilter{{{Type: api.WebhookFilterTypeEVENT, Pattern: new("PUSH")}}},
	}); err != nil {
		t.Fatal(err)
	}
	b := h.console("projects/app/edit")
	b.click("button", "Pull requests*")
	b.click("option", "All pull requests need*")
	b.click("button", "Remove filter group 1")
	b.reads("Without a filter group every push starts a build")
	b.click("checkbox", "Rotate webhook secret*")
	b.click("button", "Update project")
	dialog := b.in("dialog", "The webhook")
	dialog.reads("Secret It is shown this once.", "Payload URL")
	dialog.click("button", "Close")
	b.reads("Saved project app")
	w := h.now("app").Webhook
	if w.PullRequestBuildPolicy.RequiresCommentApproval != api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS || len(w.FilterGroups) != 0 {
		t.Errorf("the webhook is %+v with the policy %+v", w, w.PullRequestBuildPolicy)
	}

	// A save that changes nothing of it says nothing of it, and without it none
	// goes away unasked.
	b.goTo("projects/app/edit")
	sent := b.requests()
	b.fill("Description*", "other")
	b.click("button", "Update project")
	b.reads("Saved project app")
	targets := map[any]int{}
	for _, r := range sent() {
		targets[r.Request.Headers["X-Amz-Target"]]++
	}
	if targets["CodeBuild_20161006.UpdateProject"] != 1 || targets["CodeBuild_20161006.UpdateWebhook"] != 0 {
		t.Errorf("a save that changes nothing of the webhook sends %v", targets)
	}
	b.goTo("projects/app/edit")
	b.choose("Source provider", "No source")
	b.click("button", "Update project")
	b.in("dialog", "Delete the webhook?").click("button", "Cancel")
	if h.now("app").Webhook == nil {
		t.Fatal("the webhook is gone")
	}
	b.click("button", "Update project")
	b.in("dialog", "Delete the webhook?").click("button", "Delete the webhook")
	b.find("heading", "app")
	if w := h.now("app").Webhook; w != nil {
		t.Errorf("the webhook is %+v", w)
	}
}

// The form keeps what it does not show, and overwrites nobody's change unasked.
func TestConsole_EditKeeps(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	ctx := context.Background()
	if _, err := s.client().CreateProject(ctx, &api.CreateProjectInput{
		Name: new("app"), ServiceRole: new("arn:aws:iam::" + s.account() + ":role/x"),
		Source: &api.ProjectSource{
			Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git"), Buildspec: new(""), BuildStatusConfig: &api.BuildStatusConfig{},
			Auth: &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER, Resource: new("arn:aws:secretsmanager:us-east-1:" + s.account() + ":secret:token-AbCdEf")},
		},
		SecondarySources:        []api.ProjectSource{{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/a.git"), SourceIdentifier: new("a")}, {Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/b.git"), SourceIdentifier: new("b")}},
		SecondarySourceVersions: []api.ProjectSourceVersion{{SourceIdentifier: new("b"), SourceVersion: new("v2")}, {SourceIdentifier: new("a"), SourceVersion: new("v1")}},
		Artifacts:               &api.ProjectArtifacts{Type: api.ArtifactsTypeS3, Location: new("bucket"), Path: new("")},
		Cache:                   &api.ProjectCache{Type: api.CacheTypeNO_CACHE, Location: new("")},
		LogsConfig:              &api.LogsConfig{S3Logs: &api.S3LogsConfig{Status: api.LogsConfigStatusTypeENABLED, Location: new("bucket/logs")}},
		Environment: &api.ProjectEnvironment{
			Type: api.EnvironmentTypeLINUX_CONTAINER, Image: new("host"), ComputeType: api.ComputeTypeBUILD_GENERAL1_SMALL, Certificate: new(""),
			EnvironmentVariables: []api.EnvironmentVariable{{Name: new("LINES"), Value: new("one\ntwo\n")}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	before := s.now("app")
	b := s.console("projects/app/edit")
	b.find("textbox", "Description*")
	b.click("button", "Update project")
	b.reads("Saved project app")
	if diff := cmp.Diff(before, s.now("app"), cmpopts.IgnoreFields(api.Project{}, "LastModified")); diff != "" {
		t.Errorf("a save that changes nothing does (-before +after):\n%s", diff)
	}

	// A name that is another's while it is typed does not take its version.
	b.goTo("projects/app/edit")
	if got := b.value("textbox", "ARN of the secret*"); got != *before.Source.Auth.Resource {
		t.Errorf("the source's own secret is shown as %q", got)
	}
	if got := b.value("textbox", "Environment variables Value"); got != "one\ntwo\n" {
		t.Errorf("the lines are %q", got)
	}
	b.fillAs("textbox", "Source identifier*", "b")
	b.reads("b Remove")
	b.fillAs("textbox", "Source identifier*", "bb")

	// Meanwhile somebody else changes the project.
	change := func(text string) {
		t.Helper()
		if _, err := s.client().UpdateProject(ctx, &api.UpdateProjectInput{Name: new("app"), Description: &text}); err != nil {
			t.Fatal(err)
		}
	}
	change("theirs")
	b.click("button", "Update project")
	b.in("dialog", "The project was changed meanwhile").click("button", "Cancel")
	if got := s.now("app").Description; got == nil || *got != "theirs" {
		t.Fatal("their change is lost")
	}
	b.click("button", "Update project")
	b.in("dialog", "The project was changed meanwhile").click("button", "Overwrite")
	b.reads("Saved project app")
	got := s.now("app")
	versions := map[string]string{}
	for _, v := range got.SecondarySourceVersions {
		versions[*v.SourceIdentifier] = *v.SourceVersion
	}
	if diff := cmp.Diff(map[string]string{"bb": "v1", "b": "v2"}, versions); diff != "" || got.Description != nil {
		t.Errorf("the description is %v, the versions (-want +got):\n%s", got.Description, diff)
	}

	// What the project's page has read is not what the form begins with.
	change("newer")
	b.click("button", "Edit")
	b.try("the newest description", b.focused(`[...document.querySelectorAll("textarea")].some((t) => t.value === "newer")`))
	change("newest")
	b.fill("Source version*", "v3")
	b.click("button", "Update project")
	b.in("dialog", "The project was changed meanwhile").click("button", "Reload")
	b.try("the newest description", b.focused(`[...document.querySelectorAll("textarea")].some((t) => t.value === "newest")`))
}

// What is wrong in a part that is folded away is shown and has the focus.
func TestConsole_EditFolded(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := s.console("projects/app/edit")
	b.click("button", "Additional configuration") // of the project; there are others below
	b.click("button", "Add tag")
	b.click("button", "Additional configuration")
	b.gone("button", "Add tag")
	b.click("button", "Update project")
	b.reads("Enter a key.", "Not saved. The fields that are marked say why.")
	b.try("the field has the focus", b.focused(`document.activeElement.getAttribute("aria-label") === "Key of tag 1"`))
}

// Filter groups are tried before there is a webhook, and what the console
// offers for them is what the server takes.
func TestConsole_TestsBeforeWebhook(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t, map[string]string{"x": "y"})
	s := serve(t, "-builds", "0", "-host", "github.com="+host.URL)
	s.load(planted)
	b := s.console("create-project")
	b.fill("Project name", "app")
	b.chooseRepository("app", "octo/app*")
	b.click("checkbox", "Rebuild every time*")
	b.click("button", "Event type*")
	for _, event := range []string{"Comment", "Workflow job queued"} {
		if b.has("option", "*"+event) {
			t.Errorf("%s is offered", event)
		}
	}
	b.click("option", "*Released")
	b.press(kb.Escape)
	b.click("button", "Add condition")
	b.fill("Pattern", "main")
	b.reads("Without ^ and $ around it this also matches longer names that contain it.")
	b.click("button", "Test the filter groups*")
	b.click("button", "Insert a sample push")
	b.click("button", "Test")
	b.reads("A build would start, by group 1")

	// A pattern that is none is marked where it is; the rest is saved already.
	b.expects(refused)
	b.fill("Pattern", "main(")
	b.click("checkbox", "Manually create a webhook*")
	b.click("button", "Create build project")
	b.reads("The project is saved, its webhook is not. The fields that are marked say why.", "The pattern of HEAD_REF is not an RE2 regular expression")
	b.try("the pattern has the focus", b.focused(`document.activeElement.value === "main("`))
	b.fill("Pattern", "^refs/heads/main$")
	b.click("button", "Update project")
	dialog := b.in("dialog", "The webhook")
	dialog.reads("Secret It is shown this once.")
	if s.now("app").Webhook == nil {
		t.Error("there is no webhook")
	}
	dialog.click("button", "Close")
	b.reads("Created project app")
}
