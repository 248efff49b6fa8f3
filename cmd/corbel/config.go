package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/service"
)

// A config is what "corbel serve" is told. A flag wins over the environment
// variable CORBEL_<FLAG>, that over the file of -config, that over the default.
type config struct {
	file string

	data      string
	listen    string
	publicURL string
	metrics   string
	tlsCert   string
	tlsKey    string
	proxies   list
	trusted   []netip.Prefix // of proxies
	rootKey   string

	hosts          list
	verify         string
	checkEvery     time.Duration
	keepDeliveries time.Duration
	secrets        string
	oauth          list
	apps           forge.OAuthApps // of oauth

	builds      int
	maxQueued   int
	memory      int64
	processes   int
	readOnly    list
	network     string
	diskReserve uint64
}

// A list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// flags declares every setting; it is the one list of them.
func (c *config) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.file, "config", "", "`file` of settings in YAML, with the names of these flags as keys")
	dataFlag(fs, &c.data)
	fs.StringVar(&c.listen, "listen", "127.0.0.1:8040", "`address` to listen on, HOST:PORT; port 0 takes a free one. Without TLS it must be a loopback address")
	fs.StringVar(&c.publicURL, "public-url", "", "`URL` under which people and providers reach this server (default the listening address)")
	fs.StringVar(&c.metrics, "metrics", "", "`address` as HOST:PORT where /metrics answers Prometheus, to anybody who asks; empty is nowhere")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "`file` with the certificate chain, PEM")
	fs.StringVar(&c.tlsKey, "tls-key", "", "`file` with the certificate's key, PEM")
	fs.Var(&c.proxies, "trusted-proxy", "`network` of a proxy before this server, as an address or CIDR block, whose X-Forwarded-For and X-Forwarded-Proto are believed; may be repeated")
	fs.StringVar(&c.rootKey, "root-key", "", "`file` with the ring of root keys that seal the secrets; made at the first start (default DIR/root.key)")
	fs.Var(&c.hosts, "host", "a source `host` that tokens may be sent to, as SERVER_TYPE=URL (GITHUB_ENTERPRISE=https://ghe.example.com), or another address for a known one (github.com=http://127.0.0.1:3000); may be repeated")
	fs.Var(&c.oauth, "oauth", "an OAuth `app` with which people connect in the console, as SERVER_TYPE=CLIENT_ID,secret=FILE (GITHUB=Iv1.8a61f9b3,secret=/etc/corbel/github.secret), or with a host in place of the type; in the environment with a blank for the comma; may be repeated")
	fs.DurationVar(&c.checkEvery, "check-credentials", time.Hour, "ask the providers about each stored token after this `time`; 0 never asks")
	fs.DurationVar(&c.keepDeliveries, "keep-deliveries", 30*24*time.Hour, "remove what webhooks were told after this `time`; that it came is remembered")
	fs.StringVar(&c.secrets, "secrets", "", "where builds and source credentials read Secrets Manager and Parameter Store: empty is this server, aws is AWS, else the `address` of an endpoint; the server's environment has the credentials for it, as for any AWS program")
	fs.StringVar(&c.verify, "verify-credentials", string(service.Reject), "what an import does when the provider refuses the token: `reject`, record or off")
	fs.IntVar(&c.builds, "builds", runtime.NumCPU(), "`number` of builds that run at a time; 0 queues builds and runs none")
	fs.IntVar(&c.maxQueued, "max-queued-builds", 10000, "`number` of builds of an account that may wait; 0 is no limit")
	fs.Int64Var(&c.memory, "build-memory", 0, "`bytes` of memory that a build may have at most, whatever its compute type (default three quarters of the machine's)")
	fs.IntVar(&c.processes, "build-processes", 4096, "`number` of processes that a build may have")
	fs.Var(&c.readOnly, "sandbox-read-only", "a `directory` of this machine that builds may read, beside /usr, /etc and /opt; may be repeated")
	fs.StringVar(&c.network, "sandbox-network", "host", "network of builds: `host` shares this machine's, none has no network")
	fs.Uint64Var(&c.diskReserve, "disk-reserve", 256<<20, "`bytes` of free disk below which the largest running build is ended; 0 is no reserve")
}

