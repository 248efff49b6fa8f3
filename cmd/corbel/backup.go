package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/corbel-build/corbel/internal/backup"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

const backupUsage = `Usage:
    corbel backup  -out FILE [-data DIR]
    corbel restore -in FILE  [-data DIR] [-root-key FILE]

backup writes the database, the logs of builds and the listed hosts into one
file, as they are now, while the server runs. The root keys are not in it: no
secret can be read with the file alone. Keep a copy of the ring (root.key)
somewhere else; without it the restored secrets do not open.

restore reads such a file into a directory that does not exist or is empty, and
says which root keys it needs. With -root-key it proves that every secret opens
with that ring. Start the server with the same flag, or put the ring there as
root.key. Builds that ran when the backup was made end as FAULT.

Exit status: 0 done, 1 failed, 2 wrong usage.
`

// backUp is "corbel backup".
func backUp(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	flags := flag.NewFlagSet("backup", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() { fmt.Fprint(errOut, backupUsage) }
	var data, file string
	dataFlag(flags, &data)
	flags.StringVar(&file, "out", "", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	if file == "" || flags.NArg() > 0 {
		return usageError{"backup needs -out FILE and nothing else"}
	}
	c := config{data: data}
	if _, err := os.Stat(c.database()); err != nil {
		return hinted{fmt.Errorf("%s is not a data directory of Corbel", data), "name the server's with -data"}
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".backup-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer os.Remove(tmp.Name()) // if it was not renamed
	m, err := backup.Write(ctx, data, tmp, func(ctx context.Context, to string) ([]uint32, error) {
		if err := sqlite.Copy(ctx, c.database(), to); err != nil {
			return nil, err
		}
		s, err := sqlite.Open(ctx, to)
		if err != nil {
			return nil, err
		}
		ids, err := neededKeys(ctx, s)
		return ids, errors.Join(err, s.Close())
	})
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	fmt.Fprintf(out, "%d files in %s. The root keys are not among them; it needs %s.\n", len(m.Files), file, keyList(m.RootKeys))
	return nil
}

// restore is "corbel restore".
func restore(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	flags := flag.NewFlagSet("restore", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() { fmt.Fprint(errOut, backupUsage) }
	var data, file, rootKey string
	dataFlag(flags, &data)
	flags.StringVar(&file, "in", "", "")
	flags.StringVar(&rootKey, "root-key", "", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	if file == "" || flags.NArg() > 0 {
		return usageError{"restore needs -in FILE and nothing else"}
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	defer f.Close()
	if list, err := os.ReadDir(data); err == nil && len(list) > 0 {
		return hinted{fmt.Errorf("%s is not empty", data), "restore into a new directory"}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", data, err)
	}
	if err := os.MkdirAll(data, 0o711); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	m, err := backup.Read(f, data)
	if err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	fmt.Fprintf(out, "%d files of %s are in %s. They need %s.\n", len(m.Files), m.Made.Local().Format("2006-01-02 15:04"), data, keyList(m.RootKeys))
	if rootKey == "" {
		fmt.Fprintf(out, "Put the ring of root keys there as root.key, then run: corbel vault verify -data %s\n", data)
		return nil
	}
	st, v, err := openSealed(ctx, config{data: data, rootKey: rootKey})
	if err != nil {
		return err
	}
	return errors.Join(verifyVault(ctx, st, v, out, errOut), st.Close())
}

// keyList names root keys.
func keyList(ids []uint32) string {
	var texts []string
	for _, id := range ids {
		texts = append(texts, fmt.Sprint(id))
	}
	if len(texts) == 1 {
		return "root key " + texts[0]
	}
	return "root keys " + strings.Join(texts, ", ")
}
