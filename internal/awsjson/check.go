package awsjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// MaxDepth is how deep objects and lists may be nested. The deepest
// request of CodeBuild, UpdateFleet, has 5 levels; what goes far beyond is meant
// to exhaust a parser.
const MaxDepth = 64

// CheckDocument makes sure that doc is a JSON object (RFC 8259) in UTF-8,
// nested at most MaxDepth deep, and nothing else; no bytes, or only white
// space, count as {}. Names that come twice and escaped halves of surrogates
// are let pass: of the former the last one counts, as with AWS.
//
// The error is a SerializationException that says where the fault is and
// repeats nothing of the document.
func CheckDocument(doc []byte) error {
	if !utf8.Valid(doc) {
		return fail(400, "SerializationException", "The request's body is not UTF-8")
	}
	i := space(doc, 0)
	if i == len(doc) {
		return nil
	}
	if doc[i] != '{' {
		return fail(400, "SerializationException", "The request's body is not a JSON object")
	}
	at, deep := scan(doc, i)
	switch {
	case deep:
		return fail(400, "SerializationException", "The request's body is nested deeper than %d levels", MaxDepth)
	case at >= 0:
		return fail(400, "SerializationException", "The request's body is not valid JSON; the fault is at byte %d", at)
	}
	return nil
}

// What scan expects next.
const (
	value = iota
	name
	rest // after a value: a comma or the end of what holds it
)

// scan reads one JSON value from b[i:] to the end of b. It returns where it
// went wrong, or -1, and whether that is for being nested too deep. It does not
// recurse: what is open is one bit for each level, 1 for an object.
func scan(b []byte, i int) (at int, deep bool) {
	var open uint64
	depth, next := 0, value
	for {
		i = space(b, i)
		c := peek(b, i)
		switch {
		case next == rest && depth == 0:
			if i == len(b) {
				return -1, false
			}
			return i, false
		case next == rest && c == ',':
			i++
			next = value
			if open&1 == 1 {
				next = name
			}
		case next == rest:
			if open&1 == 1 && c != '}' || open&1 == 0 && c != ']' {
				return i, false
			}
			i++
			open >>= 1
			depth--
		case next == name:
			if c != '"' {
				return i, false
			}
			end, ok := text(b, i+1)
			if !ok {
				return end, false
			}
			if i = space(b, end); peek(b, i) != ':' {
				return i, false
			}
			i++
			next = value
		case c == '{' || c == '[':
			if depth == MaxDepth {
				return i, true
			}
			depth++
			i = space(b, i+1)
			if c == '{' {
				open = open<<1 | 1
				next = name
			} else {
				open <<= 1
			}
			if peek(b, i) == c+2 { // '}' and ']' are two after '{' and '['
				next = rest
			}
		default:
			end, ok := scalar(b, i)
			if !ok {
				return end, false
			}
			i = end
			next = rest
		}
	}
}

// peek is b[i], or NUL behind the end, which is wrong everywhere.
func peek(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scalar reads a string, number, true, false or null. end is behind it, or
// where it went wrong.
func scalar(b []byte, i int) (end int, ok bool) {
	switch c := peek(b, i); c {
	case '"':
		return text(b, i+1)
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	}
	return number(b, i)
}

func literal(b []byte, i int, word string) (end int, ok bool) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

func number(b []byte, i int) (end int, ok bool) {
	if peek(b, i) == '-' {
		i++
	}
	if peek(b, i) == '0' {
		i++
	} else if i, ok = digits(b, i); !ok {
		return i, false
	}
	if peek(b, i) == '.' {
		if i, ok = digits(b, i+1); !ok {
			return i, false
		}
	}
	if peek(b, i)|0x20 == 'e' {
		i++
		if c := peek(b, i); c == '+' || c == '-' {
			i++
		}
		return digits(b, i)
	}
	return i, true
}

func digits(b []byte, i int) (end int, ok bool) {
	for '0' <= peek(b, i) && peek(b, i) <= '9' {
		i++
		ok = true
	}
	return i, ok
}

// text reads a string from behind its opening quote. Most of a document is
// inside strings, so it looks at eight bytes at a time for the three kinds of
// byte that mean something: quotes, backslashes and control characters.
func text(b []byte, i int) (end int, ok bool) {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, slash := w^ones*'"', w^ones*'\\'
			// x-ones borrows into the top bit of a byte that is zero; the
			// lowest bit that is left is never a false one.
			if found := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & tops; found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		switch c := peek(b, i); {
		case c == '"':
			return i + 1, true
		case c < 0x20:
			return i, false
		case c != '\\':
			i++
		default:
			switch peek(b, i+1) {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				for range 4 {
					if !isHex(peek(b, i+2)) {
						return i, false
					}
					i++
				}
				i += 2
			default:
				return i, false
			}
		}
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
