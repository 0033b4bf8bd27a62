package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// second returns a V2 client, its connection, and what it reports.
func (s *script) second(opt Options) (*Client, *peer, chan Status) {
	s.t.Helper()
	states := make(chan Status, 100)
	opt.URL, opt.Key, opt.Protocol = s.url, "key", pusher.V2
	opt.Reconnect, opt.MinBackoff = true, time.Millisecond
	opt.OnStatus = func(st Status) { states <- st }
	made := make(chan *Client, 1)
	go func() {
		c, err := Dial(within(s.t), opt)
		if err != nil {
			s.t.Error(err)
		}
		made <- c
	}()
	p := s.greetedAs("1.1")
	c := await(s.t, made, "Dial")
	s.t.Cleanup(func() { _ = c.Close() })
	return c, p, states
}

func (s *script) greetedAs(id string) *peer {
	s.t.Helper()
	p := s.next()
	p.send(`{"event":"sockudo:connection_established","data":"{\"socket_id\":\"` + id + `\",\"activity_timeout\":120}","message_id":"greeting"}`)
	return p
}

const subscribeTo = `{"event":"sockudo:subscribe","data":{"channel":"%s","auth":""%s}}`

// announced is the member by which a subscription announces a resume.
const announced = `,"resumes":true`

// granted answers a subscription at a position.
func (p *peer) granted(channel, more, stream string, serial int) {
	p.t.Helper()
	p.expect(fmt.Sprintf(subscribeTo, channel, more))
	p.send(success(channel, stream, serial))
}

func success(channel, stream string, serial int) string {
	return fmt.Sprintf(`{"event":"sockudo_internal:subscription_succeeded","channel":%q,"data":"{}","stream_id":%q,"serial":%d}`, channel, stream, serial)
}

func (p *peer) wants(c *Client, channel string, stream string, serial int, options ...SubscribeOption) {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(p.t), channel, options...) }()
	s := &subscription{}
	for _, o := range options {
		o(s)
	}
	more := ""
	if s.rewind != "" {
		more = `,"rewind":` + s.rewind
	}
	p.granted(channel, more, stream, serial)
	if err := await(p.t, done, "Subscribe"); err != nil {
		p.t.Fatal(err)
	}
}

func event(channel, stream string, serial int) string {
	return fmt.Sprintf(`{"event":"e","channel":%q,"data":"%d","message_id":"m%s-%d","stream_id":%q,"serial":%d}`, channel, serial, channel, serial, stream, serial)
}

func resumeOf(positions, was string) string {
	return `{"event":"sockudo:resume","data":{"channel_positions":{` + positions + `},"socket_id":"` + was + `"}}`
}

func summaryOf(channel, stream string, serial, replayed int) string {
	return fmt.Sprintf(`{"event":"sockudo:resume_success","data":{"recovered":[{"channel":%q,"source":"hot","replayed":%d,"position":{"stream_id":%q,"serial":%d}}],"failed":[]}}`,
		channel, replayed, stream, serial)
}

func (s *script) lose(p *peer, states chan Status, id string) *peer {
	s.t.Helper()
	_ = p.conn.NetConn().Close()
	if st := await(s.t, states, "the loss"); st.Connected {
		s.t.Fatalf("got status %+v, want a loss", st)
	}
	next := s.greetedAs(id)
	if st := await(s.t, states, "the return"); !st.Connected || st.Recovered != nil || st.Gap != nil {
		s.t.Fatalf("got status %+v, want a return", st)
	}
	return next
}

func datas(t *testing.T, c *Client, n int) (all []string) {
	t.Helper()
	for range n {
		all = append(all, await(t, c.Events(), "an event").Data)
	}
	return all
}

