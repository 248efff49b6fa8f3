package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/client"
)

var (
	capitals  = regexp.MustCompile(`[A-Z]{2,}s$`)
	firstWord = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	nextWord  = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// kebab spells a name of the model as the AWS CLI does: importSourceCredentials
// becomes import-source-credentials, reportARNs report-arns.
// Source: the behaviour of botocore's xform_name.
func kebab(name string) string {
	if m := capitals.FindString(name); m != "" {
		name = name[:len(name)-len(m)] + "-" + strings.ToLower(m)
	}
	name = firstWord.ReplaceAllString(name, "${1}-${2}")
	return strings.TrimLeft(strings.ToLower(nextWord.ReplaceAllString(name, "${1}-${2}")), "-")
}

// codebuild is "corbel codebuild": every operation of the contract, with the
// grammar of "aws codebuild". Results go to out, everything else to errOut.
func codebuild(ctx context.Context, args []string, out, errOut io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprintln(out, "Usage:\n    corbel codebuild OPERATION [flags]\n    corbel codebuild OPERATION help\n\nOperations:")
		for _, o := range api.Contract.Operations {
			fmt.Fprintln(out, "    "+kebab(o.Name))
		}
		return nil
	}
	m := &api.Contract
	i := slices.IndexFunc(m.Operations, func(o api.Operation) bool { return kebab(o.Name) == args[0] })
	if i < 0 {
		return usageError{fmt.Sprintf("there is no operation %q; corbel codebuild help lists them", args[0])}
	}
	call := &call{model: m, op: &m.Operations[i], document: object{}}
	if len(args) > 1 && (args[1] == "help" || args[1] == "--help" || args[1] == "-h") {
		call.help(out)
		return nil
	}
	if err := call.parse(args[1:]); err != nil {
		return err
	}
	return call.run(ctx, out)
}

// A call is one operation with its arguments.
type call struct {
	model    *api.Model
	op       *api.Operation
	document object

	client.Overrides
	skeleton   string // input or output: print that and call nothing
	noPaginate bool
	maxItems   int // 0 is all
	skip       int // items of the first page that were printed already
}

// An object is a JSON object whose members are written in the order of the
// model.
type object = map[string]any

func (c *call) input() *api.Shape { return &c.model.Shapes[c.op.Input] }

// global flags of the AWS CLI that take a value, and those that take none.
var (
	withValue    = []string{"endpoint-url", "region", "profile", "output", "query", "cli-input-json", "cli-input-yaml", "max-items", "starting-token", "page-size", "color", "cli-read-timeout", "cli-connect-timeout"}
	withoutValue = []string{"no-paginate", "no-cli-pager", "debug", "no-verify-ssl", "no-sign-request"}
)

// parse reads the flags after the operation's name. Explicit flags win over
// the document of --cli-input-json.
func (c *call) parse(args []string) error {
	flags := object{}
	for len(args) > 0 {
		flag, ok := strings.CutPrefix(args[0], "--")
		if !ok {
			return usageError{fmt.Sprintf("unexpected argument %q", args[0])}
		}
		name, inlineValue, hasInline := strings.Cut(flag, "=")
		args = args[1:]
		var words []string
		if hasInline {
			words = []string{inlineValue}
		}
		for !hasInline && len(args) > 0 && !strings.HasPrefix(args[0], "--") {
			words, args = append(words, args[0]), args[1:]
		}
		if err := c.flag(flags, name, words); err != nil {
			return err
		}
	}
	for k, v := range flags {
		c.document[k] = v
	}
	if c.skeleton != "" {
		return nil
	}
	var missing []string
	for _, m := range c.input().Members {
		if _, ok := c.document[m.Name]; m.Required && !ok {
			missing = append(missing, "--"+kebab(m.Name))
		}
	}
	if missing != nil {
		return usageError{"the following arguments are required: " + strings.Join(missing, ", ")}
	}
	return nil
}

