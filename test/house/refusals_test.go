package house

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestThePageHasEveryRefusal: what a client can be told has a row in the page on symptoms.
func TestThePageHasEveryRefusal(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("docs/troubleshooting.md")
	for _, kind := range []struct {
		what, file string
		find       *regexp.Regexp
		least      int
	}{
		{"reason of a close", "gateway/hub/reasons.go", regexp.MustCompile(`(?m)^\treason\w+ += "([^"%;]{10,})`), 8},
		{"text of a close code", "gateway/pusher/codes.go", regexp.MustCompile(`return "((?:[^";]){15,})`), 6},
		{"code of a close or an error", "gateway/pusher/codes.go", regexp.MustCompile(`(?m)Code += (4\d{3})$`), 10},
		{"type of a refused subscription", "gateway/hub/refusals.go", regexp.MustCompile(`"([A-Z]\w+)": +"`), 7},
		{"problem of a stream", "streams/apps.go", regexp.MustCompile(`return "((?:log|stream) of [^"]+)"`), 2},
		{"problem of a stream", "broker/redis/apps.go", regexp.MustCompile(`"(epochs? of [^"]+)"`), 3},
		{"problem of Redis", "broker/redis/supervise.go", regexp.MustCompile(`const settings = "([^"]+)"`), 1},
	} {
		found := kind.find.FindAllStringSubmatch(read(kind.file), -1)
		if len(found) < kind.least {
			t.Errorf("%s: only %d are found", kind.what, len(found))
		}
		for _, m := range found {
			if !strings.Contains(page, strings.TrimSpace(m[1])) {
				t.Errorf("%s: docs/troubleshooting.md does not have %q", kind.what, m[1])
			}
		}
	}
}
