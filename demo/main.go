// Command demo shows the main job on one screen: a token goes in, a private
// repository gets built.
//
// It starts a git host with a private repository and Corbel on an empty
// directory, and then types what a user would type. It needs no account and
// no network. At a terminal it leaves both servers running; elsewhere it ends
// with status 0, or 1 if any step was not as it should be.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// token is what the git host wants. It looks like a token of GitHub's.
const token = "ghp_DemoTokenThatMustShowNowhere0123456789"

func main() {
	corbel := flag.String("corbel", "bin/corbel", "`path` of the program")
	aws := flag.String("aws", os.Getenv("DEMO_AWS"), "`program` to use in place of \"corbel\" for CodeBuild's commands, such as aws")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{ctx: ctx, aws: *aws}
	err := d.run(*corbel)
	d.close()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

// A demo is one performance.
type demo struct {
	ctx    context.Context
	aws    string
	dir    string
	corbel string
	server *exec.Cmd
	mu     sync.Mutex
	log    bytes.Buffer // of the server
	host   *forgetest.Server
	commit string
	env    []string
}

func (d *demo) close() {
	if d.server != nil && d.server.ProcessState == nil {
		_ = d.server.Process.Signal(syscall.SIGTERM)
		_ = d.server.Wait()
	}
	if d.host != nil {
		_ = d.host.Close()
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir)
	}
}

// say prints a heading, bold at a terminal.
func say(text string) {
	if isTerminal() {
		text = "\033[1m" + text + "\033[0m"
	}
	fmt.Printf("\n# %s\n", text)
}

func isTerminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (d *demo) run(program string) (err error) {
	if d.corbel, err = filepath.Abs(program); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "corbel-demo-"); err != nil {
		return err
	}
	// Builds run under another user id, which must be able to pass through.
	if err := os.Chmod(d.dir, 0o711); err != nil {
		return err
	}
	work := filepath.Join(d.dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	if err := os.Chdir(work); err != nil {
		return err
	}

	say("A git host with a private repository stands in for github.com.")
	if err := d.startHost(); err != nil {
		return fmt.Errorf("start the git host: %w", err)
	}
	fmt.Printf("git host on %s with the repository octo-demo/shop\n", d.host.URL)
	clone := exec.Command("git", "-c", "credential.helper=", "ls-remote", d.host.URL+"/octo-demo/shop.git")
	clone.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false")
	if out, err := clone.CombinedOutput(); err == nil {
		return fmt.Errorf("the private repository can be read without a token: %s", out)
	}
	fmt.Println("It refuses a clone without the right token.")

	say("Corbel starts on an empty data directory.")
	data := filepath.Join(d.dir, "data")
	if err := d.startServer(data); err != nil {
		return err
	}

	say("Step 1. Generate the skeleton, fill it in, import the token.")
	if _, err := d.codebuild("import-source-credentials", "--generate-cli-skeleton"); err != nil {
		return err
	}
	filled := `{ "serverType": "GITHUB", "authType": "PERSONAL_ACCESS_TOKEN", "shouldOverwrite": true, "token": "` + token + `" }`
	if err := os.WriteFile("import-source-credentials.json", []byte(filled), 0o600); err != nil {
		return err
	}
	fmt.Println("\nFilled in and saved as import-source-credentials.json.")
	out, err := d.codebuild("import-source-credentials", "--cli-input-json", "file://import-source-credentials.json")
	if err != nil {
		return err
	}
	if err := os.Remove("import-source-credentials.json"); err != nil {
		return err
	}
	var credential struct{ Arn string }
	if err := json.Unmarshal(out, &credential); err != nil || !strings.HasSuffix(credential.Arn, ":token/github") {
		return fmt.Errorf("the import answered %s", out)
	}

	say("Step 2. See the connected token. Its text is never shown.")
	if out, err = d.codebuild("list-source-credentials"); err != nil {
		return err
	}
	if !bytes.Contains(out, []byte(credential.Arn)) {
		return errors.New("the imported credential is not listed")
	}
	fmt.Println("\nAWS shows no more. Corbel also knows what the token is good for:")
	if _, err := d.command("corbel", "credentials", "check", "--repository", "https://github.com/octo-demo/shop.git"); err != nil {
		return fmt.Errorf("the token is not good for its repository: %w", err)
	}

	say("Step 3. Create a project on the private repository.")
	account := strings.Split(credential.Arn, ":")[4]
	if _, err := d.codebuild("create-project", "--name", "shop",
		"--source", "type=GITHUB,location=https://github.com/octo-demo/shop.git,reportBuildStatus=true",
		"--artifacts", "type=NO_ARTIFACTS",
		"--environment", "type=LINUX_CONTAINER,image=host,computeType=BUILD_GENERAL1_SMALL",
		"--service-role", "arn:aws:iam::"+account+":role/unused"); err != nil {
		return err
	}

	say("Step 4. Start a build and follow its log.")
	if out, err = d.codebuild("start-build", "--project-name", "shop", "--source-version", "main"); err != nil {
		return err
	}
	var started struct{ Build struct{ ID string } }
	if err := json.Unmarshal(out, &started); err != nil || started.Build.ID == "" {
		return fmt.Errorf("start-build answered %s", out)
	}
	out, err = d.command("corbel", "logs", "shop", "--follow", "--build", started.Build.ID)
	if err != nil {
		return fmt.Errorf("the build did not succeed: %w", err)
	}
	for _, want := range []string{"Hello from the private repository", "Phase complete: BUILD State: SUCCEEDED"} {
		if !bytes.Contains(out, []byte(want)) {
			return fmt.Errorf("the log lacks %q", want)
		}
	}

	say("Step 5. The status arrives on the commit.")
	if err := d.awaitStatus(d.commit); err != nil {
		return err
	}

	if err := d.webhook(); err != nil {
		return err
	}

	say("Step 10. The token shows nowhere.")
	if err := d.searchToken(data); err != nil {
		return err
	}

	say("Step 11. Disconnect.")
	if _, err := d.codebuild("delete-source-credentials", "--arn", credential.Arn); err != nil {
		return err
	}
	if out, err = d.codebuild("list-source-credentials"); err != nil {
		return err
	}
	if bytes.Contains(out, []byte(credential.Arn)) {
		return errors.New("the deleted credential is still listed")
	}
	say("Done: every step was as it should be.")
	if isTerminal() {
		d.stay(data)
	}
	return nil
}

