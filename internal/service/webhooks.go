package service

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// hookTime bounds the provider's answer to a change of a hook.
	hookTime = 20 * time.Second
	// hookDoubt is when a hook that nobody confirmed is settled.
	hookDoubt = 2 * time.Minute
	// hookGrace is for how long a rotated secret is still good, for what the
	// provider has signed with it already.
	hookGrace = time.Minute
)

// A hookTarget is what a webhook watches, and with which credential.
type hookTarget struct {
	provider forge.Provider
	access   *credential.Access
	owner    forge.Owner
}

// turns lets one at a time see to the hook of a project, from reading what the
// store knows of it to storing what came of it: what a provider was asked for
// cannot be undone by a transaction. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the turn ends
}

// take waits for the turn of a project, hookTime at most. Whoever took it calls
// end.
func (t *turns) take(ctx context.Context, scope store.Scope, ref string) (end func(), err error) {
	project, ok := name(access.Principal{Scope: scope}, "project", ref)
	if !ok {
		return func() {}, nil // there is none
	}
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	key := resource(scope, "project", project)
	for {
		t.mu.Lock()
		other := t.held[key]
		if other == nil {
			own := make(chan struct{})
			if t.held == nil {
				t.held = map[string]chan struct{}{}
			}
			t.held[key] = own
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.held, key)
				t.mu.Unlock()
				close(own)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, api.OAuthProviderException("The webhook of project %s is being changed by another call, which waits for the provider; try again", project)
		}
	}
}

// CreateWebhook makes the hook at the provider, with the credential of the
// project's source, and notes it. What the provider is asked for is noted
// first, to be taken away again: no hook stays behind, whatever happens between
// its making and the end of this call. UpdateWebhook and DeleteWebhook do
// likewise; see SettleHook.
//
// For GITHUB_ENTERPRISE a hook that cannot be made is no error, as at the
// service, where users install it themselves with the secret of the answer.
func (s *Service) CreateWebhook(ctx context.Context, in *api.CreateWebhookInput) (answer *api.CreateWebhookOutput, err error) {
	p := access.From(ctx)
	if in.BranchFilter != nil && *in.BranchFilter == "" {
		// The member's name in the text is the service's.
		return nil, api.Errorf("ValidationException", "1 validation error detected: Value '' at 'newProjectVersion.webhook.branches' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	end, err := s.turns.take(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	defer end()
	project, err := s.project(ctx, s.Store, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	if project.Webhook != nil {
		return nil, webhookExists(project)
	}
	target, err := s.hookTarget(ctx, p.Scope, project, in.ScopeConfiguration)
	if err != nil {
		return nil, err
	}
	doc := &api.Webhook{
		BranchFilter: in.BranchFilter, FilterGroups: in.FilterGroups, BuildType: in.BuildType, ManualCreation: new(value(in.ManualCreation)),
		ScopeConfiguration: in.ScopeConfiguration, PullRequestBuildPolicy: in.PullRequestBuildPolicy, Status: api.WebhookStatusACTIVE,
	}
	if err := s.checkWebhook(target, doc); err != nil {
		return nil, err
	}
	w := store.Webhook{
		Scope: p.Scope, Project: *project.Name, Address: unguessable(), Source: project.Source.Type, Host: target.access.Repository.Host.Name,
		Owner: target.owner.Name, Kind: string(target.owner.Kind), Version: 1, Created: s.Now(),
	}
	secret := signingKey()
	if w.Sealed, err = credential.SealHook(s.Vault, w, credential.HookSecret{Value: secret}); err != nil {
		return nil, err
	}
	doc.PayloadUrl = new(credential.HookAddress(s.URL, w.Address))
	doc.LastModifiedSecret = api.At(w.Created)

	enterprise := project.Source.Type == api.SourceTypeGITHUB_ENTERPRISE
	guard := int64(0)
	if !*doc.ManualCreation {
		defer func() {
			if err != nil {
				s.release(context.WithoutCancel(ctx), w)
			}
		}()
		var hook forge.Hook
		hook, guard, err = s.putHook(ctx, target, w, doc, secret, func(tx store.Tx) (int64, error) {
			// A provider delivers from the moment that the hook is made.
			if err := s.reserve(ctx, tx, w); err != nil {
				return 0, err
			}
			return tx.PutRemoval(ctx, s.removal(project, w, *doc.PayloadUrl, s.Now().Add(hookDoubt)))
		})
		if _, refused := errors.AsType[*api.Error](err); refused && enterprise {
			doc.StatusMessage = byHand(err)
		} else if err != nil {
			return nil, err
		}
		w.HookID = hook.ID
		if hook.URL != "" && !enterprise {
			doc.Url = &hook.URL
		}
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		now, err := s.project(ctx, tx, p.Scope, *project.Name)
		switch {
		case err != nil:
			return err
		case now.Webhook != nil:
			return webhookExists(now)
		case now.Source.Type != project.Source.Type || value(now.Source.Location) != value(project.Source.Location):
			return api.InvalidInputException("The source of project %s was changed meanwhile; create the webhook again", *project.Name)
		}
		now.Webhook = doc
		if err := errors.Join(s.confirm(ctx, tx, guard), tx.PutWebhook(ctx, w), tx.UpdateProject(ctx, p.Scope, now)); err != nil {
			return fmt.Errorf("store the webhook of %s: %w", *project.Name, err)
		}
		return s.audit(ctx, tx, "CreateWebhook", *project.Arn, fmt.Sprintf("%s %s at %s", w.Kind, w.Owner, w.Host))
	})
	if err != nil {
		return nil, err
	}
	out := *doc
	if *doc.ManualCreation || enterprise {
		out.Secret = new(secret.Reveal())
	}
	return &api.CreateWebhookOutput{Webhook: &out}, nil
}

// reserve notes the webhook that is being made, so that deliveries are known, in
// place of what a crash left.
func (s *Service) reserve(ctx context.Context, tx store.Tx, w store.Webhook) error {
	if err := tx.DeleteWebhook(ctx, w.Scope, w.Project); err != nil && !absent(err) {
		return fmt.Errorf("delete the unfinished webhook of %s: %w", w.Project, err)
	}
	return tx.PutWebhook(ctx, w)
}

// release takes back what reserve noted.
func (s *Service) release(ctx context.Context, w store.Webhook) {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		now, err := tx.Webhook(ctx, w.Scope, w.Project)
		if absent(err) || err == nil && now.Address != w.Address {
			return nil
		} else if err != nil {
			return err
		}
		return tx.DeleteWebhook(ctx, w.Scope, w.Project)
	})
	if err != nil {
		s.Log.ErrorContext(ctx, "forget a webhook that was not made", "project", w.Project, "error", err)
	}
}

