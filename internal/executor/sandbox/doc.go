// Package sandbox is the embedded executor: it runs builds on the machine of
// the server, in Linux namespaces, with nothing to install.
//
// # Use
//
// The program calls Main before anything else, since the sandbox starts the
// program itself again as the first process of each environment:
//
//	func main() {
//		sandbox.Main()
//		...
//		ex, err := sandbox.New(ctx, sandbox.Config{Hidden: []string{dataDir}})
//
// New starts one environment for real. If the kernel refuses a part that builds
// depend on, New says which and what to do about it, and there is no executor:
// a build is never run without isolation. Parts that a machine may lack (cgroup
// limits, Landlock, a range of user ids) are named in Traits.
//
// # What a build sees
//
//	/usr /bin /sbin /lib* /etc /opt   the host's, read-only, with Config.ReadOnly
//	/codebuild/output, /tmp, /var/tmp, /home, /root   its own, in Spec.Dir
//	/codebuild/readonly               what Put wrote, read-only
//	/var, /run, /dev/shm              small, its own, in memory
//	/dev                              null and the like, no other device of the host
//	/proc                             of its own processes
//	the targets of Place              an overlay; a copy where overlays do not work
//
// Nothing else of the host is there: no data directory, no home directory, no
// socket. The network is the host's unless Config.Network is "none".
//
// # How it is held
//
// A process called init is number 1 of the environment. It is the only one that
// talks to the server, over a socket. When the server ends, however it ends, the
// socket closes, init exits, and the kernel ends every process of the namespace.
//
// Started by root, the sandbox maps a range of unprivileged ids of the host, so
// root of a build is nobody's root and users of /etc/passwd can be used. Started
// by anyone else, it maps that one id: root of the build has the rights of the
// server's user on the files it can see, and no other user exists.
//
// One init is always kept ready, so that Start takes about 2 ms. The first shell
// is started with the environment and waits while the source is fetched. On hosts
// with cgroups of version 2 it is moved into its group meanwhile, which can take
// the kernel 10 ms and more.
//
// The shells and all that they start have no_new_privs, a short list of
// capabilities within their own user namespace, a Landlock domain, a seccomp
// filter, resource limits, and cgroups where they are writable. Programs of the
// 32 bit ABI are refused, because the filter speaks of the native one alone.
//
// # What it does not do
//
// This keeps honest builds apart and accidents small. It is not a wall against a
// build that attacks the kernel: all builds and the server share it. With the
// host's network a build reaches what the host reaches, services on loopback
// among them. There is no limit on disk space. For hostile builds use an executor
// with a hardened runtime.
package sandbox
