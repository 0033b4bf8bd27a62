package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/stream"
)

type tokenOptions struct {
	target
	lasts time.Duration
	query bool
}

func newTokenCommand() *cobra.Command {
	o := &tokenOptions{}
	cmd := &cobra.Command{
		Use:   "token CHANNEL...",
		Short: "Print a signed address of an event stream",
		Long: `Print the address of an event stream (server-sent events) of these channels, signed with
the secret of the app, so that whoever has it may read them until it expires: private
channels, too. It need not be secret from who may read, and no server is asked for it.

Any server can make one: token is the HMAC-SHA256 in hexadecimal, with the secret of the
app, of these lines joined by line feeds: events, the key of the app, each channel in the
order of the address, and the time of expiry in Unix seconds, at most a day ahead.`,
		Example: `  curl -N "$(sluice token private-orders)"
  sluice token private-orders news --for 10m --query`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&o.lasts, "for", time.Hour, "how long the address is good, 24h at most; what is open then goes on")
	f.BoolVar(&o.query, "query", false, "print the query alone")
	return cmd
}

func (o *tokenOptions) run(cmd *cobra.Command, channels []string) error {
	if o.lasts < time.Second || o.lasts > pusher.MaxTokenAge {
		return usage("--for is %v, must be from 1s to 24h", o.lasts)
	}
	if err := o.complete(cmd, false); err != nil {
		return err
	}
	longest, most, setting := app.DefaultLimits.MaxChannelLength, stream.MaxChannels, ""
	if o.known != nil {
		longest = o.known.MaxChannelName
	}
	if n := o.config.WebSocket.MaxSubscriptions; o.here && n < most {
		most, setting = n, " (websocket.max_subscriptions)"
	}
	if len(channels) > most {
		return usage("an event stream has %d channels at most%s, not %d", most, setting, len(channels))
	}
	for i, name := range channels {
		if err := pusher.CheckChannel(name, longest); err != nil {
			return usageError{err}
		}
		if kind := pusher.KindOf(name); kind.Presence() || kind.Encrypted() || kind.ServerToUser() {
			return usage("%s cannot be read by an event stream, which has no presence, encrypted or user channels", name)
		}
		if slices.Contains(channels[:i], name) {
			return usage("%s is given twice", name)
		}
	}
	if o.key == "" || o.secret == "" {
		return usage("the key and the secret of the app are required")
	}
	expires := time.Now().Add(o.lasts).Unix()
	var query strings.Builder
	for _, name := range channels {
		query.WriteString("channel=" + url.QueryEscape(name) + "&")
	}
	fmt.Fprintf(&query, "expires=%d&token=%s", expires, pusher.SignEvents(o.key, o.secret, channels, expires))
	if o.query {
		fmt.Fprintln(cmd.OutOrStdout(), query.String())
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout(), httpScheme(strings.TrimSuffix(o.url, "/"))+"/app/"+url.PathEscape(o.key)+"/events?"+query.String())
	return nil
}
