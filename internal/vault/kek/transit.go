package kek

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/corbel-build/corbel/internal/vault"
)

// transit is a key of a transit engine. Two calls need no library. Source: the
// engine's HTTP API, POST /transit/encrypt/:name and /transit/decrypt/:name.
type transit struct{ mount, key, tokenFile, namespace string }

// maxAnswer bounds an answer of the engine, in bytes.
const maxAnswer = 1 << 20

func openTransit(with map[string]string) (vault.KEK, error) {
	if err := address(with["address"]); err != nil {
		return nil, err
	}
	mount := path.Clean("/" + cmp.Or(with["mount"], "transit"))
	return transit{
		strings.TrimSuffix(with["address"], "/") + (&url.URL{Path: "/v1" + mount}).EscapedPath(),
		with["key"], with["token-file"], with["namespace"],
	}, nil
}

type transitText struct {
	Plaintext  []byte `json:"plaintext,omitzero"` // as base64, which is what the engine wants
	Ciphertext string `json:"ciphertext,omitzero"`
}

func (t transit) call(ctx context.Context, verb string, in transitText) (transitText, error) {
	fail := func(err error) (transitText, error) {
		return transitText{}, fmt.Errorf("ask the transit engine to %s it: %w", verb, err)
	}
	token, err := secret(t.tokenFile) // each time: an agent may renew it
	if err != nil {
		return fail(fmt.Errorf("read the token: %w", err))
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fail(err)
	}
	r, err := http.NewRequestWithContext(ctx, "POST", t.mount+"/"+verb+"/"+url.PathEscape(t.key), bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	r.Header.Set("X-Vault-Token", string(token))
	r.Header.Set("X-Vault-Request", "true")
	r.Header.Set("Content-Type", "application/json")
	if t.namespace != "" {
		r.Header.Set("X-Vault-Namespace", t.namespace)
	}
	// The token goes nowhere but to the address that was named.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fail(err)
	}
	var answer struct {
		Data   transitText `json:"data"`
		Errors []string    `json:"errors"`
	}
	err = json.Unmarshal(text, &answer)
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("status %d %s", res.StatusCode, strings.Join(answer.Errors, "; ")))
	}
	if err != nil {
		return fail(errors.New("its answer is not as it should be")) // the JSON error would quote it
	}
	return answer.Data, nil
}

func (t transit) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	out, err := t.call(ctx, "encrypt", transitText{Plaintext: key})
	return []byte(out.Ciphertext), err
}

func (t transit) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := t.call(ctx, "decrypt", transitText{Ciphertext: string(wrapped)})
	return out.Plaintext, err
}
