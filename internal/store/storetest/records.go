package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

func accounts(b *bench) {
	first, second := store.Account{ID: "111122223333", Created: at(1)}, store.Account{ID: "000000000001", Created: at(2)}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutAccount(b.ctx, second), tx.PutAccount(b.ctx, first))
	})
	v, err := b.s.Account(b.ctx, second.ID)
	b.is("Account", err, nil)
	b.same("Account", v, second)
	_, err = b.s.Account(b.ctx, "999999999999")
	b.is("Account that is not there", err, store.ErrNotFound)
	list, err := b.s.Accounts(b.ctx)
	b.is("Accounts", err, nil)
	b.same("Accounts", list, []store.Account{first, second})
}

func accessKeys(b *bench) {
	key := func(id, account string, created int) store.AccessKey {
		return store.AccessKey{ID: id, Account: account, User: "ada", Sealed: []byte{0, 1, 0xff}, Created: at(created), Policy: "{}", Expires: at(99)}
	}
	late, early, foreign := key("AKIA1", home.Account, 2), key("AKIA2", home.Account, 1), key("AKIA3", elsewhere[1].Account, 0)
	b.update(func(tx store.Tx) error {
		return errors.Join(
			tx.PutAccount(b.ctx, store.Account{ID: home.Account, Created: at(0)}),
			tx.PutAccount(b.ctx, store.Account{ID: elsewhere[1].Account, Created: at(0)}),
			tx.PutAccessKey(b.ctx, late), tx.PutAccessKey(b.ctx, early), tx.PutAccessKey(b.ctx, foreign))
	})
	v, err := b.s.AccessKey(b.ctx, "AKIA2")
	b.is("AccessKey", err, nil)
	b.same("AccessKey", v, early)
	b.update(func(tx store.Tx) error { return tx.SetPolicy(b.ctx, "AKIA2", "p") })
	early.Policy = "p"
	b.is("SetPolicy of no key", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.SetPolicy(b.ctx, "AKIA0", "p") }), store.ErrNotFound)
	list, err := b.s.AccessKeys(b.ctx, home.Account)
	b.is("AccessKeys", err, nil)
	b.same("AccessKeys", list, []store.AccessKey{early, late})

	taken := key("AKIA1", elsewhere[1].Account, 9)
	b.is("PutAccessKey of a taken id", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutAccessKey(b.ctx, taken) }), store.ErrExists)
	v, err = b.s.AccessKey(b.ctx, "AKIA1")
	b.is("AccessKey", err, nil)
	b.same("AccessKey after a refused one", v, late)

	remove := func(tx store.Tx) error { return tx.DeleteAccessKey(b.ctx, "AKIA1") }
	b.is("DeleteAccessKey", b.s.Update(b.ctx, remove), nil)
	b.is("DeleteAccessKey again", b.s.Update(b.ctx, remove), store.ErrNotFound)
	_, err = b.s.AccessKey(b.ctx, "AKIA1")
	b.is("AccessKey after DeleteAccessKey", err, store.ErrNotFound)
}

