// Package server is every HTTP route of Corbel, in one function, and who may
// pass.
package server

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/api/ssm"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/console"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/service"
	"github.com/corbel-build/corbel/internal/sigv4"
	"github.com/corbel-build/corbel/internal/store"
)

// A Config is what the routes lead to.
type Config struct {
	Service *service.Service
	Keys    *access.Keys
	Store   store.Store
	// Webhooks answers the deliveries of source providers.
	Webhooks http.Handler
	Log      *slog.Logger
	Now      func() time.Time

	Sessions *access.Sessions
	// PublicURL is where people and providers reach this server, without a
	// slash at the end. A path in it is a prefix of every route, whether a proxy
	// takes it off or not.
	PublicURL string
	Region    string // that the console's sign-in proposes
	// Proxies are the networks of the proxies whose word for who sent a request,
	// and how, is taken.
	Proxies []netip.Prefix
}

// New returns the handler of every route.
func New(c Config) (http.Handler, error) {
	s := &server{Config: c, sameSite: http.NewCrossOriginProtection(), attempts: attempts{of: map[string]*tried{}}}
	var err error
	if s.public, err = url.Parse(c.PublicURL); err != nil {
		return nil, fmt.Errorf("public address: %w", err)
	}
	// For browsers that say where a request is from, and proxies that do not
	// keep the Host header.
	if err := s.sameSite.AddTrustedOrigin(s.public.Scheme + "://" + s.public.Host); err != nil {
		return nil, fmt.Errorf("public address: %w", err)
	}
	program, err := console.Program()
	if err != nil {
		return nil, err
	}
	s.json = awsjson.New(awsjson.Config{
		Operations:   s.operations(),
		Authenticate: s.authenticate,
		Principal:    func(ctx context.Context) string { return access.From(ctx).ARN() },
		Log:          c.Log,
	})
	// Only a proxy that takes the prefix off has seen whether an address without
	// a page ended in a slash, so a relative one could lead beside the prefix.
	home := "console/"
	if s.public.Path != "" {
		home = s.public.Path + "/console/"
	}
	accounts, err := c.Store.Accounts(context.Background())
	if err != nil {
		return nil, fmt.Errorf("list the accounts: %w", err)
	}
	s.cookieName = sessionCookie
	if len(accounts) > 0 {
		s.cookieName += "_" + accounts[0].ID
	}
	mux := http.NewServeMux()
	for _, at := range slices.Compact([]string{"", s.public.Path}) {
		mux.HandleFunc("POST "+at+"/{$}", s.call)
		mux.HandleFunc("GET "+at+"/healthz", s.health)
		mux.HandleFunc("GET "+at+"/badges", s.badge)
		mux.Handle("POST "+at+credential.HookPath, s.Webhooks)
		mux.HandleFunc("GET "+at+"/{$}", func(w http.ResponseWriter, _ *http.Request) { redirect(w, home) })
		mux.HandleFunc("GET "+at+"/console", func(w http.ResponseWriter, _ *http.Request) { redirect(w, "console/") })
		mux.HandleFunc("GET "+at+"/cloudwatch/home", deepLink)
		mux.Handle("GET "+at+"/console/", program)
		mux.HandleFunc("GET "+at+"/console/login", s.loginForm)
		mux.HandleFunc("POST "+at+"/console/login", s.login)
		mux.HandleFunc("POST "+at+"/console/logout", s.logout)
		mux.HandleFunc("GET "+at+"/console/oauth/callback", s.oauth)
	}
	return mux, nil
}

type server struct {
	Config
	verifier sigv4.Verifier
	json     http.Handler
	public   *url.URL
	sameSite *http.CrossOriginProtection
	attempts attempts

	cookieName string
}

// operations is what X-Amz-Target can name.
func (s *server) operations() map[string]awsjson.Operation {
	all := map[string]awsjson.Operation{}
	for _, m := range []struct {
		action string // the prefix of its actions in policies
		model  *api.Model
		calls  map[string]func(context.Context, []byte) (any, error)
	}{
		{"codebuild", &api.Contract, api.Calls(s.Service)},
		{"logs", &logs.Contract, logs.Calls(&service.LogService{Service: s.Service})},
		{"secretsmanager", &secretsmanager.Contract, secretsmanager.Calls(service.SecretsManager{Service: s.Service})},
		{"ssm", &ssm.Contract, ssm.Calls(service.ParameterStore{Service: s.Service})},
		{"corbel", &corbel.Contract, corbel.Calls(service.CorbelService{Service: s.Service})},
	} {
		for name, call := range m.calls {
			all[m.model.TargetPrefix+"."+name] = awsjson.Operation{Name: name, Call: func(ctx context.Context, doc []byte) (any, error) {
				ctx, err := calling(ctx, m.model.SigningName)
				if err != nil {
					return nil, err
				}
				var out any
				if !service.Open(m.action, name) {
					err = s.Service.Authorize(ctx, m.action, name, doc)
				}
				if err == nil {
					out, err = call(ctx, doc)
				}
				if err != nil {
					s.Service.Refused(ctx, name, err)
				}
				return out, err
			}}
		}
	}
	return all
}

