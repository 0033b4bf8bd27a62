package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sluicehq/sluice/broker"
)

// failure is the one form of errors (protocol section 2.2).
type failure struct {
	Message string `json:"error"`
	Code    string `json:"code"`
	Status  int    `json:"status"`
}

func (f *failure) Error() string { return f.Message }

func fail(status int, code, format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), code, status}
}

func invalid(format string, args ...any) error {
	return fail(http.StatusBadRequest, "invalid_input", format, args...)
}

func exceeded(format string, args ...any) error {
	return fail(http.StatusBadRequest, "limit_exceeded", format, args...)
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fail(http.StatusRequestEntityTooLarge, "payload_too_large", "the body is larger than %d bytes", tooLarge.Limit)
	}
	return invalid("the body could not be read")
}

// failureOf maps what the log says.
func failureOf(err error, log *slog.Logger) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, broker.ErrTooLarge):
		return &failure{err.Error(), "payload_too_large", http.StatusRequestEntityTooLarge}
	case errors.Is(err, broker.ErrInvalidQuery):
		return &failure{err.Error(), "invalid_input", http.StatusBadRequest}
	case errors.Is(err, broker.ErrUnavailable), errors.Is(err, broker.ErrClosed),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		log.Warn("the log did not answer a request", "error", err)
		return &failure{"the log cannot be reached", "service_unavailable", http.StatusServiceUnavailable}
	}
	log.Error("a request failed", "error", err)
	return &failure{"internal error", "internal", http.StatusInternalServerError}
}

// write sends an answer and returns its status.
func write(w http.ResponseWriter, log *slog.Logger, answer any, err error) int {
	status := http.StatusOK
	if err != nil {
		f := failureOf(err, log)
		answer, status = f, f.Status
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		log.Error("an answer could not be encoded", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error","code":"internal","status":500}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return status
}

// NotFound answers a request for a path that does not exist.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	write(w, slog.New(slog.DiscardHandler), nil, fail(http.StatusNotFound, "not_found", "there is nothing at this path"))
}
