package corbel_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// The life of a secret and of a parameter, with the real AWS CLI.
func TestSecrets_AWSCLI(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	s := serve(t, "-builds", "0")
	ask := func(args ...string) map[string]any {
		t.Helper()
		out := s.must("aws", args...)
		var m map[string]any
		if strings.TrimSpace(out) == "" {
			return nil
		}
		if err := json.Unmarshal([]byte(out), &m); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return m
	}
	refused := func(code, words string, args ...string) {
		t.Helper()
		out, err := s.run("aws", args...)
		if err == nil || !strings.Contains(out, "("+code+")") || !strings.Contains(out, words) {
			t.Errorf("aws %q: %s, want %s that says %q", args, out, code, words)
		}
	}
	first := ask("secretsmanager", "create-secret", "--name", "team/hub", "--secret-string", "PlantedSecretOne", "--description", "d", "--tags", "Key=codebuild:source,Value=")
	arn := first["ARN"].(string)
	if !strings.Contains(arn, ":secret:team/hub-") || first["VersionId"] == "" {
		t.Errorf("create-secret answers %v", first)
	}
	refused("ResourceExistsException", "already exists", "secretsmanager", "create-secret", "--name", "team/hub", "--secret-string", "x")
	ask("secretsmanager", "put-secret-value", "--secret-id", "team/hub", "--secret-string", "PlantedSecretTwo")
	for _, id := range []string{"team/hub", arn, arn[:len(arn)-7]} {
		if got := ask("secretsmanager", "get-secret-value", "--secret-id", id); got["SecretString"] != "PlantedSecretTwo" || got["ARN"] != arn {
			t.Errorf("get-secret-value of %s answers %v", id, got)
		}
	}
	if got := ask("secretsmanager", "get-secret-value", "--secret-id", arn, "--version-stage", "AWSPREVIOUS"); got["SecretString"] != "PlantedSecretOne" || got["VersionId"] != first["VersionId"] {
		t.Errorf("the previous version is %v", got)
	}
	refused("ResourceNotFoundException", "staging label: none", "secretsmanager", "get-secret-value", "--secret-id", arn, "--version-stage", "none")
	refused("InvalidRequestException", "not associated", "secretsmanager", "get-secret-value", "--secret-id", arn, "--version-stage", "AWSCURRENT", "--version-id", first["VersionId"].(string))
	refused("ResourceNotFoundException", "can't find the specified secret.", "secretsmanager", "get-secret-value", "--secret-id", "nobody")
	const token = "11111111-2222-3333-4444-555555555555"
	ask("secretsmanager", "put-secret-value", "--secret-id", arn, "--secret-string", "PlantedSecretThree", "--client-request-token", token)
	ask("secretsmanager", "put-secret-value", "--secret-id", arn, "--secret-string", "PlantedSecretThree", "--client-request-token", token)
	refused("ResourceExistsException", token, "secretsmanager", "put-secret-value", "--secret-id", arn, "--secret-string", "other", "--client-request-token", token)
	file := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(file, []byte{0, 1, 2, 255}, 0o600); err != nil {
		t.Fatal(err)
	}
	ask("secretsmanager", "update-secret", "--secret-id", arn, "--secret-binary", "fileb://"+file, "--description", "changed")
	if got := ask("secretsmanager", "get-secret-value", "--secret-id", arn); got["SecretBinary"] != "AAEC/w==" || got["SecretString"] != nil {
		t.Errorf("the bytes come back as %v", got)
	}
	described := ask("secretsmanager", "describe-secret", "--secret-id", arn)
	if described["Description"] != "changed" || len(described["VersionIdsToStages"].(map[string]any)) != 2 || described["Tags"] == nil {
		t.Errorf("describe-secret answers %v", described)
	}
	ask("secretsmanager", "create-secret", "--name", "other")
	if got := ask("secretsmanager", "list-secrets", "--filters", "Key=name,Values=team"); len(got["SecretList"].([]any)) != 1 {
		t.Errorf("list-secrets answers %v", got)
	}
	ask("secretsmanager", "delete-secret", "--secret-id", arn)
	refused("InvalidRequestException", "marked for deletion", "secretsmanager", "get-secret-value", "--secret-id", arn)
	refused("InvalidRequestException", "scheduled for deletion", "secretsmanager", "create-secret", "--name", "team/hub", "--secret-string", "x")
	refused("InvalidParameterException", "conjunction", "secretsmanager", "delete-secret", "--secret-id", "other", "--force-delete-without-recovery", "--recovery-window-in-days", "7")
	ask("secretsmanager", "delete-secret", "--secret-id", "other", "--force-delete-without-recovery")
	refused("ResourceNotFoundException", "", "secretsmanager", "describe-secret", "--secret-id", "other")

	ask("ssm", "put-parameter", "--name", "/team/key", "--type", "SecureString", "--value", "PlantedParameterOne")
	refused("ParameterAlreadyExists", "overwrite", "ssm", "put-parameter", "--name", "/team/key", "--type", "SecureString", "--value", "x")
	if got := ask("ssm", "put-parameter", "--name", "/team/key", "--value", "PlantedParameterTwo", "--overwrite"); got["Version"] != 2.0 {
		t.Errorf("put-parameter answers %v", got)
	}
	parameter := func(args ...string) map[string]any {
		t.Helper()
		return ask(append([]string{"ssm", "get-parameter"}, args...)...)["Parameter"].(map[string]any)
	}
	if got := parameter("--name", "/team/key", "--with-decryption"); got["Value"] != "PlantedParameterTwo" || got["Type"] != "SecureString" {
		t.Errorf("get-parameter answers %v", got)
	}
	if got := parameter("--name", "/team/key:1", "--with-decryption"); got["Value"] != "PlantedParameterOne" || got["Selector"] != ":1" {
		t.Errorf("the first version is %v", got)
	}
	if got := parameter("--name", "/team/key"); strings.Contains(got["Value"].(string), "Planted") {
		t.Errorf("without decryption the value is %v", got["Value"])
	}
	refused("ParameterVersionNotFound", "version 9", "ssm", "get-parameter", "--name", "/team/key:9")
	refused("ParameterNotFound", "", "ssm", "get-parameter", "--name", "/nobody")
	refused("ValidationException", "", "ssm", "put-parameter", "--name", "aws-x", "--type", "String", "--value", "x")
	ask("ssm", "put-parameter", "--name", "plain", "--type", "String", "--value", "v")
	if got := ask("ssm", "get-parameters", "--names", "plain", "/team/key", "none", "--with-decryption"); len(got["Parameters"].([]any)) != 2 || len(got["InvalidParameters"].([]any)) != 1 {
		t.Errorf("get-parameters answers %v", got)
	}
	if got := ask("ssm", "describe-parameters", "--parameter-filters", "Key=Name,Option=BeginsWith,Values=/team"); len(got["Parameters"].([]any)) != 1 {
		t.Errorf("describe-parameters answers %v", got)
	}
	ask("ssm", "delete-parameter", "--name", "plain")
	refused("ParameterNotFound", "", "ssm", "delete-parameter", "--name", "plain")

	for _, planted := range []string{"PlantedSecret", "PlantedParameter"} {
		if strings.Contains(s.log.String(), planted) {
			t.Errorf("the log has %s", planted)
		}
		findPlanted(t, s.data, [][]byte{[]byte(planted)})
	}
}