// startHost makes the git host with its repository and its one good token.
func (d *demo) startHost() (err error) {
	if d.host, err = forgetest.New(forgetest.Options{}); err != nil {
		return err
	}
	d.host.AddToken(forgetest.Token{Value: token, Login: "octo-demo", Scopes: []string{"repo"}})
	d.host.AddPerson(forgetest.Person{Login: "stranger"})
	ids, err := d.host.AddRepository(forgetest.Repository{Name: "octo-demo/shop", Commits: []forgetest.Commit{{Message: "Open the shop", Files: map[string]string{
		"README.md": "# Shop\n",
		"greet.sh":  "echo \"Hello from the private repository, built as $(id -un) on $(uname -s)\"\n",
		"buildspec.yml": `version: 0.2
phases:
  install:
    commands:
      - echo "Nothing to install"
  build:
    commands:
      - sh greet.sh
      - git log --format='Building commit %h, %s' -1
      - git remote -v
  post_build:
    commands:
      - echo "Done with build $CODEBUILD_BUILD_NUMBER"
`,
	}}}})
	if err != nil {
		return err
	}
	d.commit = ids[0]
	if _, err := d.host.AddRepository(forgetest.Repository{Name: "stranger/shop", Fork: "octo-demo/shop"}); err != nil {
		return err
	}
	return d.host.SetRole("octo-demo/shop", "octo-demo", "admin")
}