// UpdateWebhook changes the filters, the policy or the secret, and the hook at
// the provider where that needs it. A hook whose project has another source now
// moves there, and one that is gone at the provider is made again. Where nothing
// there has to change, a provider that does not say whether it still has the
// hook is no error, so that filters can be mended without it: statusMessage has
// what it said.
func (s *Service) UpdateWebhook(ctx context.Context, in *api.UpdateWebhookInput) (*api.UpdateWebhookOutput, error) {
	p := access.From(ctx)
	end, err := s.turns.take(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	defer end()
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	target, err := s.hookTarget(ctx, p.Scope, project, project.Webhook.ScopeConfiguration)
	if err != nil {
		return nil, err
	}
	before := *project.Webhook
	doc := before
	if in.FilterGroups != nil || in.BranchFilter != nil { // each in place of the other
		doc.FilterGroups, doc.BranchFilter = in.FilterGroups, in.BranchFilter
		if value(doc.BranchFilter) == "" {
			doc.BranchFilter = nil
		}
		if len(doc.FilterGroups) == 0 {
			doc.FilterGroups = nil
		}
	}
	if in.BuildType != "" {
		doc.BuildType = in.BuildType
	}
	if in.PullRequestBuildPolicy != nil {
		doc.PullRequestBuildPolicy = in.PullRequestBuildPolicy
	} else if old := doc.PullRequestBuildPolicy; old != nil && w.Source != project.Source.Type {
		// Another provider has other roles: those that may write there.
		doc.PullRequestBuildPolicy = &api.PullRequestBuildPolicy{RequiresCommentApproval: old.RequiresCommentApproval}
	}
	if err := s.checkWebhook(target, &doc); err != nil {
		return nil, err
	}

	enterprise := project.Source.Type == api.SourceTypeGITHUB_ENTERPRISE
	rotate := value(in.RotateSecret) && project.Source.Type != api.SourceTypeBITBUCKET // ignored there; source: API reference
	made := !value(doc.ManualCreation)
	secrets, err := credential.OpenHook(s.Vault, w, s.Now())
	if err != nil {
		return nil, err
	}
	next := w
	next.Source, next.Host, next.Owner, next.Kind = project.Source.Type, target.access.Repository.Host.Name, target.owner.Name, string(target.owner.Kind)
	moved := next.Source != w.Source || next.Host != w.Host || !strings.EqualFold(next.Owner, w.Owner)
	if moved {
		next.HookID, doc.Url = "", nil
	}
	doc.PayloadUrl = new(credential.HookAddress(s.URL, w.Address))
	// A rotation that failed at the provider, or here after it, is brought to its
	// end: which of the two secrets the provider has is not known.
	pending := made && len(secrets) > 1 && secrets[1].Until.IsZero()
	if pending {
		rotate = true
	} else if rotate || len(secrets) == 0 {
		secrets = append([]credential.HookSecret{{Value: signingKey()}}, secrets...)
		doc.LastModifiedSecret = api.At(s.Now())
		rotate = true
		// Both are good from before the provider knows the new one.
		w.Version++
		if w.Sealed, err = credential.SealHook(s.Vault, w, secrets...); err != nil {
			return nil, err
		}
		if err := s.Store.Update(ctx, func(tx store.Tx) error { return s.replaceWebhook(ctx, tx, w) }); err != nil {
			return nil, fmt.Errorf("store the new secret of the webhook of %s: %w", *project.Name, err)
		}
		next.Version = w.Version
	}
	if rotate && len(secrets) > 1 {
		secrets = secrets[:2]
		secrets[1].Until = s.Now().Add(hookGrace)
	}
	guard := int64(0)
	changed := rotate || moved || *doc.PayloadUrl != value(before.PayloadUrl) || !slices.Equal(hookEvents(&before), hookEvents(&doc))
	detail := ""
	if rotate {
		detail = "new secret"
	}
	if made {
		var hook forge.Hook
		hook, guard, err = s.putHook(ctx, target, next, &doc, secrets[0].Value, func(tx store.Tx) (int64, error) {
			return tx.PutRemoval(ctx, s.removal(project, next, *doc.PayloadUrl, s.Now().Add(hookDoubt)))
		})
		switch _, refused := errors.AsType[*api.Error](err); {
		case err == nil:
			if next.HookID != "" && next.HookID != hook.ID {
				detail = strings.TrimPrefix(detail+", the hook was gone and is made again", ", ")
			}
			doc.StatusMessage, next.HookID = nil, hook.ID
			if hook.URL != "" && !enterprise {
				doc.Url = &hook.URL
			}
		case refused && enterprise && (changed || w.HookID == ""):
			doc.StatusMessage, guard = byHand(err), 0 // what is in doubt stays so
		case refused && !changed:
			doc.StatusMessage, guard = new("It is not known whether the provider still has the hook. "+err.Error()), 0
		default:
			return nil, err
		}
	}
	next.Version++
	if next.Sealed, err = credential.SealHook(s.Vault, next, secrets...); err != nil {
		return nil, err
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		now, err := s.project(ctx, tx, p.Scope, *project.Name)
		if err != nil {
			return err
		}
		if now.Webhook == nil {
			return noWebhook(project)
		}
		now.Webhook = &doc
		if moved && made {
			if _, err := tx.PutRemoval(ctx, s.removal(project, w, value(before.PayloadUrl), s.Now())); err != nil {
				return err
			}
		}
		if err := errors.Join(s.confirm(ctx, tx, guard), s.replaceWebhook(ctx, tx, next), tx.UpdateProject(ctx, p.Scope, now)); err != nil {
			return fmt.Errorf("store the webhook of %s: %w", *project.Name, err)
		}
		return s.audit(ctx, tx, "UpdateWebhook", *project.Arn, detail)
	})
	if err != nil {
		return nil, err
	}
	out := doc
	if rotate && (value(doc.ManualCreation) || enterprise) {
		out.Secret = new(secrets[0].Value.Reveal())
	}
	return &api.UpdateWebhookOutput{Webhook: &out}, nil
}

