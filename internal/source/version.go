package source

import (
	"strings"
)

// A version is a source version, understood as far as that goes without the
// repository.
type version struct {
	id     string   // a full commit id; there are no names then
	names  []string // full ref names that it may mean, best first
	prefix string   // if no name exists: an abbreviated commit id, else ""
	pin    string   // the commit that must be used, else ""
}

// shortest is how short an abbreviated commit id may be. Git abbreviates to no
// fewer by default; less would take many words for ids.
const shortest = 7

// parseVersion understands a source version. A false ok means that no
// repository can have it.
// Source: API reference, StartBuild, sourceVersion.
func parseVersion(s string) (v version, ok bool) {
	if len(s) > maxRefName {
		return version{}, false
	}
	if base, pin, found := strings.Cut(s, "^{"); found {
		pin, closed := strings.CutSuffix(pin, "}")
		pin = strings.ToLower(pin)
		if !closed || !isID(pin) || base == "" {
			return version{}, false
		}
		v, ok := parseVersion(base)
		if v.id != "" { // a pin of a commit: they are the same, or wrong
			return v, ok && v.id == pin
		}
		v.pin, v.prefix = pin, ""
		return v, ok && len(v.names) > 0
	}
	if s == "" || s == "HEAD" {
		return version{names: []string{"HEAD"}}, true
	}
	if id := strings.ToLower(s); isID(id) {
		return version{id: id}, true
	}
	add := func(name string) {
		if validRef(name) {
			v.names = append(v.names, name)
		}
	}
	if strings.HasPrefix(s, "refs/") {
		add(s)
		return v, len(v.names) > 0
	}
	if n, found := strings.CutPrefix(s, "pr/"); found && isNumber(n) {
		add("refs/pull/" + n + "/head")
	}
	add("refs/heads/" + s)
	add("refs/tags/" + s)
	add("refs/" + s)
	if id := strings.ToLower(s); len(id) >= shortest && len(id) < 64 && isHex(id) {
		v.prefix = id
	}
	return v, len(v.names) > 0
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// pick returns the ref that the version means among refs.
func (v version) pick(refs []ref) (ref, bool) {
	for _, name := range v.names {
		for _, r := range refs {
			if r.name == name {
				return r, true
			}
		}
	}
	return ref{}, false
}
