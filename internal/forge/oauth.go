package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/corbel-build/corbel/api"
)

// OAuthPaths says where a provider's OAuth is.
type OAuthPaths struct {
	// Authorize, Token and Device are paths below a host's web address. Device
	// is "" without the device flow.
	Authorize, Token, Device string
	// Scopes are what is asked for; nil where the app itself says.
	Scopes []string
	// Basic sends the app's secret in a header instead of the form.
	Basic bool
}

// An OAuthApp is what a provider knows Corbel as.
type OAuthApp struct {
	ID         string
	SecretFile string // has the secret, and is read each time
}

// OAuthApps are the OAuth apps by the name of their host, or by server type for its
// every host.
type OAuthApps map[string]OAuthApp

// ParseOAuthApps reads entries such as
//
//	GITHUB=Iv1.8a61f9b3a7aba766,secret=/etc/corbel/github.secret
//	git.example.com=7c5...,secret=/etc/corbel/gitlab.secret
//
// where a blank does for the comma. Each file must be there.
func ParseOAuthApps(entries []string) (OAuthApps, error) {
	apps := OAuthApps{}
	var problems []error
	for _, entry := range entries {
		key, rest, _ := strings.Cut(entry, "=")
		fields := strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ' ' })
		if key == "" || len(fields) != 2 || !strings.HasPrefix(fields[1], "secret=") {
			problems = append(problems, fmt.Errorf("%q: want SERVER_TYPE=CLIENT_ID,secret=FILE, or a host in place of the type", key))
			continue
		}
		app := OAuthApp{fields[0], strings.TrimPrefix(fields[1], "secret=")}
		if _, err := app.secret(); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
		if _, twice := apps[key]; twice {
			problems = append(problems, fmt.Errorf("%s has two apps", key))
		}
		apps[key] = app
	}
	return apps, errors.Join(problems...)
}

// Of returns the app for a host.
func (a OAuthApps) Of(h Host) (OAuthApp, bool) {
	if app, ok := a[h.Name]; ok {
		return app, true
	}
	app, ok := a[string(h.ServerType)]
	return app, ok
}

