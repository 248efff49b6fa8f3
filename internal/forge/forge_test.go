package forge_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/forge"
)

func TestRetry(t *testing.T) {
	t.Parallel()
	wait := &forge.Error{Kind: forge.ErrUnreachable, Host: "github.com", Text: "asked to wait", Again: forge.Again{Worthwhile: true, After: time.Minute}}
	for _, c := range []struct {
		err  error
		want forge.Again
	}{
		{nil, forge.Again{}},
		{errors.New("no credential"), forge.Again{}},
		{&forge.Error{Host: "github.com", Text: "Not Found"}, forge.Again{}},
		{wait, forge.Again{Worthwhile: true, After: time.Minute}},
		{fmt.Errorf("send: %w", wait), forge.Again{Worthwhile: true, After: time.Minute}},
		{fmt.Errorf("open: %w", context.DeadlineExceeded), forge.Again{Worthwhile: true}},
	} {
		if got := forge.Retry(c.err); got != c.want {
			t.Errorf("Retry(%v) = %+v, want %+v", c.err, got, c.want)
		}
	}
	if !errors.Is(wait, forge.ErrUnreachable) || errors.Is(wait, forge.ErrRefused) || wait.Error() != "github.com: asked to wait" {
		t.Errorf("%v is of the wrong kind", wait)
	}
}
