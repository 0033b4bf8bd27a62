package configs

import "testing"

func TestOriginPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"https://a.example": true, "a.example": true, "*.a.example": true, "*": true, "http://localhost:3000": true, "localhost": true,
		"": false, "https://": false, "null": false, "ftp://a.example": false, "*://a": false, "*.*.a": false, "https://a/path": false, "a b": false,
		"[::1]": true, "[::1]:3000": true, "http://[::1]:3000": true, "https://*": true, "a.example:*": true, "a.example:3000": true, "HTTPS://A.EXAMPLE": true, "a.example.": true, "a_b": true,
		"::1": false, "[::1": false, "[0:0::1]": false, "[127.0.0.1]": false, "[::1]x": false, "münchen.de": false, ".a.example": false, "a..b": false,
		"a.example:99999": false, "a.example:0": false, "a.example:": false, "a.example:x": false, "a,b": false, ":80": false,
	} {
		if err := checkOrigin(pattern); (err == nil) != ok {
			t.Errorf("%q: %v, want accepted %v", pattern, err, ok)
		}
	}
}
