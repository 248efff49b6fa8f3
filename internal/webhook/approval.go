package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// approves finds the command that approves a commit. It stands on a line of its
// own and names the whole commit: of an abbreviated one somebody could make
// another that begins alike.
// Source: user guide, "Pull request comment approval".
var approves = regexp.MustCompile(`(?m)^[ \t]*/codebuild_run\(([0-9a-fA-F]{40}|[0-9a-fA-F]{64})\)[ \t\r]*$`)

// Required is the text of the status of a commit that waits.
// Source: user guide, "Pull request comment approval".
const Required = "Pull request approval required for starting a build"

// judge applies the project's policy to a pull request that matches: need says
// why somebody has to approve it first, "" if nobody has to, and untrusted why
// its build then gets no secrets.
func (c *candidate) judge(ctx context.Context) (need, untrusted string, err error) {
	if c.Type == forge.PullMerged { // it is in the repository, and whoever merged it may write there
		return "", "", nil
	}
	approval, roles := c.policy()
	if approval != api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS && !c.Pull.Fork {
		return "", "", nil
	}
	pusher := c.Actor
	if delivery.IsPolled(*c.delivery) { // whoever opened it need not be who pushed last
		pusher = forge.Person{}
	}
	// Both count: whose code it is, and who brought it here.
	why, err := c.lacks(ctx, c.Pull.Author, roles)
	switch {
	case err != nil:
		return "", "", err
	case why != "" || pusher.ID == c.Pull.Author.ID:
	case pusher.ID != "":
		if why, err = c.lacks(ctx, pusher, roles); err != nil {
			return "", "", err
		}
	case c.Pull.Fork || !c.writersMay(roles): // whoever pushed to a branch of the repository may write there
		why = "it is not known who pushed its newest commit"
	}
	switch {
	case why == "":
		return "", "", nil
	case approval == api.PullRequestBuildCommentApprovalDISABLED:
		return "", "it is of a fork, and " + why, nil
	}
	return fmt.Sprintf("%s; somebody who has one of %s can approve it with the comment /codebuild_run(%s)", why, join(roles), c.SHA), "", nil
}

// policy is the project's. Where no approval is required, the roles are those
// that may write.
func (c *candidate) policy() (api.PullRequestBuildCommentApproval, []api.PullRequestBuildApproverRole) {
	approval, roles := api.PullRequestBuildCommentApprovalDISABLED, []api.PullRequestBuildApproverRole(nil)
	if p := c.project.Webhook.PullRequestBuildPolicy; p != nil {
		approval, roles = p.RequiresCommentApproval, p.ApproverRoles
	}
	if len(roles) == 0 {
		provider, _ := c.in.Credentials.Hosts.Provider(api.ServerType(c.hook.Source))
		roles = provider.Deliveries.Writers()
	}
	return approval, roles
}

// writersMay reports whether everybody who may write has one of the roles.
func (c *candidate) writersMay(roles []api.PullRequestBuildApproverRole) bool {
	provider, _ := c.in.Credentials.Hosts.Provider(api.ServerType(c.hook.Source))
	return !slices.ContainsFunc(provider.Deliveries.Writers(), func(r api.PullRequestBuildApproverRole) bool { return !slices.Contains(roles, r) })
}

// lacks says why somebody has none of the roles, "" if they have one.
func (c *candidate) lacks(ctx context.Context, who forge.Person, roles []api.PullRequestBuildApproverRole) (string, error) {
	if who.ID == "" {
		return "it is not known whose it is", nil
	}
	var role api.PullRequestBuildApproverRole
	ok, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
		role, err = f.Role(ctx, host, t, repo, who)
		return err
	})
	if known, is := errors.AsType[*forge.Error](err); is && !known.Worthwhile {
		return fmt.Sprintf("the role of %s could not be found: %v", forge.Cut(who.Login, 100), err), nil
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("find the role of %s: %w", forge.Cut(who.Login, 100), err)
	case !ok:
		return "there is no credential to find the role of its author with", nil
	case slices.Contains(roles, role):
		return "", nil
	case role == "":
		return fmt.Sprintf("%s has no role in the repository", forge.Cut(who.Login, 100)), nil
	}
	return fmt.Sprintf("%s has the role %s", forge.Cut(who.Login, 100), role), nil
}

// await notes that the pull request waits, and puts the failed status on its
// commit.
func (c *candidate) await(ctx context.Context, tx store.Tx) error {
	event, err := json.Marshal(c.Event)
	if err != nil {
		return err
	}
	if err := tx.PutApproval(ctx, store.Approval{
		Scope: c.hook.Scope, Project: c.hook.Project, Repository: c.Repository, Number: c.Pull.Number, Title: forge.Cut(c.Pull.Title, 300),
		Author: forge.Cut(c.Pull.Author.Login, 100), SHA: c.SHA, Since: c.in.Now(), Event: event,
	}); err != nil {
		return err
	}
	now := c.in.Now()
	return tx.PutStatus(ctx, store.CommitStatus{
		Scope: c.hook.Scope, Project: c.hook.Project, Source: c.source(), SHA: c.SHA, State: forge.Failure,
		Context:     c.statusContext(),
		Description: Required, TargetURL: c.in.URL + "/console/projects/" + c.hook.Project + "/webhook?region=" + c.hook.Region, Created: now, Next: now,
	})
}

