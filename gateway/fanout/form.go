package fanout

import (
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Form is what distinguishes the frames of one publication: the dialect and, for subscriptions with delta
// compression, the mode and the algorithm.
type Form uint8

const (
	V2     Form = 1 << iota // otherwise V1
	Keyed                   // otherwise single-base mode
	VCDIFF                  // otherwise Fossil
	Delta                   // delta compression is active
	Events                  // event streams; never combined with others
	forms  = 8
)

// followedBy returns the form of a subscription that had f and is to have next. A client that has seen
// conflation values requires them for good, so its frames keep them even if the rules have none any more.
func (f Form) followedBy(next Form) Form {
	if f&next&Delta != 0 {
		next |= f & Keyed
	}
	return next
}

// Dialect returns the dialect of the frames.
func (f Form) Dialect() pusher.Dialect {
	switch {
	case f&Events != 0:
		return pusher.Events
	case f&V2 != 0:
		return pusher.V2
	}
	return pusher.V1
}

// Algorithm returns the format of the deltas.
func (f Form) Algorithm() app.Algorithm {
	if f&VCDIFF != 0 {
		return app.VCDIFF
	}
	return app.Fossil
}

const (
	SingleBase = iota
	KeyedBases
	modes
)

func (f Form) mode() int {
	if f&Keyed != 0 {
		return KeyedBases
	}
	return SingleBase
}
