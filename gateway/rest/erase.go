package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// maxReason bounds the texts reason and requested_by of a purge or reset, in bytes.
const maxReason = 1024

// erasing is the body of a request that removes the history of a channel. It repeats the channel and the
// operation, so that a wrong path removes nothing.
type erasing struct {
	Channel     string `json:"confirm_channel"`
	Operation   string `json:"confirm_operation"`
	Reason      string `json:"reason"`
	RequestedBy string `json:"requested_by"`
	// Mode and its bounds are for a purge only.
	Mode         string      `json:"mode"`
	BeforeSerial *purgeBound `json:"before_serial"`
	BeforeTime   *purgeBound `json:"before_time_ms"`
}

// erasingFields are the JSON names of the fields of [erasing].
var erasingFields = func() (names []string) {
	for f := range reflect.TypeFor[erasing]().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}()

// purgeBound is the bound of a purge, from 1 to 2^53; 0 stands for an invalid value.
type purgeBound uint64

// maxPurgeBound is the largest bound: JavaScript numbers are exact up to there.
const maxPurgeBound = 1 << 53

// UnmarshalJSON accepts whole numbers in any notation. It never fails; an invalid bound becomes 0, which
// [request.before] refuses.
func (b *purgeBound) UnmarshalJSON(text []byte) error {
	if n, err := strconv.ParseUint(pusher.Whole(string(text)), 10, 64); err == nil && n <= maxPurgeBound {
		*b = purgeBound(n)
	}
	return nil
}

// checkErasable refuses channels that cannot have a history. Whether history is enabled does not matter: what is
// stored can be removed in any case.
func (r *request) checkErasable() error {
	if err := pusher.CheckChannel(r.channel, r.app.Limits.MaxChannelLength); err != nil {
		return invalid("%v", err)
	}
	if pusher.KindOf(r.channel).ServerToUser() {
		return fail(http.StatusUnprocessableEntity, "feature_disabled", "channels of one user have no history")
	}
	return nil
}

// confirmed reads the body of a request for an operation, and checks that it confirms the channel and the
// operation.
func (r *request) confirmed(operation string) (e erasing, err error) {
	if err := r.checkErasable(); err != nil {
		return e, err
	}
	if r.api.opt.Eraser == nil {
		return e, fail(http.StatusUnprocessableEntity, "feature_disabled", "the history of channels cannot be removed here")
	}
	known := fields{names: erasingFields}
	body := having(r.body, func(name []byte) bool { return known.of(name) != "" })
	if body == nil {
		body = r.body
	}
	if err := decode(body, &e); err != nil {
		return e, err
	}
	switch {
	case e.Channel != r.channel:
		return e, invalid("confirm_channel must be the channel of the path")
	case e.Operation != operation:
		return e, invalid("confirm_operation is %.40q, must be %q", e.Operation, operation)
	case e.Reason == "" && operation == "reset":
		return e, invalid("reason is missing")
	case len(e.Reason) > maxReason || len(e.RequestedBy) > maxReason:
		return e, invalid("reason and requested_by have at most %d bytes", maxReason)
	case !utf8.ValidString(e.Reason + e.RequestedBy):
		return e, invalid("reason and requested_by must be UTF-8")
	}
	return e, nil
}

// erasingTime returns the context for a removal, which continues when the client disconnects.
func (r *request) erasingTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.http.Context()), r.api.opt.PublishTimeout)
}

// purged is the answer to a purge.
type purged struct {
	Channel      string      `json:"channel"`
	Operation    string      `json:"operation"`
	Mode         string      `json:"mode"`
	BeforeSerial *purgeBound `json:"before_serial"`
	BeforeTime   *purgeBound `json:"before_time_ms"`
	StreamID     string      `json:"stream_id"`
	Messages     uint64      `json:"purged_messages"`
	Bytes        uint64      `json:"purged_bytes"`
}

