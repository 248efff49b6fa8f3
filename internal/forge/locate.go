package forge

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/api"
)

// A Repository is what a source location names.
type Repository struct {
	Host Host
	// Name is "owner/name"; the owner may be a path of groups where the
	// provider has them. It does not have the provider's GitPrefix.
	Name string
	// URL is the location in its one form, such as
	// https://github.com/owner/name.git. It is the remote that builds see.
	URL string
	// Upstream is where it is fetched from: URL, unless the operator sends the
	// host elsewhere.
	Upstream string
	// Trusted says that the stored token of the host's server type may be used
	// for it. Otherwise it is read without one.
	Trusted bool
}

// maxLocation bounds a location, in bytes.
const maxLocation = 2048

// Locate reads the source location of a project. It takes one spelling of each
// address and refuses what different programs read differently: escapes,
// backslashes, dot segments, unusual numbers for addresses. What it returns is
// put together anew, so that nobody after it reads the location itself.
//
// A source whose type is that of a known host, such as GITHUB, is on that one.
// The other types may name any host; one that is not listed, or that is named
// with http, gets no token.
//
// The error says what to write instead. It does not repeat the location, which
// may contain a token.
func (h *Hosts) Locate(t api.SourceType, location string) (Repository, error) {
	server := api.ServerType(t) // source types of repositories have the same names
	provider, ok := h.Provider(server)
	if !ok {
		return Repository{}, fmt.Errorf("a source of type %s is not a repository of a source provider", t)
	}
	wrong := func(format string, args ...any) (Repository, error) {
		return Repository{}, fmt.Errorf("source location "+format, args...)
	}
	want := "/OWNER/NAME"
	if provider.GitPrefix != "" {
		want = "/" + provider.GitPrefix + want
	}
	if hosts := h.For(server); len(hosts) > 0 {
		want = hosts[0].scheme + "://" + hosts[0].Name + want
	} else {
		want = "https://HOST" + want
	}
	switch {
	case location == "":
		return wrong("is missing: give one like %s", want)
	case len(location) > maxLocation:
		return wrong("is longer than %d characters", maxLocation)
	case strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return wrong("contains a space or a control character")
	case strings.ContainsFunc(location, func(r rune) bool { return r > 0x7f }):
		return wrong("contains a character that is not ASCII: write an international host name in its xn-- form")
	case strings.ContainsAny(location, `\%`):
		return wrong(`contains \ or %%: write the name of the repository plainly, without escapes`)
	case strings.ContainsAny(location, "?#"):
		return wrong("contains ? or #: leave out everything from there")
	}
	scheme, rest, ok := strings.Cut(location, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case !ok, scheme == "ssh", scheme == "git":
		return wrong("is not an https address: give one like %s", want)
	case scheme == "https":
	case scheme != "http" || server != provider.Own:
		return wrong("must begin with https://, such as %s", want)
	}
	if user, after, ok := strings.Cut(rest, "@"); ok {
		// The clone address that Bitbucket shows has the user's name.
		if server != api.ServerTypeBITBUCKET || !segment(user) {
			return wrong("contains a user name, password or token: leave out everything up to the @, and import the token with ImportSourceCredentials")
		}
		rest = after
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.User != nil || u.Opaque != "" {
		return wrong("is not an address like %s", want) // err repeats the location
	}
	name, err := hostName(u)
	if err != nil {
		return wrong("names a bad host: %w", err)
	}

	r := Repository{Host: Host{Name: name, ServerType: server, Git: scheme + "://" + name, scheme: scheme}}
	for _, host := range h.list() {
		if host.Name != name || host.scheme != scheme {
			continue
		}
		if host.ServerType == server {
			r.Host, r.Trusted = host, true
			break
		}
		err = fmt.Errorf("is on %s, which is not for type %s: make the source's type %s", name, t, host.ServerType)
	}
	if !r.Trusted {
		switch {
		case err != nil:
			return wrong("%w", err)
		case server != provider.Own:
			return wrong("is on %s, but a source of type %s is on %s: correct the host or the type", name, t, h.For(server)[0].Name)
		case slices.ContainsFunc(h.known, func(k Host) bool { return k.Name == name }):
			return wrong("is on %s, which needs https", name)
		}
	}

	path := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/"), ".git")
	prefix := ""
	if provider.GitPrefix != "" {
		prefix = provider.GitPrefix + "/"
		if path, ok = strings.CutPrefix(path, prefix); !ok {
			return wrong("does not name a repository: give one like %s", want)
		}
	}
	segments := strings.Split(path, "/")
	if len(segments) < 2 || len(segments) > 2 && !provider.Groups || len(segments) > 21 {
		return wrong("does not name a repository: give one like %s", want)
	}
	for i, s := range segments {
		if provider.Personal && i == 0 {
			s = strings.TrimPrefix(s, "~")
		}
		if !segment(s) {
			return wrong("has a part that is not a name: owner and repository are letters, digits, dot, dash and underscore")
		}
	}
	r.Name = path
	r.URL = scheme + "://" + name + "/" + prefix + path + ".git"
	r.Upstream = r.Host.Git + "/" + prefix + path + ".git"
	return r, nil
}

// segment reports whether s can be the name of an owner or a repository.
func segment(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && s != "." && s != ".." && len(s) <= 255
}

// hostName returns the host of u in its one spelling, with the port if it is
// not the scheme's own. Numbers are only taken as the usual address, because
// some programs read 2130706433, 0x7f.1 and 127.1 as 127.0.0.1.
func hostName(u *url.URL) (string, error) {
	name := strings.ToLower(u.Hostname())
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(name)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return "", errors.New("the address in brackets is not a plain IPv6 address")
		}
		name = "[" + a.String() + "]"
	} else if err := dnsName(name); err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", errors.New("the port is missing after the colon")
		}
		return name, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port != strconv.FormatUint(n, 10) {
		return "", errors.New("the port is not a number from 1 to 65535")
	}
	if u.Scheme == "https" && n == 443 || u.Scheme == "http" && n == 80 {
		return name, nil
	}
	return name + ":" + port, nil
}

func dnsName(name string) error {
	if name == "" || len(name) > 253 {
		return errors.New("a host has 1 to 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		bad := strings.ContainsFunc(l, func(r rune) bool {
			return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		})
		if l == "" || len(l) > 63 || bad || l[0] == '-' || l[len(l)-1] == '-' {
			return errors.New("a host is labels of letters, digits and dashes with dots between")
		}
	}
	if last := labels[len(labels)-1]; '0' <= last[0] && last[0] <= '9' {
		if _, err := netip.ParseAddr(name); err != nil {
			return errors.New("an address of numbers is written like 192.0.2.1")
		}
	}
	return nil
}
