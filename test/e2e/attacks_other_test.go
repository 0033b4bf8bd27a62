//go:build !linux

package e2e

// besieges returns false: the attacks need Linux, whose loopback network has many addresses.
func besieges() bool { return false }
