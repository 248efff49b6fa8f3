package runner

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// buildURL is the console's page of a build.
func (r *Runner) buildURL(b store.Build) string {
	return r.URL + "/console/builds/" + url.PathEscape(*b.Doc.Id) + "?region=" + b.Region
}

// report puts the build's present state into the outbox of commit statuses,
// if a commit is known and a webhook started the build or its project wants
// that.
//
// Source of context and descriptions: statuses seen on public repositories.
func (r *Runner) report(ctx context.Context, tx store.Tx, b store.Build) error {
	d := b.Doc
	sha := value(d.ResolvedSourceVersion)
	if b.Trigger != nil && sha == "" {
		sha = b.Trigger.SHA
	}
	if sha == "" || b.Trigger == nil && !value(d.Source.ReportBuildStatus) {
		return nil
	}
	state, description := "pending", "Build started for project "
	switch d.BuildStatus {
	case api.StatusTypeSUCCEEDED:
		state, description = "success", "Build succeeded for project "
	case api.StatusTypeFAILED, api.StatusTypeTIMED_OUT, api.StatusTypeSTOPPED:
		state, description = "failure", "Build failed for project "
	case api.StatusTypeFAULT:
		state, description = "error", "Build failed for project "
	}
	s := store.CommitStatus{
		Scope: b.Scope, Project: *d.ProjectName, Build: *d.Id, Source: d.Source, SHA: sha,
		State:       state,
		Description: description + *d.ProjectName,
		Context:     fmt.Sprintf("AWS CodeBuild %s (%s)", b.Region, *d.ProjectName),
		TargetURL:   r.buildURL(b),
		Created:     r.Now(), Next: r.Now(),
	}
	if c := d.Source.BuildStatusConfig; c != nil {
		vars := (&variables{b: &build{Build: b, r: r}, resolved: s.SHA}).predefined()
		expand := func(text string) string { return os.Expand(text, func(name string) string { return vars[name] }) }
		if text := expand(value(c.Context)); text != "" {
			s.Context = text
		}
		// Providers refuse a status whose link is none.
		if u, err := url.Parse(expand(value(c.TargetUrl))); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			s.TargetURL = u.String()
		}
	}
	if t := b.Trigger; t != nil && t.Location != "" { // a fork's owner is not who asked, and may not be written to
		src := *d.Source
		src.Location = &t.Location
		s.Source = &src
	}
	if err := tx.PutStatus(ctx, s); err != nil || b.Trigger == nil || b.Trigger.Waited == "" || b.Trigger.Waited == s.Context {
		return err
	}
	// The context may say what only the build knows, such as its number. The one
	// that said that the commit waits must not stay failed then.
	s.Context = b.Trigger.Waited
	return tx.PutStatus(ctx, s)
}
