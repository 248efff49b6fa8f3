package forgetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Description is GitHub's own OpenAPI description of its REST API, the judge
// of our requests and of the Server's answers, or of its webhooks.
type Description struct {
	doc     object
	schemas *jsonschema.Compiler
}

// OpenAPI loads the description of the API from the file that the environment
// variable CORBEL_OPENAPI names, or skips the test and says so. The file is
// generated/api.github.com.json of the npm package @octokit/openapi;
// testdata/fetch-openapi.sh fetches it.
func OpenAPI(t *testing.T) *Description {
	t.Helper()
	return describe(t, described(t))
}

// Webhooks loads the description of the deliveries, which is webhooks.json
// beside that of the API, as OpenAPI does. It is from the npm package
// @octokit/openapi-webhooks.
func Webhooks(t *testing.T) *Description {
	t.Helper()
	return describe(t, filepath.Join(filepath.Dir(described(t)), "webhooks.json"))
}

// described is where the description of the API is.
func described(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CORBEL_OPENAPI")
	if path == "" {
		if os.Getenv("CORBEL_TEST_STRICT") != "" {
			t.Fatal("CORBEL_OPENAPI is not set, and CI may skip nothing")
		}
		t.Skip("CORBEL_OPENAPI is not set, so GitHub's OpenAPI description judges nothing; internal/forge/forgetest/testdata/fetch-openapi.sh fetches it")
	}
	return path
}

// describe reads a description.
func describe(t *testing.T, path string) *Description {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read GitHub's OpenAPI description: %v", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("read GitHub's OpenAPI description %s: %v", path, err)
	}
	nullable(doc)
	d := &Description{doc: doc.(object), schemas: jsonschema.NewCompiler()}
	d.schemas.DefaultDraft(jsonschema.Draft2020)
	d.schemas.AssertFormat()
	// The library takes a slash in braces, as in {/number}, for a mistake.
	d.schemas.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: func(any) error { return nil }})
	if err := d.schemas.AddResource("openapi.json", doc); err != nil {
		t.Fatalf("read GitHub's OpenAPI description %s: %v", path, err)
	}
	return d
}

// nullable turns "nullable": true, which is OpenAPI 3.0's and not JSON
// Schema's, into what it means.
func nullable(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			nullable(e)
		}
	case object:
		for _, e := range v {
			nullable(e)
		}
		if v["nullable"] != true {
			return
		}
		inner := object{}
		for k, e := range v {
			inner[k] = e
			delete(v, k)
		}
		delete(inner, "nullable")
		v["anyOf"] = []any{object{"type": "null"}, inner}
	}
}

// Check judges a request that the Server answered. Requests without a Pattern
// are not of the API.
func (d *Description) Check(r Request) error {
	method, path, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		return errors.New("the request met no route of the API")
	}
	// What has slashes in it is one parameter in the description.
	at := []string{"paths", strings.ReplaceAll(path, "...}", "}"), strings.ToLower(method)}
	if _, err := d.walk(at); err != nil {
		return err
	}
	if len(r.Body) > 0 {
		if err := d.match(append(at[:3:3], "requestBody"), r.Body); err != nil {
			return fmt.Errorf("request body %.200s: %w", r.Body, err)
		}
	}
	if r.Status == http.StatusNotModified {
		return nil // to any condition; the description does not repeat it
	}
	answer := append(at[:3:3], "responses", strconv.Itoa(r.Status))
	if len(r.Answer) == 0 {
		_, err := d.walk(answer)
		return err
	}
	if err := d.match(answer, r.Answer); err != nil {
		return fmt.Errorf("answer %d %.400s: %w", r.Status, r.Answer, err)
	}
	return nil
}

// CheckDelivery judges a delivery as the Server sent it.
func (d *Description) CheckDelivery(one Delivery) error {
	var doc struct{ Action string }
	if err := json.Unmarshal(one.json, &doc); err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.ReplaceAll(one.Event+"-"+doc.Action, "_", "-"), "-")
	if err := d.match([]string{"webhooks", name, "post", "requestBody"}, one.json); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// match judges a JSON document by the schema of a request or a response.
func (d *Description) match(at []string, text []byte) error {
	at, err := d.walk(at)
	if err != nil {
		return err
	}
	if at, err = d.walk(append(at, "content", "application/json", "schema")); err != nil {
		return err
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	fragment := ""
	for _, step := range at {
		fragment += "/" + url.PathEscape(escape.Replace(step))
	}
	schema, err := d.schemas.Compile("openapi.json#" + fragment)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// walk goes down the description, through references, and returns where it
// came to.
func (d *Description) walk(at []string) ([]string, error) {
	var v any = d.doc
	var here []string
	for _, step := range append(at[:len(at):len(at)], "") {
		o, _ := v.(object)
		if ref, ok := o["$ref"].(string); ok {
			here = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
			v = d.doc
			for _, s := range here {
				v = v.(object)[s]
			}
			o, _ = v.(object)
		}
		if step == "" {
			return here, nil
		}
		next, ok := o[step]
		if !ok {
			return nil, fmt.Errorf("the description has no %s in %s", step, strings.Join(here, " "))
		}
		v, here = next, append(here[:len(here):len(here)], step)
	}
	return here, nil
}
