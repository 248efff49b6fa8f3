package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server and init talk over a stream socket. A message is four bytes of length,
// most significant first, and JSON; descriptors travel with its first byte. The
// server asks, init answers every request but stop once, with the same Seq.

const (
	opPrepare = "prepare" // build the part of the root that is alike for all builds
	opStart   = "start"   // take on one build
	opPlace   = "place"
	opPut     = "put"
	opRun     = "run"
	opStop    = "stop" // end the run with this Seq; its own answer says so
)

// maxMessage bounds a message, so that a broken length cannot take the memory.
const maxMessage = 64 << 20

// A request goes from server to init. Bytes rather than strings hold what need
// not be UTF-8.
type request struct {
	Op  string
	Seq int

	// prepare
	ReadOnly []string `json:",omitempty"`
	Hidden   []string `json:",omitempty"`
	Loopback bool     `json:",omitempty"` // the network namespace is new: bring lo up
	Copy     bool     `json:",omitempty"` // do not try overlays

	// start; descriptors: output pipe, then HasDir ? mount of Dir, then files to enter cgroups
	Dir       string        `json:",omitempty"`
	HasDir    bool          `json:",omitempty"`
	Env       []byte        `json:",omitempty"`
	WorkDir   string        `json:",omitempty"`
	Shell     string        `json:",omitempty"`
	User      string        `json:",omitempty"`
	RunAs     bool          `json:",omitempty"`
	StopGrace time.Duration `json:",omitempty"`
	Rlimits   []rlimit      `json:",omitempty"`
	Tasks     int           `json:",omitempty"` // how many of the cgroup files are of version 1

	// place; descriptor: HasDir ? mount of Dir
	Target string `json:",omitempty"`

	// put: Path, Data. run: Data is the script, with User, Shell and Env.
	Path string `json:",omitempty"`
	Data []byte `json:",omitempty"`
}

// An rlimit is set as soft and hard limit of every shell, unless the hard limit
// is lower already.
type rlimit struct {
	Resource int
	Value    uint64
}

// An answer goes from init to server.
type answer struct {
	Seq     int
	Err     string `json:",omitempty"`
	Status  int    `json:",omitempty"`
	Stopped bool   `json:",omitempty"`
	Note    string `json:",omitempty"` // prepare: Landlock ABI; place: "overlay" or "copy"
}

func frame(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > maxMessage {
		return nil, fmt.Errorf("message of %d bytes is larger than %d", len(body), maxMessage)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...), nil
}

// readFrame reads one message from r, whose descriptors, if any, r has kept.
func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("message of %d bytes is larger than %d", n, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// A socket is init's end: blocking calls on a descriptor, since init must work
// on it before and after its view of the file system changes.
type socket struct {
	fd  int
	fds []int // received and not yet taken
}

func (s *socket) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(16*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(s.fd, p, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if oobn > 0 {
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil {
				return 0, err
			}
			for i := range messages {
				fds, err := unix.ParseUnixRights(&messages[i])
				if err != nil {
					return 0, err
				}
				s.fds = append(s.fds, fds...)
			}
		}
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s *socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(s.fd, p[done:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// take returns the oldest descriptor received.
func (s *socket) take() (int, error) {
	if len(s.fds) == 0 {
		return -1, errors.New("descriptor missing")
	}
	fd := s.fds[0]
	s.fds = s.fds[1:]
	return fd, nil
}

// joinEnv makes one block of KEY=value strings, as the kernel would have them.
func joinEnv(env []string) ([]byte, error) {
	for _, kv := range env {
		if strings.IndexByte(kv, 0) >= 0 || strings.IndexByte(kv, '=') < 1 {
			key, _, _ := strings.Cut(kv, "=")
			return nil, fmt.Errorf("environment variable %q: want KEY=value without NUL", key)
		}
	}
	return []byte(strings.Join(env, "\x00")), nil
}

func splitEnv(block []byte) []string {
	if len(block) == 0 {
		return nil
	}
	return strings.Split(string(block), "\x00")
}