// replaceWebhook stores w, the next version of the webhook, unless that was
// changed meanwhile, deleted or made anew.
func (s *Service) replaceWebhook(ctx context.Context, tx store.Tx, w store.Webhook) error {
	now, err := tx.Webhook(ctx, w.Scope, w.Project)
	if err != nil && !absent(err) {
		return err
	}
	if now.Address != w.Address || now.Version != w.Version-1 {
		return api.InvalidInputException("The webhook of project %s was changed meanwhile; try again", w.Project)
	}
	return tx.PutWebhook(ctx, w)
}

// DeleteWebhook removes the webhook, and its hook at the provider. A provider
// that cannot be reached is an error and the webhook stays, and so does its hook:
// it is put back if the answer alone was lost. Where the provider
// refuses, since the repository or the token is gone, the webhook is removed
// all the same, and its hook is tried again for days.
func (s *Service) DeleteWebhook(ctx context.Context, in *api.DeleteWebhookInput) (*api.DeleteWebhookOutput, error) {
	p := access.From(ctx)
	end, err := s.turns.take(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	defer end()
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	gone, guard := value(project.Webhook.ManualCreation), int64(0)
	if !gone {
		r := s.removal(project, w, value(project.Webhook.PayloadUrl), s.Now().Add(hookDoubt))
		err := s.Store.Update(ctx, func(tx store.Tx) (err error) { guard, err = tx.PutRemoval(ctx, r); return err })
		if err != nil {
			return nil, fmt.Errorf("note the hook of %s: %w", *project.Name, err)
		}
		err = s.deleteHook(ctx, r)
		if refused, ok := errors.AsType[*forge.Error](err); ok && refused.Worthwhile {
			p, _ := s.Hosts.Provider(api.ServerType(w.Source))
			return nil, hookError("delete", p, refused)
		} else if err != nil {
			s.Log.WarnContext(ctx, "hook not removed yet", "project", w.Project, "error", err)
		}
		gone = err == nil
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		now, err := s.project(ctx, tx, p.Scope, *project.Name)
		if err != nil {
			return err
		}
		if now.Webhook == nil {
			return noWebhook(project)
		}
		if err := errors.Join(s.confirm(ctx, tx, guard), s.dropWebhook(ctx, tx, now, gone)); err != nil {
			return err
		}
		now.Webhook = nil
		if err := tx.UpdateProject(ctx, p.Scope, now); err != nil {
			return fmt.Errorf("store project %s: %w", *project.Name, err)
		}
		return s.audit(ctx, tx, "DeleteWebhook", *project.Arn, "")
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteWebhookOutput{}, nil
}

// dropWebhook forgets the webhook of a project. Its hook is removed from the
// outbox unless it is gone.
func (s *Service) dropWebhook(ctx context.Context, tx store.Tx, project *api.Project, gone bool) error {
	w, err := tx.Webhook(ctx, access.From(ctx).Scope, *project.Name)
	if absent(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read the webhook of %s: %w", *project.Name, err)
	}
	if !gone && !value(project.Webhook.ManualCreation) {
		if _, err := tx.PutRemoval(ctx, s.removal(project, w, value(project.Webhook.PayloadUrl), s.Now())); err != nil {
			return fmt.Errorf("note the hook of %s to be removed: %w", *project.Name, err)
		}
	}
	if err := tx.DeleteWebhook(ctx, w.Scope, w.Project); err != nil {
		return fmt.Errorf("delete the webhook of %s: %w", *project.Name, err)
	}
	return nil
}

// webhook reads a project that has one.
func (s *Service) webhook(ctx context.Context, scope store.Scope, ref string) (*api.Project, store.Webhook, error) {
	project, err := s.project(ctx, s.Store, scope, ref)
	if err != nil {
		return nil, store.Webhook{}, err
	}
	w, err := s.Store.Webhook(ctx, scope, *project.Name)
	if absent(err) || project.Webhook == nil {
		return nil, w, noWebhook(project)
	} else if err != nil {
		return nil, w, fmt.Errorf("read the webhook of %s: %w", *project.Name, err)
	}
	return project, w, nil
}

func noWebhook(project *api.Project) error {
	return api.ResourceNotFoundException("Webhook does not exist for project %s. Create one with create-webhook", *project.Arn)
}

func webhookExists(project *api.Project) error {
	return api.ResourceAlreadyExistsException("Webhook already exists for project %s. Change it with update-webhook", *project.Arn)
}

// hookTarget finds what a webhook of the project watches.
func (s *Service) hookTarget(ctx context.Context, scope store.Scope, project *api.Project, c *api.ScopeConfiguration) (hookTarget, error) {
	src := project.Source
	t := hookTarget{}
	var ok bool
	if t.provider, ok = s.Hosts.Provider(api.ServerType(src.Type)); !ok || t.provider.Deliveries.Verify == nil {
		return t, api.InvalidInputException("Webhooks are not supported for source type %s: the project's source must be a repository of a source provider", src.Type)
	}
	var err error
	if c == nil {
		if value(src.Location) == webhookLocation {
			return t, api.InvalidInputException("The project's source location is %s, which is for webhooks of an organization, an enterprise or a group: give scopeConfiguration", webhookLocation)
		}
		t.access, err = s.Checker.Resolve(ctx, scope, src, src)
		if err == nil {
			t.owner = forge.Owner{Kind: forge.OfRepository, Name: t.access.Repository.Name}
		}
	} else {
		kinds := map[api.WebhookScopeType]forge.OwnerKind{
			api.WebhookScopeTypeGITHUB_ORGANIZATION: forge.OfOrganization, api.WebhookScopeTypeGITHUB_GLOBAL: forge.OfEnterprise, api.WebhookScopeTypeGITLAB_GROUP: forge.OfGroup,
		}
		t.owner = forge.Owner{Kind: kinds[c.Scope], Name: value(c.Name)}
		switch {
		case !slices.Contains(t.provider.Deliveries.Owners, t.owner.Kind):
			return t, api.InvalidInputException("Invalid scopeConfiguration: %s is not for source type %s", c.Scope, src.Type)
		case value(src.Location) != webhookLocation:
			return t, api.InvalidInputException("Invalid scopeConfiguration: the project's source location must be %s", webhookLocation)
		case len(t.owner.Name) > 1000 || !ownerPattern.MatchString(t.owner.Name) || t.owner.Kind != forge.OfGroup && strings.Contains(t.owner.Name, "/"):
			return t, api.InvalidInputException("Invalid scopeConfiguration: name must be the name of the organization or enterprise, or the path of the group")
		}
		host := t.provider.Known
		if own := t.provider.Own; own != "" && string(own) == string(src.Type) {
			if host = value(c.Domain); host == "" {
				return t, api.InvalidInputException("Invalid scopeConfiguration: domain is required for source type %s", src.Type)
			}
		}
		t.access, err = s.Checker.ResolveOwner(ctx, scope, src, src, strings.TrimSuffix(strings.TrimPrefix(host, "https://"), "/"))
	}
	if mendable, ok := errors.AsType[*credential.Problem](err); ok {
		return t, api.InvalidInputException("%v", mendable)
	}
	return t, err
}

// ownerPattern is the name of an organization or the path of a group.
var ownerPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

// checkWebhook applies the rules to a webhook and fills in the defaults.
func (s *Service) checkWebhook(t hookTarget, w *api.Webhook) error {
	if w.BuildType == "" {
		w.BuildType = api.WebhookBuildTypeBUILD
	}
	switch w.BuildType {
	case api.WebhookBuildTypeBUILD:
	case api.WebhookBuildTypeBUILD_BATCH:
		return api.InvalidInputException("Invalid buildType: Corbel has no batch builds yet, so BUILD_BATCH cannot be used. Use BUILD")
	default:
		return api.InvalidInputException("Invalid buildType: Corbel has no runner builds, so %s cannot be used. Use BUILD", w.BuildType)
	}
	if w.BranchFilter != nil {
		if len(w.FilterGroups) > 0 {
			return api.InvalidInputException("Invalid webhook: branchFilter and filterGroups cannot be used together. Put the branches into a filter of type HEAD_REF")
		}
		if err := filtergroup.CheckPattern(*w.BranchFilter); err != nil {
			return api.InvalidInputException("Invalid branchFilter: it %v", err)
		}
	}
	if err := filtergroup.Check(w.FilterGroups, t.provider.Deliveries.Events, t.owner.Kind); err != nil {
		return api.InvalidInputException("Invalid filterGroups: %v", err)
	}
	groups := make([][]api.WebhookFilter, 0, len(w.FilterGroups))
	for _, g := range w.FilterGroups {
		g = slices.Clone(g)
		for i := range g {
			g[i].ExcludeMatchedPattern = new(value(g[i].ExcludeMatchedPattern)) // always told; source: recorded answers
		}
		groups = append(groups, g)
	}
	if w.FilterGroups = groups; len(groups) == 0 {
		w.FilterGroups = nil
	}
	policy := api.PullRequestBuildPolicy{RequiresCommentApproval: api.PullRequestBuildCommentApprovalALL_PULL_REQUESTS}
	if w.PullRequestBuildPolicy != nil {
		policy = *w.PullRequestBuildPolicy
	}
	if policy.RequiresCommentApproval == api.PullRequestBuildCommentApprovalDISABLED {
		policy.ApproverRoles = nil
	} else if len(policy.ApproverRoles) == 0 {
		policy.ApproverRoles = t.provider.Deliveries.Writers()
	}
	for _, r := range policy.ApproverRoles {
		if !slices.Contains(t.provider.Deliveries.Roles, r) {
			return api.InvalidInputException("Invalid pullRequestBuildPolicy: %s is not a role of the project's source provider, whose roles are %s", r, join(t.provider.Deliveries.Roles))
		}
	}
	w.PullRequestBuildPolicy = &policy
	return nil
}

// join writes roles with commas between.
func join(roles []api.PullRequestBuildApproverRole) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// hookEvents are the types of events that the provider has to tell of.
func hookEvents(w *api.Webhook) []forge.EventType {
	list := slices.Clone(filtergroup.All(w.FilterGroups))
	pulls := slices.ContainsFunc(list, func(e forge.EventType) bool { return strings.HasPrefix(string(e), "PULL_REQUEST_") })
	if pulls {
		// What waits for approval is forgotten when its pull request is closed.
		for _, e := range []forge.EventType{forge.PullMerged, forge.PullClosed} {
			if !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
		if p := w.PullRequestBuildPolicy; p != nil && p.RequiresCommentApproval != api.PullRequestBuildCommentApprovalDISABLED {
			list = append(list, forge.Comment)
		}
	}
	slices.Sort(list)
	return list
}

// putHook makes or changes the hook at the provider. first notes before anything
// is asked for that the hook is in doubt; guard is that note, for confirm to take
// it back. With an error it is 0 if it is certain that nothing was changed.
func (s *Service) putHook(ctx context.Context, t hookTarget, w store.Webhook, doc *api.Webhook, secret api.Secret, first func(store.Tx) (int64, error)) (hook forge.Hook, guard int64, err error) {
	host := t.access.Repository.Host
	if t.access.ARN == "" {
		if !t.access.Repository.Trusted {
			return hook, 0, api.InvalidInputException("%s", t.access.Reason)
		}
		return hook, 0, api.ResourceNotFoundException("Could not find access token for server type %s", strings.ToLower(string(t.access.ServerType)))
	}
	if private(s.URL) && !private(host.Git) {
		return hook, 0, api.InvalidInputException("%s cannot reach this server at %s: give corbel serve -public-url, or create the webhook with manualCreation and let Corbel poll (corbel webhook poll)", host.Name, s.URL)
	}
	f := s.Checker.Forges[t.access.ServerType]
	if f == nil {
		return hook, 0, api.InvalidInputException("Webhooks are not supported for source type %s", t.access.ServerType)
	}
	token, err := t.access.Token(ctx, credential.ForWebhook)
	if err != nil {
		return hook, 0, tokenError(err)
	}
	if err := s.Store.Update(ctx, func(tx store.Tx) (err error) { guard, err = first(tx); return err }); err != nil {
		return hook, 0, fmt.Errorf("note the hook of %s: %w", w.Project, err)
	}
	limited, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	hook, err = f.PutHook(limited, host, token, t.owner, forge.Hook{ID: w.HookID, Address: *doc.PayloadUrl, Secret: secret, Events: hookEvents(doc)})
	if err == nil {
		return hook, guard, nil
	}
	if errors.Is(err, forge.ErrRefused) {
		t.access.Refused(ctx)
	}
	refused, ok := errors.AsType[*forge.Error](err)
	if !ok {
		return hook, guard, fmt.Errorf("make a hook at %s: %w", host.Name, err)
	}
	if !refused.Worthwhile {
		after := context.WithoutCancel(ctx)
		if err := s.Store.Update(after, func(tx store.Tx) error { return s.confirm(after, tx, guard) }); err != nil {
			s.Log.ErrorContext(ctx, "note that no hook was made", "project", w.Project, "error", err)
		}
		guard = 0
	}
	verb := "create"
	if w.HookID != "" {
		verb = "update"
	}
	return hook, guard, hookError(verb, t.provider, refused)
}

// confirm says that a hook is not in doubt any more.
func (s *Service) confirm(ctx context.Context, tx store.Tx, guard int64) error {
	if guard == 0 {
		return nil
	}
	if err := tx.DeleteRemoval(ctx, guard); absent(err) {
		return api.OAuthProviderException("The provider answered too late, and the hook is put back as it was; try again")
	} else if err != nil {
		return err
	}
	return nil
}

// removal is the entry by which a hook is looked after at a time; see
// SettleHook.
func (s *Service) removal(project *api.Project, w store.Webhook, address string, at time.Time) store.Removal {
	src := *project.Source
	src.Type = w.Source // where the hook is, whatever the source is now
	if w.Kind == string(forge.OfRepository) {
		src.Location = new(s.Hosts.Address(api.ServerType(w.Source), w.Host, w.Owner))
	}
	return store.Removal{
		Scope: w.Scope, Project: w.Project, Source: &src, Primary: project.Source, Host: w.Host, Owner: w.Owner, Kind: w.Kind, HookID: w.HookID, Address: address,
		Created: s.Now(), Next: at,
	}
}

// SettleHook makes a hook at its provider what the store knows of it. The
// webhook's is put right, with the id that it has then, since a call that changed
// it or removed it may have come to its end there and not here. Any other is
// removed; gone says which it was.
func (s *Service) SettleHook(ctx context.Context, r store.Removal) (gone bool, err error) {
	end, err := s.turns.take(ctx, r.Scope, r.Project)
	if err != nil {
		return false, err
	}
	defer end()
	project, err := s.Store.Project(ctx, r.Scope, r.Project)
	if absent(err) || err == nil && project.Webhook == nil {
		return true, s.deleteHook(ctx, r)
	} else if err != nil {
		return false, fmt.Errorf("read project %s: %w", r.Project, err)
	}
	w, err := s.Store.Webhook(ctx, r.Scope, r.Project)
	if err != nil && !absent(err) {
		return false, fmt.Errorf("read the webhook of %s: %w", r.Project, err)
	}
	here := w.Host == r.Host && w.Kind == r.Kind && strings.EqualFold(w.Owner, r.Owner)
	if absent(err) || !here || !strings.Contains(r.Address, w.Address) || value(project.Webhook.ManualCreation) {
		return true, s.deleteHook(ctx, r)
	}
	return false, s.restoreHook(ctx, project.Webhook, w, r)
}

// restoreHook makes the hook what the webhook says, and ends a rotation of its
// secret that was cut.
func (s *Service) restoreHook(ctx context.Context, doc *api.Webhook, w store.Webhook, r store.Removal) error {
	secrets, err := credential.OpenHook(s.Vault, w, s.Now())
	if err != nil {
		return err
	}
	var hook forge.Hook
	err = s.atProvider(ctx, r, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, owner forge.Owner) (err error) {
		hook, err = f.PutHook(ctx, host, t, owner, forge.Hook{ID: w.HookID, Address: r.Address, Secret: secrets[0].Value, Events: hookEvents(doc)})
		return err
	})
	if err != nil {
		return err
	}
	if len(secrets) > 1 && secrets[1].Until.IsZero() {
		secrets = secrets[:2]
		secrets[1].Until = s.Now().Add(hookGrace)
	}
	w.HookID = hook.ID
	w.Version++
	if w.Sealed, err = credential.SealHook(s.Vault, w, secrets...); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.replaceWebhook(ctx, tx, w); err != nil {
			return err
		}
		now, err := tx.Project(ctx, w.Scope, w.Project)
		if err != nil {
			return err
		}
		now.Webhook.PayloadUrl, now.Webhook.StatusMessage = &r.Address, nil
		if hook.URL != "" && w.Source != api.SourceTypeGITHUB_ENTERPRISE {
			now.Webhook.Url = &hook.URL
		}
		return tx.UpdateProject(ctx, w.Scope, now)
	})
}

