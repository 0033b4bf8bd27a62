package stream

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Refusal is why a request is refused; nil grants it.
type Refusal struct {
	Status int
	// Reason is the label of the metric, Code the machine-readable code of the answer, Text its sentence.
	Reason, Code, Text string
}

// Refusals are all refusals, for the metric.
var Refusals = [...]Refusal{
	{Status: http.StatusNotFound, Reason: "unknown_key"}, {Status: http.StatusForbidden, Reason: "app_disabled"},
	{Status: http.StatusForbidden, Reason: "origin"}, {Status: http.StatusForbidden, Reason: "not_local"},
	{Status: http.StatusServiceUnavailable, Reason: "quota"}, {Status: http.StatusServiceUnavailable, Reason: "quota_unsure"}, {Status: http.StatusServiceUnavailable, Reason: "stopping"},
	{Status: http.StatusServiceUnavailable, Reason: "unavailable"}, {Status: http.StatusNotFound, Reason: "unavailable"},
	{Status: http.StatusMethodNotAllowed, Reason: "method"}, {Status: http.StatusBadRequest, Reason: "request"},
	{Status: http.StatusUnauthorized, Reason: "auth"}, {Status: http.StatusForbidden, Reason: "channel"},
	{Status: http.StatusUnprocessableEntity, Reason: "disabled"}, {Status: http.StatusHTTPVersionNotSupported, Reason: "takeover"},
}

// These refusals are always the same.
var (
	Stopping = &Refusal{http.StatusServiceUnavailable, "stopping", "service_unavailable", "this server is stopping"}
	NotTaken = &Refusal{http.StatusHTTPVersionNotSupported, "takeover", "unsupported_encoding",
		"an event stream takes a connection of HTTP/1.1 of its own, or an answer that can be sent in pieces"}
)

// OfClose returns the answer in a case in which a WebSocket is closed with a code, nil for code 0.
func OfClose(code pusher.CloseCode, reason, text string) *Refusal {
	if code == 0 {
		return nil
	}
	r := &Refusal{http.StatusForbidden, reason, "forbidden", text}
	switch code {
	case pusher.CloseNoSuchApp:
		r.Status, r.Code = http.StatusNotFound, "not_found"
	case pusher.CloseOverQuota, pusher.CloseOverCapacity:
		r.Status, r.Code = http.StatusServiceUnavailable, "service_unavailable"
	}
	if text == "" {
		r.Text = code.Message()
	}
	return r
}

// NotAttached returns the answer if a channel cannot be followed.
func NotAttached(status int, text string) *Refusal {
	if status == http.StatusNotFound {
		return &Refusal{status, "unavailable", "not_found", text}
	}
	return &Refusal{http.StatusServiceUnavailable, "unavailable", "service_unavailable", text}
}

func wrong(format string, args ...any) *Refusal {
	return &Refusal{http.StatusBadRequest, "request", "invalid_input", fmt.Sprintf(format, args...)}
}

// Answer sends the refusal in the form of errors of the HTTP API.
func (no *Refusal) Answer(w http.ResponseWriter) {
	switch no.Status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(no.Status)
	body := pusher.AppendString([]byte(`{"error":`), no.Text)
	body = append(pusher.AppendString(append(body, `,"code":`...), no.Code), `,"status":`...)
	_, _ = w.Write(append(strconv.AppendInt(body, int64(no.Status), 10), '}'))
}