type identityKey struct{}

// calling says that the request calls the service. A signature for one service
// is no good for another; a session is good for all.
func calling(ctx context.Context, service string) (context.Context, error) {
	p := access.From(ctx)
	if p.Session != "" {
		p.Service = service
		return access.With(ctx, p), nil
	}
	return ctx, ctx.Value(identityKey{}).(sigv4.Identity).ForService(service)
}

// authenticate verifies a request's signature, or the session that it carries
// instead, and puts the principal into its context.
func (s *server) authenticate(r *http.Request, body []byte) (context.Context, error) {
	ctx := r.Context()
	if token := s.session(r); token != "" && r.Header.Get("Authorization") == "" {
		return s.fromSession(r, token)
	}
	var key store.AccessKey
	var policy *access.Policy
	id, err := s.verifier.Verify(r, body, s.Now(), func(ctx context.Context, keyID string) (string, error) {
		var secret api.Secret
		var err error
		if key, policy, secret, err = s.Keys.Find(ctx, keyID); errors.Is(err, store.ErrNotFound) {
			return "", sigv4.ErrUnknownKey
		}
		return secret.Reveal(), err
	})
	if err != nil {
		return nil, err
	}
	if key.Ended(s.Now()) {
		return nil, api.Errorf("ExpiredTokenException", "The security token included in the request is expired")
	}
	ctx = context.WithValue(ctx, identityKey{}, id)
	return access.With(ctx, access.Principal{
		Scope: store.Scope{Account: key.Account, Region: id.Region}, User: key.User, KeyID: key.ID,
		Service: id.Service, From: s.from(r), Agent: r.UserAgent(), RequestID: awsjson.RequestID(ctx),
		Secure: s.overTLS(r), Policy: policy, Ends: key.Expires,
	}), nil
}

// call serves POST /: the JSON protocol, or the query protocol of STS.
func (s *server) call(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "application/x-www-form-urlencoded" && r.Header.Get("X-Amz-Target") == "" {
		s.query(w, r)
		return
	}
	s.json.ServeHTTP(w, r)
}

// maxQuery bounds a request of the query protocol, in bytes.
const maxQuery = 64 << 10

// query serves GetCallerIdentity, the one operation of STS.
func (s *server) query(w http.ResponseWriter, r *http.Request) {
	requestID := awsjson.NewRequestID()
	refuse := func(code, message string, status int) {
		type detail struct {
			Type    string `xml:"Type"`
			Code    string `xml:"Code"`
			Message string `xml:"Message"`
		}
		writeXML(w, requestID, status, struct {
			XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Error     detail   `xml:"Error"`
			RequestID string   `xml:"RequestId"`
		}{Error: detail{"Sender", code, message}, RequestID: requestID})
	}
	body, err := awsjson.ReadBody(w, r, maxQuery)
	if err != nil {
		refuse("MalformedInput", "The request body could not be read", http.StatusBadRequest)
		return
	}
	ctx, err := s.authenticate(r, body)
	if err == nil {
		ctx, err = calling(ctx, "sts")
	}
	var bad *sigv4.Error
	if errors.As(err, &bad) {
		code, status := bad.Query()
		refuse(code, bad.Message, status)
		return
	}
	if expired, ok := errors.AsType[*api.Error](err); ok {
		refuse("ExpiredToken", expired.Message, http.StatusForbidden)
		return
	}
	if err != nil {
		s.Log.ErrorContext(r.Context(), "request failed", "request_id", requestID, "error", err)
		refuse("InternalFailure", "The server failed to answer. Its log has more about request "+requestID, http.StatusInternalServerError)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("Action") != "GetCallerIdentity" {
		refuse("InvalidAction", "Corbel answers GetCallerIdentity of STS and nothing else", http.StatusBadRequest)
		return
	}
	out := s.Service.GetCallerIdentity(ctx)
	out.RequestID = requestID
	writeXML(w, requestID, http.StatusOK, out)
}

func writeXML(w http.ResponseWriter, requestID string, status int, doc any) {
	body, err := xml.Marshal(doc)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", doc, err)) // our own plain structures
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away
}

// health answers 200 when the database can be read.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	if _, err := s.Store.Accounts(r.Context()); err != nil {
		http.Error(w, "the database cannot be read", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
