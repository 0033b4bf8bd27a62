package quota

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/presence"
)

// TestWS06NobodyIsToldForGoodWhatIsNotCertain: a connection is refused for good only if the connections of
// this gateway and those confirmed by others fill the quota. A wait ends as soon as that is known, or when
// its time is over.
func TestWS06NobodyIsToldForGoodWhatIsNotCertain(t *testing.T) {
	start := time.Unix(0, 0)
	for _, c := range []struct {
		name                           string
		limit, here, others, confirmed int
		first, last                    Verdict // at the start, and when the time is over
	}{
		{"no limit", 0, 1000, 1000, 0, Enter, Enter},
		{"room", 3, 1, 1, 0, Enter, Enter},
		{"this gateway alone has as many", 3, 3, 0, 0, Full, Full},
		{"this gateway has more, as after the limit was lowered", 3, 5, 0, 0, Full, Full},
		{"others have all of it and say nothing", 3, 0, 3, 0, Wait, Unsure},
		{"others have a part of it and say nothing", 3, 2, 1, 0, Wait, Unsure},
		{"others confirm all of it", 3, 0, 3, 3, Full, Full},
		{"others confirm their part", 3, 2, 1, 1, Full, Full},
		{"what some confirm is enough, whatever the rest says", 3, 1, 9, 2, Full, Full},
		{"what some confirm is not enough", 3, 1, 2, 1, Wait, Unsure},
	} {
		d := Case{Limit: c.limit, Until: start.Add(time.Second)}
		s := presence.Standing{Others: c.others, Confirmed: c.confirmed}
		for _, at := range []struct {
			after time.Duration
			want  Verdict
		}{{0, c.first}, {time.Second - 1, c.first}, {time.Second, c.last}, {time.Hour, c.last}} {
			if got := d.Judge(start.Add(at.after), c.here, s); got != at.want {
				t.Errorf("%s: after %v the verdict is %d, want %d", c.name, at.after, got, at.want)
			}
		}
	}
}
