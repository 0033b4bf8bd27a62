package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// twinWords returns the error message of the twin, with the type names of the reader under test.
func twinWords(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "twinInput", "input")
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// compare reads a body as an event and as a batch with both readers, and returns the event. Both must accept
// the same bodies and refuse others with the same message.
func compare(t *testing.T, a *app.App, body []byte) (*accepted, error) {
	var in input
	// The reader decodes escapes within the body.
	err := decodeEvent(bytes.Clone(body), &a.Limits, &in)
	var twin twinInput
	if want := twinWords(decode(firstEvent(body), &twin)); words(err) != want {
		t.Fatalf("%q is refused with\n%q, want\n%q", body, words(err), want)
	}
	event, err := compareEvent(t, a, body, err, &in, &twin)

	batch, wrong := decodeBatch(bytes.Clone(body), &a.Limits)
	var twins struct {
		Batch []twinInput `json:"batch"`
	}
	want := twinWords(decode(firstBatch(body), &twins))
	if words(wrong) != want || wrong == nil && batch.count != len(twins.Batch) {
		t.Fatalf("%q is read as a batch of %d with\n%q, want %d and\n%q", body, batch.count, words(wrong), len(twins.Batch), want)
	}
	if kept := min(batch.count, a.Limits.MaxBatchSize); wrong == nil && len(batch.events) != kept {
		t.Fatalf("of %q %d events are kept, want %d", body, len(batch.events), kept)
	}
	for i := 0; wrong == nil && i < len(batch.events); i++ {
		_, _ = compareEvent(t, a, body, nil, &batch.events[i], &twins.Batch[i])
	}
	return event, err
}

func compareEvent(t *testing.T, a *app.App, body []byte, err error, in *input, twin *twinInput) (*accepted, error) {
	if err != nil {
		return nil, err
	}
	if (in.Channels == nil) != (twin.Channels == nil) {
		t.Fatalf("%q has the channels %#v, want %#v", body, in.Channels, twin.Channels)
	}
	want, wrong := twin.accept("", a, "")
	got := &accepted{}
	err = in.accept("", a, "", got)
	if words(err) != twinWords(wrong) {
		t.Fatalf("%q is refused with\n%q, want\n%q", body, words(err), twinWords(wrong))
	}
	if err == nil {
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(accepted{}, attributes{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q is accepted as (-want +got)\n%s", body, diff)
		}
	}
	return got, err
}

// FuzzBodies compares the reading of bodies with encoding/json. An accepted event keeps all limits, and a
// refusal is a readable client error.
func FuzzBodies(f *testing.F) {
	seeds := BadBodies()
	for i, sent := range seeds {
		if len(sent.Body) < 2000 && (i < 8 || i%7 == 0 || i > len(seeds)-300) {
			f.Add([]byte(sent.Body))
		}
	}
	for _, body := range []string{
		whole, `{"batch":[` + whole + `,` + whole + `]}`, `{"name":"n","channel":"c","data":"a\"b\\c\/d\b\f\n\r\t\u0041\ud83d\ude00\ud83dx\ude00\ud83d\u0041"}`,
		`{"name":"n","channels":["a","b"],"data":{"x":1},"socket_id":"1.2","info":"user_count","tags":{"a":"b"},"delta":true}`,
	} {
		f.Add([]byte(body))
	}
	a := &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := compare(t, a, body)
		if err != nil {
			var f *failure
			if !errors.As(err, &f) || f.Message == "" || f.Status < 400 || f.Status >= 500 {
				t.Fatalf("%q is refused with %v", body, err)
			}
			return
		}
		ev := got.event
		if ev.Name == "" || len(ev.Name) > 200 || len(ev.Data) > a.Limits.MaxEventPayload || len(got.channels) == 0 || len(got.channels) > 100 {
			t.Fatalf("%q is accepted as %+v on %q", body, ev, got.channels)
		}
		if !utf8.Valid(ev.Data) || !utf8.ValidString(ev.Name) || len(ev.MessageID) > 128 || len(ev.DedupID) > 128 || len(ev.Tags) > 32 {
			t.Fatalf("%q is accepted as %+v", body, ev)
		}
		for _, c := range got.channels {
			if err := pusher.CheckChannel(c, 200); err != nil {
				t.Fatalf("%q is accepted on a channel that is none: %v", body, err)
			}
		}
	})
}

