//go:build race

package rank

import "runtime"

// quiet makes the race detector ignore synchronization until heard is called.
func quiet() { runtime.RaceDisable() }
func heard() { runtime.RaceEnable() }
