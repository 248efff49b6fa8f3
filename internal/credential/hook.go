package credential

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// A HookSecret is what a provider signs deliveries with. A webhook has one, and
// while it is rotated the one before.
type HookSecret struct {
	Value api.Secret
	Until time.Time // zero is for good
}

// hookSecret is what is sealed.
type hookSecret struct {
	Value string    `json:"value"`
	Until time.Time `json:"until,omitzero"`
}

// HookBinding is what the seal of a webhook's secrets is bound to.
func HookBinding(w store.Webhook) string {
	return vault.Binding("webhook", w.Address, w.Account, w.Region, w.Project, strconv.FormatInt(w.Version, 10))
}

// SealHook seals the secrets of a webhook, the newest first.
func SealHook(v *vault.Vault, w store.Webhook, secrets ...HookSecret) ([]byte, error) {
	list := make([]hookSecret, len(secrets))
	for i, s := range secrets {
		list[i] = hookSecret{s.Value.Reveal(), s.Until}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("seal the secret of the webhook of %s: %w", w.Project, err)
	}
	sealed, err := v.Seal(HookBinding(w), api.Secret(b))
	if err != nil {
		return nil, fmt.Errorf("seal the secret of the webhook of %s: %w", w.Project, err)
	}
	return sealed, nil
}

// OpenHook opens the secrets that are good at a time, the newest first.
func OpenHook(v *vault.Vault, w store.Webhook, now time.Time) ([]HookSecret, error) {
	text, err := v.Open(HookBinding(w), w.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open the secret of the webhook of %s: %w", w.Project, err)
	}
	var list []hookSecret
	if json.Unmarshal([]byte(text.Reveal()), &list) != nil {
		return nil, fmt.Errorf("open the secret of the webhook of %s: its content is damaged", w.Project)
	}
	var out []HookSecret
	for _, s := range list {
		if s.Until.IsZero() || now.Before(s.Until) {
			out = append(out, HookSecret{api.Secret(s.Value), s.Until})
		}
	}
	return out, nil
}

// HookPath is where deliveries go, below the server's address.
const HookPath = "/webhooks"

// HookBase is what the payload addresses begin with on a server that people reach
// at url.
func HookBase(url string) string { return url + HookPath + "?t=" }

// HookAddress is the payload address of a webhook, whose unguessable part is
// address, on a server that people reach at url. Its form is the service's.
func HookAddress(url, address string) string { return HookBase(url) + address + "&v=1" }
