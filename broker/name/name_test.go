package name_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/name"
	"pgregory.net/rapid"
)

func TestNamesTravelAsTokens(t *testing.T) {
	tests := []struct{ about, name, subject, key string }{
		{"a plain name stands for itself", "market-data_2", "market-data_2", "market-data_2"},
		{"a colon stays in subjects only", "ticker:AAPL", "ticker:AAPL", "ticker=3AAAPL"},
		{"all extras of subjects are escaped in keys", ":@,;#", ":@,;#", "=3A=40=2C=3B=23"},
		{"a dot never splits a token", "a.b", "a=2Eb", "a=2Eb"},
		{"wildcards are escaped", "*>", "=2A=3E", "=2A=3E"},
		{"white space and control bytes are escaped", " \t\r\n\x00", "=20=09=0D=0A=00", "=20=09=0D=0A=00"},
		{"the escape byte is escaped", "=", "=3D", "=3D"},
		{"what looks like an escape is escaped", "=2E", "=3D2E", "=3D2E"},
		{"the empty name is a lone escape byte", "", "=", "="},
		{"bytes outside of ASCII are escaped one by one", "né", "n=C3=A9", "n=C3=A9"},
		{"invalid UTF-8 keeps its bytes", "\xff\xfe", "=FF=FE", "=FF=FE"},
		{"a slash is escaped though keys could hold it", "a/b", "a=2Fb", "a=2Fb"},
		{"the channel of a user", "#server-to-user-7", "#server-to-user-7", "=23server-to-user-7"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			if got := name.Subject(tt.name); got != tt.subject {
				t.Errorf("Subject(%q) = %q, want %q", tt.name, got, tt.subject)
			}
			if got := name.Key(tt.name); got != tt.key {
				t.Errorf("Key(%q) = %q, want %q", tt.name, got, tt.key)
			}
			for _, token := range []string{tt.subject, tt.key} {
				if got, err := name.Decode(token); err != nil || got != tt.name {
					t.Errorf("Decode(%q) = %q, %v, want %q", token, got, err, tt.name)
				}
			}
		})
	}
}

func TestTokensOfNoNameAreRefused(t *testing.T) {
	tests := []struct{ about, token string }{
		{"empty", ""},
		{"a dot", "a.b"},
		{"a wildcard", "*"},
		{"a byte outside of ASCII", "é"},
		{"an escape cut after the escape byte", "a="},
		{"an escape cut after one digit", "a=2"},
		{"lower-case digits", "a=2eb"},
		{"digits that are none", "=GG"},
		{"a letter that need not be escaped", "=41"},
		{"a dash that need not be escaped", "=2D"},
		{"a colon of each form", "a:b=3Ac"},
		{"a kept hash and an escaped comma", "#=2C"},
		{"a lone escape byte before more", "==3D"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			got, err := name.Decode(tt.token)
			if !errors.Is(err, name.ErrInvalidToken) || got != "" {
				t.Errorf("Decode(%q) = %q, %v, want ErrInvalidToken", tt.token, got, err)
			}
		})
	}
}

// naive is the codec as its description reads, one byte at a time.
func naive(s, keep string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(keep, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "=%02X", s[i])
		}
	}
	return b.String()
}

const (
	keyBytes     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	subjectBytes = keyBytes + ":@,;#"
)

var (
	legalKey   = regexp.MustCompile(`^[-/_=A-Za-z0-9]+$`)
	legalToken = regexp.MustCompile(`^[^.*>\s\x00-\x20\x7f-\xff]+$`)
)

func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, s string) {
	t.Helper()
	subject, key := name.Subject(s), name.Key(s)
	if want := naive(s, subjectBytes); subject != want {
		t.Fatalf("Subject(%q) = %q, want %q", s, subject, want)
	}
	if want := naive(s, keyBytes); key != want {
		t.Fatalf("Key(%q) = %q, want %q", s, key, want)
	}
	if !legalToken.MatchString(subject) || !legalKey.MatchString(key) {
		t.Fatalf("%q: illegal token %q or %q", s, subject, key)
	}
	for _, token := range []string{subject, key} {
		if got, err := name.Decode(token); err != nil || got != s {
			t.Fatalf("Decode(%q) = %q, %v, want %q", token, got, err, s)
		}
	}
}

func TestEveryByteStringSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		check(t, string(rapid.SliceOf(rapid.Byte()).Draw(t, "name")))
	})
	for c := range 256 {
		check(t, string([]byte{byte(c)}))
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "=", "ticker:AAPL", "a.b", "é", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { check(t, s) })
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"", "=", "==", "=2E", "=2e", "a:b=3A", "a=3Ab", "=41", "a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		s, err := name.Decode(token)
		if err != nil {
			if !errors.Is(err, name.ErrInvalidToken) || s != "" {
				t.Fatalf("Decode(%q) = %q, %v", token, s, err)
			}
			// Nothing may be refused that either form produces. What decodes
			// loosely and encodes to the token again would be such a case.
			if loose, ok := looseDecode(token); ok && (naive(loose, subjectBytes) == token || naive(loose, keyBytes) == token) {
				t.Fatalf("Decode(%q) refused the token of %q: %v", token, loose, err)
			}
			return
		}
		if naive(s, subjectBytes) != token && naive(s, keyBytes) != token {
			t.Fatalf("Decode(%q) = %q, which has other tokens", token, s)
		}
	})
}

func looseDecode(token string) (string, bool) {
	if token == "=" {
		return "", true
	}
	var b []byte
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b = append(b, token[i])
			continue
		}
		var c byte
		if i+3 > len(token) {
			return "", false
		}
		if _, err := fmt.Sscanf(token[i+1:i+3], "%02X", &c); err != nil {
			return "", false
		}
		b = append(b, c)
		i += 2
	}
	return string(b), true
}

func TestPlainNamesDoNotAllocate(t *testing.T) {
	s, token := "presence-room_42", "ticker:AAPL"
	if n := testing.AllocsPerRun(100, func() {
		name.Subject(s)
		name.Subject(token)
		name.Key(s)
		if _, err := name.Decode(token); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, s := range []string{"market-data", "ticker:AAPL", "prices.eu/1"} {
		b.Run("subject/"+strings.ReplaceAll(s, "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				name.Subject(s)
			}
		})
		token := name.Subject(s)
		b.Run("decode/"+strings.ReplaceAll(s, "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := name.Decode(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
