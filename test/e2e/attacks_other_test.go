//go:build !linux

package e2e

// besieges is for Linux, whose loopback network has many addresses.
func besieges() bool { return false }