func credentials(b *bench) {
	c := store.Credential{
		Scope: home, ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, ARN: "arn:x", Resource: "arn:y",
		Sealed: []byte{1, 0, 2}, Generation: 1, Created: at(1), Modified: at(1),
		Health:    store.Health{State: "VALID", Detail: "d", Login: "ada", Scopes: []string{"repo"}, Missing: []string{"x"}, Host: "h", Expires: at(99), Checked: at(1)},
		NextCheck: at(50),
	}
	bitbucket := c
	bitbucket.ServerType, bitbucket.Health = api.ServerTypeBITBUCKET, store.Health{State: "UNVERIFIED"}
	bitbucket.NextCheck = time.Time{}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutCredential(b.ctx, c), tx.PutCredential(b.ctx, bitbucket))
	})
	c.AuthType, c.ARN, c.Resource, c.Sealed, c.Generation, c.Modified = api.AuthTypeBASIC_AUTH, "arn:z", "", []byte{3}, 2, at(2)
	c.Health, c.NextCheck = store.Health{State: "INSUFFICIENT"}, at(50)
	b.update(func(tx store.Tx) error { return tx.PutCredential(b.ctx, c) })
	v, err := b.s.Credential(b.ctx, home, api.ServerTypeGITHUB)
	b.is("Credential", err, nil)
	b.same("Credential that was replaced", v, c)
	list, err := b.s.Credentials(b.ctx, home)
	b.is("Credentials", err, nil)
	b.same("Credentials, by server type", list, []store.Credential{bitbucket, c})
	_, err = b.s.Credential(b.ctx, home, api.ServerTypeGITLAB)
	b.is("Credential that is not there", err, store.ErrNotFound)

	due, err := b.s.DueCredentials(b.ctx, at(49), 10)
	b.is("DueCredentials before they are", err, nil)
	b.same("DueCredentials before they are", len(due), 0)
	soon := bitbucket
	soon.Health.Remaining, soon.Health.Purpose, soon.NextCheck = new(7), map[string]string{"x": "y"}, at(40)
	b.update(func(tx store.Tx) error { return tx.PutHealth(b.ctx, soon) })
	next, err := b.s.NextCheck(b.ctx)
	b.is("NextCheck", err, nil)
	b.same("NextCheck", next, at(40))
	due, err = b.s.DueCredentials(b.ctx, at(50), 10)
	b.is("DueCredentials", err, nil)
	b.same("DueCredentials, the longest overdue first", due, []store.Credential{soon, c})
	all, err := b.s.CredentialsAfter(b.ctx, store.Credential{}, 10)
	b.is("CredentialsAfter nothing", err, nil)
	b.same("CredentialsAfter nothing", all, []store.Credential{soon, c})
	all, err = b.s.CredentialsAfter(b.ctx, soon, 1)
	b.is("CredentialsAfter one", err, nil)
	b.same("CredentialsAfter one", all, []store.Credential{c})
	stale := c
	stale.Generation--
	b.is("PutHealth of what was replaced", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutHealth(b.ctx, stale) }), store.ErrNotFound)

	_, err = b.s.CredentialUse(b.ctx, home, c.ARN)
	b.is("CredentialUse of what was never used", err, store.ErrNotFound)
	use := store.CredentialUse{ARN: c.ARN, At: at(7), Purpose: "p", Build: "b", Host: "h"}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.NoteUse(b.ctx, home, store.CredentialUse{ARN: c.ARN, At: at(6)}), tx.NoteUse(b.ctx, home, use))
	})
	used, err := b.s.CredentialUse(b.ctx, home, c.ARN)
	b.is("CredentialUse", err, nil)
	b.same("CredentialUse", used, use)
	_, err = b.s.CredentialUse(b.ctx, store.Scope{Account: home.Account, Region: "elsewhere-1"}, c.ARN)
	b.is("CredentialUse of another region", err, store.ErrNotFound)

	remove := func(tx store.Tx) error { return tx.DeleteCredential(b.ctx, home, api.ServerTypeGITHUB) }
	b.is("DeleteCredential", b.s.Update(b.ctx, remove), nil)
	b.is("DeleteCredential again", b.s.Update(b.ctx, remove), store.ErrNotFound)
	_, err = b.s.CredentialUse(b.ctx, home, c.ARN)
	b.is("CredentialUse of what was deleted", err, store.ErrNotFound)
}

