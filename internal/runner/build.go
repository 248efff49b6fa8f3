package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/buildspec"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/executor"
	"github.com/corbel-build/corbel/internal/phase"
	"github.com/corbel-build/corbel/internal/source"
	"github.com/corbel-build/corbel/internal/store"
)

// Codes of phase contexts. Source: recorded answers of the service.
const (
	codeCommand  = "COMMAND_EXECUTION_ERROR"
	codeYAML     = "YAML_FILE_ERROR"
	codeClient   = "CLIENT_ERROR"
	codeTimedOut = "BUILD_TIMED_OUT"
	codeInternal = "INTERNAL_SERVICE_ERROR"
	codeDead     = "BUILD_CONTAINER_DEAD"            // ours; the service's is not known
	codeStart    = "BUILD_CONTAINER_UNABLE_TO_START" // likewise
)

// maxExported bounds the values of exported variables together, in bytes.
const maxExported = 64 << 10

// A failure ends a phase with a status and the context that explains it.
type failure struct {
	status        api.StatusType // FAILED unless set otherwise
	code, message string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func failed(code, format string, args ...any) error {
	return &failure{api.StatusTypeFAILED, code, fmt.Sprintf(format, args...)}
}

// A build is one build under way.
type build struct {
	store.Build
	r      *Runner
	ctx    context.Context // ends with the build's time, StopBuild or the server
	cancel context.CancelCauseFunc
	dir    string
	id     string // the UUID

	log      *output
	env      executor.Environment
	vars     *variables
	spec     *buildspec.Spec
	early    chan fetched         // the primary source, asked for while the environment starts
	released []func()             // source trees in use
	access   []*credential.Access // of the sources, the primary one first
	gate     *source.Gate         // for git in the commands, nil if they have none
	ran      bool                 // a command has run
	ok       bool                 // no phase has failed
}

// begin makes a claimed build one that runs here, and returns what takes it to
// its end.
func (r *Runner) begin(ctx context.Context, claimed store.Build) (run func()) {
	_, id, _ := strings.Cut(*claimed.Doc.Id, ":")
	b := &build{Build: claimed, r: r, id: id, dir: filepath.Join(r.Dir, id), ok: true}
	limit := time.Duration(*b.Doc.TimeoutInMinutes) * time.Minute
	timed, release := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, errTimedOut)
	b.ctx, b.cancel = context.WithCancelCause(timed)
	stop := context.AfterFunc(ctx, func() { b.cancel(errShutdown) })
	r.mu.Lock()
	r.running[*b.Doc.Id] = b
	r.mu.Unlock()
	if b.Stop { // asked for between the claim and now
		b.cancel(errStopped)
	}
	return func() {
		defer release()
		defer b.cancel(nil)
		defer stop()
		// The store is written even when the build is cancelled.
		err := b.run(context.WithoutCancel(ctx))
		r.mu.Lock()
		delete(r.running, *b.Doc.Id)
		r.mu.Unlock()
		if err != nil {
			// A lost lease means that another runner has the build; otherwise
			// the store fails, and the rescuer ends the build later.
			r.Log.ErrorContext(ctx, "build abandoned", "build", *b.Doc.Id, "error", err)
		}
	}
}

// run goes through the phases. Its error is one of the store; what goes wrong
// in a build is in its document.
func (b *build) run(ctx context.Context) (err error) {
	defer b.cleanup()
	phase.Leave(b.Doc, api.StatusTypeSUCCEEDED, "", "", b.r.Now())
	phase.Enter(b.Doc, api.BuildPhaseTypePROVISIONING, b.r.Now())
	if b.log, err = b.openLog(); err != nil {
		b.leave(&failure{api.StatusTypeFAULT, codeInternal, "The build's log could not be opened: " + err.Error()})
		return b.complete(ctx)
	}
	b.fetchEarly()
	// Nothing of the build runs yet, so saving and starting go together.
	saved := b.save(ctx, func(tx store.Tx, s store.Build) error {
		return tx.PutLogStream(ctx, s.Scope, store.LogStream{
			Group: *s.Doc.Logs.GroupName, Name: *s.Doc.Logs.StreamName, Build: *s.Doc.Id, Created: b.r.Now(),
		})
	})
	problem := b.provision()
	if err := <-saved; err != nil {
		return err
	}
	if b.leave(problem) {
		phase.Enter(b.Doc, api.BuildPhaseTypeDOWNLOAD_SOURCE, b.r.Now())
		problem, err := b.downloadAndTell(ctx)
		if err != nil {
			return err
		}
		if b.leave(problem) {
			if err := b.phases(ctx); err != nil {
				return err
			}
		}
	}
	return b.complete(ctx)
}

