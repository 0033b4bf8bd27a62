package hub

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// refusal says why a connection is refused; the zero value admits it.
type refusal struct {
	code pusher.CloseCode
	// reason is the label of the metric, text what the client is told, "" for the message of the code.
	reason, text string
}

// leavingReason is for connections that come back while the only gateway stops.
const leavingReason = "stopping"

// connectionRefusals are all refusals, for the metric.
var connectionRefusals = [...]refusal{
	{code: pusher.CloseNoSuchApp, reason: "unknown_key"}, {code: pusher.CloseAppDisabled, reason: "app_disabled"},
	{code: pusher.CloseOverQuota, reason: "quota"}, {code: pusher.CloseOverCapacity, reason: "quota_unsure"}, {code: pusher.CloseOverCapacity, reason: leavingReason},
	{code: pusher.ClosePathNotFound, reason: "path"},
	{code: pusher.CloseInvalidVersion, reason: "protocol"}, {code: pusher.CloseUnsupportedProtocol, reason: "protocol"},
	{code: pusher.CloseUnsupportedProtocol, reason: "format"},
	{code: pusher.CloseNotAuthorized, reason: "origin"}, {code: pusher.CloseNotAuthorized, reason: "not_local"},
}

// subscriptionRefusals maps the types of subscription_error to the labels of the metric.
var subscriptionRefusals = map[string]string{
	"InvalidRequest": "invalid_request", "InvalidChannel": "invalid_channel", "FilterError": "filter", "AuthError": "auth",
	"LimitReached": "limit", "NotSupported": "not_supported", "ServiceUnavailable": "unavailable",
}

// These name the refused messages of clients other than subscriptions.
const (
	refusedMalformed   = "malformed"
	refusedUnknown     = "unknown_event"
	refusedSignin      = "signin"
	refusedClientEvent = "client_event"
	refusedUnsubscribe = "unsubscribe"
	refusedDelta       = "delta"
	refusedRecovery    = "recovery"
	refusedWatchlist   = "watchlist"
	refusedHistory     = "channel_history"
)

var messageRefusals = [...]string{
	refusedMalformed, refusedUnknown, refusedSignin, refusedClientEvent, refusedUnsubscribe, refusedDelta, refusedRecovery,
	refusedWatchlist, refusedHistory,
}

// turnAway logs and counts a refused connection. a is nil if there is no such app.
func (h *Hub) turnAway(c *Client, r *http.Request, a *app.App, no refusal) {
	h.opt.Metrics.refused(no)
	id, about := "", []any{"reason", no.reason, "code", int(no.code), "address", c.address, "origin", fmt.Sprintf("%.100s", r.Header.Get("Origin")), "text", no.text}
	switch path, _, _ := strings.Cut(r.RequestURI, "?"); {
	case a != nil:
		id, about = a.ID, append(about, "app", a.ID)
	case no.reason == "path": // the path before it was rewritten
		about = append(about, "path", fmt.Sprintf("%.100s", path))
	default:
		about = append(about, "key", fmt.Sprintf("%.40s", strings.TrimPrefix(r.URL.Path, "/app/")))
	}
	h.opt.Logger.Debug("a connection was refused", about...)
	if no.reason == leavingReason {
		return // It comes back as it was asked to, so there is nothing to warn of.
	}
	h.refusals.Warn(h.opt.Logger, "connection/"+no.reason+"/"+id, "connections are refused", about...)
}

// refuse answers a subscription request that is refused. kind is a key of subscriptionRefusals.
func (c *Client) refuse(channel string, code pusher.ErrorCode, kind string, status int, reason string) {
	c.hub.opt.Metrics.subscriptionRefused(c.tenant.ID, subscriptionRefusals[kind])
	about := []any{"app", c.tenant.ID, "channel", fmt.Sprintf("%.200s", channel), "address", c.address, "socket_id", c.id, "type", kind, "reason", reason}
	c.hub.opt.Logger.Debug("a subscription was refused", about...)
	c.hub.refusals.Warn(c.hub.opt.Logger, "subscription/"+kind+"/"+c.tenant.ID, "subscriptions are refused", about...)
	c.fail(code, "%s", reason)
	c.subscriptionError(channel, kind, status, reason)
}

// deny answers another message of the client that is refused; what is one of messageRefusals.
func (c *Client) deny(what, channel string, code pusher.ErrorCode, format string, args ...any) {
	c.hub.opt.Metrics.messageRefused(c.tenant.ID, what)
	text := fmt.Sprintf(format, args...)
	about := []any{"app", c.tenant.ID, "address", c.address, "socket_id", c.id, "message", what, "reason", text}
	if channel != "" {
		about = append(about, "channel", fmt.Sprintf("%.200s", channel))
	}
	c.hub.opt.Logger.Debug("a message of a client was refused", about...)
	c.hub.refusals.Warn(c.hub.opt.Logger, "message/"+what+"/"+c.tenant.ID, "messages of clients are refused", about...)
	c.fail(code, "%s", text)
}