func badges(b *bench) {
	p := project("site")
	p.Badge = &api.ProjectBadge{BadgeEnabled: new(true), BadgeRequestUrl: new("https://corbel.example/badges?uuid=u1&branch=main")}
	b.update(func(tx store.Tx) error { return tx.CreateProject(b.ctx, home, p) })
	b.update(func(tx store.Tx) error { return tx.CreateProject(b.ctx, home, project("other")) })
	status := func(badge, ref string, want api.StatusType, problem error) {
		b.Helper()
		got, err := b.s.BadgeStatus(b.ctx, badge, ref)
		b.is("BadgeStatus", err, problem)
		b.same("BadgeStatus of "+badge+" and "+ref, got, want)
	}
	status("u1", "refs/heads/main", "", store.ErrNotFound)
	b.queue("site", 5) // the last is not known yet of what
	for n, ref := range []string{"refs/heads/main", "refs/heads/main", "refs/tags/v1", ""} {
		c, err := b.claim("r1", 100)
		b.is("ClaimBuild", err, nil)
		c.Ref = ref
		c.Doc.BuildStatus = []api.StatusType{api.StatusTypeFAILED, api.StatusTypeSUCCEEDED, api.StatusTypeFAULT, api.StatusTypeTIMED_OUT}[n]
		b.complete(c)
	}
	status("u1", "refs/heads/main", api.StatusTypeSUCCEEDED, nil)
	status("u1", "refs/tags/v1", api.StatusTypeFAULT, nil)
	for _, c := range [][2]string{{"u1", ""}, {"u1", "refs/heads/mai"}, {"u2", "refs/heads/main"}, {"", "refs/heads/main"}, {"", ""}} {
		status(c[0], c[1], "", store.ErrNotFound)
	}
	p.Badge = &api.ProjectBadge{BadgeEnabled: new(false)}
	b.update(func(tx store.Tx) error { return tx.UpdateProject(b.ctx, home, p) })
	status("u1", "refs/heads/main", "", store.ErrNotFound)
}

func projects(b *bench) {
	p := project("site")
	p.Description = new("ünïcode <&> \u2028 \"quoted\"")
	p.Tags = []api.Tag{} // absent and empty differ on the wire
	create := func(tx store.Tx) error { return tx.CreateProject(b.ctx, home, p) }
	b.is("CreateProject", b.s.Update(b.ctx, create), nil)
	b.is("CreateProject again", b.s.Update(b.ctx, create), store.ErrExists)
	v, err := b.s.Project(b.ctx, home, "site")
	b.is("Project", err, nil)
	b.same("Project", v, p)
	_, err = b.s.Project(b.ctx, home, "Site")
	b.is("Project in other letters", err, store.ErrNotFound)

	p.Description, p.LastModified = nil, api.At(at(5))
	b.update(func(tx store.Tx) error { return tx.UpdateProject(b.ctx, home, p) })
	v, err = b.s.Project(b.ctx, home, "site")
	b.is("Project", err, nil)
	b.same("Project after UpdateProject", v, p)
	keys, err := b.s.ProjectNames(b.ctx, home, store.ProjectPage{Limit: 9})
	b.is("ProjectNames", err, nil)
	b.same("ProjectNames after UpdateProject", keys, []store.ProjectKey{{Name: "site", Created: at(0), Modified: at(5)}})
	b.is("UpdateProject that is not there", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.UpdateProject(b.ctx, home, project("none")) }), store.ErrNotFound)

	b.queue("site", 1)
	remove := func(tx store.Tx) error { return tx.DeleteProject(b.ctx, home, "site") }
	b.is("DeleteProject", b.s.Update(b.ctx, remove), nil)
	b.is("DeleteProject again", b.s.Update(b.ctx, remove), store.ErrNotFound)
	_, err = b.s.Project(b.ctx, home, "site")
	b.is("Project after DeleteProject", err, store.ErrNotFound)
	_, err = b.s.Build(b.ctx, home, buildID("site", 1))
	b.is("Build after DeleteProject", err, nil)
}

