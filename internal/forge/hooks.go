package forge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// HookList is how an adapter over REST reaches the hooks of one owner: GET of
// First and what follows lists them, POST to Path makes one, Change and DELETE
// of Path/ID change and remove one. Its methods are PutHook and DeleteHook of Hooks.
type HookList struct {
	REST
	Path   string // below the host's API
	First  string // the first page of the list
	Change string // the method: PUT or PATCH

	// List reads a page of the list into hooks with ID and Address, and tells
	// the path of the next one, as in Pages.
	List func(*Reply) (list []Hook, next string, err error)
	// Document is what is sent to make a hook or to change one into it.
	Document func(Hook) any
	// Read finds the ID in the answer to POST.
	Read func(*Reply) (id string, ok bool)
	// Refuse is the error of an answer that is not a success. It cleans the
	// provider's words with the REST that it is given, which hides the hook's
	// secret too.
	Refuse func(c REST, doing string, a *Reply) error
	// Provider is its name, for an answer that is none of it.
	Provider string
}

// all lists the hooks of the owner.
func (l HookList) all(ctx context.Context) ([]Hook, error) {
	var all []Hook
	err := l.Pages(ctx, l.First, func(a *Reply) (string, error) {
		if a.Status != http.StatusOK {
			return "", l.Refuse(l.REST, "list webhooks", a)
		}
		list, next, err := l.List(a)
		all = append(all, list...)
		return next, err
	})
	return all, err
}

// at is the path of a hook.
func (l HookList) at(id string) string { return l.Path + "/" + url.PathEscape(id) }

// Put makes h, or changes the hook that has its ID or else its Address.
// Further ones with the address, which nobody knows of, are removed: each
// would tell of every event again.
func (l HookList) Put(ctx context.Context, h Hook) (Hook, error) {
	l.Hide = append(l.Hide, h.Secret)
	all, err := l.all(ctx)
	if err != nil {
		return Hook{}, err
	}
	there := slices.ContainsFunc(all, func(x Hook) bool { return x.ID == h.ID })
	if !there {
		h.ID = ""
	}
	for _, x := range all {
		if x.Address != h.Address || x.ID == h.ID {
			continue
		}
		if h.ID == "" {
			h.ID = x.ID
		} else if err := l.remove(ctx, x.ID); err != nil {
			return Hook{}, err
		}
	}
	if h.ID != "" {
		a, err := l.Do(ctx, l.Change, l.at(h.ID), l.Document(h))
		switch {
		case err != nil:
			return Hook{}, err
		case a.Status == http.StatusNotFound: // gone since it was listed
			h.ID = ""
		case a.Status < 200 || a.Status > 299:
			return Hook{}, l.Refuse(l.REST, "change the webhook", a)
		}
	}
	if h.ID == "" {
		a, err := l.Do(ctx, http.MethodPost, l.Path, l.Document(h))
		if err != nil {
			return Hook{}, err
		}
		if a.Status < 200 || a.Status > 299 {
			return Hook{}, l.Refuse(l.REST, "make the webhook", a)
		}
		var ok bool
		if h.ID, ok = l.Read(a); !ok {
			return Hook{}, l.Strange(l.Provider, a)
		}
		if err := l.alone(ctx, h); err != nil {
			if known, ok := errors.AsType[*Error](err); ok {
				known.Worthwhile = true // whatever it is: the hook was made
			}
			return Hook{}, err
		}
	}
	h.URL = l.Host.API + l.at(h.ID)
	return h, nil
}

// alone removes what else has the address of h, which was made: what is on the
// way may have sent it twice, and most providers then have two.
func (l HookList) alone(ctx context.Context, h Hook) error {
	all, err := l.all(ctx)
	if err != nil {
		return err
	}
	there := slices.ContainsFunc(all, func(x Hook) bool { return x.ID == h.ID })
	for _, x := range all {
		if there && x.Address == h.Address && x.ID != h.ID {
			if err := l.remove(ctx, x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete removes the hook of h.ID and each with h.Address.
func (l HookList) Delete(ctx context.Context, h Hook) error {
	l.Hide = append(l.Hide, h.Secret)
	all, err := l.all(ctx)
	if err != nil {
		return err
	}
	for _, x := range all {
		if h.ID != "" && x.ID == h.ID || h.Address != "" && x.Address == h.Address {
			if err := l.remove(ctx, x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes one. One that is gone is as good.
func (l HookList) remove(ctx context.Context, id string) error {
	a, err := l.Do(ctx, http.MethodDelete, l.at(id), nil)
	if err != nil {
		return err
	}
	if a.Status >= 300 && a.Status != http.StatusNotFound {
		return l.Refuse(l.REST, "remove the webhook", a)
	}
	return nil
}
