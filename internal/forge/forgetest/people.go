package forgetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Person has an account at a Server.
type Person struct {
	// ID stays when the login changes. AddPerson gives one that is 0.
	ID    int64
	Login string
	Name  string // for people to read; default Login
	// Account is Atlassian's id of the account, which Bitbucket Cloud shows.
	// The default follows from ID.
	Account string
}

// AddPerson makes an account. One that has the login already loses it, as when
// somebody changes theirs and another takes it: what that one may do is not
// what the new one may.
func (s *Server) AddPerson(p Person) Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addPerson(p)
}

// addPerson is AddPerson for who holds the lock.
func (s *Server) addPerson(p Person) Person {
	if p.ID == 0 {
		s.lastID++
		p.ID = s.lastID
	}
	if p.Name == "" {
		p.Name = p.Login
	}
	if p.Account == "" {
		p.Account = fmt.Sprintf("557058:00000000-0000-4000-8000-%012d", p.ID)
	}
	s.people[strings.ToLower(p.Login)] = p
	return p
}

// Person returns who has the login, and makes the account if nobody has.
func (s *Server) Person(login string) Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.people[strings.ToLower(login)]; ok {
		return p
	}
	return s.addPerson(Person{Login: login})
}

// who finds a person by login, and whether there is one.
func (s *Server) who(login string) (Person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.people[strings.ToLower(login)]
	return p, ok
}

// whose finds a person by id, and whether there is one.
func (s *Server) whose(id int64) (Person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.people {
		if p.ID == id {
			return p, true
		}
	}
	return Person{}, false
}

// SetRole gives the person with the login a role in a repository, in the
// provider's own words (at GitLab the number of the access level); "" takes it
// away. At GitHub a role that is not one of its own is an organization's,
// written "name/permission", such as "release-manager/write".
func (s *Server) SetRole(repo, login, role string) error {
	r, p := s.repository(repo), s.Person(login)
	if r == nil {
		return fmt.Errorf("set a role in %s: no such repository", repo)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.roles[p.ID] = role
	return nil
}

// role is what p may do in r, "" for nothing of its own.
func (s *Server) role(r *repository, p Person) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.roles[p.ID]
}

// members are the ids of those who have a role in r, in order.
func (s *Server) members(r *repository) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(r.roles, func(_ int64, role string) bool { return role == "" })
	return slices.Sorted(maps.Keys(r.roles))
}

// owner returns the account before a repository's slash: a person's, or that
// of an organization, workspace, project or group if no person has the login.
func (s *Server) owner(name string) (p Person, organization bool) {
	login, _, _ := strings.Cut(name, "/")
	if p, ok := s.who(login); ok {
		return p, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.organizations[strings.ToLower(login)]
	if id == 0 {
		s.lastID++
		id = s.lastID
		s.organizations[strings.ToLower(login)] = id
	}
	return Person{ID: id, Login: login, Name: login}, true
}
