package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

// decode reads doc as the input of an operation.
func decode(t testing.TB, op, doc string) (any, error) {
	t.Helper()
	row := Contract.Operation(op)
	in := map[string]any{
		"ImportSourceCredentials": new(ImportSourceCredentialsInput),
		"CreateProject":           new(CreateProjectInput),
		"StartBuild":              new(StartBuildInput),
		"BatchGetBuilds":          new(BatchGetBuildsInput),
		"DescribeCodeCoverages":   new(DescribeCodeCoveragesInput),
		"CreateWebhook":           new(CreateWebhookInput),
		"ListSourceCredentials":   new(ListSourceCredentialsInput),
	}[op]
	return in, Decode(&Contract, row.Input, []byte(doc), in)
}

func TestDecode_Refuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, op, doc, want string }{
		{"missing members, in the model's order", "ImportSourceCredentials", `{}`,
			"ValidationException: 3 validation errors detected: Value null at 'token' failed to satisfy constraint: Member must not be null; " +
				"Value null at 'serverType' failed to satisfy constraint: Member must not be null; Value null at 'authType' failed to satisfy constraint: Member must not be null"},
		{"null counts as absent", "BatchGetBuilds", `{"ids":null}`,
			"ValidationException: 1 validation error detected: Value null at 'ids' failed to satisfy constraint: Member must not be null"},
		{"other case is another member", "BatchGetBuilds", `{"Ids":["a:b"]}`,
			"ValidationException: 1 validation error detected: Value null at 'ids' failed to satisfy constraint: Member must not be null"},
		{"enum", "ImportSourceCredentials", `{"token":"x","serverType":"SVN","authType":"OAUTH"}`,
			"ValidationException: 1 validation error detected: Value 'SVN' at 'serverType' failed to satisfy constraint: Member must satisfy enum value set: [GITHUB, BITBUCKET, GITHUB_ENTERPRISE, GITLAB, GITLAB_SELF_MANAGED, BITBUCKET_DATA_CENTER, GITEA]"},
		{"a sensitive value is not shown", "ImportSourceCredentials", `{"token":"","serverType":"GITHUB","authType":"OAUTH"}`,
			"ValidationException: 1 validation error detected: Value at 'token' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"empty text below its least length", "CreateWebhook", `{"projectName":"a"}`,
			"ValidationException: 2 validation errors detected: Value 'a' at 'projectName' failed to satisfy constraint: Member must have length greater than or equal to 2; " +
				`Value 'a' at 'projectName' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z0-9][A-Za-z0-9\-_]{1,149}`},
		{"empty list", "BatchGetBuilds", `{"ids":[]}`,
			"ValidationException: 1 validation error detected: Value '[]' at 'ids' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"element of a list", "BatchGetBuilds", `{"ids":["a:b",""]}`,
			"ValidationException: 1 validation error detected: Value '' at 'ids.2.member' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"null in a list", "StartBuild", `{"projectName":"p","environmentVariablesOverride":[null]}`,
			"ValidationException: 1 validation error detected: Value null at 'environmentVariablesOverride.1.member' failed to satisfy constraint: Member must not be null"},
		{"number out of range", "StartBuild", `{"projectName":"p","timeoutInMinutesOverride":4}`,
			"ValidationException: 1 validation error detected: Value '4' at 'timeoutInMinutesOverride' failed to satisfy constraint: Member must have value greater than or equal to 5"},
		{"nested", "StartBuild", `{"projectName":"p","environmentVariablesOverride":[{"name":"","value":"v"}]}`,
			"ValidationException: 1 validation error detected: Value '' at 'environmentVariablesOverride.1.member.name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"number for text", "StartBuild", `{"projectName":7}`, "SerializationException: NUMBER_VALUE can not be converted to a String"},
		{"text for number", "StartBuild", `{"projectName":"p","timeoutInMinutesOverride":"5"}`, "SerializationException: STRING_VALUE can not be converted to an Integer"},
		{"fraction for integer", "StartBuild", `{"projectName":"p","timeoutInMinutesOverride":5.5}`, "SerializationException: DECIMAL_VALUE can not be converted to an Integer"},
		{"integer beyond 32 bits", "StartBuild", `{"projectName":"p","timeoutInMinutesOverride":4294967296}`, "SerializationException: NUMBER_VALUE can not be converted to an Integer"},
		{"text for boolean", "ImportSourceCredentials", `{"shouldOverwrite":"true"}`, "SerializationException: STRING_VALUE can not be converted to a Boolean"},
		{"object for list", "BatchGetBuilds", `{"ids":{}}`, "SerializationException: Expected list or null"},
		{"list for object", "CreateProject", `{"source":[]}`, "SerializationException: Unexpected START_ARRAY where a structure was expected"},
		{"list for the document", "CreateProject", `[]`, "SerializationException: Unexpected START_ARRAY where a structure was expected"},
		{"not JSON", "CreateProject", `{"name":`, "SerializationException: the request body is not valid JSON"},
		{"two documents", "CreateProject", `{} {}`, "SerializationException: the request body goes on after its JSON document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := decode(t, c.op, c.doc)
			if err == nil || err.Error() != c.want {
				t.Errorf("Decode(%s, %s)\n got %v\nwant %s", c.op, c.doc, err, c.want)
			}
		})
	}
}

