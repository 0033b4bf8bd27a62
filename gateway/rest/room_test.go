package rest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// allocated returns the bytes that do allocates. Other goroutines may allocate meanwhile, so above most the
// least of several tries counts.
func allocated(most uint64, do func()) uint64 {
	least := uint64(math.MaxUint64)
	for tries := 0; tries < 3 && least > most; tries++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// largeBody is a body that was expanded to many times its size before it was refused.
type largeBody struct {
	route, about, body, want string
}

func largeBodies() []largeBody {
	const size = 128 << 10
	// An element with a % is made unique.
	many := func(element string) (string, int) {
		var out strings.Builder
		n := 0
		for ; out.Len() < size; n++ {
			if n > 0 {
				out.WriteByte(',')
			}
			out.WriteString(strings.Replace(element, "%", fmt.Sprintf("%x", n), 1))
		}
		return out.String(), n
	}
	var out []largeBody
	for _, element := range []string{
		`{}`, `null`, `{"channels":["a"]}`, `{"tags":{"%":0}}`, `{"tags":{},"tags":null}`, `{"tags":{"a":0},"tags":null}`, `{"info":[""]}`, `{"delta":true}`,
		`{"idempotency_key":"","conflation_key":""}`, `{"extras":{"headers":{"%":[]}}}`, `{"name":"n","channel":"c","data":"d"}`,
	} {
		body, n := many(element)
		out = append(out, largeBody{"batch_events", "a batch of " + element, `{"batch":[` + body + `]}`, fmt.Sprintf("batch has %d events, the limit is 10", n)})
	}
	mistakes := `{"batch":[{"name":"n","channel":"c","data":"d"}`
	for element, want := range map[string]string{
		`0`: "batch must be an object, not a number", `[]`: "batch must be an object, not a list", `{"name":0}`: "batch.name must be a string, not a number",
		`{"channels":[0]}`: "batch.channels must be a string, not a number",
	} {
		body, _ := many(element)
		out = append(out, largeBody{"batch_events", "a batch of " + element, mistakes + `,` + body + `]}`, "the body is not the JSON that is expected: " + want})
	}
	for _, c := range []struct{ about, before, element, after, want string }{
		{"channels", `"channels":[`, `""`, `]`, "channels has %d entries, the limit is 100"},
		{"named channels", `"channels":[`, `"%"`, `]`, "channels has %d entries, the limit is 100"},
		{"channels without a name", `"channels":[`, `null`, `]`, "channels has %d entries, the limit is 100"},
		{"channels that are none", `"channels":[`, `0`, `]`, "the body is not the JSON that is expected: channels must be a string, not a number"},
		{"tags", `"channel":"c","tags":{`, `"%":0`, `}`, "tags has %d entries, the limit is 32"},
		{"escaped tags", `"channel":"c","tags":{`, `"\u0041%":0`, `}`, "tags has %d entries, the limit is 32"},
		{"one tag again", `"channel":"c","tags":{`, `"a":0`, `}`, `tags: the value of "a" is not a string`},
		{"info", `"channel":"c","info":[`, `"x"`, `]`, `info: "x" is not an attribute of this request`},
		{"info that is none", `"channel":"c","info":[`, `0`, `]`, "the body is not the JSON that is expected: info must be a string, not a number"},
		{"headers", `"channel":"c","extras":{"headers":{`, `"%":[]`, `}}`, "extras has "},
		{"headers of numbers", `"channel":"c","extras":{"headers":{`, `"%":[1e999,1e999,1e999]`, `}}`, "extras: headers must be a number from -1.8e308 to 1.8e308, not 1e999"},
	} {
		body, n := many(c.element)
		want := c.want
		if strings.Contains(want, "%d") {
			want = fmt.Sprintf(want, n)
		}
		body = `{"name":"n","data":"d",` + c.before + body + c.after + `}`
		out = append(out, largeBody{"events", "an event with " + c.about, body, want})
		if strings.Contains(c.before, "channels") {
			continue
		}
		body = `{"batch":[` + body + `]}`
		if want = "batch[0]: " + want; strings.Contains(want, "JSON") {
			want = strings.Replace(c.want, "info must", "batch.info must", 1)
		}
		out = append(out, largeBody{"batch_events", "a batch of an event with " + c.about, body, want})
	}
	return out
}

// TestBodiesCostLittle: reading the body of a publish allocates at most a few times its size, whatever its
// content.
func TestBodiesCostLittle(t *testing.T) {
	a := &app.App{ID: "app", Limits: app.DefaultLimits}
	for _, c := range largeBodies() {
		t.Run(c.about, func(t *testing.T) {
			body, got := []byte(c.body), ""
			most := 16 * uint64(len(body))
			cost := allocated(most, func() {
				var err error
				if c.route == "events" {
					var in input
					if err = decodeEvent(body, &a.Limits, &in); err == nil {
						err = in.accept("", a, "", &accepted{})
					}
				} else {
					var b batch
					if b, err = decodeBatch(body, &a.Limits); err == nil && len(b.events) > a.Limits.MaxBatchSize {
						t.Errorf("%d events are kept", len(b.events))
					}
					if err == nil && b.count == 1 {
						err = b.events[0].accept("", a, "", &accepted{})
						c.want = strings.TrimPrefix(c.want, "batch[0]: ")
					} else if err == nil {
						err = fmt.Errorf("batch has %d events, the limit is %d", b.count, a.Limits.MaxBatchSize)
					}
				}
				got = words(err)
			})
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if cost > most {
				t.Errorf("%d bytes cost %d, %d times as much", len(body), cost, cost/uint64(len(body)))
			}
		})
	}
}

// TestPackedBodiesCostLittle: the same holds for a packed body, relative to its unpacked size.
func TestPackedBodiesCostLittle(t *testing.T) {
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	one := &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
	api := New(Options{Apps: app.NewRegistry(one), Log: log, AllowUnsigned: func(*http.Request) bool { return true }})
	for _, c := range largeBodies() {
		t.Run(c.about, func(t *testing.T) {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			_, _ = w.Write([]byte(c.body))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var answer *httptest.ResponseRecorder
			most := 16 * uint64(len(c.body))
			cost := allocated(most, func() {
				r := httptest.NewRequest(http.MethodPost, "/apps/app/"+c.route, bytes.NewReader(packed.Bytes()))
				r.Header.Set("Content-Encoding", "gzip")
				answer = httptest.NewRecorder()
				api.ServeHTTP(answer, r)
			})
			told := strings.ReplaceAll(answer.Body.String(), `\"`, `"`)
			if answer.Code != http.StatusBadRequest || !strings.Contains(told, `"error":"`+c.want) {
				t.Errorf("got %d %s, want %s", answer.Code, told, c.want)
			}
			if cost > most {
				t.Errorf("%d bytes, packed %d, cost %d, %d times as much", len(c.body), packed.Len(), cost, cost/uint64(len(c.body)))
			}
		})
	}
}