// save writes the document as it is now, and with it what also says; the
// channel receives how that went.
func (b *build) save(ctx context.Context, also func(store.Tx, store.Build) error) <-chan error {
	done := make(chan error, 1)
	snapshot, err := b.snapshot()
	if err != nil {
		done <- err
		return done
	}
	go func() { // ends when the store has answered
		done <- b.r.Store.Update(ctx, func(tx store.Tx) error {
			if err := tx.SaveBuild(ctx, snapshot); err != nil || also == nil {
				return err
			}
			return also(tx, snapshot)
		})
	}()
	return done
}

// snapshot copies the build as it is now.
func (b *build) snapshot() (store.Build, error) {
	s := b.Build
	var err error
	s.Doc, err = clone(b.Doc)
	return s, err
}

// tellTime is how long DOWNLOAD_SOURCE may last before the store is told of
// it. A source that is in the cache takes less, and then the commit would be
// most of it.
const tellTime = 15 * time.Millisecond

// downloadAndTell is download, with the store told of the phase if it lasts.
// Its second error is one of the store.
func (b *build) downloadAndTell(ctx context.Context) (problem, err error) {
	now, err := b.snapshot()
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- b.download() }() // ends with the build's time at the latest
	select {
	case problem = <-done:
		return problem, nil
	case <-time.After(tellTime):
	}
	err = b.r.Store.Update(ctx, func(tx store.Tx) error { return tx.SaveBuild(ctx, now) })
	return <-done, err
}

// leave ends the current phase as err says, writes its lines to the log, and
// reports whether the build goes on.
func (b *build) leave(err error) bool {
	now := b.r.Now()
	status, code, message := api.StatusTypeSUCCEEDED, "", ""
	if cause := context.Cause(b.ctx); cause != nil && err != nil {
		f := ended(cause)
		status, code, message = f.status, f.code, f.message
	} else if err != nil {
		var f *failure
		if !errors.As(err, &f) {
			b.r.Log.Error("build phase", "build", *b.Doc.Id, "phase", *b.Doc.CurrentPhase, "error", err)
			f = &failure{api.StatusTypeFAULT, codeInternal, err.Error()}
		}
		status, code, message = f.status, f.code, f.message
	}
	if b.log != nil {
		message = b.log.mask(message)
	}
	// The service's logs begin with the end of DOWNLOAD_SOURCE.
	if b.log != nil && (err != nil || *b.Doc.CurrentPhase != string(api.BuildPhaseTypePROVISIONING)) {
		b.log.agent("Phase complete: %s State: %s", *b.Doc.CurrentPhase, status)
		b.log.agent("Phase context status code: %s Message: %s", code, message)
	}
	phase.Leave(b.Doc, status, code, message, now)
	b.ok = b.ok && status == api.StatusTypeSUCCEEDED
	return status == api.StatusTypeSUCCEEDED
}

// ended explains why a build was ended from outside.
func ended(cause error) *failure {
	switch {
	case errors.Is(cause, errStopped):
		return &failure{api.StatusTypeSTOPPED, "", ""}
	case errors.Is(cause, errTimedOut):
		return &failure{api.StatusTypeTIMED_OUT, codeTimedOut, "Build has timed out."}
	case errors.Is(cause, errDiskFull):
		return &failure{api.StatusTypeFAILED, codeClient, "The build was ended because the server's disk is nearly full. Write less, or give the server more space"}
	}
	return &failure{api.StatusTypeFAULT, codeInternal, "The server was shut down while the build was running; start the build again"}
}

