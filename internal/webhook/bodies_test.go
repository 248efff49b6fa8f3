package webhook

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// One webhook gets its share, however many of its bodies wait; the others go
// on, and nobody waits for longer than the context.
func TestBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBodies(3, 2)
		enter := func(address string) func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			leave, err := b.enter(ctx, address)
			if err != nil {
				return nil
			}
			return leave
		}
		first, second := enter("a"), enter("a")
		if first == nil || second == nil {
			t.Fatal("a webhook did not get its share")
		}
		if enter("a") != nil {
			t.Error("a webhook got more than its share")
		}
		other := enter("b")
		if other == nil {
			t.Fatal("a webhook waits for another's share")
		}
		if enter("b") != nil {
			t.Error("there were more than all")
		}
		waiting := make(chan func())
		go func() { waiting <- enter("b") }()
		synctest.Wait()
		first()
		third := <-waiting
		if third == nil {
			t.Fatal("the place of who left was not given on")
		}
		second()
		other()
		third()
		for range 2 { // what was given up has left nothing behind
			for _, address := range []string{"a", "b"} {
				leave := enter(address)
				if leave == nil {
					t.Fatalf("no place for %s where nobody reads", address)
				}
				leave()
			}
		}
	})
}
