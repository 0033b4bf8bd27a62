package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/web"
	"github.com/sluicehq/sluice/streams"
)

// consoleOf returns the options of the console, nil for none.
func consoleOf(c *configs.Config, b *backend) *gateway.ConsoleOptions {
	if !c.Console.Enabled {
		return nil
	}
	out := &gateway.ConsoleOptions{
		Token: app.Secret(c.Console.Token), Hosts: c.AllowedHosts, Page: web.Console(versionText()), Streams: listingOf(b),
	}
	if c.Console.Port >= 0 {
		out.Listen = net.JoinHostPort(c.Console.Host, strconv.Itoa(c.Console.Port))
	}
	return out
}

// listingOf returns a function that lists the streams of a log on JetStream.
func listingOf(b *backend) func(context.Context) ([]console.Stream, string) {
	log, ok := b.log.(*streams.Log)
	if !ok {
		return func(context.Context) ([]console.Stream, string) {
			return []console.Stream{}, "This log does not consist of streams of NATS."
		}
	}
	return func(ctx context.Context) ([]console.Stream, string) {
		all, left := log.Holdings(ctx)
		out := make([]console.Stream, len(all))
		for i, h := range all {
			out[i] = console.Stream{
				Name: h.Name, Purpose: h.Purpose, Messages: h.Messages, Bytes: h.Bytes, Subjects: h.Subjects, Copies: h.Copies, Leader: h.Leader, Late: h.Late,
			}
			if h.Err != nil {
				out[i].Problem = h.Err.Error()
			}
		}
		if left > 0 {
			return out, fmt.Sprintf("%d more streams are not shown.", left)
		}
		return out, ""
	}
}

// consoleURL returns the URL of the console.
func consoleURL(c *configs.Config, node *gateway.Node) string {
	if at := node.ConsoleAddr(); at != "" {
		if node.ConsoleSecured() {
			return "https://" + at + "/"
		}
		return "http://" + at + "/"
	}
	return scheme(c) + node.Addr() + c.PathPrefix + "/console/"
}
