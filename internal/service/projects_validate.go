package service

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/store"
)

// The rules of this file cross members; the constraint table has been applied
// before. A rule that goes by presence refuses even a false or empty value, as
// the service does. Whatever passes a check still passes after its defaults
// were filled in, since updates check the whole project again.
//
// Where a text was observed at the service it is the service's; clients match
// some of them. An element of a list may be null on the wire and is an empty
// structure here.

// webhookLocation is the location of a source whose repository each webhook
// delivery names.
// Source: API reference, ProjectSource, location.
const webhookLocation = "CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION"

// checkProject applies the rules to a whole project.
func checkProject(scope store.Scope, p *api.Project) error {
	if err := checkRole(scope, *p.ServiceRole); err != nil {
		return err
	}
	if err := checkSource(p.Source, true); err != nil {
		return err
	}
	if err := checkSecondarySources(p.SecondarySources); err != nil {
		return err
	}
	for _, v := range p.SecondarySourceVersions {
		if err := checkIdentifier(v.SourceIdentifier); err != nil {
			return err
		}
	}
	if err := checkArtifacts(p.Artifacts, p.SecondaryArtifacts); err != nil {
		return err
	}
	if (p.Source.Type == api.SourceTypeCODEPIPELINE) != (p.Artifacts.Type == api.ArtifactsTypeCODEPIPELINE) {
		return api.InvalidInputException("Invalid input: when using CodePipeline both sourceType, and artifactType must be set to: CODEPIPELINE")
	}
	// The text is the service's for CodePipeline.
	if name := map[api.SourceType]string{api.SourceTypeS3: "S3", api.SourceTypeCODEPIPELINE: "CodePipeline"}[p.Source.Type]; name != "" && p.Badge != nil && value(p.Badge.BadgeEnabled) {
		return api.InvalidInputException("Build badges are not supported for %s source", name)
	}
	if err := checkEnvironment(p.Environment); err != nil {
		return err
	}
	if err := checkCache(p.Cache); err != nil {
		return err
	}
	if l := p.LogsConfig; l != nil {
		if err := checkLogs(l); err != nil {
			return err
		}
	}
	if err := checkNetwork(p); err != nil {
		return err
	}
	if b := p.BuildBatchConfig; b != nil {
		if err := checkBatch(scope, b); err != nil {
			return err
		}
	}
	if n := p.ConcurrentBuildLimit; n != nil && *n < 1 {
		return api.InvalidInputException("Invalid input: concurrentBuildLimit must be at least 1. To remove the limit, set it to -1")
	}
	if n := p.AutoRetryLimit; n != nil && *n < 0 {
		return api.InvalidInputException("Invalid input: autoRetryLimit must not be negative")
	}
	return checkTags(p.Tags)
}

