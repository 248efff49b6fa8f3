// Package client calls a CodeBuild endpoint: Corbel's, or any that speaks the
// same API. Its methods are generated; together they are an api.Service.
//
// FromEnvironment makes a Client of what the AWS CLI reads. A call is made
// once: most operations may not be repeated without knowing how the first
// attempt ended, and the caller knows which may. A redirect is an error and is
// not followed, since the body may hold a token and the signature is for one
// host.
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/sigv4"
)

var _ api.Service = (*Client)(nil)

// A Client signs with one access key for one region. It is safe for concurrent
// use and must not be copied after the first call.
type Client struct {
	Endpoint     string // of CodeBuild, such as http://127.0.0.1:8040
	LogsEndpoint string // of CloudWatch Logs; default Endpoint
	Region       string
	AccessKeyID  string
	Secret       api.Secret

	// HTTP makes the calls. Default: one that ends a call after two minutes,
	// follows no redirect and takes the proxy of the environment for addresses
	// that are not on this machine.
	HTTP *http.Client

	once  sync.Once
	plain *http.Client // the default, made once so that connections are used again
}

// caller returns what makes the calls.
func (c *Client) caller() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	c.once.Do(func() { c.plain = newHTTP(nil) })
	return c.plain
}

// newHTTP makes the default HTTP client; nil roots are those of the system.
func newHTTP(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment, // never for loopback, says its documentation
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			ForceAttemptHTTP2:   true, // our own TLS settings would turn it off
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do calls an operation of the model with a document and returns the document
// of the answer. An error that the server answers is an
// *awsjson.ResponseError.
func (c *Client) Do(ctx context.Context, m *api.Model, operation string, document []byte) ([]byte, error) {
	endpoint := c.Endpoint
	if m.SigningName == "logs" && c.LogsEndpoint != "" {
		endpoint = c.LogsEndpoint
	}
	return awsjson.Do(ctx, c.caller(), endpoint, m.TargetPrefix+"."+operation, document, func(r *http.Request, body []byte) {
		sigv4.Sign(r, body, c.AccessKeyID, c.Secret.Reveal(), c.Region, m.SigningName, time.Now())
	})
}

// call is Do for the generated methods.
func (c *Client) call(ctx context.Context, operation string, in, out any) error {
	document, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	answer, err := c.Do(ctx, &api.Contract, operation, document)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", operation, err)
	}
	return nil
}

// Overrides are what a command line says in place of the environment; empty
// members say nothing.
type Overrides struct{ Endpoint, Region, Profile string }

// FromEnvironment makes a client of what the AWS CLI reads too: the variables
// AWS_ENDPOINT_URL_CODEBUILD, AWS_ENDPOINT_URL_CLOUDWATCH_LOGS,
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and
// AWS_DEFAULT_REGION, or the profile that AWS_PROFILE names (default: default)
// in the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, of which the
// second wins. A flag wins over a variable, that over a profile, and so does
// the access key of a profile that a flag names. A key and its secret come
// from the same place. The region defaults to us-east-1. AWS_CA_BUNDLE, or
// ca_bundle of the profile, names a file of certificates to trust instead of
// the system's.
//
// An endpoint without TLS has to be on the loopback interface, or be given by
// a flag: a signature does not hide the token in the body.
func FromEnvironment(getenv func(string) string, o Overrides) (*Client, error) {
	p, err := readProfile(getenv, o.Profile)
	if err != nil {
		return nil, err
	}
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	c := &Client{
		Endpoint:     first(o.Endpoint, getenv("AWS_ENDPOINT_URL_CODEBUILD"), getenv("AWS_ENDPOINT_URL"), p["codebuild.endpoint_url"], p["endpoint_url"]),
		LogsEndpoint: first(o.Endpoint, getenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"), getenv("AWS_ENDPOINT_URL"), p["cloudwatch_logs.endpoint_url"], p["endpoint_url"]),
		Region:       first(o.Region, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), p["region"], "us-east-1"),
		AccessKeyID:  getenv("AWS_ACCESS_KEY_ID"),
		Secret:       api.Secret(getenv("AWS_SECRET_ACCESS_KEY")),
	}
	if c.AccessKeyID == "" || p["aws_access_key_id"] != "" && o.Profile != "" {
		c.AccessKeyID, c.Secret = p["aws_access_key_id"], api.Secret(p["aws_secret_access_key"])
	}
	switch {
	case c.Endpoint == "":
		return nil, errors.New("no endpoint is set: run eval \"$(corbel env)\", or give --endpoint-url")
	case c.AccessKeyID == "" || c.Secret == "":
		return nil, errors.New("no access key is set: run eval \"$(corbel env)\"")
	}
	for _, e := range []string{c.Endpoint, c.LogsEndpoint} {
		u, err := url.Parse(e)
		if e != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("endpoint %q is not an address like http://127.0.0.1:8040", e)
		}
		if e != "" && u.Scheme == "http" && o.Endpoint == "" && !loopback(u.Hostname()) {
			return nil, fmt.Errorf("endpoint %s would be called in plain text over the network: use https, or say --endpoint-url to insist", e)
		}
	}
	if path := first(getenv("AWS_CA_BUNDLE"), p["ca_bundle"]); path != "" && strings.HasPrefix(c.Endpoint+c.LogsEndpoint, "https:") {
		bundle, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the certificates to trust: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(bundle) {
			return nil, fmt.Errorf("there is no certificate in %s", path)
		}
		c.HTTP = newHTTP(roots)
	}
	return c, nil
}

// loopback reports whether the host is this machine. A name other than
// localhost is whatever its resolver says, so it is not.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// readProfile reads the settings of a profile; nested ones have their name
// before a dot. A profile that was asked for must exist.
func readProfile(getenv func(string) string, name string) (map[string]string, error) {
	asked := name != "" || getenv("AWS_PROFILE") != ""
	if name == "" {
		if name = getenv("AWS_PROFILE"); name == "" {
			name = "default"
		}
	}
	home, _ := os.UserHomeDir() // without one there are no files
	out := map[string]string{}
	found := false
	for _, file := range []struct{ variable, base string }{
		{"AWS_CONFIG_FILE", "config"},
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials"}, // last, because it wins
	} {
		path := getenv(file.variable)
		if path == "" {
			path = filepath.Join(home, ".aws", file.base)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue // not there, or not readable: the variables may do
		}
		sections := parseINI(text)
		section, ok := sections["profile "+name]
		if !ok {
			section, ok = sections[name]
		}
		found = found || ok
		for k, v := range section {
			out[k] = v
		}
		for k, v := range sections["services "+section["services"]] {
			out[k] = v
		}
	}
	if asked && !found {
		return nil, fmt.Errorf("the profile %s does not exist", name)
	}
	return out, nil
}

// parseINI reads sections of settings. An indented setting belongs to the one
// above it and is called parent.setting. Lines that are none of these are
// passed over, as another program may know them.
func parseINI(text []byte) map[string]map[string]string {
	out := map[string]map[string]string{}
	var section map[string]string
	parent := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		if strings.HasPrefix(trimmed, "[") {
			name := strings.Trim(trimmed, "[] \t")
			if out[name] == nil {
				out[name] = map[string]string{}
			}
			section, parent = out[name], ""
			continue
		}
		key, value, ok := strings.Cut(trimmed, "=")
		if section == nil || !ok {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if line[0] == ' ' || line[0] == '\t' {
			key = parent + "." + key
		} else {
			parent = key
		}
		section[key] = value
	}
	return out
}
