package console

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
)

// dark are the colours of the dark theme.
const dark = `--page:#0f141a;--box:#161d26;--text:#ebebf0;--quiet:#c6c6cd;--line:#8c8c94;--main:#42b4ff;--on:#0f141a;--bad:#ff7a7a`

// style is that of the pages that are not the program's.
const style = `:root{color-scheme:light dark;--page:#f2f3f3;--box:#fff;--text:#0f141a;--quiet:#424650;--line:#8c8c94;--main:#006ce0;--on:#fff;--bad:#ba0000}` +
	`@media(prefers-color-scheme:dark){:root:not(.light){` + dark + `}}:root.dark{color-scheme:dark;` + dark + `}:root.light{color-scheme:light}` +
	`*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);font:14px/1.45 "Open Sans","Helvetica Neue",Roboto,Arial,sans-serif}` +
	`main{max-width:26rem;margin:8vh auto;padding:2rem;background:var(--box);border-radius:16px}h1{margin:0 0 .25rem;font-size:1.5rem}p{margin:.5rem 0;color:var(--quiet);overflow-wrap:anywhere}` +
	`label{display:block;margin:1rem 0 .25rem;font-weight:600}input{width:100%;padding:.5rem .75rem;font:inherit;color:inherit;background:transparent;border:2px solid var(--line);border-radius:8px}` +
	`button,.button{display:inline-block;margin-top:1.5rem;padding:.5rem 1.25rem;font:inherit;font-weight:700;color:var(--on);background:var(--main);border:0;border-radius:20px;cursor:pointer;text-decoration:none}` +
	`:focus-visible{outline:2px solid var(--main);outline-offset:2px}.name{margin:0 0 .75rem;font-weight:700;color:var(--text)}.bad{color:var(--bad);font-weight:600}code{font-family:Menlo,Consolas,monospace}@media(max-width:30rem){main{margin:0;min-height:100vh;border-radius:0}}`

var pages = template.Must(template.New("").Parse(`{{define "top"}}<!doctype html>
<html lang="en"{{with .Theme}} class="{{.}}"{{end}}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{{with .Refresh}}<meta http-equiv="refresh" content="0; url={{.}}">
{{end}}<title>{{.Title}} - Corbel</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<p class="name">Corbel</p>
<h1>{{.Title}}</h1>
{{end}}{{define "login"}}{{template "top" .}}<p>With an access key of this server. <code>corbel env</code> prints one, <code>corbel keys create</code> makes one.</p>
{{with .Problem}}<p class="bad" role="alert">{{.}}</p>
{{end}}<form method="post">
<label for="key">Access key ID</label>
<input id="key" name="accessKeyId" value="{{.KeyID}}" autocomplete="username" autocapitalize="none" spellcheck="false" required{{if not .Problem}} autofocus{{end}}>
<label for="secret">Secret access key</label>
<input id="secret" name="secretAccessKey" type="password" autocomplete="current-password" required{{if .Problem}} autofocus{{end}}>
<label for="region">Region</label>
<input id="region" name="region" value="{{.Region}}" autocomplete="off" autocapitalize="none" spellcheck="false" required>
<input type="hidden" name="next" value="{{.Next}}">
<button>Sign in</button>
</form>
</main>
</body>
</html>
{{end}}{{define "notice"}}{{template "top" .}}{{with .Problem}}<p class="bad" role="alert">{{.}}</p>
{{end}}{{with .Text}}<p>{{.}}</p>
{{end}}<a class="button" href="{{.Next}}">Continue</a>
</main>
</body>
</html>
{{end}}`))

type page struct {
	Title, Problem, Text, Next, Refresh, KeyID, Region, Theme string

	Style template.CSS
}

func (p page) write(w http.ResponseWriter, name string, status int) {
	p.Style = style
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, p); err != nil {
		panic(fmt.Sprintf("write page %s: %v", name, err)) // our own template
	}
	h := w.Header()
	protect(h, "default-src 'none'; style-src "+digest(style)+"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	if name == "notice" { // whose address may have the code of a connection
		h.Set("Referrer-Policy", "no-referrer")
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser went away
}

// A Login is the form to sign in with an access key. It is posted to its own
// address as accessKeyId, secretAccessKey, region and next.
type Login struct {
	KeyID, Region string
	Next          string // where to go afterwards, as Next has it
	Problem       string // with what was tried; "" at first
	Theme         string // light, dark, or "" for the system's
}

// Write answers with the form.
func (l Login) Write(w http.ResponseWriter, status int) {
	page{Title: "Sign in", KeyID: l.KeyID, Region: l.Region, Next: l.Next, Problem: l.Problem, Theme: l.Theme}.write(w, "login", status)
}

// A Notice tells something and leads on.
type Notice struct {
	Title, Text string
	Problem     string // something went wrong
	Next        string // where it leads
	At          bool   // go there without being asked
	Theme       string // light, dark, or "" for the system's
}

// Write answers with the notice.
func (n Notice) Write(w http.ResponseWriter, status int) {
	p := page{Title: n.Title, Text: n.Text, Problem: n.Problem, Next: n.Next, Theme: n.Theme}
	if n.At {
		p.Refresh = n.Next
	}
	p.write(w, "notice", status)
}
