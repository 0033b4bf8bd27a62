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

// Use says which parts of the log gateways open beside the apps.
type Use struct {
	// Counters is for full messages that are counted together, Work for webhooks.
	Counters, Work bool
	// Guest says that the credentials are not those of gateways, so that what they may do says
	// nothing.
	Guest bool
}

// Inspection is what NATS is for gateways with the given options. Nothing was changed for it.
type Inspection struct {
	// Servers are those that answered, each once.
	Servers []InspectedServer
	// Unreachable are servers of the options that did not answer, and why.
	Unreachable map[string]error
	// Server is the one that the rest was asked of.
	Server InspectedServer
	// NeededPayload is what the largest event takes, against Server.MaxPayload.
	NeededPayload int64
	// JetStream is why it cannot be used, nil if it can. Then there are the others.
	JetStream error
	Account   jetstream.AccountInfo
	// TooOld says that the servers lack what is used.
	TooOld  bool
	Streams []InspectedStream
	Denied  []Denial
	// Guest says that it was not looked at what the credentials may do.
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
	// Name of the stream and For whom it is. Err is why it cannot be asked for, nil if it is
	// there or Missing. Missing ones are made by the first gateway.
	Name, For string
	Missing   bool
	Err       error
	// Want is what it must be, and Report what differs.
	Want   jetstream.StreamConfig
	Report shape.Report
	// Leader is the server that leads it, Behind are servers that are not with it.
	Leader string
	Behind []string
	// Few is why it has fewer copies than its settings say or than it is to have; nil if it has them.
	Few   error
	Bytes uint64
}

// InspectedClock is how far the clock of a server is ahead of this one. It is known within
// Doubt.
type InspectedClock struct {
	Server       string
	Ahead, Doubt time.Duration
}

// Inspect looks at NATS as gateways with these options would find it, and leaves no trace.
// Errors are those for which nothing could be looked at.
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
	// What is not permitted is not answered, and need not be waited for.
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

// errNotPermitted is the error of what was not asked for.
var errNotPermitted = errors.New("the credentials may not ask for it")

// denied says whether a grant that ends so is missing.
func (i *Inspection) denied(publish bool, ending string) bool {
	return slices.ContainsFunc(i.Denied, func(d Denial) bool { return d.Publish == publish && strings.HasSuffix(d.Grant, ending) })
}

// inspector makes a connection that is given up when it breaks.
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

// look asks each server of the options, and those that they know of, who it is.
func (i *Inspection) look(l *Log, conn *nats.Conn) {
	seen := map[string]bool{i.Server.Name: true}
	i.Servers = []InspectedServer{i.Server}
	if len(l.opt.ConnectOptions) > 0 {
		return // A server in this process has no other.
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

// needed are the streams that gateways with these options have, each with how it is compared.
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

// streams looks at each stream, and at the clocks of the servers that lead them.
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
		// It answered somewhere between the two moments.
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
