package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
)

const hostsUsage = `Usage:
    corbel hosts list   [-data DIR]
    corbel hosts add    ENTRY [-data DIR]
    corbel hosts remove ENTRY|HOST [-data DIR]

Manages which hosts the stored tokens may be sent to, beside those of "corbel
serve -host", which it lists and cannot change. A running server knows a change
at once. Removing a host does not stop what is being fetched from it.

An ENTRY is what -host takes:
    GITHUB_ENTERPRISE=https://ghe.example.com
    GITLAB_SELF_MANAGED=https://git.example.com:8443 ca=/etc/corbel/ca.pem
    BITBUCKET_DATA_CENTER=https://bitbucket.example.com insecure-ssl
    GITEA=https://gitea.example.com
    github.com=http://127.0.0.1:3000

ca=FILE names the authorities that alone may sign the host's certificate.
insecure-ssl takes any certificate: whoever is on the way can take the token.

Example:
    $ corbel hosts add GITHUB_ENTERPRISE=https://ghe.example.com

Exit status: 0 done, 1 failed, 2 wrong usage.
`

// hostsFile is where "corbel hosts" keeps entries, one in a line.
const hostsFile = "hosts"

// hosts is "corbel hosts".
func hosts(_ context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("hosts", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() { fmt.Fprint(errOut, hostsUsage) }
	var data string
	dataFlag(flags, &data)
	if len(args) == 0 {
		flags.Usage()
		return usageError{"hosts needs list, add or remove"}
	}
	verb, args := args[0], args[1:]
	var operands []string
	for len(args) > 0 { // flags may come after operands
		if err := parse(flags, args); err != nil {
			return err
		}
		if args = flags.Args(); len(args) > 0 {
			operands, args = append(operands, args[0]), args[1:]
		}
	}
	entry := strings.Join(operands, " ")
	switch {
	case verb == "-h" || verb == "--help" || verb == "help":
		fmt.Fprint(out, hostsUsage)
		return nil
	case verb == "list" && entry == "", (verb == "add" || verb == "remove") && entry != "":
	case verb == "list" || verb == "add" || verb == "remove":
		return usageError{"hosts " + verb + " takes " + map[bool]string{true: "no argument", false: "an entry"}[verb == "list"]}
	default:
		return usageError{fmt.Sprintf("hosts has no %q: want list, add or remove", verb)}
	}
	if _, err := os.Stat(data); err != nil {
		return hinted{fmt.Errorf("find data directory: %w", err), "name the server's with -data"}
	}
	own, err := readHosts(data)
	if err != nil {
		return err
	}
	switch server := runningServer(data); verb {
	case "list":
		return listHosts(out, server, own)
	case "add":
		entry, err := absolute(entry)
		if err != nil {
			return err
		}
		if slices.Contains(own, entry) {
			return fmt.Errorf("%s is listed already", entry)
		}
		return writeHosts(data, server, append(own, entry))
	default:
		kept := slices.DeleteFunc(slices.Clone(own), func(e string) bool { return e == entry || entryHost(e) == entry })
		if len(kept) == len(own) {
			return hinted{fmt.Errorf("%s is not listed in %s", entry, filepath.Join(data, hostsFile)), "corbel hosts list shows what is; a host of serve -host goes with the flag"}
		}
		return writeHosts(data, server, kept)
	}
}

// absolute makes the file of an entry independent of where the server runs.
func absolute(entry string) (string, error) {
	address, file, ok := strings.Cut(entry, " ca=")
	if !ok || filepath.IsAbs(file) {
		return entry, nil
	}
	file, err := filepath.Abs(file)
	return address + " ca=" + file, err
}

// entryHost is the host of an entry's address.
func entryHost(entry string) string {
	_, address, _ := strings.Cut(entry, "=")
	address, _, _ = strings.Cut(address, " ")
	_, host, _ := strings.Cut(address, "://")
	return strings.TrimSuffix(host, "/")
}

func listHosts(out io.Writer, server running, own []string) error {
	h, err := forge.NewHosts(providers.All, append(slices.Clone(server.Hosts), own...))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER TYPE\tHOST\tGIT\tAPI\tLISTED BY")
	for _, host := range h.All() {
		by := "Corbel"
		for _, e := range own {
			if "https://"+entryHost(e) == host.Git || "http://"+entryHost(e) == host.Git {
				by = "hosts add"
			}
		}
		for _, e := range server.Hosts {
			if "https://"+entryHost(e) == host.Git || "http://"+entryHost(e) == host.Git {
				by = "serve -host"
			}
		}
		if host.Insecure() {
			by += " (insecure-ssl)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", host.ServerType, host.Name, host.Git, host.API, by)
	}
	return w.Flush()
}

// readHosts returns the entries of the file, of which there are none at first.
func readHosts(data string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(data, hostsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read listed hosts: %w", err)
	}
	var list []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list, nil
}

// writeHosts checks the entries, keeps them and tells the running server.
func writeHosts(data string, server running, list []string) error {
	if _, err := forge.NewHosts(providers.All, append(slices.Clone(server.Hosts), list...)); err != nil {
		return err
	}
	text := ""
	for _, e := range list {
		text += e + "\n"
	}
	if err := replaceFile(filepath.Join(data, hostsFile), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write listed hosts: %w", err)
	}
	if server.PID == 0 {
		return nil
	}
	if err := syscall.Kill(server.PID, syscall.SIGHUP); err != nil {
		return hinted{fmt.Errorf("tell the running server: %w", err), "the change is kept; the server reads it when it gets SIGHUP or starts again"}
	}
	return nil
}

// runningServer is the server that holds the lock of the data directory; zero
// if none does.
func runningServer(data string) running {
	f, err := os.Open(filepath.Join(data, "lock"))
	if err != nil {
		return running{}
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return running{} // what the file says is left of a dead one
	}
	var r running
	b, err := os.ReadFile(filepath.Join(data, runningFile))
	if err != nil || json.Unmarshal(b, &r) != nil {
		return running{}
	}
	return r
}

// watchHosts reads the file again at each SIGHUP, until ctx ends.
func watchHosts(ctx context.Context, c *config, h *forge.Hosts, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		own, err := readHosts(c.data)
		if err == nil {
			err = h.Set(append(slices.Clone(c.hosts), own...))
		}
		if err != nil {
			log.ErrorContext(ctx, "listed hosts stay as they were", "error", err)
			continue
		}
		log.InfoContext(ctx, "listed hosts read again", "hosts", len(h.All()))
	}
}
