package delta_test

import (
	"fmt"

	"github.com/sluicehq/sluice/delta"
)

// A frame with small changes becomes a short delta. A receiver with the previous frame rebuilds the new frame
// from it.
func Example() {
	base := []byte(`{"symbol":"AAPL","exchange":"NASDAQ","currency":"USD","price":191.20}`)
	next := []byte(`{"symbol":"AAPL","exchange":"NASDAQ","currency":"USD","price":191.25}`)

	var e delta.Encoder
	d := e.AppendFossil(nil, base, next)
	fmt.Printf("%d bytes instead of %d: %q\n", len(d), len(next), d)

	got, err := delta.ApplyFossil(nil, base, d, 1<<20)
	fmt.Println(string(got) == string(next), err)
	// Output:
	// 18 bytes instead of 69: "15\n13@0,2:5}nw~I1;"
	// true <nil>
}

// Clients choose between two formats.
func ExampleEncoder_AppendVCDIFF() {
	base := []byte("the quick brown fox jumps over the lazy dog")
	next := []byte("the quick brown fox jumps over the lazy cat")

	var e delta.Encoder
	d := e.AppendVCDIFF(nil, base, next)
	got, err := delta.ApplyVCDIFF(nil, base, d, 1<<20)
	fmt.Printf("%s, %v\n", got, err)

	// The last argument bounds the output of a decoder for input that is not trusted.
	_, err = delta.ApplyVCDIFF(nil, base, d, 10)
	fmt.Println(err)
	// Output:
	// the quick brown fox jumps over the lazy cat, <nil>
	// delta target too large: 43 more bytes, limit 10
}

// The conflation value of a publication selects the publications that it is compared with.
func ExamplePath() {
	p, err := delta.ParsePath("data.symbol")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Value([]byte(`{"data":{"symbol":"AAPL"}}`)))
	fmt.Println(p.Value([]byte(`{"data":{"symbol":12.50}}`)))
	fmt.Printf("%q\n", p.Value([]byte(`{"data":{}}`)))
	// Output:
	// AAPL
	// 12.50
	// ""
}