// Several tokens, as the service has them: a source's own secret, the
// project's, an imported secret for the account. And variables of a build that
// are kept in secrets and parameters.
func TestSecrets_OfBuilds(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	needs(t, "git")
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("PlantedPassword1PlantedWhole2PlantedKey3PlantedPassword1"))) // the build must not contain the values
	host, _ := newHost(t, map[string]string{"buildspec.yml": `version: 0.2
env:
  secrets-manager: {PASSWORD: "app:password", WHOLE: plain}
  parameter-store: {KEY: /app/key}
phases:
  build:
    commands:
      - test "$(printf %s "$PASSWORD$WHOLE$KEY$OWN" | sha256sum)" = "` + sum + `  -"
      - echo "$PASSWORD $WHOLE $KEY $OWN" end; echo "$PASSWORD" | base64
`})
	const own = "ghp_TokenThatIsInASecret0000000000000001"
	host.AddToken(forgetest.Token{Value: own, Login: "hubot", Scopes: []string{"repo"}})
	s := serve(t, "-host", "github.com="+host.URL)
	create := func(name, value string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "value")
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		var out struct{ ARN string }
		if err := json.Unmarshal([]byte(s.must("aws", "secretsmanager", "create-secret", "--name", name, "--secret-string", "file://"+file)), &out); err != nil {
			t.Fatal(err)
		}
		return out.ARN
	}
	create("app", `{"password":"PlantedPassword1","port":5432}`)
	create("plain", "PlantedWhole2")
	s.must("aws", "ssm", "put-parameter", "--name", "/app/key", "--type", "SecureString", "--value", "PlantedKey3")
	token := create("hub", `{"ServerType":"GITHUB","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"`+own+`"}`)
	bad := create("bad", `{"ServerType":"BITBUCKET","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"`+own+`"}`)

	location := new("https://github.com/octo/app.git")
	auth := &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER, Resource: &token}
	s.projectOf("own", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: location, Auth: auth})
	s.projectOf("plain", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: location})
	s.projectOf("fallback", &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Auth: auth, Buildspec: new("version: 0.2\nphases: {build: {commands: ['cat \"$CODEBUILD_SRC_DIR_second/buildspec.yml\"']}}\n")},
		api.ProjectSource{Type: api.SourceTypeGITHUB, Location: location, SourceIdentifier: new("second")})
	variables := []api.EnvironmentVariable{{Name: new("OWN"), Value: new("app:password"), Type: api.EnvironmentVariableTypeSECRETS_MANAGER}}
	build := func(in *api.StartBuildInput, want api.StatusType, words string) {
		t.Helper()
		in.EnvironmentVariablesOverride = variables
		b := s.build(in)
		document, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if b.BuildStatus != want || !strings.Contains(string(document), words) {
			t.Errorf("the build of %s ended as %s: %s\n%s", *in.ProjectName, b.BuildStatus, document, s.must(corbel(t), "logs", *in.ProjectName, "--build", *b.Id))
		}
	}
	build(&api.StartBuildInput{ProjectName: new("plain")}, api.StatusTypeFAILED, "authentication required")
	build(&api.StartBuildInput{ProjectName: new("own")}, api.StatusTypeSUCCEEDED, "app:password")
	log := s.must(corbel(t), "logs", "own")
	if !strings.Contains(log, "*** *** *** *** end") {
		t.Errorf("the log is\n%s", log)
	}
	build(&api.StartBuildInput{ProjectName: new("fallback")}, api.StatusTypeSUCCEEDED, "")
	build(&api.StartBuildInput{ProjectName: new("plain"), SourceAuthOverride: auth}, api.StatusTypeSUCCEEDED, "")
	build(&api.StartBuildInput{ProjectName: new("plain"), SourceAuthOverride: &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER, Resource: &bad}}, api.StatusTypeFAILED, "not for server type GITHUB")
	if out := s.must(corbel(t), "credentials", "resolve", "fallback"); !strings.Contains(out, token) || !strings.Contains(out, "NO_SOURCE") {
		t.Errorf("resolve says\n%s", out)
	}
	if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypeSECRETS_MANAGER, Token: api.Secret(token)}); err != nil {
		t.Fatal(err)
	}
	if list := s.must("aws", "codebuild", "list-source-credentials"); !strings.Contains(list, token) {
		t.Errorf("the list is %s", list)
	}
	build(&api.StartBuildInput{ProjectName: new("plain")}, api.StatusTypeSUCCEEDED, "")
	s.must(corbel(t), "credentials", "check")
	if h := s.health(); h.State != "VALID" || h.User != "hubot" {
		t.Errorf("the health of the secret's token is %+v", h)
	}
	s.must("aws", "secretsmanager", "delete-secret", "--secret-id", token, "--force-delete-without-recovery")
	build(&api.StartBuildInput{ProjectName: new("plain")}, api.StatusTypeFAILED, "could not be read")
	variables = []api.EnvironmentVariable{{Name: new("OWN"), Value: new("app:nothing"), Type: api.EnvironmentVariableTypeSECRETS_MANAGER}}
	s.load(planted)
	build(&api.StartBuildInput{ProjectName: new("plain")}, api.StatusTypeFAILED, "has no key nothing")

	for _, needle := range []string{own, "PlantedPassword1", "PlantedWhole2", "PlantedKey3"} {
		if strings.Contains(s.log.String(), needle) || strings.Contains(log, needle) {
			t.Errorf("a log has %s", needle)
		}
		findPlanted(t, s.data, [][]byte{[]byte(needle)})
	}
}

