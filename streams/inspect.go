package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/shape"
)

// Use says which parts of the log gateways use in addition to the apps.
type Use struct {
	// Counters is for cluster-wide counts of full messages, Work for webhooks.
	Counters, Work bool
	// Guest says that the credentials are not those of gateways, so their permissions are not examined.
	Guest bool
}

// Inspection describes NATS from the view of gateways with the given options. It changes nothing in NATS.
type Inspection struct {
	// Servers are the servers that answered, each once.
	Servers []InspectedServer
	// Unreachable has the servers of the options that did not answer, with the reason.
	Unreachable map[string]error
	// Server is the server to which the other questions were sent.
	Server InspectedServer
	// NeededPayload is the size of the largest possible event in bytes, to compare with Server.MaxPayload.
	NeededPayload int64
	// JetStream is why JetStream cannot be used. If it is nil, the following fields are set.
	JetStream error
	Account   jetstream.AccountInfo
	// TooOld says that the servers lack required features.
	TooOld  bool
	Streams []InspectedStream
	Denied  []Denial
	// Guest says that permissions were not examined.
	Guest  bool
	Clocks []InspectedClock
}

// InspectedServer is one server of NATS.
type InspectedServer struct {
	Name, Version, URL string
	RTT                time.Duration
	MaxPayload         int64
}

// InspectedStream is a stream that gateways need.
type InspectedStream struct {
	// Name of the stream, and what it is for. Err is why its state cannot be requested. It is nil if the stream exists or is
	// Missing. The first gateway creates missing streams.
	Name, For string
	Missing   bool
	Err       error
	// Want is the required configuration, and Report what differs from it.
	Want   jetstream.StreamConfig
	Report shape.Report
	// Leader is the leading server. Behind are the servers whose copies are not up to date.
	Leader string
	Behind []string
	// Few says that the stream has fewer copies than its settings or the options require, or is nil.
	Few   error
	Bytes uint64
}

// InspectedClock is how far the clock of a server is ahead of the local one, with an uncertainty of Doubt in both directions.
type InspectedClock struct {
	Server       string
	Ahead, Doubt time.Duration
}

// Inspect examines NATS from the view of gateways with these options, without changing anything. It returns an error only if
// nothing could be examined.
func Inspect(ctx context.Context, opt Options, use Use) (*Inspection, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	l := &Log{opt: opt}
	l.addApps()
	conn, err := l.inspector(strings.Join(opt.URLs, ","))
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", redactURLs(opt.URLs), err)
	}
	defer conn.Close()
	i := &Inspection{Unreachable: map[string]error{}, NeededPayload: int64(opt.MaxData + headerRoom), Server: describe(conn), Guest: use.Guest}
	i.look(l, conn)
	js, err := l.jetStream(conn)
	if err != nil {
		return nil, err
	}
	if !use.Guest {
		i.Denied = deniedTo(ctx, l, conn, use)
	}
	// A request that is not permitted gets no answer, so it is not sent.
	if i.denied(true, "API.INFO") || i.denied(false, inbox(l)+".>") {
		i.JetStream = errNotPermitted
		return i, nil
	}
	info, err := js.AccountInfo(ctx)
	if err != nil {
		i.JetStream = err
		return i, nil
	}
	l.level = info.API.Level
	i.Account, i.TooOld = *info, info.API.Level < minAPILevel
	i.streams(ctx, l, js, use)
	return i, nil
}

// errNotPermitted is the error for requests that were not sent.
var errNotPermitted = errors.New("the credentials may not ask for it")

// denied reports whether a permission that ends with ending is missing.
func (i *Inspection) denied(publish bool, ending string) bool {
	return slices.ContainsFunc(i.Denied, func(d Denial) bool { return d.Publish == publish && strings.HasSuffix(d.Grant, ending) })
}

