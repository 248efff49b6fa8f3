package api

import (
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/codebuild"
)

// The official SDK knows the same operations and members. When its pinned
// version is raised and gains one, this names it.
func TestContract_AgreesWithSDK(t *testing.T) {
	t.Parallel()
	client := reflect.TypeFor[*codebuild.Client]()
	var operations, members int
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() != 4 || m.Type.NumOut() != 2 {
			continue // Options and the like
		}
		op := Contract.Operation(m.Name)
		if op == nil {
			t.Errorf("the SDK has %s, the contract does not", m.Name)
			continue
		}
		operations++
		seen := map[reflect.Type]bool{}
		members += compare(t, op.Input, m.Type.In(2), seen)
		members += compare(t, op.Output, m.Type.Out(0), seen)
	}
	if operations != len(Contract.Operations) {
		t.Errorf("the SDK has %d of the contract's %d operations", operations, len(Contract.Operations))
	}
	if members < 1000 {
		t.Errorf("only %d members were compared", members)
	}
}

func compare(t *testing.T, id ShapeID, typ reflect.Type, seen map[reflect.Type]bool) (n int) {
	s := Contract.Shapes[id]
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice && s.Kind == List {
		if typ.Kind() == reflect.Slice {
			s = Contract.Shapes[s.Elem]
		}
		typ = typ.Elem()
	}
	if s.Kind != Structure || seen[typ] {
		return 0
	}
	seen[typ] = true
	want := map[string]ShapeID{}
	for _, m := range s.Members {
		want[strings.ToUpper(m.Name[:1])+m.Name[1:]] = m.Shape
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		shape, ok := want[f.Name]
		if !ok {
			t.Errorf("the SDK's %s has the member %s, the contract's %s does not", typ, f.Name, s.Name)
			continue
		}
		delete(want, f.Name)
		n += 1 + compare(t, shape, f.Type, seen)
	}
	var left []string
	for name := range want {
		left = append(left, name)
	}
	sort.Strings(left)
	if len(left) > 0 {
		t.Errorf("the contract's %s has %v, which the SDK's %s does not", s.Name, left, typ)
	}
	return n
}
