package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// maxSerial is above all serials.
const maxSerial = 1 << 53

// moment is a position in the history of a channel on a command line: a serial or a time. The zero value means
// none.
type moment struct {
	serial uint64
	time   time.Time
}

// String returns the moment in a form that does not depend on the present time or the time zone.
func (m moment) String() string {
	switch {
	case m.serial > 0:
		return strconv.FormatUint(m.serial, 10)
	case m.time.IsZero():
		return ""
	}
	return m.time.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// layouts are the accepted forms of times. Without a zone, the zone of this machine applies.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
}

// parseMoment parses the value of a flag; empty means none.
func parseMoment(flag, text string, now time.Time) (moment, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return moment{}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || allDigits(text) {
		if n < 1 || n >= maxSerial {
			return moment{}, usage("%s is %.40s, a serial is 1 to %d", flag, text, uint64(maxSerial)-1)
		}
		return moment{serial: n}, nil
	}
	t, ok := parseTime(text, now)
	switch {
	case !ok:
		return moment{}, usage("%s is %.40q, must be a serial, a time such as 2026-01-31T15:04:05Z, or how long ago, such as -1h or -7d", flag, text)
	case t.UnixMilli() < 1 || t.UnixMilli() >= maxSerial:
		return moment{}, usage("%s is %.40s, which is the year %d; times begin with 1970", flag, text, t.Year())
	}
	return moment{time: t}, nil
}

func allDigits(text string) bool { return strings.Trim(text, "0123456789") == "" }

func parseTime(text string, now time.Time) (time.Time, bool) {
	if text == "now" {
		return now, true
	}
	if days, ok := strings.CutSuffix(text, "d"); ok && strings.HasPrefix(days, "-") {
		n, err := strconv.Atoi(days)
		return now.AddDate(0, 0, n), err == nil && n > -1e6
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), d <= 0
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// stretch is a part of the history between two moments.
type stretch struct {
	from, to moment
	// least is the lowest serial that is wanted, whatever from is.
	least uint64
}

func parseStretch(from, to string, now time.Time) (s stretch, err error) {
	if s.from, err = parseMoment("--from", from, now); err != nil {
		return s, err
	}
	if s.to, err = parseMoment("--to", to, now); err != nil {
		return s, err
	}
	switch {
	case s.from.time.After(now):
		return s, usage("--from is %s, which has not come yet", from)
	case s.from.serial > 0 && s.to.serial > 0 && s.from.serial > s.to.serial,
		!s.from.time.IsZero() && !s.to.time.IsZero() && s.from.time.After(s.to.time):
		return s, usage("--from %s is behind --to %s", from, to)
	}
	return s, nil
}

// query returns the query for the stretch.
func (s stretch) query() client.HistoryQuery {
	return client.HistoryQuery{StartSerial: max(s.from.serial, s.least), Start: s.from.time, EndSerial: s.to.serial, End: s.to.time}
}