// webhook makes a webhook with the stored token, and lets things happen at the
// git host.
func (d *demo) webhook() error {
	say("Step 6. Make a webhook with the same token: pushes to main, tags and pull requests.")
	if _, err := d.codebuild("create-webhook", "--project-name", "shop", "--filter-groups",
		`[[{"type":"EVENT","pattern":"PUSH"},{"type":"HEAD_REF","pattern":"^refs/(heads/main$|tags/)"}],[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"}]]`); err != nil {
		return err
	}
	if _, err := d.command("corbel", "webhook", "who", "shop"); err != nil {
		return err
	}

	say("Step 7. Somebody pushes: the commit turns green by itself.")
	fmt.Println("octo-demo pushes a commit to main.")
	ids, err := d.host.Push("octo-demo/shop", "octo-demo", forgetest.Commit{Message: "Open on Sundays", Files: map[string]string{"README.md": "# Shop, open on Sundays\n"}})
	if err != nil {
		return err
	}
	if err := d.awaitStatus(ids[0]); err != nil {
		return err
	}

	say("Step 8. A stranger opens a pull request from a fork: it waits for approval.")
	fmt.Println("stranger opens a pull request.")
	p, err := d.host.OpenPull("octo-demo/shop", forgetest.Pull{Author: "stranger", Fork: "stranger/shop", Head: "idea", Title: "An idea", Commits: []forgetest.Commit{{Message: "An idea", Files: map[string]string{"IDEA": "?\n"}}}})
	if err != nil {
		return err
	}
	if err := d.await("the pull request waits for approval", func() bool {
		list := d.host.Statuses("octo-demo/shop", p.SHA)
		return len(list) == 1 && list[0].State == forge.Failure
	}); err != nil {
		return err
	}
	fmt.Printf("commit %s: %-8s %s\n", p.SHA[:7], forge.Failure, d.host.Statuses("octo-demo/shop", p.SHA)[0].Description)
	if _, err := d.command("corbel", "webhook", "approvals", "shop"); err != nil {
		return err
	}
	fmt.Printf("octo-demo has looked at the commit and comments /codebuild_run(%s).\n", p.SHA)
	if _, err := d.host.Comment("octo-demo/shop", p.Number, "octo-demo", "/codebuild_run("+p.SHA+")"); err != nil {
		return err
	}
	if err := d.awaitStatus(p.SHA); err != nil {
		return err
	}

	say("Step 9. A tag is a release candidate.")
	fmt.Println("octo-demo tags the commit as v1.0.")
	if err := d.host.Move("octo-demo/shop", "octo-demo", "refs/tags/v1.0", ids[0]); err != nil {
		return err
	}
	if err := d.await("the tag's build has ended", func() bool {
		n := 0
		for _, s := range d.host.Statuses("octo-demo/shop", ids[0]) {
			if s.State == forge.Success {
				n++
			}
		}
		return n == 2
	}); err != nil {
		return err
	}
	if _, err := d.command("corbel", "webhook", "deliveries", "shop", "--limit", "4"); err != nil {
		return err
	}
	_, err = d.codebuild("delete-webhook", "--project-name", "shop")
	return err
}

// await waits until something is so.
func (d *demo) await(what string, is func() bool) error {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			return fmt.Errorf("it never came to pass that %s", what)
		case <-d.ctx.Done():
			return d.ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

var listening = regexp.MustCompile(`msg=listening url=(\S+)`)

// startServer runs "corbel serve" and takes the environment that "corbel env"
// prints.
func (d *demo) startServer(data string) error {
	args := []string{"serve", "-data", data, "-listen", "127.0.0.1:0", "-host", "github.com=" + d.host.URL}
	fmt.Printf("$ corbel %s &\n", strings.Join(args, " "))
	d.server = exec.Command(d.corbel, args...)
	d.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the demo, which stops it in turn
	pipe, err := d.server.StderrPipe()
	if err != nil {
		return err
	}
	if err := d.server.Start(); err != nil {
		return fmt.Errorf("start corbel: %w", err)
	}
	up := make(chan string, 1)
	go func() { // ends with the server
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			d.mu.Lock()
			fmt.Fprintln(&d.log, lines.Text())
			d.mu.Unlock()
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				up <- m[1]
			}
		}
		close(up)
	}()
	select {
	case url, ok := <-up:
		if !ok {
			return fmt.Errorf("corbel serve ended:\n%s", d.serverLog())
		}
		fmt.Println("listening on", url)
	case <-time.After(30 * time.Second):
		return errors.New("corbel serve does not listen after 30 seconds")
	}
	fmt.Printf("$ eval \"$(corbel env -data %s)\"\n", data)
	out, err := exec.Command(d.corbel, "env", "-data", data).Output()
	if err != nil {
		return fmt.Errorf("corbel env: %w", err)
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "AWS_CA_BUNDLE") {
			d.env = append(d.env, v)
		}
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			d.env = append(d.env, strings.ReplaceAll(v, "'", ""))
		}
	}
	d.env = append(d.env, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true")
	return nil
}

