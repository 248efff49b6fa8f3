package service

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// BenchmarkCredentials compares the questions about credentials between a few
// in the store and 10,000 over 5,000 accounts, two in each.
func BenchmarkCredentials(b *testing.B) {
	for _, n := range []int{10, 10000} {
		f := newBench(b)
		account := func(i int) string { return fmt.Sprintf("%012d", 100000000000+i) }
		for first := 0; first < n; first += 500 {
			err := f.Store.Update(b.Context(), func(tx store.Tx) error {
				for i := first; i < min(first+500, n); i++ {
					c := store.Credential{
						Scope: store.Scope{Account: account(i / 2), Region: "us-west-2"}, ServerType: []api.ServerType{api.ServerTypeGITHUB, api.ServerTypeBITBUCKET}[i%2],
						AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Generation: 1, Created: f.Now(), Modified: f.Now(), Health: store.Health{State: credential.Valid},
					}
					c.ARN = fmt.Sprintf("arn:aws:codebuild:us-west-2:%s:token/%s", c.Account, c.ServerType)
					var err error
					if c.Sealed, err = credential.Seal(f.Vault, c, "", "ghp_OfTheBenchmark000000000000000000001"); err != nil {
						return err
					}
					if err := tx.PutCredential(b.Context(), c); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		s := CorbelService{f.Service}
		src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
		for name, ask := range map[string]func(i int) error{
			"List": func(i int) error {
				out, err := s.ListSourceCredentials(in(account(i), "us-west-2", "ci"), &api.ListSourceCredentialsInput{})
				if err == nil && len(out.SourceCredentialsInfos) != 2 {
					err = fmt.Errorf("%d credentials", len(out.SourceCredentialsInfos))
				}
				return err
			},
			"Describe": func(i int) error {
				_, err := s.DescribeSourceCredentials(in(account(i), "us-west-2", "ci"), &corbel.DescribeSourceCredentialsInput{})
				return err
			},
			"Resolve": func(i int) error {
				a, err := s.Checker.Resolve(b.Context(), store.Scope{Account: account(i), Region: "us-west-2"}, src, src)
				if err == nil && a.ARN == "" {
					err = fmt.Errorf("no credential")
				}
				return err
			},
		} {
			b.Run(fmt.Sprintf("%s/of=%d", name, n), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if err := ask(i % (n / 2)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkImport shows what an import costs beside the provider's answer,
// which takes 20 ms here.
func BenchmarkImport(b *testing.B) {
	const roundTrip = 20 * time.Millisecond
	f := newBench(b)
	f.answer = func(api.Secret) (forge.Check, error) {
		<-time.After(roundTrip)
		return forge.Check{Login: "octocat", Scopes: []string{"repo"}, Remaining: -1}, nil
	}
	for b.Loop() {
		_, err := f.ImportSourceCredentials(f.ctx, &api.ImportSourceCredentialsInput{
			ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: "ghp_OfTheBenchmark000000000000000000001",
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed()-time.Duration(b.N)*roundTrip)/float64(b.N)/1e6, "own-ms/op")
}

// BenchmarkGetLogEvents reads a page of 5,000 lines, as a view of a log in the
// console does, and writes its document.
func BenchmarkGetLogEvents(b *testing.B) {
	f := newBench(b)
	w, err := f.Logs.Create("11111111")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 5000 {
		if err := w.Append(f.Now(), fmt.Appendf(nil, "\x1b[32m%09d\x1b[0m compile module number %d with words that go on for a while %s\n", i, i, strings.Repeat("x", i%90))); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	scope := access.From(f.ctx).Scope
	err = f.Store.Update(f.ctx, func(tx store.Tx) error {
		return tx.PutLogStream(f.ctx, scope, store.LogStream{Group: "/aws/codebuild/app", Name: "11111111", Build: "app:11111111", Created: f.Now()})
	})
	if err != nil {
		b.Fatal(err)
	}
	l := &LogService{Service: f.Service}
	in := &logs.GetLogEventsRequest{LogGroupName: new("/aws/codebuild/app"), LogStreamName: new("11111111"), StartFromHead: new(true), Limit: new(5000)}
	b.ReportAllocs()
	for b.Loop() {
		out, err := l.GetLogEvents(f.ctx, in)
		if err != nil {
			b.Fatal(err)
		}
		if len(out.Events) != 5000 {
			b.Fatalf("%d events", len(out.Events))
		}
		if err := json.NewEncoder(io.Discard).Encode(out); err != nil {
			b.Fatal(err)
		}
	}
}
