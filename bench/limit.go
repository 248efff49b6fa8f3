package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"
)

// limit is the bare limit that Corbel is compared with: what net/http, a check
// of the signature, typed JSON, AES-GCM and one SQLite table with group commit
// cost, and nothing else. It answers just enough for the load.
type limit struct {
	w, r   *sql.DB
	writes chan limitWrite
	aead   cipher.AEAD
	number atomic.Int64
}

type limitWrite struct {
	text string
	args []any
	done chan error
}

func newLimit(db string) (*limit, error) {
	open := func(conns int) (*sql.DB, error) {
		d, err := sql.Open("sqlite", "file:"+db+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err == nil {
			d.SetMaxOpenConns(conns)
			d.SetMaxIdleConns(conns)
		}
		return d, err
	}
	l := &limit{writes: make(chan limitWrite, 1024)}
	var err error
	if l.w, err = open(1); err != nil {
		return nil, err
	}
	if l.r, err = open(4); err != nil {
		return nil, err
	}
	for _, text := range []string{
		`create table project (id text primary key, doc blob not null) without rowid`,
		`create table build (id text primary key, started integer not null, doc blob not null) without rowid`,
		`create index build_started on build (started desc, id)`,
		`create table credential (id text primary key, doc blob not null) without rowid`,
	} {
		if _, err := l.w.Exec(text); err != nil {
			return nil, err
		}
	}
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if l.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	go l.writer()
	return l, nil
}

// writer takes all waiting writes into one commit. It ends with the process.
func (l *limit) writer() {
	for first := range l.writes {
		group := append(make([]limitWrite, 0, 64), first)
	more:
		for len(group) < 256 {
			select {
			case w := <-l.writes:
				group = append(group, w)
			default:
				break more
			}
		}
		tx, err := l.w.Begin()
		for _, w := range group {
			if err == nil {
				_, err = tx.Exec(w.text, w.args...)
			}
		}
		if err == nil {
			err = tx.Commit()
		}
		for _, w := range group {
			w.done <- err
		}
	}
}

func (l *limit) write(text string, args ...any) error {
	w := limitWrite{text, args, make(chan error, 1)}
	l.writes <- w
	return <-w.done
}

// The documents are typed, as they are in any real server.
type limitDoc struct {
	ID          string            `json:"id,omitempty"`
	Name        string            `json:"name,omitempty"`
	ProjectName string            `json:"projectName,omitempty"`
	Names       []string          `json:"names,omitempty"`
	IDs         []string          `json:"ids,omitempty"`
	ServerType  string            `json:"serverType,omitempty"`
	AuthType    string            `json:"authType,omitempty"`
	Token       string            `json:"token,omitempty"`
	Description string            `json:"description,omitempty"`
	ServiceRole string            `json:"serviceRole,omitempty"`
	Number      int64             `json:"buildNumber,omitempty"`
	Status      string            `json:"buildStatus,omitempty"`
	StartTime   float64           `json:"startTime,omitempty"`
	Source      *limitSource      `json:"source,omitempty"`
	Environment *limitEnvironment `json:"environment,omitempty"`
	Artifacts   map[string]string `json:"artifacts,omitempty"`
	Phases      []limitPhase      `json:"phases,omitempty"`
}

type limitSource struct {
	Type      string `json:"type"`
	Location  string `json:"location,omitempty"`
	Buildspec string `json:"buildspec,omitempty"`
}

type limitEnvironment struct {
	Type                 string              `json:"type"`
	Image                string              `json:"image"`
	ComputeType          string              `json:"computeType"`
	EnvironmentVariables []map[string]string `json:"environmentVariables"`
}

type limitPhase struct {
	PhaseType string  `json:"phaseType"`
	StartTime float64 `json:"startTime"`
}

func (l *limit) call(op string, body []byte) (any, error) {
	var in limitDoc
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	now := float64(time.Now().UnixMilli()) / 1000
	switch op {
	case "CreateProject":
		doc, err := json.Marshal(in)
		if err == nil {
			err = l.write(`insert into project (id, doc) values ($1, $2)`, in.Name, doc)
		}
		return map[string]json.RawMessage{"project": doc}, err
	case "BatchGetProjects":
		return l.documents("projects", `select doc from project where id = $1`, in.Names)
	case "StartBuild":
		var doc []byte
		if err := l.r.QueryRow(`select doc from project where id = $1`, in.ProjectName).Scan(&doc); err != nil {
			return nil, err
		}
		var b limitDoc
		if err := json.Unmarshal(doc, &b); err != nil {
			return nil, err
		}
		b.ID, b.ProjectName, b.Name = in.ProjectName+":"+uuid.NewString(), in.ProjectName, ""
		b.Number, b.Status, b.StartTime = l.number.Add(1), "IN_PROGRESS", now
		b.Phases = []limitPhase{{"SUBMITTED", now}, {"QUEUED", now}}
		doc, err := json.Marshal(b)
		if err == nil {
			err = l.write(`insert into build (id, started, doc) values ($1, $2, $3)`, b.ID, int64(now*1000), doc)
		}
		return map[string]json.RawMessage{"build": doc}, err
	case "BatchGetBuilds":
		return l.documents("builds", `select doc from build where id = $1`, in.IDs)
	case "ListBuilds":
		rows, err := l.r.Query(`select id from build order by started desc, id limit 100`)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		ids := []string{}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		return map[string]any{"ids": ids}, rows.Err()
	case "ImportSourceCredentials":
		arn := "arn:aws:codebuild:us-east-1:123456789012:token/" + strings.ToLower(in.ServerType)
		sealed := l.aead.Seal(nil, nil, []byte(in.Token), []byte(arn))
		return map[string]string{"arn": arn}, l.write(`insert into credential (id, doc) values ($1, $2) on conflict (id) do update set doc = excluded.doc`, arn, sealed)
	case "ListSourceCredentials":
		rows, err := l.r.Query(`select id from credential order by id`)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		infos := []map[string]string{}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, err
			}
			infos = append(infos, map[string]string{"arn": id})
		}
		return map[string]any{"sourceCredentialsInfos": infos}, rows.Err()
	}
	return map[string]any{}, nil
}

func (l *limit) documents(member, text string, ids []string) (any, error) {
	out := make([]json.RawMessage, 0, len(ids))
	for _, id := range ids {
		var doc []byte
		if err := l.r.QueryRow(text, id).Scan(&doc); err != nil {
			return nil, err
		}
		out = append(out, doc)
	}
	return map[string]any{member: out}, nil
}

// ServeHTTP answers one call; verify is the same check that Corbel makes.
func (l *limit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = verify(r, body)
	}
	var out any
	if err == nil {
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		out, err = l.call(op, body)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"__type":"InternalFailure","message":%q}`, err), 400)
		return
	}
	answer, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(answer) // the client went away
}