// TestTime05PositionsOfAClient: a client resumes from the last position of a success frame, an event or a
// summary.
func TestTime05PositionsOfAClient(t *testing.T) {
	s := newScript(t)
	c, p, states := s.second(Options{})
	p.wants(c, "a", "s1", 7)
	p = s.lose(p, states, "2.2")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":7}`, "1.1"))
	// The subscription begins at 9. 8 and 9 are replayed, and 11 came live meanwhile.
	p.send(success("a", "s1", 9), event("a", "s1", 11), event("a", "s1", 8), event("a", "s1", 9), summaryOf("a", "s1", 10, 2))
	if diff := cmp.Diff([]string{"11", "8", "9"}, datas(t, c, 3)); diff != "" {
		t.Error(diff)
	}
	if st := await(t, states, "the summary"); st.Recovered == nil || st.Recovered.Events != 2 || st.Recovered.Channels != 1 || len(st.Recovered.Gaps) > 0 {
		t.Errorf("got %+v", st.Recovered)
	}
	p = s.lose(p, states, "3.3")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":11,"last_message_id":"ma-11"}`, "2.2"))
	// The connection is cut before the summary: the position of a live event is not one to resume from.
	p.send(success("a", "s1", 14), event("a", "s1", 12), event("a", "s1", 15))
	datas(t, c, 2)
	p = s.lose(p, states, "4.4")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":12,"last_message_id":"ma-12"}`, "3.3"))
	// Repeated events are dropped, and an event without a serial changes no position.
	p.send(success("a", "s1", 15), event("a", "s1", 13), event("a", "s1", 14), event("a", "s1", 15), summaryOf("a", "s1", 15, 3),
		event("a", "s1", 13), `{"event":"e","channel":"a","data":"fleeting","message_id":"f"}`)
	if diff := cmp.Diff([]string{"13", "14", "fleeting"}, datas(t, c, 3)); diff != "" {
		t.Error(diff)
	}
	await(t, states, "the summary")
	p = s.lose(p, states, "5.5")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":15,"last_message_id":"ma-15"}`, "4.4"))
}

// TestTime05BasesOfAClient: a client with deltas says since when it has all bases, if it has any.
func TestTime05BasesOfAClient(t *testing.T) {
	s := newScript(t)
	c, p, states := s.second(Options{Delta: true, Algorithms: []string{"fossil"}})
	const enable = `{"event":"sockudo:enable_delta_compression","data":{"algorithms":["fossil"]}}`
	p.expect(enable)
	p.wants(c, "market", "s1", 7)
	// A sequence number is a serial plus a salt.
	salted := func(serial, salt uint32) string {
		return fmt.Sprintf(`{"event":"tick","channel":"market","data":%s,"message_id":"m%d","stream_id":"s1","serial":%d,"sequence":%d,"conflation_key":"BTC"}`,
			data("BTC", int(serial)), serial, serial, serial+salt)
	}
	text := func(serial uint32) string { return salted(serial, 0) }
	saltedDelta := func(serial, base, salt uint32) string {
		f := deltaFrame(salted(serial, salt), salted(base, salt), serial+salt, base+salt, "BTC")
		f = `{"event":"sockudo` + f[len(`{"event":"pusher`):]
		return f[:len(f)-1] + fmt.Sprintf(`,"message_id":"m%d","serial":%d}`, serial, serial)
	}
	delta := func(serial, base uint32) string { return saltedDelta(serial, base, 0) }
	for i, step := range []struct {
		name  string
		sends []string
		want  int // events
		says  string
	}{
		{"all are kept", []string{text(8), delta(9, 8)}, 2, `"serial":9,"last_message_id":"m9","bases_since":7,"bases_salt":0`},
		{"a plain event may have been one", []string{delta(10, 9), event("market", "s1", 11), delta(12, 10)}, 3, `"serial":12,"last_message_id":"m12","bases_since":11,"bases_salt":0`},
		{"one that was not decoded", []string{text(13), delta(15, 14), text(16)}, 2, `"serial":16,"last_message_id":"m16","bases_since":15,"bases_salt":0`},
		{"frames of other rules, with other numbers", []string{text(17), salted(18, 100), saltedDelta(19, 18, 100)}, 3,
			`"serial":19,"last_message_id":"m19","bases_since":17,"bases_salt":100`},
		{"events that the server skipped", []string{
			text(20), `{"event":"sockudo:conflated","channel":"market","data":{"skipped":3,"first_serial":21,"last_serial":23}}`, text(24),
		}, 2, `"serial":24,"last_message_id":"m24"`},
	} {
		p.send(step.sends...)
		datas(t, c, step.want)
		if step.name == "one that was not decoded" {
			p.expect(`{"event":"sockudo:delta_sync_error","data":{"channel":"market"}}`)
			await(t, states, "the failure")
		}
		p = s.lose(p, states, "2.2")
		p.expect(enable)
		p.expect(fmt.Sprintf(subscribeTo, "market", announced))
		was := "2.2"
		if i == 0 {
			was = "1.1"
		}
		p.expect(resumeOf(`"market":{"stream_id":"s1",`+step.says+`}`, was))
		serial := []int{9, 12, 16, 19, 24}[i]
		p.send(success("market", "s1", serial), summaryOf("market", "s1", serial, 0))
		await(t, states, "the summary")
	}
	// A base of another epoch of the channel does not count.
	p.send(`{"event":"tick","channel":"market","data":"x","message_id":"n1","stream_id":"s2","serial":1,"sequence":1,"conflation_key":"BTC"}`, delta(25, 24))
	datas(t, c, 1)
	p.expect(`{"event":"sockudo:delta_sync_error","data":{"channel":"market"}}`)
}

