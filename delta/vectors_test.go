package delta_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/delta"
)

const limit = 1 << 21

type codec struct {
	name   string
	append func(e *delta.Encoder, dst, base, target []byte) []byte
	apply  func(dst, base, delta []byte, limit int) ([]byte, error)
}

var codecs = []codec{
	{"fossil", (*delta.Encoder).AppendFossil, delta.ApplyFossil},
	{"vcdiff", (*delta.Encoder).AppendVCDIFF, delta.ApplyVCDIFF},
}

// vectors holds the test vectors of protocol section 3.18.
var vectors = []struct{ name, base, target, fossil, vcdiff string }{
	{
		"vector 1",
		`{"event":"tick","channel":"market-data","data":"{\"symbol\":\"BTC\",\"price\":\"64250.10\",\"volume\":\"1204.5\",\"venue\":\"alpha-exchange\"}"}`,
		`{"event":"tick","channel":"market-data","data":"{\"symbol\":\"BTC\",\"price\":\"64251.75\",\"volume\":\"1206.0\",\"venue\":\"alpha-exchange\"}"}`,
		"MkcKMUtAMCwzOjEuNzdAMWksRzpvbHVtZVwiOlwiMTIwNi4wWUAxaiwxNjRpZzk7",
		"1sPEAAABgRAAKIEQABoGAjEuNzVcIixcInZvbHVtZVwiOlwiMTIwNi4wE1QBGhMiAG4=",
	},
	{
		"vector 2",
		`{"event":"tick","channel":"market-data","data":{"symbol":"BTC","price":"64250.10","volume":"1204.5","venue":"alpha-exchange"},"sequence":731204,"conflation_key":"BTC","message_id":"0191f3a0-0001","stream_id":"st-1","serial":41}`,
		`{"event":"tick","channel":"market-data","data":{"symbol":"BTC","price":"64251.75","volume":"1206.0","venue":"alpha-exchange"},"message_id":"0191f3a0-0002","stream_id":"st-1","serial":42}`,
		"MnYKMUNAMCxtOjEuNzUiLCJ2b2x1bWUiOiIxMjA2LjAiLCJ2ZW51ZSI6ImFscGhhLWV4Y2hhbmdlIn1SQDJiLDE6MlZAMzIsMjoyfUp2ZFZPOw==",
		"1sPEAAABgWMAfIE6AG0GAzEuNzUiLCJ2b2x1bWUiOiIxMjA2LjAiLCJ2ZW51ZSI6ImFscGhhLWV4Y2hhbmdlIn0sIm1lc3NhZ2VfaWQiOiIwMTkxZjNhMC0wMDAyIiwic3RyZWFtX2lkIjoic3QtMSIsInNlcmlhbCI6NDITTAFtEwEAgWI=",
	},
}

func TestCO01_TheVectorsDecode(t *testing.T) {
	for _, v := range vectors {
		for i, encoded := range []string{v.fossil, v.vcdiff} {
			c := codecs[i]
			t.Run(v.name+" "+c.name, func(t *testing.T) {
				d, err := base64.StdEncoding.DecodeString(encoded)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.apply(nil, []byte(v.base), d, limit)
				if err != nil || string(got) != v.target {
					t.Errorf("got %q, %v, want %q", got, err, v.target)
				}
				var e delta.Encoder
				if ours := c.append(&e, nil, []byte(v.base), []byte(v.target)); len(ours) > len(d) {
					t.Errorf("our delta has %d bytes, the one of the vector %d", len(ours), len(d))
				}
			})
		}
	}
}

func TestCO02_TheFossilEdgeCasesDecode(t *testing.T) {
	accents := strings.Repeat("é", 20)
	for _, v := range []struct{ name, base, target, delta string }{
		{"an empty base", "", "x", "1\n1:x1t0000;"},
		{"a base too short to copy from", "short", "short", "5\n5:short3cQ6yn;"},
		{"no change", strings.Repeat("a", 40), strings.Repeat("a", 40), "d\nd@0,3DoSsA;"},
		{"letters of two bytes", accents + "1", accents + "2", "e\nd@0,1:23MdQIQ;"},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, err := delta.ApplyFossil(nil, []byte(v.base), []byte(v.delta), limit)
			if err != nil || string(got) != v.target {
				t.Errorf("got %q, %v, want %q", got, err, v.target)
			}
		})
	}
}

func TestCO07_AWrongBaseFailsWithAChecksumError(t *testing.T) {
	v := vectors[0]
	var e delta.Encoder
	d := e.AppendFossil(nil, []byte(v.base), []byte(v.target))
	wrong := strings.Replace(v.base, "alpha", "omega", 1)
	kept := []byte("kept")
	got, err := delta.ApplyFossil(kept, []byte(wrong), d, limit)
	if !errors.Is(err, delta.ErrChecksum) {
		t.Errorf("got error %v, want ErrChecksum", err)
	}
	if string(got) != "kept" {
		t.Errorf("got %q besides the error, want what was there", got)
	}
}

