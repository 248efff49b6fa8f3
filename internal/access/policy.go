package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
)

// A Policy is an IAM policy document of an access key: who signs with the key
// may do what it allows and does not deny. A key without one has all rights in
// its account.
//
// Statements have Effect, Action or NotAction, Resource or NotResource, and
// Condition, as IAM has them; Principal does not belong into a policy of a key.
// Source: IAM user guide, "IAM JSON policy elements reference".
type Policy struct{ statements []statement }

type statement struct {
	allow      bool
	actions    []string // lower case
	notActions bool
	resources  []string
	notRes     bool
	conditions []condition
}

// A condition is one key of one operator.
type condition struct {
	operator string // without IfExists and the set operator
	ifExists bool
	forAll   bool // ForAllValues
	forAny   bool // ForAnyValue
	key      string
	values   []string
}

// MaxPolicy bounds a policy, in characters that are not white space.
// Source: IAM user guide, quotas of managed policies.
const MaxPolicy = 6144

// ParsePolicy reads a policy document. The error says what is wrong and where.
func ParsePolicy(text string) (*Policy, error) {
	n := 0
	for _, r := range text {
		if r != ' ' && r != '\t' && r != '\n' && r != '\r' {
			n++
		}
	}
	if n > MaxPolicy {
		return nil, fmt.Errorf("the policy has %d characters without white space, and %d is the most", n, MaxPolicy)
	}
	if err := once(json.NewDecoder(strings.NewReader(text))); err != nil {
		return nil, err
	}
	var doc struct {
		Version   string
		ID        string `json:"Id"`
		Statement many[json.RawMessage]
	}
	if err := strict(text, &doc); err != nil {
		return nil, err
	}
	if doc.Version != "" && doc.Version != "2012-10-17" && doc.Version != "2008-10-17" {
		return nil, fmt.Errorf("version %q: want 2012-10-17", doc.Version)
	}
	if len(doc.Statement) == 0 {
		return nil, errors.New("the policy has no Statement")
	}
	p := &Policy{}
	for i, raw := range doc.Statement {
		s, err := parseStatement(string(raw))
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// strict reads one JSON value without unknown members.
func strict(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not a policy document: %w", err)
	}
	if d.Decode(&struct{}{}) != io.EOF {
		return errors.New("not a policy document: there is something after its end")
	}
	return nil
}

// once refuses an object that has a member twice, of which programs read
// different ones.
func once(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("not a policy document: %w", err)
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			k, err := d.Token()
			if err != nil {
				return fmt.Errorf("not a policy document: %w", err)
			}
			if seen[k.(string)] {
				return fmt.Errorf("member %q stands twice", k)
			}
			seen[k.(string)] = true
		}
		if err := once(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("not a policy document: %w", err)
	}
	return nil
}

// many is a value or a list of values.
type many[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (m *many[T]) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]T)(m))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*m = []T{one}
	return nil
}

// A scalar is the value of a condition, which may be written as a number or a
// truth value.
type scalar string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalar) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	if b[0] == '{' || b[0] == '[' || b[0] == 'n' {
		return fmt.Errorf("%s is no value of a condition", b)
	}
	*s = scalar(b)
	return nil
}