func (d *demo) serverLog() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// codebuild runs a command of CodeBuild's, with corbel or the program asked
// for.
func (d *demo) codebuild(args ...string) ([]byte, error) {
	program := d.aws
	if program == "" {
		program = "corbel"
	}
	return d.command(program, append([]string{"codebuild"}, args...)...)
}

// command prints a command as it is typed, runs it and shows what comes back.
func (d *demo) command(program string, args ...string) ([]byte, error) {
	shown := make([]string, len(args))
	for i, a := range args {
		shown[i] = a
		if strings.ContainsAny(a, " {}\"$") {
			shown[i] = "'" + a + "'"
		}
	}
	fmt.Printf("$ %s %s\n", program, strings.Join(shown, " "))
	if program == "corbel" {
		program = d.corbel
	}
	cmd := exec.CommandContext(d.ctx, program, args...)
	cmd.Env = d.env
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, os.Stdout)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", filepath.Base(program), strings.Join(args[:min(len(args), 2)], " "), err)
	}
	return out.Bytes(), err
}

// awaitStatus waits for the status that a build's end brings.
func (d *demo) awaitStatus(commit string) error {
	err := d.await("commit "+commit+" has the status success", func() bool {
		list := d.host.Statuses("octo-demo/shop", commit)
		return len(list) > 0 && list[len(list)-1].State == forge.Success
	})
	for _, s := range d.host.Statuses("octo-demo/shop", commit) {
		fmt.Printf("commit %s: %-8s %s: %s\n", commit[:7], s.State, s.Context, s.Description)
	}
	return err
}

// searchToken looks for the token wherever it could have stayed.
func (d *demo) searchToken(data string) error {
	needles := []string{token, url.QueryEscape(token)}
	for shift := range 3 { // base64, wherever it begins in a longer text
		needles = append(needles, base64.StdEncoding.EncodeToString([]byte(token)[shift:])[4:48])
	}
	var files int
	var found []string
	look := func(where string, content []byte) {
		for _, n := range needles {
			if bytes.Contains(content, []byte(n)) {
				found = append(found, where)
			}
		}
	}
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		look(path, content)
		return err
	})
	if err != nil {
		return fmt.Errorf("search the data directory: %w", err)
	}
	look("the server's log", []byte(d.serverLog()))
	for _, file := range []string{"cmdline", "environ"} {
		path := fmt.Sprintf("/proc/%d/%s", d.server.Process.Pid, file)
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("look at the server's process: %w", err)
		}
		look(path, content)
	}
	if len(found) > 0 {
		return fmt.Errorf("the token is in %s", strings.Join(found, ", "))
	}
	fmt.Printf("not in %d files of the data directory, the server's log, its arguments or its environment; neither raw nor as base64 nor URL-encoded\n", files)
	return nil
}

// stay leaves the servers to the user until an interrupt.
func (d *demo) stay(data string) {
	fmt.Printf(`
Both servers stay up; Ctrl-C ends them and removes what they kept. Go on in another terminal:

    eval "$(%[1]s env -data %[2]s)"
    %[1]s codebuild import-source-credentials --server-type GITHUB --auth-type PERSONAL_ACCESS_TOKEN --token %[3]s
    %[1]s codebuild start-build --project-name shop
    %[1]s logs shop --follow

or the same with aws in place of %[1]s, but for the last line.
`, d.corbel, data, token)
	<-d.ctx.Done()
}
