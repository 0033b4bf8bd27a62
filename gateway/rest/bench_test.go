package rest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// swallowing is a log that accepts everything at once.
type swallowing struct{ rest.Log }

func (swallowing) Publish(_ context.Context, _ string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	return make([]broker.Receipt, len(events)), nil
}

// discarded is a response writer that discards the response.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkPublish measures a signed publish without the HTTP server and the log.
func BenchmarkPublish(b *testing.B) {
	data, err := json.Marshal(strings.Repeat(`{"symbol":"EURUSD","bid":1.08312,"ask":1.08329},`, 21))
	if err != nil {
		b.Fatal(err)
	}
	event := `{"name":"update","channel":"prices","data":` + string(data) + `}`
	for name, c := range map[string]struct{ path, body string }{
		"event": {"/apps/app/events", event},
		"batch": {"/apps/app/batch_events", `{"batch":[` + strings.Repeat(event+",", 9) + event + `]}`},
	} {
		b.Run(name, func(b *testing.B) {
			a := &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
			api := rest.New(rest.Options{Apps: app.NewRegistry(a), Log: swallowing{}})
			sum := md5.Sum([]byte(c.body))
			query := url.Values{
				"auth_key": {"key"}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "auth_version": {"1.0"}, "body_md5": {hex.EncodeToString(sum[:])},
			}
			query.Set("auth_signature", pusher.SignRequest("secret", http.MethodPost, c.path, query))
			body := bytes.NewReader([]byte(c.body))
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://localhost"+c.path+"?"+query.Encode(), body)
			if err != nil {
				b.Fatal(err)
			}
			r.RequestURI = r.URL.RequestURI()
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := body.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				clear(w.header)
				if api.ServeHTTP(w, r); w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}
