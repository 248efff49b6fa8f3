package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/executor"
	"github.com/corbel-build/corbel/internal/executor/sandbox"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/metrics"
	"github.com/corbel-build/corbel/internal/runner"
	"github.com/corbel-build/corbel/internal/secret"
	"github.com/corbel-build/corbel/internal/server"
	"github.com/corbel-build/corbel/internal/service"
	"github.com/corbel-build/corbel/internal/source"
	"github.com/corbel-build/corbel/internal/status"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
	"github.com/corbel-build/corbel/internal/vault/kek"
	"github.com/corbel-build/corbel/internal/webhook"
)

const serveUsage = `Usage:
    corbel serve [flags]

Runs the server: the CodeBuild API, the logs of builds, and the builds
themselves. The first start makes the data directory, an account and an access
key; "corbel env" prints what to export. The server ends on SIGINT and SIGTERM.

Every flag can be set as CORBEL_<FLAG> in the environment, with _ for -, and as
a key of the YAML file that -config names. A flag wins over the environment,
that over the file.

Flags:
`

// runningFile tells other commands where the server is.
const runningFile = "server.json"

// database is the file of the store.
func (c *config) database() string { return filepath.Join(c.data, "corbel.db") }

// serve is "corbel serve".
func serve(ctx context.Context, args []string, _, errOut io.Writer) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() {
		fmt.Fprint(errOut, serveUsage)
		fs.PrintDefaults()
	}
	var c config
	if err := c.parse(fs, args, os.Getenv); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(errOut, nil))
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, &c, log, errOut)
}

