package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// A command approves a commit. It stands on a line of its own and names the whole
// commit: of an abbreviated one somebody could make another that begins alike.
// Source: user guide, "Pull request comment approval".
var command = regexp.MustCompile(`^ {0,3}/codebuild_run\(([0-9a-fA-F]{40}|[0-9a-fA-F]{64})\)[ \t]*$`)

var (
	// fence begins and ends code. Source: CommonMark, "Fenced code blocks".
	fence = regexp.MustCompile("^( {0,3})(```+|~~~+)(.*)$")
	// murky is code in a list, or HTML. Where that ends takes a whole reader of
	// Markdown to say, so nothing after it approves.
	murky = regexp.MustCompile("(?i)^[\\s*+\\-0-9.)>]+(```|~~~)|<(!--|pre|code|script|style|textarea|blockquote)")
)

// commands are the commits that a comment approves. What it quotes or shows as code
// is not what its author says.
func commands(text string) (shas []string) {
	open := "" // the fence of the code that the line is in
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		mark := fence.FindStringSubmatch(line)
		switch {
		case open != "":
			if mark != nil && strings.HasPrefix(mark[2], open) && strings.TrimSpace(mark[3]) == "" {
				open = ""
			}
		case strings.HasPrefix(line, ">"):
		case mark != nil && mark[1] == "" && !(mark[2][0] == '`' && strings.Contains(mark[3], "`")):
			open = mark[2]
		case murky.MatchString(line):
			return shas
		default:
			if found := command.FindStringSubmatch(line); found != nil {
				shas = append(shas, found[1])
			}
		}
	}
	return shas
}

// doubts is how often a delivery is looked at again that the provider's own answer
// contradicts, before it is taken for an old one.
const doubts = 2

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

// called is what to call somebody: deliveries need not have a name.
func called(who forge.Person) string {
	if who.Login == "" && who.ID != "" {
		return "account " + who.ID
	}
	return who.Login
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
		return fmt.Sprintf("the role of %s could not be found: %v", forge.Cut(called(who), 100), err), nil
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("find the role of %s: %w", forge.Cut(called(who), 100), err)
	case !ok:
		return "there is no credential to find the role of its author with", nil
	case slices.Contains(roles, role):
		return "", nil
	case role == "":
		return fmt.Sprintf("%s has no role in the repository", forge.Cut(called(who), 100)), nil
	}
	return fmt.Sprintf("%s has the role %s", forge.Cut(called(who), 100), role), nil
}

// A waiting event is what store.Approval.Event has: what would have started the
// build, and the context of the status that says so.
type waiting struct {
	forge.Event
	Context string
}

// await has the pull request wait for an approval of its newest commit, for the
// reason in need, and puts the failed status on the commit. b is what it waits
// for. An event that is not the newest any more, delivered late or again, has
// nothing to wait for.
func (c *candidate) await(ctx context.Context, r *store.Result, b plan, need string) (effect, error) {
	now, why, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	if why == "" {
		if why = c.passed(now, c.SHA); why != "" && c.delivery.Origin == store.Delivered && c.delivery.Attempts < doubts {
			return nil, errors.New(why) // a provider may tell of it before its own API knows
		}
		if why != "" {
			r.Outcome, r.Reason = Ignored, why
			if !now.Open {
				return c.forget(ctx), nil
			}
			return nil, nil
		}
		if now.Author.ID == c.Pull.Author.ID { // GitLab's deliveries have the id only
			c.Pull.Author.Login = cmp.Or(c.Pull.Author.Login, now.Author.Login)
		}
	}
	r.Outcome, r.Reason = Awaiting, need
	w := waiting{c.Event, c.statusContext(b)}
	event, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return func(tx store.Tx, _ *store.Result) error {
		now := c.in.Now()
		if err := tx.PutApproval(ctx, store.Approval{
			Scope: c.hook.Scope, Project: c.hook.Project, Repository: c.Repository, Number: c.Pull.Number, Title: forge.Cut(c.Pull.Title, 300),
			Author: forge.Cut(called(c.Pull.Author), 100), SHA: c.SHA, Since: now, Event: event,
		}); err != nil {
			return err
		}
		return tx.PutStatus(ctx, store.CommitStatus{
			Scope: c.hook.Scope, Project: c.hook.Project, Source: c.source(), SHA: c.SHA, State: forge.Failure, Context: w.Context,
			Description: Required, TargetURL: c.in.URL + "/console/projects/" + c.hook.Project + "/webhook?region=" + c.hook.Region, Created: now, Next: now,
		})
	}, nil
}

// now reads the pull request as it is now. why says that it cannot be read.
func (c *candidate) now(ctx context.Context) (now forge.PullRequest, why string, err error) {
	now, ok, err := c.pull(ctx)
	if known, is := errors.AsType[*forge.Error](err); is && !known.Worthwhile {
		return now, err.Error(), nil
	}
	switch {
	case err != nil:
		return now, "", err
	case !ok:
		return now, "there is no credential to read the pull request with", nil
	}
	return now, "", nil
}

// passed says why the build of a commit cannot be approved, by what its pull
// request is now, "" if it can.
func (c *candidate) passed(now forge.PullRequest, sha string) string {
	switch {
	case !now.Open:
		return fmt.Sprintf("pull request %d is not open", c.Pull.Number)
	case !strings.EqualFold(now.HeadSHA, sha):
		return fmt.Sprintf("the newest commit of pull request %d is %s and not %s: look at it and approve that one", c.Pull.Number, forge.Cut(now.HeadSHA, 64), sha)
	}
	return ""
}

