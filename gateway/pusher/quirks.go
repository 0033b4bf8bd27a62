package pusher

import (
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
)

// Algorithms is a set of delta formats.
type Algorithms uint8

const allAlgorithms = Algorithms(1<<app.Fossil | 1<<app.VCDIFF)

// AlgorithmsOf returns a list as a set.
func AlgorithmsOf(list []app.Algorithm) Algorithms {
	var s Algorithms
	for _, a := range list {
		s |= 1 << a
	}
	return s
}

// Has reports whether a format is in the set. AlgorithmUnset never is.
func (s Algorithms) Has(a app.Algorithm) bool { return a != app.AlgorithmUnset && s&(1<<a) != 0 }

// Quirk describes how a client library differs from most, by the name in its query parameter `client` (protocol
// section 3.15). A client that is not listed and requests deltas is assumed to decode them correctly.
type Quirk struct {
	// Decodes are the formats that the client decodes correctly.
	Decodes Algorithms
	// Single is set for clients that keep one base per channel. They use single-base mode whatever the channel's
	// conflation path.
	Single bool
	// AsksAgain is set for clients that repeat a subscription that was refused temporarily, on the same
	// connection, or leave that to the program. Other clients treat the channel as still pending.
	AsksAgain bool
}

// QuirkOf returns the quirk of the library with a name; case is ignored.
func QuirkOf(client string) Quirk {
	switch strings.ToLower(client) {
	case "sluice-go":
		return Quirk{Decodes: allAlgorithms, AsksAgain: true}
	case "swift":
		// Its Fossil checksum traps on overflow and terminates the application.
		return Quirk{Decodes: 1 << app.VCDIFF}
	case "csharp":
		// It uses base_index as an index into an array.
		return Quirk{Decodes: allAlgorithms, Single: true}
	case "python":
		// Its Fossil checksum is not reduced to 32 bits.
		return Quirk{Decodes: 1 << app.VCDIFF, Single: true}
	}
	return Quirk{Decodes: allAlgorithms}
}

// Choose returns the configured format if the client can use it, else the first usable one that the client
// lists, else the other one.
func Choose(configured app.Algorithm, listed []app.Algorithm, usable Algorithms) app.Algorithm {
	if usable.Has(configured) {
		return configured
	}
	for _, a := range append(listed[:len(listed):len(listed)], app.Fossil, app.VCDIFF) {
		if usable.Has(a) {
			return a
		}
	}
	return app.AlgorithmUnset
}
