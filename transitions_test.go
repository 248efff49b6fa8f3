package corbel_test

import (
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
)

// What follows the failure of a phase. Source: the table of failure
// transitions in the service's behaviour; docs/divergences.md on CONTINUE.
func TestFailureTransitions(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [true]\n")
	const end = "FINALIZING COMPLETED"
	for _, c := range []struct{ name, phases, want, log string }{
		{"install", "  install:\n    commands: [false]\n    finally: [echo finally]\n  build:\n    commands: [echo built]\n", "INSTALL- " + end, "finally"},
		{"pre_build", "  pre_build:\n    commands: [false]\n  build:\n    commands: [echo built]\n", "INSTALL PRE_BUILD- " + end, ""},
		{"build", "  build:\n    commands: [false, echo never]\n  post_build:\n    commands: ['echo post $CODEBUILD_BUILD_SUCCEEDING']\n", "INSTALL PRE_BUILD BUILD- POST_BUILD UPLOAD_ARTIFACTS " + end, "post 0"},
		{"build, aborting", "  build:\n    on-failure: ABORT\n    commands: [false]\n  post_build:\n    commands: [echo post]\n", "INSTALL PRE_BUILD BUILD- " + end, ""},
		{"install, continuing", "  install:\n    on-failure: CONTINUE\n    commands: [false]\n  build:\n    commands: [echo built]\n", "INSTALL- PRE_BUILD BUILD POST_BUILD UPLOAD_ARTIFACTS " + end, "built"},
		{"finally", "  build:\n    commands: [true]\n    finally: [false]\n", "INSTALL PRE_BUILD BUILD- POST_BUILD UPLOAD_ARTIFACTS " + end, ""},
	} {
		b := s.build(&api.StartBuildInput{ProjectName: new("app"), BuildspecOverride: new("version: 0.2\nphases:\n" + c.phases)})
		var got []string
		for _, p := range b.Phases[4:] { // after DOWNLOAD_SOURCE
			mark := ""
			if p.PhaseStatus == api.StatusTypeFAILED {
				mark = "-"
			}
			got = append(got, string(p.PhaseType)+mark)
		}
		if strings.Join(got, " ") != c.want || b.BuildStatus != api.StatusTypeFAILED {
			t.Errorf("%s: %s after %q, want FAILED after %q", c.name, b.BuildStatus, strings.Join(got, " "), c.want)
		}
		log, err := s.run(corbel(t), "logs", "app", "--build", *b.Id)
		if err == nil || !strings.Contains(log, "\n"+c.log) || strings.Contains(log, "\nnever") {
			t.Errorf("%s: the log lacks %q, or says more (%v):\n%s", c.name, c.log, err, log)
		}
	}
}