// flag takes one flag with its words.
func (c *call) flag(flags object, name string, words []string) error {
	members := c.input().Members
	if i := slices.IndexFunc(members, func(m api.Member) bool { return kebab(m.Name) == name }); i >= 0 {
		m := members[i]
		if c.model.Shapes[m.Shape].Kind == api.Boolean && len(words) == 0 {
			flags[m.Name] = true
			return nil
		}
		v, err := c.value(m.Shape, words)
		if err != nil {
			return usageError{fmt.Sprintf("--%s: %v", name, err)}
		}
		flags[m.Name] = v
		return nil
	}
	if bare, ok := strings.CutPrefix(name, "no-"); ok {
		i := slices.IndexFunc(members, func(m api.Member) bool { return kebab(m.Name) == bare && c.model.Shapes[m.Shape].Kind == api.Boolean })
		if i >= 0 && len(words) == 0 {
			flags[members[i].Name] = false
			return nil
		}
	}
	switch {
	case name == "generate-cli-skeleton":
		c.skeleton = "input"
		if len(words) == 1 {
			c.skeleton = words[0]
		}
		if c.skeleton != "input" && c.skeleton != "output" {
			return usageError{"--generate-cli-skeleton: want input or output"}
		}
		return nil
	case slices.Contains(withoutValue, name) && len(words) == 0:
		c.noPaginate = c.noPaginate || name == "no-paginate"
		if name == "no-sign-request" || name == "no-verify-ssl" {
			return usageError{"--" + name + " is not supported"}
		}
		return nil
	case slices.Contains(withValue, name) && len(words) == 1:
		return c.global(name, words[0])
	case slices.Contains(withValue, name):
		return usageError{"--" + name + " takes one value"}
	}
	var near []string
	for _, m := range members {
		if k := kebab(m.Name); strings.Contains(k, name) || strings.Contains(name, k) {
			near = append(near, "--"+k)
		}
	}
	text := fmt.Sprintf("unknown option --%s", name)
	if near != nil {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{text}
}

// global takes a flag that every operation has.
func (c *call) global(name, value string) (err error) {
	switch name {
	case "endpoint-url":
		c.Endpoint = value
	case "region":
		c.Region = value
	case "profile":
		c.Profile = value
	case "output":
		if value != "json" {
			return usageError{fmt.Sprintf("--output %s is not supported: the output is json", value)}
		}
	case "query", "cli-input-yaml":
		return usageError{"--" + name + " is not supported; the AWS CLI has it"}
	case "cli-input-json":
		text, err := argument(value)
		if err != nil {
			return usageError{"--cli-input-json: " + err.Error()}
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&c.document); err != nil {
			return usageError{"--cli-input-json: invalid JSON: " + err.Error()}
		}
	case "starting-token":
		return c.resume(value)
	case "max-items":
		if c.maxItems, err = strconv.Atoi(value); err != nil || c.maxItems < 1 {
			return usageError{"--max-items: want a number from 1 on"}
		}
	case "page-size":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return usageError{"--page-size: want a number from 1 on"}
		}
		c.document["maxResults"] = n
	}
	return nil
}

// argument is the text of an argument, which may be in a file.
func argument(word string) (string, error) {
	for _, scheme := range []string{"file://", "fileb://"} {
		if path, ok := strings.CutPrefix(word, scheme); ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("unable to load paramfile: %w", err)
			}
			return string(b), nil
		}
	}
	return word, nil
}

// run calls the operation and prints its answer.
func (c *call) run(ctx context.Context, out io.Writer) error {
	switch c.skeleton {
	case "input":
		return printDocument(out, c.model, c.op.Input, skeleton(c.model, c.op.Input))
	case "output":
		return printDocument(out, c.model, c.op.Output, skeleton(c.model, c.op.Output))
	}
	cl, err := client.FromEnvironment(os.Getenv, c.Overrides)
	if err != nil {
		return configError{err}
	}
	answer, err := c.pages(ctx, cl)
	var refused *awsjson.ResponseError
	if errors.As(err, &refused) {
		return serviceError{c.op.Name, refused}
	}
	if err != nil {
		return fmt.Errorf("could not call %s at %s: %w", c.op.Name, cl.Endpoint, err)
	}
	if len(answer) == 0 { // as the AWS CLI, which prints nothing then
		return nil
	}
	return printDocument(out, c.model, c.op.Output, answer)
}

