package app

import "testing"

func TestAllowsOrigin(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		origin   string
		want     bool
	}{
		{nil, "https://anywhere.example", true},
		{nil, "null", true},
		{[]string{"https://a.example"}, "", true},
		{[]string{"https://a.example"}, "https://a.example", true},
		{[]string{"https://A.example"}, "https://a.EXAMPLE", true},
		{[]string{"https://a.example"}, "https://a.example:443", true},
		{[]string{"https://a.example:443"}, "https://a.example", true},
		{[]string{"https://a.example"}, "http://a.example", false},
		{[]string{"https://a.example"}, "https://a.example:8443", false},
		{[]string{"https://a.example"}, "https://a.example.evil", false},
		{[]string{"https://a.example"}, "https://xa.example", false},
		{[]string{"a.example"}, "http://a.example:3000", true},
		{[]string{"a.example:3000"}, "http://a.example:3000", true},
		{[]string{"a.example:3000"}, "http://a.example:3001", false},
		{[]string{"*.a.example"}, "https://x.y.a.example", true},
		{[]string{"*.a.example"}, "https://a.example", false},
		{[]string{"*.a.example"}, "https://.a.example", false},
		{[]string{"*a.example"}, "https://a.example", true},
		{[]string{"https://*a.example"}, "https://x.a.example", true},
		{[]string{"https://*a.example"}, "https://.example", false},
		{[]string{"https://*.a.example"}, "http://x.a.example", false},
		{[]string{"x", "*"}, "https://anywhere.example", true},
		{[]string{"*"}, "null", false},
		{[]string{"a.example"}, "null", false},
		{[]string{"a.example"}, "a.example", false},
		{[]string{"a.example:443"}, "https://a.example", true},
		{[]string{"a.example:443"}, "http://a.example", false},
		{[]string{"a.example:80"}, "http://a.example:80", true},
		{[]string{"a.example:*"}, "http://a.example:3000", true},
		{[]string{"[::1]"}, "http://[::1]:3000", true},
		{[]string{"[::1]"}, "https://[::1]", true},
		{[]string{"[::1]:3000"}, "http://[::1]:3000", true},
		{[]string{"[::1]:3000"}, "http://[::1]:3001", false},
		{[]string{"http://[::1]:3000"}, "http://[::1]:3000", true},
		{[]string{"*.a.example"}, "https://x.a.example:8443", true},
	} {
		a := &App{Origins: c.patterns}
		if got := a.AllowsOrigin(c.origin); got != c.want {
			t.Errorf("%v allow %q: %v, want %v", c.patterns, c.origin, got, c.want)
		}
	}
}