// pages reads all pages of a listing and fails the test if one is longer than
// the limit or the listing does not end.
func pages[K any](b *bench, what string, limit int, next func(after *K) ([]K, error)) []K {
	b.Helper()
	all := []K{}
	var after *K
	for {
		page, err := next(after)
		if err != nil {
			b.Fatalf("%s: %v", what, err)
		}
		if len(page) > limit || len(all) > 1000 {
			b.Fatalf("%s: a page of %d after %d others, limit %d", what, len(page), len(all), limit)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = new(page[len(page)-1])
	}
}

// reversed is list from its end.
func reversed[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// noise puts rows with the same names into other scopes.
func (b *bench) noise(put func(tx store.Tx, s store.Scope) error) {
	b.Helper()
	b.update(func(tx store.Tx) error {
		for _, s := range elsewhere {
			if err := put(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func projectNames(b *bench) {
	var byName []store.ProjectKey
	for i := range 25 {
		k := store.ProjectKey{Name: fmt.Sprintf("p-%02d", i), Created: at(i * 7 % 5), Modified: at(i * 3 % 4)} // many ties
		byName = append(byName, k)
	}
	put := func(tx store.Tx, s store.Scope) error {
		for _, i := range rand.Perm(len(byName)) {
			k := byName[i]
			p := &api.Project{Name: &k.Name, Created: api.At(k.Created), LastModified: api.At(k.Modified)}
			if err := tx.CreateProject(b.ctx, s, p); err != nil {
				return err
			}
		}
		return nil
	}
	b.update(func(tx store.Tx) error { return put(tx, home) })
	b.noise(put)
	by := func(t func(store.ProjectKey) time.Time) []store.ProjectKey {
		list := slices.Clone(byName)
		slices.SortStableFunc(list, func(x, y store.ProjectKey) int { return t(x).Compare(t(y)) })
		return list
	}
	for sort, want := range map[api.ProjectSortByType][]store.ProjectKey{
		"":                                      byName,
		api.ProjectSortByTypeNAME:               byName,
		api.ProjectSortByTypeCREATED_TIME:       by(func(k store.ProjectKey) time.Time { return k.Created }),
		api.ProjectSortByTypeLAST_MODIFIED_TIME: by(func(k store.ProjectKey) time.Time { return k.Modified }),
	} {
		for _, descending := range []bool{false, true} {
			if descending {
				want = reversed(want)
			}
			for _, limit := range []int{1, 3, 25, 100} {
				what := fmt.Sprintf("ProjectNames by %q, descending %t, limit %d", sort, descending, limit)
				got := pages(b, what, limit, func(after *store.ProjectKey) ([]store.ProjectKey, error) {
					return b.s.ProjectNames(b.ctx, home, store.ProjectPage{SortBy: sort, Descending: descending, After: after, Limit: limit})
				})
				b.same(what, got, want)
			}
		}
	}
}

// logStream is a stream of home's group.
func logStream(group, name string, created int) store.LogStream {
	return store.LogStream{Group: group, Name: name, Build: "site:" + name, Created: at(created)}
}

func logGroups(b *bench) {
	put := func(tx store.Tx, s store.Scope, names ...string) error {
		for i, name := range names {
			if err := tx.PutLogStream(b.ctx, s, logStream(name, "s", i)); err != nil {
				return err
			}
		}
		return nil
	}
	names := []string{"/aws/codebuild/a", "/aws/codebuild/a_b", "/aws/codebuild/axb", "/aws/codebuild/50%", "/aws/codebuild/500", "/AWS/codebuild/a", "other", "ünder", "über", "zz\U0010FFFE"}
	b.update(func(tx store.Tx) error { return put(tx, home, names...) })
	b.noise(func(tx store.Tx, s store.Scope) error { return put(tx, s, append(names, "foreign")...) })
	sorted := slices.Sorted(slices.Values(names))
	for _, prefix := range []string{"", "/aws", "/aws/codebuild/a", "/aws/codebuild/a_", "/aws/codebuild/50%", "%", "_", "o", "none", "ü", "zz", "other"} {
		var want []string
		for _, n := range sorted {
			if len(n) >= len(prefix) && n[:len(prefix)] == prefix {
				want = append(want, n)
			}
		}
		for _, limit := range []int{1, 2, 50} {
			what := fmt.Sprintf("LogGroups with prefix %q, limit %d", prefix, limit)
			var got []string
			for _, g := range pages(b, what, limit, func(after *store.LogGroup) ([]store.LogGroup, error) {
				if after == nil {
					after = new(store.LogGroup)
				}
				return b.s.LogGroups(b.ctx, home, prefix, after.Name, limit)
			}) {
				got = append(got, g.Name)
			}
			b.same(what, got, want)
		}
	}

	// A group is as old as its oldest stream, whenever that was noted.
	b.update(func(tx store.Tx) error {
		return errors.Join(
			tx.PutLogStream(b.ctx, home, logStream("g", "second", 20)),
			tx.PutLogStream(b.ctx, home, logStream("g", "first", 10)),
			tx.PutLogStream(b.ctx, home, logStream("g", "third", 30)))
	})
	got, err := b.s.LogGroups(b.ctx, home, "g", "", 9)
	b.is("LogGroups", err, nil)
	b.same("LogGroups", got, []store.LogGroup{{Name: "g", Created: at(10)}})
}

func logStreams(b *bench) {
	var byName []store.LogStream
	for i := range 12 {
		byName = append(byName, logStream("g", fmt.Sprintf("a%02d", i), i*5%4))
	}
	byName = append(byName, logStream("g", "a_%", 2), logStream("g", "b", 2))
	put := func(tx store.Tx, s store.Scope) error {
		for _, i := range rand.Perm(len(byName)) {
			if err := tx.PutLogStream(b.ctx, s, byName[i]); err != nil {
				return err
			}
		}
		return nil
	}
	b.update(func(tx store.Tx) error {
		return errors.Join(put(tx, home), tx.PutLogStream(b.ctx, home, logStream("h", "a00", 1)))
	})
	b.noise(put)
	byTime := slices.Clone(byName)
	slices.SortStableFunc(byTime, func(x, y store.LogStream) int { return x.Created.Compare(y.Created) })
	for _, prefix := range []string{"", "a", "a0", "a_", "a_%", "%", "c"} {
		for _, timed := range []bool{false, true} {
			order := byName
			if timed {
				order = byTime
			}
			want := []store.LogStream{}
			for _, l := range order {
				if len(l.Name) >= len(prefix) && l.Name[:len(prefix)] == prefix {
					want = append(want, l)
				}
			}
			for _, descending := range []bool{false, true} {
				if descending {
					want = reversed(want)
				}
				for _, limit := range []int{1, 3, 50} {
					what := fmt.Sprintf("LogStreams with prefix %q, by time %t, descending %t, limit %d", prefix, timed, descending, limit)
					got := pages(b, what, limit, func(after *store.LogStream) ([]store.LogStream, error) {
						return b.s.LogStreams(b.ctx, home, store.StreamPage{Group: "g", Prefix: prefix, ByTime: timed, Descending: descending, After: after, Limit: limit})
					})
					b.same(what, got, want)
				}
			}
		}
	}

	again := logStream("g", "b", 99)
	again.Build = "other"
	b.update(func(tx store.Tx) error { return tx.PutLogStream(b.ctx, home, again) })
	got, err := b.s.LogStream(b.ctx, home, "g", "b")
	b.is("LogStream", err, nil)
	b.same("LogStream that was put twice", got, logStream("g", "b", 2))
	for _, name := range []string{"none", "B", "%"} {
		_, err = b.s.LogStream(b.ctx, home, "g", name)
		b.is("LogStream "+name, err, store.ErrNotFound)
	}
	_, err = b.s.LogStream(b.ctx, elsewhere[0], "h", "a00")
	b.is("LogStream of another scope", err, store.ErrNotFound)
}

func checks(b *bench) {
	put := func(tx store.Tx) error { return tx.PutCheck(b.ctx, "root", []byte{1, 0, 2}) }
	_, err := b.s.Check(b.ctx, "root")
	b.is("Check before PutCheck", err, store.ErrNotFound)
	b.update(put)
	b.is("PutCheck again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutCheck(b.ctx, "root", []byte{9}) }), store.ErrExists)
	v, err := b.s.Check(b.ctx, "root")
	b.is("Check", err, nil)
	b.same("Check", v, []byte{1, 0, 2})
}

func audit(b *bench) {
	_, err := b.s.LastAudit(b.ctx)
	b.is("LastAudit of none", err, store.ErrNotFound)
	line := func(seq int64) store.AuditLine {
		return store.AuditLine{Seq: seq, At: at(int(seq)), Account: home.Account, Doc: []byte(`{"a": "<&>"}`), Hash: []byte{byte(seq), 0}}
	}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutAudit(b.ctx, line(1)), tx.PutAudit(b.ctx, line(2)), tx.PutAudit(b.ctx, line(3)))
	})
	b.is("PutAudit again", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutAudit(b.ctx, line(2)) }), store.ErrExists)
	last, err := b.s.LastAudit(b.ctx)
	b.is("LastAudit", err, nil)
	b.same("LastAudit", last, line(3))
	list, err := b.s.AuditLines(b.ctx, 1, 1)
	b.is("AuditLines", err, nil)
	b.same("AuditLines, one page", list, []store.AuditLine{line(2)})

	foreign, about := line(4), line(5)
	foreign.Account = elsewhere[1].Account
	about.Doc = []byte(`{"resource":"arn:x"}`)
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutAudit(b.ctx, foreign), tx.PutAudit(b.ctx, about)) })
	for _, c := range []struct {
		what, resource string
		before         int64
		limit          int
		want           []store.AuditLine
	}{
		{"from the newest on", "", 0, 2, []store.AuditLine{about, line(3)}},
		{"the next page", "", 3, 9, []store.AuditLine{line(2), line(1)}},
		{"about a resource", "arn:x", 0, 9, []store.AuditLine{about}},
		{"about another", "arn", 0, 9, []store.AuditLine{}},
		{"about it, before it", "arn:x", 5, 9, []store.AuditLine{}},
	} {
		list, err := b.s.AccountAudit(b.ctx, home.Account, c.resource, c.before, c.limit)
		b.is("AccountAudit", err, nil)
		b.same("AccountAudit, "+c.what, list, c.want)
	}
}

