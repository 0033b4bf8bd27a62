package pusher

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// EventsQuery is a parsed request for an event stream.
type EventsQuery struct {
	// Channels are distinct, at least one. The names are not checked.
	Channels []string
	// Places are the positions from which the reader continues, nil if it has none.
	Places []Place
	// Wish is the requested part of the past of channels without a place, nil for none.
	Wish *Rewind
	// Filter is JSON that is not validated, "" for none.
	Filter string
	// Token is the signature, "" for none, and Expires is its expiry in Unix seconds.
	Token   string
	Expires int64
}

// ParseEventsQuery parses the query of a request, for at most limit channels, and its header Last-Event-ID. That
// header has precedence, because it is newer than the query when a browser reconnects. Errors name the
// parameter.
func ParseEventsQuery(raw, lastEventID string, limit int) (q EventsQuery, err error) {
	given := map[string]string{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, err := eventsParameter(part)
		if err != nil {
			return q, err
		}
		_, twice := given[name]
		switch {
		case name == "channel" && len(q.Channels) == limit:
			return q, fmt.Errorf("channel: more than %d channels in one stream (websocket.max_subscriptions, and 100)", limit)
		case name == "channel" && slices.Contains(q.Channels, value):
			return q, fmt.Errorf("channel: %.100q is given twice", value)
		case name == "channel":
			q.Channels = append(q.Channels, value)
		case !slices.Contains([]string{"since", "filter", "token", "expires"}, name):
			return q, fmt.Errorf("the parameter %.64q is unknown; channel, since, filter, token and expires are not", name)
		case twice:
			return q, fmt.Errorf("%s is given twice", name)
		default:
			given[name] = value
		}
	}
	if len(q.Channels) == 0 {
		return q, fmt.Errorf("channel is missing: one parameter for each channel, from 1 to %d", limit)
	}
	q.Filter, q.Token = given["filter"], given["token"]
	if text, ok := given["expires"]; ok {
		if q.Expires, err = strconv.ParseInt(text, 10, 64); err != nil {
			return q, fmt.Errorf("expires is %.40q, must be a time in Unix seconds", text)
		}
	}
	if since, ok := given["since"]; ok {
		if err := q.takeSince(since); err != nil {
			return q, fmt.Errorf("since: %w", err)
		}
	}
	if lastEventID != "" {
		if q.Places, err = ParsePlaces(lastEventID, q.Channels); err != nil {
			return q, fmt.Errorf("Last-Event-ID: %w", err)
		}
	}
	return q, nil
}

func eventsParameter(part string) (name, value string, err error) {
	rawName, rawValue, _ := strings.Cut(part, "=")
	name, err = url.QueryUnescape(rawName)
	value, wrong := url.QueryUnescape(rawValue)
	if err = cmp.Or(err, wrong); err != nil {
		return "", "", fmt.Errorf("the parameter %.64q: %w", rawName, err)
	}
	if !utf8.ValidString(name+value) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", "", fmt.Errorf("the parameter %.64q is not plain UTF-8", name)
	}
	return name, value, nil
}

// takeSince parses the parameter since: a position, a number of events, a time, or `latest`.
func (q *EventsQuery) takeSince(text string) (err error) {
	if IsPlaces(text) {
		q.Places, err = ParsePlaces(text, q.Channels)
		return err
	}
	if text == "latest" {
		q.Wish = &Rewind{Latest: true}
		return nil
	}
	if n, wrong := strconv.ParseInt(text, 10, 64); wrong == nil {
		if n < 1 || n > maxRewindCount {
			return fmt.Errorf("%.40q must be a number of events from 1 to %d", text, maxRewindCount)
		}
		q.Wish = &Rewind{Count: int(n)}
		return nil
	}
	age, wrong := time.ParseDuration(text)
	switch {
	case wrong != nil:
		return fmt.Errorf("%.60q must be an id of an event, a number of events, a time such as 30s, or latest", text)
	case age <= 0 || age > maxRewindSeconds*time.Second:
		return fmt.Errorf("%.40q must be a time above 0 and of ten years at most", text)
	}
	q.Wish = &Rewind{Age: age}
	return nil
}

// MaxTokenAge is the maximum time until a signature for an event stream expires.
const MaxTokenAge = 24 * time.Hour

// SignEvents signs a request for an event stream of these channels, in this order, until a time in Unix seconds.
// The signed text has a line for each: `events`, the key of the app, every channel, and the time.
func SignEvents(key, secret string, channels []string, expires int64) string {
	return sign(secret, "events\n"+key+"\n"+strings.Join(channels, "\n")+"\n"+strconv.FormatInt(expires, 10))
}

// VerifyEvents verifies the signature of a request for an event stream. Because the signer's clock may be ahead
// by [Window], Expires may be that much further than [MaxTokenAge]; an expired signature is always refused.
func VerifyEvents(key, secret string, now time.Time, q *EventsQuery) error {
	switch {
	case q.Token == "":
		return errors.New("token is missing")
	case q.Expires == 0:
		return errors.New("expires is missing: the time in Unix seconds that the token was signed with")
	case q.Expires <= now.Unix():
		return fmt.Errorf("the token has expired %d s ago", now.Unix()-q.Expires)
	case q.Expires > now.Add(MaxTokenAge+Window).Unix():
		return errors.New("expires is more than a day ahead")
	case !same(q.Token, SignEvents(key, secret, q.Channels, q.Expires)):
		return errors.New("token has a wrong signature; it covers the channels in their order, and expires")
	}
	return nil
}
