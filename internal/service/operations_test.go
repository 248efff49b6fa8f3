package service

import (
	"context"
	"errors"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/api/ssm"
)

var write = flag.Bool("write", false, "write docs/operations.md")

// The list has every operation of the model once, and a row says None exactly
// when the method is the one that api.Unsupported has.
func TestOperations_AgreeWithModelAndMethods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model *api.Model
		rows  []Operation
		impl  any
	}{
		{&api.Contract, Operations, &Service{}},
		{&logs.Contract, LogOperations, &LogService{}},
		{&secretsmanager.Contract, SecretOperations, SecretsManager{}},
		{&ssm.Contract, ParameterOperations, ParameterStore{}},
		{&corbel.Contract, OwnOperations, CorbelService{}},
	} {
		rows := map[string]Operation{}
		for _, o := range c.rows {
			if _, twice := rows[o.Name]; twice {
				t.Errorf("%s stands twice in the list", o.Name)
			}
			rows[o.Name] = o
			if c.model.Operation(o.Name) == nil {
				t.Errorf("%s is not an operation of %s", o.Name, c.model.Service)
			}
		}
		for _, o := range c.model.Operations {
			row, ok := rows[o.Name]
			if !ok {
				t.Errorf("%s has no row", o.Name)
				continue
			}
			supported := !promoted(c.impl, o.Name)
			if supported != (row.Support != None) {
				t.Errorf("%s: row says %s, method of our own: %t", o.Name, row.Support, supported)
			}
		}
	}
}

// promoted reports whether the method answers NotImplementedException to
// anything, even an empty request, as only a promoted one does.
func promoted(impl any, name string) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false // a method of ours needs a principal or a store
		}
	}()
	m := reflect.ValueOf(impl).MethodByName(name)
	out := m.Call([]reflect.Value{reflect.ValueOf(context.Background()), reflect.New(m.Type().In(1).Elem())})
	var e *api.Error
	err, _ := out[1].Interface().(error)
	return errors.As(err, &e) && e.Status == 501
}

func TestOperationsDocument(t *testing.T) {
	t.Parallel()
	const path = "../../docs/operations.md"
	want := OperationsDocument()
	if *write {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is out of date (%v): run make generate", path, err)
	}
}
