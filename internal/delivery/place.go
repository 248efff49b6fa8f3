package delivery

import (
	"fmt"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// Misplaced says why an event is none of the webhook's, "" if it is: whoever
// knows the address and the secret may still not start a build by what happens
// elsewhere.
func Misplaced(hosts *forge.Hosts, hook store.Webhook, project *api.Project, e forge.Event) string {
	switch forge.OwnerKind(hook.Kind) {
	case forge.OfOrganization:
		if !strings.EqualFold(e.Organization, hook.Owner) {
			return fmt.Sprintf("it is of %q, and the webhook watches the organization %s", forge.Cut(e.Repository, 200), hook.Owner)
		}
		return ""
	case forge.OfGroup:
		if !strings.HasPrefix(strings.ToLower(e.Repository), strings.ToLower(hook.Owner)+"/") {
			return fmt.Sprintf("it is of %q, and the webhook watches the group %s", forge.Cut(e.Repository, 200), hook.Owner)
		}
		return ""
	case forge.OfEnterprise:
		return ""
	}
	if !strings.EqualFold(e.Repository, hook.Owner) {
		return fmt.Sprintf("it is of %q, and the webhook watches %s; if the repository was renamed, correct the project's source location and update the webhook", forge.Cut(e.Repository, 200), hook.Owner)
	}
	location := ""
	if project.Source.Location != nil {
		location = *project.Source.Location
	}
	repo, err := hosts.Locate(project.Source.Type, location)
	if err != nil || !strings.EqualFold(repo.Name, hook.Owner) || repo.Host.Name != hook.Host {
		return fmt.Sprintf("the project's source is another one than the webhook watches, %s at %s: update the webhook", hook.Owner, hook.Host)
	}
	return ""
}

// Source is the project's source for the repository that an event is of: its
// own, but for a webhook that watches several.
func Source(hosts *forge.Hosts, hook store.Webhook, project *api.Project, e forge.Event) *api.ProjectSource {
	src := *project.Source
	if hook.Kind != string(forge.OfRepository) {
		src.Location = new(hosts.Address(api.ServerType(hook.Source), hook.Host, e.Repository))
	}
	return &src
}
