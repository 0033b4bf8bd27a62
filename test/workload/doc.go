// Package workload generates the message streams that tests and benchmarks share: nine kinds of JSON payload
// as in dashboards, markets, devices, games and chats, from 100 bytes to 61 kilobytes.
//
// The streams are deterministic: the same seed gives the same bytes in every run. They differ in what makes
// deltas easy or hard: how much of a message changes, whether numbers change their width, whether whole
// elements appear and disappear, how many conflation keys alternate. The sizes in the descriptions are mean
// sizes of the complete frame (protocol section 3.7) with its markers.
package workload
