package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// Decode reads the document of a request into in, a pointer to the Go type of
// shape. Member names are matched exactly, unknown members are passed over and
// null counts as absent, as the service does. A value of the wrong type is a
// SerializationException; breaches of the constraint table are reported
// together in one ValidationException. The caller has bounded the size and
// depth of doc.
func Decode(m *Model, shape ShapeID, doc []byte, in any) error {
	var tree any = map[string]any{}
	if len(bytes.TrimSpace(doc)) > 0 {
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		tree = nil
		if err := d.Decode(&tree); err != nil {
			return Errorf("SerializationException", "the request body is not valid JSON")
		}
		if _, err := d.Token(); err != io.EOF {
			return Errorf("SerializationException", "the request body goes on after its JSON document")
		}
	}
	if err := m.fill(shape, tree, reflect.ValueOf(in).Elem()); err != nil {
		return err
	}
	return m.Validate(shape, tree)
}

// jsonName is what the service's messages call a JSON value.
func jsonName(v any) string {
	switch v := v.(type) {
	case string:
		return "STRING_VALUE"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "DECIMAL_VALUE"
		}
		return "NUMBER_VALUE"
	case bool:
		if v {
			return "TRUE_VALUE"
		}
		return "FALSE_VALUE"
	case []any:
		return "START_ARRAY"
	case map[string]any:
		return "START_OBJECT"
	}
	return "VALUE_NULL"
}

func mismatch(v any, want string) error {
	switch v.(type) {
	case []any:
		return Errorf("SerializationException", "Unexpected START_ARRAY where %s was expected", want)
	case map[string]any:
		return Errorf("SerializationException", "Start of structure or map found where not expected.")
	}
	return Errorf("SerializationException", "%s can not be converted to %s", jsonName(v), want)
}

// fill copies the JSON value v of the given shape into dst.
func (m *Model) fill(id ShapeID, v any, dst reflect.Value) error {
	if v == nil {
		return nil
	}
	s := &m.Shapes[id]
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	switch s.Kind {
	case Structure:
		doc, ok := v.(map[string]any)
		if !ok {
			if _, list := v.([]any); !list {
				return Errorf("SerializationException", "Unexpected token received from parser")
			}
			return mismatch(v, "a structure")
		}
		for i := range s.Members {
			if mv, ok := doc[s.Members[i].Name]; ok {
				if err := m.fill(s.Members[i].Shape, mv, dst.Field(i)); err != nil {
					return err
				}
			}
		}
	case List:
		list, ok := v.([]any)
		if !ok {
			return Errorf("SerializationException", "Expected list or null")
		}
		out := reflect.MakeSlice(dst.Type(), len(list), len(list))
		for i, ev := range list {
			if err := m.fill(s.Elem, ev, out.Index(i)); err != nil {
				return err
			}
		}
		dst.Set(out)
	case Map:
		doc, ok := v.(map[string]any)
		if !ok {
			return Errorf("SerializationException", "Expected map or null")
		}
		out := reflect.MakeMapWithSize(dst.Type(), len(doc))
		for k, ev := range doc {
			e := reflect.New(dst.Type().Elem()).Elem()
			if err := m.fill(s.Elem, ev, e); err != nil {
				return err
			}
			out.SetMapIndex(reflect.ValueOf(k), e)
		}
		dst.Set(out)
	case String:
		text, ok := v.(string)
		if !ok {
			return mismatch(v, "a String")
		}
		dst.SetString(text)
	case Boolean:
		b, ok := v.(bool)
		if !ok {
			return mismatch(v, "a Boolean")
		}
		dst.SetBool(b)
	case Integer, Long:
		n, ok := v.(json.Number)
		if !ok {
			return mismatch(v, "an Integer")
		}
		i, err := n.Int64()
		if err != nil || s.Kind == Integer && (i < math.MinInt32 || i > math.MaxInt32) {
			return Errorf("SerializationException", "%s can not be converted to an Integer", jsonName(v))
		}
		dst.SetInt(i)
	case Double:
		n, ok := v.(json.Number)
		if !ok {
			return mismatch(v, "a Double")
		}
		f, err := n.Float64()
		if err != nil {
			return Errorf("SerializationException", "%s can not be converted to a Double", jsonName(v))
		}
		dst.SetFloat(f)
	case Time:
		n, ok := v.(json.Number)
		if !ok {
			return mismatch(v, "a Timestamp")
		}
		f, err := n.Float64()
		if err != nil || math.Abs(f) > 1e12 {
			return Errorf("SerializationException", "%s can not be converted to a Timestamp", jsonName(v))
		}
		dst.Set(reflect.ValueOf(Timestamp{time.UnixMilli(int64(math.Round(f * 1000))).UTC()}))
	}
	return nil
}

