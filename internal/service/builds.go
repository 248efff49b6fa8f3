package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/phase"
	"github.com/corbel-build/corbel/internal/store"
)

// listPage is the fixed length of a page of builds or projects.
const listPage = 100

// tokenTime is how long an idempotency token is remembered.
// Source: API reference, StartBuild, idempotencyToken.
const tokenTime = 5 * time.Minute

// StartBuild merges the project and the overrides into one build and queues
// it. The project is not looked at again.
func (s *Service) StartBuild(ctx context.Context, in *api.StartBuildInput) (*api.StartBuildOutput, error) {
	p := access.From(ctx)
	project, err := s.project(ctx, s.Store, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	b, err := s.newBuild(p, project, in)
	if err != nil {
		return nil, err
	}
	digest := *in
	digest.IdempotencyToken = nil
	b, err = s.queue(ctx, "StartBuild", b, nil, value(project.ConcurrentBuildLimit), value(in.IdempotencyToken), digest)
	if err != nil {
		return nil, err
	}
	return &api.StartBuildOutput{Build: b}, nil
}

// RetryBuild queues a build with the parameters of an earlier one.
func (s *Service) RetryBuild(ctx context.Context, in *api.RetryBuildInput) (*api.RetryBuildOutput, error) {
	p := access.From(ctx)
	if in.Id == nil {
		return nil, api.InvalidInputException("Invalid build ID provided: id is required")
	}
	id, err := buildID(p, *in.Id)
	if err != nil {
		return nil, err
	}
	old, err := s.Store.Build(ctx, p.Scope, id)
	if absent(err) {
		return nil, api.ResourceNotFoundException("Build %s does not exist", *in.Id)
	} else if err != nil {
		return nil, fmt.Errorf("read build %s: %w", id, err)
	}
	limit := 0
	if project, err := s.Store.Project(ctx, p.Scope, *old.Doc.ProjectName); err == nil {
		limit = value(project.ConcurrentBuildLimit)
	} else if !absent(err) {
		return nil, fmt.Errorf("read project %s: %w", *old.Doc.ProjectName, err)
	}
	b := *old.Doc
	b.ResolvedSourceVersion, b.ExportedEnvironmentVariables, b.ReportArns, b.NetworkInterface = nil, []api.ExportedEnvironmentVariable{}, []string{}, nil
	b.Logs = &api.LogsLocation{CloudWatchLogs: old.Doc.Logs.CloudWatchLogs, S3Logs: old.Doc.Logs.S3Logs}
	b.AutoRetryConfig = &api.AutoRetryConfig{AutoRetryLimit: new(0), AutoRetryNumber: new(0)}
	if old.Doc.AutoRetryConfig != nil {
		b.AutoRetryConfig.AutoRetryLimit = old.Doc.AutoRetryConfig.AutoRetryLimit
	}
	s.submit(p.Scope, p.User, &b)
	out, err := s.queue(ctx, "RetryBuild", &b, old.Trigger, limit, value(in.IdempotencyToken), id)
	if err != nil {
		return nil, err
	}
	return &api.RetryBuildOutput{Build: out}, nil
}

// newBuild is the project with the overrides of in.
func (s *Service) newBuild(p access.Principal, project *api.Project, in *api.StartBuildInput) (*api.Build, error) {
	b := &api.Build{
		ProjectName:                  project.Name,
		SourceVersion:                project.SourceVersion,
		Source:                       project.Source,
		SecondarySources:             project.SecondarySources,
		SecondarySourceVersions:      project.SecondarySourceVersions,
		Cache:                        override(project.Cache, in.CacheOverride),
		Environment:                  project.Environment,
		ServiceRole:                  override(project.ServiceRole, in.ServiceRoleOverride),
		TimeoutInMinutes:             override(project.TimeoutInMinutes, in.TimeoutInMinutesOverride),
		QueuedTimeoutInMinutes:       override(project.QueuedTimeoutInMinutes, in.QueuedTimeoutInMinutesOverride),
		EncryptionKey:                override(project.EncryptionKey, in.EncryptionKeyOverride),
		VpcConfig:                    project.VpcConfig,
		FileSystemLocations:          project.FileSystemLocations,
		ExportedEnvironmentVariables: []api.ExportedEnvironmentVariable{},
		ReportArns:                   []string{},
		AutoRetryConfig:              &api.AutoRetryConfig{AutoRetryLimit: new(value(override(project.AutoRetryLimit, in.AutoRetryLimitOverride))), AutoRetryNumber: new(0)},
	}
	if b.FileSystemLocations == nil {
		b.FileSystemLocations = []api.ProjectFileSystemLocation{}
	}
	if in.DebugSessionEnabled != nil && *in.DebugSessionEnabled {
		b.DebugSession = &api.DebugSession{SessionEnabled: in.DebugSessionEnabled}
	}

	src := b.Source
	if in.SourceTypeOverride != "" && in.SourceTypeOverride != src.Type {
		src.Type = in.SourceTypeOverride
		// These belong to the provider of the project's own source.
		src.Auth, src.GitSubmodulesConfig, src.ReportBuildStatus = nil, nil, nil
		if src.Type == api.SourceTypeNO_SOURCE {
			src.Location, src.GitCloneDepth = nil, nil
		}
	}
	src.Location = override(src.Location, in.SourceLocationOverride)
	src.Auth = override(src.Auth, in.SourceAuthOverride)
	src.GitCloneDepth = override(src.GitCloneDepth, in.GitCloneDepthOverride)
	src.GitSubmodulesConfig = override(src.GitSubmodulesConfig, in.GitSubmodulesConfigOverride)
	src.Buildspec = override(src.Buildspec, in.BuildspecOverride)
	src.InsecureSsl = override(src.InsecureSsl, in.InsecureSslOverride)
	src.ReportBuildStatus = override(src.ReportBuildStatus, in.ReportBuildStatusOverride)
	src.BuildStatusConfig = override(src.BuildStatusConfig, in.BuildStatusConfigOverride)
	if err := checkSource(src, true); err != nil {
		return nil, err
	}
	fillSource(src)
	b.SourceVersion = override(b.SourceVersion, in.SourceVersion)
	if value(b.SourceVersion) == "" {
		b.SourceVersion = nil // omitted, not empty, when unspecified
	}
	if in.SecondarySourcesOverride != nil {
		b.SecondarySources = in.SecondarySourcesOverride
		if err := checkSecondarySources(b.SecondarySources); err != nil {
			return nil, err
		}
		for i := range b.SecondarySources {
			fillSource(&b.SecondarySources[i])
		}
	}
	if in.SecondarySourcesVersionOverride != nil {
		b.SecondarySourceVersions = in.SecondarySourcesVersionOverride
	}

	env := b.Environment
	if in.EnvironmentTypeOverride != "" {
		env.Type = in.EnvironmentTypeOverride
	}
	if in.ComputeTypeOverride != "" {
		env.ComputeType = in.ComputeTypeOverride
	}
	if in.ImagePullCredentialsTypeOverride != "" {
		env.ImagePullCredentialsType = in.ImagePullCredentialsTypeOverride
	}
	env.Image = override(env.Image, in.ImageOverride)
	env.Certificate = override(env.Certificate, in.CertificateOverride)
	env.PrivilegedMode = override(env.PrivilegedMode, in.PrivilegedModeOverride)
	env.RegistryCredential = override(env.RegistryCredential, in.RegistryCredentialOverride)
	env.Fleet = override(env.Fleet, in.FleetOverride)
	env.EnvironmentVariables = mergeVariables(env.EnvironmentVariables, in.EnvironmentVariablesOverride)
	if err := checkEnvironment(env); err != nil {
		return nil, err
	}
	fillEnvironment(env)

	artifacts := override(project.Artifacts, in.ArtifactsOverride)
	secondary := project.SecondaryArtifacts
	if in.SecondaryArtifactsOverride != nil {
		secondary = in.SecondaryArtifactsOverride
	}
	if in.ArtifactsOverride != nil || in.SecondaryArtifactsOverride != nil {
		if err := checkArtifacts(artifacts, secondary); err != nil {
			return nil, err
		}
	}
	logs := override(project.LogsConfig, in.LogsConfigOverride)
	for _, err := range []error{checkLogs(logs), checkCache(b.Cache), checkRole(p.Scope, value(b.ServiceRole))} {
		if err != nil {
			return nil, err
		}
	}
	logs = fillLogs(logs)
	b.Logs = &api.LogsLocation{CloudWatchLogs: logs.CloudWatchLogs, S3Logs: logs.S3Logs}

	s.submit(p.Scope, p.User, b)
	b.Artifacts = buildArtifacts(b, artifacts)
	b.SecondaryArtifacts = make([]api.BuildArtifacts, 0, len(secondary))
	for i := range secondary {
		b.SecondaryArtifacts = append(b.SecondaryArtifacts, *buildArtifacts(b, &secondary[i]))
	}
	return b, nil
}

// override is what the caller of StartBuild said, or else what the project
// says.
func override[T any](project, said *T) *T {
	if said != nil {
		return said
	}
	return project
}

// mergeVariables lets the second list win by name.
func mergeVariables(project, said []api.EnvironmentVariable) []api.EnvironmentVariable {
	out := append([]api.EnvironmentVariable{}, project...)
next:
	for _, v := range said {
		if v.Type == "" {
			v.Type = api.EnvironmentVariableTypePLAINTEXT
		}
		for i := range out {
			if *out[i].Name == *v.Name {
				out[i] = v
				continue next
			}
		}
		out = append(out, v)
	}
	return out
}

// buildArtifacts says where a build's artifacts will be. The location is an
// S3 ARN, empty when there are none.
func buildArtifacts(b *api.Build, a *api.ProjectArtifacts) *api.BuildArtifacts {
	out := &api.BuildArtifacts{Location: new(""), ArtifactIdentifier: a.ArtifactIdentifier}
	if a.Type != api.ArtifactsTypeS3 {
		return out
	}
	name := value(a.Name)
	if name == "" {
		name = *b.ProjectName
	}
	var parts []string
	if path := strings.Trim(value(a.Path), "/"); path != "" {
		parts = append(parts, path)
	}
	if a.NamespaceType == api.ArtifactNamespaceBUILD_ID {
		_, id, _ := strings.Cut(*b.Id, ":")
		parts = append(parts, id)
	}
	if name != "/" {
		parts = append(parts, strings.Trim(name, "/"))
	}
	out.Location = new("arn:aws:s3:::" + value(a.Location) + "/" + strings.Join(parts, "/"))
	out.Sha256sum, out.Md5sum = new(""), new("")
	out.OverrideArtifactName = new(value(a.OverrideArtifactName))
	out.EncryptionDisabled = new(value(a.EncryptionDisabled))
	out.BucketOwnerAccess = a.BucketOwnerAccess
	return out
}

// submit makes b a build that was just requested.
func (s *Service) submit(p store.Scope, initiator string, b *api.Build) {
	b.Id = new(*b.ProjectName + ":" + uuid.NewString())
	b.Arn = new(resource(p, "build", *b.Id))
	b.Initiator = new(initiator)
	phase.Submit(b, s.Now())
	// The word null is what clients look for until the log exists.
	b.Logs.DeepLink = new(s.URL + "/cloudwatch/home?region=" + p.Region + "&build=" + *b.Id + "#logEvent:group=null;stream=null")
	b.Logs.CloudWatchLogsArn = new("arn:aws:logs:" + p.Region + ":" + p.Account + ":log-group:null:log-stream:null")
}

// queue stores b with its number. If token was used before with the same
// parameters, that build is the answer. limit is the project's
// concurrentBuildLimit, 0 for none. trigger is nil if no webhook started it.
func (s *Service) queue(ctx context.Context, operation string, b *api.Build, trigger *store.Trigger, limit int, token string, parameters any) (*api.Build, error) {
	p := access.From(ctx)
	var digest string
	if token != "" {
		d, err := json.Marshal([]any{operation, parameters})
		if err != nil {
			return nil, fmt.Errorf("read parameters of %s: %w", operation, err)
		}
		sum := sha256.Sum256(d)
		digest = hex.EncodeToString(sum[:])
	}
	now := s.Now()
	out := b
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if token != "" {
			before, err := tx.IdempotentBuild(ctx, p.Scope, token, now)
			switch {
			case err == nil && before.Digest != digest:
				return api.InvalidInputException("Idempotent parameter mismatch: the idempotency token was used before with other parameters. Use a new token")
			case err == nil:
				first, err := tx.Build(ctx, p.Scope, before.Build)
				out = first.Doc
				return err
			case !absent(err):
				return err
			}
		}
		if err := s.enqueue(ctx, tx, p.Scope, b, trigger, limit, now); err != nil {
			return err
		}
		if token == "" {
			return nil
		}
		return tx.PutIdempotent(ctx, p.Scope, store.Idempotent{Token: token, Digest: digest, Build: *b.Id, Expires: now.Add(tokenTime)})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// enqueue stores b with its number, unless too many wait or run.
func (s *Service) enqueue(ctx context.Context, tx store.Tx, scope store.Scope, b *api.Build, trigger *store.Trigger, limit int, now time.Time) error {
	if limit > 0 {
		active, err := tx.ActiveBuilds(ctx, scope, *b.ProjectName, limit)
		if err != nil {
			return err
		}
		if active >= limit {
			return api.AccountLimitExceededException("Cannot have more than %d active builds for the project %s. Wait for one to end, stop one, or raise concurrentBuildLimit", limit, *b.ProjectName)
		}
	}
	if s.MaxQueued > 0 {
		queued, err := tx.QueuedBuilds(ctx, scope.Account)
		if err != nil {
			return err
		}
		if queued >= s.MaxQueued {
			return api.AccountLimitExceededException("Cannot have more than %d builds in queue for the account", s.MaxQueued)
		}
	}
	number, err := tx.NextBuildNumber(ctx, scope, *b.ProjectName)
	if err != nil {
		return err
	}
	b.BuildNumber = &number
	return tx.QueueBuild(ctx, store.Build{
		Scope: scope, Doc: b, Requested: now, Trigger: trigger,
		QueueUntil: now.Add(time.Duration(value(b.QueuedTimeoutInMinutes)) * time.Minute),
	})
}

// StartTriggered is StartBuild for what a webhook started, within tx. initiator
// is who the build says started it.
func (s *Service) StartTriggered(ctx context.Context, tx store.Tx, scope store.Scope, in *api.StartBuildInput, initiator string, t store.Trigger) (*api.Build, error) {
	project, err := s.project(ctx, tx, scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	b, err := s.newBuild(access.Principal{Scope: scope, User: initiator}, project, in)
	if err != nil {
		return nil, err
	}
	return b, s.enqueue(ctx, tx, scope, b, &t, value(project.ConcurrentBuildLimit), s.Now())
}

// A build id is the project's name, a colon and a version 4 UUID.
var buildIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9\-_]{1,149}:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// buildID reads an id or ARN of a build. An ARN of another account or region
// gives an id that nobody has.
func buildID(p access.Principal, ref string) (string, error) {
	id, ok := name(p, "build", ref)
	if !ok {
		return "", nil
	}
	if !buildIDPattern.MatchString(id) {
		return "", api.InvalidInputException("Invalid build ID provided")
	}
	return id, nil
}

// StopBuild ends a build: at once if it waits, soon if it runs. Of a finished
// one it returns the final state.
func (s *Service) StopBuild(ctx context.Context, in *api.StopBuildInput) (*api.StopBuildOutput, error) {
	p := access.From(ctx)
	id, err := buildID(p, *in.Id)
	if err != nil {
		return nil, err
	}
	var b store.Build
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		b, err = tx.RequestStop(ctx, p.Scope, id)
		if err != nil || b.State != store.Queued {
			return err
		}
		phase.Leave(b.Doc, api.StatusTypeSTOPPED, "", "", s.Now())
		phase.Complete(b.Doc, api.StatusTypeSTOPPED, s.Now())
		return tx.EndQueuedBuild(ctx, b)
	})
	if absent(err) {
		return nil, api.ResourceNotFoundException("Build %s does not exist", *in.Id)
	} else if err != nil {
		return nil, fmt.Errorf("stop build %s: %w", id, err)
	}
	return &api.StopBuildOutput{Build: b.Doc}, nil
}

