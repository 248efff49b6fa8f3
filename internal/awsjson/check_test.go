package awsjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/corbel-build/corbel/internal/awsjson"
)

func nested(open, inner, end string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

func TestCheckDocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, fault string }{
		{``, ``},
		{" \n\t\r", ``},
		{`{}`, ``},
		{` { } `, ``},
		{`{"a":1,"b":[true,false,null,"x",-0.5e+3,{"c":[]}]}`, ``},
		{`{"a":1,"a":2}`, ``},
		{`{"":"\u0000\ud800\"\\\/\b\f\n\r\t"}`, ``},
		{`{"ключ":"значение 🚂"}`, ``},
		{"{\"del\":\"\x7f\"}", ``},
		{nested(`{"a":`, "1", "}", 64), ``},
		{`{"a":` + nested(`[`, "", "]", 63) + `}`, ``},
		{`{"a":` + strings.Repeat("9", 5000) + `}`, ``},
		{`{"a":[` + strings.Repeat("{},", 5000) + `{}]}`, ``},

		{nested(`{"a":`, "1", "}", 65), `nested deeper than 64 levels`},
		{`{"a":` + nested(`[`, "", "]", 64) + `}`, `nested deeper than 64 levels`},
		{strings.Repeat(`{"a":`, 1000000), `nested deeper than 64 levels`},
		{`[]`, `not a JSON object`},
		{`null`, `not a JSON object`},
		{`"{}"`, `not a JSON object`},
		{"\ufeff{}", `not a JSON object`},
		{"\x00", `not a JSON object`},
		{`{`, `byte 1`},
		{`{}}`, `byte 2`},
		{`{} {}`, `byte 3`},
		{`{"a"}`, `byte 4`},
		{`{"a":}`, `byte 5`},
		{`{"a":1,}`, `byte 7`},
		{`{a:1}`, `byte 1`},
		{`{'a':1}`, `byte 1`},
		{`{"a":[1,]}`, `byte 8`},
		{`{"a":[1}`, `byte 7`},
		{`{"a":[}`, `byte 6`},
		{`{"a":1]`, `byte 6`},
		{`{"a":01}`, `byte 6`},
		{`{"a":+1}`, `byte 5`},
		{`{"a":-}`, `byte 6`},
		{`{"a":1.}`, `byte 7`},
		{`{"a":1e}`, `byte 7`},
		{`{"a":.5}`, `byte 5`},
		{`{"a":NaN}`, `byte 5`},
		{`{"a":True}`, `byte 5`},
		{`{"a":nul}`, `byte 5`},
		{`{"a":"x`, `byte 7`},
		{`{"a":"\`, `byte 6`},
		{`{"a":"\x"}`, `byte 6`},
		{`{"a":"\u12g4"}`, `byte`},
		{`{"a":"\u12`, `byte`},
		{"{\"a\":\"line\nbreak, and eight more\"}", `byte 10`},
		{"{\"a\":\"0123456789\x1f\"}", `byte 16`},
		{"{\"a\":\"\x00\"}", `byte 6`},
		{`{"a":1 /* note */}`, `byte 7`},
		{"{\"a\":\"\xff\"}", `not UTF-8`},
		{"{\"a\":\"\xed\xa0\x80\"}", `not UTF-8`},
	} {
		err := awsjson.CheckDocument([]byte(c.in))
		if c.fault == "" {
			if err != nil {
				t.Errorf("CheckDocument(%.100q): %v", c.in, err)
			}
			continue
		}
		var e *awsjson.ResponseError
		if !errors.As(err, &e) || e.Code != "SerializationException" || e.Status != 400 || !strings.Contains(e.Message, c.fault) {
			t.Errorf("CheckDocument(%.100q): %v, want a SerializationException with %q", c.in, err, c.fault)
		}
	}
}

// A special byte is seen at every place within eight.
func TestCheckDocument_BytesWithinWords(t *testing.T) {
	t.Parallel()
	for pad := range 20 {
		for b := range 256 {
			in := []byte(`{"` + strings.Repeat("x", pad) + string([]byte{byte(b)}) + strings.Repeat("\u0080", 9) + `":0}`)
			want := json.Valid(in) && utf8.Valid(in)
			if err := awsjson.CheckDocument(in); (err == nil) != want {
				t.Errorf("byte %#x after %d: %v, want valid %v", b, pad, err, want)
			}
		}
	}
}

// depth is how deep a valid document is nested, by encoding/json.
func depth(doc []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(doc))
	n := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			n++
			deepest = max(deepest, n)
		case json.Delim('}'), json.Delim(']'):
			n--
		}
	}
}

func FuzzCheckDocument(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"a":[1,2.5e-3,"\u00e4\n",true,null,{}]}`, `[]`, `{"a":}`, "{\"\xff\":0}", `{"a":"0123456789\"01234567"}`,
		nested(`{"a":`, "1", "}", 64), nested(`{"a":[`, "1", "]}", 33)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		trimmed := bytes.Trim(doc, " \t\r\n")
		want := len(trimmed) == 0 ||
			trimmed[0] == '{' && json.Valid(doc) && utf8.Valid(doc) && depth(doc) <= awsjson.MaxDepth
		if err := awsjson.CheckDocument(doc); (err == nil) != want {
			t.Fatalf("CheckDocument(%q): %v, want valid %v", doc, err, want)
		}
	})
}

func BenchmarkCheckDocument(b *testing.B) {
	var vars []map[string]string
	for i := range 12 {
		vars = append(vars, map[string]string{"name": fmt.Sprintf("VARIABLE_NUMBER_%02d", i), "value": strings.Repeat("v", 24), "type": "PLAINTEXT"})
	}
	doc, err := json.Marshal(map[string]any{
		"name": "site", "serviceRole": "arn:aws:iam::123456789012:role/build",
		"source":      map[string]any{"type": "GITHUB", "location": "https://github.com/o/r.git", "gitCloneDepth": 1, "buildspec": strings.Repeat("      - echo building the project\n", 15)},
		"artifacts":   map[string]any{"type": "NO_ARTIFACTS"},
		"environment": map[string]any{"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "environmentVariables": vars},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run(fmt.Sprintf("bytes=%d", len(doc)), func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		b.ReportAllocs()
		for b.Loop() {
			if err := awsjson.CheckDocument(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		for b.Loop() {
			json.Valid(doc)
		}
	})
}
