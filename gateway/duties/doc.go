// Package duties is what a gateway follows for its apps in addition to their channels: orders to all gateways,
// and whatever else must be followed as long as an app needs it.
//
// [Duties] begins and ends what is needed, and retries what fails. [Orders] are the events in the log of the
// gateways. [Tasks] are background goroutines. None of them knows connections: the hub passes in what to do.
package duties