// TestTime05PositionsOfSignedChannelsComeFirst: channels that need a signature are subscribed to later, and
// their positions wait on the server.
func TestTime05PositionsOfSignedChannelsComeFirst(t *testing.T) {
	s := newScript(t)
	c, p, states := s.second(Options{Auth: func(_, _ string) (string, string, error) { return "", "", nil }})
	p.wants(c, "a", "s1", 1)
	p.wants(c, "private-b", "s1", 2)
	p = s.lose(p, states, "2.2")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":1}`, "1.1"))
	p.expect(resumeOf(`"private-b":{"stream_id":"s1","serial":2}`, "1.1"))
	p.expect(fmt.Sprintf(subscribeTo, "private-b", ""))
	p.send(success("a", "s1", 1), summaryOf("a", "s1", 1, 0), success("private-b", "s1", 2))
	p.send(event("private-b", "s1", 2))
	datas(t, c, 1)
	select {
	case st := <-states:
		t.Errorf("told %+v before all was there", st)
	default:
	}
	p.send(summaryOf("private-b", "s1", 2, 1))
	if st := await(t, states, "the summary"); st.Recovered == nil || st.Recovered.Channels != 2 {
		t.Errorf("got %+v", st)
	}
}

// TestTime05GapsOfAClient: a gap is reported with numbers, and the channel goes on live.
func TestTime05GapsOfAClient(t *testing.T) {
	const failed = `{"event":"sockudo:resume_failed","channel":"a","data":"{\"channel\":\"a\",\"code\":\"position_expired\",\"reason\":\"too far\",\"expected_stream_id\":\"s1\",\"current_stream_id\":\"s1\",\"oldest_available_serial\":40,\"newest_available_serial\":50}"}`
	expired := Gap{Channel: "a", Code: "position_expired", Reason: "too far", After: 7, Expected: "s1", Current: "s1", Live: 50, Oldest: 40, Newest: 50}
	for _, c := range []struct {
		name   string
		frames []string
		want   Gap
		most   uint64
	}{
		{"a position that is too old", []string{failed, `{"event":"sockudo:resume_success","data":{"recovered":[],"failed":[{"channel":"a"}]}}`}, expired, 43},
		{
			"another stream", []string{`{"event":"sockudo:resume_failed","data":{"channel":"a","code":"stream_reset","reason":"r","expected_stream_id":"s1","current_stream_id":"s2"}}`},
			Gap{Channel: "a", Code: "stream_reset", Reason: "r", After: 7, Expected: "s1", Current: "s2", Live: 50}, 0,
		},
		{
			"a server that does not recover", []string{`{"event":"sockudo:error","data":{"code":4303,"message":"not enabled"}}`},
			Gap{Channel: "a", Code: NotRecoverable, Reason: "not enabled", After: 7, Expected: "s1", Current: "s1", Live: 50}, 43,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			client, p, states := s.second(Options{})
			p.wants(client, "a", "s1", 7)
			p = s.lose(p, states, "2.2")
			p.expect(fmt.Sprintf(subscribeTo, "a", announced))
			p.expect(resumeOf(`"a":{"stream_id":"s1","serial":7}`, "1.1"))
			stream := c.want.Current
			p.send(success("a", stream, 50))
			p.send(c.frames...)
			st := await(t, states, "the gap")
			if diff := cmp.Diff(&c.want, st.Gap); diff != "" {
				t.Fatalf("gap (-want +got):\n%s", diff)
			}
			if got := st.Gap.Most(); got != c.most {
				t.Errorf("at most %d missed, want %d", got, c.most)
			}
			if st := await(t, states, "the summary"); st.Recovered == nil || len(st.Recovered.Gaps) != 1 {
				t.Errorf("got %+v", st)
			}
			p.send(event("a", stream, 51))
			datas(t, client, 1)
			p = s.lose(p, states, "3.3")
			p.expect(fmt.Sprintf(subscribeTo, "a", announced))
			p.expect(resumeOf(`"a":{"stream_id":"`+stream+`","serial":51,"last_message_id":"ma-51"}`, "2.2"))
		})
	}
	t.Run("a gap while connected", func(t *testing.T) {
		s := newScript(t)
		client, p, states := s.second(Options{})
		p.wants(client, "a", "s1", 7)
		p.send(failed)
		if st := await(t, states, "the gap"); st.Gap == nil || *st.Gap != expired || st.Recovered != nil {
			t.Errorf("got %+v", st)
		}
		p = s.lose(p, states, "2.2")
		p.expect(fmt.Sprintf(subscribeTo, "a", announced))
		p.expect(resumeOf(`"a":{"stream_id":"s1","serial":50}`, "1.1"))
	})
	t.Run("a gap while connected that does not say where it ends", func(t *testing.T) {
		s := newScript(t)
		client, p, states := s.second(Options{})
		p.wants(client, "a", "s1", 7)
		unreadable := `{"event":"sockudo:resume_failed","data":{"channel":"a","code":"persistence_unavailable","reason":"r","expected_stream_id":"s1","current_stream_id":"s1"}}`
		p.send(unreadable)
		await(t, states, "the gap")
		_ = p.conn.NetConn().Close()
		await(t, states, "the loss")
		p = s.greetedAs("2.2")
		if st := await(t, states, "the return"); st.Recovered == nil || len(st.Recovered.Gaps) != 1 || st.Recovered.Gaps[0].Code != NotRecoverable {
			t.Errorf("got %+v", st)
		}
		p.expect(fmt.Sprintf(subscribeTo, "a", "")) // it resumes from no position
		p.send(success("a", "s1", 9), unreadable)
		await(t, states, "the gap")
		p.send(event("a", "s1", 10))
		datas(t, client, 1)
		p = s.lose(p, states, "3.3")
		p.expect(fmt.Sprintf(subscribeTo, "a", announced))
		p.expect(resumeOf(`"a":{"stream_id":"s1","serial":10,"last_message_id":"ma-10"}`, "2.2"))
	})
	t.Run("a server that gives no positions", func(t *testing.T) {
		s := newScript(t)
		client, p, states := s.second(Options{})
		p.wants(client, "a", "", 0)
		_ = p.conn.NetConn().Close()
		await(t, states, "the loss")
		p = s.greetedAs("2.2")
		st := await(t, states, "the return")
		if st.Recovered == nil || len(st.Recovered.Gaps) != 1 || st.Recovered.Gaps[0].Code != NotRecoverable || st.Recovered.Gaps[0].Most() != 0 {
			t.Errorf("got %+v", st)
		}
		p.expect(fmt.Sprintf(subscribeTo, "a", ""))
	})
}

