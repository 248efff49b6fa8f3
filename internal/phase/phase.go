// Package phase is how a build's document goes through its phases: which
// come in which order, what entering and leaving one writes, and how the
// build ends. It is pure; the caller stores the document.
//
// Source of the shapes: recorded answers of the service. SUBMITTED and QUEUED
// have no contexts, COMPLETED has nothing but its start, and the phases
// between have one context, which is empty when all went well.
package phase

import (
	"time"

	"github.com/corbel-build/corbel/api"
)

// Submit puts a new build into its queue.
func Submit(b *api.Build, now time.Time) {
	b.StartTime, b.EndTime = api.At(now), nil
	b.BuildStatus, b.BuildComplete = api.StatusTypeIN_PROGRESS, new(false)
	b.Phases = []api.BuildPhase{{
		PhaseType: api.BuildPhaseTypeSUBMITTED, PhaseStatus: api.StatusTypeSUCCEEDED,
		StartTime: api.At(now), EndTime: api.At(now), DurationInSeconds: new(int64(0)),
	}}
	Enter(b, api.BuildPhaseTypeQUEUED, now)
}

// Enter begins a phase. The one before was left.
func Enter(b *api.Build, p api.BuildPhaseType, now time.Time) {
	b.CurrentPhase = new(string(p))
	b.Phases = append(b.Phases, api.BuildPhase{PhaseType: p, StartTime: api.At(now)})
}

// Leave ends the current phase. code and message are its context, both empty
// on success.
func Leave(b *api.Build, status api.StatusType, code, message string, now time.Time) {
	p := &b.Phases[len(b.Phases)-1]
	p.PhaseStatus, p.EndTime = status, api.At(now)
	p.DurationInSeconds = new(int64(now.Sub(p.StartTime.Time) / time.Second))
	if p.PhaseType != api.BuildPhaseTypeQUEUED || code != "" {
		p.Contexts = []api.PhaseContext{{StatusCode: &code, Message: &message}}
	}
}

// Complete ends the build, whose last phase was left.
func Complete(b *api.Build, status api.StatusType, now time.Time) {
	Enter(b, api.BuildPhaseTypeCOMPLETED, now)
	b.BuildStatus, b.BuildComplete, b.EndTime = status, new(true), api.At(now)
}

// Requeue takes a build back to the queue, as if no runner had had it.
func Requeue(b *api.Build, now time.Time) {
	b.Phases = b.Phases[:1]
	Enter(b, api.BuildPhaseTypeQUEUED, now)
}
