package hub

import (
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// form is what distinguishes the frames of one publication: the dialect and, for
// subscriptions with delta compression, the mode and the algorithm.
type form uint8

const (
	formV2     form = 1 << iota // otherwise V1
	formKeyed                   // otherwise single-base mode
	formVCDIFF                  // otherwise Fossil
	formDelta                   // delta compression is active
	forms      = 8
)

func (f form) dialect() pusher.Dialect {
	if f&formV2 != 0 {
		return pusher.V2
	}
	return pusher.V1
}

func (f form) algorithm() app.Algorithm {
	if f&formVCDIFF != 0 {
		return app.VCDIFF
	}
	return app.Fossil
}

const (
	singleBase = iota
	keyedBases
	modes
)

func (f form) mode() int {
	if f&formKeyed != 0 {
		return keyedBases
	}
	return singleBase
}
