package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

const (
	// hooks share the load of deliveries.
	hooks = 8
	// matching is how many deliveries there are for each that starts a build,
	// twice for each that the provider sends a second time.
	matching, twice = 10, 20
)

// A hook is a webhook that the bench is the provider of.
type hook struct {
	project, url, secret string
}

// hook makes a project with a webhook for pushes to main.
func (t *target) hook(ctx context.Context, project string) (hook, error) {
	_, err := t.do(ctx, "CreateProject", []byte(mustJSON(map[string]any{
		"name": project, "source": map[string]string{"type": "GITHUB", "location": "https://github.com/octo/" + project + ".git"},
		"artifacts": map[string]string{"type": "NO_ARTIFACTS"}, "serviceRole": t.role,
		"environment": map[string]string{"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
	})))
	if err != nil {
		return hook{}, err
	}
	answer, err := t.do(ctx, "CreateWebhook", []byte(mustJSON(map[string]any{
		"projectName": project, "manualCreation": true,
		"filterGroups": [][]map[string]string{{{"type": "EVENT", "pattern": "PUSH"}, {"type": "HEAD_REF", "pattern": "^refs/heads/main$"}}},
	})))
	if err != nil {
		return hook{}, err
	}
	var out struct {
		Webhook struct{ PayloadURL, Secret string }
	}
	err = json.Unmarshal(answer, &out)
	return hook{project, out.Webhook.PayloadURL, out.Webhook.Secret}, err
}

func (t *target) hooks(ctx context.Context) ([]hook, error) {
	list := make([]hook, hooks)
	for i := range list {
		var err error
		if list[i], err = t.hook(ctx, fmt.Sprintf("hooked-%d", i)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// push is a push of GitHub's with eleven commits, about 10 KB. No two have the
// same n.
func (h hook) push(n int, branch string) []byte {
	type object = map[string]any
	octocat := object{"id": 583231, "login": "octocat", "type": "User", "site_admin": false, "url": "https://api.github.com/users/octocat"}
	commit := func(i int) object {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", h.project, n, i))
		id := hex.EncodeToString(sum[:20])
		who := object{"name": "The Octocat", "email": "octocat@example.com", "username": "octocat"}
		return object{
			"id": id, "tree_id": hex.EncodeToString(sum[12:]), "distinct": true, "timestamp": "2026-11-27T12:00:00Z", "author": who, "committer": who,
			"message": fmt.Sprintf("app: change number %d of push %d\n\n%s", i, n, strings.Repeat("It says why, in a line or two. ", 5)),
			"url":     "https://github.com/octo/" + h.project + "/commit/" + id,
			"added":   []string{"internal/app/new_" + id[:8] + ".go"}, "removed": []string{}, "modified": []string{"README.md", "internal/app/app.go", "internal/app/app_test.go"},
		}
	}
	var commits []object
	for i := range 11 {
		commits = append(commits, commit(i))
	}
	head := commits[len(commits)-1]
	return []byte(mustJSON(object{
		"ref": "refs/heads/" + branch, "before": commit(-1)["id"], "after": head["id"], "created": false, "deleted": false, "forced": false,
		"commits": commits, "head_commit": head, "pusher": object{"name": "octocat", "email": "octocat@example.com"}, "sender": octocat,
		"repository": object{
			"id": 1296269, "name": h.project, "full_name": "octo/" + h.project, "private": true, "owner": octocat, "default_branch": "main",
			"html_url": "https://github.com/octo/" + h.project, "clone_url": "https://github.com/octo/" + h.project + ".git", "pushed_at": 1795780800 + n,
		},
	}))
}

// errLater is the answer that a delivery was not taken and is to come again.
var errLater = errors.New("HTTP 503")

// deliver sends a body as GitHub does, under GitHub's id of it.
func (h hook) deliver(ctx context.Context, client *http.Client, id string, body []byte) (answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, []byte(h.secret))
	mac.Write(body)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/bench", "X-GitHub-Event": "push", "X-GitHub-Delivery": id,
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		err = fmt.Errorf("deliver %s: %w: %.200s", id, errLater, text)
	} else if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("deliver %s: HTTP %d: %.200s", id, resp.StatusCode, text)
	}
	return string(text), err
}

// webhooks measures what a delivery takes, and a load of them.
func (b *bench) webhooks() error {
	t, server, err := b.startCorbel("webhooks", "-builds", "0", "-max-queued-builds", "0")
	if err != nil {
		return err
	}
	list, err := t.hooks(b.ctx)
	if err != nil {
		return err
	}
	fmt.Print("\n## Webhooks\n\n| what | deliveries | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n")
	sent := ledger{}
	answers, queued, err := t.queueing(b.ctx, list[0], 200, sent)
	if err != nil {
		return err
	}
	row("one at a time: sent to answered", answers)
	row("one at a time: sent to its build seen in ListBuildsForProject", queued)
	answers, err = t.deliveries(b.ctx, list, b.rate, b.loadTime, sent)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("%d a minute for %v: sent to answered", b.rate, b.loadTime), answers)
	began := time.Now()
	if err := t.settled(b.ctx, list); err != nil {
		return err
	}
	fmt.Printf("\nThe last delivery was decided at most %v after the last answer. Memory of corbel after that: %s.\n", time.Since(began).Round(time.Millisecond), rss(server))
	builds, err := t.audit(b.ctx, list, sent)
	if err != nil {
		return err
	}
	fmt.Printf("%d deliveries, one of %d sent twice: none is lost and none doubled. %d builds: one for each delivery that matches.\n", len(sent), twice, builds)
	later, err := t.large(b.ctx, list)
	if err != nil {
		return err
	}
	if err := t.settled(b.ctx, list); err != nil {
		return err
	}
	fmt.Printf("The most memory that corbel ever had, after 32 deliveries of 24 MiB at a time: %s. %d of them were answered 503, to come later.\n", memory(server, "VmHWM"), later)
	return nil
}