// deleteHook removes the hook at the provider.
func (s *Service) deleteHook(ctx context.Context, r store.Removal) error {
	return s.atProvider(ctx, r, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, owner forge.Owner) error {
		return f.DeleteHook(ctx, host, t, owner, forge.Hook{ID: r.HookID, Address: r.Address})
	})
}

// atProvider does what there is to do with a hook, with the credential of its
// source. That the token is gone or refused is an error too: another may come.
func (s *Service) atProvider(ctx context.Context, r store.Removal, do func(context.Context, forge.Forge, forge.Host, forge.Token, forge.Owner) error) error {
	f := s.Checker.Forges[api.ServerType(r.Source.Type)]
	if f == nil {
		return fmt.Errorf("%s is not supported", r.Source.Type)
	}
	var a *credential.Access
	var err error
	if r.Kind == string(forge.OfRepository) {
		a, err = s.Checker.Resolve(ctx, r.Scope, r.Source, r.Primary)
	} else {
		a, err = s.Checker.ResolveOwner(ctx, r.Scope, r.Source, r.Primary, r.Host)
	}
	if err != nil {
		return err
	}
	token, err := a.Token(ctx, credential.ForWebhook)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	err = do(ctx, f, a.Repository.Host, token, forge.Owner{Kind: forge.OwnerKind(r.Kind), Name: r.Owner})
	if errors.Is(err, forge.ErrRefused) {
		a.Refused(ctx)
	}
	return err
}

