package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs r, whose body is body, for the region and service. It sets
// X-Amz-Date and Authorization and signs the host, Content-Type and every
// X-Amz-* header that is there: set them first, and change none afterwards.
// Signing again, for a second attempt, replaces the signature.
func Sign(r *http.Request, body []byte, accessKeyID, secret, region, service string, now time.Time) {
	date := now.UTC().Format(isoBasic)
	r.Header.Set("X-Amz-Date", date)
	names := []string{"host"}
	for name := range r.Header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	scope := date[:8] + "/" + region + "/" + service + "/" + terminator
	key := deriveKey(secret, date[:8], region, service)
	hash := sha256.Sum256(body)
	// A request that cannot be signed cannot be sent either: it has no host,
	// or a query that no server can read. It gets a signature that is refused.
	sig, _ := signature(r, &key, date, scope, names, hex.EncodeToString(hash[:]))
	r.Header.Set("Authorization", algorithm+" Credential="+accessKeyID+"/"+scope+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+string(sig[:]))
}
