package store

import "context"

// SealedReader is how what is sealed can be found, whatever it is.
type SealedReader interface {
	// SealedKinds are the kinds of sealed values.
	SealedKinds() []string
	// SealedValues lists a page of a kind by key, those after the given one.
	// limit is at least 1.
	SealedValues(ctx context.Context, kind string, after []string, limit int) ([]SealedValue, error)
}

// SealedWriter is how it can be sealed again.
type SealedWriter interface {
	// Reseal replaces v.Sealed; ErrNotFound if it is not the row's any more.
	Reseal(ctx context.Context, v SealedValue, sealed []byte) error
}

// A SealedValue is a row with something sealed. vault.Binding of Kind and
// Parts is what the seal is bound to.
type SealedValue struct {
	Kind   string
	Key    []string // of the row
	Parts  []string
	Sealed []byte
}
