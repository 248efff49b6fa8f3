package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/corbel-build/corbel/internal/sigv4"
)

// A target is a server under load.
type target struct {
	name        string
	url         string
	key, secret string
	role        string
	http        *http.Client

	project string   // the project that builds are started of
	builds  []string // ids of builds that were started
	mu      sync.Mutex
	serial  atomic.Int64
}

// do sends one signed call of CodeBuild's and returns its answer.
func (t *target) do(ctx context.Context, op string, body []byte) ([]byte, error) {
	return t.send(ctx, "codebuild", "CodeBuild_20161006."+op, body)
}

func (t *target) send(ctx context.Context, service, operation string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", operation)
	sigv4.Sign(r, body, t.key, t.secret, "us-east-1", service, time.Now())
	resp, err := t.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: HTTP %d: %.200s", operation, resp.StatusCode, answer)
	}
	return answer, err
}

// prepare makes the project and a first build.
func (t *target) prepare(ctx context.Context) error {
	t.project = "base"
	if _, err := t.do(ctx, "CreateProject", t.projectBody(t.project)); err != nil {
		return err
	}
	return t.start(ctx)
}

func (t *target) start(ctx context.Context) error {
	answer, err := t.do(ctx, "StartBuild", t.body("StartBuild", 0))
	if err == nil {
		err = t.note(answer)
	}
	return err
}

// note remembers the build that an answer of StartBuild has.
func (t *target) note(answer []byte) error {
	var out struct{ Build struct{ ID string } }
	if err := json.Unmarshal(answer, &out); err != nil {
		return err
	}
	t.mu.Lock()
	t.builds = append(t.builds, out.Build.ID)
	t.mu.Unlock()
	return nil
}

// projectBody is a CreateProject of about 2 KB, as people have them.
func (t *target) projectBody(name string) []byte {
	var vars []map[string]string
	for i := range 12 {
		vars = append(vars, map[string]string{"name": fmt.Sprintf("VARIABLE_NUMBER_%02d", i), "value": strings.Repeat("v", 24), "type": "PLAINTEXT"})
	}
	spec := "version: 0.2\nphases:\n  install:\n    commands:\n      - echo install\n  build:\n    commands:\n" +
		strings.Repeat("      - echo building the project\n", 14)
	body, err := json.Marshal(map[string]any{
		"name": name, "description": "load test project", "serviceRole": t.role,
		"source":      map[string]any{"type": "GITHUB", "location": "https://github.com/o/r.git", "gitCloneDepth": 1, "buildspec": spec},
		"artifacts":   map[string]any{"type": "NO_ARTIFACTS"},
		"environment": map[string]any{"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL", "environmentVariables": vars},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// body is the n-th request of an operation.
func (t *target) body(op string, n int64) []byte {
	switch op {
	case "CreateProject":
		return t.projectBody(fmt.Sprintf("p-%d", t.serial.Add(1)))
	case "BatchGetProjects":
		return []byte(`{"names":["` + t.project + `"]}`)
	case "StartBuild":
		return []byte(`{"projectName":"` + t.project + `"}`)
	case "BatchGetBuilds":
		t.mu.Lock()
		defer t.mu.Unlock()
		return []byte(`{"ids":["` + t.builds[int(n*7919)%len(t.builds)] + `"]}`)
	case "ImportSourceCredentials":
		types := []string{"GITHUB", "BITBUCKET", "GITHUB_ENTERPRISE"}
		return fmt.Appendf(nil, `{"authType":"PERSONAL_ACCESS_TOKEN","serverType":"%s","token":"ghp_%036d"}`, types[n%3], n)
	}
	return []byte(`{}`)
}

// A figure is what one cell of the load measured.
type figure struct {
	perSecond float64
	p50, p99  time.Duration
}

// load calls op on conns connections for the given time.
func (t *target) load(ctx context.Context, op string, conns int, d time.Duration) (figure, error) {
	var n atomic.Int64
	var wg sync.WaitGroup
	times := make([][]time.Duration, conns)
	errs := make([]error, conns)
	began := time.Now()
	for w := range conns {
		wg.Go(func() { // ends after d or with its first error
			for time.Since(began) < d {
				body := t.body(op, n.Add(1))
				at := time.Now()
				answer, err := t.do(ctx, op, body)
				if err == nil && op == "StartBuild" {
					err = t.note(answer)
				}
				if err != nil {
					errs[w] = err
					return
				}
				times[w] = append(times[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	all := slices.Concat(times...)
	if err := errors.Join(errs...); err != nil {
		return figure{}, err
	}
	slices.Sort(all)
	return figure{float64(len(all)) / took.Seconds(), all[len(all)/2], all[len(all)*99/100]}, nil
}

// median of the rounds, by requests per second.
func median(f []figure) figure {
	slices.SortFunc(f, func(a, b figure) int {
		switch {
		case a.perSecond < b.perSecond:
			return -1
		case a.perSecond > b.perSecond:
			return 1
		}
		return 0
	})
	return f[len(f)/2]
}
