package hub

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// logged collects log lines of level info and above.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *logged) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

// none fails the test for any log line except the rate-limited ones about refused clients. Of these there may
// be one for each cause, since their pause is longer than the test.
func (n *logged) none(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	said := map[string]bool{}
	for line := range strings.Lines(n.text.String()) {
		refused := regexp.MustCompile(`level=WARN msg="(\w+ )+are refused" .*times=1$`).MatchString(strings.TrimSpace(line))
		cause := regexp.MustCompile(`msg=.* (reason|message|type)=\w+ `).FindString(line)
		if !refused || said[cause] {
			t.Errorf("this was logged: %.2000s", line)
		}
		said[cause] = true
	}
}

func hostileRig(t *testing.T) (*rig, *logged) {
	log := &logged{}
	r := newRig(t, func(o *Options, _ *appT) {
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		o.Compression = true
	})
	r.hub.refusals.Pause = time.Hour
	return r, log
}

// deflated returns a compressed client frame.
func deflated(first byte, text []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(text)
	_ = w.Flush()
	f := masked(websocket.Text, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
	f[0] = first
	return f
}

func frames(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// withFirst changes the first byte of a frame.
func withFirst(first byte, f []byte) []byte {
	f[0] = first
	return f
}

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

func TestTrust11HostileFrames(t *testing.T) {
	r, log := hostileRig(t)
	other := r.subscribed("orders", false)
	ping := []byte(`{"event":"pusher:ping"}`)
	huge := []byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	half := bytes.Repeat([]byte(" "), 33<<10)
	for _, c := range []struct {
		name    string
		bytes   []byte
		deflate bool
		code    int
		reason  string
	}{
		{name: "all bits of the length", bytes: huge, code: 1009, reason: "too_large"},
		{name: "the same behind a good frame", bytes: frames(masked(websocket.Text, ping), huge), code: 1009, reason: "too_large"},
		{name: "a negative length of a ping", bytes: withFirst(0x89, bytes.Clone(huge)), code: 1002, reason: "control"},
		{name: "a negative length of a continuation", bytes: frames(withFirst(0x01, masked(websocket.Text, ping)), withFirst(0x80, bytes.Clone(huge))), code: 1009, reason: "too_large"},
		{name: "a negative length, not masked", bytes: []byte{0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, code: 1002, reason: "not_masked"},
		{name: "fragments that are too large together", bytes: frames(withFirst(0x01, masked(websocket.Text, half)), withFirst(0x80, masked(websocket.Text, half))), code: 1009, reason: "too_large"},
		{name: "a continuation of nothing", bytes: withFirst(0x80, masked(websocket.Text, ping)), code: 1002, reason: "fragments"},
		{name: "a message within another", bytes: frames(withFirst(0x01, masked(websocket.Text, ping)), masked(websocket.Text, ping)), code: 1002, reason: "fragments"},
		{name: "reserved bit 1", bytes: withFirst(0xc1, masked(websocket.Text, ping)), code: 1002, reason: "reserved_bits"},
		{name: "reserved bit 2 with compression", bytes: withFirst(0xa1, masked(websocket.Text, ping)), deflate: true, code: 1002, reason: "reserved_bits"},
		{name: "a compressed ping", bytes: withFirst(0xc9, masked(websocket.Text, nil)), deflate: true, code: 1002, reason: "reserved_bits"},
		{name: "a reserved opcode", bytes: masked(3, ping), code: 1002, reason: "opcode"},
		{name: "a reserved control opcode", bytes: masked(0xb, nil), code: 1002, reason: "opcode"},
		{name: "a control frame of 126 bytes", bytes: masked(websocket.Ping, make([]byte, 126)), code: 1002, reason: "control"},
		{name: "a ping with a length in two bytes", bytes: []byte{0x89, 0xfe, 0, 1, 0, 0, 0, 0, 'x'}, code: 1002, reason: "control"},
		{name: "a close with a length in eight bytes", bytes: []byte{0x88, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, code: 1002, reason: "control"},
		{name: "a ping in fragments", bytes: withFirst(0x09, masked(websocket.Ping, nil)), code: 1002, reason: "control"},
		{name: "a bomb", bytes: deflated(0xc1, make([]byte, 1<<22)), deflate: true, code: 1009, reason: "too_large"},
		{name: "what is not compressed as it says", bytes: withFirst(0xc1, masked(websocket.Text, []byte("\xff\xff\xff\xff\xff"))), deflate: true, code: 1007, reason: "compression"},
		{name: "half a letter", bytes: masked(websocket.Text, []byte("\xc3")), code: 1007},
		{name: "a close of one byte", bytes: masked(websocket.Close, []byte{3}), code: 1002},
		{name: "an illegal close code", bytes: masked(websocket.Close, binary.BigEndian.AppendUint16(nil, 1005)), code: 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			const metric = "sockudo_frames_refused_total"
			reason := map[string]string{"reason": c.reason}
			before, all := metricValue(t, r.registry, metric, reason), metricValue(t, r.registry, metric, nil)
			lines := ""
			if c.deflate {
				lines = deflateOffer
			}
			bad := dialHeader(t, r.server.Listener.Addr().String(), "/app/key", lines, c.bytes...)
			if got := bad.closed(); got != c.code {
				t.Errorf("closed with %d (%s), want %d", got, bad.reason, c.code)
			}
			// The same bytes are sent for an unknown app.
			if got := dialHeader(t, r.server.Listener.Addr().String(), "/app/nobody", lines, c.bytes...).closed(); got != 4001 {
				t.Errorf("without an app: closed with %d, want 4001", got)
			}
			if c.reason == "" {
				return // refused by the library, which does not count
			}
			eventually(t, "both are counted", func() bool { return metricValue(t, r.registry, metric, nil) == all+2 })
			if metricValue(t, r.registry, metric, reason) == before {
				t.Errorf("nothing is counted as %s", c.reason)
			}
		})
	}
	r.publish("orders", "placed", `{}`)
	other.want("placed")
	if n := metricValue(t, r.registry, "sockudo_connection_panics_total", nil); n != 0 {
		t.Errorf("%v panics", n)
	}
	log.none(t)
}

// hostileBytes returns mostly frames, with any part of them possibly wrong.
func hostileBytes(rnd *rand.Rand) []byte {
	texts := []string{
		`{"event":"pusher:ping","data":{}}`, `{"event":"pusher:subscribe","data":{"channel":"orders"}}`, `{"event":"pusher:signin","data":{}}`,
		`{"event":"pusher:unsubscribe","data":{"channel":"orders"}}`, "\xff\xfe", "{", "", string(make([]byte, 300)),
	}
	var out []byte
	for range 1 + rnd.IntN(12) {
		f := masked(websocket.Text, []byte(texts[rnd.IntN(len(texts))]))
		switch rnd.IntN(6) {
		case 0:
			f[0] = byte(rnd.Uint32())
		case 1:
			f[1] = byte(rnd.Uint32())
		case 2:
			f = []byte{f[0], 0xff}
			f = binary.BigEndian.AppendUint64(f, rnd.Uint64()>>rnd.IntN(64))
		case 3:
			f = deflated(0xc1, bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(1<<18)))
		case 4:
			f = f[:rnd.IntN(len(f))]
		}
		out = append(out, f...)
	}
	return out
}

// attack sends bytes after a handshake and waits for the end of the connection.
func attack(t *testing.T, r *rig, path string, raw []byte) {
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	head := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + deflateOffer + "\r\n"
	if _, err := conn.Write(append([]byte(head), raw...)); err != nil {
		return // refused already
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// undisturbed checks that hostile connections have left nothing behind.
func undisturbed(t *testing.T, r *rig, other *peer, log *logged) {
	t.Helper()
	r.publish("beside", "placed", `{}`)
	other.want("placed")
	eventually(t, "the hostile connections are gone", func() bool {
		return len(r.hub.everybody()) == 1
	})
	if n := metricValue(t, r.registry, "sockudo_connection_panics_total", nil); n != 0 {
		t.Errorf("%v panics", n)
	}
	log.none(t)
}

func TestTrust11RandomFrames(t *testing.T) {
	for _, seed := range []uint64{1, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r, log := hostileRig(t)
			other := r.subscribed("beside", false)
			rnd := rand.New(rand.NewPCG(seed, 0))
			for i := range 100 {
				attack(t, r, []string{"/app/key", "/app/key?protocol=2", "/app/nobody"}[i%3], hostileBytes(rnd))
			}
			undisturbed(t, r, other, log)
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(masked(websocket.Text, []byte(`{"event":"pusher:subscribe","data":{"channel":"orders"}}`)))
	f.Add(deflated(0xc1, make([]byte, 1<<20)))
	f.Add(withFirst(0x01, masked(websocket.Text, []byte("{"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, log := hostileRig(t)
		other := r.subscribed("beside", false)
		attack(t, r, "/app/key", raw)
		undisturbed(t, r, other, log)
	})
}

// metricValue returns the sum of the series of a metric that have these labels.
func metricValue(t *testing.T, registry *prometheus.Registry, name string, labels map[string]string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for k, v := range labels {
				if have[k] != v {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