// Validate applies the constraint table to a decoded JSON document and
// returns one ValidationException that lists every breach, or nil.
func (m *Model) Validate(shape ShapeID, doc any) error {
	var found []string
	m.validate(shape, doc, "", &found)
	switch len(found) {
	case 0:
		return nil
	case 1:
		return Errorf("ValidationException", "1 validation error detected: %s", found[0])
	}
	return Errorf("ValidationException", "%d validation errors detected: %s", len(found), strings.Join(found, "; "))
}

func (m *Model) validate(id ShapeID, v any, path string, found *[]string) {
	s := &m.Shapes[id]
	breach := func(format string, args ...any) {
		value := " '" + show(v) + "'"
		if s.Sensitive {
			value = ""
		}
		*found = append(*found, fmt.Sprintf("Value%s at '%s' failed to satisfy constraint: Member must ", value, path)+fmt.Sprintf(format, args...))
	}
	length := func(n int) {
		if s.HasMin && float64(n) < s.Min {
			breach("have length greater than or equal to %d", int(s.Min))
		}
		if s.HasMax && float64(n) > s.Max {
			breach("have length less than or equal to %d", int(s.Max))
		}
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Kind == Map {
			length(len(v))
			return
		}
		for i := range s.Members {
			mem := &s.Members[i]
			at := mem.Name
			if path != "" {
				at = path + "." + mem.Name
			}
			mv, ok := v[mem.Name]
			if !ok || mv == nil {
				if mem.Required {
					*found = append(*found, "Value null at '"+at+"' failed to satisfy constraint: Member must not be null")
				}
				continue
			}
			m.validate(mem.Shape, mv, at, found)
		}
	case []any:
		length(len(v))
		unconstrained := m.unconstrained(s.Elem)
		for i, ev := range v {
			if ev == nil {
				*found = append(*found, fmt.Sprintf("Value null at '%s.%d.member' failed to satisfy constraint: Member must not be null", path, i+1))
			} else if !unconstrained {
				m.validate(s.Elem, ev, fmt.Sprintf("%s.%d.member", path, i+1), found)
			}
		}
	case string:
		if s.HasMin || s.HasMax {
			length(utf8.RuneCountInString(v))
		}
		if s.Pattern != "" && !matches(s.Pattern, v) {
			breach("satisfy regular expression pattern: %s", s.Pattern)
		}
		if len(s.Enum) > 0 && !contains(s.Enum, v) {
			breach("satisfy enum value set: [%s]", strings.Join(s.Enum, ", "))
		}
	case json.Number:
		if !s.HasMin && !s.HasMax {
			return
		}
		f, _ := v.Float64()
		if s.HasMin && f < s.Min {
			breach("have value greater than or equal to %v", s.Min)
		}
		if s.HasMax && f > s.Max {
			breach("have value less than or equal to %v", s.Max)
		}
	}
}

// unconstrained reports whether a value of the shape cannot be in breach.
func (m *Model) unconstrained(id ShapeID) bool {
	s := &m.Shapes[id]
	return s.Kind >= String && !s.HasMin && !s.HasMax && s.Pattern == "" && len(s.Enum) == 0
}

func contains(list []string, v string) bool {
	for _, e := range list {
		if e == v {
			return true
		}
	}
	return false
}

// show prints a value for a message: at most 256 characters of it, so that a
// long document is not sent back whole.
func show(v any) string {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			parts = append(parts, show(e))
			if len(parts) == 100 {
				break
			}
		}
		text = "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		text = "{...}"
	default:
		text = fmt.Sprint(v)
	}
	if r := []rune(text); len(r) > 256 {
		text = string(r[:256]) + "..."
	}
	return text
}
