package crowd_test

import (
	"slices"
	"testing"

	"github.com/corbel-build/corbel/internal/crowd"
)

func TestCrowd(t *testing.T) {
	t.Parallel()
	c := crowd.New[int](2)
	hold := map[int]chan struct{}{}
	join := func(key int, host string, want bool) {
		t.Helper()
		end := make(chan struct{})
		if got := c.Join(key, host, func() { <-end }); got != want {
			t.Errorf("Join(%d, %q) = %t", key, host, got)
		} else if got {
			hold[key] = end
		}
	}
	busy := func(want []int, hosts ...string) {
		t.Helper()
		keys, full := c.Busy()
		slices.Sort(keys)
		slices.Sort(full)
		if keys == nil || full == nil || !slices.Equal(keys, want) || !slices.Equal(full, hosts) {
			t.Errorf("Busy() = %v, %q, want %v, %q", keys, full, want, hosts)
		}
	}
	busy(nil)
	join(1, "silent", true)
	join(2, "silent", true)
	join(3, "silent", false)
	join(3, "other", true)
	busy([]int{1, 2, 3}, "silent")
	close(hold[3])
	if key := <-c.Left(); key != 3 {
		t.Errorf("%d left", key)
	}
	c.Leave(3)
	busy([]int{1, 2}, "silent")
	close(hold[1])
	c.Leave(<-c.Left())
	busy([]int{2})
	join(4, "silent", true)
	busy([]int{2, 4}, "silent")
	close(hold[2])
	close(hold[4])
	c.Wait()
	busy(nil)
}
