// Package buildspec reads a buildspec: YAML in, a plan of phases out.
//
// Parse says of everything it does not accept where it stands. What is wrong
// is an *Error, which ends the build; what is unknown or has no effect yet is
// a Warning for the build's log.
//
// Source: user guide, "Build specification reference for CodeBuild".
package buildspec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	// MaxSize bounds a buildspec, in bytes.
	MaxSize = 1 << 20
	// maxDepth bounds its nesting, and maxNodes what aliases may expand to.
	maxDepth = 64
	maxNodes = 100_000
)

// A Spec is a buildspec as far as it has an effect.
type Spec struct {
	Version           string // 0.2, or 0.1, in which each command has a shell of its own
	RunAs             string // user of all phases; "" is root
	Shell             string // sh or bash
	Variables         []Variable
	ExportedVariables []string
	// GitCredentialHelper lets git in the commands read what the credentials
	// of the sources may read.
	GitCredentialHelper bool
	Phases              []Phase // those that the text has, in the order in which they run
}

// A Variable is one of env.variables. Its value is the text as it is written;
// with a Kind it names where the value is.
type Variable struct {
	Name, Value string
	Kind        string // "", ParameterStore or SecretsManager
}

// The kinds of variables whose values are kept elsewhere.
const (
	ParameterStore = "parameter-store"
	SecretsManager = "secrets-manager"
)

// A Phase has commands.
type Phase struct {
	Name      string // install, pre_build, build or post_build
	RunAs     string // overrides the Spec's
	OnFailure OnFailure
	Commands  []string
	Finally   []string // run after the commands whether or not they succeed
}

// OnFailure is what happens after a phase failed, as it is written.
type OnFailure string

// Abort ends the build without the phases that are left.
func (o OnFailure) Abort() bool { return o == "ABORT" }

// Continue goes on to the next phase.
func (o OnFailure) Continue() bool { return o == "CONTINUE" }

// Phase returns the phase with that name, which is empty if the text has
// none.
func (s *Spec) Phase(name string) *Phase {
	for i := range s.Phases {
		if s.Phases[i].Name == name {
			return &s.Phases[i]
		}
	}
	return &Phase{Name: name}
}

// A Warning is something that has no effect.
type Warning struct {
	Line, Column int
	Message      string
}

// An Error says why a text is no buildspec. Line and Column count from 1; they
// are 0 where the whole text is meant.
type Error struct {
	Line, Column int
	Message      string
}

// Error implements the error interface.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// phaseNames are the phases in the order in which they run.
var phaseNames = []string{"install", "pre_build", "build", "post_build"}

// A reader walks one document.
type reader struct {
	warnings []Warning
	problems []*Error
	anchors  map[string]ast.Node
	nodes    int
}

// Parse reads a buildspec. Its error is an *Error, the first by position of
// those that Check finds.
func Parse(text []byte) (*Spec, []Warning, error) {
	spec, warnings, problems := Check(text)
	if len(problems) > 0 {
		return nil, warnings, problems[0]
	}
	return spec, warnings, nil
}

// Check reads a buildspec and says everything that is wrong with it, by
// position. If anything is, the Spec is what could be made out.
func Check(text []byte) (*Spec, []Warning, []*Error) {
	none := func(e *Error) (*Spec, []Warning, []*Error) { return &Spec{}, nil, []*Error{e} }
	switch {
	case len(text) > MaxSize:
		return none(&Error{Message: fmt.Sprintf("the buildspec is larger than %d bytes", MaxSize)})
	case bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text):
		return none(&Error{Message: "the buildspec is not a text in UTF-8"})
	}
	if err := shallow(text); err != nil {
		return none(err)
	}
	root, err := parse(text)
	if err != nil {
		return none(err)
	}
	r := &reader{anchors: map[string]ast.Node{}}
	spec := r.spec(root)
	slices.SortStableFunc(r.problems, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return spec, r.warnings, r.problems
}

// shallow refuses text that nests so deeply that parsing it would take all
// the stack: by brackets, or by indentation.
func shallow(text []byte) *Error {
	depth := 0
	for n, line := range bytes.Split(text, []byte("\n")) {
		trimmed := bytes.TrimLeft(line, " ")
		dashes := 0
		for rest := trimmed; bytes.HasPrefix(rest, []byte("- ")); rest = bytes.TrimLeft(rest[2:], " ") {
			dashes++
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			}
		}
		if depth > 1000 || dashes > maxDepth || len(line)-len(trimmed) > 4096 {
			return &Error{Line: n + 1, Column: 1, Message: "the buildspec is nested too deeply"}
		}
	}
	return nil
}

