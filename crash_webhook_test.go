package corbel_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	contract "github.com/corbel-build/corbel/api/corbel"
)

// A ledger is what a provider knows of the deliveries that it sent.
type ledger struct {
	t      *testing.T
	secret string
	query  string // of the payload's address

	mu   sync.Mutex
	next int
	// acknowledged says by number whether a delivery was answered with 2xx.
	acknowledged []bool
	doubtful     []int // of those that were not, which to send again
}

// matches says whether the push starts a build.
func matches(n int) bool { return n%3 == 0 }

// send delivers push number n, and returns the answer's text, "" if there is
// none.
func (l *ledger) send(server string, n int) string {
	branch := "topic"
	if matches(n) {
		branch = "main"
	}
	body := fmt.Sprintf(`{"ref":"refs/heads/%s","before":"%040x","after":"%040x","head_commit":{"id":"%040[3]x","message":"m"},"commits":[],`+
		`"repository":{"id":1,"full_name":"octo/app"},"sender":{"id":583231,"login":"octocat","type":"User"}}`, branch, n+1, n+2)
	mac := hmac.New(sha256.New, []byte(l.secret))
	mac.Write([]byte(body))
	r, err := http.NewRequest(http.MethodPost, server+"/webhooks?"+l.query, strings.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return ""
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", strconv.Itoa(n))
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body) // the status is the answer
	if resp.StatusCode != http.StatusOK {
		l.t.Errorf("delivery %d is answered %d %s", n, resp.StatusCode, text)
		return ""
	}
	l.mu.Lock()
	l.acknowledged[n] = true
	l.mu.Unlock()
	return string(text)
}

// load sends pushes that were not sent before from several sides, most of them
// a few hundred, until the server does not answer.
func (l *ledger) load(server string) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { // ends with the server, or after so many
			for range 60 {
				l.mu.Lock()
				n := l.next
				l.next++
				l.acknowledged = append(l.acknowledged, false)
				l.mu.Unlock()
				if l.send(server, n) == "" {
					l.mu.Lock()
					l.doubtful = append(l.doubtful, n)
					l.mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
}

// Whatever moment the server is killed at: a delivery that was acknowledged is
// there and was looked at once, and so is one that the provider sends again
// since it had no answer. One that it does not is there once or never.
// CORBEL_KILLS is how often the server is killed, 5 times unless it is set.
func TestKill_LosesNoDeliveryAndDoublesNone(t *testing.T) {
	t.Parallel()
	kills := 5
	if text := os.Getenv("CORBEL_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, "-builds", "0", "-max-queued-builds", "0")
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	made, err := s.client().CreateWebhook(context.Background(), &api.CreateWebhookInput{
		ProjectName: new("app"), ManualCreation: new(true),
		FilterGroups: [][]api.WebhookFilter{{{Type: api.WebhookFilterTypeEVENT, Pattern: new("PUSH")}, {Type: api.WebhookFilterTypeHEAD_REF, Pattern: new("/main$")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(*made.Webhook.PayloadUrl)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{t: t, secret: *made.Webhook.Secret, query: address.RawQuery}
	again, before := 0, 0
	for range kills {
		done := make(chan struct{})
		go func() { // ends soon after the kill
			l.load(s.url)
			close(done)
		}()
		<-time.After(time.Duration(5+rand.IntN(250)) * time.Millisecond)
		s.kill()
		<-done
		s.start()
		for i, n := range l.doubtful {
			if i%2 == 0 {
				again++
				if strings.Contains(l.send(s.url, n), "before") {
					before++
				}
			}
		}
		l.doubtful = nil
		if n := rand.IntN(l.next); l.acknowledged[n] && !strings.Contains(l.send(s.url, n), "before") {
			t.Errorf("delivery %d is taken a second time", n)
		}
	}
	acknowledged := 0
	for _, is := range l.acknowledged {
		if is {
			acknowledged++
		}
	}
	if acknowledged < kills {
		t.Fatalf("only %d deliveries were acknowledged over %d kills; this shows nothing", acknowledged, kills)
	}

	s.until("every delivery is decided", func() bool {
		page := s.deliveries(1, nil)
		return page.Deliveries[0].State != contract.DeliveryStateWAITING
	})
	seen, builds := make([]int, l.next), map[string]int{}
	for next := (*string)(nil); ; {
		page := s.deliveries(100, next)
		for _, d := range page.Deliveries {
			n, err := strconv.Atoi(*d.ProviderId)
			if err != nil {
				t.Fatal(err)
			}
			seen[n]++
			if d.State != contract.DeliveryStateDONE || len(d.Results) != 1 || matches(n) != (d.Results[0].BuildId != nil) {
				t.Errorf("delivery %d is %s with the results %+v", n, d.State, d.Results)
			} else if matches(n) {
				builds[*d.Results[0].BuildId]++
			}
		}
		if next = page.NextToken; next == nil {
			break
		}
	}
	matching := 0
	for n, times := range seen {
		if times > 1 || times == 0 && l.acknowledged[n] {
			t.Errorf("delivery %d, acknowledged %v, is there %d times", n, l.acknowledged[n], times)
		}
		if times > 0 && matches(n) {
			matching++
		}
	}
	listed := 0
	for in := (&api.ListBuildsForProjectInput{ProjectName: new("app")}); ; {
		out, err := s.client().ListBuildsForProject(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range out.Ids {
			listed++
			if builds[id] != 1 {
				t.Errorf("the build %s was started by %d deliveries", id, builds[id])
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if listed != matching {
		t.Errorf("%d deliveries match and %d builds are there", matching, listed)
	}
	t.Logf("%d kills: %d deliveries sent, %d acknowledged, %d sent again, %d of them were stored; %d builds", kills, l.next, acknowledged, again, before, listed)
	findPlanted(t, s.data, [][]byte{[]byte(l.secret)})
}

// deliveries is a page of what came for the webhook of app.
func (s *server) deliveries(size int, next *string) *contract.ListWebhookDeliveriesOutput {
	s.t.Helper()
	in, err := json.Marshal(contract.ListWebhookDeliveriesInput{ProjectName: new("app"), MaxResults: &size, NextToken: next})
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.client().Do(context.Background(), &contract.Contract, "ListWebhookDeliveries", in)
	if err != nil {
		s.t.Fatal(err)
	}
	out := new(contract.ListWebhookDeliveriesOutput)
	if err := json.Unmarshal(answer, out); err != nil {
		s.t.Fatal(err)
	}
	return out
}
