package configs

import "testing"

func TestOriginPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"https://a.example": true, "a.example": true, "*.a.example": true, "*": true, "http://localhost:3000": true, "localhost": true,
		"": false, "https://": false, "null": false, "ftp://a.example": false, "*://a": false, "*.*.a": false, "https://a/path": false, "a b": false,
	} {
		if err := checkOrigin(pattern); (err == nil) != ok {
			t.Errorf("%q: %v, want accepted %v", pattern, err, ok)
		}
	}
}