// run wires adapters to rooms and runs them until ctx ends. Shutdown goes from
// the outside in: no new requests, then the builds, then the statuses they
// left, then the store.
func run(ctx context.Context, c *config, log *slog.Logger, errOut io.Writer) (err error) {
	if err := seclude(); err != nil {
		return err
	}
	unlock, err := prepare(ctx, c)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	at := "http://" + listener.Addr().String()
	if c.tlsCert != "" {
		at = "https://" + listener.Addr().String()
	}
	if c.publicURL == "" {
		c.publicURL = at
	}

	st, err := sqlite.Open(ctx, c.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	v, err := openVault(ctx, c, st)
	if err != nil {
		return err
	}
	keys := &access.Keys{Store: st, Vault: v, Now: time.Now}
	if err := firstStart(ctx, st, keys, errOut, c); err != nil {
		return err
	}
	listed, err := readHosts(c.data)
	if err != nil {
		return err
	}
	hosts, err := forge.NewHosts(providers.All, append(slices.Clone(c.hosts), listed...))
	if err != nil {
		return err
	}
	transport := forge.Transport(hosts)
	forges := hosts.Forges(transport)
	logs, err := buildlog.Open(filepath.Join(c.data, "logs"))
	if err != nil {
		return err
	}
	secrets := &secret.Reader{Store: st, Vault: v, Remote: c.secrets}
	resolver := &credential.Resolver{
		Store: st, Vault: v, Hosts: hosts, Now: time.Now,
		OAuth: &credential.OAuth{Transport: transport, Hosts: hosts, Apps: c.apps, Callback: c.publicURL + "/console/oauth/callback"},
		Secret: func(ctx context.Context, s store.Scope, arn string) (api.Secret, error) {
			return secrets.Secret(ctx, s, arn, "", "")
		},
	}
	checker := credential.NewChecker(resolver, forges, c.checkEvery, log)

	flows := service.NewOAuthFlows()
	defer flows.Close()
	var isolation atomic.Pointer[string] // what keeps builds apart, once it was tried
	isolation.Store(new("not ready yet"))
	svc := &service.Service{
		Store: st, Vault: v, Keys: keys, Hosts: hosts, Checker: checker, Flows: flows, Logs: logs, Log: log, Now: time.Now,
		Verify: service.Verify(c.verify), MaxQueued: c.maxQueued, URL: c.publicURL,
		About: service.About{Version: programVersion(), Builds: c.builds, Executor: func() string { return *isolation.Load() }},
	}
	inbox := webhook.New(webhook.Config{
		Store: st, Vault: v, Credentials: resolver, Forges: forges, Log: log, Now: time.Now, URL: c.publicURL, Keep: c.keepDeliveries, Start: svc.StartTriggered,
		Settle: svc.SettleHook,
	})
	handler, err := server.New(server.Config{
		Service: svc, Keys: keys, Store: st, Webhooks: inbox, Log: log, Now: time.Now, PublicURL: c.publicURL, Region: defaultRegion(), Proxies: c.trusted,
		Sessions: &access.Sessions{Keys: keys, Life: access.DefaultLife, Idle: access.DefaultIdle},
	})
	if err != nil {
		return err
	}
	httpServer := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var rooms sync.WaitGroup
	room := func(name string, f func(context.Context) error) {
		rooms.Go(func() { // ends with ctx; an early end ends everything
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	sender := &status.Sender{Store: st, Credentials: resolver, Forges: forges, Log: log, Now: time.Now}
	room("commit statuses", sender.Run)
	room("credential checks", checker.Run)
	room("webhooks", inbox.Run)
	room("polling", inbox.Poll)
	room("hosts", func(ctx context.Context) error { return watchHosts(ctx, c, hosts, log) })
	room("http", func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() { // ends with Shutdown
			if c.tlsCert != "" {
				done <- httpServer.ServeTLS(listener, c.tlsCert, c.tlsKey)
			} else {
				done <- httpServer.Serve(listener)
			}
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			last, release := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer release()
			return httpServer.Shutdown(last)
		}
	})
	if c.metrics != "" {
		room("metrics", func(ctx context.Context) error { return serveMetrics(ctx, c.metrics, st, log) })
	}
	// The API answers while the sandbox is still being tried.
	room("builds", func(ctx context.Context) error {
		hidden := slices.Concat([]string{c.data, c.rootKey}, kek.Files(v.Wrap()), c.apps.Files())
		return runBuilds(ctx, c, hidden, st, logs, resolver, secrets, transport, func(text string) { isolation.Store(&text) }, log)
	})
	svc.NoteAddresses(ctx)
	if err := announce(c, at, log); err != nil {
		cancel(err)
	}
	rooms.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	log.Info("stopped")
	return nil
}

// serveMetrics answers Prometheus.
func serveMetrics(ctx context.Context, at string, st store.Store, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(st, log, time.Now))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	log.Info("metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // a scrape may be cut short
	defer stop()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// runBuilds runs builds, if the kernel lets us isolate them. If not, the rest
// of the server works and builds wait. tell is told which it is.
func runBuilds(ctx context.Context, c *config, hidden []string, st store.Store, logs *buildlog.Logs, resolver *credential.Resolver, secrets *secret.Reader, transport http.RoundTripper, tell func(string), log *slog.Logger) error {
	if c.builds == 0 {
		tell("builds are queued and not run, as configured")
		log.Info("builds are queued and not run, as configured")
		<-ctx.Done()
		return nil
	}
	memory := c.memory
	if memory == 0 {
		var m unix.Sysinfo_t
		if err := unix.Sysinfo(&m); err != nil {
			return fmt.Errorf("read the size of memory: %w", err)
		}
		memory = int64(m.Totalram) * int64(m.Unit) / 4 * 3
	}
	sb, err := sandbox.New(ctx, sandbox.Config{
		ReadOnly: c.readOnly, Hidden: hidden, Network: c.network,
		Limits: executor.Limits{MemoryBytes: memory, Processes: c.processes},
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		tell("builds do not run: this kernel refuses the sandbox")
		log.Error("BUILDS DO NOT RUN: this kernel refuses the sandbox; see docs/operating.md", "error", err)
		<-ctx.Done()
		return nil
	}
	defer sb.Close()
	tell(sb.Traits().String())
	log.Info("builds run in the sandbox", "traits", sb.Traits().String(), "at_a_time", c.builds)
	uid, gid := sb.FileOwner()
	sources, err := source.New(source.Config{
		Dir: filepath.Join(c.data, "sources"), Transport: transport, Confine: sb.Confine, UID: uid, GID: gid, Log: log,
	})
	if err != nil {
		return err
	}
	defer sources.Close()
	var holder [8]byte
	rand.Read(holder[:])
	return (&runner.Runner{
		Store: st, Executor: sb, Sources: sources, Credentials: resolver, Logs: logs, Log: log, Now: time.Now,
		Secrets: secrets.Reference, Parameters: secrets.Parameter,
		Holder: hex.EncodeToString(holder[:]), Alone: true, Slots: c.builds,
		Dir: filepath.Join(c.data, "builds"), URL: c.publicURL, MaxMemory: memory, DiskReserve: c.diskReserve,
	}).Run(ctx)
}

// seclude keeps the memory of the process, where opened tokens pass through,
// out of core files and away from debuggers of the same user. As an ordinary
// user it may not hide itself: then its children could not be given user
// namespaces. What it starts is not hidden, since that ends with exec.
func seclude() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch core files off: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("switch core files off: %w", err)
	}
	return nil
}

// prepare makes the data directory and takes its lock, so that two servers
// never work on one.
func prepare(ctx context.Context, c *config) (unlock func(), err error) {
	// Others may pass through, since builds run under another user id, but
	// not list; the files inside have narrower modes.
	if err := os.MkdirAll(c.data, 0o711); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.data, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	// A server that was killed while it started a process holds the lock until
	// that process has its own program, and commands that look for a running
	// server hold it for a moment.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(lockTime); unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; {
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("another server runs on %s", c.data), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-tick.C:
		}
	}
	return func() { f.Close() }, nil
}

// lockTime is how long a start waits for the lock of the data directory.
const lockTime = time.Second

// openVault opens the ring of root keys, or makes it when the database is
// new, and makes sure that it is the one that the database was sealed with.
func openVault(ctx context.Context, c *config, st store.Store) (*vault.Vault, error) {
	check, err := st.Check(ctx, "root-key")
	switch {
	case errors.Is(err, store.ErrNotFound):
		v, err := vault.OpenOrCreate(c.rootKey, kek.Open)
		if err != nil {
			return nil, fmt.Errorf("open root keys: %w", err)
		}
		return v, st.Update(ctx, func(tx store.Tx) error {
			value, err := v.CheckValue()
			if err != nil {
				return err
			}
			return tx.PutCheck(ctx, "root-key", value)
		})
	case err != nil:
		return nil, fmt.Errorf("read the check value of the root keys: %w", err)
	}
	v, err := vault.Open(c.rootKey, kek.Open)
	if err != nil {
		return nil, fmt.Errorf("open root keys: %w", err)
	}
	if err := v.Check(check); err != nil {
		return nil, hinted{fmt.Errorf("the root keys in %s are not those of this database: %w", c.rootKey, err), "put the right ring back; without it no stored secret can be opened"}
	}
	return v, nil
}

// firstStart makes the account and its key if there is none.
func firstStart(ctx context.Context, st store.Store, keys *access.Keys, errOut io.Writer, c *config) error {
	accounts, err := st.Accounts(ctx)
	if err != nil || len(accounts) > 0 {
		return err
	}
	a, err := access.CreateAccount(ctx, st, time.Now())
	if err != nil {
		return fmt.Errorf("make the first account: %w", err)
	}
	if _, _, err := keys.Create(ctx, a.ID, "admin", "", time.Time{}); err != nil {
		return fmt.Errorf("make the first access key: %w", err)
	}
	fmt.Fprintf(errOut, "Made account %s with an access key. To use it:\n\n    eval \"$(corbel env -data %s)\"\n\n", a.ID, c.data)
	return nil
}

// announce tells people and other commands where the server is.
func announce(c *config, at string, log *slog.Logger) error {
	b, err := json.Marshal(running{URL: at, PID: os.Getpid(), Hosts: c.hosts})
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(c.data, runningFile), b, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", runningFile, err)
	}
	log.Info("listening", "url", at, "data", c.data)
	return nil
}
