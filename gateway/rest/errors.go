package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/sight"
)

// failure is the form of all errors (protocol section 2.2).
type failure struct {
	Message string `json:"error"`
	Code    string `json:"code"`
	Status  int    `json:"status"`
	// limit is the name of the limit that was exceeded, for the metrics.
	limit string
	// cause is the error of the server side, nil if the request is at fault.
	cause error
}

func (f *failure) Error() string { return f.Message }

func fail(status int, code, format string, args ...any) error {
	return &failure{Message: fmt.Sprintf(format, args...), Code: code, Status: status}
}

// crossed is an error for an exceeded limit.
func crossed(limit string, status int, code, format string, args ...any) error {
	return &failure{Message: fmt.Sprintf(format, args...), Code: code, Status: status, limit: limit}
}

func invalid(format string, args ...any) error {
	return fail(http.StatusBadRequest, "invalid_input", format, args...)
}

func exceeded(limit, format string, args ...any) error {
	return crossed(limit, http.StatusBadRequest, "limit_exceeded", format, args...)
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return crossed(limitBody, http.StatusRequestEntityTooLarge, "payload_too_large", "the body is larger than %d bytes, the limit of http.max_body", tooLarge.Limit)
	}
	return invalid("the body could not be read")
}

// failureOf maps errors of the log and the census to answers.
func failureOf(err error) *failure {
	var f *failure
	var refused *broker.Refused
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, broker.ErrTooLarge):
		return &failure{Message: err.Error(), Code: "payload_too_large", Status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, sight.ErrOff):
		return &failure{Message: "history is not enabled for this channel", Code: "feature_disabled", Status: http.StatusUnprocessableEntity}
	case errors.Is(err, lives.ErrNotErasable):
		return &failure{Message: err.Error(), Code: "feature_disabled", Status: http.StatusUnprocessableEntity}
	case errors.Is(err, lives.ErrTooMany):
		return &failure{Message: err.Error(), Code: "limit_exceeded", Status: http.StatusBadRequest}
	case errors.Is(err, broker.ErrInvalidQuery):
		return &failure{Message: err.Error(), Code: "invalid_input", Status: http.StatusBadRequest}
	case errors.Is(err, broker.ErrOverloaded):
		return &failure{Message: err.Error(), Code: "service_unavailable", Status: http.StatusServiceUnavailable}
	case errors.As(err, &refused):
		return &failure{Message: "the backend refuses: " + refused.Reason, Code: "service_unavailable", Status: http.StatusServiceUnavailable, cause: err}
	case errors.Is(err, broker.ErrUnavailable), errors.Is(err, broker.ErrClosed),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &failure{Message: "the backend cannot be reached", Code: "service_unavailable", Status: http.StatusServiceUnavailable, cause: err}
	}
	return &failure{Message: "internal error", Code: "internal", Status: http.StatusInternalServerError, cause: err}
}

// encode returns the status and body of an answer, or of the error if there is one.
func encode(log *slog.Logger, answer any, err error) (status int, body []byte) {
	status = http.StatusOK
	if err != nil {
		f := failureOf(err)
		answer, status = f, f.Status
	}
	if body, err = encoded(answer); err != nil {
		log.Error("an answer could not be encoded", "error", err)
		return http.StatusInternalServerError, []byte(`{"error":"internal error","code":"internal","status":500}`)
	}
	return status, body
}

// written is an answer that encodes itself.
type written interface{ text() ([]byte, error) }

// encoded encodes a value as JSON, without escapes for HTML, so that frames in it have the same bytes as on
// sockets.
func encoded(v any) ([]byte, error) {
	if w, ok := v.(written); ok {
		return w.text()
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// send sends an answer. A client that does not read it within patience, and a second more for each 64 KiB, loses
// its connection.
func send(w http.ResponseWriter, patience time.Duration, status int, body []byte) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	header := w.Header()
	header["Content-Type"], header["Cache-Control"] = isJSON, notStored
	patience += time.Duration(len(body)>>16) * time.Second
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// isJSON and notStored are headers of all answers. They are shared and must not be changed.
var isJSON, notStored = []string{"application/json"}, []string{"no-store"}

// plainPatience is how long a client may take to read an error that is sent without an [API].
const plainPatience = 10 * time.Second

func refuse(w http.ResponseWriter, err error) {
	status, body := encode(slog.New(slog.DiscardHandler), nil, err)
	send(w, plainPatience, status, body)
}

// NotFound answers a request for a path that does not exist.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	refuse(w, fail(http.StatusNotFound, "not_found", "there is nothing at this path"))
}

// NotAllowed answers a request whose method the path does not have. allow lists the methods that it has.
func NotAllowed(w http.ResponseWriter, _ *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	refuse(w, fail(http.StatusMethodNotAllowed, "method_not_allowed", "this path is for %s", allow))
}

// Forbidden answers a request with 403 and the reason.
func Forbidden(w http.ResponseWriter, _ *http.Request, reason string) {
	refuse(w, fail(http.StatusForbidden, "forbidden", "%s", reason))
}

// Unauthorized answers a request with missing or wrong credentials.
func Unauthorized(w http.ResponseWriter, _ *http.Request, reason string) {
	refuse(w, fail(http.StatusUnauthorized, "auth_failed", "%s", reason))
}

// Busy answers a request that should be retried later.
func Busy(w http.ResponseWriter, _ *http.Request, reason string) {
	refuse(w, fail(http.StatusServiceUnavailable, "service_unavailable", "%s", reason))
}
