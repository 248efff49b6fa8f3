package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/internal/forge"
)

// Bounds of what a host may answer to a question about refs. Git itself has
// none; a repository with 500,000 refs stays below.
const (
	maxRefs     = 1 << 20
	maxRefsSize = 128 << 20 // bytes
	maxPacket   = 65520     // gitprotocol-common(5), pkt-line
	maxRefName  = 1024
)

// A ref is a line of a host's answer.
type ref struct {
	name   string
	object string // object id in hex
	peeled string // what an annotated tag stands for, else ""
	target string // of a symbolic ref, else ""
}

// commit is the object that the ref leads to.
func (r ref) commit() string {
	if r.peeled != "" {
		return r.peeled
	}
	return r.object
}

// Kinds of packets. gitprotocol-v2(5), "Packet-Line Framing".
type packet int

const (
	flush packet = iota
	delimiter
	responseEnd
	data
)

var errProtocol = errors.New("the answer is not in git's protocol")

// errServer is the host's own "ERR", whose text is not to be trusted.
var errServer = fmt.Errorf("%w: an error packet", errProtocol)

// A packetReader reads pkt-lines.
type packetReader struct {
	r    *bufio.Reader
	left int64 // bytes that may still come
	buf  []byte
}

func newPacketReader(r io.Reader) *packetReader {
	return &packetReader{r: bufio.NewReaderSize(r, 16<<10), left: maxRefsSize, buf: make([]byte, 0, 1024)}
}

// next returns a packet without its newline. line is valid until the next
// call. At the end of the input, where a packet would begin, it is io.EOF.
func (p *packetReader) next() (kind packet, line []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: a packet is cut off", errProtocol)
		}
		return 0, nil, err
	}
	n := 0
	for _, c := range head {
		d := unhex(c)
		if d < 0 {
			return 0, nil, errProtocol
		}
		n = n<<4 | d
	}
	switch n {
	case 0:
		return flush, nil, nil
	case 1:
		return delimiter, nil, nil
	case 2:
		return responseEnd, nil, nil
	case 3:
		return 0, nil, errProtocol
	}
	if n > maxPacket {
		return 0, nil, errProtocol
	}
	n -= 4
	if p.left -= int64(n) + 4; p.left < 0 {
		return 0, nil, fmt.Errorf("%w: the list of refs is larger than %d bytes", errProtocol, maxRefsSize)
	}
	if cap(p.buf) < n {
		p.buf = make([]byte, n)
	}
	p.buf = p.buf[:n]
	if _, err := io.ReadFull(p.r, p.buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: a packet is cut off", errProtocol)
		}
		return 0, nil, err
	}
	line = bytes.TrimSuffix(p.buf, []byte("\n"))
	if bytes.HasPrefix(line, []byte("ERR ")) {
		return 0, nil, errServer
	}
	return data, line, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendPacket adds a data packet with a newline.
func appendPacket(b []byte, line string) []byte {
	return append(fmt.Appendf(b, "%04x", len(line)+5), line+"\n"...)
}

// lsRefs is the request that asks for the refs that begin with any of prefixes.
// gitprotocol-v2(5), "ls-refs".
func lsRefs(format string, prefixes []string) []byte {
	b := appendPacket(nil, "command=ls-refs")
	if format != sha1Format {
		b = appendPacket(b, "object-format="+format)
	}
	b = append(b, "0001"...)
	b = appendPacket(b, "peel")
	b = appendPacket(b, "symrefs")
	for _, p := range prefixes {
		b = appendPacket(b, "ref-prefix "+p)
	}
	return append(b, "0000"...)
}

// parseRefs reads the answer to lsRefs and keeps the refs that want wants.
func parseRefs(r io.Reader, want func(name string) bool) ([]ref, error) {
	p := newPacketReader(r)
	var refs []ref
	for {
		kind, line, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: the list of refs is cut off", errProtocol)
		} else if err != nil {
			return nil, err
		}
		if kind == flush {
			return refs, nil
		} else if kind != data {
			return nil, errProtocol
		}
		out, err := parseRef(string(line))
		if err != nil {
			return nil, err
		}
		if out.object == "" || !want(out.name) {
			continue
		}
		if len(refs) == maxRefs {
			return nil, fmt.Errorf("%w: more than %d refs", errProtocol, maxRefs)
		}
		refs = append(refs, out)
	}
}

