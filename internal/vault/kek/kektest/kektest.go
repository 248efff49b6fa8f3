// Package kektest has servers that speak the protocols by which root keys are
// wrapped: AWS KMS's, as far as Encrypt and Decrypt go, and that of the transit
// engine of HashiCorp Vault and OpenBao. They listen on the loopback interface
// and really encrypt.
package kektest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/sigv4"
)

// A Server is one of them. URL and Close are those of httptest.
type Server struct {
	*httptest.Server
	mu    sync.Mutex
	keys  map[string]cipher.AEAD
	fail  bool
	calls int
}

// Fail makes the server refuse everything from now on, or not any more.
func (s *Server) Fail(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = on
}

// Calls returns how many requests there were.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func start(t testing.TB, keys []string, handler func(s *Server, w http.ResponseWriter, r *http.Request, body []byte)) *Server {
	s := &Server{keys: map[string]cipher.AEAD{}}
	for _, name := range keys {
		b := make([]byte, 32)
		rand.Read(b)
		block, err := aes.NewCipher(b)
		if err != nil {
			t.Fatal(err)
		}
		if s.keys[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			t.Fatal(err)
		}
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		s.calls++
		fail := s.fail
		s.mu.Unlock()
		if err != nil || fail {
			http.Error(w, `{"__type":"KMSInternalException","message":"sealed","errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
			return
		}
		handler(s, w, r, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// What signs the requests to KMS.
const (
	AccessKey = "AKIAKEKTEST000000001"
	Secret    = "kektest+secret+0000000000000000000000001"
)

// KMS starts an AWS KMS with these keys, for requests signed by AccessKey and
// Secret.
func KMS(t testing.TB, keys ...string) *Server {
	var verifier sigv4.Verifier
	return start(t, keys, func(s *Server, w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		refuse := func(code string) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"refused"}`, code)
		}
		id, err := verifier.Verify(r, body, time.Now(), func(_ context.Context, id string) (string, error) {
			if id != AccessKey {
				return "", sigv4.ErrUnknownKey
			}
			return Secret, nil
		})
		if err != nil || id.ForService("kms") != nil {
			refuse("UnrecognizedClientException")
			return
		}
		var in struct {
			KeyId                     string
			Plaintext, CiphertextBlob []byte
			EncryptionContext         map[string]string
		}
		if err := json.Unmarshal(body, &in); err != nil {
			refuse("SerializationException")
			return
		}
		key, ok := s.keys[in.KeyId]
		if !ok {
			refuse("NotFoundException")
			return
		}
		var bound []byte
		for _, name := range slices.Sorted(maps.Keys(in.EncryptionContext)) {
			bound = fmt.Appendf(bound, "%q=%q ", name, in.EncryptionContext[name])
		}
		out := map[string]any{"KeyId": in.KeyId, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
		switch r.Header.Get("X-Amz-Target") {
		case "TrentService.Encrypt":
			out["CiphertextBlob"] = key.Seal(nil, nil, in.Plaintext, bound)
		case "TrentService.Decrypt":
			text, err := key.Open(nil, nil, in.CiphertextBlob, bound)
			if err != nil {
				refuse("InvalidCiphertextException")
				return
			}
			out["Plaintext"] = text
		default:
			refuse("UnknownOperationException")
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

// Token is what may use the transit engine.
const Token = "hvs.KekTestToken000000000000001"

// Transit starts a server with a transit engine with these keys, for requests
// with Token.
func Transit(t testing.TB, keys ...string) *Server {
	return start(t, keys, func(s *Server, w http.ResponseWriter, r *http.Request, body []byte) {
		refuse := func(status int, problem string) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{problem}})
		}
		if r.Header.Get("X-Vault-Token") != Token {
			refuse(http.StatusForbidden, "permission denied")
			return
		}
		parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
		if len(parts) != 2 || r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v1/transit/") {
			refuse(http.StatusNotFound, "no handler for route")
			return
		}
		var in struct{ Plaintext, Ciphertext string }
		key, ok := s.keys[parts[1]]
		if err := json.Unmarshal(body, &in); err != nil || !ok {
			refuse(http.StatusBadRequest, "encryption key not found")
			return
		}
		var data map[string]any
		switch parts[0] {
		case "encrypt":
			text, err := base64.StdEncoding.DecodeString(in.Plaintext)
			if err != nil || in.Plaintext == "" {
				refuse(http.StatusBadRequest, "failed to base64-decode plaintext")
				return
			}
			data = map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(key.Seal(nil, nil, text, nil)), "key_version": 1}
		case "decrypt":
			packed, known := strings.CutPrefix(in.Ciphertext, "vault:v1:")
			sealed, err := base64.StdEncoding.DecodeString(packed)
			if err != nil || !known {
				refuse(http.StatusBadRequest, "invalid ciphertext: no prefix")
				return
			}
			text, err := key.Open(nil, nil, sealed, nil)
			if err != nil {
				refuse(http.StatusBadRequest, "cipher: message authentication failed")
				return
			}
			data = map[string]any{"plaintext": base64.StdEncoding.EncodeToString(text)}
		default:
			refuse(http.StatusNotFound, "unsupported path")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "1", "data": data})
	})
}
