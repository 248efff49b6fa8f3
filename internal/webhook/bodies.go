package webhook

import (
	"context"
	"sync"
)

// bodies bounds how many bodies are read at a time, and how many of one webhook
// are, so that no webhook holds up the others.
type bodies struct {
	all   chan struct{}
	share int

	mu     sync.Mutex
	shares map[string]chan struct{} // by address
}

func newBodies(all, share int) *bodies {
	return &bodies{all: make(chan struct{}, all), share: share, shares: map[string]chan struct{}{}}
}

// enter waits for the turn of a webhook's body, until ctx ends. Whoever entered
// calls leave.
func (b *bodies) enter(ctx context.Context, address string) (leave func(), err error) {
	b.mu.Lock()
	own := b.shares[address]
	if own == nil {
		own = make(chan struct{}, b.share)
		b.shares[address] = own
	}
	b.mu.Unlock()
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case b.all <- struct{}{}:
		return func() { <-b.all; <-own }, nil
	case <-ctx.Done():
		<-own
		return nil, ctx.Err()
	}
}
