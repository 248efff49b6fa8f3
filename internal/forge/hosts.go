package forge

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/corbel-build/corbel/api"
)

// A Host is one installation of a source provider.
type Host struct {
	// Name is how source locations call it: a host name in lower case, with
	// the port if that is not the scheme's own.
	Name       string
	ServerType api.ServerType
	// Git and API are the addresses of its repositories and its REST API,
	// without a slash at the end, such as https://ghe.example.com and
	// https://ghe.example.com/api/v3.
	Git, API string

	scheme   string         // of source locations
	listed   bool           // by the operator, who may mean a private address
	roots    *x509.CertPool // who signs its certificates; nil is the system's
	ca       string         // file of roots
	insecure bool           // whoever signed its certificate is right
}

// Hosts are the hosts that tokens may be sent to. It is safe for concurrent
// use.
type Hosts struct {
	providers []Provider
	known     []Host // of the providers
	table     atomic.Pointer[[]Host]
}

// list is what is in force now.
func (h *Hosts) list() []Host { return *h.table.Load() }

// NewHosts returns the known hosts of the providers and those of entries. An
// entry is one of
//
//	GITHUB_ENTERPRISE=https://ghe.example.com
//	GITLAB_SELF_MANAGED=https://git.example.com:8443 ca=/etc/corbel/ca.pem
//	BITBUCKET_DATA_CENTER=https://bitbucket.example.com insecure-ssl
//	github.com=http://127.0.0.1:3000
//
// The first three list a host, the second with a file of the authorities, in
// PEM, that alone may sign its certificate, the third without a look at its
// certificate, which whoever is on the way can abuse. The last sends everything for a
// known host to another address, which has the API at the path of a
// self-managed installation (/api/v3 for GitHub); source locations keep saying
// https://github.com. An address with http must be of the loopback interface.
//
// A listed host may have a private address; other hosts may not. So
// github.com=https://github.com is for a network that has its own route there.
func NewHosts(providers []Provider, entries []string) (*Hosts, error) {
	h := &Hosts{providers: providers}
	for _, p := range providers {
		if p.Server != "" {
			h.known = append(h.known, Host{Name: p.Known, ServerType: p.Server, Git: p.Git, API: p.API, scheme: "https"})
		}
	}
	return h, h.Set(entries)
}

