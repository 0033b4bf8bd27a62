package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

// talker is a proxy before a NATS server that can speak in its place.
type talker struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	url   string
}

func newTalker(t *testing.T, to string) *talker {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &talker{conns: map[net.Conn]struct{}{}, url: "nats://" + l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(c, u.Host) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.each(func(c net.Conn) { _ = c.Close() })
		running.Wait()
	})
	return p
}

func (p *talker) serve(c net.Conn, to string) {
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	there := make(chan struct{})
	go func() {
		defer close(there)
		_, _ = io.Copy(s, c)
		_ = s.Close()
	}()
	_, _ = io.Copy(c, s)
	_ = c.Close()
	<-there
}

func (p *talker) each(do func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		do(c)
	}
}

// usable exercises everything that a gateway does with NATS.
type usable struct {
	l        *Log
	live     *sink
	table    *Table
	changes  *changes
	counters kv.Followed
	followed chan kv.Entry
	n        int
}

type changes struct {
	mu   sync.Mutex
	keys map[string]bool
	lost int
}

func (c *changes) Changed(r kv.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[r.Key] = true
}

func (c *changes) Lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost++
}

func use(t *testing.T, l *Log) *usable {
	t.Helper()
	u := &usable{l: l, live: &sink{}, changes: &changes{keys: map[string]bool{}}, followed: make(chan kv.Entry, 64)}
	at, err := l.Attach(t.Context(), "a", "c", u.live)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Detach)
	if u.table, err = l.OpenTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop, err := u.table.Watch("seat.>", u.changes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if u.counters, err = l.OpenCounters(t.Context()); err != nil {
		t.Fatal(err)
	}
	unfollow, err := u.counters.Follow("a.c", func(e kv.Entry) { u.followed <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unfollow)
	return u
}

// works waits until everything works again.
func (u *usable) works(t *testing.T) {
	t.Helper()
	awaitTrue(t, "the log is ready", func() bool { return u.l.Health().Ready })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	u.n++
	data := fmt.Sprint(u.n)
	if _, err := u.l.Publish(ctx, "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(data)}}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the event has come live", func() bool {
		all, gaps := u.live.all()
		return gaps == 0 && len(all) > 0 && string(all[len(all)-1].Data) == data
	})
	live := u.l.stats.Live.Load()
	awaitTrue(t, "events come over the live subject", func() bool {
		_, err := u.l.Publish(ctx, "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(data)}})
		return err == nil && u.l.stats.Live.Load() > live
	})
	if _, err := u.l.Read(ctx, "a", "c", broker.Query{Limit: 1}); err != nil {
		t.Error(err)
	}
	key := "seat.k" + data
	awaitTrue(t, "the table takes a seat", func() bool {
		_, err := u.table.Put(ctx, key, []byte("1"), time.Minute)
		return err == nil
	})
	awaitTrue(t, "the seat is seen", func() bool {
		u.changes.mu.Lock()
		defer u.changes.mu.Unlock()
		return u.changes.keys[key]
	})
	awaitTrue(t, "a counter is written and seen", func() bool {
		e, err := u.counters.Get(ctx, "a.c")
		if errors.Is(err, kv.ErrNotFound) {
			_, err = u.counters.Create(ctx, "a.c", []byte(data))
		} else if err == nil {
			_, err = u.counters.Update(ctx, "a.c", []byte(data), e.Revision)
		}
		if err != nil {
			return false
		}
		select {
		case e := <-u.followed:
			return string(e.Value) == data
		default:
			return false
		}
	})
}

// TestWeeks02WhateverTheServerSays: whatever a server says before it closes a connection, a gateway goes on
// with a new one.
func TestWeeks02WhateverTheServerSays(t *testing.T) {
	t.Parallel()
	s, _ := guarded(t, "")
	p := newTalker(t, s.ClientURL())
	l := open(t, Options{URLs: []string{p.url}, Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}, AuditInterval: time.Hour})
	u := use(t, l)
	u.works(t)
	for _, said := range []string{
		"Maximum Payload Violation", "Unknown Protocol Operation", "Invalid Publish Subject", "maximum control line exceeded",
		"Stale Connection", "Authorization Violation", "User Authentication Expired", "User Authentication Revoked",
		"Account Authentication Expired", "maximum connections exceeded", "maximum account active connections exceeded",
		"Secure Connection - TLS Required", "something that nobody has heard of yet",
	} {
		t.Run(said, func(t *testing.T) {
			p.each(func(c net.Conn) {
				_, _ = io.WriteString(c, "-ERR '"+said+"'\r\n")
				_ = c.Close()
			})
			u.works(t)
		})
	}
}

// reloaded gives a server other options.
func reloaded(t *testing.T, s *server.Server, opt *server.Options, change func(*server.Options)) {
	t.Helper()
	next := opt.Clone()
	change(next)
	if err := s.ReloadOptions(next); err != nil {
		t.Fatal(err)
	}
}

// TestWeeks02MaxPayloadIsLoweredAndRaised: a server whose max_payload was lowered refuses the events that are
// too large for it, and no other.
func TestWeeks02MaxPayloadIsLoweredAndRaised(t *testing.T) {
	t.Parallel()
	s, opt := guarded(t, "")
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}, AuditInterval: time.Hour,
		Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	u := use(t, l)
	large := broker.Outgoing{Channel: "d", Event: &broker.Event{Name: "e", Data: bytes.Repeat([]byte("x"), 50<<10)}}
	small := broker.Outgoing{Channel: "e", Event: &broker.Event{Name: "e", Data: []byte("x")}}

	reloaded(t, s, opt, func(o *server.Options) { o.MaxPayload = 20 << 10 })
	for range 3 {
		_, err := l.Publish(t.Context(), "a", large)
		if !errors.Is(err, broker.ErrTooLarge) || !strings.Contains(err.Error(), "the NATS server takes 20480 (max_payload)") {
			t.Fatalf("got %v, want an event that is too large and the limit", err)
		}
		if strings.Contains(err.Error(), "nats:") {
			t.Errorf("%v is in the words of the library", err)
		}
		if _, err := l.Publish(t.Context(), "a", small); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(t.Context(), "a", small, large); !errors.Is(err, broker.ErrTooLarge) {
			t.Fatalf("got %v", err)
		}
	}
	if page, err := l.Read(t.Context(), "a", "e", broker.Query{Limit: 10}); err != nil || len(page.Publications) != 3 {
		t.Errorf("there are %+v, %v, want the three small events that were acknowledged", page, err)
	}
	awaitTrue(t, "readiness names the limit", func() bool {
		return strings.Contains(strings.Join(l.Health().Problems, "\n"), "max_payload of the NATS server: it is 20480 bytes")
	})
	u.works(t)

	reloaded(t, s, opt, func(o *server.Options) { o.MaxPayload = 1 << 20 })
	awaitTrue(t, "the large event is taken", func() bool { _, err := l.Publish(t.Context(), "a", large); return err == nil })
	awaitTrue(t, "nothing is wrong any more", func() bool { return len(l.Health().Problems) == 0 })
	u.works(t)
	if n := strings.Count(said.String(), "smaller messages than apps may publish"); n != 1 {
		t.Errorf("the log tells of the limit %d times", n)
	}
}

