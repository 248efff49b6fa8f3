package api

import (
	"context"
	"regexp"
	"sync"
)

// A Model describes one service as data: what its operations are called and
// what their documents look like. The command line, the validator, the
// generated documentation and the dispatch tables all read it.
type Model struct {
	Service      string // service's name, such as CodeBuild
	TargetPrefix string // X-Amz-Target before the dot, such as CodeBuild_20161006
	SigningName  string // service name in a signature's credential scope
	Operations   []Operation
	Shapes       []Shape
}

// An Operation is one row of a Model.
type Operation struct {
	Name   string
	Input  ShapeID  // always a structure
	Output ShapeID  // always a structure
	Errors []string // the exceptions that the model declares
	Paged  bool     // answers in pages with nextToken
}

// Operation returns the row with the given name, or nil.
func (m *Model) Operation(name string) *Operation {
	for i := range m.Operations {
		if m.Operations[i].Name == name {
			return &m.Operations[i]
		}
	}
	return nil
}

// A ShapeID is an index into Model.Shapes.
type ShapeID int16

// A Kind is the type of a shape.
type Kind uint8

// The kinds of the model.
const (
	Structure Kind = iota
	List
	Map
	String
	Boolean
	Integer
	Long
	Double
	Time
)

// A Shape is one type of the model with its constraints. Min and Max bound
// the length of strings (in characters), lists and maps and the value of
// numbers; they count only where HasMin and HasMax say so.
type Shape struct {
	Name      string
	Kind      Kind
	Members   []Member // of a structure, in the model's order, which is also the order of the Go fields
	Elem      ShapeID  // of a list or a map
	Enum      []string
	Pattern   string // must match the whole value
	Min, Max  float64
	HasMin    bool
	HasMax    bool
	Sensitive bool // never printed, not even in an error about it
}

// A Member is a named part of a structure.
type Member struct {
	Name     string
	Shape    ShapeID
	Required bool
}

var patterns sync.Map // pattern text -> *regexp.Regexp

// matches reports whether the whole of s matches the model's pattern.
func matches(pattern, s string) bool {
	re, ok := patterns.Load(pattern)
	if !ok {
		re, _ = patterns.LoadOrStore(pattern, regexp.MustCompile(`^(?:`+pattern+`)$`))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

// Call makes a dispatch entry of one operation: it reads the document of shape
// into an In and calls do.
func Call[In, Out any](m *Model, shape ShapeID, do func(context.Context, *In) (*Out, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		in := new(In)
		if err := Decode(m, shape, body, in); err != nil {
			return nil, err
		}
		out, err := do(ctx, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}
