package workload

import (
	"math/rand/v2"
	"strconv"
)

// Stream is one endless sequence of messages on one channel. It is not safe for concurrent use.
type Stream struct {
	// Name identifies the stream in test and benchmark names.
	Name string
	// Event and Channel are the event name and channel of its messages.
	Event, Channel string
	// KeyPath is the conflation path of the channel, empty for channels
	// without one.
	KeyPath string

	number uint32
	next   func(b []byte) (data []byte, key string)
}

// Next returns the data string of the next message. The caller owns it.
func (s *Stream) Next() []byte {
	data, _ := s.next(nil)
	return data
}

// NextText returns the complete full frame of the next message in the V1
// dialect, markers included (protocol section 3.7), and the conflation value of
// the message, empty for streams without a [Stream.KeyPath]. These texts are
// what deltas are made of. The caller owns the text.
func (s *Stream) NextText() (text []byte, key string) {
	data, key := s.next(nil)
	b := make([]byte, 0, len(data)+128)
	b = append(b, `{"event":"`...)
	b = append(b, s.Event...)
	b = append(b, `","channel":"`...)
	b = append(b, s.Channel...)
	b = append(b, `","data":`...)
	b = append(b, data...)
	b = append(b, `,"sequence":`...)
	b = strconv.AppendUint(b, uint64(s.number), 10)
	s.number++
	if s.KeyPath != "" {
		b = append(b, `,"conflation_key":"`...)
		b = append(b, key...)
		b = append(b, '"')
	}
	return append(b, '}'), key
}

// All returns the streams from their beginning, the same streams at each call.
func All() []*Stream { return Seeded(1) }

// Seeded returns the streams for a seed. Each stream depends only on the seed, however the others are used.
func Seeded(seed uint64) []*Stream {
	all := []*Stream{
		{Name: "quote", Event: "q", Channel: "quotes", KeyPath: "s"},
		{Name: "iot", Event: "reading", Channel: "plant-7", KeyPath: "device"},
		{Name: "ticker", Event: "ticker", Channel: "market-data", KeyPath: "symbol"},
		{Name: "ticker3", Event: "ticker", Channel: "market-data", KeyPath: "symbol"},
		{Name: "dashboard", Event: "metrics", Channel: "private-dashboard"},
		{Name: "game", Event: "state", Channel: "presence-match-81"},
		{Name: "chat", Event: "message", Channel: "presence-room-42"},
		{Name: "book", Event: "book", Channel: "books", KeyPath: "symbol"},
		{Name: "telemetry", Event: "host", Channel: "private-fleet", KeyPath: "host.name"},
	}
	makers := []func(*source) func([]byte) ([]byte, string){
		newQuote, newIoT, newTicker, newTicker3, newDashboard, newGame, newChat, newBook, newTelemetry,
	}
	for i, s := range all {
		s.number = 1_204_731_000 + uint32(i)*50_000_000
		s.next = makers[i](&source{rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return all
}

// source is the randomness of one stream.
type source struct{ *rand.Rand }

// walk returns v changed by at most step in either direction, kept in [lo, hi].
func (s *source) walk(v, step, lo, hi float64) float64 {
	return min(max(v+(2*s.Float64()-1)*step, lo), hi)
}

// chance is true with the given probability.
func (s *source) chance(p float64) bool { return s.Float64() < p }

// hex returns n hexadecimal digits.
func (s *source) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[s.IntN(16)]
	}
	return string(b)
}

// clock is a rising time in milliseconds.
type clock int64

const firstClock clock = 1_767_225_600_000

func (c *clock) tick(s *source, mean int) int64 {
	*c += clock(1 + s.IntN(2*mean))
	return int64(*c)
}

// fixed appends v with the given number of decimals.
func fixed(b []byte, v float64, decimals int) []byte {
	return strconv.AppendFloat(b, v, 'f', decimals, 64)
}

func integer(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) }