// TestWeeks02MaxPayloadAtTheStart: a max_payload that is too small is reported at the start.
func TestWeeks02MaxPayloadAtTheStart(t *testing.T) {
	s, _ := guarded(t, "max_payload: 16384")
	l := open(t, Options{URLs: []string{s.ClientURL()}, Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}})
	h := l.Health()
	if !h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), "it is 16384 bytes") {
		t.Errorf("health is %+v", h)
	}
}

// TestWeeks02TooManySubscriptions: an attach whose subscription the server does not allow gets an error,
// which readiness names. Both end when the server allows more.
func TestWeeks02TooManySubscriptions(t *testing.T) {
	config := func(n int) string {
		return fmt.Sprintf("accounts {A {jetstream: enabled, limits {max_subs: %d}, users: [{user: u, password: p}]}}", n)
	}
	s, opt := guarded(t, config(20))
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}},
		AuditInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	refused, n := 0, 0
	attach := func() error {
		n++
		at, err := l.Attach(t.Context(), "a", fmt.Sprint("c", n), &sink{})
		if err == nil {
			t.Cleanup(at.Detach)
		}
		return err
	}
	for range 25 {
		if err := attach(); err != nil {
			refused++
			if !strings.Contains(err.Error(), "max_subscriptions") || !errors.Is(err, broker.ErrUnavailable) {
				t.Fatal(err)
			}
		}
	}
	if refused < 5 || refused == 25 {
		t.Fatalf("%d of 25 channels were refused, where 20 are allowed", refused)
	}
	if h := l.Health(); h.Ready || !strings.Contains(strings.Join(h.Problems, "\n"), "subscriptions of the feed connection: the NATS server allows") {
		t.Errorf("health is %+v", h)
	}
	if n := strings.Count(said.String(), "\n"); n > 5 {
		t.Errorf("the log has %d lines:\n%s", n, said.String())
	}
	next := opt.Clone()
	more := parsed(t, config(1000))
	next.Accounts, next.Users = more.Accounts, more.Users
	if err := s.ReloadOptions(next); err != nil {
		t.Fatal(err)
	}
	later := time.Now()
	awaitTrue(t, "channels can be attached and the gateway is ready", func() bool {
		later = later.Add(time.Minute)
		l.checkRefusals(later)
		return attach() == nil && l.Health().Ready
	})
}

// TestWeeks02PermissionsThatComeLater: refused subscriptions are retried one by one, so a gateway need not
// reconnect or restart.
func TestWeeks02PermissionsThatComeLater(t *testing.T) {
	t.Parallel()
	config := func(subscribe string) string {
		return `authorization {users: [{user: u, password: p, permissions: {publish: ">", subscribe: [` + subscribe + `"_INBOX.>"]}}]}`
	}
	s, opt := guarded(t, config(""))
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}, AuditInterval: time.Hour,
	})
	got := &sink{}
	at, err := l.Attach(t.Context(), "a", "c", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	awaitTrue(t, "the subscription is refused", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range l.refusals {
			r.pause = time.Hour
		}
		return len(l.refusals) > 0
	})
	reloaded(t, s, opt, func(o *server.Options) { o.Users = parsed(t, config(`"rt.>", `)).Users })
	awaitTrue(t, "the gateway is ready", func() bool { return l.Health().Ready })
	live := l.stats.Live.Load()
	awaitTrue(t, "events come live", func() bool {
		_, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}})
		return err == nil && l.stats.Live.Load() > live
	})
}