// checkRole takes the ARN of a role in the caller's account. There is no IAM
// here that could say more.
func checkRole(scope store.Scope, role string) error {
	a, err := arn.Parse(role)
	if err != nil || a.Service != "iam" || a.Region != "" || !strings.HasPrefix(a.Resource, "role/") || strings.HasSuffix(a.Resource, "/") {
		return api.InvalidInputException("Invalid service role")
	}
	if a.Account != scope.Account {
		return api.InvalidInputException("Invalid service role: Service role account ID does not match caller's account")
	}
	return nil
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9_]{1,127}$`)

func checkIdentifier(id *string) error {
	if !identifier.MatchString(value(id)) {
		return api.InvalidInputException("Invalid input: identifier must contain only alphanumeric characters and underscores and be less than 128 characters in length")
	}
	return nil
}

// checkSource applies the rules to one source. Hosts are not looked up.
func checkSource(src *api.ProjectSource, primary bool) error {
	if src.Type == "" {
		return api.InvalidInputException("Invalid type provided: Project source type")
	}
	if src.SourceIdentifier != nil || !primary {
		if err := checkIdentifier(src.SourceIdentifier); err != nil {
			return err
		}
	}
	if err := checkLocation(src); err != nil {
		return err
	}
	// A path would be a file of the source that there is none of.
	if spec := value(src.Buildspec); primary && src.Type == api.SourceTypeNO_SOURCE && !inline(spec) && !strings.HasPrefix(spec, "arn:") {
		return api.InvalidInputException("Invalid project source: source type NO_SOURCE needs an inline buildspec")
	}
	if src.ReportBuildStatus != nil && !gitHost(src.Type) {
		return api.InvalidInputException("Source type %s does not support ReportBuildStatus", src.Type)
	}
	if src.GitSubmodulesConfig != nil && !gitHost(src.Type) && src.Type != api.SourceTypeCODECOMMIT {
		return api.InvalidInputException("Source type %s does not support GitSubmodulesConfig", src.Type)
	}
	if a := src.Auth; a != nil && a.Type != api.SourceAuthTypeOAUTH {
		if _, err := arn.Parse(value(a.Resource)); err != nil {
			return api.InvalidInputException("Invalid project source: auth type %s needs a resource, the ARN of a connection or a secret", a.Type)
		}
	}
	return nil
}

func checkLocation(src *api.ProjectSource) error {
	location := value(src.Location)
	switch src.Type {
	case api.SourceTypeCODEPIPELINE: // it may have one, which is ignored
		return nil
	case api.SourceTypeNO_SOURCE:
		if location != "" {
			return api.InvalidInputException("Invalid project source: source type NO_SOURCE must not have a location")
		}
		return nil
	}
	if location == "" {
		return api.InvalidInputException("Project source location is required")
	}
	if src.Type == api.SourceTypeS3 || location == webhookLocation {
		return nil
	}
	// Neither error may repeat the location: it may hold a password.
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return api.InvalidInputException("Invalid project source: the location of source type %s must be an HTTPS clone URL", src.Type)
	}
	if u.User != nil {
		if _, password := u.User.Password(); password || src.Type != api.SourceTypeBITBUCKET {
			return api.InvalidInputException("Invalid project source: the location must not contain a user name or password, which everyone who sees the project could read. Take it out and store the token with import-source-credentials")
		}
	}
	return nil
}

// inline reports whether a buildspec is YAML rather than a path. The runner
// tells them apart in the same way.
func inline(text string) bool {
	return strings.Contains(text, "\n") || strings.HasPrefix(text, "{") || strings.HasPrefix(strings.TrimSpace(text), "version:")
}

// checkSecondarySources applies the rules to the secondary sources, each of
// which has an identifier of its own.
func checkSecondarySources(list []api.ProjectSource) error {
	seen := map[string]bool{}
	for i := range list {
		if err := checkSource(&list[i], false); err != nil {
			return err
		}
		id := *list[i].SourceIdentifier
		if seen[id] {
			return api.InvalidInputException("Invalid project source: the sourceIdentifier %s is used twice", id)
		}
		seen[id] = true
	}
	return nil
}

// serverNames is what the service's messages call the providers.
var serverNames = map[api.SourceType]string{
	api.SourceTypeGITHUB:                "GitHub",
	api.SourceTypeGITHUB_ENTERPRISE:     "GitHub Enterprise",
	api.SourceTypeBITBUCKET:             "Bitbucket",
	api.SourceTypeGITLAB:                "GitLab",
	api.SourceTypeGITLAB_SELF_MANAGED:   "GitLab Self Managed",
	api.SourceTypeBITBUCKET_DATA_CENTER: "Bitbucket Data Center",
	api.SourceTypeGITEA:                 "Gitea",
}

// checkTokens looks for the stored token that a source with auth type OAUTH
// asks for. Only sources of this call count: a project whose token was deleted
// can still be changed.
func checkTokens(ctx context.Context, r store.Reader, scope store.Scope, in *api.UpdateProjectInput) error {
	sources := in.SecondarySources
	if in.Source != nil {
		sources = append(slices.Clone(sources), *in.Source)
	}
	for _, src := range sources {
		if src.Auth == nil || src.Auth.Type != api.SourceAuthTypeOAUTH || !gitHost(src.Type) {
			continue
		}
		_, err := r.Credential(ctx, scope, api.ServerType(src.Type))
		if absent(err) {
			return api.InvalidInputException("No Access token found, please visit AWS CodeBuild console to connect to %s or store one with import-source-credentials", serverNames[src.Type])
		} else if err != nil {
			return fmt.Errorf("read credential for %s: %w", src.Type, err)
		}
	}
	return nil
}

// checkArtifacts applies the rules to the artifacts of a project or a build.
func checkArtifacts(primary *api.ProjectArtifacts, secondary []api.ProjectArtifacts) error {
	if primary.ArtifactIdentifier != nil {
		if err := checkIdentifier(primary.ArtifactIdentifier); err != nil {
			return err
		}
	}
	if err := checkArtifact(primary); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range secondary {
		a := &secondary[i]
		if err := checkArtifact(a); err != nil {
			return err
		}
		if a.Type == api.ArtifactsTypeCODEPIPELINE {
			return api.InvalidInputException("Invalid artifacts: secondary artifacts cannot have type CODEPIPELINE")
		}
		if err := checkIdentifier(a.ArtifactIdentifier); err != nil {
			return err
		}
		if seen[*a.ArtifactIdentifier] {
			return api.InvalidInputException("Invalid artifacts: the artifactIdentifier %s is used twice", *a.ArtifactIdentifier)
		}
		seen[*a.ArtifactIdentifier] = true
	}
	return nil
}

func checkArtifact(a *api.ProjectArtifacts) error {
	switch a.Type {
	case api.ArtifactsTypeNO_ARTIFACTS:
		var extra string
		switch {
		case a.Location != nil:
			extra = "location"
		case a.Name != nil:
			extra = "output name"
		case a.EncryptionDisabled != nil:
			extra = "encryptionDisabled"
		default:
			return nil
		}
		return api.InvalidInputException("Invalid artifacts: artifact type NO_ARTIFACTS should have null %s", extra)
	case api.ArtifactsTypeS3:
		if l := value(a.Location); l == "" || strings.Contains(l, "/") {
			return api.InvalidInputException("Invalid artifacts: the location of artifact type S3 must be the name of a bucket, without a path")
		}
	case "":
		return api.InvalidInputException("Invalid type provided: Artifact type")
	}
	return nil
}

// checkEnvironment applies the rules to an environment. Images are not looked
// up. Variables that begin with CODEBUILD_ are accepted, as at the service;
// the predefined ones win over them when the build runs.
func checkEnvironment(e *api.ProjectEnvironment) error {
	curated := strings.HasPrefix(*e.Image, "aws/codebuild/")
	role := e.ImagePullCredentialsType == api.ImagePullCredentialsTypeSERVICE_ROLE
	if curated && role {
		return api.InvalidInputException("Invalid environment: the image %s is one of CodeBuild's own, which need imagePullCredentialsType CODEBUILD", *e.Image)
	}
	if e.RegistryCredential != nil {
		if !role {
			return api.InvalidInputException("Invalid environment: a registryCredential needs imagePullCredentialsType SERVICE_ROLE")
		}
		if strings.Contains(*e.Image, ".dkr.ecr.") {
			return api.InvalidInputException("Invalid environment: an image in Amazon ECR cannot have a registryCredential")
		}
	}
	if c := value(e.Certificate); c != "" {
		if !strings.Contains(c, "/") || !strings.HasSuffix(c, ".pem") && !strings.HasSuffix(c, ".zip") {
			return api.InvalidInputException("Invalid environment: the certificate must be bucket/key of a file that ends in .pem or .zip")
		}
	}
	for _, v := range e.EnvironmentVariables {
		// Such a one could not be handed to a process.
		if value(v.Name) == "" || strings.ContainsAny(*v.Name, "=\x00") || strings.Contains(value(v.Value), "\x00") {
			return api.InvalidInputException("Invalid environment variable: a name must not be empty or contain =, and neither name nor value may contain NUL")
		}
	}
	return nil
}

// checkCache applies the rules to a cache. LOCAL_DOCKER_LAYER_CACHE without
// privilegedMode has no effect but is accepted, as at the service.
func checkCache(c *api.ProjectCache) error {
	switch {
	case c == nil:
	case c.Type == api.CacheTypeS3 && value(c.Location) == "":
		return api.InvalidInputException("Invalid cache: cache type S3 needs a location, a bucket with an optional prefix")
	case c.Type == api.CacheTypeLOCAL && len(c.Modes) == 0:
		return api.InvalidInputException("Invalid cache: cache type LOCAL needs at least one mode")
	}
	return nil
}

// checkLogs applies the rules to where logs go.
func checkLogs(l *api.LogsConfig) error {
	if s3 := l.S3Logs; s3 != nil && s3.Status == api.LogsConfigStatusTypeENABLED && value(s3.Location) == "" {
		return api.InvalidInputException("Invalid logsConfig: logs in S3 need a location, bucket/prefix")
	}
	return nil
}

// checkNetwork applies the rules to the VPC and the file systems in it.
func checkNetwork(p *api.Project) error {
	if v := p.VpcConfig; v != nil {
		if value(v.VpcId) == "" || len(v.Subnets) == 0 || len(v.SecurityGroupIds) == 0 {
			return api.InvalidInputException("Invalid vpcConfig: vpcId, subnets and securityGroupIds are required together")
		}
		if f := p.Environment.Fleet; f != nil && value(f.FleetArn) != "" {
			return api.InvalidInputException("Invalid vpcConfig: a project that uses a fleet has the fleet's VPC")
		}
	}
	for _, f := range p.FileSystemLocations {
		if f.Identifier != nil {
			if err := checkIdentifier(f.Identifier); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBatch applies the rules to the settings of batch builds.
// Source of the bounds: API reference, BatchRestrictions and
// ProjectBuildBatchConfig.
func checkBatch(scope store.Scope, b *api.ProjectBuildBatchConfig) error {
	if b.ServiceRole != nil {
		if err := checkRole(scope, *b.ServiceRole); err != nil {
			return err
		}
	}
	if r := b.Restrictions; r != nil && r.MaximumBuildsAllowed != nil && (*r.MaximumBuildsAllowed < 1 || *r.MaximumBuildsAllowed > 100) {
		return api.InvalidInputException("Invalid buildBatchConfig: maximumBuildsAllowed must be between 1 and 100")
	}
	if t := b.TimeoutInMins; t != nil && (*t < 5 || *t > 2160) {
		return api.InvalidInputException("Invalid buildBatchConfig: timeoutInMins must be between 5 and 2160")
	}
	return nil
}

func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch key := value(t.Key); {
		case key == "":
			return api.InvalidInputException("Invalid input: a tag needs a key")
		case seen[key]:
			return api.InvalidInputException("Invalid input: the tag key %s is used twice", key)
		default:
			seen[key] = true
		}
	}
	return nil
}