// status is a commit status that is due at a second.
func status(sha, context string, due int) store.CommitStatus {
	return store.CommitStatus{
		Scope: home, Project: "site", Build: "site:1", SHA: sha, Context: context, State: "pending", Description: "d", TargetURL: "https://t",
		Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/a/b")},
		Host:   "github.com", Created: at(0), Next: at(due),
	}
}

// putStatuses appends to the outbox, in order.
func (b *bench) putStatuses(list ...store.CommitStatus) {
	b.Helper()
	b.update(func(tx store.Tx) error {
		for _, c := range list {
			if err := tx.PutStatus(b.ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// due lists what is to be sent at a second.
func (b *bench) due(second, limit int) (list []store.CommitStatus) {
	b.Helper()
	return b.dueBut(nil, nil, second, limit)
}

// dueBut lists it but for ids and hosts.
func (b *bench) dueBut(except []int64, full []string, second, limit int) (list []store.CommitStatus) {
	b.Helper()
	b.update(func(tx store.Tx) (err error) {
		list, err = tx.DueStatuses(b.ctx, at(second), except, full, limit)
		return err
	})
	return list
}

// dueAre fails the test unless those of the given descriptions are due.
func (b *bench) dueAre(when string, second int, want ...string) []store.CommitStatus {
	b.Helper()
	list := b.due(second, 100)
	var got []string
	for _, c := range list {
		got = append(got, c.Description)
	}
	if !slices.Equal(got, want) {
		b.Errorf("%s: due are %q, want %q", when, got, want)
	}
	return list
}

func statuses(b *bench) {
	next := func() (v time.Time, err error) {
		err = b.s.Update(b.ctx, func(tx store.Tx) error {
			v, err = tx.NextStatus(b.ctx, nil, nil)
			return err
		})
		return v, err
	}
	_, err := next()
	b.is("NextStatus of an empty outbox", err, store.ErrNotFound)
	given := status("sha", "ci", 5)
	b.putStatuses(given, status("other", "ci", 3))
	b.dueAre("too early", 2)
	v, err := next()
	b.is("NextStatus", err, nil)
	b.same("NextStatus", v, at(3))
	got := b.due(5, 1)
	if len(got) != 1 {
		b.Fatalf("DueStatuses with limit 1 has %d", len(got))
	}
	if got[0].ID == 0 {
		b.Errorf("the status has no ID: %+v", got[0])
	}
	given.ID = got[0].ID
	b.same("status", got[0], given)

	b.update(func(tx store.Tx) error { return tx.DeferStatus(b.ctx, given.ID, at(9), "no answer") })
	if got := b.due(9, 9); len(got) != 2 || got[0].Attempts != 1 || !got[0].Next.Equal(at(9)) {
		b.Errorf("after DeferStatus: %+v", got)
	}
	remove := func(tx store.Tx) error { return tx.DeleteStatus(b.ctx, given.ID) }
	b.is("DeleteStatus", b.s.Update(b.ctx, remove), nil)
	b.is("DeleteStatus again", b.s.Update(b.ctx, remove), store.ErrNotFound)
	b.is("DeferStatus that is not there", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeferStatus(b.ctx, given.ID, at(9), "") }), store.ErrNotFound)
	// An ID means one status for ever, even the last one's.
	rest := b.due(9, 9)
	b.update(func(tx store.Tx) error { return tx.DeleteStatus(b.ctx, rest[0].ID) })
	b.putStatuses(status("third", "ci", 0))
	if got := b.due(9, 9); len(got) != 1 || got[0].ID <= max(given.ID, rest[0].ID) {
		b.Errorf("after the IDs %d and %d: %+v", given.ID, rest[0].ID, got)
	}
}

// Of one commit and context the oldest goes first and holds up the others;
// what differs in any part goes by itself.
func statusLanes(b *bench) {
	named := func(c store.CommitStatus, name string) store.CommitStatus {
		c.Description = name
		return c
	}
	otherRepo, otherRegion := status("sha", "ci", 0), status("sha", "ci", 0)
	otherRepo.Source = &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/a/c")}
	otherRegion.Scope = elsewhere[0]
	b.putStatuses(
		named(status("sha", "ci", 0), "first"),
		named(status("sha", "ci", 0), "second"),
		named(status("sha", "lint", 0), "other context"),
		named(status("sha2", "ci", 0), "other commit"),
		named(otherRepo, "other repository"),
		named(otherRegion, "other region"),
		named(status("sha", "ci", 0), "third"))
	got := b.dueAre("at first", 1, "first", "other context", "other commit", "other repository", "other region")
	b.update(func(tx store.Tx) error { return tx.DeferStatus(b.ctx, got[0].ID, at(50), "p") })
	b.dueAre("while the first waits", 49, "other context", "other commit", "other repository", "other region")
	b.dueAre("when the first is due again", 50, "first", "other context", "other commit", "other repository", "other region")
	b.update(func(tx store.Tx) error {
		for _, c := range got {
			if err := tx.DeleteStatus(b.ctx, c.ID); err != nil {
				return err
			}
		}
		return nil
	})
	got = b.dueAre("after the first", 1, "second")
	b.update(func(tx store.Tx) error { return tx.DeleteStatus(b.ctx, got[0].ID) })
	b.dueAre("after the second", 1, "third")
}

func idempotency(b *bench) {
	put := func(s store.Scope, token, build string, expires int) {
		b.Helper()
		b.update(func(tx store.Tx) error {
			return tx.PutIdempotent(b.ctx, s, store.Idempotent{Token: token, Digest: "d", Build: build, Expires: at(expires)})
		})
	}
	put(home, "t", "one", 300)
	put(elsewhere[0], "t", "foreign", 300)
	got, err := b.s.IdempotentBuild(b.ctx, home, "t", at(299))
	b.is("IdempotentBuild", err, nil)
	b.same("IdempotentBuild", got, store.Idempotent{Token: "t", Digest: "d", Build: "one", Expires: at(300)})
	for _, c := range []struct {
		scope store.Scope
		token string
		now   int
	}{{home, "t", 300}, {home, "t", 9999}, {home, "T", 0}, {elsewhere[1], "t", 0}} {
		_, err = b.s.IdempotentBuild(b.ctx, c.scope, c.token, at(c.now))
		b.is(fmt.Sprintf("IdempotentBuild %q in %v at %d", c.token, c.scope, c.now), err, store.ErrNotFound)
	}
	put(home, "t", "two", 900) // the first has expired
	got, err = b.s.IdempotentBuild(b.ctx, home, "t", at(301))
	b.is("IdempotentBuild", err, nil)
	b.same("IdempotentBuild that was stored again", got.Build, "two")
	got, err = b.s.IdempotentBuild(b.ctx, elsewhere[0], "t", at(0))
	b.is("IdempotentBuild", err, nil)
	b.same("IdempotentBuild of another scope", got.Build, "foreign")
}

// Nothing that is read or written in one scope shows in another.
func scopesAreApart(b *bench) {
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.CreateProject(b.ctx, home, project("site")), tx.QueueBuild(b.ctx, build("site", 1)))
	})
	id := buildID("site", 1)
	done, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	b.complete(done)
	for _, s := range elsewhere {
		_, err := b.s.Project(b.ctx, s, "site")
		b.is("Project", err, store.ErrNotFound)
		_, err = b.s.Build(b.ctx, s, id)
		b.is("Build", err, store.ErrNotFound)
		docs, err := b.s.BuildDocuments(b.ctx, s, []string{id})
		b.is("BuildDocuments", err, nil)
		names, err := b.s.ProjectNames(b.ctx, s, store.ProjectPage{Limit: 9})
		b.is("ProjectNames", err, nil)
		keys, err := b.s.BuildKeys(b.ctx, s, store.BuildPage{Limit: 9})
		b.is("BuildKeys", err, nil)
		ofProject, err := b.s.BuildKeys(b.ctx, s, store.BuildPage{Project: "site", Limit: 9})
		b.is("BuildKeys", err, nil)
		active, err := b.s.ActiveBuilds(b.ctx, s, "site", 9)
		b.is("ActiveBuilds", err, nil)
		if len(docs)+len(names)+len(keys)+len(ofProject)+active != 0 {
			b.Errorf("in %v: documents %v, projects %v, builds %v, of the project %v, active %d", s, docs, names, keys, ofProject, active)
		}
		for what, write := range map[string]func(store.Tx) error{
			"UpdateProject": func(tx store.Tx) error { return tx.UpdateProject(b.ctx, s, project("site")) },
			"DeleteProject": func(tx store.Tx) error { return tx.DeleteProject(b.ctx, s, "site") },
			"DeleteBuild":   func(tx store.Tx) error { return tx.DeleteBuild(b.ctx, s, id) },
			"RequestStop": func(tx store.Tx) error {
				_, err := tx.RequestStop(b.ctx, s, id)
				return err
			},
		} {
			b.is(what+" from another scope", b.s.Update(b.ctx, write), store.ErrNotFound)
		}
		b.update(func(tx store.Tx) error { return tx.CreateProject(b.ctx, s, project("site")) })
	}
	_, err = b.s.Project(b.ctx, home, "site")
	b.is("Project", err, nil)
	_, err = b.s.Build(b.ctx, home, id)
	b.is("Build", err, nil)
}

