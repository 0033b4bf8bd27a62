package doctor

import (
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/kv/shape"
	"github.com/sluicehq/sluice/streams"
)

// The bounds for clock differences and the distance to the servers.
const (
	clockWarn = time.Second
	clockFail = time.Minute
	farAway   = 20 * time.Millisecond
)

// JudgeNATS judges a log on NATS. err is why it could not be examined.
func JudgeNATS(i *streams.Inspection, err error) []Finding {
	f := &findings{area: "log on NATS"}
	if err != nil {
		f.fail("connection", "Check nats.url, the credentials and the certificates; `nats server ping` says who is there.", "%v", err)
		return f.all
	}
	f.fine("connection", "%s, nats-server %s at %s, %v away", i.Server.Name, i.Server.Version, i.Server.URL, i.Server.RTT.Round(10*time.Microsecond))
	if i.Server.RTT > farAway {
		f.warn("distance", "Run gateways near NATS: each publish waits for the way there and back.", "%v to the server and back", i.Server.RTT.Round(time.Millisecond))
	}
	for url, why := range i.Unreachable {
		f.warn("connection", "Start it, or take it out of nats.url.", "%s does not answer: %v", url, why)
	}
	judgeServers(f, i)
	judgeDenied(f, i)
	if i.JetStream != nil {
		f.fail("JetStream", "Enable it on the servers and for the account (nats.domain names that of a leaf node), and let the user publish to $JS.API.INFO.", "it does not answer: %v", i.JetStream)
		return f.all
	}
	if i.TooOld {
		f.fail("version", "Use nats-server 2.11 or later.", "nats-server %s is too old", i.Server.Version)
	}
	if i.Server.MaxPayload < i.NeededPayload {
		f.warn("max_payload", "Raise max_payload of the servers, or lower max_event_payload_in_kb.", "it is %s, and the largest event takes %s with its names and headers; larger ones are refused", bytesOf(i.Server.MaxPayload), bytesOf(i.NeededPayload))
	} else {
		f.fine("max_payload", "it is %s, and the largest event takes %s", bytesOf(i.Server.MaxPayload), bytesOf(i.NeededPayload))
	}
	judgeAccount(f, i)
	judgeStreams(f, i)
	judgeClocks(f, i.Clocks)
	return f.all
}

func judgeServers(f *findings, i *streams.Inspection) {
	var versions, names []string
	for _, s := range i.Servers {
		names = append(names, s.Name+" "+s.Version)
		if !slices.Contains(versions, s.Version) {
			versions = append(versions, s.Version)
		}
		if s.MaxPayload != i.Server.MaxPayload {
			f.warn("max_payload", "Give all servers the same.", "%s takes %s, and %s takes %s", s.Name, bytesOf(s.MaxPayload), i.Server.Name, bytesOf(i.Server.MaxPayload))
		}
	}
	switch {
	case len(versions) > 1:
		f.note("version", "Finish the upgrade. While some are older than 2.12, set `publishing.atomic_batches: never`.", "the servers differ: %s", strings.Join(names, ", "))
	case len(names) == 2:
		f.warn("servers", "Use three or five: of two both must live.", "there are two: %s", strings.Join(names, ", "))
	}
}

func judgeDenied(f *findings, i *streams.Inspection) {
	for _, d := range i.Denied {
		what, level := "subscribe to", Error
		if d.Publish {
			what = "publish to"
		}
		// Without these the log still works, with delays or fewer functions.
		if strings.Contains(d.Grant, "ADVISORY") || strings.Contains(d.Grant, "gw.>") || strings.HasSuffix(d.Grant, "STREAM.NAMES") || strings.HasSuffix(d.Grant, "STREAM.PURGE.*") {
			level = Warning
		}
		f.add(level, "permissions", "Grant it to the user of the gateways (docs/operations.md has the whole list).", "the credentials may not %s %s, which is for %s", what, d.Grant, d.For)
	}
	if len(i.Denied) == 0 && !i.Guest {
		f.fine("permissions", "the credentials may do everything that gateways do")
	}
}

