package console

import (
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason bounds the reason of a close in bytes, so that it fits into a close frame.
const maxReason = 120

// reasonUsually is the reason for a client if the operator gives none.
const reasonUsually = "closed by an operator"

// reasonOf checks the reason that a client is to be sent.
func reasonOf(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return reasonUsually, nil
	}
	if len(text) > maxReason || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", invalid("reason must be up to 120 bytes of text in one line")
	}
	return text, nil
}

// closeConnection closes a connection of this gateway.
func (c *Console) closeConnection(r *http.Request) (any, error) {
	var body struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
		Return Return `json:"return"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	reason, err := reasonOf(body.Reason)
	if err != nil {
		return nil, err
	}
	if body.Return == "" {
		body.Return = Later
	}
	if !slices.Contains([]Return{AtOnce, Later, Never}, body.Return) {
		return nil, invalid("return must be at_once, later or never")
	}
	if !c.opt.Gateway.Close(body.ID, body.Return, reason) {
		return nil, refusal{http.StatusNotFound, "not_found", "there is no connection with this id on this gateway; it may have ended"}
	}
	c.opt.Logger.Info("an operator closed a connection", "socket_id", body.ID, "reason", reason, "return", string(body.Return), "address", r.RemoteAddr)
	return struct{}{}, nil
}

// terminate closes the connections of a user on all gateways.
func (c *Console) terminate(r *http.Request) (any, error) {
	var body struct {
		App  string `json:"app"`
		User string `json:"user"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if !slices.Contains(c.opt.Apps(), body.App) || body.User == "" {
		return nil, invalid("app must be an app of this server, and user the id of a user")
	}
	if err := c.opt.Gateway.Terminate(r.Context(), body.App, body.User); err != nil {
		return nil, err
	}
	c.opt.Logger.Info("an operator terminated the connections of a user", "app", body.App, "user", body.User, "address", r.RemoteAddr)
	return struct{}{}, nil
}
