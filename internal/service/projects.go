package service

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/store"
)

// Minutes that a project's builds have unless it says otherwise.
// Source: API reference, CreateProject, timeoutInMinutes; the queue's 480 is
// what the service answers.
const (
	defaultTimeout       = 60
	defaultQueuedTimeout = 480
)

// CreateProject stores a new project with the service's defaults filled in,
// so that what is read back later is what this call answers.
func (s *Service) CreateProject(ctx context.Context, in *api.CreateProjectInput) (*api.CreateProjectOutput, error) {
	p := access.From(ctx)
	now := api.At(s.Now())
	project := &api.Project{
		Name:              new(*in.Name),
		Arn:               new(resource(p.Scope, "project", *in.Name)),
		Created:           now,
		LastModified:      now,
		ProjectVisibility: api.ProjectVisibilityTypePRIVATE,
	}
	// The two inputs have the same members, so a new project is an empty one
	// updated.
	change := (*api.UpdateProjectInput)(in)
	s.apply(project, change)
	if err := checkProject(p.Scope, project); err != nil {
		return nil, err
	}
	fillProject(p.Scope, project)
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := checkTokens(ctx, tx, p.Scope, change); err != nil {
			return err
		}
		if err := tx.CreateProject(ctx, p.Scope, project); errors.Is(err, store.ErrExists) {
			return api.ResourceAlreadyExistsException("Project already exists: %s", *project.Arn)
		} else if err != nil {
			return fmt.Errorf("store project %s: %w", *project.Arn, err)
		}
		return s.audit(ctx, tx, "CreateProject", *project.Arn, "")
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateProjectOutput{Project: project}, nil
}

// UpdateProject changes the members that are given and keeps the others. A
// structure or a list replaces the old one whole; empty ones clear it.
func (s *Service) UpdateProject(ctx context.Context, in *api.UpdateProjectInput) (*api.UpdateProjectOutput, error) {
	p := access.From(ctx)
	var project *api.Project
	err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
		if project, err = s.project(ctx, tx, p.Scope, *in.Name); err != nil {
			return err
		}
		s.apply(project, in)
		if err := checkProject(p.Scope, project); err != nil {
			return err
		}
		if err := checkTokens(ctx, tx, p.Scope, in); err != nil {
			return err
		}
		fillProject(p.Scope, project)
		project.LastModified = api.At(s.Now())
		if err := tx.UpdateProject(ctx, p.Scope, project); err != nil {
			return fmt.Errorf("store project %s: %w", *project.Arn, err)
		}
		return s.audit(ctx, tx, "UpdateProject", *project.Arn, "")
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateProjectOutput{Project: project}, nil
}

// DeleteProject removes a project with its webhook and keeps its builds. One
// that does not exist is deleted already.
func (s *Service) DeleteProject(ctx context.Context, in *api.DeleteProjectInput) (*api.DeleteProjectOutput, error) {
	p := access.From(ctx)
	project, ok := name(p, "project", *in.Name)
	if !ok {
		return &api.DeleteProjectOutput{}, nil
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.Project(ctx, p.Scope, project)
		if absent(err) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read project %s: %w", project, err)
		}
		if old.Webhook != nil {
			if err := s.dropWebhook(ctx, tx, old, false); err != nil {
				return err
			}
		}
		if err := tx.DeleteProject(ctx, p.Scope, project); err != nil {
			return fmt.Errorf("delete project %s: %w", project, err)
		}
		return s.audit(ctx, tx, "DeleteProject", resource(p.Scope, "project", project), "")
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteProjectOutput{}, nil
}

