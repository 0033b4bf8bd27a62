// Package stream handles the HTTP requests for event streams (server-sent events): which requests ask for
// one, whether it is granted, how it begins, and the answers to refused requests. It knows no connection of
// the hub and no log. Package pusher has the content of a stream.
package stream
