// Package crowd lets much be done at a time, but only so much for one host, so
// that a host that does not answer holds up no other.
package crowd

import (
	"maps"
	"slices"
)

// A Crowd is what is under way. One goroutine calls its methods; whoever is in
// it may end at any time.
type Crowd[K comparable] struct {
	share int
	hosts map[K]string   // of those that are under way
	many  map[string]int // of them at each host, none with 0
	left  chan K
}

// New returns an empty crowd, in which each host may have share.
func New[K comparable](share int) *Crowd[K] {
	return &Crowd[K]{share: share, hosts: map[K]string{}, many: map[string]int{}, left: make(chan K)}
}

// Join begins work in a goroutine, unless the host has its share already.
func (c *Crowd[K]) Join(key K, host string, work func()) bool {
	if c.many[host] >= c.share {
		return false
	}
	c.hosts[key] = host
	c.many[host]++
	go func() { // ends with work, when somebody receives from Left
		work()
		c.left <- key
	}()
	return true
}

// Left tells whose work has ended. Whoever receives it calls Leave.
func (c *Crowd[K]) Left() <-chan K { return c.left }

// Leave makes room.
func (c *Crowd[K]) Leave(key K) {
	host := c.hosts[key]
	delete(c.hosts, key)
	if c.many[host]--; c.many[host] == 0 {
		delete(c.many, host)
	}
}

// Busy lists who is under way, and the hosts that have their share. Neither is
// nil.
func (c *Crowd[K]) Busy() (keys []K, full []string) {
	keys, full = slices.AppendSeq([]K{}, maps.Keys(c.hosts)), []string{}
	for host, n := range c.many {
		if n >= c.share {
			full = append(full, host)
		}
	}
	return keys, full
}

// Wait returns when all work has ended.
func (c *Crowd[K]) Wait() {
	for len(c.hosts) > 0 {
		c.Leave(<-c.left)
	}
}
