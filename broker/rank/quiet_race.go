//go:build race

package rank

import "runtime"

// quiet has the race detector take what follows for no order between goroutines.
func quiet() { runtime.RaceDisable() }
func heard() { runtime.RaceEnable() }
