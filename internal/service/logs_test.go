package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/store"
)

// log makes a stream of n lines in the group of a project.
func (b *bench) log(t *testing.T, project, stream string, n int) {
	t.Helper()
	w, err := b.Logs.Create(stream)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Append(b.Now().Add(time.Duration(i)*time.Second), fmt.Appendf(nil, "%s line %d\n", stream, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err = b.Store.Update(b.ctx, func(tx store.Tx) error {
		return tx.PutLogStream(b.ctx, access.From(b.ctx).Scope, store.LogStream{Group: "/aws/codebuild/" + project, Name: stream, Build: project + ":" + stream, Created: b.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Clients follow a log until the forward token stays the same and two pages
// are empty.
func TestGetLogEvents_Ends(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.log(t, "app", "11111111", 25)
	l := &LogService{Service: b.Service}
	in := &logs.GetLogEventsRequest{LogGroupName: new("/aws/codebuild/app"), LogStreamName: new("11111111"), StartFromHead: new(true), Limit: new(10)}
	var got strings.Builder
	var tokens []string
	for range 6 {
		out, err := l.GetLogEvents(b.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			got.WriteString(*e.Message)
		}
		tokens = append(tokens, *out.NextForwardToken)
		in.NextToken = out.NextForwardToken
	}
	if n := strings.Count(got.String(), "\n"); n != 25 || !strings.HasSuffix(got.String(), "line 24\n") {
		t.Errorf("%d lines:\n%s", n, got.String())
	}
	if tokens[2] == tokens[1] || tokens[3] != tokens[2] || tokens[5] != tokens[3] {
		t.Errorf("tokens %q", tokens)
	}
	// Without a direction it is the latest page, and its backward token leads
	// to the one before.
	in.NextToken, in.StartFromHead = nil, nil
	last, err := l.GetLogEvents(b.ctx, in)
	if err != nil || len(last.Events) != 10 || *last.Events[9].Message != "11111111 line 24\n" {
		t.Fatalf("the latest page has %d events, %v", len(last.Events), err)
	}
	in.NextToken = last.NextBackwardToken
	before, err := l.GetLogEvents(b.ctx, in)
	if err != nil || len(before.Events) != 10 || *before.Events[9].Message != "11111111 line 14\n" {
		t.Errorf("the page before has %d events, %v", len(before.Events), err)
	}
}

func TestGetLogEvents_Refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.log(t, "app", "11111111", 1)
	l := &LogService{Service: b.Service}
	for _, c := range []struct{ group, stream, token, code, words string }{
		{"/aws/codebuild/app", "none", "", "ResourceNotFoundException", "The specified log stream does not exist."},
		{"/aws/codebuild/none", "11111111", "", "ResourceNotFoundException", "The specified log group does not exist."},
		{"/aws/codebuild/app", "11111111", "x/1", "InvalidParameterException", "nextToken"},
		{"/aws/codebuild/app", "11111111", "f/-1", "InvalidParameterException", "nextToken"},
		{"", "11111111", "", "InvalidParameterException", "logGroupName"},
	} {
		in := &logs.GetLogEventsRequest{LogGroupName: &c.group, LogStreamName: &c.stream}
		if c.token != "" {
			in.NextToken = &c.token
		}
		_, err := l.GetLogEvents(b.ctx, in)
		wantError(t, err, c.code, c.words)
	}
	_, err := l.GetLogEvents(in("210987654321", "us-west-2", "mallory"), &logs.GetLogEventsRequest{LogGroupName: new("/aws/codebuild/app"), LogStreamName: new("11111111")})
	wantError(t, err, "ResourceNotFoundException", "log group")
}

func TestFilterLogEvents_Pages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 5 {
		b.log(t, "app", fmt.Sprintf("%08d", i), 30)
		b.forward(time.Minute)
	}
	b.log(t, "other", "99999999", 5)
	l := &LogService{Service: b.Service}
	count := func(in logs.FilterLogEventsRequest) (n int) {
		t.Helper()
		in.LogGroupName = new("/aws/codebuild/app")
		seen := map[string]bool{}
		for pages := 0; pages < 100; pages++ {
			out, err := l.FilterLogEvents(b.ctx, &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				if seen[*e.EventId] {
					t.Errorf("the event %s comes twice", *e.EventId)
				}
				seen[*e.EventId] = true
			}
			if out.NextToken == nil {
				return len(seen)
			}
			in.NextToken = out.NextToken
		}
		t.Fatal("the pages do not end")
		return 0
	}
	for _, c := range []struct {
		name string
		in   logs.FilterLogEventsRequest
		want int
	}{
		{"all", logs.FilterLogEventsRequest{}, 150},
		{"in pages of 7", logs.FilterLogEventsRequest{Limit: new(7)}, 150},
		{"a word", logs.FilterLogEventsRequest{FilterPattern: new("29")}, 5},
		{"a phrase, in pages of 1", logs.FilterLogEventsRequest{FilterPattern: new(`"line 1" 00000003`), Limit: new(1)}, 11},
		{"named streams", logs.FilterLogEventsRequest{LogStreamNames: []string{"00000004", "00000001"}}, 60},
		{"a prefix", logs.FilterLogEventsRequest{LogStreamNamePrefix: new("0000000")}, 150},
		{"no prefix of any", logs.FilterLogEventsRequest{LogStreamNamePrefix: new("%")}, 0},
		{"a time", logs.FilterLogEventsRequest{StartTime: new(time.Date(2026, 11, 23, 12, 3, 0, 0, time.UTC).UnixMilli()), EndTime: new(time.Date(2026, 11, 23, 12, 3, 9, 0, time.UTC).UnixMilli())}, 10},
	} {
		if got := count(c.in); got != c.want {
			t.Errorf("%s: %d events, want %d", c.name, got, c.want)
		}
	}
	_, err := l.FilterLogEvents(b.ctx, &logs.FilterLogEventsRequest{LogGroupName: new("/aws/codebuild/app"), FilterPattern: new("{ $.x = 1 }")})
	wantError(t, err, "InvalidParameterException", "words")
}