// complete writes the end of the build: FINALIZING, COMPLETED, the status on
// the commit. A build that a shutdown caught before its first command goes
// back to the queue instead.
func (b *build) complete(ctx context.Context) error {
	cause := context.Cause(b.ctx)
	b.dropEarly()
	if errors.Is(cause, errShutdown) && !b.ran && b.Attempt < maxAttempts {
		phase.Requeue(b.Doc, b.r.Now())
		return b.r.Store.Update(ctx, func(tx store.Tx) error { return tx.ReturnBuild(ctx, b.Build) })
	}
	status := api.StatusTypeSUCCEEDED
	for _, p := range b.Doc.Phases {
		if p.PhaseStatus != "" && p.PhaseStatus != api.StatusTypeSUCCEEDED {
			status = p.PhaseStatus
		}
	}
	b.closeGate()
	now := b.r.Now()
	phase.Enter(b.Doc, api.BuildPhaseTypeFINALIZING, now)
	phase.Leave(b.Doc, api.StatusTypeSUCCEEDED, "", "", now)
	phase.Complete(b.Doc, status, now)
	b.closeLog() // readers see the whole log before they see the end
	if errors.Is(cause, errDiskFull) {
		b.remove() // the store needs the space
	}
	err := b.r.Store.Update(ctx, func(tx store.Tx) error { return b.r.finish(ctx, tx, b.Build) })
	if err == nil {
		b.r.Log.Info("build ended", "build", *b.Doc.Id, "status", status, "seconds", b.Doc.EndTime.Sub(b.Doc.StartTime.Time).Seconds())
	}
	return err
}

// openGate lets git in the commands read what the credentials of the sources
// may read. Source: build specification reference, env/git-credential-helper.
func (b *build) openGate() error {
	if !b.spec.GitCredentialHelper {
		return nil
	}
	if why := b.untrusted(); why != "" {
		b.log.agent("Warning: env.git-credential-helper has no effect in this build: %s", why)
		return nil
	}
	var passes []source.Pass
	for _, a := range b.access {
		u, err := url.Parse(a.Repository.URL)
		if err != nil {
			return fmt.Errorf("open a gate for git: %w", err)
		}
		base := u.Scheme + "://" + u.Host
		if a.ARN != "" && !slices.ContainsFunc(passes, func(p source.Pass) bool { return p.Base == base }) {
			passes = append(passes, source.Pass{Base: base, Upstream: a.Upstream, Authorize: a.Authorize(credential.ForCommands)})
		}
	}
	if len(passes) == 0 {
		b.log.agent("Warning: env.git-credential-helper has no effect, since no source of the build has a credential")
		return nil
	}
	gate, err := b.r.Sources.OpenGate(b.ctx, passes)
	if err != nil {
		return fmt.Errorf("open a gate for git: %w", err)
	}
	b.gate = gate
	b.log.hide(api.Secret(gate.Capability()))
	for _, p := range passes {
		b.log.agent("Git in commands may read from %s with the credential of the source", p.Base)
	}
	return b.env.Put(b.ctx, gitConfig, gate.Config())
}

// gitConfig is the configuration of git in a build that has a gate.
const gitConfig = "/codebuild/readonly/gitconfig"

func (b *build) closeGate() {
	if b.gate != nil {
		b.gate.Close()
		b.gate = nil
	}
}

func (b *build) closeLog() {
	if b.log == nil {
		return
	}
	if err := b.log.close(); err != nil {
		b.r.Log.Error("write log", "build", *b.Doc.Id, "error", err)
	}
	b.log = nil
}

// cleanup removes everything that the build had on this machine.
func (b *build) cleanup() {
	b.dropEarly()
	b.closeGate()
	b.closeLog()
	b.remove()
	for _, release := range b.released {
		release()
	}
}

