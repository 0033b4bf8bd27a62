//go:build !linux

package doctor

// fill adds nothing on this system; errors appear when a server starts.
func (d *Data) fill() { d.Writable = true }