// BatchGetProjects returns the projects that exist, in the order asked for,
// and the rest as it was asked for.
func (s *Service) BatchGetProjects(ctx context.Context, in *api.BatchGetProjectsInput) (*api.BatchGetProjectsOutput, error) {
	p := access.From(ctx)
	out := &api.BatchGetProjectsOutput{Projects: []api.Project{}, ProjectsNotFound: []string{}}
	seen := map[string]bool{} // a name and its ARN are one project
	for _, ref := range in.Names {
		id, ok := name(p, "project", ref)
		if !ok {
			out.ProjectsNotFound = append(out.ProjectsNotFound, ref)
			continue
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		project, err := s.Store.Project(ctx, p.Scope, id)
		switch {
		case absent(err):
			out.ProjectsNotFound = append(out.ProjectsNotFound, ref)
		case err != nil:
			return nil, fmt.Errorf("read project %s: %w", id, err)
		default:
			out.Projects = append(out.Projects, *project)
		}
	}
	return out, nil
}

// ListProjects lists the names of a scope's projects. The service does not
// document its order when none is asked for; here it is by name, ascending.
func (s *Service) ListProjects(ctx context.Context, in *api.ListProjectsInput) (*api.ListProjectsOutput, error) {
	p := access.From(ctx)
	page := store.ProjectPage{SortBy: in.SortBy, Descending: in.SortOrder == api.SortOrderTypeDESCENDING, Limit: listPage + 1}
	if page.SortBy == "" {
		page.SortBy = api.ProjectSortByTypeNAME
	}
	query := fmt.Sprintf("projects %s %t", page.SortBy, page.Descending)
	var err error
	if page.After, err = after[store.ProjectKey](p.Scope, query, in.NextToken); err != nil {
		return nil, err
	}
	keys, err := s.Store.ProjectNames(ctx, p.Scope, page)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	out := &api.ListProjectsOutput{Projects: []string{}}
	if len(keys) > listPage {
		keys = keys[:listPage]
		out.NextToken = nextToken(p.Scope, query, keys[listPage-1])
	}
	for _, k := range keys {
		out.Projects = append(out.Projects, k.Name)
	}
	return out, nil
}

// project reads the project that ref names, by name or ARN.
func (s *Service) project(ctx context.Context, r store.Reader, scope store.Scope, ref string) (*api.Project, error) {
	id, ok := name(access.Principal{Scope: scope}, "project", ref)
	if ok {
		project, err := r.Project(ctx, scope, id)
		if err == nil {
			return project, nil
		}
		if !absent(err) {
			return nil, fmt.Errorf("read project %s: %w", id, err)
		}
	}
	if !strings.HasPrefix(ref, "arn:") {
		ref = resource(scope, "project", ref)
	}
	return nil, api.ResourceNotFoundException("Project cannot be found: %s", ref)
}

// apply puts the members that in has into p, each in place of the old one.
// What clears a member at the service clears it here: an empty string, list or
// structure, and -1 for the limit of concurrent builds. What fillProject will
// change is copied, so that in stays as it is.
func (s *Service) apply(p *api.Project, in *api.UpdateProjectInput) {
	p.Description = clearable(p.Description, in.Description)
	p.SourceVersion = clearable(p.SourceVersion, in.SourceVersion)
	p.EncryptionKey = clearable(p.EncryptionKey, in.EncryptionKey)
	p.ServiceRole = override(p.ServiceRole, in.ServiceRole)
	p.TimeoutInMinutes = override(p.TimeoutInMinutes, in.TimeoutInMinutes)
	p.QueuedTimeoutInMinutes = override(p.QueuedTimeoutInMinutes, in.QueuedTimeoutInMinutes)
	p.AutoRetryLimit = override(p.AutoRetryLimit, in.AutoRetryLimit)
	p.LogsConfig = override(p.LogsConfig, in.LogsConfig)
	p.Cache = override(p.Cache, in.Cache)
	if in.Source != nil {
		p.Source = new(*in.Source)
	}
	if in.Artifacts != nil {
		p.Artifacts = new(*in.Artifacts)
	}
	if in.Environment != nil {
		p.Environment = new(*in.Environment)
	}
	if in.SecondarySources != nil {
		p.SecondarySources = slices.Clone(in.SecondarySources)
	}
	if in.SecondarySourceVersions != nil {
		p.SecondarySourceVersions = in.SecondarySourceVersions
	}
	if in.SecondaryArtifacts != nil {
		p.SecondaryArtifacts = slices.Clone(in.SecondaryArtifacts)
	}
	if in.Tags != nil {
		p.Tags = in.Tags
	}
	if in.FileSystemLocations != nil {
		p.FileSystemLocations = in.FileSystemLocations
	}
	if len(p.FileSystemLocations) == 0 {
		p.FileSystemLocations = nil
	}
	if v := in.VpcConfig; v != nil {
		p.VpcConfig = v
		if v.VpcId == nil && len(v.Subnets) == 0 && len(v.SecurityGroupIds) == 0 {
			p.VpcConfig = nil
		}
	}
	if b := in.BuildBatchConfig; b != nil {
		p.BuildBatchConfig = b
		if *b == (api.ProjectBuildBatchConfig{}) {
			p.BuildBatchConfig = nil
		}
	}
	if n := in.ConcurrentBuildLimit; n != nil {
		p.ConcurrentBuildLimit = n
		if *n == -1 {
			p.ConcurrentBuildLimit = nil
		}
	}
	if on := in.BadgeEnabled; on != nil && (p.Badge == nil || *on != *p.Badge.BadgeEnabled) {
		p.Badge = &api.ProjectBadge{BadgeEnabled: on}
		if *on { // an address of its own, which says nothing about the project
			p.Badge.BadgeRequestUrl = new(s.URL + "/badges?uuid=" + uuid.NewString())
		}
	}
	if id := store.BadgeOf(p); id != "" {
		branch := "main"
		if v := value(p.SourceVersion); v != "" {
			branch = strings.TrimPrefix(v, "refs/heads/")
		}
		p.Badge.BadgeRequestUrl = new(s.URL + "/badges?uuid=" + id + "&branch=" + url.QueryEscape(branch))
	}
}

// clearable is override for a string that an empty one clears.
func clearable(old, said *string) *string {
	if said != nil && *said == "" {
		return nil
	}
	return override(old, said)
}

// fillProject gives p what the service answers for members that nobody set. It
// changes nothing in a project that it has filled before.
func fillProject(scope store.Scope, p *api.Project) {
	p.TimeoutInMinutes = override(new(defaultTimeout), p.TimeoutInMinutes)
	p.QueuedTimeoutInMinutes = override(new(defaultQueuedTimeout), p.QueuedTimeoutInMinutes)
	p.AutoRetryLimit = override(new(0), p.AutoRetryLimit)
	if p.EncryptionKey == nil {
		key := arn.ARN{Partition: arn.Partition(scope.Region), Service: "kms", Region: scope.Region, Account: scope.Account, Resource: "alias/aws/s3"}
		p.EncryptionKey = new(key.String())
	}
	if p.Cache == nil {
		p.Cache = &api.ProjectCache{Type: api.CacheTypeNO_CACHE}
	}
	if p.Badge == nil {
		p.Badge = &api.ProjectBadge{BadgeEnabled: new(false)}
	}
	p.LogsConfig = fillLogs(p.LogsConfig)
	fillSource(p.Source)
	for i := range p.SecondarySources {
		fillSource(&p.SecondarySources[i])
	}
	fillArtifacts(p.Artifacts, *p.Name)
	for i := range p.SecondaryArtifacts {
		fillArtifacts(&p.SecondaryArtifacts[i], *p.Name)
	}
	fillEnvironment(p.Environment)
	p.SecondarySources = present(p.SecondarySources)
	p.SecondarySourceVersions = present(p.SecondarySourceVersions)
	p.SecondaryArtifacts = present(p.SecondaryArtifacts)
	p.Tags = present(p.Tags)
}

// present is list, empty rather than absent in an answer.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// gitHost is whether sources of a type come from a provider that takes commit
// statuses and tokens. The names of those types are also server types.
func gitHost(t api.SourceType) bool {
	switch t {
	case api.SourceTypeNO_SOURCE, api.SourceTypeS3, api.SourceTypeCODECOMMIT, api.SourceTypeCODEPIPELINE:
		return false
	}
	return true
}

// fillSource sets the defaults of a source. There is none for
// gitSubmodulesConfig: Terraform would want to remove it again.
func fillSource(src *api.ProjectSource) {
	src.InsecureSsl = override(new(false), src.InsecureSsl)
	if gitHost(src.Type) {
		src.ReportBuildStatus = override(new(false), src.ReportBuildStatus)
	}
}

// fillArtifacts sets the defaults of artifacts. Of NO_ARTIFACTS only the type
// and the identifier stay; the rest is documented as ignored.
// Source: API reference, ProjectArtifacts.
func fillArtifacts(a *api.ProjectArtifacts, project string) {
	if a.Type == api.ArtifactsTypeNO_ARTIFACTS {
		*a = api.ProjectArtifacts{Type: a.Type, ArtifactIdentifier: a.ArtifactIdentifier}
		return
	}
	if value(a.Name) == "" {
		a.Name = new(project)
	}
	if a.Packaging == "" {
		a.Packaging = api.ArtifactPackagingNONE
	}
	if a.Type == api.ArtifactsTypeS3 {
		if a.NamespaceType == "" {
			a.NamespaceType = api.ArtifactNamespaceNONE
		}
		a.EncryptionDisabled = override(new(false), a.EncryptionDisabled)
		a.OverrideArtifactName = override(new(false), a.OverrideArtifactName)
	}
}

// fillEnvironment sets the defaults of an environment, with a list of
// variables of its own.
func fillEnvironment(e *api.ProjectEnvironment) {
	e.PrivilegedMode = override(new(false), e.PrivilegedMode)
	if e.ImagePullCredentialsType == "" {
		e.ImagePullCredentialsType = api.ImagePullCredentialsTypeCODEBUILD
	}
	e.EnvironmentVariables = append([]api.EnvironmentVariable{}, e.EnvironmentVariables...)
	for i := range e.EnvironmentVariables {
		if v := &e.EnvironmentVariables[i]; v.Type == "" {
			v.Type = api.EnvironmentVariableTypePLAINTEXT
		}
	}
}

// fillLogs returns l, which may be nil, with the defaults: CloudWatch Logs
// are on, logs in S3 are off.
func fillLogs(l *api.LogsConfig) *api.LogsConfig {
	out := api.LogsConfig{}
	if l != nil {
		out = *l
	}
	if out.CloudWatchLogs == nil {
		out.CloudWatchLogs = &api.CloudWatchLogsConfig{Status: api.LogsConfigStatusTypeENABLED}
	}
	s3 := api.S3LogsConfig{Status: api.LogsConfigStatusTypeDISABLED}
	if out.S3Logs != nil {
		s3 = *out.S3Logs
	}
	s3.EncryptionDisabled = override(new(false), s3.EncryptionDisabled)
	out.S3Logs = &s3
	return &out
}
