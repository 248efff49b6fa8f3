package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// A face is how a badge shows a state. The states are the service's.
// Source: user guide, "Build badges sample".
type face struct {
	text, color string
	width       int // of the text's half, in pixels
}

var (
	passing    = face{"passing", "#1a7f37", 54}
	failing    = face{"failing", "#cf222e", 48}
	inProgress = face{"in progress", "#0969da", 76}
	unknown    = face{"unknown", "#6e7781", 60}
)

// badge serves the badge of a project without asking who wants it: whoever has
// its address may. It shows the newest build of a branch (default: main) or
// tag. An address that no project has shows "unknown", as one that was never
// built does.
func (s *server) badge(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	ref := "refs/heads/main"
	if branch := query.Get("branch"); branch != "" {
		ref = "refs/heads/" + branch
	}
	if tag := query.Get("tag"); tag != "" {
		ref = "refs/tags/" + tag
	}
	status, err := s.Store.BadgeStatus(r.Context(), query.Get("uuid"), ref)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		if r.Context().Err() == nil {
			s.Log.ErrorContext(r.Context(), "read a badge", "error", err)
		}
		http.Error(w, "the database cannot be read", http.StatusServiceUnavailable)
		return
	}
	f := failing
	switch status {
	case api.StatusTypeSUCCEEDED:
		f = passing
	case api.StatusTypeIN_PROGRESS:
		f = inProgress
	case "":
		f = unknown
	}
	header := w.Header()
	header.Set("Content-Type", "image/svg+xml")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'")
	// Caches keep it and ask each time whether it is still right.
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", `"`+f.color[1:]+`"`)
	const label = 40 // the width of "build", in pixels
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="build: %[2]s"><title>build: %[2]s</title>`+
		`<clipPath id="r"><rect width="%[1]d" height="20" rx="4"/></clipPath><g clip-path="url(#r)"><rect width="%[3]d" height="20" fill="#424a53"/><rect x="%[3]d" width="%[4]d" height="20" fill="%[5]s"/></g>`+
		`<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"><text x="%[6]d" y="14">build</text><text x="%[7]d" y="14">%[2]s</text></g></svg>`+"\n",
		label+f.width, f.text, label, f.width, f.color, label/2, label+f.width/2)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(svg)) // knows If-None-Match
}
