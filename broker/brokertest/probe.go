package brokertest

// Probe reaches what no caller of a log sees or can bring about. What a backend does not
// have stays zero, and the tests that need it are left out.
type Probe struct {
	// Attached is the number of channels that are followed.
	Attached func() int
	// FeedBytes is about how much data may wait for a sink that takes nothing, and Repaired
	// how many publications were read from the log because they did not come live.
	FeedBytes int
	Repaired  func() uint64
	// Retry does what the log does when it could not compare channels with its servers.
	Retry func()
	// Doubts are the ways in which the log comes to read a followed channel anew.
	Doubts map[string]func(app, channel string)
	// Repairs says how many repairs of an app are under way, at most RepairsAtOnce, and how
	// many wait for that.
	Repairs       func(app string) (underWay, waiting int)
	RepairsAtOnce int
	// Stall holds back all answers of the servers until resume is called.
	Stall func() (resume func())
}