func TestDecode_Fills(t *testing.T) {
	t.Parallel()
	in, err := decode(t, "StartBuild", `{"projectName":"p","projectName":"last wins","unknown":{"a":[1]},"sourceVersion":"",
		"environmentVariablesOverride":[{"name":"A","value":""}],"privilegedModeOverride":false,"computeTypeOverride":"BUILD_GENERAL1_SMALL"}`)
	if err != nil {
		t.Fatal(err)
	}
	got := in.(*StartBuildInput)
	want := &StartBuildInput{
		ProjectName: new("last wins"), SourceVersion: new(""), PrivilegedModeOverride: new(false), ComputeTypeOverride: ComputeTypeBUILD_GENERAL1_SMALL,
		EnvironmentVariablesOverride: []EnvironmentVariable{{Name: new("A"), Value: new("")}},
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Errorf("got %s\nwant %s", a, b)
	}
}

func TestDecode_EmptyBodyIsAnEmptyDocument(t *testing.T) {
	t.Parallel()
	if _, err := decode(t, "ListSourceCredentials", " "); err != nil {
		t.Error(err)
	}
}

// The fields of a Go type are the members of its shape, in order: Decode
// relies on it.
func TestShapes_AgreeWithTypes(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, m := range []reflect.Type{reflect.TypeFor[Service]()} {
		for i := range m.NumMethod() {
			op := Contract.Operation(m.Method(i).Name)
			for id, typ := range map[ShapeID]reflect.Type{op.Input: m.Method(i).Type.In(1).Elem(), op.Output: m.Method(i).Type.Out(0).Elem()} {
				checked += agree(t, id, typ)
			}
		}
	}
	if checked < 1000 {
		t.Errorf("only %d members were compared", checked)
	}
}

func agree(t *testing.T, id ShapeID, typ reflect.Type) (n int) {
	s := Contract.Shapes[id]
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			s = Contract.Shapes[s.Elem]
		}
		typ = typ.Elem()
	}
	if s.Kind != Structure {
		return 0
	}
	if typ.NumField() != len(s.Members) {
		t.Errorf("%s has %d fields, its shape %d members", typ, typ.NumField(), len(s.Members))
		return 0
	}
	for i, m := range s.Members {
		if tag := typ.Field(i).Tag.Get("json"); tag != m.Name+",omitzero" {
			t.Errorf("%s field %d is %s, its shape says %s", typ, i, tag, m.Name)
		}
		n += 1 + agree(t, m.Shape, typ.Field(i).Type)
	}
	return n
}

func TestSecret_DoesNotPrint(t *testing.T) {
	t.Parallel()
	const planted = "ghp_PlantedInSecretTest0123456789abcdef"
	in := &ImportSourceCredentialsInput{Token: planted}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", in.Token)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", in.Token)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+"\n", in.Token)
		fmt.Fprintf(&log, verb+"\n", *in)
	}
	if strings.Contains(log.String(), planted) || strings.Contains(log.String(), fmt.Sprintf("%x", planted)) {
		t.Errorf("the secret is printed:\n%s", log.String())
	}
	if wire, err := json.Marshal(in); err != nil || !strings.Contains(string(wire), planted) {
		t.Errorf("Marshal = %s, %v; the wire needs the secret", wire, err)
	}
}

func TestTimestamp_IsEpochSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ms, want string }{{"1548717462122", "1548717462.122"}, {"1548717462000", "1548717462"}, {"1548717462100", "1548717462.100"}} {
		var ms int64
		fmt.Sscan(c.ms, &ms)
		got, err := json.Marshal(At(time.UnixMilli(ms)))
		if err != nil || string(got) != c.want {
			t.Errorf("Marshal(%s ms) = %s, %v; want %s", c.ms, got, err, c.want)
		}
		var back Timestamp
		if err := json.Unmarshal(got, &back); err != nil || back.UnixMilli() != ms {
			t.Errorf("Unmarshal(%s) = %v, %v", got, back, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"name":"p","source":{"type":"GITHUB","location":"https://github.com/o/r"},"tags":[{"key":"k","value":"v"}]}`)
	f.Add(`{"source":{"auth":{"type":null}},"environment":{"environmentVariables":[null]}}`)
	f.Add(`[1e999]`)
	f.Fuzz(func(t *testing.T, doc string) {
		in, err := decode(t, "CreateProject", doc)
		if err != nil {
			return
		}
		// What was accepted is accepted again as we write it.
		again, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(t, "CreateProject", string(again)); err != nil {
			t.Errorf("%s was accepted, but written as %s gives %v", doc, again, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	doc := `{"name":"bench","source":{"type":"GITHUB","location":"https://github.com/octo/app.git","buildspec":"version: 0.2\nphases: {}"},"artifacts":{"type":"NO_ARTIFACTS"},` +
		`"environment":{"type":"LINUX_CONTAINER","image":"aws/codebuild/standard:7.0","computeType":"BUILD_GENERAL1_SMALL","environmentVariables":[{"name":"A","value":"1","type":"PLAINTEXT"}]},"serviceRole":"arn:aws:iam::123456789012:role/r"}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(b, "CreateProject", doc); err != nil {
			b.Fatal(err)
		}
	}
}
