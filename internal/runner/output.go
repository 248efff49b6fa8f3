package runner

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/redact"
)

// flushTime is how often what is held back is looked at. A line may wait ten
// times as long for its end before readers see what there is of it.
const flushTime = 100 * time.Millisecond

// An output is the log of one build. What the build's commands print and what
// the agent says go through the redactor, line by line, into the log; there
// is no other way into it.
type output struct {
	now func() time.Time

	mu      sync.Mutex
	hidden  []string
	redact  *redact.Writer
	lines   *buildlog.Lines
	log     *buildlog.Writer
	problem error // the first error of writing

	quit chan struct{} // closed by close; ends the flusher
	done chan struct{} // closed by the flusher
}

// openLog creates the build's log and notes its names in the document.
func (b *build) openLog() (*output, error) {
	w, err := b.r.Logs.Create(b.id)
	if err != nil {
		return nil, err
	}
	group, stream := "/aws/codebuild/"+*b.Doc.ProjectName, b.id
	if c := b.Doc.Logs.CloudWatchLogs; c != nil {
		if g := value(c.GroupName); g != "" {
			group = g
		}
		if s := value(c.StreamName); s != "" { // a prefix. Source: API reference, CloudWatchLogsConfig
			stream = s + "/" + b.id
		}
	}
	l := b.Doc.Logs
	l.GroupName, l.StreamName = &group, &stream
	// The fragment has AWS's form; build is ours, since a name of a log need not
	// tell whose it is.
	l.DeepLink = new(b.r.URL + "/cloudwatch/home?region=" + b.Region + "&build=" + *b.Doc.Id + "#logEvent:group=" + fragment(group) + ";stream=" + fragment(stream))
	l.CloudWatchLogsArn = new("arn:aws:logs:" + b.Region + ":" + b.Account + ":log-group:" + group + ":log-stream:" + stream)

	o := &output{now: b.r.Now, log: w, quit: make(chan struct{}), done: make(chan struct{})}
	o.lines = buildlog.NewLines(w, b.r.Now)
	o.redact = redact.New(o.lines)
	go o.flusher()
	return o, nil
}

// fragment writes a name into the fragment of an address.
func fragment(name string) string { return strings.ReplaceAll(url.PathEscape(name), "%2F", "/") }

// flusher lets readers see unfinished lines. close ends it.
func (o *output) flusher() {
	defer close(o.done)
	t := time.NewTicker(flushTime)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-o.quit:
			return
		case <-t.C:
			o.mu.Lock()
			o.note(o.redact.Flush())
			if n%10 == 0 {
				o.note(o.lines.Flush())
			}
			o.mu.Unlock()
		}
	}
}

// note keeps the first error.
func (o *output) note(err error) {
	if o.problem == nil {
		o.problem = err
	}
}

// Write takes output of the build's commands. It never fails: a log that
// cannot be written must not look like a command that cannot write.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.redact.Write(p)
	o.note(err)
	return len(p), nil
}

// agent writes a line of the agent.
// Source of the form: build logs of the service since 2024.
func (o *output) agent(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := fmt.Fprintf(o.redact, "[Container] %s %s\n", o.now().UTC().Format("2006/01/02 15:04:05.000000"), fmt.Sprintf(format, args...))
	o.note(err)
}

// blank ends a command's output with an empty line.
func (o *output) blank() { _, _ = o.Write([]byte("\n")) }

// hide keeps secret out of the log from here on.
func (o *output) hide(secret api.Secret) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hidden = append(o.hidden, secret.Reveal())
	o.redact.Add(secret.Reveal())
}

// mask takes secrets out of a text that goes elsewhere than the log.
func (o *output) mask(s string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return redact.String(s, o.hidden...)
}

// close writes what is held back and makes the log durable. It returns the
// first error of writing that there was.
func (o *output) close() error {
	close(o.quit)
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(o.redact.Close())
	o.note(o.lines.Flush())
	o.note(o.log.Close())
	return o.problem
}
