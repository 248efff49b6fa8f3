package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/corbel-build/corbel/api"
)

const envUsage = `Usage:
    corbel env [-data DIR] [-region REGION] [-key KEY_ID]
    corbel env -profile NAME [-data DIR] [-region REGION] [-key KEY_ID]

Prints lines for a shell that point the AWS CLI, the SDKs and "corbel codebuild"
at the running server: its address for each service that Corbel answers, an
access key and a region. Calls to other services go where they went before.

With -profile it writes an AWS profile of that name instead, into the files that
AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name (default ~/.aws/config and
~/.aws/credentials).

Example:
    $ eval "$(corbel env)"
    $ aws codebuild list-projects

AWS CLI versions before 1.29 and 2.13 do not know addresses for single services;
give those --endpoint-url "$AWS_ENDPOINT_URL_CODEBUILD".
`

// services are the endpoint settings of what Corbel answers: the AWS service
// identifiers in upper case, and as a profile spells them.
var services = []struct{ variable, setting string }{
	{"AWS_ENDPOINT_URL_CODEBUILD", "codebuild"},
	{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "cloudwatch_logs"},
	{"AWS_ENDPOINT_URL_SECRETS_MANAGER", "secrets_manager"},
	{"AWS_ENDPOINT_URL_SSM", "ssm"},
	{"AWS_ENDPOINT_URL_STS", "sts"},
}

// A running file says where the server of a data directory can be reached.
type running struct {
	URL   string   `json:"url"`
	PID   int      `json:"pid"`
	Hosts []string `json:"hosts,omitzero"` // entries of serve -host
}

var profileName = regexp.MustCompile(`^[\w.@-]{1,64}$`)

// env is "corbel env".
func env(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("env", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, envUsage) }
	var data, rootKey, region, keyID, profile string
	dataFlag(fs, &data)
	fs.StringVar(&rootKey, "root-key", "", "")
	fs.StringVar(&region, "region", "", "")
	fs.StringVar(&keyID, "key", "", "")
	fs.StringVar(&profile, "profile", "", "")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usageError{fmt.Sprintf("env takes no argument %q", fs.Arg(0))}
	}
	if region == "" {
		region = defaultRegion()
	}
	s, k, err := openKeys(ctx, data, rootKey)
	if err != nil {
		return err
	}
	defer s.Close()
	account, err := onlyAccount(ctx, s)
	if err != nil && keyID == "" {
		return err
	}
	if keyID == "" {
		list, err := s.AccessKeys(ctx, account)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if len(list) == 0 {
			return hinted{errors.New("there is no access key"), "make one with \"corbel keys create\""}
		}
		keyID = list[0].ID
	}
	_, _, secret, err := k.Find(ctx, keyID)
	if err != nil {
		return fmt.Errorf("access key %s: %w", keyID, err)
	}
	at, err := whereRunning(data)
	if err != nil {
		return err
	}
	if profile != "" {
		return writeProfile(profile, at.URL, region, keyID, secret, out)
	}
	for _, v := range services {
		fmt.Fprintf(out, "export %s=%s\n", v.variable, quote(at.URL))
	}
	fmt.Fprintf(out, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_DEFAULT_REGION=%s\nexport AWS_REGION=%s\nunset AWS_SESSION_TOKEN AWS_PROFILE\n",
		quote(keyID), quote(secret.Reveal()), quote(region), quote(region))
	return nil
}

// defaultRegion is the environment's, or the first of all.
func defaultRegion() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
}

// whereRunning reads where the server of the data directory is.
func whereRunning(data string) (at running, err error) {
	b, err := os.ReadFile(filepath.Join(data, runningFile))
	if errors.Is(err, os.ErrNotExist) {
		return at, hinted{fmt.Errorf("no server has run on %s yet", data), "start \"corbel serve\" first"}
	} else if err != nil {
		return at, fmt.Errorf("find the server: %w", err)
	}
	if err := json.Unmarshal(b, &at); err != nil {
		return at, fmt.Errorf("find the server: read %s: %w", runningFile, err)
	}
	return at, nil
}

// quote quotes for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// writeProfile writes or replaces the sections of a profile.
func writeProfile(name, url, region, keyID string, secret api.Secret, out io.Writer) error {
	if !profileName.MatchString(name) {
		return usageError{fmt.Sprintf("profile %q: want letters, digits or _.@-", name)}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("find the AWS configuration: %w", err)
	}
	file := func(variable, base string) string {
		if path := os.Getenv(variable); path != "" {
			return path
		}
		return filepath.Join(home, ".aws", base)
	}
	profile, endpoints := "profile "+name, ""
	if name == "default" {
		profile = name
	}
	for _, v := range services {
		endpoints += v.setting + " =\n  endpoint_url = " + url + "\n"
	}
	configFile, credentialsFile := file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")
	for _, section := range []struct{ file, name, body string }{
		{configFile, profile, "region = " + region + "\nservices = corbel-" + name + "\n"},
		{configFile, "services corbel-" + name, endpoints},
		{credentialsFile, name, "aws_access_key_id = " + keyID + "\naws_secret_access_key = " + secret.Reveal() + "\n"},
	} {
		if err := putSection(section.file, section.name, section.body); err != nil {
			return fmt.Errorf("write profile %s: %w", name, err)
		}
	}
	fmt.Fprintf(out, "profile %s is in %s and %s\n", name, configFile, credentialsFile)
	return nil
}

// putSection replaces a section of an INI file, or appends it; everything else
// in the file stays as it is.
func putSection(path, name, body string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var b bytes.Buffer
	skip := false
	for line := range strings.Lines(string(old)) {
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "[") {
			skip = t == "["+name+"]"
		}
		if !skip {
			b.WriteString(line)
		}
	}
	if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "[%s]\n%s", name, body)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return replaceFile(path, b.Bytes(), 0o600)
}

// replaceFile writes a file so that readers see the old or the new one whole.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".corbel-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
