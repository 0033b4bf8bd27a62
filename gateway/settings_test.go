package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWeeks10DisagreementsInWords(t *testing.T) {
	own := shownSettings{"a:1", Settings{"interval": "5", "limit": "1", "old": "1", "apps[x]": "digest:1", "apps[x].secret": "digest:1", "apps[x].key": "k", "apps[y]": "digest:1"}}
	other := func(label string, change map[string]string) shownSettings {
		s := Settings{}
		for key, value := range own.settings {
			s[key] = value
		}
		for key, value := range change {
			if s[key] = value; value == absent {
				delete(s, key)
			}
		}
		return shownSettings{label, s}
	}
	for name, c := range map[string]struct {
		others []shownSettings
		want   []string
	}{
		"equal":           {[]shownSettings{other("b:1", nil)}, nil},
		"nobody":          {nil, nil},
		"one key":         {[]shownSettings{other("b:1", map[string]string{"interval": "10"})}, []string{"interval is 5 on this gateway (a:1) and is 10 on b:1"}},
		"three values":    {[]shownSettings{other("b:1", map[string]string{"interval": "10"}), other("c:1", map[string]string{"interval": ""})}, []string{`interval is 5 on this gateway (a:1) and is "" on c:1 and is 10 on b:1`}},
		"the same others": {[]shownSettings{other("c:1", map[string]string{"limit": "2"}), other("b:1", map[string]string{"limit": "2"})}, []string{"limit is 1 on this gateway (a:1) and is 2 on b:1, c:1"}},
		"another release": {[]shownSettings{other("b:1", map[string]string{"old": absent, "new": "1"})}, nil},
		"a secret": {[]shownSettings{other("b:1", map[string]string{"apps[x]": "digest:2", "apps[x].secret": "digest:2"})},
			[]string{"apps[x].secret is set on this gateway (a:1) and differs on b:1"}},
		"an app without its settings": {[]shownSettings{other("b:1", map[string]string{"apps[x]": "digest:2", "apps[x].secret": absent, "apps[x].key": absent})},
			[]string{"apps[x] is set on this gateway (a:1) and differs on b:1"}},
		"an app that is missing": {[]shownSettings{other("b:1", map[string]string{"apps[y]": absent})}, []string{"apps[y] is set on this gateway (a:1) and is missing on b:1"}},
		"an app more":            {[]shownSettings{other("b:1", map[string]string{"apps[z]": "digest:1", "apps[z].key": "k"})}, []string{"apps[z] is missing on this gateway (a:1) and is set on b:1"}},
		"no room for apps":       {[]shownSettings{{"b:1", Settings{"interval": "10"}}}, []string{"interval is 5 on this gateway (a:1) and is 10 on b:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range disagreements(own, c.others) {
				got = append(got, d.text(own))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWeeks10ManyAppsFitIntoARecord: the settings of very many apps are shown as far as there is room.
func TestWeeks10ManyAppsFitIntoARecord(t *testing.T) {
	for apps, c := range map[int]struct{ has, lacks string }{
		10: {"apps[0].secret", "apps[10]"}, 1500: {"apps[0]", "apps[0].secret"}, 8000: {"interval", "apps[0]"},
	} {
		s := Settings{"interval": "5"}
		for i := range apps {
			s[fmt.Sprintf("apps[%d]", i)] = fmt.Sprintf("digest:%016x", uint64(i+1)*0x9e3779b97f4a7c15)
			s[fmt.Sprintf("apps[%d].secret", i)] = fmt.Sprintf("digest:%016x", uint64(i+1)*0xbf58476d1ce4e5b9)
			for k := range 25 {
				s[fmt.Sprintf("apps[%d].setting_%d", i, k)] = fmt.Sprintf("%x", uint64(i*k)*0x94d049bb133111eb)
			}
		}
		b, err := shownSettings{"a:1", s}.encode()
		if err != nil || len(b) > maxShown {
			t.Fatalf("%d apps: %d bytes, %v", apps, len(b), err)
		}
		got, err := decodeSettings(b)
		if err != nil || got.label != "a:1" || got.settings["interval"] != "5" || got.settings[c.has] == "" || got.settings[c.lacks] != "" {
			t.Errorf("%d apps: %v, %s is missing from %d settings, or %s is in them", apps, err, c.has, len(got.settings), c.lacks)
		}
	}
}

func FuzzDecodeSettings(f *testing.F) {
	b, _ := shownSettings{"a:1", Settings{"x": "1"}}.encode()
	f.Add(b)
	f.Add([]byte("a:1\n"))
	f.Add([]byte(strings.Repeat("x", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSettings(b); err == nil {
			for _, d := range disagreements(shownSettings{"b:1", Settings{"x": "2"}}, []shownSettings{s}) {
				_ = d.text(shownSettings{"b:1", Settings{"x": "2"}})
			}
		}
	})
}
