package client

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// maxAnswer bounds the body of an answer in bytes: the largest page of history with the largest events.
const maxAnswer = 64 << 20

// SignedOptions configure a [Signed].
type SignedOptions struct {
	// URL of the server, http or https, with an optional path prefix, which signatures do not cover.
	URL string
	// AppID, Key and Secret are the app's credentials. Required.
	AppID, Key string
	Secret     app.Secret
	// HTTP sends the requests; nil means a client with a timeout of 30 s.
	HTTP *http.Client
	// Now is the clock for signatures; nil means time.Now.
	Now func() time.Time
}

// Signed sends signed requests to the HTTP API (protocol section 2). It is safe for concurrent use.
type Signed struct {
	opt  SignedOptions
	base url.URL
}

// NewSigned checks the options and returns a Signed.
func NewSigned(opt SignedOptions) (*Signed, error) {
	switch {
	case opt.AppID == "":
		return nil, errors.New("client: AppID is required")
	case opt.Key == "":
		return nil, errors.New("client: Key is required")
	case opt.Secret == "":
		return nil, errors.New("client: Secret is required")
	}
	base, err := parseURL(opt.URL)
	if err != nil {
		return nil, err
	}
	if opt.HTTP == nil {
		opt.HTTP = &http.Client{Timeout: 30 * time.Second}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Signed{opt: opt, base: *base}, nil
}

// APIError is an answer of the server with a status other than 2xx (protocol section 2.2).
type APIError struct {
	Status int
	// Code is the machine-readable reason, and Message a sentence. Code is empty if the answer does not come
	// from the API.
	Code, Message string
	// RetryAfter is the pause that the server asks for, 0 if none.
	RetryAfter time.Duration
}

func (e *APIError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("status %d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%s, status %d)", e.Message, e.Code, e.Status)
}

// Do sends one request below `/apps/{AppID}` and decodes the answer into out unless that is nil. Each element of
// path is escaped and is one path segment, so a channel may be any text. query may be nil and is not modified.
// body is sent as JSON unless it is nil. The error is an [*APIError] for an answer of the server, and otherwise
// that of the transport.
func (s *Signed) Do(ctx context.Context, method string, path []string, query url.Values, body, out any) error {
	answer, err := s.send(ctx, s.opt.HTTP, method, path, query, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := readAnswer(answer)
	switch {
	case err != nil:
		return err
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("answer of %s: %w", answer.Request.URL.EscapedPath(), err)
	}
	return nil
}

// send signs a request and sends it with a client. The caller must close the answer's body.
func (s *Signed) send(ctx context.Context, with *http.Client, method string, path []string, query url.Values, body any) (*http.Response, error) {
	signed := "/apps/" + url.PathEscape(s.opt.AppID)
	for _, p := range path {
		signed += "/" + url.PathEscape(p)
	}
	params := url.Values{}
	for name, values := range query {
		params[name] = values
	}
	params.Set("auth_key", s.opt.Key)
	params.Set("auth_timestamp", strconv.FormatInt(s.opt.Now().Unix(), 10))
	params.Set("auth_version", "1.0")
	var content []byte
	if body != nil {
		var err error
		if content, err = encoded(body); err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		sum := md5.Sum(content)
		params.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	params.Set("auth_signature", pusher.SignRequest(s.opt.Secret.Reveal(), method, signed, params))
	target := s.base.String() + signed + "?" + params.Encode()
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := with.Do(r)
	if err != nil {
		// The error of net/http contains the URL, and so the signature.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
			if u.Timeout() && with.Timeout > 0 && ctx.Err() == nil {
				err = &silence{with.Timeout, err}
			}
		}
		return nil, fmt.Errorf("%s %s%s: %w", method, s.base.String(), signed, err)
	}
	return answer, nil
}

// silence is the error of a request that timed out.
type silence struct {
	after time.Duration
	error
}

func (e *silence) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (e *silence) Unwrap() error { return e.error }

// encoded encodes JSON without escapes for HTML, because the server measures extras as they are sent.
func encoded(body any) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// readAnswer reads the body of an answer. It returns an [*APIError] unless the status is 2xx.
func readAnswer(answer *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	case answer.StatusCode/100 != 2:
		return nil, apiError(answer, text)
	}
	return text, nil
}

func apiError(answer *http.Response, text []byte) error {
	var told struct{ Error, Code string }
	wait, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	e := &APIError{Status: answer.StatusCode, RetryAfter: time.Duration(max(wait, 0)) * time.Second}
	if json.Unmarshal(text, &told) != nil || told.Error == "" {
		e.Message = http.StatusText(answer.StatusCode)
	} else {
		e.Code, e.Message = told.Code, told.Error
	}
	return e
}

// Publish is one event for the HTTP API (protocol section 2.3).
type Publish struct {
	Name string `json:"name"`
	// Data is the data string.
	Data string `json:"data"`
	// Channels is for [Signed.Publish], Channel for [Signed.PublishBatch].
	Channels []string `json:"channels,omitempty"`
	Channel  string   `json:"channel,omitempty"`
	// SocketID excludes the connection with this id from delivery.
	SocketID string            `json:"socket_id,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	// Delta false means never as a delta; true means also when it is small.
	Delta     *bool  `json:"delta,omitempty"`
	MessageID string `json:"message_id,omitempty"`
	// ConflationKey is the conflation value; nil means that the configured path applies.
	ConflationKey  *string         `json:"conflation_key,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	Extras         json.RawMessage `json:"extras,omitempty"`
}

// Publish publishes one event to its channels. It returns when the log has stored it.
func (s *Signed) Publish(ctx context.Context, p Publish) error {
	return s.Do(ctx, http.MethodPost, []string{"events"}, nil, p, nil)
}

// Stored is the position of an event in the log of a channel.
type Stored struct {
	Serial   uint64 `json:"serial"`
	StreamID string `json:"stream_id"`
	// Duplicate says that an event with the same idempotency key was stored before; the position is that of the
	// earlier event.
	Duplicate bool `json:"duplicate"`
}

// PublishStored publishes like [Signed.Publish] and returns the positions of the event by channel. Servers of
// older releases return none.
func (s *Signed) PublishStored(ctx context.Context, p Publish) (map[string]Stored, error) {
	request := struct {
		Publish
		Info string `json:"info,omitempty"`
	}{p, "position"}
	var answer struct{ Channels map[string]Stored }
	err := s.Do(ctx, http.MethodPost, []string{"events"}, nil, request, &answer)
	var refused *APIError
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest && strings.HasPrefix(refused.Message, "info:") {
		// The server has an older release, and has stored nothing.
		return nil, s.Publish(ctx, p)
	}
	for channel, stored := range answer.Channels {
		if stored.Serial == 0 {
			delete(answer.Channels, channel)
		}
	}
	return answer.Channels, err
}

// PublishBatch publishes events in order, at most as many as the app allows
// (10 by default).
func (s *Signed) PublishBatch(ctx context.Context, batch ...Publish) error {
	return s.Do(ctx, http.MethodPost, []string{"batch_events"}, nil, map[string]any{"batch": batch}, nil)
}

// PublishBatchStored publishes like [Signed.PublishBatch] and returns the position of each event; nil if the
// server does not return them.
func (s *Signed) PublishBatchStored(ctx context.Context, batch ...Publish) ([]Stored, error) {
	type asking struct {
		Publish
		Info string `json:"info"`
	}
	request := make([]asking, len(batch))
	for i, p := range batch {
		request[i] = asking{p, "position"}
	}
	var answer struct{ Batch []Stored }
	err := s.Do(ctx, http.MethodPost, []string{"batch_events"}, nil, map[string]any{"batch": request}, &answer)
	if len(answer.Batch) != len(batch) {
		return nil, err
	}
	return answer.Batch, err
}

// SignChannel returns the auth string of a subscription, for [Options.Auth] of programs that have the secret.
func (s *Signed) SignChannel(socketID, channel string) (auth, channelData string, err error) {
	return s.opt.Key + ":" + pusher.SignChannel(s.opt.Secret.Reveal(), socketID, channel, "", false), "", nil
}