// TestTime05ABeginningThatWasCutOff: a client repeats the request of a rewind or snapshot until it is
// complete, and then resumes from its position.
func TestTime05ABeginningThatWasCutOff(t *testing.T) {
	for _, c := range []struct {
		option SubscribeOption
		member string
		sends  []string
		again  bool
		says   string
	}{
		{WithRewind(5), `,"rewind":{"count":5}`, nil, true, ""},
		{WithRewindFor(1500 * time.Millisecond), `,"rewind":{"seconds":2}`, []string{event("a", "s1", 3)}, false, `"serial":3,"last_message_id":"ma-3"`},
		{WithRewind(5), `,"rewind":{"count":5}`, []string{event("a", "s1", 3), `{"event":"sockudo:rewind_complete","channel":"a","data":{}}`}, false, `"serial":9`},
		{WithRewind(5), `,"rewind":{"count":5}`, []string{`{"event":"sockudo:rewind_complete","channel":"a","data":{}}`}, false, `"serial":9`},
		{WithLatest(), `,"rewind":{"latest":true}`, []string{event("a", "s1", 3)}, true, ""},
		{WithLatest(), `,"rewind":{"latest":true}`, []string{event("a", "s1", 3), `{"event":"sockudo:snapshot_complete","channel":"a","data":{"count":1}}`}, false, `"serial":9`},
	} {
		s := newScript(t)
		ends := make(chan string, 4)
		client, p, states := s.second(Options{OnControl: func(ev Event) {
			if ev.Channel == "a" {
				ends <- ev.Name
			}
		}})
		p.wants(client, "a", "s1", 9, c.option)
		await(t, ends, "success")
		p.send(c.sends...)
		for i := range c.sends {
			if i == 0 && c.sends[0] == event("a", "s1", 3) {
				datas(t, client, 1)
			} else {
				await(t, ends, "the end")
			}
		}
		_ = p.conn.NetConn().Close()
		await(t, states, "the loss")
		p = s.greetedAs("2.2")
		st := await(t, states, "the return")
		if st.Recovered != nil && len(st.Recovered.Gaps) > 0 {
			t.Errorf("%s after %d frames: %+v", c.member, len(c.sends), st.Recovered)
		}
		if c.again {
			p.expect(fmt.Sprintf(subscribeTo, "a", c.member))
			// The part that came before is not delivered again.
			p.send(success("a", "s1", 10))
			p.send(c.sends...)
			p.send(event("a", "s1", 11))
			if diff := cmp.Diff([]string{"11"}, datas(t, client, 1)); diff != "" {
				t.Errorf("%s after %d frames, once more: %s", c.member, len(c.sends), diff)
			}
			continue
		}
		p.expect(fmt.Sprintf(subscribeTo, "a", announced))
		p.expect(resumeOf(`"a":{"stream_id":"s1",`+c.says+`}`, "1.1"))
	}
}

