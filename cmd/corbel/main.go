package main

import (
	"context"
	"fmt"
	"os"

	"github.com/corbel-build/corbel/internal/executor/sandbox"
)

type usageError struct{ s string }

func (u usageError) Error() string { return u.s }

type hinted struct {
	error
	hint string
}

func main() {
	sandbox.Main()
	m := map[string]func() error{
		"serve": func() error { return serve(context.Background(), os.Args[2:], os.Stdout, os.Stderr) },
		"keys":  func() error { return keys(context.Background(), os.Args[2:], os.Stdout, os.Stderr) },
		"env":   func() error { return env(context.Background(), os.Args[2:], os.Stdout, os.Stderr) },
	}
	if err := m[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "corbel: error:", err)
		os.Exit(1)
	}
}
