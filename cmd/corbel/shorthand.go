package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/corbel-build/corbel/api"
)

// value reads the words of a flag as a value of the shape. Each word may be in
// a file; a structure is JSON or shorthand, a list is words or JSON.
func (c *call) value(id api.ShapeID, words []string) (any, error) {
	if len(words) == 0 {
		return nil, errors.New("expected at least one value")
	}
	texts := make([]string, len(words))
	for i, w := range words {
		var err error
		if texts[i], err = argument(w); err != nil {
			return nil, err
		}
	}
	s := &c.model.Shapes[id]
	if s.Kind == api.List {
		if strings.HasPrefix(strings.TrimSpace(texts[0]), "[") {
			return fromJSON(strings.Join(texts, " "))
		}
		list := []any{}
		for _, t := range texts {
			v, err := c.single(s.Elem, t)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	if len(texts) > 1 {
		return nil, fmt.Errorf("expected one value, not %d", len(texts))
	}
	return c.single(id, texts[0])
}

// single reads one text as a value of the shape.
func (c *call) single(id api.ShapeID, text string) (any, error) {
	switch c.model.Shapes[id].Kind {
	case api.Structure, api.Map, api.List:
		if t := strings.TrimSpace(text); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
			return fromJSON(t)
		}
		p := &shorthand{text: text}
		v, err := p.pairs(0)
		if err != nil {
			return nil, err
		}
		return c.coerce(id, v)
	}
	return c.coerce(id, text)
}

func fromJSON(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	return v, nil
}

// coerce gives the texts of a parsed value the types of the shape.
func (c *call) coerce(id api.ShapeID, v any) (any, error) {
	s := &c.model.Shapes[id]
	switch s.Kind {
	case api.Structure, api.Map:
		in, ok := v.(object)
		if !ok {
			return nil, fmt.Errorf("want key=value pairs, not %q", v)
		}
		for name, e := range in {
			elem, known := s.Elem, s.Kind == api.Map
			var names []string
			for _, m := range s.Members {
				names = append(names, m.Name)
				if m.Name == name {
					elem, known = m.Shape, true
				}
			}
			if !known {
				return nil, fmt.Errorf("unknown key %q; known are %s", name, strings.Join(names, ", "))
			}
			var err error
			if in[name], err = c.coerce(elem, e); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		return in, nil
	case api.List:
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for i, e := range list {
			var err error
			if list[i], err = c.coerce(s.Elem, e); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	text, ok := v.(string)
	if !ok {
		return nil, errors.New("want a single value")
	}
	switch s.Kind {
	case api.Boolean:
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case api.Integer, api.Long, api.Double, api.Time:
		n := json.Number(text)
		if _, err := n.Float64(); err != nil || !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return n, nil
	}
	return text, nil
}

// maxNesting bounds the nesting of shorthand.
const maxNesting = 32

// A shorthand parses the AWS CLI's key=value,key=value form.
//
//	pairs = pair { "," pair }
//	pair  = key "=" value
//	value = "{" pairs "}" | "[" value { "," value } "]" | text { "," text }
//
// A text is quoted with ' or ", or runs to the next comma or bracket; a comma
// that no key= follows goes on with a list.
type shorthand struct {
	text string
	pos  int
}

func (p *shorthand) fail(want string) error {
	return fmt.Errorf("expected %s at character %d of %q", want, p.pos+1, p.text)
}

func (p *shorthand) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *shorthand) skip() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func isKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.#/:", c) >= 0
}

// key reads a key with its equals sign; ok is false, and nothing read, if
// there is none.
func (p *shorthand) key() (name string, ok bool) {
	start := p.pos
	p.skip()
	from := p.pos
	for p.pos < len(p.text) && isKey(p.text[p.pos]) {
		p.pos++
	}
	name = p.text[from:p.pos]
	p.skip()
	if name == "" || p.peek() != '=' {
		p.pos = start
		return "", false
	}
	p.pos++
	return name, true
}

func (p *shorthand) pairs(depth int) (object, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%q is nested too deeply", p.text)
	}
	out := object{}
	for {
		name, ok := p.key()
		if !ok {
			return nil, p.fail("key=")
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the key %s is given twice", name)
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		out[name] = v
		p.skip()
		switch {
		case p.peek() == ',':
			p.pos++
		case p.pos == len(p.text) && depth == 0, p.peek() == '}' && depth > 0:
			return out, nil
		default:
			return nil, p.fail("a comma")
		}
	}
}

func (p *shorthand) value(depth int) (any, error) {
	p.skip()
	switch p.peek() {
	case '{':
		p.pos++
		v, err := p.pairs(depth + 1)
		if err == nil {
			p.pos++ // the brace that ended the pairs
		}
		return v, err
	case '[':
		p.pos++
		return p.list(depth + 1)
	}
	first, err := p.word("")
	if err != nil {
		return nil, err
	}
	// More words make it a list, but for a comma that begins the next pair.
	var list []any
	for p.peek() == ',' {
		before := p.pos
		p.pos++
		at := p.pos
		if _, pair := p.key(); pair || p.pos == len(p.text) {
			p.pos = before
			break
		}
		p.pos = at
		w, err := p.word("")
		if err != nil {
			return nil, err
		}
		if list == nil {
			list = []any{first}
		}
		list = append(list, w)
	}
	if list != nil {
		return list, nil
	}
	return first, nil
}

func (p *shorthand) list(depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%q is nested too deeply", p.text)
	}
	out := []any{}
	p.skip()
	if p.peek() == ']' {
		p.pos++
		return out, nil
	}
	for {
		p.skip()
		var v any
		var err error
		switch p.peek() {
		case '{', '[':
			v, err = p.value(depth)
		default:
			v, err = p.word("]")
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		p.skip()
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return out, nil
		default:
			return nil, p.fail("a comma or ]")
		}
	}
}

// word reads a quoted or plain text.
func (p *shorthand) word(stops string) (string, error) {
	p.skip()
	if q := p.peek(); q == '"' || q == '\'' {
		p.pos++
		var b strings.Builder
		for p.pos < len(p.text) {
			c := p.text[p.pos]
			p.pos++
			if c == q {
				return b.String(), nil
			}
			if c == '\\' && p.pos < len(p.text) && (p.text[p.pos] == q || p.text[p.pos] == '\\') {
				c = p.text[p.pos]
				p.pos++
			}
			b.WriteByte(c)
		}
		return "", p.fail("a closing quote")
	}
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c == ',' || c == '}' || strings.IndexByte(stops, c) >= 0 {
			break
		}
		if c == '\\' && p.pos+1 < len(p.text) && strings.IndexByte(",\\", p.text[p.pos+1]) >= 0 {
			p.pos++
			c = p.text[p.pos]
		}
		b.WriteByte(c)
		p.pos++
	}
	return strings.TrimRight(b.String(), " \t\r\n"), nil
}

