package brokertest

// Probe gives access to internals of a log that its callers cannot see or cause. Fields that a backend does
// not provide stay zero, and the tests that need them are skipped.
type Probe struct {
	// Attached returns the number of followed channels.
	Attached func() int
	// FeedBytes is about how much data may be queued for a sink that blocks. Repaired returns how many
	// publications were read from the log because they did not arrive live.
	FeedBytes int
	Repaired  func() uint64
	// Retry does what the log does when it could not compare channels with its servers.
	Retry func()
	// Doubts are the ways to make the log read a followed channel again.
	Doubts map[string]func(app, channel string)
	// Repairs returns how many repairs of an app are in progress, at most RepairsAtOnce, and how many wait.
	Repairs       func(app string) (underWay, waiting int)
	RepairsAtOnce int
	// Stall delays all answers of the servers until resume is called.
	Stall func() (resume func())
}