// A serviceError is an error that the service answered, in the AWS CLI's
// words.
type serviceError struct {
	operation string
	*awsjson.ResponseError
}

func (e serviceError) Error() string {
	return fmt.Sprintf("An error occurred (%s) when calling the %s operation: %s", e.Code, e.operation, e.Message)
}

// A resumption is what --starting-token takes and --max-items answers with:
// the service's token of a page, and how many of its items to leave out.
// Source: botocore's paginator, whose tokens these are, so that one from the
// AWS CLI goes on here and the other way round.
type resumption struct {
	Next *string `json:"nextToken"`
	Skip int     `json:"boto_truncate_amount,omitzero"`
}

// resume goes on where a token says. It may also be one of the service's own.
func (c *call) resume(token string) error {
	if !c.op.Paged {
		return usageError{"--starting-token: the operation has no pages"}
	}
	var r resumption
	text, err := base64.StdEncoding.DecodeString(token)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(&r)
	}
	if err != nil {
		r = resumption{Next: &token}
	}
	if r.Skip < 0 {
		return usageError{"--starting-token: want what the previous call answered as NextToken"}
	}
	if c.skip = r.Skip; r.Next != nil {
		c.document["nextToken"] = *r.Next
	}
	return nil
}

// pages calls the operation, and again for each further page unless told not
// to, and joins the lists of the answers. What --max-items cuts off is found
// with NextToken.
func (c *call) pages(ctx context.Context, cl *client.Client) (object, error) {
	list := ""
	for _, m := range c.model.Shapes[c.op.Output].Members {
		if c.model.Shapes[m.Shape].Kind == api.List {
			list = m.Name
		}
	}
	var items []any
	for {
		page, err := c.page(ctx, cl)
		if err != nil || !c.op.Paged || c.noPaginate {
			return page, err
		}
		found, _ := page[list].([]any)
		start := min(c.skip, len(found))
		room := len(found)
		if c.maxItems > 0 {
			room = min(room, start+c.maxItems-len(items))
		}
		items = append(items, found[start:room]...)
		page[list] = items
		next, more := page["nextToken"].(string)
		delete(page, "nextToken")
		switch {
		case room < len(found): // the same page again, from there
			before, _ := c.document["nextToken"].(string)
			return page, c.stop(page, before, room)
		case !more:
			return page, nil
		case c.maxItems > 0 && len(items) == c.maxItems:
			return page, c.stop(page, next, 0)
		}
		c.document["nextToken"], c.skip = next, 0
	}
}

// stop puts the token of what is left into the answer.
func (c *call) stop(page object, next string, skip int) error {
	r := resumption{Skip: skip}
	if next != "" {
		r.Next = &next
	}
	b, err := json.Marshal(r)
	page["NextToken"] = base64.StdEncoding.EncodeToString(b)
	return err
}

// page calls the operation once.
func (c *call) page(ctx context.Context, cl *client.Client) (object, error) {
	document, err := json.Marshal(c.document)
	if err != nil {
		return nil, err
	}
	answer, err := cl.Do(ctx, c.model, c.op.Name, document)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var page object
	if err := d.Decode(&page); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	return page, nil
}