// parseRef reads `<id> <name> [symref-target:<name>] [peeled:<id>]`. The id of
// a HEAD without a commit is "unborn", which gives a ref without object.
func parseRef(line string) (ref, error) {
	fields := strings.Split(line, " ")
	if len(fields) < 2 {
		return ref{}, errProtocol
	}
	out := ref{object: fields[0], name: fields[1]}
	if out.object == "unborn" {
		out.object = ""
	} else if !isID(out.object) {
		return ref{}, errProtocol
	}
	if !validRef(out.name) {
		out.object = "" // git would not have it either
	}
	for _, attribute := range fields[2:] {
		switch key, value, _ := strings.Cut(attribute, ":"); key {
		case "peeled":
			if !isID(value) || len(value) != len(fields[0]) {
				return ref{}, errProtocol
			}
			out.peeled = value
		case "symref-target":
			if validRef(value) {
				out.target = value
			}
		}
	}
	return out, nil
}

// Object formats, as git names them.
const (
	sha1Format   = "sha1"
	sha256Format = "sha256"
)

// An advertisement is what a host says first: its protocol version and object
// format, and in version 0 also its refs.
type advertisement struct {
	version int
	format  string
	refs    []ref
}

// parseAdvertisement reads the answer to GET info/refs. gitprotocol-http(5),
// "Smart Server Response", and gitprotocol-v2(5), "Capability Advertisement".
func parseAdvertisement(r io.Reader, want func(name string) bool) (advertisement, error) {
	p := newPacketReader(r)
	ad := advertisement{format: sha1Format}
	kind, line, err := p.next()
	if err == nil && kind == data && string(line) == "# service=git-upload-pack" {
		if kind, _, err = p.next(); err == nil && kind != flush {
			err = errProtocol
		}
		if err == nil {
			kind, line, err = p.next()
		}
	}
	if err != nil {
		return ad, cutOff(err)
	}
	if kind == data && string(line) == "version 2" {
		ad.version = 2
		for {
			kind, line, err := p.next()
			if err != nil {
				return ad, cutOff(err)
			}
			if kind == flush {
				return ad, nil
			}
			if format, ok := strings.CutPrefix(string(line), "object-format="); ok {
				if ad.format, err = objectFormat(format); err != nil {
					return ad, err
				}
			}
		}
	}
	symrefs := map[string]string{}
	byName := map[string]int{} // index in ad.refs
	for first := true; kind != flush; first = false {
		if kind != data {
			return ad, errProtocol
		}
		text := string(line)
		if first {
			var capabilities string
			text, capabilities, _ = strings.Cut(text, "\x00")
			for c := range strings.FieldsSeq(capabilities) {
				switch key, value, _ := strings.Cut(c, "="); key {
				case "object-format":
					if ad.format, err = objectFormat(value); err != nil {
						return ad, err
					}
				case "symref":
					if from, to, ok := strings.Cut(value, ":"); ok && validRef(to) {
						symrefs[from] = to
					}
				}
			}
		}
		if err := ad.add(text, want, symrefs, byName); err != nil {
			return ad, err
		}
		if kind, line, err = p.next(); err != nil {
			return ad, cutOff(err)
		}
	}
	return ad, nil
}

func (ad *advertisement) add(text string, want func(string) bool, symrefs map[string]string, byName map[string]int) error {
	if strings.HasPrefix(text, "shallow ") || text == "version 1" {
		return nil
	}
	id, name, ok := strings.Cut(text, " ")
	if !ok || !isID(id) {
		return errProtocol
	}
	if tag, ok := strings.CutSuffix(name, "^{}"); ok {
		if i, ok := byName[tag]; ok {
			ad.refs[i].peeled = id
		}
		return nil // also capabilities^{}, of an empty repository
	}
	if !validRef(name) || !want(name) {
		return nil
	}
	if len(ad.refs) == maxRefs {
		return fmt.Errorf("%w: more than %d refs", errProtocol, maxRefs)
	}
	byName[name] = len(ad.refs)
	ad.refs = append(ad.refs, ref{name: name, object: id, target: symrefs[name]})
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it is cut off", errProtocol)
	}
	return err
}

func objectFormat(name string) (string, error) {
	if name != sha1Format && name != sha256Format {
		return sha1Format, fmt.Errorf("%w: object format %s", errProtocol, strconv.QuoteToASCII(name))
	}
	return name, nil
}

// formatOf is the object format of an object id.
func formatOf(id string) string {
	if len(id) == 64 {
		return sha256Format
	}
	return sha1Format
}

// isID reports whether s is a full object id: 40 or 64 lower case hex digits.
func isID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && isHex(s)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// validRef reports whether git allows name as the full name of a ref: HEAD, or
// below refs/.
func validRef(name string) bool { return name == "HEAD" || forge.ValidRef(name) }
