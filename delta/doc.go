// Package delta encodes and decodes differences between texts, and keeps what is needed to choose between
// full and delta frames.
//
//   - [Encoder], [ApplyFossil] and [ApplyVCDIFF] are the two formats (protocol
//     sections 3.16 and 3.17). Any pair of texts has a delta, every delta decodes
//     to its target, and decoders survive every input within their limit.
//   - [Path] finds the conflation value of a publication, [ShapeOf] says
//     how its data may travel.
//   - [Bases] remembers which publications of a channel deltas may start from.
//   - [Number] and [Salt] name publications towards clients.
//
// Everything is a function of its arguments, or a type with one owner: no goroutine, no lock, no clock, no
// I/O. Given the same log and configuration, every gateway gets the same results. The package knows neither
// sockets nor frames; the gateway's hub and the client use it.
package delta