// Builds and source credentials read from another endpoint, with the
// credentials of the server's environment. The other is a Corbel here.
func TestSecrets_Elsewhere(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"x": "y"})
	vault := serve(t, "-builds", "0")
	secret := func(name, value string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		var out struct{ ARN string }
		if err := json.Unmarshal([]byte(vault.must(awsCLI(t), "secretsmanager", "create-secret", "--name", name, "--secret-string", "file://"+file)), &out); err != nil {
			t.Fatal(err)
		}
		return out.ARN
	}
	const plain, parameter = "PlantedElsewhere0001", "PlantedElsewhere0002"
	secret("plain", plain)
	token := secret("token", `{"ServerType":"GITHUB","AuthType":"PERSONAL_ACCESS_TOKEN","Token":"`+planted+`"}`)
	vault.must(awsCLI(t), "ssm", "put-parameter", "--name", "param", "--type", "SecureString", "--value", parameter)

	s := serve(t)
	s.stop()
	s.args = []string{"-host", "github.com=" + host.URL, "-secrets", vault.url}
	for _, v := range vault.env() {
		if strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "AWS_ENDPOINT_URL") {
			s.environ = append(s.environ, v)
		}
	}
	s.start()
	s.projectOf("app", &api.ProjectSource{
		Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git"), Auth: &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER, Resource: &token},
		Buildspec: new("version: 0.2\nenv:\n  secrets-manager: {A: plain}\n  parameter-store: {B: param}\nphases: {build: {commands: ['test ${#A} = 20 && test ${#B} = 20 && echo \"$A $B\"', '! env | grep AWS_SECRET']}}\n"),
	})
	b := s.build(&api.StartBuildInput{ProjectName: new("app")})
	log := s.must(corbel(t), "logs", "app", "--build", *b.Id)
	if b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, "\n*** ***") && !strings.Contains(log, "*** ***\n") {
		phase, _, message := problem(b)
		t.Errorf("the build is %s in %s: %s\n%s", b.BuildStatus, phase, message, log)
	}
	findPlanted(t, s.data, append(needles(), []byte(plain), []byte(parameter)))

	vault.stop()
	b = s.build(&api.StartBuildInput{ProjectName: new("app")})
	if phase, _, message := problem(b); b.BuildStatus != api.StatusTypeFAILED || phase != api.BuildPhaseTypeDOWNLOAD_SOURCE || !strings.Contains(message, "could not be read") {
		t.Errorf("without the other endpoint the build is %s in %s: %s", b.BuildStatus, phase, message)
	}
}