// hookError is the service's error for a provider's, which says why.
// Source: recorded answers of the service, for the first sentences.
func hookError(verb string, p forge.Provider, err *forge.Error) error {
	switch {
	case errors.Is(err, forge.ErrUnreachable) && err.After > 0:
		return api.OAuthProviderException("Failed to %s webhook. %s API limit reached. Please try again later. (%v)", verb, p.Name, err)
	case errors.Is(err, forge.ErrUnreachable):
		return api.OAuthProviderException("Failed to %s webhook. The source provider could not be asked. Please try again later. (%v)", verb, err)
	}
	return api.OAuthProviderException("Failed to %s webhook. Repository not found or permission denied. Please make sure the source credentials associated with your project have the permission to %s webhook. (%v)", verb, verb, err)
}

// tokenError is what the caller hears of a credential that cannot be used.
func tokenError(err error) error {
	if mendable, ok := errors.AsType[*credential.Problem](err); ok {
		return api.OAuthProviderException("The source credential cannot be used: %v", mendable)
	}
	return err
}

// byHand is the status message of a webhook whose hook the provider would not
// make or change. The secret is told by CreateWebhook and by a rotation, once.
func byHand(err error) *string {
	return new(err.Error() + " Install the hook at the provider with payloadUrl and the newest secret, which create-webhook and update-webhook --rotate-secret tell once; or mend that and update the webhook")
}

// private reports whether an address is of this machine only.
func private(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && (a.IsLoopback() || a.IsUnspecified())
}

// signingKey is a secret for a hook. Its form is that of Standard Webhooks, in
// which GitLab takes it as the key to sign with; to others it is a text.
func signingKey() api.Secret {
	var b [32]byte
	rand.Read(b[:])
	return api.Secret("whsec_" + base64.StdEncoding.EncodeToString(b[:]))
}

// unguessable is 32 random bytes as text.
func unguessable() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