// statusContext is that of the build's own status, which has to take the place of
// the failed one, as far as it is known before the build is.
func (c *candidate) statusContext(b plan) string {
	if config := c.project.Source.BuildStatusConfig; config != nil {
		vars := b.trigger.Variables()
		maps.Copy(vars, map[string]string{
			"AWS_REGION": c.hook.Region, "AWS_DEFAULT_REGION": c.hook.Region, "HOME": "/root", "CI": "true", "CODEBUILD_CI": "true",
			"CODEBUILD_PROJECT_ARN": deref(c.project.Arn), "CODEBUILD_BUILD_IMAGE": deref(c.project.Environment.Image), "CODEBUILD_KMS_KEY_ID": deref(c.project.EncryptionKey),
			"CODEBUILD_SOURCE_VERSION": deref(b.input.SourceVersion), "CODEBUILD_RESOLVED_SOURCE_VERSION": c.SHA,
			"CODEBUILD_SOURCE_REPO_URL": cmp.Or(deref(b.input.SourceLocationOverride), deref(c.project.Source.Location)),
		})
		if text := os.Expand(deref(config.Context), func(name string) string { return vars[name] }); text != "" {
			return text
		}
	}
	return fmt.Sprintf("AWS CodeBuild %s (%s)", c.hook.Region, c.hook.Project)
}

// forget returns what notes that the pull request waits no more.
func (c *candidate) forget(ctx context.Context) effect {
	return func(tx store.Tx, _ *store.Result) error {
		return forget(ctx, tx, c.hook, c.Repository, c.Pull.Number)
	}
}

func forget(ctx context.Context, tx store.Tx, hook store.Webhook, repository string, number int) error {
	err := tx.DeleteApproval(ctx, hook.Scope, hook.Project, repository, number)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// outdate returns what notes that an older commit of the pull request than c's
// waits no more: nobody can approve it.
func (c *candidate) outdate(ctx context.Context) effect {
	return func(tx store.Tx, _ *store.Result) error {
		there, err := tx.Approval(ctx, c.hook.Scope, c.hook.Project, c.Repository, c.Pull.Number)
		if errors.Is(err, store.ErrNotFound) || err == nil && strings.EqualFold(there.SHA, c.SHA) {
			return nil
		} else if err != nil {
			return err
		}
		_, err = c.settle(ctx, tx)
		return err
	}
}

// settle notes that the pull request waits no more, since its commit is built,
// unless what waits is newer. waited is the context of the failed status that the
// commit has, "" if it did not wait.
func (c *candidate) settle(ctx context.Context, tx store.Tx) (waited string, err error) {
	there, err := tx.Approval(ctx, c.hook.Scope, c.hook.Project, c.Repository, c.Pull.Number)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var w waiting
	if err := json.Unmarshal(there.Event, &w); err != nil {
		return "", fmt.Errorf("read what waits for approval: %w", err)
	}
	if !strings.EqualFold(there.SHA, c.SHA) {
		if w.At.After(c.At) {
			return "", nil
		}
		w.Context = ""
	}
	return w.Context, forget(ctx, tx, c.hook, c.Repository, c.Pull.Number)
}

// comment is what a comment on a pull request leads to: the build of the commit
// that it approves, if whoever wrote it may. A user of this server who approves
// comes the same way, and was authorized.
func (c *candidate) comment(ctx context.Context, d store.Delivery, r *store.Result) (effect, error) {
	ignore := func(format string, args ...any) (effect, error) {
		r.Outcome, r.Reason = Ignored, fmt.Sprintf(format, args...)
		return nil, nil
	}
	shas := []string{c.SHA}
	approval, roles := c.policy()
	if !delivery.IsPermitted(d) {
		if shas = commands(c.Text); len(shas) == 0 {
			return ignore("the comment has no /codebuild_run(COMMIT) with a whole commit id on a line of its own, outside of quotes, code and HTML")
		}
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
	if c.Pull == nil {
		return ignore("the comment is not on a pull request")
	}
	now, why, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	sha := strings.ToLower(shas[0])
	if i := slices.IndexFunc(shas, func(one string) bool { return strings.EqualFold(one, now.HeadSHA) }); i > 0 {
		sha = strings.ToLower(shas[i])
	}
	r.SHA = sha
	if why != "" {
		return ignore("%s", why)
	}
	if why = c.passed(now, sha); why != "" {
		r.Outcome, r.Reason = Ignored, why
		if !now.Open {
			return c.forget(ctx), nil
		}
		return nil, nil
	}
	event := forge.Event{
		Type: forge.PullUpdated, Repository: c.Repository, RepositoryID: c.RepositoryID, Organization: c.Organization, Actor: now.Author,
		HeadRef: now.HeadRef, BaseRef: now.BaseRef, SHA: sha, Pull: &now, At: c.delivery.Received,
	}
	there, err := c.in.Store.Approval(ctx, c.hook.Scope, c.hook.Project, c.Repository, c.Pull.Number)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read what waits for approval: %w", err)
	}
	if err == nil && strings.EqualFold(there.SHA, sha) {
		if err := json.Unmarshal(there.Event, &event); err != nil {
			return nil, final{fmt.Errorf("read what waits for approval: %w", err)}
		}
	}
	by := called(c.Actor)
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