// remove ends the environment and removes its files.
func (b *build) remove() {
	if b.env != nil {
		if err := b.env.Close(); err != nil {
			b.r.Log.Error("close environment", "build", *b.Doc.Id, "error", err)
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		b.r.Log.Error("remove working directory", "build", *b.Doc.Id, "error", err)
	}
}

// provision makes the environment.
func (b *build) provision() error {
	b.vars = newVariables(b)
	b.log.agent("Running on Corbel with the %s executor: %s", b.r.Executor.Traits().Name, b.r.Executor.Traits())
	if err := supported(b.Doc, b.log); err != nil {
		return err
	}
	if err := os.Mkdir(b.dir, 0o711); err != nil {
		return fmt.Errorf("make working directory: %w", err)
	}
	env, err := b.r.Executor.Start(b.ctx, executor.Spec{
		Build:   b.id,
		Dir:     b.dir,
		WorkDir: b.vars.srcDir(""),
		Env:     b.vars.fixed(),
		Limits:  b.r.limits(b.Doc.Environment.ComputeType),
	})
	if err != nil {
		return failed(codeStart, "The environment could not be started: %v", err)
	}
	b.env = env
	return nil
}

// download gets the sources, reads the buildspec and settles the environment
// variables.
func (b *build) download() error {
	b.log.agent("Waiting for DOWNLOAD_SOURCE")
	b.log.agent("Phase is DOWNLOAD_SOURCE")
	b.log.agent("CODEBUILD_SRC_DIR=%s", b.vars.srcDir(""))
	if why := b.untrusted(); why != "" {
		b.log.agent("This build gets no secrets, no git credential helper and no credential for secondary sources: %s", why)
	}
	primary, err := b.fetch(b.Doc.Source, b.version(), "primary source", "")
	if err != nil {
		return err
	}
	if primary != nil {
		b.Doc.ResolvedSourceVersion = &primary.Commit
		b.vars.resolved = primary.Commit
		if own, err := b.own(); err != nil {
			return err
		} else if own {
			b.Ref = primary.Ref
		}
	}
	versions := map[string]string{}
	for _, v := range b.Doc.SecondarySourceVersions {
		versions[*v.SourceIdentifier] = *v.SourceVersion
	}
	for i := range b.Doc.SecondarySources {
		src := &b.Doc.SecondarySources[i]
		id := value(src.SourceIdentifier)
		b.log.agent("CODEBUILD_SRC_DIR_%s=%s", id, b.vars.srcDir(id))
		if _, err := b.fetch(src, versions[id], id, id); err != nil {
			return err
		}
	}
	text, err := b.buildspec(primary)
	if err != nil {
		return err
	}
	spec, warnings, err := buildspec.Parse(text)
	if err != nil {
		return failed(codeYAML, "%v", err)
	}
	b.spec = spec
	b.log.agent("Processing environment variables")
	for _, w := range warnings {
		b.log.agent("Buildspec warning at line %d, column %d: %s", w.Line, w.Column, w.Message)
	}
	b.vars.spec = spec.Variables
	if err := b.vars.resolve(b.ctx); err != nil {
		return err
	}
	if err := b.openGate(); err != nil {
		return err
	}
	b.log.agent("Moving to directory %s", b.vars.srcDir(""))
	b.log.agent("Phases found in YAML: %d", len(spec.Phases))
	for _, p := range spec.Phases {
		b.log.agent(" %s: %d commands", strings.ToUpper(p.Name), len(p.Commands)+len(p.Finally))
	}
	return nil
}

// own reports whether the primary source, which was fetched, is the project's
// repository. A branch of another one may have the same name.
func (b *build) own() (bool, error) {
	project, err := b.r.Store.Project(b.ctx, b.Scope, *b.Doc.ProjectName)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read the build's project: %w", err)
	}
	repo, err := b.r.Credentials.Hosts.Locate(project.Source.Type, value(project.Source.Location))
	return err == nil && strings.EqualFold(repo.URL, b.access[0].Repository.URL), nil
}

// version is what is fetched: the source version, or what a webhook has bound to
// the commit that it was told of.
func (b *build) version() string {
	if b.Trigger != nil && b.Trigger.Version != "" {
		return b.Trigger.Version
	}
	return value(b.Doc.SourceVersion)
}

// untrusted says why the build may run code of somebody who is not to see
// secrets, "" if it does not.
func (b *build) untrusted() string {
	if b.Trigger == nil {
		return ""
	}
	return b.Trigger.Untrusted
}

// fetched is what became of a source.
type fetched struct {
	tree   *source.Tree // nil for a source that has nothing to fetch
	access *credential.Access
	err    error
}

// fetchEarly begins to get the primary source, which needs no environment.
func (b *build) fetchEarly() {
	early := make(chan fetched, 1)
	b.early = early
	go func() { // ends with the build's time at the latest
		early <- b.get(b.Doc.Source, b.version(), "primary source")
	}()
}

// dropEarly ends a fetch that nobody came for.
func (b *build) dropEarly() {
	if b.early == nil {
		return
	}
	b.cancel(nil)
	if got := <-b.early; got.tree != nil {
		got.tree.Release()
	}
	b.early = nil
}