// purge serves POST /apps/ID/channels/CHANNEL/history/purge.
func (r *request) purge() (any, error) {
	e, err := r.confirmed("purge")
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.erasingTime()
	defer cancel()
	before, some, err := r.before(ctx, &e)
	if err != nil {
		return nil, err
	}
	var gone broker.Erased
	if some {
		if gone, err = r.api.opt.Eraser.Purge(ctx, r.app.ID, r.channel, before); err != nil {
			return nil, err
		}
	}
	now, err := r.api.opt.History.Retained(ctx, r.app.ID, r.channel)
	if err != nil {
		return nil, err
	}
	r.api.opt.Logger.Info("the history of a channel was purged", "app", r.app.ID, "channel", r.channel, "mode", e.Mode,
		"messages", gone.Messages, "reason", e.Reason, "requested_by", e.RequestedBy)
	return purged{r.channel, "purge", e.Mode, e.BeforeSerial, e.BeforeTime, now.Epoch, gone.Messages, gone.Bytes}, nil
}

// before returns the offset below which a purge removes everything, 0 for all events. some is false if there is
// nothing to remove.
func (r *request) before(ctx context.Context, e *erasing) (offset uint64, some bool, err error) {
	switch e.Mode {
	case "all":
		if e.BeforeSerial != nil || e.BeforeTime != nil {
			return 0, false, invalid("mode all goes with no bound")
		}
		return 0, true, nil
	case "before_serial":
		if e.BeforeSerial == nil || *e.BeforeSerial == 0 || e.BeforeTime != nil {
			return 0, false, invalid("mode before_serial goes with before_serial alone, a number from 1 to 2^53")
		}
		return uint64(*e.BeforeSerial), true, nil
	case "before_time_ms":
		if e.BeforeTime == nil || *e.BeforeTime == 0 || e.BeforeSerial != nil {
			return 0, false, invalid("mode before_time_ms goes with before_time_ms alone, a number from 1 to 2^53")
		}
		return r.beforeTime(ctx, time.UnixMilli(int64(*e.BeforeTime)))
	}
	return 0, false, invalid("mode is %.40q, must be all, before_serial or before_time_ms", e.Mode)
}

// beforeTime returns the offset of the first event that was stored at t or later.
func (r *request) beforeTime(ctx context.Context, t time.Time) (uint64, bool, error) {
	page, err := r.api.opt.History.Read(ctx, r.app.ID, r.channel, broker.Query{Since: t, Limit: 1})
	switch {
	case err != nil:
		return 0, false, err
	case len(page.Publications) > 0:
		return page.Publications[0].Offset, true, nil
	case page.Retained.Messages == 0:
		return 0, false, nil
	}
	// Events that are published from now on stay.
	return page.Retained.Newest + 1, true, nil
}

// resetDone is the answer to a reset.
type resetDone struct {
	Channel   string `json:"channel"`
	Operation string `json:"operation"`
	Previous  string `json:"previous_stream_id"`
	Present   string `json:"new_stream_id"`
	Messages  uint64 `json:"purged_messages"`
	Bytes     uint64 `json:"purged_bytes"`
}

// reset serves POST /apps/ID/channels/CHANNEL/history/reset.
func (r *request) reset() (any, error) {
	e, err := r.confirmed("reset")
	if err != nil {
		return nil, err
	}
	if e.Mode != "" || e.BeforeSerial != nil || e.BeforeTime != nil {
		return nil, invalid("mode and its bounds are for a purge")
	}
	ctx, cancel := r.erasingTime()
	defer cancel()
	done, err := r.api.opt.Eraser.Reset(ctx, r.app.ID, r.channel)
	if err != nil {
		return nil, err
	}
	r.api.opt.Logger.Info("the history of a channel was reset", "app", r.app.ID, "channel", r.channel,
		"messages", done.Messages, "reason", e.Reason, "requested_by", e.RequestedBy)
	return resetDone{r.channel, "reset", done.Previous, done.Present, done.Messages, done.Bytes}, nil
}

// decode parses a JSON body. It refuses invalid UTF-8, which encoding/json would replace.
func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errNotUTF8()
	}
	return expected(json.Unmarshal(body, into))
}