// TestTime05ASignatureThatIsRefusedOnTheWayBackIsTold: a channel that cannot be signed any more after a
// reconnect is given up, and this is reported.
func TestTime05ASignatureThatIsRefusedOnTheWayBackIsTold(t *testing.T) {
	s := newScript(t)
	signed := 0
	c, p, states := s.second(Options{Auth: func(_, _ string) (string, string, error) {
		if signed++; signed > 1 {
			return "", "", errors.New("no longer")
		}
		return "", "", nil
	}})
	p.wants(c, "private-b", "s1", 2)
	s.lose(p, states, "2.2")
	if st := await(t, states, "the refusal"); st.Err == nil || !strings.Contains(st.Err.Error(), "no longer") || !st.Connected {
		t.Errorf("got %+v", st)
	}
	if st := await(t, states, "the summary"); st.Recovered == nil || st.Recovered.Channels != 0 {
		t.Errorf("got %+v", st)
	}
}

// TestTime05ManyPositions: the positions of any number of channels are sent in messages that a server
// accepts.
func TestTime05ManyPositions(t *testing.T) {
	s := newScript(t)
	c, p, states := s.second(Options{})
	const channels = 130
	name := func(i int) string { return strings.Repeat("c", 190) + strconv.Itoa(i) }
	for i := range channels {
		p.wants(c, name(i), "s1", i)
	}
	p = s.lose(p, states, "2.2")
	asked, placed := map[string]bool{}, map[string]bool{}
	for len(asked) < channels || len(placed) < channels {
		text := await(t, p.received, "a frame")
		if len(text) > 60<<10 {
			t.Fatalf("a frame of %d bytes", len(text))
		}
		data := gjson.Get(text, "data")
		if gjson.Get(text, "event").Str == "sockudo:subscribe" {
			asked[data.Get("channel").Str] = true
			continue
		}
		data.Get("channel_positions").ForEach(func(channel, at gjson.Result) bool {
			placed[channel.Str] = true
			return true
		})
	}
}

// TestV207AClientBeginsInAnEmptyChannel: a channel without events has serial 0. The id of its success frame
// contains the exact position, from which the client resumes and counts its bases.
func TestV207AClientBeginsInAnEmptyChannel(t *testing.T) {
	s := newScript(t)
	c, p, states := s.second(Options{})
	grant := func(id string) {
		p.send(`{"event":"sockudo_internal:subscription_succeeded","channel":"a","data":"{}","message_id":"` + id + `","stream_id":"s1","serial":0}`)
	}
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(t), "a") }()
	p.expect(fmt.Sprintf(subscribeTo, "a", ""))
	grant("at:7:g-1")
	if err := await(t, done, "Subscribe"); err != nil {
		t.Fatal(err)
	}
	p = s.lose(p, states, "2.2")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":7}`, "1.1"))
	// The channel is still empty there: an event before the summary with a higher serial is live.
	grant("at:9:g-2")
	p.send(event("a", "s1", 11), summaryOf("a", "s1", 9, 0))
	datas(t, c, 1)
	if st := await(t, states, "the summary"); st.Recovered == nil || st.Recovered.Channels != 1 || len(st.Recovered.Gaps) > 0 {
		t.Errorf("got %+v", st.Recovered)
	}
	p = s.lose(p, states, "3.3")
	p.expect(fmt.Sprintf(subscribeTo, "a", announced))
	p.expect(resumeOf(`"a":{"stream_id":"s1","serial":11,"last_message_id":"ma-11"}`, "2.2"))
}
