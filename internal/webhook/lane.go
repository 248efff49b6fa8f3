package webhook

import (
	"context"
	"sync"
)

// A lane bounds how many bodies are read at a time, and how many of one webhook
// are, so that no webhook holds up the others.
type lane struct {
	all   chan struct{}
	share int

	mu     sync.Mutex
	shares map[string]chan struct{} // by address
}

func newLane(all, share int) *lane {
	return &lane{all: make(chan struct{}, all), share: share, shares: map[string]chan struct{}{}}
}

// enter waits for the turn of a webhook's body, until ctx ends. Whoever entered
// calls leave.
func (l *lane) enter(ctx context.Context, address string) (leave func(), err error) {
	l.mu.Lock()
	own := l.shares[address]
	if own == nil {
		own = make(chan struct{}, l.share)
		l.shares[address] = own
	}
	l.mu.Unlock()
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case l.all <- struct{}{}:
		return func() { <-l.all; <-own }, nil
	case <-ctx.Done():
		<-own
		return nil, ctx.Err()
	}
}