// dataFlag declares -data, which several commands have.
func dataFlag(fs *flag.FlagSet, dir *string) {
	fs.StringVar(dir, "data", defaultData(), "`directory` where everything is kept")
}

// defaultData is the system's place for data as root, else the user's.
func defaultData() string {
	if os.Getuid() == 0 {
		return "/var/lib/corbel"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "corbel")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "corbel-data"
	}
	return filepath.Join(home, ".local", "share", "corbel")
}

// parse reads the arguments of "corbel serve", the environment and the file.
func (c *config) parse(fs *flag.FlagSet, args []string, getenv func(string) string) error {
	c.flags(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usageError{fmt.Sprintf("serve takes no argument %q", fs.Arg(0))}
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	var problems []error
	apply := func(from, name string, values ...string) {
		if set[name] {
			return
		}
		for _, v := range values {
			if err := fs.Set(name, v); err != nil {
				problems = append(problems, fmt.Errorf("%s: %s: %w", from, name, err))
			}
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		env := "CORBEL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(env); v != "" {
			apply(env, f.Name, strings.Split(v, ",")...)
			set[f.Name] = true
		}
	})
	if c.file != "" {
		text, err := os.ReadFile(c.file)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			return fmt.Errorf("read configuration %s: %w", c.file, err)
		}
		for name, v := range doc {
			if name == "config" || fs.Lookup(name) == nil {
				problems = append(problems, fmt.Errorf("%s: unknown setting %q; corbel serve -h lists them", c.file, name))
				continue
			}
			if many, ok := v.([]any); ok {
				for _, one := range many {
					apply(c.file, name, fmt.Sprint(one))
				}
			} else {
				apply(c.file, name, fmt.Sprint(v))
			}
		}
	}
	return errors.Join(append(problems, c.validate()...)...)
}

// validate finds everything that is wrong.
func (c *config) validate() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if dir, err := filepath.Abs(c.data); err != nil {
		bad("data: %w", err)
	} else {
		c.data = dir
	}
	if c.rootKey == "" {
		c.rootKey = filepath.Join(c.data, "root.key")
	}
	host, _, err := net.SplitHostPort(c.listen)
	if err != nil {
		bad("listen: %q is not HOST:PORT", c.listen)
	} else if (c.tlsCert == "") != (c.tlsKey == "") {
		bad("tls-cert and tls-key go together")
	} else if c.tlsCert == "" && !loopback(host) {
		bad("listen: %s is no loopback address, so requests would cross the network in plain text: give tls-cert and tls-key, or listen on 127.0.0.1 behind a proxy that does TLS", host)
	}
	if c.publicURL != "" {
		u, err := url.Parse(c.publicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			bad("public-url: %q is not an address like https://corbel.example.com", c.publicURL)
		}
		c.publicURL = strings.TrimRight(c.publicURL, "/")
	}
	for _, p := range c.proxies {
		network, err := netip.ParsePrefix(p)
		if addr, notOne := netip.ParseAddr(p); notOne == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			bad("trusted-proxy: %q is neither an address nor a CIDR block like 10.1.0.0/16", p)
		}
		c.trusted = append(c.trusted, network)
	}
	switch service.Verify(c.verify) {
	case service.Reject, service.Record, service.Off:
	default:
		bad("verify-credentials: %q is not reject, record or off", c.verify)
	}
	if u, err := url.Parse(c.secrets); c.secrets != "" && c.secrets != "aws" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		bad("secrets: %q is neither aws nor an https address", c.secrets)
	}
	if c.apps, err = forge.ParseOAuthApps(c.oauth); err != nil {
		bad("oauth: %w", err)
	}
	if c.checkEvery != 0 && c.checkEvery < time.Minute {
		bad("check-credentials: %v is less than a minute", c.checkEvery)
	}
	if c.keepDeliveries != 0 && c.keepDeliveries < time.Minute {
		bad("keep-deliveries: %v is less than a minute", c.keepDeliveries)
	}
	if c.network != "host" && c.network != "none" {
		bad("sandbox-network: %q is not host or none", c.network)
	}
	for name, n := range map[string]int64{"builds": int64(c.builds), "max-queued-builds": int64(c.maxQueued), "build-memory": c.memory, "build-processes": int64(c.processes)} {
		if n < 0 {
			bad("%s: %d is negative", name, n)
		}
	}
	return problems
}

// loopback reports whether host names this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
