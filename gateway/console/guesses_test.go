package console

import (
	"fmt"
	"testing"
	"time"
)

// TestRun05WrongTokensAreBounded: wrong tokens are limited by address and in total, in each second.
func TestRun05WrongTokensAreBounded(t *testing.T) {
	at := time.Now()
	for name, c := range map[string]struct {
		from func(i int) string
		want int
	}{
		"one address":               {func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i+1) }, addressGuesses},
		"one address in two forms":  {func(i int) string { return []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1"}[i%2] }, addressGuesses},
		"one network of IPv6":       {func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i) }, addressGuesses},
		"networks of IPv6":          {func(i int) string { return fmt.Sprintf("[2001:db8:%x::1]:1", i) }, allGuesses},
		"one link with many zones":  {func(i int) string { return fmt.Sprintf("[fe80::1%%eth%d]:1", i) }, addressGuesses},
		"many addresses":            {func(i int) string { return fmt.Sprintf("10.%d.0.1:1", i) }, allGuesses},
		"addresses that are not so": {func(i int) string { return fmt.Sprint("@", i) }, addressGuesses},
	} {
		g := &guesses{now: func() time.Time { return at }}
		for range 2 {
			answered := 0
			for i := range 100 {
				if !g.wrong(c.from(i)) {
					answered++
				}
			}
			if answered != c.want || len(g.by) > allGuesses {
				t.Errorf("%s: %d of 100 were answered, want %d; %d addresses are kept", name, answered, c.want, len(g.by))
			}
			at = at.Add(time.Second)
		}
	}
}
