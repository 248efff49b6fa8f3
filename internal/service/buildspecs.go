package service

import (
	"context"

	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/buildspec"
)

// CheckBuildspec tells everything that is wrong with a buildspec and everything
// that has no effect, by position. A bad buildspec is no error of the call.
func (s CorbelService) CheckBuildspec(_ context.Context, in *corbel.CheckBuildspecInput) (*corbel.CheckBuildspecOutput, error) {
	spec, warnings, problems := buildspec.Check([]byte(*in.Buildspec))
	out := &corbel.CheckBuildspecOutput{Problems: []corbel.BuildspecProblem{}, Phases: []corbel.BuildspecPhase{}, Variables: []string{}}
	for _, e := range problems {
		out.Problems = append(out.Problems, corbel.BuildspecProblem{Line: &e.Line, Column: &e.Column, Severity: corbel.ProblemSeverityERROR, Message: &e.Message})
	}
	for _, w := range warnings {
		out.Problems = append(out.Problems, corbel.BuildspecProblem{Line: &w.Line, Column: &w.Column, Severity: corbel.ProblemSeverityWARNING, Message: &w.Message})
	}
	for _, p := range spec.Phases {
		out.Phases = append(out.Phases, corbel.BuildspecPhase{Name: &p.Name, Commands: new(len(p.Commands) + len(p.Finally))})
	}
	for _, v := range spec.Variables {
		out.Variables = append(out.Variables, v.Name)
	}
	return out, nil
}