// Files are those of the apps' secrets.
func (a OAuthApps) Files() (list []string) {
	for _, app := range a {
		list = append(list, app.SecretFile)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (a OAuthApp) secret() (api.Secret, error) {
	text, err := os.ReadFile(a.SecretFile)
	if err != nil {
		return "", fmt.Errorf("read the secret of an OAuth app: %w", err)
	}
	if secret := strings.TrimSpace(string(text)); secret != "" {
		return api.Secret(secret), nil
	}
	return "", fmt.Errorf("%s has no secret of an OAuth app", a.SecretFile)
}

// ErrDenied says that the user did not let Corbel in.
var ErrDenied = errors.New("the user denied access")

// A Grant is what a user let Corbel have.
type Grant struct {
	Token   api.Secret
	Refresh api.Secret    // gets the next one, once; "" if there is none
	Lasts   time.Duration // of Token, from now on; 0 is for ever
}

// An OAuthClient is Corbel's app at one host. It sends the app's secret, codes and
// tokens in the bodies or headers of requests to the host, and puts them into
// no error. Its errors are as those of a Forge: ErrRefused is about the code or
// the token that was shown, not about the app.
type OAuthClient struct {
	Transport http.RoundTripper
	Host      Host
	Paths     OAuthPaths
	App       OAuthApp
	Callback  string // where the provider sends the user back to
}

// config is the app for the library, with a context that keeps it to the host.
func (c OAuthClient) config(ctx context.Context) (*oauth2.Config, context.Context, error) {
	secret, err := c.App.secret()
	if err != nil {
		return nil, nil, &Error{Host: c.Host.Name, Text: err.Error()}
	}
	style := oauth2.AuthStyleInParams
	if c.Paths.Basic {
		style = oauth2.AuthStyleInHeader
	}
	return &oauth2.Config{
		ClientID: c.App.ID, ClientSecret: secret.Reveal(), RedirectURL: c.Callback, Scopes: c.Paths.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: c.Host.Git + c.Paths.Authorize, TokenURL: c.Host.Git + c.Paths.Token, DeviceAuthURL: c.Host.Git + c.Paths.Device, AuthStyle: style,
		},
	}, context.WithValue(ctx, oauth2.HTTPClient, Client(c.Transport, c.Host)), nil
}

// Address is where the user says yes, and from where a code comes back with
// state to the callback. verifier proves later that it is the same Corbel.
func (c OAuthClient) Address(state, verifier string) string {
	config := oauth2.Config{ClientID: c.App.ID, RedirectURL: c.Callback, Scopes: c.Paths.Scopes, Endpoint: oauth2.Endpoint{AuthURL: c.Host.Git + c.Paths.Authorize}}
	return config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Exchange turns a code into a grant.
func (c OAuthClient) Exchange(ctx context.Context, code, verifier string) (Grant, error) {
	config, ctx, err := c.config(ctx)
	if err != nil {
		return Grant{}, err
	}
	t, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	return c.grant(t, err)
}

// Renew turns a refresh token into the next grant. The refresh token is used up
// unless the error is ErrUnreachable, and perhaps then.
func (c OAuthClient) Renew(ctx context.Context, refresh api.Secret) (Grant, error) {
	config, ctx, err := c.config(ctx)
	if err != nil {
		return Grant{}, err
	}
	t, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	return c.grant(t, err)
}

// A DeviceCode is what the user types in at an address, on any machine.
type DeviceCode struct {
	Code, Address string
	Interval      time.Duration // between two questions whether it was
	Expires       time.Time

	answer *oauth2.DeviceAuthResponse
}

// Device begins the device flow.
func (c OAuthClient) Device(ctx context.Context) (DeviceCode, error) {
	config, ctx, err := c.config(ctx)
	if err != nil {
		return DeviceCode{}, err
	}
	a, err := config.DeviceAuth(ctx)
	switch {
	case err != nil:
		return DeviceCode{}, c.failed(err)
	case a.DeviceCode == "" || a.UserCode == "" || a.VerificationURI == "":
		return DeviceCode{}, &Error{Host: c.Host.Name, Text: noDeviceFlow}
	}
	d := DeviceCode{Code: a.UserCode, Address: a.VerificationURI, Interval: time.Duration(max(a.Interval, 1)) * time.Second, Expires: a.Expiry, answer: a}
	if longest := time.Now().Add(longestFlow); d.Expires.IsZero() || d.Expires.After(longest) {
		d.Expires = longest
	}
	return d, nil
}

const noDeviceFlow = "it has no device flow for the OAuth app. Switch it on in the app's settings there, or connect without a code"

// longestFlow is how long a user may take.
const longestFlow = 30 * time.Minute

// Await asks until the user has typed the code in, or ctx or the code ends.
// ErrDenied if the user said no.
func (c OAuthClient) Await(ctx context.Context, d DeviceCode) (Grant, error) {
	config, ctx, err := c.config(ctx)
	if err != nil {
		return Grant{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, d.Expires)
	defer cancel()
	for { // each turn begins with the wait
		g, err := c.grant(config.DeviceAccessToken(ctx, d.answer))
		if !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return g, err
		}
	}
}

func (c OAuthClient) grant(t *oauth2.Token, err error) (Grant, error) {
	if err != nil {
		return Grant{}, c.failed(err)
	}
	g := Grant{Token: api.Secret(t.AccessToken), Refresh: api.Secret(t.RefreshToken)}
	if !t.Expiry.IsZero() { // the library's clock is the machine's
		g.Lasts = time.Until(t.Expiry).Round(time.Second)
	}
	return g, nil
}

// about says which codes of errors are about what was shown.
// Source: RFC 6749 section 5.2, RFC 8628 section 3.5; GitHub, "Troubleshooting
// OAuth app access token request errors", "Authorizing OAuth apps" and
// "Refreshing user access tokens".
var about = map[string]string{
	"invalid_grant": "it is not good any more", "bad_verification_code": "the code is wrong or has expired", "bad_refresh_token": "the refresh token is not good any more",
	"unverified_user_email": "the user's e-mail address is not verified there", "expired_token": "the code has expired", "access_denied": "the user denied access",
}

// failed makes an error of the library's, whose text may repeat what was sent.
func (c OAuthClient) failed(err error) error {
	e := &Error{Kind: ErrUnreachable, Host: c.Host.Name, Again: Again{Worthwhile: true}}
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e.Text, e.Cause = "no answer in time", context.DeadlineExceeded
	case !ok:
		e.Text = "no answer that OAuth knows"
	case answer.Response != nil && (answer.Response.StatusCode >= 500 || answer.Response.StatusCode == http.StatusTooManyRequests):
		e.Text = fmt.Sprintf("it has a problem: status %d", answer.Response.StatusCode)
	case answer.ErrorCode == "access_denied":
		return &Error{Kind: ErrDenied, Host: c.Host.Name, Text: "the user denied access"}
	case answer.ErrorCode == "device_flow_disabled": // which is GitHub's, see about
		return &Error{Host: c.Host.Name, Text: noDeviceFlow}
	case about[answer.ErrorCode] != "":
		return &Error{Kind: ErrRefused, Host: c.Host.Name, Text: about[answer.ErrorCode] + ". Connect again"}
	default:
		return &Error{Host: c.Host.Name, Text: "it refuses the OAuth app" + word(answer.ErrorCode) + ". Check the client id, the file of its secret, and the callback address " + c.Callback}
	}
	return e
}

// word is an error's code in parentheses, if it looks like one.
func word(code string) string {
	if code == "" || len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return " (" + code + ")"
}
