package lives

import (
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/broker/name"
)

// place identifies a channel.
type place struct{ app, channel string }

const pattern = "life.*.*"

func (p place) key() string { return "life." + name.Key(p.app) + "." + name.Key(p.channel) }

func placeOf(key string) (p place, ok bool) {
	app, channel, _ := strings.Cut(strings.TrimPrefix(key, "life."), ".")
	var err1, err2 error
	p.app, err1 = name.Decode(app)
	p.channel, err2 = name.Decode(channel)
	return p, err1 == nil && err2 == nil
}

// record is what is remembered of a channel that was purged or reset. It is immutable. A nil record is that
// of a channel that was neither, and most methods accept it.
type record struct {
	// Number counts the records of a channel: the one with the highest number is valid.
	Number uint64 `json:"n"`
	// Mark distinguishes the lives of the channel, empty for the first one.
	Mark string `json:"mark,omitempty"`
	// Below is the offset below which everything was removed, in the epoch of the log named Epoch. Void says
	// that the log had nothing when the record was written, up to the offset Until.
	Epoch string `json:"epoch"`
	Below uint64 `json:"below"`
	Void  bool   `json:"void,omitempty"`
	Until uint64 `json:"until,omitempty"`
	// Start is the offset at which the present life of the channel begins, 0 if that is not known.
	Start uint64 `json:"start,omitempty"`
	// Began is when the present life of the channel began, in Unix milliseconds; 0 for the first one.
	Began int64 `json:"began,omitempty"`
}

func parse(value []byte) (*record, bool) {
	r := &record{}
	err := json.Unmarshal(value, r)
	return r, err == nil && r.Number > 0
}

func (r *record) encode() []byte {
	text, _ := json.Marshal(r) // Strings and numbers can always be encoded.
	return text
}

// maxID is the largest length of a stream id in bytes.
const maxID = 64

// id returns the stream id of the channel in an epoch of the log.
func (r *record) id(epoch string) string {
	if r == nil || r.Mark == "" || epoch == "" {
		return epoch
	}
	return epoch + "-" + r.Mark
}

// epoch returns the epoch of the log in a stream id. It reports false if the id is of another life of the
// channel.
func (r *record) epoch(id string) (string, bool) {
	if r == nil || r.Mark == "" {
		return id, true
	}
	return strings.CutSuffix(id, "-"+r.Mark)
}

// removed reports whether what was at an offset was removed.
func (r *record) removed(epoch string, offset uint64) bool {
	return r != nil && offset > 0 && r.Epoch == epoch && offset < r.Below
}

// floor returns the lowest offset at which something may exist, in the record's epoch of the log.
func (r *record) floor() uint64 {
	if r.Void {
		return max(r.Below, r.Until+1)
	}
	return r.Below
}

// lacks reports whether nothing can exist at an offset, even if a replica still returns it.
func (r *record) lacks(epoch string, offset uint64) bool {
	return r != nil && r.Epoch == epoch && offset < r.floor()
}

// before returns the offset before the first publication of the channel's life.
func (r *record) before(epoch string) uint64 {
	if r == nil || r.Epoch != epoch || r.Start == 0 {
		return 0
	}
	return r.Start - 1
}

// newer reports whether a record supersedes another one.
func (r *record) newer(o *record) bool { return o == nil || r.Number > o.Number }
