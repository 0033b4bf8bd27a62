// Package workload generates the message streams that tests and benchmarks
// share: nine kinds of JSON payload as dashboards, markets, devices, games and
// people publish them, from 100 bytes to 61 kilobytes.
//
// The streams are deterministic: the same seed gives the same bytes in every
// run. They differ in what makes deltas easy or hard: how much of a message
// changes, whether numbers change their width, whether whole elements come and
// go, how many conflation keys take turns. The sizes named in the descriptions
// are mean sizes of the complete frame (protocol section 3.7) with its markers.
package workload
