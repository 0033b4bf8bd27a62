package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Codes are the codes of all refusals.
var Codes = [...]string{
	"auth_failed", "feature_disabled", "forbidden", "internal", "invalid_input", "limit_exceeded", "method_not_allowed",
	"not_found", "payload_too_large", "rate_limited", "service_unavailable", "unsupported_encoding",
}

// refused counts and logs a request that is not granted. id is the app, empty if the request named no known app.
func (a *API) refused(id, channel string, r *http.Request, route string, f *failure) {
	a.opt.Refused(id, f.Code)
	about := []any{"app", id, "request", route, "address", r.RemoteAddr, "status", f.Status, "code", f.Code, "reason", f.Message}
	if channel != "" {
		about = append(about, "channel", fmt.Sprintf("%.200s", channel))
	}
	if id == "" {
		about = append(about, "path", fmt.Sprintf("%.100s", r.URL.Path))
	}
	if f.cause != nil {
		about = append(about, "error", f.cause)
	}
	a.opt.Logger.Debug("a request was refused", about...)
	switch {
	case errors.Is(f.cause, context.Canceled):
		// The client has gone.
	case f.Code == "internal":
		a.said.Error(a.opt.Logger, f.Code+"/"+id, "requests failed", about...)
	case f.cause != nil:
		a.said.Warn(a.opt.Logger, "backend/"+id, "the backend did not answer requests", about...)
	default:
		a.said.Warn(a.opt.Logger, f.Code+"/"+id, "requests are refused", about...)
	}
}
