package hub

import (
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
)

// algorithms is a set of delta formats.
type algorithms uint8

const allAlgorithms = algorithms(1<<app.Fossil | 1<<app.VCDIFF)

func setOf(list []app.Algorithm) algorithms {
	var s algorithms
	for _, a := range list {
		s |= 1 << a
	}
	return s
}

func (s algorithms) has(a app.Algorithm) bool { return a != app.AlgorithmUnset && s&(1<<a) != 0 }

// quirk is what a client library does wrong with deltas, known by the name it
// gives in the query parameter `client` (protocol section 3.15). A client that is
// not listed and asks for deltas is trusted.
type quirk struct {
	// decodes are the formats that are safe to send.
	decodes algorithms
	// single clients keep one base per channel: they take part in single-base
	// mode whatever the channel's conflation path.
	single bool
}

func quirkOf(client string) quirk {
	switch strings.ToLower(client) {
	case "swift":
		// Its Fossil checksum traps on overflow and ends the application.
		return quirk{decodes: 1 << app.VCDIFF}
	case "csharp":
		// It reads base_index as a position in an array.
		return quirk{decodes: allAlgorithms, single: true}
	case "python":
		// Its Fossil checksum is not reduced to 32 bits.
		return quirk{decodes: 1 << app.VCDIFF, single: true}
	}
	return quirk{decodes: allAlgorithms}
}
