package lives

import (
	"encoding/json"
	"strings"

	"github.com/sluicehq/sluice/broker/name"
)

// place names a channel.
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

// record is what is remembered of a channel that was purged or reset. It is immutable; the
// methods may be called on nil, which is the record of a channel that never was.
type record struct {
	// Number counts the records of a channel: of two of them the higher one holds.
	Number uint64 `json:"n"`
	// Mark tells the lives of the channel apart, empty for the first one.
	Mark string `json:"mark,omitempty"`
	// Below is the offset below which everything was removed, in the life of the log named
	// Epoch. Void says that there was nothing at all when it was written, up to Until, where the
	// log was.
	Epoch string `json:"epoch"`
	Below uint64 `json:"below"`
	Void  bool   `json:"void,omitempty"`
	Until uint64 `json:"until,omitempty"`
	// Start is the offset at which the present life of the channel begins, 0 if that is not
	// known.
	Start uint64 `json:"start,omitempty"`
	// Began is when the present life of the channel began, in milliseconds; 0 for the first.
	Began int64 `json:"began,omitempty"`
}

func parse(value []byte) (*record, bool) {
	r := &record{}
	err := json.Unmarshal(value, r)
	return r, err == nil && r.Number > 0
}

func (r *record) encode() []byte {
	text, _ := json.Marshal(r) // Texts and numbers can always be encoded.
	return text
}

// maxID is the largest length of a stream id in bytes.
const maxID = 64

// id is the stream id of the channel in a life of the log.
func (r *record) id(epoch string) string {
	if r == nil || r.Mark == "" || epoch == "" {
		return epoch
	}
	return epoch + "-" + r.Mark
}

// epoch is the life of the log that a stream id is of, false if the id is of another life of
// the channel.
func (r *record) epoch(id string) (string, bool) {
	if r == nil || r.Mark == "" {
		return id, true
	}
	return strings.CutSuffix(id, "-"+r.Mark)
}

// removed says whether what is at an offset was removed.
func (r *record) removed(epoch string, offset uint64) bool {
	return r != nil && offset > 0 && r.Epoch == epoch && offset < r.Below
}

// floor is the lowest offset at which there may be something, in the life of the log that the record is of.
func (r *record) floor() uint64 {
	if r.Void {
		return max(r.Below, r.Until+1)
	}
	return r.Below
}

// lacks says whether nothing can be at an offset any more, whoever says that there is.
func (r *record) lacks(epoch string, offset uint64) bool {
	return r != nil && r.Epoch == epoch && offset < r.floor()
}

// before is the place before the first publication of the channel's life.
func (r *record) before(epoch string) uint64 {
	if r == nil || r.Epoch != epoch || r.Start == 0 {
		return 0
	}
	return r.Start - 1
}

// newer says whether a record supersedes another one.
func (r *record) newer(o *record) bool { return o == nil || r.Number > o.Number }