// fetch brings one source into the environment. It returns nil for a source
// that has nothing to fetch.
func (b *build) fetch(src *api.ProjectSource, version, name, id string) (*source.Tree, error) {
	var got fetched
	if early := b.early; early != nil && id == "" {
		got, b.early = <-early, nil
	} else {
		got = b.get(src, version, name)
	}
	if got.err != nil || got.tree == nil {
		return nil, got.err
	}
	b.released = append(b.released, got.tree.Release)
	b.access = append(b.access, got.access)
	return got.tree, b.env.Place(b.ctx, executor.Tree{Dir: got.tree.Dir, Target: b.vars.srcDir(id)})
}

// get gets one source.
func (b *build) get(src *api.ProjectSource, version, name string) fetched {
	switch src.Type {
	case api.SourceTypeNO_SOURCE:
		return fetched{}
	case api.SourceTypeS3, api.SourceTypeCODECOMMIT, api.SourceTypeCODEPIPELINE:
		return fetched{err: failed(codeClient, "Corbel cannot fetch a source of type %s yet (%s). Use a git repository or NO_SOURCE", src.Type, name)}
	}
	access, err := b.r.Credentials.Resolve(b.ctx, b.Scope, src, b.Doc.Source)
	if err != nil {
		return fetched{err: mendable(err, name)}
	}
	if src != b.Doc.Source && b.untrusted() != "" {
		access = access.Anonymous()
	}
	access.Build = *b.Doc.Id
	needles, err := access.Needles(b.ctx)
	if err != nil {
		return fetched{err: mendable(err, name)}
	}
	for _, needle := range needles {
		b.log.hide(needle)
	}
	tree, err := b.r.Sources.Fetch(b.ctx, source.Request{
		Key:        access.Key(),
		URL:        access.Repository.URL,
		Upstream:   access.Upstream,
		Authorize:  access.Authorize(credential.ForSource),
		Version:    version,
		Depth:      value(src.GitCloneDepth),
		Submodules: src.GitSubmodulesConfig != nil && value(src.GitSubmodulesConfig.FetchSubmodules),
		Name:       name,
	})
	var known *source.Error
	if errors.As(err, &known) {
		if known.Refused {
			access.Refused(b.ctx)
		}
		return fetched{err: failed(codeClient, "%s", known.Message)}
	}
	return fetched{tree, access, mendable(err, name)}
}

// mendable makes an error that the user can mend the failure of the source
// that name stands for.
func mendable(err error, name string) error {
	if p, ok := errors.AsType[*credential.Problem](err); ok {
		return failed(codeClient, "%v for %s", p, name)
	}
	return err
}

