package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/service"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
	"github.com/corbel-build/corbel/internal/webhook"
)

// A bench is an inbox with the webhook of a project app.
type bench struct {
	*webhook.Inbox
	secret api.Secret
	sent   atomic.Int64
}

func newBench(b *testing.B) *bench {
	b.Helper()
	dir := b.TempDir()
	st, err := sqlite.Open(b.Context(), filepath.Join(dir, "corbel.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	v, err := vault.OpenOrCreate(filepath.Join(dir, "root.key"))
	if err != nil {
		b.Fatal(err)
	}
	hosts, err := forge.NewHosts(providers.All, nil)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(b.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	resolver := &credential.Resolver{Store: st, Vault: v, Hosts: hosts, Now: time.Now, Secret: func(context.Context, store.Scope, string) (api.Secret, error) {
		return "", errors.New("there are no secrets here")
	}}
	svc := &service.Service{Store: st, Vault: v, Hosts: hosts, Log: log, Now: time.Now}
	w := store.Webhook{
		Scope: store.Scope{Account: "123456789012", Region: "us-west-2"}, Project: "app", Address: "address-of-app", Source: api.SourceTypeGITHUB, Host: "github.com",
		Owner: "octo/app", Kind: string(forge.OfRepository), Version: 1, Created: time.Now(),
	}
	one := &bench{secret: "Sup3rSecretOfABenchmark00000000000000001"}
	if w.Sealed, err = credential.SealHook(v, w, credential.HookSecret{Value: one.secret}); err != nil {
		b.Fatal(err)
	}
	made, err := svc.CreateProject(access.With(b.Context(), access.Principal{Scope: w.Scope, User: "alice", KeyID: "AKIATEST"}), &api.CreateProjectInput{
		Name: new("app"), ServiceRole: new("arn:aws:iam::123456789012:role/r"),
		Source:      &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")},
		Artifacts:   &api.ProjectArtifacts{Type: api.ArtifactsTypeNO_ARTIFACTS},
		Environment: &api.ProjectEnvironment{Type: api.EnvironmentTypeLINUX_CONTAINER, Image: new("host"), ComputeType: api.ComputeTypeBUILD_GENERAL1_SMALL},
	})
	if err != nil {
		b.Fatal(err)
	}
	made.Project.Webhook = &api.Webhook{FilterGroups: [][]api.WebhookFilter{{
		{Type: api.WebhookFilterTypeEVENT, Pattern: new("PUSH")}, {Type: api.WebhookFilterTypeHEAD_REF, Pattern: new("^refs/heads/main$")},
	}}}
	if err := st.Update(b.Context(), func(tx store.Tx) error {
		return errors.Join(tx.UpdateProject(b.Context(), w.Scope, made.Project), tx.PutWebhook(b.Context(), w))
	}); err != nil {
		b.Fatal(err)
	}
	one.Inbox = webhook.New(webhook.Config{Store: st, Vault: v, Credentials: resolver, Log: log, Now: time.Now, Start: svc.StartTriggered})
	return one
}

// push delivers a push of about 10 KB that nobody sent before.
func (b *bench) push(branch string) *httptest.ResponseRecorder {
	n := b.sent.Add(1)
	var commits strings.Builder
	for i := range 11 {
		fmt.Fprintf(&commits, `{"id":"%040x","tree_id":"%040x","message":"%s","added":[],"removed":[],"modified":["README.md","internal/app/app_%d.go"]},`, n*100+int64(i), n, strings.Repeat("It says why. ", 50), i)
	}
	head := fmt.Sprintf(`{"id":"%040x","message":"the last","added":["a"],"removed":[],"modified":[]}`, n)
	body := fmt.Sprintf(`{"ref":"refs/heads/%s","before":"%040x","after":"%040x","commits":[%s%s],"head_commit":%[5]s,"repository":{"id":1,"full_name":"octo/app"},"sender":{"id":583231,"login":"octocat","type":"User"}}`,
		branch, n+1, n, &commits, head)
	mac := hmac.New(sha256.New, []byte(b.secret.Reveal()))
	mac.Write([]byte(body))
	r := httptest.NewRequest(http.MethodPost, "/webhooks?t=address-of-app&v=1", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	answer := httptest.NewRecorder()
	b.ServeHTTP(answer, r)
	return answer
}

// BenchmarkReceive answers deliveries that come eight at a time.
func BenchmarkReceive(b *testing.B) {
	one := newBench(b)
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if answer := one.push("topic"); answer.Code != http.StatusOK {
				b.Errorf("answered %d %s", answer.Code, answer.Body)
			}
		}
	})
}

// BenchmarkRun is how long deliveries take from their coming until all are
// decided, those that come one after the other and start a build each.
func BenchmarkRun(b *testing.B) {
	for _, branch := range []string{"topic", "main"} {
		b.Run(branch, func(b *testing.B) {
			one := newBench(b)
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { ended <- one.Run(ctx) }()
			for range b.N {
				if answer := one.push(branch); answer.Code != http.StatusOK {
					b.Fatalf("answered %d %s", answer.Code, answer.Body)
				}
			}
			for {
				if _, err := one.Store.NextDelivery(ctx, nil, nil); errors.Is(err, store.ErrNotFound) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}
