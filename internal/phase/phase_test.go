package phase

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
)

// The shapes are those of recorded answers of the service.
func TestPhases(t *testing.T) {
	t.Parallel()
	at := func(s float64) *api.Timestamp { return api.At(time.UnixMilli(int64(s * 1000)).UTC()) }
	b := new(api.Build)
	Submit(b, at(1).Time)
	Leave(b, api.StatusTypeSUCCEEDED, "", "", at(2.5).Time)
	Enter(b, api.BuildPhaseTypePROVISIONING, at(2.5).Time)
	Leave(b, api.StatusTypeSUCCEEDED, "", "", at(3).Time)
	Enter(b, api.BuildPhaseTypeBUILD, at(3).Time)
	Leave(b, api.StatusTypeFAILED, "CODE", "why", at(5.9).Time)
	Complete(b, api.StatusTypeFAILED, at(6).Time)
	empty := []api.PhaseContext{{StatusCode: new(""), Message: new("")}}
	want := &api.Build{
		StartTime: at(1), EndTime: at(6), CurrentPhase: new("COMPLETED"), BuildStatus: api.StatusTypeFAILED, BuildComplete: new(true),
		Phases: []api.BuildPhase{
			{PhaseType: api.BuildPhaseTypeSUBMITTED, PhaseStatus: api.StatusTypeSUCCEEDED, StartTime: at(1), EndTime: at(1), DurationInSeconds: new(int64(0))},
			{PhaseType: api.BuildPhaseTypeQUEUED, PhaseStatus: api.StatusTypeSUCCEEDED, StartTime: at(1), EndTime: at(2.5), DurationInSeconds: new(int64(1))},
			{PhaseType: api.BuildPhaseTypePROVISIONING, PhaseStatus: api.StatusTypeSUCCEEDED, StartTime: at(2.5), EndTime: at(3), DurationInSeconds: new(int64(0)), Contexts: empty},
			{PhaseType: api.BuildPhaseTypeBUILD, PhaseStatus: api.StatusTypeFAILED, StartTime: at(3), EndTime: at(5.9), DurationInSeconds: new(int64(2)),
				Contexts: []api.PhaseContext{{StatusCode: new("CODE"), Message: new("why")}}},
			{PhaseType: api.BuildPhaseTypeCOMPLETED, StartTime: at(6)},
		},
	}
	if d := cmp.Diff(want, b); d != "" {
		t.Errorf("build (-want +got):\n%s", d)
	}
	Requeue(b, at(7).Time)
	if len(b.Phases) != 2 || *b.CurrentPhase != "QUEUED" {
		t.Errorf("after Requeue: %d phases, in %s", len(b.Phases), *b.CurrentPhase)
	}
}
