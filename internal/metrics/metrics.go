// Package metrics tells Prometheus how the server is: its stored tokens and
// when they end, the builds that wait, and the process itself.
//
// No value or label comes from a token. Labels name accounts and regions, so
// the address is for the operator, not for users.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// scrapeTime bounds the reading of the store for one answer.
	scrapeTime = 10 * time.Second
	page       = 500
)

var (
	state = prometheus.NewDesc("corbel_source_credential_state",
		"1 for the state that a stored source credential is in: VALID, UNVERIFIED, INSUFFICIENT, EXPIRING, EXPIRED or REVOKED.",
		[]string{"account", "region", "server_type", "state"}, nil)
	expires = prometheus.NewDesc("corbel_source_credential_expires_timestamp_seconds",
		"When the token of a source credential ends, in seconds since 1970. Tokens without a known end have no value.",
		[]string{"account", "region", "server_type"}, nil)
	checked = prometheus.NewDesc("corbel_source_credential_checked_timestamp_seconds",
		"When the provider last answered for a source credential, in seconds since 1970.",
		[]string{"account", "region", "server_type"}, nil)
	queued = prometheus.NewDesc("corbel_builds_queued", "Builds of an account that wait.", []string{"account"}, nil)
)

// Handler answers each request with what the store says then.
func Handler(st store.Store, log *slog.Logger, now func() time.Time) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{st, log, now}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)})
}

type collector struct {
	st  store.Store
	log *slog.Logger
	now func() time.Time
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{state, expires, checked, queued} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if err := c.collect(ctx, ch); err != nil {
		c.log.Error("collect metrics", "error", err)
		ch <- prometheus.NewInvalidMetric(queued, err)
	}
}

func (c collector) collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	accounts, err := c.st.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		n, err := c.st.QueuedBuilds(ctx, a.ID)
		if err != nil {
			return err
		}
		gauge(queued, float64(n), a.ID)
	}
	var after store.Credential
	for {
		list, err := c.st.CredentialsAfter(ctx, after, page)
		if err != nil {
			return err
		}
		for _, cred := range list {
			labels := []string{cred.Account, cred.Region, string(cred.ServerType)}
			gauge(state, 1, append(labels, credential.State(cred.Health, c.now()))...)
			if t := cred.Health.Expires; !t.IsZero() {
				gauge(expires, float64(t.Unix()), labels...)
			}
			if t := cred.Health.Checked; !t.IsZero() {
				gauge(checked, float64(t.Unix()), labels...)
			}
		}
		if len(list) < page {
			return nil
		}
		after = list[len(list)-1]
	}
}