// statusContext is that of the build's own status, which has to take the place of
// the failed one.
func (c *candidate) statusContext() string {
	if config := c.project.Source.BuildStatusConfig; config != nil {
		text := os.Expand(deref(config.Context), func(name string) string {
			return map[string]string{
				"AWS_REGION": c.hook.Region, "AWS_DEFAULT_REGION": c.hook.Region, "CODEBUILD_WEBHOOK_EVENT": string(c.Type), "CODEBUILD_WEBHOOK_TRIGGER": fmt.Sprintf("pr/%d", c.Pull.Number),
				"CODEBUILD_WEBHOOK_HEAD_REF": c.HeadRef, "CODEBUILD_WEBHOOK_BASE_REF": c.BaseRef, "CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": c.Actor.ID,
			}[name]
		})
		if text != "" {
			return text
		}
	}
	return fmt.Sprintf("AWS CodeBuild %s (%s)", c.hook.Region, c.hook.Project)
}

// forget notes that the pull request waits no more.
func (c *candidate) forget(ctx context.Context, tx store.Tx) error {
	err := tx.DeleteApproval(ctx, c.hook.Scope, c.hook.Project, c.Repository, c.Pull.Number)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// comment is what a comment on a pull request leads to: the build of the commit
// that it approves, if whoever wrote it may. A user of this server who approves
// comes the same way, and was authorized.
func (c *candidate) comment(ctx context.Context, d store.Delivery, r *store.Result) (effect, error) {
	ignore := func(format string, args ...any) (effect, error) {
		r.Outcome, r.Reason = Ignored, fmt.Sprintf(format, args...)
		return nil, nil
	}
	sha := c.SHA
	approval, roles := c.policy()
	if !delivery.IsPermitted(d) {
		found := approves.FindStringSubmatch(c.Text)
		if found == nil {
			return ignore("the comment has no /codebuild_run(COMMIT) with a whole commit id on a line of its own")
		}
		sha = found[1]
		if approval == api.PullRequestBuildCommentApprovalDISABLED {
			return ignore("the webhook's policy asks for no approval")
		}
		why, err := c.lacks(ctx, c.Actor, roles)
		if err != nil {
			return nil, err
		}
		if why != "" {
			return ignore("whoever wrote the comment may not approve: %s, and one of %s is needed", why, join(roles))
		}
	}
	sha = strings.ToLower(sha)
	if c.Pull == nil {
		return ignore("the comment is not on a pull request")
	}
	r.SHA = sha
	var now forge.PullRequest
	ok, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
		now, err = f.PullRequest(ctx, host, t, repo, c.Pull.Number)
		return err
	})
	if known, is := errors.AsType[*forge.Error](err); is && !known.Worthwhile {
		return ignore("pull request %d could not be read: %v", c.Pull.Number, err)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read pull request %d: %w", c.Pull.Number, err)
	case !ok:
		return ignore("there is no credential to read the pull request with")
	case !now.Open:
		return ignore("pull request %d is not open", c.Pull.Number)
	case !strings.EqualFold(now.HeadSHA, sha):
		return ignore("the newest commit of pull request %d is %s and not %s: look at it and approve that one", c.Pull.Number, forge.Cut(now.HeadSHA, 64), sha)
	}
	event := forge.Event{
		Type: forge.PullUpdated, Repository: c.Repository, RepositoryID: c.RepositoryID, Organization: c.Organization, Actor: now.Author,
		HeadRef: now.HeadRef, BaseRef: now.BaseRef, SHA: sha, Pull: &now,
	}
	waiting, err := c.in.Store.Approval(ctx, c.hook.Scope, c.hook.Project, c.Repository, c.Pull.Number)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read what waits for approval: %w", err)
	}
	if err == nil && strings.EqualFold(waiting.SHA, sha) {
		if err := json.Unmarshal(waiting.Event, &event); err != nil {
			return nil, final{fmt.Errorf("read what waits for approval: %w", err)}
		}
	}
	by := c.Actor.Login
	c.Event = event
	then, err := c.match(ctx, r, true)
	if r.Outcome == Started {
		r.Reason = fmt.Sprintf("approved by %s; %s", forge.Cut(by, 100), r.Reason)
	}
	return then, err
}

func join(roles []api.PullRequestBuildApproverRole) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}
