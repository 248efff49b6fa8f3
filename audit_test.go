package corbel_test

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/audit"
	_ "github.com/corbel-build/corbel/internal/store/sqlite" // its driver
)

// Everything that happens to a credential is a line, and a changed line shows.
func TestAudit(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	s := serve(t, "-host", "github.com="+host.URL)
	file := filepath.Join(t.TempDir(), "import.json")
	if err := os.WriteFile(file, []byte(`{"serverType":"GITHUB","authType":"PERSONAL_ACCESS_TOKEN","token":"`+planted+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	load := []string{"codebuild", "import-source-credentials", "--cli-input-json", "file://" + file}
	s.must("aws", load...)
	s.must("aws", load...)
	if out, err := s.run("aws", append(load, "--no-should-overwrite")...); err == nil {
		t.Fatalf("a second import without overwriting: %s", out)
	}
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	s.build(&api.StartBuildInput{ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/octo/app.git"), BuildspecOverride: new("buildspec.yml")})
	arn := s.health().Arn
	s.must("aws", "codebuild", "delete-source-credentials", "--arn", arn)
	list := s.must(corbel(t), "audit", "list", "-output", "json", "-resource", "token/github", "-data", s.data)
	var events []string
	for line := range strings.Lines(list) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		events = append(events, r.Event)
		if r.Resource != arn || r.Time.IsZero() {
			t.Errorf("record %s", line)
		}
		switch r.Event {
		case "ImportSourceCredentials", "DeleteSourceCredentials":
			if !strings.HasSuffix(r.Principal, ":user/admin") || !strings.HasPrefix(r.KeyID, "AKIA") || r.From != "127.0.0.1" || !strings.Contains(r.Agent, "aws-cli") || r.RequestID == "" || r.Source != "codebuild.amazonaws.com" {
				t.Errorf("record %s", line)
			}
		case "UseSourceCredential":
			if !strings.Contains(r.Detail, "DOWNLOAD_SOURCE at github.com for build app:") {
				t.Errorf("record %s", line)
			}
		}
	}
	if got := strings.Join(events, " "); got != "ImportSourceCredentials ImportSourceCredentials UseSourceCredential DeleteSourceCredentials" {
		t.Errorf("events are %s", got)
	}
	if failed := s.must(corbel(t), "audit", "list", "-failed", "-data", s.data); !strings.Contains(failed, "ResourceAlreadyExistsException") {
		t.Errorf("what failed is\n%s", failed)
	}
	var trail map[string]any
	export, _, _ := strings.Cut(s.must(corbel(t), "audit", "export", "-event", "ImportSourceCredentials", "-data", s.data), "\n")
	if err := json.Unmarshal([]byte(export), &trail); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "requestID", "eventID", "eventType", "recipientAccountId"} {
		if trail[member] == nil {
			t.Errorf("the exported record lacks %s", member)
		}
	}
	for _, n := range needles() {
		if strings.Contains(list+export, string(n)) {
			t.Error("the audit log has the token")
		}
	}
	head := strings.TrimSpace(s.must(corbel(t), "audit", "verify", "-data", s.data))
	s.must(corbel(t), "audit", "verify", "-expect", head, "-data", s.data)
	if out, err := s.run(corbel(t), "audit", "verify", "-expect", "999:00", "-data", s.data); err == nil {
		t.Errorf("a head that is not there: %s", out)
	}
	s.stop()
	db, err := sql.Open("sqlite", filepath.Join(s.data, "corbel.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`update audit_line set doc = replace(doc, 'user/admin', 'user/nobody') where seq = 2`); err != nil {
		t.Fatal(err)
	}
	if out, err := s.run(corbel(t), "audit", "verify", "-data", s.data); err == nil || !strings.Contains(out, "audit line 2") {
		t.Errorf("after a change verify says: %v %s", err, out)
	}
}
