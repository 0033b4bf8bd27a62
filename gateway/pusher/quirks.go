package pusher

import (
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
)

// Algorithms is a set of delta formats.
type Algorithms uint8

const allAlgorithms = Algorithms(1<<app.Fossil | 1<<app.VCDIFF)

// AlgorithmsOf is the set of a list.
func AlgorithmsOf(list []app.Algorithm) Algorithms {
	var s Algorithms
	for _, a := range list {
		s |= 1 << a
	}
	return s
}

// Has tells whether a format is in the set; none never is.
func (s Algorithms) Has(a app.Algorithm) bool { return a != app.AlgorithmUnset && s&(1<<a) != 0 }

// Quirk is what a client library does otherwise than most, known by the name it
// gives in the query parameter `client` (protocol section 3.15). A client that is
// not listed and asks for deltas is trusted.
type Quirk struct {
	// Decodes are the formats that are safe to send.
	Decodes Algorithms
	// Single clients keep one base per channel: they take part in single-base
	// mode whatever the channel's conflation path.
	Single bool
	// AsksAgain clients ask again by themselves, on the same connection, for a subscription that was refused for
	// the moment, or leave that to the program. Others keep the channel as one that is still being asked for.
	AsksAgain bool
}

// QuirkOf is that of the library with a name, in any case of letters.
func QuirkOf(client string) Quirk {
	switch strings.ToLower(client) {
	case "sluice-go":
		return Quirk{Decodes: allAlgorithms, AsksAgain: true}
	case "swift":
		// Its Fossil checksum traps on overflow and ends the application.
		return Quirk{Decodes: 1 << app.VCDIFF}
	case "csharp":
		// It reads base_index as a position in an array.
		return Quirk{Decodes: allAlgorithms, Single: true}
	case "python":
		// Its Fossil checksum is not reduced to 32 bits.
		return Quirk{Decodes: 1 << app.VCDIFF, Single: true}
	}
	return Quirk{Decodes: allAlgorithms}
}

// Choose picks the configured format if the client can use it, else the first one
// that it lists, else the other one.
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
