package sandbox

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// When the status is there, what is in the pipe is delivered, and no more.
func TestDeliver(t *testing.T) {
	t.Parallel()
	output, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	defer write.Close()
	want := bytes.Repeat([]byte("x"), 60_000) // less than a pipe holds
	if _, err := write.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := output.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	e := &environment{output: output}
	var got bytes.Buffer
	if err := e.deliver(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("delivered %d bytes, %v; want %d", got.Len(), err, len(want))
	}

	// A background process that never stops writing.
	go func() { // ended by the closing of the pipe
		for {
			if _, err := write.Write(want); err != nil {
				return
			}
		}
	}()
	if err := e.deliver(&got); err != nil || got.Len() > 3*len(want)+8192 {
		t.Errorf("with an endless writer: %d bytes, %v", got.Len(), err)
	}
}