// Set replaces the entries that NewHosts was given. If one is wrong, nothing
// changes.
func (h *Hosts) Set(entries []string) error {
	list := slices.Clone(h.known)
	var problems []error
	for _, entry := range entries {
		if err := h.add(&list, entry); err != nil {
			problems = append(problems, fmt.Errorf("host %q: %w", entry, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	h.table.Store(&list)
	return nil
}

// add puts what an entry says into the list.
func (h *Hosts) add(list *[]Host, entry string) error {
	key, value, ok := strings.Cut(entry, "=")
	fields := strings.Fields(value)
	if !ok || len(fields) == 0 || len(fields) > 2 {
		return errors.New("want SERVER_TYPE=URL, such as GITHUB_ENTERPRISE=https://ghe.example.com")
	}
	scheme, name, err := base(fields[0])
	if err != nil {
		return err
	}
	address := scheme + "://" + name
	host := Host{Name: name, Git: address, scheme: scheme, listed: true}
	switch {
	case len(fields) == 1:
	case scheme == "https" && fields[1] == "insecure-ssl":
		host.insecure = true
	default:
		if host.ca, ok = strings.CutPrefix(fields[1], "ca="); !ok || scheme != "https" {
			return errors.New("only ca=FILE or insecure-ssl may follow an https address")
		}
		pem, err := os.ReadFile(host.ca)
		if err != nil {
			return fmt.Errorf("read authorities: %w", err)
		}
		host.roots = x509.NewCertPool()
		if !host.roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s has no certificate in PEM", host.ca)
		}
	}

	i := slices.IndexFunc(h.known, func(k Host) bool { return k.Name == strings.ToLower(key) })
	own := api.ServerType(key)
	p, ok := h.Provider(own)
	switch {
	case i >= 0:
		k := h.known[i]
		p, _ = h.Provider(k.ServerType)
		host.Name, host.ServerType, host.scheme, host.API = k.Name, k.ServerType, k.scheme, address+p.APIPath
		if address == k.Git {
			host.API = k.API
		}
	case ok && own == p.Own:
		if slices.ContainsFunc(h.known, func(k Host) bool { return k.Git == address || strings.HasPrefix(k.API, address) }) {
			return fmt.Errorf("%s is known and needs no entry", name)
		}
		host.ServerType, host.API = own, address+p.APIPath
		if p.OwnAPI != nil {
			host.API = cmp.Or(p.OwnAPI(name), host.API)
		}
	default:
		return fmt.Errorf("want one of %s before the equals sign", strings.Join(h.keys(), ", "))
	}
	for _, other := range *list {
		if other.listed && other.Name == host.Name && other.ServerType == host.ServerType {
			return fmt.Errorf("%s is listed twice", host.Name)
		}
		if other.listed && other.Git == host.Git && (other.ca != host.ca || other.insecure != host.insecure) {
			return fmt.Errorf("%s is listed with two files of authorities, or once without", name)
		}
	}
	if i >= 0 {
		(*list)[i] = host
	} else {
		*list = append(*list, host)
	}
	return nil
}

// keys are what an entry may begin with.
func (h *Hosts) keys() []string {
	var own, known []string
	for _, p := range h.providers {
		if p.Own != "" {
			own = append(own, string(p.Own))
		}
		if p.Server != "" {
			known = append(known, p.Known)
		}
	}
	return append(own, known...)
}

// base checks the address of a host that the operator lists.
func base(address string) (scheme, name string, err error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", "", errors.New("want an address like https://ghe.example.com")
	case u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", "", errors.New("the address may have a scheme, a host and a port, and nothing else")
	}
	if name, err = hostName(u); err != nil {
		return "", "", err
	}
	if u.Scheme == "http" && !loopback(strings.ToLower(u.Hostname())) {
		return "", "", errors.New("http is for addresses of the loopback interface, since tokens would cross the network in plain text; use https")
	}
	return u.Scheme, name, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// For returns the hosts that a credential of the server type is for, in the
// order in which they were listed.
func (h *Hosts) For(t api.ServerType) []Host {
	var list []Host
	for _, host := range h.list() {
		if host.ServerType == t {
			list = append(list, host)
		}
	}
	return list
}

// All returns every host, the known ones first.
func (h *Hosts) All() []Host { return slices.Clone(h.list()) }

// Clone is the source location of the repository at path, without .git, which
// has the provider's GitPrefix. Locate takes it.
func (h Host) Clone(path string) string {
	return cmp.Or(h.scheme, "https") + "://" + h.Name + "/" + path + ".git"
}

// Address is the source location of repo, "owner/name", on the host of that name
// and type; Locate takes it. A host that is not there is taken for one with
// https.
func (h *Hosts) Address(t api.ServerType, host, repo string) string {
	at := Host{Name: host}
	for _, one := range h.For(t) {
		if one.Name == host {
			at = one
		}
	}
	if p, ok := h.Provider(t); ok && p.GitPrefix != "" {
		repo = p.GitPrefix + "/" + repo
	}
	return at.Clone(repo)
}

// Location is how source locations write the address of a repository that the
// host gave: under the host's name, wherever the operator has it.
func (h Host) Location(address string) string {
	if rest, ok := strings.CutPrefix(address, h.Git+"/"); ok {
		return h.scheme + "://" + h.Name + "/" + rest
	}
	return address
}

// Insecure reports whether nobody looks at the host's certificate.
func (h Host) Insecure() bool { return h.insecure }