// judgeAccount compares the limits of the account with what is still to be created.
func judgeAccount(f *findings, i *streams.Inspection) {
	tier, limits := i.Account.Tier, i.Account.Limits
	streamsLeft, bytesToMake, missing := -1, int64(0), 0
	copies := 1
	for _, s := range i.Streams {
		copies = max(copies, s.Want.Replicas)
		if s.Missing {
			missing++
			bytesToMake += max(s.Want.MaxBytes, 0) * int64(max(s.Want.Replicas, 1))
		}
	}
	if len(i.Account.Tiers) > 0 {
		// Limits of a tier are by the number of replicas, and count one replica.
		for name, t := range i.Account.Tiers {
			if name == tierOf(copies) {
				tier, limits, bytesToMake = t, t.Limits, bytesToMake/int64(copies)
			}
		}
	}
	if limits.MaxStreams > 0 {
		streamsLeft = max(limits.MaxStreams-tier.Streams, 0)
	}
	switch {
	case streamsLeft >= 0 && streamsLeft < missing:
		f.fail("streams of the account", "Raise max_streams of the account.", "it may have %d more, and %d are to be made", streamsLeft, missing)
	case streamsLeft >= 0 && streamsLeft < missing+2:
		f.note("streams of the account", "Raise max_streams before apps are added: each takes one.", "it may have %d more, and %d are to be made", streamsLeft, missing)
	}
	left := limits.MaxStore - int64(max(tier.ReservedStore, tier.Store))
	switch {
	case limits.MaxStore <= 0:
	case left < bytesToMake:
		f.fail("storage of the account", "Raise its storage, or lower history.max_bytes.", "%s are left, and streams that are to be made set %s aside", bytesOf(max(left, 0)), bytesOf(bytesToMake))
	case limits.MaxStore > 0 && int64(tier.Store) > limits.MaxStore/10*9:
		f.warn("storage of the account", "Raise its storage, or lower what is retained.", "%s of %s are used", bytesOf(int64(tier.Store)), bytesOf(limits.MaxStore))
	default:
		f.fine("storage of the account", "%s of %s are set aside or used, and %s are to be made", bytesOf(limits.MaxStore-left), bytesOf(limits.MaxStore), bytesOf(bytesToMake))
	}
	if limits.MaxConsumers > 0 && tier.Consumers >= limits.MaxConsumers {
		f.fail("consumers of the account", "Raise max_consumers: webhooks need one for each address.", "all %d are used", limits.MaxConsumers)
	}
}

func tierOf(copies int) string { return "R" + string(rune('0'+copies)) }

func judgeStreams(f *findings, i *streams.Inspection) {
	for _, s := range i.Streams {
		name := s.Name + " (" + s.For + ")"
		if s.Err != nil {
			f.fail("streams", "Look at the NATS servers and at what this user may do (docs/operations.md, permissions).", "%s cannot be asked for: %v", name, s.Err)
			continue
		}
		if s.Missing {
			f.note("streams", "", "%s is not there yet; the first gateway makes it", name)
			continue
		}
		if list := shape.List(s.Report.Fatal); list != "" {
			f.fail("streams", "Set nats.prefix so that Sluice uses other streams, or back up and delete this one.", "%s cannot be used: %s", name, list)
		}
		if list := shape.List(s.Report.Lasting); list != "" {
			f.warn("streams", "NATS does not take it back: make the stream anew when its events may go.", "%s: %s", name, list)
		}
		if list := shape.List(s.Report.Changed); list != "" {
			f.warn("streams", "Gateways put it back; find out who changes it.", "%s: %s", name, list)
		}
		if list := shape.List(s.Report.Limits); list != "" {
			f.note("streams", "The next start of a gateway with this configuration puts it in force.", "%s has other limits than this configuration: %s", name, list)
		}
		if s.Leader == "" {
			f.fail("streams", "Bring its servers back: a majority of its copies must live.", "%s has no leader and takes no events", name)
		}
		if s.Few != nil {
			f.fail("streams", "Run a cluster with as many servers as nats.replicas says, or lower it to 1.", "%s: %v", name, s.Few)
		}
		if len(s.Behind) > 0 {
			f.warn("streams", "Look at these servers; while they are behind, losing one more stops the stream.", "%s: the copies on %s are not current", name, strings.Join(s.Behind, ", "))
		}
		if s.Want.MaxBytes > 0 && int64(s.Bytes) > s.Want.MaxBytes/10*9 {
			f.note("streams", "Raise history.max_bytes if the retention is to hold.", "%s has %s of %s: the oldest events go before their time", name, bytesOf(int64(s.Bytes)), bytesOf(s.Want.MaxBytes))
		}
	}
	if !slices.ContainsFunc(f.all, func(x Finding) bool { return x.Check == "streams" && x.Level != Note }) {
		f.fine("streams", "those that are there are as they must be")
	}
}

func judgeClocks(f *findings, clocks []streams.InspectedClock) {
	for _, c := range clocks {
		judgeClock(f, c.Server, c.Ahead, c.Doubt)
	}
	if len(clocks) < 2 {
		return
	}
	ahead := func(a, b streams.InspectedClock) int { return int(a.Ahead - b.Ahead) }
	low, high := slices.MinFunc(clocks, ahead), slices.MaxFunc(clocks, ahead)
	if apart := high.Ahead - low.Ahead - low.Doubt - high.Doubt; apart > clockWarn {
		f.warn("clocks", "Synchronise them (NTP): when the leader of a stream changes, ages are off by as much.", "%s is %v ahead of %s", high.Server, apart.Round(time.Millisecond), low.Server)
	}
}

// judgeClock compares the clock of a server with that of this machine.
func judgeClock(f *findings, server string, ahead, doubt time.Duration) {
	off := max(ahead.Abs()-doubt, 0)
	which := "ahead of"
	if ahead < 0 {
		which = "behind"
	}
	switch {
	case off > clockFail:
		f.fail("clocks", "Synchronise both (NTP).", "%s is %v %s this machine; requests that were signed elsewhere are refused when clocks differ by ten minutes", server, off.Round(time.Second), which)
	case off > clockWarn:
		f.warn("clocks", "Synchronise both (NTP).", "%s is %v %s this machine", server, off.Round(time.Millisecond), which)
	default:
		f.fine("clocks", "%s and this machine agree within %v", server, max((off+doubt).Round(time.Millisecond), time.Millisecond))
	}
}