func TestMalformedFossilDeltasAreRefused(t *testing.T) {
	const base = "0123456789"
	for _, tt := range []struct {
		name, delta string
		want        error
	}{
		{"empty", "", delta.ErrMalformed},
		{"no length", "\n0:0;", delta.ErrMalformed},
		{"a length without its line feed", "5", delta.ErrMalformed},
		{"a length beyond 32 bits", "4000000\n", delta.ErrMalformed},
		{"no commands", "0\n", delta.ErrMalformed},
		{"a command without a number", "1\n:x1t0000;", delta.ErrMalformed},
		{"an unknown command", "1\n1!x1t0000;", delta.ErrMalformed},
		{"an insert cut short", "5\n5:abc", delta.ErrMalformed},
		{"an insert above the length", "1\n2:xx0;", delta.ErrMalformed},
		{"a copy above the length", "1\n2@0,0;", delta.ErrMalformed},
		{"a copy without an offset", "2\n2@,0;", delta.ErrMalformed},
		{"a copy without its comma", "2\n2@0", delta.ErrMalformed},
		{"a copy beyond the base", "5\n5@6,0;", delta.ErrMalformed},
		{"a copy from far beyond the base", "5\n5@3~~~~~,0;", delta.ErrMalformed},
		{"less text than announced", "2\n1:x1t0000;", delta.ErrMalformed},
		{"no checksum", "1\n1:x", delta.ErrMalformed},
		{"more after the checksum", "1\n1:x1t0000;x", delta.ErrMalformed},
		{"another checksum", "1\n1:x1t0001;", delta.ErrChecksum},
		{"a target above the limit", "W\n", delta.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := delta.ApplyFossil(nil, []byte(base), []byte(tt.delta), 31)
			if !errors.Is(err, tt.want) || got != nil {
				t.Errorf("got %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestMalformedVCDIFFDeltasAreRefused(t *testing.T) {
	const header = "\xd6\xc3\xc4\x00\x00"
	for _, tt := range []struct {
		name, delta string
		want        error
	}{
		{"empty", "", delta.ErrMalformed},
		{"another version", "\xd6\xc3\xc4S\x00", delta.ErrMalformed},
		{"no window", header, delta.ErrMalformed},
		{"secondary compression", "\xd6\xc3\xc4\x00\x01", delta.ErrUnsupported},
		{"a code table of its own", "\xd6\xc3\xc4\x00\x02", delta.ErrUnsupported},
		{"an application header", "\xd6\xc3\xc4\x00\x04", delta.ErrUnsupported},
		{"the target as source", header + "\x02\x01\x00\x05\x00\x00\x00\x00\x00", delta.ErrUnsupported},
		{"an Adler-32 checksum", header + "\x04\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", delta.ErrUnsupported},
		{"a compressed section", header + "\x00\x05\x00\x01\x00\x00\x00", delta.ErrUnsupported},
		{"a source segment beyond the base", header + "\x01\x0a\x01\x05\x00\x00\x00\x00\x00", delta.ErrMalformed},
		{"a length beyond 31 bits", header + "\x00\x88\x80\x80\x80\x00\x00\x00\x00\x00\x00", delta.ErrMalformed},
		{"an endless length", header + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", delta.ErrMalformed},
		{"a window cut short", header + "\x00\x09\x01\x00\x01", delta.ErrMalformed},
		{"sections longer than the window", header + "\x00\x06\x01\x00\x05\x01\x00\x02", delta.ErrMalformed},
		{"sections shorter than the window", header + "\x00\x08\x01\x00\x01\x01\x00x\x02\x00", delta.ErrMalformed},
		{"an add beyond the data", header + "\x00\x07\x02\x00\x01\x01\x00x\x03", delta.ErrMalformed},
		{"an add beyond the target", header + "\x00\x08\x01\x00\x02\x01\x00xy\x03", delta.ErrMalformed},
		{"a run beyond the target", header + "\x00\x08\x01\x00\x01\x02\x00x\x00\x02", delta.ErrMalformed},
		{"a run without its byte", header + "\x00\x07\x01\x00\x00\x02\x00\x00\x01", delta.ErrMalformed},
		{"data that nobody asked for", header + "\x00\x08\x01\x00\x02\x01\x00xy\x02", delta.ErrMalformed},
		{"less text than announced", header + "\x00\x07\x02\x00\x01\x01\x00x\x02", delta.ErrMalformed},
		{"a copy from nowhere", header + "\x00\x07\x04\x00\x00\x01\x01\x14\x00", delta.ErrMalformed},
		{"a copy from the future", header + "\x01\x0a\x00\x07\x04\x00\x00\x01\x01\x14\x0a", delta.ErrMalformed},
		{"a copy from before the beginning", header + "\x01\x0a\x00\x07\x04\x00\x00\x01\x01\x24\x0b", delta.ErrMalformed},
		{"a copy without its address", header + "\x01\x0a\x00\x06\x04\x00\x00\x01\x00\x14", delta.ErrMalformed},
		{"a target above the limit", header + "\x00\x05\x20\x00\x00\x00\x00", delta.ErrTooLarge},
		{"windows above the limit together", header + "\x00\x08\x1f\x00\x01\x02\x00x\x00\x1f" + "\x00\x07\x01\x00\x01\x01\x00x\x02", delta.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := delta.ApplyVCDIFF(nil, []byte("0123456789"), []byte(tt.delta), 31)
			if !errors.Is(err, tt.want) || got != nil {
				t.Errorf("got %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestDeltasThatGrowAreRefusedInTime: a delta that writes more than it announces is refused before it does
// so, not after: a few bytes could stand for gigabytes.
func TestDeltasThatGrowAreRefusedInTime(t *testing.T) {
	const header, huge = "\xd6\xc3\xc4\x00\x00", "\xa0\x80\x80\x00" // 2^26
	base := make([]byte, 1<<16)
	for name, apply := range map[string]func() ([]byte, error){
		"a run": func() ([]byte, error) {
			return delta.ApplyVCDIFF(nil, base, []byte(header+"\x00\x0b\x04\x00\x01\x05\x00x\x00"+huge), 31)
		},
		"a copy of what it writes": func() ([]byte, error) {
			return delta.ApplyVCDIFF(nil, base, []byte(header+"\x00\x0d\x04\x00\x01\x06\x01x\x02\x13"+huge+"\x00"), 31)
		},
		"copies of the base": func() ([]byte, error) {
			return delta.ApplyFossil(nil, base, []byte("4\n"+strings.Repeat("G00@0,", 1000)+"0;"), 31)
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := apply()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, delta.ErrMalformed) || got != nil {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s allocates %d bytes for a text of 31", name, n)
		}
	}
}

func TestVCDIFFInstructionsThatOurEncoderDoesNotUse(t *testing.T) {
	const header = "\xd6\xc3\xc4\x00\x00"
	for _, tt := range []struct{ name, delta, want string }{
		{"a run", header + "\x00\x08\x05\x00\x01\x02\x00x\x00\x05", "xxxxx"},
		{"two windows", header + "\x00\x07\x01\x00\x01\x01\x00x\x02" + "\x01\x04\x02\x07\x04\x00\x00\x01\x01\x14\x00", "x2345"},
		{"a copy of the target", header + "\x00\x0a\x06\x00\x02\x02\x01ab\x03\x14\x00", "ababab"},
		{"a copy from back from here", header + "\x00\x0a\x06\x00\x02\x02\x01ab\x03\x24\x02", "ababab"},
		{"a copy from back from here, of the source", header + "\x01\x0a\x00\x09\x05\x00\x01\x02\x01y\x02\x24\x04", "y789y"},
		{"a copy across the end of the source", header + "\x01\x0a\x00\x09\x05\x00\x01\x02\x01y\x02\x14\x08", "y89y8"},
		{"a copy from a same address", header + "\x01\x0a\x00\x09\x08\x00\x00\x02\x02\x14\x74\x03\x03", "34563456"},
		{"an add before a same address", header + "\x01\x0a\x00\x0b\x0a\x00\x02\x02\x02xy\x14\xec\x03\x03", "3456xy3456"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := delta.ApplyVCDIFF(nil, []byte("0123456789"), []byte(tt.delta), 31)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestTextsAboveTheMaximumHaveNoDelta(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("needs a gigabyte of address space")
	}
	var e delta.Encoder
	huge := make([]byte, delta.MaxText+1)
	for _, c := range codecs {
		if got := c.append(&e, []byte("kept"), huge, nil); string(got) != "kept" {
			t.Errorf("%s: a delta of %d bytes from a huge base", c.name, len(got))
		}
		if got := c.append(&e, []byte("kept"), nil, huge); string(got) != "kept" {
			t.Errorf("%s: a delta of %d bytes to a huge target", c.name, len(got))
		}
	}
}

func TestEncodersAppend(t *testing.T) {
	v := vectors[0]
	var e delta.Encoder
	for _, c := range codecs {
		alone := c.append(&e, nil, []byte(v.base), []byte(v.target))
		d := c.append(&e, []byte("kept"), []byte(v.base), []byte(v.target))
		if !bytes.Equal(d, append([]byte("kept"), alone...)) {
			t.Errorf("%s: got %q, want %q after what was there", c.name, d, alone)
		}
		got, err := c.apply([]byte("kept"), []byte(v.base), alone, limit)
		if err != nil || string(got) != "kept"+v.target {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}
