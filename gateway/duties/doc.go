// Package duties is what a gateway follows for its apps beside their channels: orders that all
// gateways obey, and whatever else somebody wants to be followed as long as an app wants it.
//
// [Duties] begins and ends what is wanted, and goes on trying what fails. [Orders] are the events
// in the log of the gateways. [Tasks] are what runs beside. None knows of connections: the hub tells what is to be done.
package duties
