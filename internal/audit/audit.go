// Package audit writes down who did what, and proves that nobody changed it
// afterwards.
//
// The lines of an installation are one chain. The hash of a line is
//
//	SHA-256(hash of the line before || length of the document || document)
//
// with 32 zero bytes before the first line, the length as eight bytes big
// endian, and the document as it is stored: the JSON of a Record. A line that
// was edited, removed from the middle, put in or moved breaks the chain from
// there on. Lines removed from the end do not show in the chain alone; so
// Verify returns its head, to be kept elsewhere and compared.
//
// No record contains a token or another secret. Texts from outside are cut and
// lose their control characters.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/corbel-build/corbel/internal/store"
)

// A Record says who did what to which resource, from where, with which
// outcome.
type Record struct {
	Seq       int64     `json:"seq"`
	Time      time.Time `json:"time"`
	Account   string    `json:"account,omitzero"`
	Region    string    `json:"region,omitzero"`
	Principal string    `json:"principal"`          // ARN, or "corbel" for what the server does by itself
	KeyID     string    `json:"accessKey,omitzero"` // that signed
	Source    string    `json:"source"`             // such as codebuild.amazonaws.com
	Event     string    `json:"event"`              // the operation's name
	Resource  string    `json:"resource,omitzero"`  // ARN
	Detail    string    `json:"detail,omitzero"`
	Outcome   string    `json:"outcome,omitzero"` // the error's code; "" is success
	Message   string    `json:"message,omitzero"` // the error's text
	From      string    `json:"from,omitzero"`    // IP address
	Agent     string    `json:"agent,omitzero"`   // user agent
	RequestID string    `json:"request,omitzero"`
}

const maxText = 512 // characters of a text from outside

// clean makes a text fit for one line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText-1]) + "…"
	}
	return s
}

// Append writes a record at the end of the chain, in the transaction of what
// it tells of.
func Append(ctx context.Context, tx store.Tx, r Record) error {
	last, err := tx.LastAudit(ctx)
	if errors.Is(err, store.ErrNotFound) {
		last = store.AuditLine{Hash: make([]byte, sha256.Size)}
	} else if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	r.Seq, r.Time = last.Seq+1, r.Time.UTC().Truncate(time.Millisecond)
	for _, text := range []*string{&r.Resource, &r.Detail, &r.Message, &r.From, &r.Agent} {
		*text = clean(*text)
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	if err := tx.PutAudit(ctx, store.AuditLine{Seq: r.Seq, At: r.Time, Account: r.Account, Doc: doc, Hash: chain(last.Hash, doc)}); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// chain is the hash of a line.
func chain(before, doc []byte) []byte {
	h := sha256.New()
	h.Write(before)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(doc)))
	h.Write(n[:])
	h.Write(doc)
	return h.Sum(nil)
}

// A Broken chain is one whose line Seq is not as it was written.
type Broken struct {
	Seq int64
	Why string
}

func (b *Broken) Error() string { return fmt.Sprintf("audit line %d: %s", b.Seq, b.Why) }

// Head is the end of a chain.
type Head struct {
	Seq  int64
	Hash string // hexadecimal
}

func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// Walk goes through all lines in order, checks the chain, and gives each
// record to visit, which may be nil. It ends with the head, or a *Broken.
func Walk(ctx context.Context, r store.AuditReader, visit func(Record, Head) error) (Head, error) {
	before, head := make([]byte, sha256.Size), Head{}
	for {
		page, err := r.AuditLines(ctx, head.Seq, 1000)
		if err != nil {
			return head, fmt.Errorf("read the audit log: %w", err)
		}
		for _, l := range page {
			var rec Record
			switch {
			case l.Seq != head.Seq+1:
				return head, &Broken{head.Seq + 1, "it is missing"}
			case !bytes.Equal(l.Hash, chain(before, l.Doc)):
				return head, &Broken{l.Seq, "it was changed, or the one before it was"}
			case json.Unmarshal(l.Doc, &rec) != nil || rec.Seq != l.Seq || rec.Account != l.Account || !rec.Time.Equal(l.At):
				return head, &Broken{l.Seq, "its columns and its document differ"}
			}
			before, head = l.Hash, Head{l.Seq, hex.EncodeToString(l.Hash)}
			if visit != nil {
				if err := visit(rec, head); err != nil {
					return head, err
				}
			}
		}
		if len(page) == 0 {
			return head, nil
		}
	}
}

// CloudTrail returns the record in the shape of CloudTrail's records.
// Source: user guide of CloudTrail, "CloudTrail record contents".
func CloudTrail(r Record, h Head) map[string]any {
	hash, _ := hex.DecodeString(h.Hash) // we wrote it
	id, _ := uuid.FromBytes(hash[:16])
	identity := map[string]any{"type": "IAMUser", "arn": r.Principal, "accountId": r.Account, "accessKeyId": r.KeyID, "principalId": r.KeyID}
	if _, user, ok := strings.Cut(r.Principal, ":user/"); ok {
		identity["userName"] = user
	}
	kind := "AwsApiCall"
	if r.KeyID == "" {
		identity, kind = map[string]any{"type": "AWSService", "invokedBy": r.Principal}, "AwsServiceEvent"
	}
	out := map[string]any{
		"eventVersion": "1.11", "userIdentity": identity, "eventTime": r.Time.Format(time.RFC3339), "eventSource": r.Source, "eventName": r.Event,
		"awsRegion": r.Region, "sourceIPAddress": r.From, "userAgent": r.Agent, "requestParameters": nil, "responseElements": nil,
		"requestID": r.RequestID, "eventID": id.String(), "readOnly": strings.HasPrefix(r.Event, "Get") || strings.HasPrefix(r.Event, "Describe") || strings.HasPrefix(r.Event, "Use"),
		"eventType": kind, "managementEvent": true, "recipientAccountId": r.Account, "eventCategory": "Management",
		"additionalEventData": map[string]any{"sequence": r.Seq, "detail": r.Detail},
	}
	if r.Resource != "" {
		out["resources"] = []map[string]any{{"ARN": r.Resource, "accountId": r.Account}}
	}
	if r.Outcome != "" {
		out["errorCode"], out["errorMessage"] = r.Outcome, r.Message
	}
	return out
}
