package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is "corbel version": module version, revision, Go.
func version(_ context.Context, _ []string, out, _ io.Writer) error {
	fmt.Fprintf(out, "corbel %s %s %s/%s\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// programVersion is the module's version and revision.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value[:min(len(s.Value), 12)]
		}
		if s.Key == "vcs.modified" && s.Value == "true" {
			text += " modified"
		}
	}
	return text
}