func parseStatement(text string) (statement, error) {
	var doc struct {
		Sid         string
		Effect      string
		Action      many[string]
		NotAction   many[string]
		Resource    many[string]
		NotResource many[string]
		Condition   map[string]map[string]many[scalar]
	}
	s := statement{}
	if err := strict(text, &doc); err != nil {
		return s, err
	}
	switch {
	case doc.Effect != "Allow" && doc.Effect != "Deny":
		return s, fmt.Errorf("effect %q: want Allow or Deny", doc.Effect)
	case (doc.Action == nil) == (doc.NotAction == nil):
		return s, errors.New("want either Action or NotAction")
	case (doc.Resource == nil) == (doc.NotResource == nil):
		return s, errors.New("want either Resource or NotResource")
	}
	s.allow, s.notActions, s.notRes = doc.Effect == "Allow", doc.NotAction != nil, doc.NotResource != nil
	for _, a := range append(doc.Action, doc.NotAction...) {
		service, name, ok := strings.Cut(a, ":")
		if a != "*" && (!ok || service == "" || name == "" || strings.ContainsAny(service, "*?")) {
			return s, fmt.Errorf("action %q: want SERVICE:OPERATION, such as codebuild:StartBuild", a)
		}
		s.actions = append(s.actions, strings.ToLower(a))
	}
	for _, r := range append(doc.Resource, doc.NotResource...) {
		if r != "*" && !strings.HasPrefix(r, "arn:") {
			return s, fmt.Errorf("resource %q: want * or an ARN", r)
		}
		s.resources = append(s.resources, r)
	}
	for operator, keys := range doc.Condition {
		for key, values := range keys {
			c, err := parseCondition(operator, key, values)
			if err != nil {
				return s, fmt.Errorf("condition %s: %w", operator, err)
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

// operators compare a value of the request with one of the policy. Those that
// begin with Not are made of them.
// Source: IAM user guide, "IAM JSON policy elements: Condition operators".
var operators = map[string]func(got, want string) (bool, error){
	"StringEquals":           func(got, want string) (bool, error) { return got == want, nil },
	"StringEqualsIgnoreCase": func(got, want string) (bool, error) { return strings.EqualFold(got, want), nil },
	"StringLike":             func(got, want string) (bool, error) { return wild(want, got), nil },
	"ArnEquals":              func(got, want string) (bool, error) { return wildARN(want, got), nil },
	"ArnLike":                func(got, want string) (bool, error) { return wildARN(want, got), nil },
	"Bool":                   func(got, want string) (bool, error) { return strings.EqualFold(got, want), nil },
	"NumericEquals":          numeric(func(a, b float64) bool { return a == b }),
	"NumericLessThan":        numeric(func(a, b float64) bool { return a < b }),
	"NumericLessThanEquals":  numeric(func(a, b float64) bool { return a <= b }),
	"NumericGreaterThan":     numeric(func(a, b float64) bool { return a > b }), "NumericGreaterThanEquals": numeric(func(a, b float64) bool { return a >= b }),
	"DateEquals": date(func(c int) bool { return c == 0 }), "DateLessThan": date(func(c int) bool { return c < 0 }), "DateLessThanEquals": date(func(c int) bool { return c <= 0 }),
	"DateGreaterThan": date(func(c int) bool { return c > 0 }), "DateGreaterThanEquals": date(func(c int) bool { return c >= 0 }),
	"IpAddress": address,
}

// negations are the operators that are another's opposite.
var negations = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals",
	"ArnNotLike": "ArnLike", "NumericNotEquals": "NumericEquals", "DateNotEquals": "DateEquals", "NotIpAddress": "IpAddress",
}

func numeric(compare func(a, b float64) bool) func(string, string) (bool, error) {
	return func(got, want string) (bool, error) {
		w, err := strconv.ParseFloat(want, 64)
		if err != nil {
			return false, fmt.Errorf("%q is no number", want)
		}
		g, err := strconv.ParseFloat(got, 64)
		return err == nil && compare(g, w), nil
	}
}

func moment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if s, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(s, 0), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time like 2026-11-23T12:00:00Z", text)
}

func date(compare func(int) bool) func(string, string) (bool, error) {
	return func(got, want string) (bool, error) {
		w, err := moment(want)
		if err != nil {
			return false, err
		}
		g, err := moment(got)
		return err == nil && compare(g.Compare(w)), nil
	}
}

func address(got, want string) (bool, error) {
	p, err := netip.ParsePrefix(want)
	if err != nil {
		a, err := netip.ParseAddr(want)
		if err != nil {
			return false, fmt.Errorf("%q is no address like 192.0.2.0/24", want)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	g, err := netip.ParseAddr(got)
	return err == nil && p.Contains(g.Unmap()), nil
}

func parseCondition(operator, key string, values []scalar) (condition, error) {
	c := condition{key: strings.ToLower(key)}
	for _, v := range values {
		c.values = append(c.values, string(v))
	}
	operator, c.forAll = strings.CutPrefix(operator, "ForAllValues:")
	if !c.forAll {
		operator, c.forAny = strings.CutPrefix(operator, "ForAnyValue:")
	}
	c.operator, c.ifExists = strings.CutSuffix(operator, "IfExists")
	if key == "" || len(values) == 0 {
		return c, errors.New("want a key and its values")
	}
	if c.operator == "Null" {
		for _, v := range c.values {
			if v != "true" && v != "false" {
				return c, fmt.Errorf("%q is neither true nor false", v)
			}
		}
		return c, nil
	}
	compare := operators[c.operator]
	if compare == nil {
		if compare = operators[negations[c.operator]]; compare == nil {
			return c, errors.New("there is no such operator")
		}
	}
	for _, v := range c.values {
		if _, err := compare("", v); err != nil {
			return c, err
		}
	}
	return c, nil
}

// A Request is what a policy decides on.
type Request struct {
	Action    string // such as codebuild:StartBuild
	Resources []string
	// Context holds the values of condition keys, by key in lower case. An
	// absent key has none.
	Context map[string][]string
}

// Decide says whether the policy allows the request on every one of its
// resources. If not, the error is AccessDeniedException in the service's words.
// nil allows everything.
func (p *Policy) Decide(principal string, r Request) error {
	if p == nil {
		return nil
	}
	for _, resource := range r.Resources {
		allowed := false
		for _, s := range p.statements {
			if !s.matches(r, resource) {
				continue
			}
			if !s.allow {
				return api.Errorf("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s with an explicit deny in an identity-based policy", principal, r.Action, resource)
			}
			allowed = true
		}
		if !allowed {
			return api.Errorf("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", principal, r.Action, resource, r.Action)
		}
	}
	return nil
}

func (s *statement) matches(r Request, resource string) bool {
	action := strings.ToLower(r.Action)
	if slices.ContainsFunc(s.actions, func(p string) bool { return wild(p, action) }) == s.notActions {
		return false
	}
	if slices.ContainsFunc(s.resources, func(p string) bool { return p == "*" || wildARN(expand(p, r.Context), resource) }) == s.notRes {
		return false
	}
	for _, c := range s.conditions {
		if !c.holds(r.Context) {
			return false
		}
	}
	return true
}

func (c *condition) holds(context map[string][]string) bool {
	got, there := context[c.key]
	if c.operator == "Null" {
		return (c.values[0] == "true") == !there
	}
	compare, negative := operators[c.operator], false
	if compare == nil {
		compare, negative = operators[negations[c.operator]], true
	}
	if !there {
		return c.ifExists || c.forAll || negative && !c.forAny
	}
	one := func(g string) bool {
		hit := slices.ContainsFunc(c.values, func(w string) bool {
			ok, _ := compare(g, expand(w, context)) // its error was one of parsing
			return ok
		})
		return hit != negative
	}
	if c.forAll || !c.forAny && negative {
		return !slices.ContainsFunc(got, func(g string) bool { return !one(g) })
	}
	return slices.ContainsFunc(got, one)
}

// expand puts policy variables such as ${aws:username} into a text. One without
// a value leaves a text that matches nothing; ${*}, ${?} and ${$} are the
// characters.
func expand(text string, context map[string][]string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return b.String() + "${" + rest
		}
		switch values := context[strings.ToLower(name)]; {
		case name == "*", name == "?", name == "$":
			b.WriteString("\\" + name)
		case len(values) == 1:
			b.WriteString(quote(values[0]))
		default:
			b.WriteString("\x00")
		}
		text = after
	}
}

// quote makes a value match only itself.
func quote(s string) string { return strings.NewReplacer("*", "\\*", "?", "\\?").Replace(s) }

// wild reports whether a pattern matches a text as a whole: * is any number of
// characters, ? is one, and a backslash takes the next one as it is. It takes
// at most the product of both lengths.
func wild(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		step := 0
		if p < len(pattern) {
			switch c := pattern[p]; {
			case c == '*':
				star, mark = p, t
				p++
				continue
			case c == '?':
				step = 1
			case c == '\\' && p+1 < len(pattern):
				if pattern[p+1] == text[t] {
					step = 2
				}
			case c == text[t]:
				step = 1
			}
		}
		if step > 0 {
			p += step
			t++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, t = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// wildARN matches ARNs part by part, so that a * does not reach over a colon
// before the resource. Parts that a pattern lacks at its end are *.
// Source: IAM user guide, "IAM JSON policy elements: Resource".
func wildARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	ps, as := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(as) != 6 {
		return false // the resource is * itself: only * is for that
	}
	for i := range ps {
		if !wild(ps[i], as[i]) {
			return false
		}
	}
	return true
}
