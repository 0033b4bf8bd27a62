package rest

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// place names a channel.
type place struct{ app, channel string }

// roll is a list of channels or users that was made for all concurrent requests. Requests with the same question
// share one text of it.
type roll struct {
	// names are in byte order; counts are those of channels, nil for a list of users.
	names  []string
	counts []Count

	// texts is a separate object, so that a text that is still being sent does not keep the list in memory.
	texts *texts
}

// texts are the texts of a list that are being sent.
type texts struct {
	mu sync.Mutex
	of map[question]*shared
}

func newRoll(names []string, counts []Count) *roll {
	return &roll{names: names, counts: counts, texts: &texts{of: map[question]*shared{}}}
}

// question is what a request wants of a list.
type question struct {
	prefix string
	asked  attributes
}

// shared is an answer that several requests send. by counts them, and the last one releases the room.
type shared struct {
	of   *texts
	is   question
	body []byte
	room hold
	by   int
}

// rollOfChannels queries the census for all channels of the app. The memory for that is taken from the answers'
// room first.
func (r *request) rollOfChannels(ctx context.Context, census Census) (*roll, error) {
	room := hold{bodies: r.api.answers, app: r.hold.app}
	defer room.release()
	all, err := census.Channels(ctx, r.app.ID, "", func(n int) error {
		if !room.take(min(int64(n), r.api.answers.share()-room.bytes)) {
			return r.noRoom()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(channel string, _ Count) bool { return channel == "" || pusher.KindOf(channel).ServerToUser() })
	out := newRoll(slices.Sorted(maps.Keys(all)), make([]Count, 0, len(all)))
	for _, name := range out.names {
		out.counts = append(out.counts, all[name])
	}
	return out, nil
}

// answer returns the text for a question. Its memory is taken from the answers' room first; a text that is
// larger than the room of its app takes all of that.
func (l *roll) answer(r *request, q question) (any, error) {
	l.texts.mu.Lock()
	defer l.texts.mu.Unlock()
	s := l.texts.of[q]
	if s == nil {
		s = &shared{of: l.texts, is: q, room: hold{bodies: r.api.answers, app: r.hold.app}}
		from, _ := slices.BinarySearch(l.names, q.prefix)
		to := from + len(broker.Beginning(l.names, q.prefix))
		most := l.most(from, to, q.asked)
		if most > piece && !s.room.take(min(int64(most), r.api.answers.share())) {
			return nil, r.noRoom()
		}
		s.body = l.append(make([]byte, 0, most), from, to, q.asked)
		l.texts.of[q] = s
	}
	s.by++
	return s, nil
}

// release is called by each request that has sent it.
func (s *shared) release() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.by--; s.by == 0 {
		s.room.release()
		delete(s.of.of, s.is)
	}
}

// most returns an upper bound of the bytes of a part of the list.
func (l *roll) most(from, to int, asked attributes) int {
	each := len(`{"id":""},`)
	if asked.any() {
		each += len(`"subscription_count":,"user_count":`) + 2*20
	}
	n := len(`{"channels":{}}`) + each*(to-from)
	for _, name := range l.names[from:to] {
		n += len(name)
		for i := range len(name) {
			if c := name[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
				n += len(`\u0000`) - 1
			}
		}
	}
	return n
}

// append encodes a part of the list.
func (l *roll) append(dst []byte, from, to int, asked attributes) []byte {
	begin, end := `{"users":[`, `]}`
	if l.counts != nil {
		begin, end = `{"channels":{`, `}}`
	}
	dst = append(dst, begin...)
	for i := from; i < to; i++ {
		if i > from {
			dst = append(dst, ',')
		}
		name := strings.ToValidUTF8(l.names[i], "\ufffd")
		if l.counts == nil {
			dst = append(pusher.AppendString(append(dst, `{"id":`...), name), '}')
			continue
		}
		dst = append(pusher.AppendString(dst, name), ':')
		dst = asked.append(dst, l.names[i], l.counts[i])
	}
	return append(dst, end...)
}

// append encodes the requested attributes of a channel, as [attributes.of] returns them.
func (a attributes) append(dst []byte, channel string, n Count) []byte {
	dst = append(dst, '{')
	if a.subscriptions {
		dst = strconv.AppendInt(append(dst, `"subscription_count":`...), int64(n.Subscriptions), 10)
	}
	if a.users && pusher.KindOf(channel).Presence() {
		if a.subscriptions {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `"user_count":`...), int64(n.Users), 10)
	}
	return append(dst, '}')
}
