package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

// body returns the JSON text of a request.
func body(at time.Time, events []Event) []byte {
	b := strconv.AppendInt([]byte(`{"time_ms":`), at.UnixMilli(), 10)
	b = append(b, `,"events":[`...)
	for i := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = events[i].Append(b)
	}
	return append(b, "]}"...)
}

// signature returns the HMAC-SHA256 of the body in lower-case hex.
func signature(secret app.Secret, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// maxLinks bounds the trace links of a request to its events.
const maxLinks = 32

// maxReply is how many bytes of an answer are read, so that the connection can be reused.
const maxReply = 64 << 10

// maxSaid bounds the bytes of a receiver's answer in the log.
const maxSaid = 200

// openClient creates the client, or copies that of the options. A redirect is not followed and counts as a
// failure.
func (h *Hooks) openClient() {
	h.client = &http.Client{}
	if h.opt.Client != nil {
		*h.client = *h.opt.Client
	} else {
		h.own = http.DefaultTransport.(*http.Transport).Clone()
		h.own.MaxResponseHeaderBytes = maxReply
		// Each lane keeps its connection. The connections to a host are not bounded, because addresses that hang
		// would use the bound up for other addresses on that host.
		h.own.MaxIdleConnsPerHost = lanes
		if h.opt.Dial != nil {
			h.own.DialContext = h.opt.Dial(h.own.DialContext)
		}
		h.client.Transport = h.own
	}
	h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

// post makes one attempt.
func (e *endpoint) post(ctx context.Context, text []byte, causes []string) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, e.hooks.opt.Timeout)
	defer cancel()
	hook, a := e.hook(), e.app.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(text))
	if err != nil {
		return err
	}
	for name, value := range hook.Headers {
		req.Header.Set(name, value.Reveal())
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Pusher-Key", a.Key)
	req.Header.Set("X-Pusher-Signature", signature(a.Secret, text))
	status := 0
	if t := e.hooks.opt.Tracer; t != nil {
		span := t.Call(req, "webhook", causes, "sluice.app", a.ID, "server.address", req.URL.Hostname())
		defer func() { span.End(status, 0, failed) }()
	}
	resp, err := e.hooks.client.Do(req)
	if err != nil {
		// The outer error contains the whole address, which may have a token.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		if text := err.Error(); len(text) > maxSaid { // it may quote the receiver
			err = fmt.Errorf("%.*s", maxSaid, text)
		}
		return err
	}
	defer resp.Body.Close()
	status = resp.StatusCode
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("answered %.*s", maxSaid, resp.Status)
	}
	return nil
}

// send sends events until that succeeds or they are dropped. It reports false if it was stopped before. The body
// stays the same, so that a receiver can recognise a repetition.
func (e *endpoint) send(ctx context.Context, part []delivery) bool {
	opt := &e.hooks.opt
	events := make([]Event, len(part))
	var causes []string
	for i := range part {
		events[i] = part[i].event
		if place := events[i].Trace; place != "" && len(causes) < maxLinks {
			causes = append(causes, place)
		}
	}
	text := body(opt.Now(), events)
	began, pause := time.Now(), opt.FirstRetry
	for {
		err := e.post(ctx, text, causes)
		// Half of the pause is random, so that many requests are not repeated at the same time.
		wait := pause/2 + rand.N(pause/2+1)
		switch {
		case err == nil:
			e.hooks.metrics.sent.WithLabelValues(e.app.ID, opt.Port).Add(float64(len(part)))
			return true
		case ctx.Err() != nil:
			return false
		case time.Since(began)+wait > opt.RetryFor:
			e.dropped("retries", len(part))
			e.said.Warn(opt.Logger, "given up", "webhooks were given up", "app", e.app.ID, "url", e.shown, "events", len(part), "error", err)
			return true
		}
		e.hooks.metrics.retries.WithLabelValues(e.app.ID, opt.Port).Inc()
		opt.Logger.Debug("a webhook failed and is tried again", "app", e.app.ID, "url", e.shown, "error", err)
		e.said.Warn(opt.Logger, "failed", "webhooks fail and are tried again", "app", e.app.ID, "url", e.shown, "error", err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.quit.Done():
			timer.Stop()
			return false
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		pause = min(2*pause, opt.MaxRetry)
	}
}
