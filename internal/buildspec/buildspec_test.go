package buildspec

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got, warnings, err := Parse([]byte(`version: 0.2
run-as: root
env:
  shell: bash
  variables:
    NUMBER: 1.10
    FLAG: yes
    BOOL: true
    EMPTY: ""
    PATH_LIKE: $PATH:/x
  exported-variables: [NUMBER, OTHER]
phases:
  build:
    on-failure: CONTINUE
    commands:
      - 'echo "a: b"'
      - |
        first
        second
      - 42
    finally:
      - &end echo end
  install:
    run-as: builder
    runtime-versions:
      python: 3.x
    commands: echo one
  post_build:
    commands:
      - *end
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Spec{
		Version: "0.2", RunAs: "root", Shell: "bash",
		Variables:         []Variable{{"NUMBER", "1.10", ""}, {"FLAG", "yes", ""}, {"BOOL", "true", ""}, {"EMPTY", "", ""}, {"PATH_LIKE", "$PATH:/x", ""}},
		ExportedVariables: []string{"NUMBER", "OTHER"},
		Phases: []Phase{
			{Name: "install", RunAs: "builder", Commands: []string{"echo one"}},
			{Name: "build", OnFailure: "CONTINUE", Commands: []string{`echo "a: b"`, "first\nsecond\n", "42"}, Finally: []string{"echo end"}},
			{Name: "post_build", Commands: []string{"echo end"}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse (-want +got):\n%s", d)
	}
	if len(warnings) != 1 || warnings[0].Line != 25 || !strings.Contains(warnings[0].Message, "runtimes") {
		t.Errorf("warnings = %+v, want one about runtimes in line 25", warnings)
	}
}

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	const head = "version: 0.2\nphases:\n  build:\n"
	for _, c := range []struct {
		name, in     string
		line, column int
		want         string
	}{
		{"empty", "", 0, 0, "empty"},
		{"only a comment", "# nothing\n", 0, 0, "empty"},
		{"binary", "version: 0.2\x00", 0, 0, "UTF-8"},
		{"not UTF-8", "version: \xff", 0, 0, "UTF-8"},
		{"too large", strings.Repeat("#", MaxSize+1), 0, 0, "larger than"},
		{"a text", "hello", 1, 1, "must be a mapping"},
		{"a list", "- version: 0.2", 1, 1, "must be a mapping"},
		{"no version", "phases:\n  build:\n    commands: [a]\n", 1, 1, "version is missing"},
		{"unknown version", "version: 0.3\nphases:\n  build:\n    commands: [a]\n", 1, 10, "invalid buildspec version"},
		{"no phases", "version: 0.2\n", 1, 1, "phases is missing"},
		{"empty phases", "version: 0.2\nphases: {}\n", 2, 9, "phases is empty"},
		{"unknown phase", "version: 0.2\nphases:\n  biuld:\n    commands: [a]\n", 3, 3, "invalid buildspec phase name: biuld"},
		{"phase without commands", "version: 0.2\nphases:\n  build:\n", 3, 3, "the phase build has no commands"},
		{"phase that is a list", "version: 0.2\nphases:\n  build:\n    - make\n", 4, 5, "the phase build must be a mapping"},
		{"commands is a mapping", head + "    commands:\n      a: b\n", 5, 7, "commands must be a list"},
		{"command with a colon", head + "    commands:\n      - make\n      - echo a: b\n", 6, 9, "Is there a colon in it?"},
		{"command is a list", head + "    commands:\n      - [a, b]\n", 5, 9, "is a list"},
		{"key twice", head + "    commands: [a]\n    commands: [b]\n", 5, 5, "commands"},
		{"reserved variable", "version: 0.2\nenv:\n  variables:\n    CODEBUILD_X: 1\nphases:\n  build:\n    commands: [a]\n", 4, 5, "reserved"},
		{"bad variable name", "version: 0.2\nenv:\n  variables:\n    A-B: 1\nphases:\n  build:\n    commands: [a]\n", 4, 5, "not a name for a variable"},
		{"exported variable with code in it", "version: 0.2\nenv:\n  exported-variables: ['A}$(id)']\nphases:\n  build:\n    commands: [a]\n", 3, 23, "not a name for a variable"},
		{"secrets", "version: 0.2\nenv:\n  secrets-manager: [A]\nphases:\n  build:\n    commands: [a]\n", 3, 20, ""},
		{"bad shell", "version: 0.2\nenv:\n  shell: fish\nphases:\n  build:\n    commands: [a]\n", 3, 10, "shell"},
		{"bad user", "version: 0.2\nrun-as: ../x\nphases:\n  build:\n    commands: [a]\n", 2, 9, "not the name of a Linux user"},
		{"bad on-failure", head + "    on-failure: MAYBE\n    commands: [a]\n", 4, 17, "invalid on-failure"},
		{"tab", "version: 0.2\nphases:\n\tbuild:\n", 3, 1, "not valid YAML: a tab stands where YAML wants blanks"},
		{"unclosed quote", "version: 0.2\nphases: \"x\n", 2, 9, "not valid YAML"},
		{"unknown alias", head + "    commands: [*nothing]\n", 4, 16, "no anchor"},
		{"deep", "version: " + strings.Repeat("[", 100000), 1, 1, "too deeply"},
		{"alias bomb", bomb(), 0, 0, "aliases"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Parse([]byte(c.in))
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Message, c.want) {
				t.Fatalf("Parse = %v, want an Error with %q", err, c.want)
			}
			if c.line > 0 && (e.Line != c.line || e.Column != c.column) {
				t.Errorf("Parse = %v, want it at line %d, column %d", err, c.line, c.column)
			}
		})
	}
}

// bomb is a text whose aliases expand to 10^9 commands.
func bomb() string {
	var b strings.Builder
	b.WriteString("version: 0.2\na0: &a0 {k: [x]}\n")
	for i := 1; i < 10; i++ {
		n := string(rune('0' + i))
		p := string(rune('0' + i - 1))
		b.WriteString("a" + n + ": &a" + n + " {<<: *a" + p + ", k" + n + ": *a" + p + "}\n")
	}
	b.WriteString("phases:\n  build:\n    commands: &c [")
	b.WriteString(strings.Repeat("*x,", 200_000))
	b.WriteString("]\nx: &x y\n")
	return b.String()
}

func TestParse_Warns(t *testing.T) {
	t.Parallel()
	_, warnings, err := Parse([]byte("version: 0.2\nartifact:\n  files: [a]\ncache:\n  paths: [b]\nphases:\n  build:\n    command: [x]\n    commands: [a]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Warning{
		{2, 1, "the key artifact of the buildspec is unknown and has no effect. Did you mean artifacts?"},
		{4, 1, "cache has no effect yet"},
		{8, 5, "the key command of the phase build is unknown and has no effect. Did you mean commands?"},
	}
	if d := cmp.Diff(want, warnings); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("version: 0.2\nphases:\n  build:\n    commands:\n      - make\n")
	f.Add("version: 0.2\na: &a [*a]\nphases: {build: {commands: *a, <<: *a}}\n")
	f.Add("{version: 0.2, env: {variables: {A: !!int 1}}, phases: {install: {finally: [x]}}}")
	f.Fuzz(func(t *testing.T, in string) {
		spec, _, err := Parse([]byte(in))
		if (spec == nil) != (err != nil) {
			t.Errorf("Parse(%q) = %v, %v", in, spec, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte("version: 0.2\nenv:\n  variables:\n    A: b\nphases:\n  install:\n    commands:\n      - npm ci\n  build:\n    commands:\n      - npm run build\n      - npm test\n  post_build:\n    commands:\n      - echo done\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