// buildspec returns the text of the buildspec: inline, a file of the primary
// source, or buildspec.yml at its root.
func (b *build) buildspec(primary *source.Tree) ([]byte, error) {
	text := value(b.Doc.Source.Buildspec)
	if strings.HasPrefix(text, "arn:") {
		return nil, failed(codeYAML, "Corbel cannot read a buildspec from S3 yet: put it into the source or give it inline")
	}
	if inline(text) {
		const place = "/codebuild/readonly/buildspec.yml"
		b.log.agent("YAML location is %s", place)
		return []byte(text), b.env.Put(b.ctx, place, []byte(text))
	}
	if text == "" {
		text = "buildspec.yml"
	}
	shown := path.Join(b.vars.srcDir(""), text)
	b.log.agent("YAML location is %s", shown)
	if primary == nil {
		return nil, failed(codeYAML, "stat %s: no such file or directory", shown)
	}
	root, err := os.OpenRoot(primary.Dir)
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(path.Clean(text)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, failed(codeYAML, "stat %s: no such file or directory", shown)
	} else if err != nil {
		return nil, failed(codeYAML, "open %s: it is not a file of the source", shown)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, failed(codeYAML, "read %s: is not a regular file", shown)
	}
	data, err := io.ReadAll(io.LimitReader(f, buildspec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read buildspec: %w", err)
	}
	return data, nil
}

// inline reports whether a source's buildspec member holds YAML rather than a
// path.
func inline(text string) bool {
	return strings.Contains(text, "\n") || strings.HasPrefix(text, "{") || strings.HasPrefix(strings.TrimSpace(text), "version:")
}

// phases runs the commands of the buildspec. Its error is one of the store.
func (b *build) phases(ctx context.Context) error {
	skip := false // to the end
	for _, p := range []struct {
		name string
		kind api.BuildPhaseType
	}{
		{"install", api.BuildPhaseTypeINSTALL}, {"pre_build", api.BuildPhaseTypePRE_BUILD},
		{"build", api.BuildPhaseTypeBUILD}, {"post_build", api.BuildPhaseTypePOST_BUILD},
	} {
		ph := b.spec.Phase(p.name)
		phase.Enter(b.Doc, p.kind, b.r.Now())
		b.log.agent("Entering phase %s", p.kind)
		if len(ph.Commands)+len(ph.Finally) > 0 {
			pending := func(tx store.Tx, s store.Build) error { return b.r.report(ctx, tx, s) }
			if b.ran {
				pending = nil
			}
			b.ran = true
			if err := <-b.save(ctx, pending); err != nil {
				return err
			}
		}
		err := b.commands(ph)
		if p.name == "post_build" && err == nil {
			err = b.export()
		}
		if b.leave(err) {
			continue
		}
		if context.Cause(b.ctx) != nil || ph.OnFailure.Abort() || errors.Is(err, executor.ErrDead) {
			skip = true
			break
		}
		// BUILD goes on to POST_BUILD even when it failed.
		if p.name != "build" && p.name != "post_build" && !ph.OnFailure.Continue() {
			skip = true
			break
		}
	}
	if skip {
		return nil
	}
	phase.Enter(b.Doc, api.BuildPhaseTypeUPLOAD_ARTIFACTS, b.r.Now())
	var err error
	for _, a := range append([]api.BuildArtifacts{*b.Doc.Artifacts}, b.Doc.SecondaryArtifacts...) {
		if value(a.Location) != "" {
			err = failed(codeClient, "Corbel cannot upload artifacts to S3 yet. Use artifacts of type NO_ARTIFACTS")
		}
	}
	b.leave(err)
	return nil
}

// commands runs a phase's commands up to the first that fails, and then its
// finally commands in any case.
func (b *build) commands(p *buildspec.Phase) error {
	user := p.RunAs
	if user == "" {
		user = b.spec.RunAs
	}
	err := b.sequence(p.Commands, user, b.ok)
	if context.Cause(b.ctx) != nil {
		return err
	}
	if last := b.sequence(p.Finally, user, b.ok && err == nil); err == nil {
		err = last
	}
	return err
}

func (b *build) sequence(commands []string, user string, succeeding bool) error {
	for _, c := range commands {
		b.log.agent("Running command %s", c)
		script := c
		if b.spec.Version == "0.1" { // each command has a shell of its own there
			script = "(\n" + c + "\n)"
		}
		status, err := b.env.Run(b.ctx, executor.Command{Script: script, User: user, Shell: b.spec.Shell, Env: b.vars.command(user, succeeding)}, b.log)
		b.log.blank()
		switch {
		case err == nil:
		case context.Cause(b.ctx) != nil:
			return err
		case errors.Is(err, executor.ErrDead):
			return fmt.Errorf("%w: %w", &failure{api.StatusTypeFAILED, codeDead, "Build container found dead before completing the build. " + err.Error()}, err)
		case errors.Is(err, executor.ErrOutOfMemory) && status != 0:
			b.log.agent("The build reached its memory limit")
		default:
			return failed(codeClient, "%v", err)
		}
		b.vars.lastExit = status
		if status != 0 {
			b.log.agent("Command did not exit successfully %s exit status %d", c, status)
			return failed(codeCommand, "Error while executing command: %s. Reason: exit status %d", c, status)
		}
	}
	return nil
}

// export reads the values of the exported variables out of the shell.
func (b *build) export() error {
	if len(b.spec.ExportedVariables) == 0 {
		return nil
	}
	var script strings.Builder
	for _, name := range b.spec.ExportedVariables {
		fmt.Fprintf(&script, "printf '%%s\\000' \"${%s-}\"\n", name)
	}
	var out limited
	if _, err := b.env.Run(b.ctx, executor.Command{Script: script.String(), User: b.exportUser(), Shell: b.spec.Shell}, &out); err != nil {
		return err
	}
	values := strings.Split(out.String(), "\x00")
	for i, name := range b.spec.ExportedVariables {
		if i < len(values) {
			b.Doc.ExportedEnvironmentVariables = append(b.Doc.ExportedEnvironmentVariables, api.ExportedEnvironmentVariable{Name: new(name), Value: new(b.log.mask(values[i]))})
		}
	}
	return nil
}

// exportUser is whose shell has the values that are exported: that of the last
// phase with commands.
func (b *build) exportUser() string {
	user := b.spec.RunAs
	for _, p := range b.spec.Phases {
		if len(p.Commands)+len(p.Finally) > 0 {
			if user = p.RunAs; user == "" {
				user = b.spec.RunAs
			}
		}
	}
	return user
}

// limited keeps the first maxExported bytes of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), maxExported-min(l.Len(), maxExported))])
	return len(p), nil
}

