package source

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// maxURL bounds a repository's address, in bytes.
const maxURL = 2048

// checkURL understands the address of a repository. Whatever could mean one
// thing here and another to a program further down is refused.
func checkURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, errors.New("the address is too long")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r > unicode.MaxASCII }) {
		return nil, errors.New("the address has characters that no address has")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("the address cannot be understood")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("only https addresses can be fetched")
	case u.Opaque != "" || u.Hostname() == "" || strings.HasPrefix(u.Host, "-"):
		return nil, errors.New("the address names no host")
	case u.User != nil:
		return nil, errors.New("an address must not have a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("an address must not have a query or fragment")
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == ".." || part == "." {
			return nil, errors.New("an address must not have . or .. in its path")
		}
	}
	if strings.ContainsFunc(u.Path, unicode.IsControl) {
		return nil, errors.New("the address has control characters")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	if u.Path == "" {
		return nil, errors.New("the address names no repository")
	}
	return u, nil
}

// submoduleURL resolves the url of a .gitmodules file against the address of
// the repository that has it, as gitsubmodules(7) says.
func submoduleURL(parent *url.URL, s string) (*url.URL, error) {
	if !strings.HasPrefix(s, "./") && !strings.HasPrefix(s, "../") {
		u, err := checkURL(s)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "https" && origin(u) != origin(parent) {
			return nil, errors.New("only https addresses can be fetched")
		}
		return u, nil
	}
	path := strings.TrimRight(parent.EscapedPath(), "/")
	for {
		if rest, ok := strings.CutPrefix(s, "./"); ok {
			s = rest
		} else if rest, ok := strings.CutPrefix(s, "../"); ok {
			i := strings.LastIndexByte(path, '/')
			if i < 0 || path == "" {
				return nil, errors.New("the relative address leads out of the host")
			}
			path, s = path[:i], rest
		} else {
			break
		}
	}
	return checkURL(origin(parent) + path + "/" + s)
}

// printable is s for people: what could hide or confuse is escaped.
func printable(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "..."
	}
	if quoted := strconv.QuoteToGraphic(s); quoted[1:len(quoted)-1] != s {
		return quoted
	}
	return s
}