// What was read or written belongs to the caller.
func documentsAreCopies(b *bench) {
	p := project("site")
	p.Description = new("before")
	one := build("site", 1)
	b.update(func(tx store.Tx) error {
		if err := errors.Join(tx.CreateProject(b.ctx, home, p), tx.QueueBuild(b.ctx, one)); err != nil {
			return err
		}
		*p.Description, *one.Doc.Initiator = "after", "eve"
		read, err := tx.Project(b.ctx, home, "site")
		if err == nil {
			*read.Description = "after"
		}
		return err
	})
	read := func() (*api.Project, store.Build, []api.Build) {
		b.Helper()
		p, err := b.s.Project(b.ctx, home, "site")
		b.is("Project", err, nil)
		one, err := b.s.Build(b.ctx, home, buildID("site", 1))
		b.is("Build", err, nil)
		docs, err := b.s.BuildDocuments(b.ctx, home, []string{buildID("site", 1)})
		b.is("BuildDocuments", err, nil)
		return p, one, docs
	}
	gotP, gotB, docs := read()
	*gotP.Description, *gotB.Doc.Initiator, *docs[0].Initiator = "after", "eve", "eve"
	gotP, gotB, docs = read()
	if *gotP.Description != "before" || *gotB.Doc.Initiator != "ada" || *docs[0].Initiator != "ada" {
		b.Errorf("stored documents changed: %q, %q, %q", *gotP.Description, *gotB.Doc.Initiator, *docs[0].Initiator)
	}
}
