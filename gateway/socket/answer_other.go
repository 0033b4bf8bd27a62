//go:build !linux

package socket

import "time"

func expectAnswer(int, time.Duration) {}

func waits(int) bool { return false }