// TestBodiesAreReadAsTheTwinReadsThem compares the two readers on all bodies of the golden file, and on
// variants with single bytes changed, inserted or removed.
func TestBodiesAreReadAsTheTwinReadsThem(t *testing.T) {
	a := &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
	for _, sent := range BadBodies() {
		_, _ = compare(t, a, []byte(sent.Body))
	}
	// Each member is added before and after the others, unchanged and with another name or value.
	for _, member := range strings.Split(`"name":"other"|"Name":7|"data":{"a":1,"a":2}|"channels":["z"]|"channel":null|"socket_id":"1.3"|"info":["x"]|"tags":{"t":"1","t":2}|"tags":null|`+
		`"delta":false|"delta":"x"|"idempotency_key":"k2"|"message_id":"m2"|"conflation_key":"c2"|`+
		`"extras":{"echo":true,"echo":false,"headers":{"h":1,"h":null,"i":[],"i":1e999},"ephemeral":null,"ephemeral":true,"idempotencyKey":"a","idempotencyKey":"b"}|`+
		`"extras":{"headers":{"h":null,"h":1}}|"extras":{"replay":{"channel":"a","channel":1,"stream_id":"s","serial":1,"serial":-1,"published_at_ms":1,"published_at_ms":null}}|"extras":7`, "|") {
		for _, body := range []string{whole[:len(whole)-1] + "," + member + "}", "{" + member + "," + whole[1:]} {
			for _, sent := range []string{body, `{"batch":[` + body + `]}`, `{"batch":[` + body + `],"batch":[` + whole + `]}`, `{"batch":null,"Batch":[` + body + `]}`} {
				_, _ = compare(t, a, []byte(sent))
			}
		}
	}
	for k, body := range []string{whole, `{"batch":[` + whole + `]}`} {
		for at := k; at < len(body); at += 7 {
			_, _ = compare(t, a, slices.Delete([]byte(body), at, at+1))
			for _, c := range []byte("\"\\{],:0e\x01\xff") {
				changed := []byte(body)
				changed[at] = c
				_, _ = compare(t, a, changed)
				_, _ = compare(t, a, slices.Insert([]byte(body), at, c))
			}
		}
	}
}

// BenchmarkBody reads an event whose data is JSON in a string, as most publishers send it.
func BenchmarkBody(b *testing.B) {
	data, err := json.Marshal(strings.Repeat(`{"symbol":"EURUSD","bid":1.08312,"ask":1.08329,"volume":1200},`, 16))
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"name":"update","channel":"prices","data":` + string(data) + `}`)
	a := &app.App{ID: "app", Limits: app.DefaultLimits}
	own := make([]byte, len(body))
	for name, read := range map[string]func([]byte) error{
		"ours": func(body []byte) error {
			var in input
			if err := decodeEvent(body, &a.Limits, &in); err != nil {
				return err
			}
			err := in.accept("", a, "", &accepted{})
			return err
		},
		"encoding-json": func(body []byte) error {
			var in twinInput
			if err := decode(body, &in); err != nil {
				return err
			}
			_, err := in.accept("", a, "")
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				copy(own, body)
				if err := read(own); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestEscapesAreUndoneInPlace: escapes can be decoded into the memory of the string, however many there are
// and wherever they are.
func TestEscapesAreUndoneInPlace(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	chance := rand.New(rand.NewPCG(seed, 0))
	parts := []string{"a", "eight ch", "a longer piece without", `"`, "\\", "\n", "\t", "/", "é", "漢", "😀", "\x01", "{", "\u2028"}
	for range 2000 {
		var text strings.Builder
		for range chance.IntN(40) {
			text.WriteString(parts[chance.IntN(len(parts))])
		}
		written, err := json.Marshal(text.String())
		if err != nil {
			t.Fatal(err)
		}
		inner := written[1 : len(written)-1]
		apart := string(unescaped(inner))
		if got := string(unescape(inner, inner)); got != text.String() || apart != got {
			t.Fatalf("seed %d: %q became %q in place and %q apart", seed, written, got, apart)
		}
	}
}