// BatchGetBuilds returns the builds that exist, in the order asked for.
func (s *Service) BatchGetBuilds(ctx context.Context, in *api.BatchGetBuildsInput) (*api.BatchGetBuildsOutput, error) {
	p := access.From(ctx)
	ids := make([]string, 0, len(in.Ids))
	asked := map[string]string{} // id -> as it was asked for
	out := &api.BatchGetBuildsOutput{BuildsNotFound: []string{}}
	for _, ref := range in.Ids {
		id, err := buildID(p, ref)
		if err != nil {
			return nil, err
		}
		if id == "" {
			out.BuildsNotFound = append(out.BuildsNotFound, ref)
		} else if _, twice := asked[id]; !twice {
			asked[id] = ref
			ids = append(ids, id)
		}
	}
	var err error
	if out.Builds, err = s.Store.BuildDocuments(ctx, p.Scope, ids); err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	for _, b := range out.Builds {
		delete(asked, *b.Id)
	}
	for _, id := range ids {
		if ref, missing := asked[id]; missing {
			out.BuildsNotFound = append(out.BuildsNotFound, ref)
		}
	}
	return out, nil
}

// ListBuilds lists the ids of a scope's builds, newest first unless asked
// otherwise.
func (s *Service) ListBuilds(ctx context.Context, in *api.ListBuildsInput) (*api.ListBuildsOutput, error) {
	ids, next, err := s.listBuilds(ctx, "", in.SortOrder, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListBuildsOutput{Ids: ids, NextToken: next}, nil
}

// ListBuildsForProject lists the ids of a project's builds by number, highest
// first unless asked otherwise.
func (s *Service) ListBuildsForProject(ctx context.Context, in *api.ListBuildsForProjectInput) (*api.ListBuildsForProjectOutput, error) {
	p := access.From(ctx)
	project, ok := name(p, "project", *in.ProjectName)
	if ok {
		_, err := s.Store.Project(ctx, p.Scope, project)
		ok = err == nil
		if err != nil && !absent(err) {
			return nil, fmt.Errorf("read project %s: %w", project, err)
		}
	}
	if !ok {
		ref := *in.ProjectName
		if !strings.HasPrefix(ref, "arn:") {
			ref = resource(p.Scope, "project", ref)
		}
		return nil, api.ResourceNotFoundException("The provided project %s does not exist", ref)
	}
	ids, next, err := s.listBuilds(ctx, project, in.SortOrder, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &api.ListBuildsForProjectOutput{Ids: ids, NextToken: next}, nil
}

func (s *Service) listBuilds(ctx context.Context, project string, order api.SortOrderType, token *string) ([]string, *string, error) {
	p := access.From(ctx)
	page := store.BuildPage{Project: project, Descending: order != api.SortOrderTypeASCENDING, Limit: listPage + 1}
	query := fmt.Sprintf("builds %s %t", project, page.Descending)
	var err error
	if page.After, err = after[store.BuildKey](p.Scope, query, token); err != nil {
		return nil, nil, err
	}
	keys, err := s.Store.BuildKeys(ctx, p.Scope, page)
	if err != nil {
		return nil, nil, fmt.Errorf("list builds: %w", err)
	}
	var next *string
	if len(keys) > listPage {
		keys = keys[:listPage]
		next = nextToken(p.Scope, query, keys[listPage-1])
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return ids, next, nil
}

// BatchDeleteBuilds deletes finished builds; their logs stay, as at the
// service. Both lists of
// the answer hold ARNs, whatever was asked with.
func (s *Service) BatchDeleteBuilds(ctx context.Context, in *api.BatchDeleteBuildsInput) (*api.BatchDeleteBuildsOutput, error) {
	p := access.From(ctx)
	ids := make([]string, len(in.Ids))
	for i, ref := range in.Ids {
		var err error
		if ids[i], err = buildID(p, ref); err != nil {
			return nil, err
		}
	}
	var out *api.BatchDeleteBuildsOutput
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		out = &api.BatchDeleteBuildsOutput{BuildsDeleted: []string{}, BuildsNotDeleted: []api.BuildNotDeleted{}}
		for i, id := range ids {
			ref := in.Ids[i]
			if id != "" {
				ref = resource(p.Scope, "build", id)
			}
			err := tx.DeleteBuild(ctx, p.Scope, id)
			switch {
			case err == nil:
				out.BuildsDeleted = append(out.BuildsDeleted, ref)
			case absent(err):
				code := "BUILD_NOT_FOUND"
				if _, err := tx.Build(ctx, p.Scope, id); err == nil {
					code = "BUILD_IN_PROGRESS"
				} else if !absent(err) {
					return err
				}
				out.BuildsNotDeleted = append(out.BuildsNotDeleted, api.BuildNotDeleted{Id: &ref, StatusCode: &code})
			default:
				return fmt.Errorf("delete build %s: %w", id, err)
			}
		}
		return s.audit(ctx, tx, "BatchDeleteBuilds", strings.Join(out.BuildsDeleted, " "), "")
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
