package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/arn"
	"github.com/corbel-build/corbel/internal/buildspec"
	"github.com/corbel-build/corbel/internal/store"
)

// isARM says what this machine runs.
func isARM() bool { return runtime.GOARCH == "arm64" }

// searchPath is PATH of an environment whose image says nothing about it.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// variables are the environment variables of one build. A value of StartBuild
// wins over the project's, that over the buildspec's, and nothing wins over
// the predefined ones. Values are literal.
// Source: user guide, "Environment variables in build environments".
type variables struct {
	b        *build
	root     string // /codebuild/output/src<digits>
	own      []api.EnvironmentVariable
	spec     []buildspec.Variable
	late     []string // of own, NAME=value: those whose values are kept elsewhere
	resolved string   // commit of the primary source
	lastExit int
	told     map[string]bool // users whose shells have the variables of the buildspec
}

func newVariables(b *build) *variables {
	return &variables{
		b:    b,
		root: fmt.Sprintf("/codebuild/output/src%09d", rand.IntN(1e9)),
		own:  b.Doc.Environment.EnvironmentVariables,
		told: map[string]bool{},
	}
}

// The kinds of variables whose values are kept elsewhere, as a buildspec names
// them.
var kinds = map[api.EnvironmentVariableType]string{
	api.EnvironmentVariableTypePARAMETER_STORE: buildspec.ParameterStore,
	api.EnvironmentVariableTypeSECRETS_MANAGER: buildspec.SecretsManager,
}

// resolve reads the values that are kept elsewhere and hides them from the log.
// The document keeps what names them.
func (v *variables) resolve(ctx context.Context) error {
	if v.b.untrusted() != "" {
		v.withhold()
		return nil
	}
	read := func(name, kind, reference string) (string, error) {
		get := map[string]func(context.Context, store.Scope, string) (api.Secret, error){
			buildspec.ParameterStore: v.b.r.Parameters, buildspec.SecretsManager: v.b.r.Secrets,
		}[kind]
		secret, err := get(ctx, v.b.Scope, reference)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		} else if err != nil {
			return "", failed(codeClient, "The value of the environment variable %s could not be read: %v", name, err)
		}
		v.b.log.hide(secret)
		return secret.Reveal(), nil
	}
	for _, e := range v.own {
		if kind := kinds[e.Type]; kind != "" {
			text, err := read(*e.Name, kind, value(e.Value))
			if err != nil {
				return err
			}
			v.late = append(v.late, *e.Name+"="+text)
		}
	}
	for i, e := range v.spec {
		if e.Kind == "" || v.isOwn(e.Name) {
			continue
		}
		text, err := read(e.Name, e.Kind, e.Value)
		if err != nil {
			return err
		}
		v.spec[i].Value = text
	}
	return nil
}

// withhold leaves out the variables whose values are kept elsewhere.
func (v *variables) withhold() {
	for _, e := range v.own {
		if kinds[e.Type] != "" {
			v.b.log.agent("Warning: the environment variable %s is not set, since this build gets no secrets", *e.Name)
		}
	}
	v.spec = slices.DeleteFunc(slices.Clone(v.spec), func(e buildspec.Variable) bool {
		secret := e.Kind != "" && !v.isOwn(e.Name)
		if secret {
			v.b.log.agent("Warning: the environment variable %s is not set, since this build gets no secrets", e.Name)
		}
		return secret
	})
}

// isOwn reports whether the project or StartBuild has the variable, whose value
// then wins.
func (v *variables) isOwn(name string) bool {
	return slices.ContainsFunc(v.own, func(e api.EnvironmentVariable) bool { return *e.Name == name })
}

// srcDir is where the source with the identifier is inside; "" is the primary
// one.
func (v *variables) srcDir(id string) string {
	src := v.b.Doc.Source
	root := v.root
	if id != "" {
		root += "/" + id
		for i := range v.b.Doc.SecondarySources {
			if value(v.b.Doc.SecondarySources[i].SourceIdentifier) == id {
				src = &v.b.Doc.SecondarySources[i]
			}
		}
	}
	root += "/src"
	u, err := url.Parse(value(src.Location))
	if err != nil || u.Host == "" {
		return root
	}
	return path.Join(root, u.Hostname(), strings.TrimSuffix(path.Clean("/"+u.Path), ".git"))
}