// parse returns the document's root. A panic of the YAML library is an error
// of the text that caused it.
func parse(text []byte) (root ast.Node, problem *Error) {
	defer func() {
		if p := recover(); p != nil {
			problem = &Error{Message: "the buildspec is not valid YAML"}
		}
	}()
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		e := &Error{Message: "the buildspec is not valid YAML"}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			e.Message = "not valid YAML: " + syntax.Message
			if strings.Contains(syntax.Message, "'\t'") {
				e.Message = "not valid YAML: a tab stands where YAML wants blanks; indent with those"
			}
			if syntax.Token != nil && syntax.Token.Position != nil {
				e.Line, e.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
			}
		}
		return nil, e
	}
	for _, d := range f.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType || d.Body.Type() == ast.CommentGroupType {
			continue
		}
		if root != nil {
			return nil, at(d.Body, "the buildspec has a second document")
		}
		root = d.Body
	}
	if root == nil {
		return nil, &Error{Message: "the buildspec is empty"}
	}
	return root, nil
}

// at makes an Error at a node.
func at(n ast.Node, format string, args ...any) *Error {
	e := &Error{Message: fmt.Sprintf(format, args...)}
	e.Line, e.Column = position(n)
	return e
}

func position(n ast.Node) (line, column int) {
	if n == nil {
		return 0, 0
	}
	// The token of a block mapping is its first colon.
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0]
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return 0, 0
	}
	return t.Position.Line, t.Position.Column
}

func (r *reader) bad(n ast.Node, format string, args ...any) {
	r.problems = append(r.problems, at(n, format, args...))
}

func (r *reader) warn(n ast.Node, format string, args ...any) {
	line, column := position(n)
	r.warnings = append(r.warnings, Warning{line, column, fmt.Sprintf(format, args...)})
}

