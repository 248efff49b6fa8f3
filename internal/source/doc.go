// Package source gets the source of a build with the git program, which never
// has the token.
//
// A Fetcher keeps a cache directory. Fetch turns a Request, the address of a
// repository and a source version, into a Tree: a directory with the work tree
// and a .git of its own, shared read-only by all builds of the same commit.
//
//	f, err := source.New(source.Config{Dir: dir, Transport: transport, Confine: sb.Confine, UID: uid, GID: gid, Log: log})
//	defer f.Close()
//	tree, err := f.Fetch(ctx, source.Request{Key: key, URL: url, Authorize: authorize, Version: "main", Depth: 1})
//	defer tree.Release()
//
// # Where the token is
//
// Request.Authorize is called for each request to the host, in this process,
// and its value is put into that request alone. It is not stored, not logged,
// and given to no other process. Git talks to a proxy on the loopback interface
// that lives as long as one fetch, serves one repository for reading, and wants
// a random capability in a header. The capability is in git's environment,
// where only the same user can read it, and in no argument list. After the fetch
// it opens nothing.
//
// A Gate is such a proxy for the commands of a build. It lives as long as the
// build and serves, for reading, what the credentials of its sources may read on
// their own hosts, with files of Git LFS.
//
// # What a fetch costs
//
// Which commit a version means is asked of the host with one ls-refs command of
// git's protocol version 2, spoken by this package. If the tree of that commit
// is there, that is all: one small request and no process. It is made even
// when the version is a commit id, so that a revoked token stops working.
//
// Otherwise git fetches the commit into a mirror, a bare repository of the
// cache, and a tree is made from it: objects are hard links, so that a tree is
// as large as its work tree, needs no alternates, and outlives its mirror.
//
// Git is given object ids and no ref names: the lists of refs in mirrors and
// trees are written by this package. So nothing that somebody called a branch
// reaches a command line.
//
// # Cache
//
//	mirrors/<repository>/           bare repositories; durable
//	trees/<repository>/<commit>-*/  what Fetch returns; gone after a reboot
//	tmp/                            what is being made, or being removed
//
// <repository> is a hash of Request.Key, addresses and depth, so that what one
// credential fetched is not seen with another. There is a mirror for each depth
// that is in use; its trees have that depth. A tree is made under tmp and
// renamed, so that a half-made one is never used. It is not flushed to disk:
// after a crash of the process it is whole, and after a reboot, known by the
// kernel's boot id, New removes all trees. Mirrors that fail are removed and
// fetched anew once.
//
// # Source versions
//
// A version is looked for in this order:
//
//	""                   the repository's HEAD
//	40 or 64 hex digits  that commit, if a branch or tag contains it
//	pr/N                 refs/pull/N/head, then as a name
//	refs/...             exactly that ref
//	name                 refs/heads/name, refs/tags/name, refs/name
//	7 to 39 hex digits   after all of the above: an abbreviated commit id
//	<version>^{<id>}     that commit, if the version contains it
//
// So a branch goes before a tag of the same name. Annotated tags are peeled.
// A commit that no ref proves to belong to the repository is not found: hosts
// hand out commits of forks under the address of the repository.
//
// # Trees
//
// HEAD is detached at the commit. Depth 0 gives the whole history, all branches
// as refs/remotes/origin and all tags, as they were when the tree was made. Depth
// N gives N commits of the one ref. A commit id that is no branch's or tag's
// newest commit gives the whole history at any depth. Remote origin is
// Request.URL. There are no hooks, no credentials, and the configuration is a
// fixed text. Git LFS files stay pointers. Modes of files are as the umask of the
// process leaves them.
//
// Submodules are fetched by a loop of this package, never by git: only over
// HTTPS (or what the parent was fetched with, from the parent's host), with the
// token only where Request.Upstream allows it, from the path, URL and commit
// that the tree names. update= and branch= of .gitmodules mean nothing. Their
// hosts are asked when the tree is made, not when it is found in the cache.
//
// # Errors
//
// An *Error is for the owner of the build; the four stems authentication
// required, authorization failed, repository not found and reference not found
// are the service's. Any other error is one of the server or of ctx. No text
// contains what a host said, since a host may repeat a token; names from within a
// repository are escaped.
package source