// inspector makes a connection without reconnects.
func (l *Log) inspector(urls string) (*nats.Conn, error) {
	opts, err := l.opt.connectOptions()
	if err != nil {
		return nil, err
	}
	opts = append(opts, nats.Name(l.opt.Name+" doctor"), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	return nats.Connect(urls, append(opts, l.opt.ConnectOptions...)...)
}

func describe(c *nats.Conn) InspectedServer {
	s := InspectedServer{Name: c.ConnectedServerName(), Version: c.ConnectedServerVersion(), URL: c.ConnectedUrlRedacted(), MaxPayload: c.MaxPayload()}
	s.RTT, _ = c.RTT()
	return s
}

// look connects to each server of the options, and to those that they know, and describes it.
func (i *Inspection) look(l *Log, conn *nats.Conn) {
	seen := map[string]bool{i.Server.Name: true}
	i.Servers = []InspectedServer{i.Server}
	if len(l.opt.ConnectOptions) > 0 {
		return // a server in this process is the only one
	}
	urls := append(slices.Clone(l.opt.URLs), conn.DiscoveredServers()...)
	for n, u := range urls {
		c, err := l.inspector(u)
		if err != nil {
			if n < len(l.opt.URLs) {
				i.Unreachable[redactURLs([]string{u})] = errors.New(l.redact(err))
			}
			continue
		}
		s := describe(c)
		c.Close()
		if !seen[s.Name] {
			seen[s.Name] = true
			i.Servers = append(i.Servers, s)
		}
	}
	slices.SortFunc(i.Servers, func(a, b InspectedServer) int { return cmp.Compare(a.Name, b.Name) })
}

// needed returns the streams that gateways with these options need, each with the function that compares it.
func needed(l *Log, use Use) (all []InspectedStream, compare []func(have jetstream.StreamConfig) shape.Report) {
	add := func(who string, want jetstream.StreamConfig, how func(jetstream.StreamConfig) shape.Report) {
		all = append(all, InspectedStream{Name: want.Name, For: who, Want: want})
		compare = append(compare, how)
	}
	apps := maps.Collect(l.apps.All())
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		who, want := "app "+id, l.wanted(apps[id].opt)
		if id == broker.GatewaysApp {
			who = "orders to all gateways"
		}
		add(who, want, func(have jetstream.StreamConfig) shape.Report {
			return shape.Compare(have, want, l.rulesOf(want), false)
		})
	}
	buckets := []struct {
		who string
		o   kv.BucketOptions
	}{{"epochs of the log", l.opt.epochsBucket()}, {"who is where", l.opt.tableBucket()}}
	if use.Counters {
		buckets = append(buckets, struct {
			who string
			o   kv.BucketOptions
		}{"counts of full messages", l.opt.countersBucket()})
	}
	for _, b := range buckets {
		add(b.who, b.o.Wanted(), func(have jetstream.StreamConfig) shape.Report { return b.o.Compare(have, false) })
	}
	if use.Work {
		want := newWork(l).wanted()
		add("webhooks", want, func(have jetstream.StreamConfig) shape.Report {
			rules := maps.Clone(ofWork)
			if have.MaxMsgsPerSubject <= 0 {
				rules["DiscardNewPerSubject"] = shape.Free
			}
			return shape.Compare(have, want, rules, false)
		})
	}
	return all, compare
}

// streams examines each stream, and the clocks of the leading servers.
func (i *Inspection) streams(ctx context.Context, l *Log, js jetstream.JetStream, use Use) {
	all, compare := needed(l, use)
	clocks := map[string]InspectedClock{}
	for n := range all {
		s := &all[n]
		if i.denied(true, "API.STREAM.INFO.*") {
			s.Err = errNotPermitted
			continue
		}
		asked := time.Now()
		stream, err := js.Stream(ctx, s.Name)
		answered := time.Now()
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			s.Missing = true
			continue
		case err != nil:
			s.Err = err
			continue
		}
		info := stream.CachedInfo()
		s.Report, s.Bytes, s.Leader = compare[n](info.Config), info.State.Bytes, i.Server.Name
		if s.Few = fewCopies(info); s.Few == nil && clusterless(info) && s.Want.Replicas > 1 {
			s.Few = fmt.Errorf("it is to have %d copies: %w", s.Want.Replicas, notReplicated)
		}
		if c := info.Cluster; c != nil {
			s.Leader = c.Leader
			for _, p := range c.Replicas {
				if !p.Current || p.Offline {
					s.Behind = append(s.Behind, p.Name)
				}
			}
		}
		// The server read its clock at some moment between the two.
		c := InspectedClock{Server: s.Leader, Doubt: answered.Sub(asked) / 2}
		c.Ahead = info.TimeStamp.Sub(asked.Add(c.Doubt))
		if known, has := clocks[c.Server]; !info.TimeStamp.IsZero() && (!has || c.Doubt < known.Doubt) {
			clocks[c.Server] = c
		}
	}
	i.Streams = all
	for _, name := range slices.Sorted(maps.Keys(clocks)) {
		i.Clocks = append(i.Clocks, clocks[name])
	}
}
