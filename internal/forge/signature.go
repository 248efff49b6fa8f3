package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
)

// tolerance is how far the time of a signature may be from now.
const tolerance = 5 * time.Minute

var errNoSecret = errors.New("the webhook has no secret, so nothing proves where the delivery is from: rotate the webhook's secret")

// VerifyHMAC checks that the header is prefix and the HMAC-SHA256 of body under
// the secret, in lower case hex. The errors name the header, not its value.
func VerifyHMAC(h http.Header, header, prefix string, body []byte, secret api.Secret) error {
	if secret == "" {
		return errNoSecret
	}
	got, err := one(h, header)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	if !hmac.Equal([]byte(got), []byte(prefix+hex.EncodeToString(mac.Sum(nil)))) {
		return mismatch(header)
	}
	return nil
}

// VerifyToken checks that the header is the secret itself. Both are hashed
// first, so that not even the length shows in how long it takes.
func VerifyToken(h http.Header, header string, secret api.Secret) error {
	if secret == "" {
		return errNoSecret
	}
	got, err := one(h, header)
	if err != nil {
		return err
	}
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(secret.Reveal()))
	if !hmac.Equal(a[:], b[:]) {
		return mismatch(header)
	}
	return nil
}

// VerifyStandard checks a signature of Standard Webhooks: webhook-signature has
// one or more "v1,BASE64", with blanks between, and one of them is the
// HMAC-SHA256 of "ID.TIMESTAMP.BODY" under SigningKey of the secret. It returns
// the ID, which stays the same when a message is sent again.
// Source: the Standard Webhooks specification, "Verifying webhook authenticity".
func VerifyStandard(h http.Header, body []byte, secret api.Secret, now time.Time) (id string, err error) {
	if secret == "" {
		return "", errNoSecret
	}
	key := SigningKey(secret)
	if key == nil {
		return "", errors.New("the webhook's secret is no signing key: rotate the webhook's secret to get one")
	}
	id, errID := one(h, "Webhook-Id")
	at, errAt := one(h, "Webhook-Timestamp")
	signatures, errSignatures := one(h, "Webhook-Signature")
	if err := errors.Join(errID, errAt, errSignatures); err != nil {
		return "", err
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != at {
		return "", errors.New("the header Webhook-Timestamp is not a number of seconds")
	}
	// A dot in the id would let its end pass as the time.
	if strings.Contains(id, ".") {
		return "", errors.New("the header Webhook-Id has a dot")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	known := false
	for s := range strings.SplitSeq(signatures, " ") {
		known = hmac.Equal([]byte(s), want) || known
	}
	if !known {
		return "", mismatch("Webhook-Signature")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return "", fmt.Errorf("the delivery was signed more than %v from now: it is old, or a clock is wrong", tolerance)
	}
	return id, nil
}

// SigningKey is the key that a secret is by Standard Webhooks: base64, with or
// without "whsec_" before it. It is nil for a secret that is none.
func SigningKey(secret api.Secret) []byte {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	if err != nil || len(key) == 0 {
		return nil
	}
	return key
}

// one is the value of a header that must be there once.
func one(h http.Header, name string) (string, error) {
	switch values := h.Values(name); {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("the header %s is missing: the hook at the provider has no secret, or the delivery is not the provider's", name)
	case len(values) > 1:
		return "", fmt.Errorf("the header %s is there more than once", name)
	default:
		return values[0], nil
	}
}

func mismatch(header string) error {
	return fmt.Errorf("the header %s does not fit the webhook's secret and the body: the hook at the provider has another secret, or the delivery is not the provider's", header)
}