// help describes an operation from the model.
func (c *call) help(out io.Writer) {
	fmt.Fprintf(out, "Usage:\n    corbel codebuild %s [flags]\n\nFlags:\n", kebab(c.op.Name))
	for _, m := range c.input().Members {
		s := &c.model.Shapes[m.Shape]
		fmt.Fprintf(out, "    --%s %s", kebab(m.Name), c.describe(m.Shape))
		if m.Required {
			fmt.Fprint(out, " (required)")
		}
		fmt.Fprintln(out)
		if len(s.Enum) > 0 {
			fmt.Fprintln(out, "        "+strings.Join(s.Enum, " | "))
		}
		if s.HasMin || s.HasMax {
			what := "value"
			if s.Kind == api.String || s.Kind == api.List {
				what = "length"
			}
			fmt.Fprintf(out, "        %s", what)
			if s.HasMin {
				fmt.Fprintf(out, " from %v", s.Min)
			}
			if s.HasMax {
				fmt.Fprintf(out, " to %v", s.Max)
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprint(out, `    --cli-input-json JSON | file://FILE
    --generate-cli-skeleton [input|output]
    --endpoint-url URL, --region REGION, --profile NAME
`)
	if c.op.Paged {
		fmt.Fprint(out, "    --no-paginate, --max-items N, --page-size N, --starting-token TOKEN\n")
	}
	if len(c.op.Errors) > 0 {
		fmt.Fprintf(out, "\nErrors: %s\n", strings.Join(c.op.Errors, ", "))
	}
}

func (c *call) describe(id api.ShapeID) string {
	s := &c.model.Shapes[id]
	switch s.Kind {
	case api.Structure:
		var parts []string
		for _, m := range s.Members {
			parts = append(parts, m.Name+"="+word(c.model.Shapes[m.Shape].Kind))
		}
		return strings.Join(parts, ",")
	case api.List:
		return c.describe(s.Elem) + " ..."
	case api.Boolean:
		return "| --no-..."
	}
	return word(s.Kind)
}

// printDocument writes a document as the AWS CLI does: members in the order of
// the model, four spaces, times in ISO 8601.
func printDocument(out io.Writer, m *api.Model, id api.ShapeID, v any) error {
	var b bytes.Buffer
	if err := writeValue(&b, m, id, v, "\n"); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := out.Write(b.Bytes())
	return err
}

func writeValue(b *bytes.Buffer, m *api.Model, id api.ShapeID, v any, nl string) error {
	s := &m.Shapes[id]
	switch v := v.(type) {
	case object:
		var names []string
		for _, mem := range s.Members {
			if _, ok := v[mem.Name]; ok {
				names = append(names, mem.Name)
			}
		}
		var rest []string // members of a map, or that the model does not know
		for name := range v {
			if !slices.Contains(names, name) {
				rest = append(rest, name)
			}
		}
		slices.Sort(rest)
		names = append(names, rest...)
		if len(names) == 0 {
			b.WriteString("{}")
			return nil
		}
		for i, name := range names {
			b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + nl + "    ")
			if err := writeScalar(b, name); err != nil {
				return err
			}
			b.WriteString(": ")
			elem := s.Elem
			for _, mem := range s.Members {
				if mem.Name == name {
					elem = mem.Shape
				}
			}
			if err := writeValue(b, m, elem, v[name], nl+"    "); err != nil {
				return err
			}
		}
		b.WriteString(nl + "}")
		return nil
	case []any:
		if len(v) == 0 {
			b.WriteString("[]")
			return nil
		}
		for i, e := range v {
			b.WriteString(map[bool]string{true: "[", false: ","}[i == 0] + nl + "    ")
			if err := writeValue(b, m, s.Elem, e, nl+"    "); err != nil {
				return err
			}
		}
		b.WriteString(nl + "]")
		return nil
	case json.Number:
		if s.Kind == api.Time {
			f, err := v.Float64()
			if err != nil {
				return fmt.Errorf("time %s: %w", v, err)
			}
			return writeScalar(b, time.UnixMilli(int64(f*1000+0.5)).Local().Format("2006-01-02T15:04:05.000000-07:00"))
		}
	}
	return writeScalar(b, v)
}

func writeScalar(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's line end
	return nil
}