// resolve follows anchors, aliases and tags to what they stand for.
func (r *reader) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch v := n.(type) {
		case *ast.AnchorNode:
			r.anchors[v.Name.GetToken().Value] = v.Value
			n = v.Value
		case *ast.AliasNode:
			target := r.anchors[v.Value.GetToken().Value]
			if target == nil {
				r.bad(n, "the alias *%s has no anchor before it", v.Value.GetToken().Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
	r.bad(n, "aliases refer to each other without end")
	return nil
}

// A pair is a member of a mapping.
type pair struct {
	name  string
	key   ast.Node
	value ast.Node
}

// mapping lists the members of a mapping, with merge keys applied. ok is false
// if n is none; what names it in the message.
func (r *reader) mapping(n ast.Node, what string) (pairs []pair, ok bool) {
	n = r.resolve(n)
	var values []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	default:
		if n != nil {
			r.bad(n, "%s must be a mapping", what)
		}
		return nil, false
	}
	seen := map[string]bool{}
	var merged []pair
	for _, v := range values {
		if r.nodes++; r.nodes > maxNodes {
			r.bad(v, "the buildspec is too large when its aliases are expanded")
			return nil, false
		}
		if v.Key.IsMergeKey() {
			if more, ok := r.mapping(v.Value, "what is merged"); ok {
				merged = append(merged, more...)
			}
			continue
		}
		name, ok := r.scalar(v.Key, "a key")
		if !ok {
			continue
		}
		if seen[name] {
			r.bad(v.Key, "the key %s stands twice", name)
			continue
		}
		seen[name] = true
		pairs = append(pairs, pair{name, v.Key, v.Value})
	}
	for _, m := range merged {
		if !seen[m.name] {
			seen[m.name] = true
			pairs = append(pairs, m)
		}
	}
	return pairs, true
}

// scalar returns the text of a scalar as it is written: 1.10 stays 1.10 and
// yes stays yes.
func (r *reader) scalar(n ast.Node, what string) (string, bool) {
	resolved := r.resolve(n)
	if r.nodes++; r.nodes > maxNodes {
		r.bad(n, "the buildspec is too large when its aliases are expanded")
		return "", false
	}
	switch v := resolved.(type) {
	case nil:
		return "", false
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.NullNode:
		return "", true
	case *ast.MappingNode, *ast.MappingValueNode:
		r.bad(n, "%s must be a text, but is a mapping. Is there a colon in it? Put it in quotes", what)
		return "", false
	case *ast.SequenceNode:
		r.bad(n, "%s must be a text, but is a list", what)
		return "", false
	case ast.ScalarNode:
		return strings.TrimSpace(v.GetToken().Value), true
	}
	r.bad(n, "%s must be a text", what)
	return "", false
}

// list returns a list of scalars. A single scalar counts as a list of one.
func (r *reader) list(n ast.Node, what, each string) []string {
	switch v := r.resolve(n).(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		var out []string
		for _, e := range v.Values {
			if s, ok := r.scalar(e, each); ok {
				out = append(out, s)
			}
		}
		return out
	case *ast.MappingNode, *ast.MappingValueNode:
		r.bad(n, "%s must be a list", what)
		return nil
	default:
		if s, ok := r.scalar(n, what); ok {
			return []string{s}
		}
		return nil
	}
}

// unknown warns of a key, with the nearest known one.
func (r *reader) unknown(p pair, where string, known ...string) {
	hint := ""
	for _, k := range known {
		if near(p.name, k) {
			hint = ". Did you mean " + k + "?"
			break
		}
	}
	r.warn(p.key, "the key %s of %s is unknown and has no effect%s", p.name, where, hint)
}

// near reports whether a differs from b by case, - for _, or one character.
func near(a, b string) bool {
	fold := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	a, b = fold(a), fold(b)
	if a == b {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return a[i+1:] == b[i+1:]
	}
	return a[i:] == b[i+1:]
}

func (r *reader) spec(root ast.Node) *Spec {
	s := &Spec{Shell: "sh"}
	// Anchors may be used before the keys that we read them by.
	ast.Walk(anchorFinder{r}, root)
	pairs, ok := r.mapping(root, "the buildspec")
	if !ok {
		return s
	}
	var hasPhases bool
	for _, p := range pairs {
		switch p.name {
		case "version":
			s.Version, _ = r.scalar(p.value, "version")
			if s.Version != "0.2" && s.Version != "0.1" {
				r.bad(p.value, "invalid buildspec version %q: want 0.2", s.Version)
			}
		case "run-as":
			s.RunAs = r.user(p)
		case "env":
			r.env(p, s)
		case "phases":
			hasPhases = true
			r.phases(p, s)
		case "proxy", "batch", "reports", "artifacts", "cache":
			r.warn(p.key, "%s has no effect yet", p.name)
		default:
			r.unknown(p, "the buildspec", "version", "run-as", "env", "phases", "proxy", "batch", "reports", "artifacts", "cache")
		}
	}
	if s.Version == "" && len(r.problems) == 0 {
		r.bad(root, "version is missing: begin the buildspec with version: 0.2")
	}
	if !hasPhases {
		r.bad(root, "phases is missing")
	}
	return s
}

// anchorFinder notes every anchor, wherever it stands.
type anchorFinder struct{ r *reader }

func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		f.r.anchors[a.Name.GetToken().Value] = a.Value
	}
	return f
}

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}\$?$`) // useradd(8)

func (r *reader) user(p pair) string {
	name, ok := r.scalar(p.value, p.name)
	if ok && name != "" && !userName.MatchString(name) {
		r.bad(p.value, "%s: %q is not the name of a Linux user", p.name, name)
	}
	return name
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variable checks the name of a variable that the buildspec sets or reads.
func (r *reader) variable(n ast.Node, name string, set bool) {
	switch {
	case !variableName.MatchString(name):
		r.bad(n, "%q is not a name for a variable: want letters, digits and _", name)
	case set && strings.HasPrefix(name, "CODEBUILD_"):
		r.bad(n, "the variable %s must not be set: names that begin with CODEBUILD_ are reserved", name)
	}
}

func (r *reader) env(p pair, s *Spec) {
	if _, null := r.resolve(p.value).(*ast.NullNode); null {
		return
	}
	pairs, _ := r.mapping(p.value, "env")
	for _, e := range pairs {
		switch e.name {
		case "shell":
			shell, _ := r.scalar(e.value, "shell")
			switch shell {
			case "bash", "/bin/bash":
				s.Shell = "bash"
			case "", "sh", "/bin/sh":
			default:
				r.bad(e.value, "shell %q is not supported: want bash or /bin/sh", shell)
			}
		case "variables", "plaintext":
			if _, null := r.resolve(e.value).(*ast.NullNode); null {
				continue
			}
			vars, _ := r.mapping(e.value, "env.variables")
			for _, v := range vars {
				r.variable(v.key, v.name, true)
				if value, ok := r.scalar(v.value, "the value of "+v.name); ok {
					s.Variables = append(s.Variables, Variable{Name: v.name, Value: value})
				}
			}
		case "exported-variables":
			s.ExportedVariables = r.list(e.value, "env.exported-variables", "an exported variable")
			for _, name := range s.ExportedVariables {
				r.variable(e.value, name, false)
			}
		case "parameter-store", "secrets-manager":
			if _, null := r.resolve(e.value).(*ast.NullNode); null {
				continue
			}
			vars, _ := r.mapping(e.value, "env."+e.name)
			for _, v := range vars {
				r.variable(v.key, v.name, true)
				if value, ok := r.scalar(v.value, "the value of "+v.name); ok {
					s.Variables = append(s.Variables, Variable{v.name, value, e.name})
				}
			}
		case "git-credential-helper":
			text, ok := r.scalar(e.value, "env.git-credential-helper")
			switch text {
			case "yes", "true":
				s.GitCredentialHelper = true
			case "no", "false":
			default:
				if ok {
					r.bad(e.value, "env.git-credential-helper is %s. Expecting: yes,no", text)
				}
			}
		default:
			r.unknown(e, "env", "shell", "variables", "exported-variables", "parameter-store", "secrets-manager", "git-credential-helper")
		}
	}
}

func (r *reader) phases(p pair, s *Spec) {
	pairs, ok := r.mapping(p.value, "phases")
	if ok && len(pairs) == 0 {
		r.bad(p.value, "phases is empty")
	}
	found := map[string]Phase{}
	for _, e := range pairs {
		if !slices.Contains(phaseNames, e.name) {
			r.bad(e.key, "invalid buildspec phase name: %s. Expecting: %s", e.name, strings.Join([]string{"build", "install", "post_build", "pre_build"}, ","))
			continue
		}
		found[e.name] = r.phase(e)
	}
	for _, name := range phaseNames {
		if ph, ok := found[name]; ok {
			s.Phases = append(s.Phases, ph)
		}
	}
}

var onFailure = regexp.MustCompile(`^(ABORT|CONTINUE|RETRY(-.+)?)$`)

func (r *reader) phase(p pair) Phase {
	ph := Phase{Name: p.name}
	if _, null := r.resolve(p.value).(*ast.NullNode); null {
		r.bad(p.key, "the phase %s has no commands", p.name)
		return ph
	}
	pairs, ok := r.mapping(p.value, "the phase "+p.name)
	if !ok {
		return ph
	}
	hasCommands := false
	for _, e := range pairs {
		switch e.name {
		case "commands":
			hasCommands = true
			ph.Commands = r.list(e.value, "commands", "a command")
		case "finally":
			ph.Finally = r.list(e.value, "finally", "a command")
		case "run-as":
			ph.RunAs = r.user(e)
		case "on-failure":
			text, ok := r.scalar(e.value, "on-failure")
			if ok && !onFailure.MatchString(text) {
				r.bad(e.value, "invalid on-failure %q: want ABORT, CONTINUE or RETRY", text)
			}
			ph.OnFailure = OnFailure(text)
			if strings.HasPrefix(text, "RETRY") {
				r.warn(e.key, "on-failure RETRY has no effect yet")
			}
		case "runtime-versions":
			if p.name != "install" {
				r.warn(e.key, "runtime-versions belongs to the install phase and has no effect here")
				continue
			}
			r.warn(e.key, "Skipping install of runtimes. Runtime version selection is not supported by this build image")
			hasCommands = true
		default:
			r.unknown(e, "the phase "+p.name, "commands", "finally", "run-as", "on-failure", "runtime-versions")
		}
	}
	if !hasCommands && (p.name != "install" || len(ph.Finally) == 0) {
		r.bad(p.key, "the phase %s has no commands", p.name)
	}
	return ph
}
