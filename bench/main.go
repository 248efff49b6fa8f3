// Command bench measures Corbel beside the bare limit and, where it is
// installed, moto, all in one run, and prints the tables of
// docs/benchmarks.md.
//
// Client and server share the machine. Every cell is the median of the rounds
// by requests per second. A timing is never a pass or a failure; only a call
// that goes wrong ends the run with status 1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/sigv4"
)

const (
	benchKey    = "AKIDBENCH"
	benchSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var operations = []string{"ImportSourceCredentials", "ListSourceCredentials", "CreateProject", "BatchGetProjects", "StartBuild", "BatchGetBuilds", "ListBuilds"}

func main() {
	corbel := flag.String("corbel", "bin/corbel", "`path` of the program")
	duration := flag.Duration("d", 700*time.Millisecond, "`time` of a round")
	rounds := flag.Int("rounds", 3, "`number` of rounds of each cell")
	only := flag.String("only", "", "`part` to run: requests, growth, latency, webhooks or stored (default all)")
	rate := flag.Int("rate", 5000, "`number` of deliveries a minute of the load of webhooks")
	loadTime := flag.Duration("for", 10*time.Second, "`time` of the load of webhooks")
	stored := flag.Int("stored", 10000, "`number` of stored deliveries to measure with")
	sweepTime := flag.Duration("sweep", 2*time.Minute, "`time` after which the removal of old deliveries is not waited for")
	limitAt := flag.String("limit", "", "run the bare limit on this `address` and nothing else (the bench starts itself so)")
	db := flag.String("db", "", "`file` of the bare limit's database")
	flag.Parse()
	if *limitAt != "" {
		if err := serveLimit(*limitAt, *db); err != nil {
			fmt.Fprintln(os.Stderr, "limit:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx, corbel: *corbel, duration: *duration, rounds: *rounds, only: *only, rate: *rate, loadTime: *loadTime, stored: *stored, sweepTime: *sweepTime}
	if err := b.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveLimit is the process of the bare limit.
func serveLimit(address, db string) error {
	l, err := newLimit(db)
	if err != nil {
		return err
	}
	return (&http.Server{Addr: address, Handler: l, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}

var verifier sigv4.Verifier

// verify is Corbel's own check of signatures, for the one key of the bench.
func verify(r *http.Request, body []byte) error {
	_, err := verifier.Verify(r, body, time.Now(), func(_ context.Context, id string) (string, error) {
		if id != benchKey {
			return "", sigv4.ErrUnknownKey
		}
		return benchSecret, nil
	})
	return err
}

type bench struct {
	ctx       context.Context
	corbel    string
	duration  time.Duration
	rounds    int
	only      string
	rate      int
	loadTime  time.Duration
	stored    int
	sweepTime time.Duration
	dir       string
	stops     []func()
}

func (b *bench) run() (err error) {
	if b.dir, err = os.MkdirTemp("", "corbel-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return err
	}
	defer func() {
		for _, stop := range slices.Backward(b.stops) {
			stop()
		}
	}()
	fmt.Printf("%s, %d processors, %s. Medians of %d rounds of %v; client and server share the machine.\n",
		runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), runtime.Version(), b.rounds, b.duration)

	for _, part := range []struct {
		name string
		run  func() error
	}{{"requests", b.requests}, {"growth", b.growth}, {"latency", b.firstCommand}, {"webhooks", b.webhooks}, {"stored", b.manyDeliveries}} {
		if b.only == "" || b.only == part.name {
			if err := part.run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// requests measures the start and the calls, beside the limit and moto.
func (b *bench) requests() error {
	// Builds are queued and not run, so that the figures are those of the API.
	corbel, server, err := b.startCorbel("api", "-builds", "0", "-verify-credentials", "off", "-max-queued-builds", "0")
	if err != nil {
		return err
	}
	fmt.Printf("\n## Start\n\nFirst answer %s after exec on an empty directory; idle memory %s.\n", b.coldStart(), rss(server))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	limitAt := freeAddress()
	if _, err := b.spawn(self, "-limit", limitAt, "-db", filepath.Join(b.dir, "limit.db")); err != nil {
		return err
	}
	targets := []*target{corbel, newTarget("limit", "http://"+limitAt, benchKey, benchSecret, "123456789012")}
	if moto, err := exec.LookPath("moto_server"); err == nil {
		at := freeAddress()
		host, port, _ := net.SplitHostPort(at)
		if _, err := b.spawn(moto, "-H", host, "-p", port); err != nil {
			return err
		}
		targets = append(targets, newTarget("moto", "http://"+at, benchKey, benchSecret, "123456789012"))
	}
	for _, t := range targets {
		if err := b.await(t); err != nil {
			return err
		}
		if err := t.prepare(b.ctx); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	fmt.Print("\n## Requests\n\n| call | connections |")
	for _, t := range targets {
		fmt.Printf(" %s /s | p50 ms | p99 ms |", t.name)
	}
	fmt.Print(" of limit | of moto |\n|---|---|", strings.Repeat("---|---|---|", len(targets)), "---|---|\n")
	for _, op := range operations {
		for _, conns := range []int{1, 8, 64} {
			if err := b.row(targets, op, conns); err != nil {
				return err
			}
		}
	}
	fmt.Printf("\nMemory of corbel after that: %s.\n", rss(server))
	return nil
}

// row measures one call on all targets in turn, round by round.
func (b *bench) row(targets []*target, op string, conns int) error {
	figures := make([][]figure, len(targets))
	missing := make([]bool, len(targets))
	for range b.rounds {
		for i, t := range targets {
			if missing[i] {
				continue
			}
			f, err := t.load(b.ctx, op, conns, b.duration)
			if err != nil && t.name == "moto" {
				missing[i] = true // not there
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			figures[i] = append(figures[i], f)
		}
	}
	fmt.Printf("| %s | %d |", op, conns)
	perSecond := map[string]float64{}
	for i, t := range targets {
		if missing[i] {
			fmt.Print(" - | - | - |")
			continue
		}
		f := median(figures[i])
		perSecond[t.name] = f.perSecond
		fmt.Printf(" %.0f | %.2f | %.2f |", f.perSecond, ms(f.p50), ms(f.p99))
	}
	for _, other := range []string{"limit", "moto"} {
		if perSecond[other] == 0 {
			fmt.Print(" - |")
		} else {
			fmt.Printf(" %.2f |", perSecond["corbel"]/perSecond[other])
		}
	}
	fmt.Println()
	return b.ctx.Err()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// growth measures listing and reading with few and with many stored builds.
func (b *bench) growth() error {
	t, _, err := b.startCorbel("growth", "-builds", "0", "-max-queued-builds", "0")
	if err != nil {
		return err
	}
	if err := t.prepare(b.ctx); err != nil {
		return err
	}
	fmt.Print("\n## Growth\n\n| stored builds | ListBuilds p50 ms | BatchGetBuilds p50 ms | StartBuild p50 ms |\n|---|---|---|---|\n")
	for _, n := range []int{100, 1000, 10000} {
		for len(t.builds) < n {
			if err := t.start(b.ctx); err != nil {
				return err
			}
		}
		fmt.Printf("| %d |", n)
		for _, op := range []string{"ListBuilds", "BatchGetBuilds", "StartBuild"} {
			var figures []figure
			for range b.rounds {
				d := b.duration
				if op == "StartBuild" {
					d = 100 * time.Millisecond // it adds to what is stored
				}
				f, err := t.load(b.ctx, op, 1, d)
				if err != nil {
					return err
				}
				figures = append(figures, f)
			}
			fmt.Printf(" %.2f |", ms(median(figures).p50))
		}
		fmt.Println()
	}
	return nil
}

// firstCommand measures the time from sending StartBuild to the first command
// of the build, of a build without a source and of one of a private repository
// that was built before. The command prints the time, so starting the program
// that does is part of the figure.
func (b *bench) firstCommand() error {
	host, err := forgetest.New(forgetest.Options{})
	if err != nil {
		return err
	}
	b.stops = append(b.stops, func() { _ = host.Close() })
	const token = "ghp_BenchTokenOfNoUse0123456789abcdefghij"
	host.AddToken(forgetest.Token{Value: token, Login: "bench", Scopes: []string{"repo"}})
	const spec = "version: 0.2\nphases:\n  build:\n    commands:\n      - date +started=%s%N\n"
	if _, err := host.AddRepository(forgetest.Repository{Name: "bench/app", Commits: []forgetest.Commit{{Files: map[string]string{"buildspec.yml": spec}}}}); err != nil {
		return err
	}
	t, _, err := b.startCorbel("latency", "-host", "github.com="+host.URL)
	if err != nil {
		return err
	}
	importBody := `{"serverType":"GITHUB","authType":"PERSONAL_ACCESS_TOKEN","token":"` + token + `"}`
	if _, err := t.do(b.ctx, "ImportSourceCredentials", []byte(importBody)); err != nil {
		return err
	}
	fmt.Print("\n## StartBuild sent to first command\n\n| source | builds | min ms | median ms | max ms | whole build, median ms |\n|---|---|---|---|---|---|\n")
	for i, c := range []struct{ name, source string }{
		{"none", mustJSON(map[string]string{"type": "NO_SOURCE", "buildspec": spec})},
		{"private repository, built before", `{"type":"GITHUB","location":"https://github.com/bench/app.git"}`},
	} {
		t.project = "latency-" + strconv.Itoa(i)
		if _, err := t.do(b.ctx, "CreateProject", []byte(mustJSON(map[string]any{
			"name": t.project, "source": json.RawMessage(c.source), "artifacts": map[string]string{"type": "NO_ARTIFACTS"}, "serviceRole": t.role,
			"environment": map[string]string{"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
		}))); err != nil {
			return err
		}
		var first, whole []time.Duration
		for n := range 43 {
			// Builds seldom come on each other's heels.
			time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond))
			sent := time.Now()
			if err := t.start(b.ctx); err != nil {
				return err
			}
			id := t.builds[len(t.builds)-1]
			took, err := b.seconds(t, id)
			if err != nil {
				return err
			}
			began, err := b.started(t, id)
			if err != nil {
				return err
			}
			if n >= 3 { // the first ones warm up
				first, whole = append(first, began.Sub(sent)), append(whole, took)
			}
		}
		slices.Sort(first)
		slices.Sort(whole)
		fmt.Printf("| %s | %d | %.1f | %.1f | %.1f | %.1f |\n", c.name, len(first), ms(first[0]), ms(first[len(first)/2]), ms(first[len(first)-1]), ms(whole[len(whole)/2]))
	}
	return nil
}

var startedLine = regexp.MustCompile(`started=(\d+)\\n`)

// started reads from a build's log when its command ran.
func (b *bench) started(t *target, id string) (time.Time, error) {
	project, stream, _ := strings.Cut(id, ":")
	answer, err := t.send(b.ctx, "logs", "Logs_20140328.GetLogEvents", []byte(`{"logGroupName":"/aws/codebuild/`+project+`","logStreamName":"`+stream+`"}`))
	if err != nil {
		return time.Time{}, err
	}
	m := startedLine.FindSubmatch(answer)
	if m == nil {
		return time.Time{}, fmt.Errorf("the log of %s does not say when it started", id)
	}
	ns, err := strconv.ParseInt(string(m[1]), 10, 64)
	return time.Unix(0, ns), err
}

// seconds waits for the end of a build and returns how long it took.
func (b *bench) seconds(t *target, id string) (time.Duration, error) {
	for b.ctx.Err() == nil {
		answer, err := t.do(b.ctx, "BatchGetBuilds", []byte(`{"ids":["`+id+`"]}`))
		if err != nil {
			return 0, err
		}
		var out struct {
			Builds []struct {
				BuildComplete      bool
				BuildStatus        string
				StartTime, EndTime float64
			}
		}
		if err := json.Unmarshal(answer, &out); err != nil {
			return 0, err
		}
		if got := out.Builds[0]; got.BuildComplete {
			if got.BuildStatus != "SUCCEEDED" {
				return 0, fmt.Errorf("build %s ended as %s", id, got.BuildStatus)
			}
			return time.Duration((got.EndTime - got.StartTime) * float64(time.Second)), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	return 0, b.ctx.Err()
}

func mustJSON(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// startCorbel runs a server on a directory of its own.
func (b *bench) startCorbel(name string, args ...string) (*target, *exec.Cmd, error) {
	data := filepath.Join(b.dir, name)
	address := freeAddress()
	cmd, err := b.spawn(b.corbel, append([]string{"serve", "-data", data, "-listen", address}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	t := newTarget("corbel", "http://"+address, "", "", "")
	if err := b.await(t); err != nil {
		return nil, nil, err
	}
	out, err := exec.Command(b.corbel, "keys", "create", "-user", "bench", "-data", data).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("corbel keys create: %w", err)
	}
	list, err := exec.Command(b.corbel, "keys", "list", "-data", data).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("corbel keys list: %w", err)
	}
	pair := strings.Fields(string(out))
	account := strings.Fields(strings.Split(string(list), "\n")[1])[1]
	t = newTarget("corbel", "http://"+address, pair[0], pair[1], account)
	return t, cmd, nil
}

func newTarget(name, url, key, secret, account string) *target {
	return &target{
		name: name, url: url, key: key, secret: secret, role: "arn:aws:iam::" + account + ":role/r",
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
}

// spawn starts a server, which ends with the bench.
func (b *bench) spawn(program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(program, args...)
	log, err := os.CreateTemp(b.dir, "log-*")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	b.stops = append(b.stops, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
	})
	return cmd, nil
}

// await waits until a server answers anything.
func (b *bench) await(t *target) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; {
		resp, err := t.http.Get(t.url + "/healthz")
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-time.After(time.Millisecond):
		case <-b.ctx.Done():
		}
	}
	return fmt.Errorf("%s does not answer", t.name)
}

// coldStart is the median time from exec to the first answer, of seven starts
// on empty directories.
func (b *bench) coldStart() string {
	var times []time.Duration
	for i := range 7 {
		address := freeAddress()
		at := time.Now()
		cmd := exec.Command(b.corbel, "serve", "-data", filepath.Join(b.dir, "cold"+strconv.Itoa(i)), "-listen", address, "-builds", "0")
		if err := cmd.Start(); err != nil {
			return err.Error()
		}
		err := b.await(newTarget("corbel", "http://"+address, "", "", ""))
		times = append(times, time.Since(at))
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if err != nil {
			return err.Error()
		}
	}
	slices.Sort(times)
	return fmt.Sprintf("%.1f / %.1f / %.1f ms (min, median, max of 7)", ms(times[0]), ms(times[3]), ms(times[6]))
}

// freeAddress is an address of 127.0.0.1 that nobody listened on just now.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// rss is a process's resident memory.
func rss(cmd *exec.Cmd) string { return memory(cmd, "VmRSS") }

// memory is one of the kernel's figures of a process's memory.
func memory(cmd *exec.Cmd, name string) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return err.Error()
	}
	for line := range bytes.Lines(status) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == name+":" {
			kib, _ := strconv.Atoi(f[1])
			return fmt.Sprintf("%.1f MiB", float64(kib)/1024)
		}
	}
	return "unknown"
}