// predefined lists the variables that Corbel sets itself.
func (v *variables) predefined() map[string]string {
	d := v.b.Doc
	vars := map[string]string{
		"AWS_REGION":               v.b.Region,
		"AWS_DEFAULT_REGION":       v.b.Region,
		"HOME":                     "/root",
		"CI":                       "true",
		"CODEBUILD_CI":             "true",
		"CODEBUILD_BUILD_ARN":      *d.Arn,
		"CODEBUILD_BUILD_ID":       *d.Id,
		"CODEBUILD_BUILD_NUMBER":   number(d.BuildNumber),
		"CODEBUILD_BUILD_IMAGE":    *d.Environment.Image,
		"CODEBUILD_BUILD_URL":      v.b.r.buildURL(v.b.Build),
		"CODEBUILD_PROJECT_ARN":    arn.CodeBuild(v.b.Region, v.b.Account, "project/"+*d.ProjectName).String(),
		"CODEBUILD_INITIATOR":      value(d.Initiator),
		"CODEBUILD_KMS_KEY_ID":     value(d.EncryptionKey),
		"CODEBUILD_LOG_PATH":       v.b.id,
		"CODEBUILD_START_TIME":     strconv.FormatInt(d.StartTime.UnixMilli(), 10),
		"CODEBUILD_SRC_DIR":        v.srcDir(""),
		"CODEBUILD_SOURCE_VERSION": value(d.SourceVersion),
	}
	if url := value(d.Source.Location); url != "" {
		vars["CODEBUILD_SOURCE_REPO_URL"] = url
	}
	if v.resolved != "" {
		vars["CODEBUILD_RESOLVED_SOURCE_VERSION"] = v.resolved
	}
	if t := v.b.Trigger; t != nil {
		maps.Copy(vars, t.Variables())
	}
	versions := map[string]string{}
	for _, s := range d.SecondarySourceVersions {
		versions[*s.SourceIdentifier] = *s.SourceVersion
	}
	for _, s := range d.SecondarySources {
		id := value(s.SourceIdentifier)
		vars["CODEBUILD_SRC_DIR_"+id] = v.srcDir(id)
		vars["CODEBUILD_SOURCE_REPO_URL_"+id] = value(s.Location)
		vars["CODEBUILD_SOURCE_VERSION_"+id] = versions[id]
	}
	return vars
}

// fixed is what is known before the source is there, as NAME=value.
func (v *variables) fixed() []string {
	vars := map[string]string{"PATH": searchPath, "LANG": "C.UTF-8"}
	for _, e := range v.own {
		if kinds[e.Type] == "" {
			vars[*e.Name] = value(e.Value)
		}
	}
	maps.Copy(vars, v.predefined())
	out := make([]string, 0, len(vars))
	for name, val := range vars {
		out = append(out, name+"="+val)
	}
	return out
}

// command is what a command's shell is told: what changes from command to
// command, and once what the source and its buildspec add. A build may change
// those, so they are not told again.
func (v *variables) command(user string, succeeding bool) []string {
	s := "0"
	if succeeding {
		s = "1"
	}
	out := []string{"CODEBUILD_BUILD_SUCCEEDING=" + s, "CODEBUILD_LAST_EXIT=" + strconv.Itoa(v.lastExit)}
	if v.told[user] {
		return out
	}
	v.told[user] = true
	if v.resolved != "" {
		out = append(out, "CODEBUILD_RESOLVED_SOURCE_VERSION="+v.resolved)
	}
	if v.b.gate != nil {
		out = append(out, "GIT_CONFIG_SYSTEM="+gitConfig)
	}
	predefined := v.predefined()
	for _, e := range v.late {
		name, _, _ := strings.Cut(e, "=")
		if _, set := predefined[name]; !set {
			out = append(out, e)
		}
	}
	for _, e := range v.spec {
		if _, set := predefined[e.Name]; !set && !v.isOwn(e.Name) {
			out = append(out, e.Name+"="+e.Value)
		}
	}
	return out
}

// clone copies a document, so that one can be written while the other goes
// on.
func clone(b *api.Build) (*api.Build, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("copy build document: %w", err)
	}
	out := new(api.Build)
	return out, json.Unmarshal(data, out)
}
