// Package stream is the HTTP of event streams (server-sent events): which requests ask for one,
// whether one may be granted, how it begins, and the answers to those that are not. It knows of
// no connection and no log; what is in a stream is the matter of pusher.
package stream