// large sends 32 of the largest deliveries at a time. Later is how many were not
// taken, as those whose turn does not come within the time that providers wait.
func (t *target) large(ctx context.Context, list []hook) (later int, err error) {
	var wg sync.WaitGroup
	errs := make([]error, 32)
	for i := range errs {
		wg.Go(func() { // ends with the answer, or the client's time
			h, n := list[i%len(list)], int(t.serial.Add(1))
			body := append(bytes.TrimSuffix(h.push(-n, "main"), []byte("}")), `,"padding":"`...)
			for len(body) < 24<<20 {
				sum := sha256.Sum256(fmt.Append(nil, n, len(body)))
				body = hex.AppendEncode(body, sum[:])
			}
			_, errs[i] = h.deliver(ctx, t.http, fmt.Sprintf("large-%d", n), append(body, `"}`...))
		})
	}
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool {
		if errors.Is(err, errLater) {
			later++
			return true
		}
		return false
	})
	return later, errors.Join(errs...)
}

func row(name string, times []time.Duration) {
	slices.Sort(times)
	fmt.Printf("| %s | %d | %.2f | %.2f | %.2f |\n", name, len(times), ms(times[len(times)/2]), ms(times[len(times)*99/100]), ms(times[len(times)-1]))
}

// A ledger has the provider's id of each delivery that was acknowledged, and
// whether it matches.
type ledger map[string]bool

// queueing sends n deliveries that match, one after the other, each once the
// build of the one before is seen.
func (t *target) queueing(ctx context.Context, h hook, n int, sent ledger) (answers, queued []time.Duration, err error) {
	const warm = 20
	last := ""
	for i := range n + warm {
		n := t.serial.Add(1) // no body is good twice
		id, body, at := fmt.Sprintf("alone-%d", n), h.push(int(-n), "main"), time.Now()
		if _, err := h.deliver(ctx, t.http, id, body); err != nil {
			return nil, nil, err
		}
		sent[id] = true
		answered := time.Now()
		for seen := false; !seen; {
			answer, err := t.do(ctx, "ListBuildsForProject", []byte(`{"projectName":"`+h.project+`"}`))
			if err != nil {
				return nil, nil, err
			}
			var out struct{ IDs []string }
			if err := json.Unmarshal(answer, &out); err != nil {
				return nil, nil, err
			}
			if seen = len(out.IDs) > 0 && out.IDs[0] != last; seen {
				last = out.IDs[0]
			}
		}
		if i >= warm {
			answers, queued = append(answers, answered.Sub(at)), append(queued, time.Since(at))
		}
	}
	return answers, queued, nil
}