// limits gives an environment what the compute type has at the service, as
// far as this machine has it.
// Source: user guide, "Build environment compute modes and types".
func (r *Runner) limits(c api.ComputeType) executor.Limits {
	l := computeTypes(c)
	l.CPUs = min(l.CPUs, float64(runtime.NumCPU()))
	if r.MaxMemory > 0 {
		l.MemoryBytes = min(l.MemoryBytes, r.MaxMemory)
	}
	return l
}

func computeTypes(c api.ComputeType) executor.Limits {
	const gib = 1 << 30
	switch c {
	case api.ComputeTypeBUILD_GENERAL1_SMALL, api.ComputeTypeBUILD_LAMBDA_4GB:
		return executor.Limits{MemoryBytes: 4 * gib, CPUs: 2}
	case api.ComputeTypeBUILD_LAMBDA_1GB:
		return executor.Limits{MemoryBytes: 1 * gib, CPUs: 2}
	case api.ComputeTypeBUILD_LAMBDA_2GB:
		return executor.Limits{MemoryBytes: 2 * gib, CPUs: 2}
	case api.ComputeTypeBUILD_GENERAL1_MEDIUM, api.ComputeTypeBUILD_LAMBDA_8GB:
		return executor.Limits{MemoryBytes: 8 * gib, CPUs: 4}
	case api.ComputeTypeBUILD_GENERAL1_LARGE:
		return executor.Limits{MemoryBytes: 16 * gib, CPUs: 8}
	case api.ComputeTypeBUILD_LAMBDA_10GB:
		return executor.Limits{MemoryBytes: 10 * gib, CPUs: 4}
	}
	return executor.Limits{} // the executor's defaults
}

// supported refuses what would silently not happen and warns of what has no
// effect here.
func supported(b *api.Build, log *output) error {
	switch t := b.Environment.Type; t {
	case api.EnvironmentTypeLINUX_CONTAINER, api.EnvironmentTypeLINUX_LAMBDA_CONTAINER, api.EnvironmentTypeLINUX_EC2,
		api.EnvironmentTypeARM_CONTAINER, api.EnvironmentTypeARM_LAMBDA_CONTAINER, api.EnvironmentTypeARM_EC2:
		if strings.HasPrefix(string(t), "ARM") != isARM() {
			return failed(codeClient, "Environment type %s needs a machine of another architecture than this server's", t)
		}
	default:
		return failed(codeClient, "Environment type %s is not supported by this server", t)
	}
	log.agent("The sandbox uses the programs of this machine; image %s is not pulled", *b.Environment.Image)
	if value(b.Environment.PrivilegedMode) {
		log.agent("Warning: privileged mode has no effect in the sandbox")
	}
	if b.Cache != nil && b.Cache.Type != "" && b.Cache.Type != api.CacheTypeNO_CACHE {
		log.agent("Warning: cache type %s is not supported yet; the build runs without a cache", b.Cache.Type)
	}
	if b.VpcConfig != nil && value(b.VpcConfig.VpcId) != "" {
		log.agent("Warning: vpcConfig has no effect; the build uses the network of this machine")
	}
	if len(b.FileSystemLocations) > 0 {
		return failed(codeClient, "File systems (fileSystemLocations) are not supported yet")
	}
	return nil
}

// number formats an int64 for the environment.
func number(n *int64) string { return strconv.FormatInt(value(n), 10) }

// value is what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