// skeleton is a document of the shape with every member, as
// --generate-cli-skeleton prints it. Of an enum it has the first value.
func skeleton(m *api.Model, id api.ShapeID) any { return skeletonBelow(m, id, nil) }

func skeletonBelow(m *api.Model, id api.ShapeID, above []api.ShapeID) any {
	s := &m.Shapes[id]
	for _, a := range above {
		if a == id {
			return object{} // a shape within itself
		}
	}
	above = append(above, id)
	switch s.Kind {
	case api.Structure:
		out := object{}
		for _, mem := range s.Members {
			out[mem.Name] = skeletonBelow(m, mem.Shape, above)
		}
		return out
	case api.List:
		return []any{skeletonBelow(m, s.Elem, above)}
	case api.Map:
		return object{"KeyName": skeletonBelow(m, s.Elem, above)}
	case api.Boolean:
		return true
	case api.Integer, api.Long:
		return 0
	case api.Double:
		return json.RawMessage("0.0")
	case api.Time:
		return "1970-01-01T00:00:00"
	}
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	return ""
}

// word is what help calls a value of the kind.
func word(k api.Kind) string {
	return map[api.Kind]string{
		api.Structure: "structure", api.List: "list", api.Map: "map", api.String: "string", api.Boolean: "boolean",
		api.Integer: "integer", api.Long: "integer", api.Double: "number", api.Time: "timestamp",
	}[k]
}