// deliveries sends so many a minute for a time, in their rhythm whatever the
// answers take.
func (t *target) deliveries(ctx context.Context, list []hook, rate int, d time.Duration, sent ledger) (answers []time.Duration, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	began, every := time.Now(), time.Minute/time.Duration(rate)
	for i := range int(float64(rate) * d.Minutes()) {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(i) * every))):
		case <-ctx.Done():
			wg.Wait()
			return nil, ctx.Err()
		}
		h, id, branch, times := list[i%len(list)], fmt.Sprintf("load-%d-%d", began.UnixNano(), i), "topic", 1
		if i%matching == 0 {
			branch = "main"
		}
		if i%twice == twice-1 {
			times = 2
		}
		wg.Go(func() { // ends with the last answer, or the client's time
			body := h.push(int(began.UnixNano()/1e6)+i, branch)
			for n := range times {
				at := time.Now()
				text, e := h.deliver(ctx, t.http, id, body)
				took := time.Since(at)
				if e == nil && n > 0 != strings.Contains(text, "before") {
					e = fmt.Errorf("delivery %s, sent for the time number %d, is answered %s", id, n+1, text)
				}
				mu.Lock()
				answers, err = append(answers, took), errors.Join(err, e)
				sent[id] = branch == "main"
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answers, err
}

// page reads a page of the deliveries to a project.
func (t *target) page(ctx context.Context, project string, size int, next *string) (*corbel.ListWebhookDeliveriesOutput, error) {
	in := corbel.ListWebhookDeliveriesInput{ProjectName: &project, MaxResults: &size, NextToken: next}
	answer, err := t.send(ctx, "codebuild", "Corbel_20261101.ListWebhookDeliveries", []byte(mustJSON(in)))
	if err != nil {
		return nil, err
	}
	out := new(corbel.ListWebhookDeliveriesOutput)
	return out, json.Unmarshal(answer, out)
}

// settled waits until the newest delivery to each webhook is decided.
func (t *target) settled(ctx context.Context, list []hook) error {
	for _, h := range list {
		for waiting := true; waiting; {
			out, err := t.page(ctx, h.project, 1, nil)
			if err != nil {
				return err
			}
			waiting = len(out.Deliveries) > 0 && out.Deliveries[0].State == corbel.DeliveryStateWAITING
		}
	}
	return nil
}

// audit holds what the server lists against the ledger, each delivery once and
// one build for each that matches, and counts the builds.
func (t *target) audit(ctx context.Context, list []hook, sent ledger) (int, error) {
	seen := map[string]bool{}
	started := map[string]string{} // build -> delivery
	for _, h := range list {
		for next := (*string)(nil); ; {
			out, err := t.page(ctx, h.project, 100, next)
			if err != nil {
				return 0, err
			}
			for _, d := range out.Deliveries {
				id := *d.ProviderId
				matches, ours := sent[id]
				switch {
				case !ours || seen[id]:
					return 0, fmt.Errorf("delivery %s is there once too often", id)
				case d.State != corbel.DeliveryStateDONE || len(d.Results) != 1 || matches != (d.Results[0].BuildId != nil):
					return 0, fmt.Errorf("delivery %s ended as %s: %s", id, d.State, mustJSON(d.Results))
				}
				if seen[id] = true; matches {
					started[*d.Results[0].BuildId] = id
				}
			}
			if next = out.NextToken; next == nil {
				break
			}
		}
	}
	if len(seen) != len(sent) {
		return 0, fmt.Errorf("of %d deliveries only %d are there", len(sent), len(seen))
	}
	builds := 0
	for next := "{}"; next != ""; {
		answer, err := t.do(ctx, "ListBuilds", []byte(next))
		if err != nil {
			return 0, err
		}
		var out struct {
			IDs       []string
			NextToken string `json:"nextToken"`
		}
		if err := json.Unmarshal(answer, &out); err != nil {
			return 0, err
		}
		for _, id := range out.IDs {
			if started[id] == "" {
				return 0, fmt.Errorf("build %s was started by no delivery", id)
			}
			builds++
		}
		if next = ""; out.NextToken != "" {
			next = mustJSON(map[string]string{"nextToken": out.NextToken})
		}
	}
	if builds != len(started) {
		return 0, fmt.Errorf("%d deliveries started a build and %d builds are there", len(started), builds)
	}
	return builds, nil
}

// manyDeliveries measures what many stored deliveries change, up to b.stored of them,
// and then their removal beside a load. The deliveries are put into the store
// beside the server, as if they had come 31 days ago.
func (b *bench) manyDeliveries() error {
	const never = "87600h"
	t, _, err := b.startCorbel("stored", "-builds", "0", "-max-queued-builds", "0", "-keep-deliveries", never)
	if err != nil {
		return err
	}
	list, err := t.hooks(b.ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "stored", "corbel.db")
	st, err := sqlite.Open(b.ctx, file)
	if err != nil {
		return err
	}
	defer st.Close()
	var webhooks []store.Webhook
	for _, h := range list {
		_, address, _ := strings.Cut(h.url, "?t=")
		address, _, _ = strings.Cut(address, "&")
		w, err := st.WebhookAt(b.ctx, address)
		if err != nil {
			return err
		}
		webhooks = append(webhooks, w)
	}
	old := time.Now().Add(-31 * 24 * time.Hour)
	fmt.Print("\n## Stored deliveries\n\nMedians in ms.\n\n| stored | first page of 20 | page in the middle | what is due | put and decided | sent to answered | sent to its build seen | file, bytes each |\n|---|---|---|---|---|---|---|---|\n")
	last := int64(0)
	for n := 0; n < b.stored; {
		to := min(max(1000, 10*n), b.stored)
		for n < to {
			if last, err = fill(b.ctx, st, webhooks, n, min(n+500, to), old); err != nil {
				return err
			}
			n = min(n+500, to)
		}
		fmt.Printf("| %d |", n)
		for _, call := range []func() error{
			func() error { _, err := st.Deliveries(b.ctx, webhooks[1].Address, 0, 21); return err },
			func() error { _, err := st.Deliveries(b.ctx, webhooks[1].Address, last/2, 21); return err },
			func() error { _, err := st.DueHooks(b.ctx, time.Now(), nil, nil, 16); return err },
			func() error { n++; _, err := fill(b.ctx, st, webhooks, n-1, n, old); return err },
		} {
			var times []time.Duration
			for range 200 {
				at := time.Now()
				if err := call(); err != nil {
					return err
				}
				times = append(times, time.Since(at))
			}
			slices.Sort(times)
			fmt.Printf(" %.2f |", ms(times[len(times)/2]))
		}
		answers, queued, err := t.queueing(b.ctx, list[0], 100, ledger{})
		if err != nil {
			return err
		}
		slices.Sort(answers)
		slices.Sort(queued)
		fmt.Printf(" %.2f | %.2f | %d |\n", ms(answers[len(answers)/2]), ms(queued[len(queued)/2]), size(file)/int64(n))
	}

	// The server that keeps them for 30 days is another one.
	b.stops[len(b.stops)-1]()
	b.stops = b.stops[:len(b.stops)-1]
	began := time.Now()
	if t, _, err = b.startCorbel("stored", "-builds", "0", "-max-queued-builds", "0"); err != nil {
		return err
	}
	for i := range list {
		_, query, _ := strings.Cut(list[i].url, "?")
		list[i].url = t.url + "/webhooks?" + query
	}
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var answers []time.Duration
	left := b.stored
	for left > 0 && time.Since(began) < b.sweepTime {
		times, err := t.deliveries(b.ctx, list, b.rate, b.loadTime, ledger{})
		if err != nil {
			return err
		}
		answers = append(answers, times...)
		if err := db.QueryRowContext(b.ctx, `select count(*) from delivery where state > 0 and received < $1`, time.Now().Add(-30*24*time.Hour).UnixMilli()).Scan(&left); err != nil {
			return err
		}
	}
	fmt.Printf("\nRemoval of old deliveries, which begins after a minute, left %d of them after %v, beside %d new ones a minute:\n\n| what | deliveries | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n",
		left, time.Since(began).Round(time.Second), b.rate)
	row("sent to answered meanwhile", answers)
	return nil
}

// fill puts deliveries that were decided into the store, and returns the id of
// the last.
func fill(ctx context.Context, st *sqlite.Store, webhooks []store.Webhook, from, to int, at time.Time) (id int64, err error) {
	h := hook{project: "filled"}
	err = st.Update(ctx, func(tx store.Tx) error {
		for i := from; i < to; i++ {
			w := webhooks[i%len(webhooks)]
			sum := sha256.Sum256(fmt.Append(nil, i, to))
			d := store.Delivery{
				Scope: w.Scope, Project: w.Project, Hook: w.Address, Origin: store.Delivered, Received: at, Next: at, Event: "push", Provider: hex.EncodeToString(sum[:16]),
				Headers: map[string]string{"X-Github-Event": "push", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/bench"}, Digest: sum[:],
			}
			var err error
			if d.Body, err = delivery.Pack(h.push(i, "topic")); err != nil {
				return err
			}
			if d.ID, err = tx.PutDelivery(ctx, d); err != nil {
				return err
			}
			id, d.State = d.ID, store.Done
			d.Results = []store.Result{{Event: "PUSH", Repository: "octo/" + w.Project, HeadRef: "refs/heads/topic", SHA: hex.EncodeToString(sum[:20]), Actor: "583231", Login: "octocat",
				Outcome: "NO_MATCH", Reason: "no filter group matches", Groups: []string{`HEAD_REF does not match "refs/heads/topic"`}}}
			if err := tx.SaveDelivery(ctx, d); err != nil {
				return err
			}
		}
		return nil
	})
	return id, err
}

// size is that of a database with what is not yet in its file, in bytes.
func size(file string) (n int64) {
	for _, name := range []string{file, file + "-wal"} {
		if i, err := os.Stat(name); err == nil {
			n += i.Size()
		}
	}
	return n
}
