package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newChannelsCommand() *cobra.Command {
	var t target
	var prefix string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "channels",
		Short: "Print the channels that somebody is subscribed to",
		Long: `Print the channels that somebody is subscribed to, on all gateways, with the number of
their subscriptions, and of their users for presence channels. What the log retains of
a channel, subscribed or not, is printed by "sluice history" and "sluice export".`,
		Example: `  sluice channels
  sluice channels --prefix presence-`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := t.signed(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"info": {"subscription_count"}}
			if prefix != "" {
				query.Set("filter_by_prefix", prefix)
			}
			rows, err := readChannels(func(q url.Values, out any) error {
				return t.explain(api.Do(cmd.Context(), http.MethodGet, []string{"channels"}, q, nil, out))
			}, query)
			if err != nil {
				return err
			}
			return printChannels(cmd.OutOrStdout(), cmd.ErrOrStderr(), rows, asJSON)
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&prefix, "prefix", "", "only channels with a name that begins so")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// channelRow is one channel with its counts on all gateways.
type channelRow struct {
	Channel       string `json:"channel"`
	Subscriptions int    `json:"subscriptions"`
	Users         *int   `json:"users,omitempty"`
}

// readChannels requests all channels, and separately the users of presence channels, because the API returns
// these only for a presence prefix.
func readChannels(get func(url.Values, any) error, query url.Values) ([]channelRow, error) {
	type numbers struct {
		Subscriptions int  `json:"subscription_count"`
		Users         *int `json:"user_count"`
	}
	var all struct{ Channels map[string]numbers }
	if err := get(query, &all); err != nil {
		return nil, err
	}
	const presence = "presence-"
	prefix := query.Get("filter_by_prefix")
	if !strings.HasPrefix(prefix, presence) {
		prefix = presence
	}
	present := struct{ Channels map[string]numbers }{}
	for name := range all.Channels {
		if strings.HasPrefix(name, presence) {
			if err := get(url.Values{"info": {"user_count"}, "filter_by_prefix": {prefix}}, &present); err != nil {
				return nil, err
			}
			break
		}
	}
	var rows []channelRow
	for name, n := range all.Channels {
		rows = append(rows, channelRow{name, n.Subscriptions, present.Channels[name].Users})
	}
	slices.SortFunc(rows, func(a, b channelRow) int { return strings.Compare(a.Channel, b.Channel) })
	return rows, nil
}

func printChannels(out, errors io.Writer, rows []channelRow, asJSON bool) error {
	if asJSON {
		for _, r := range rows {
			if err := writeJSON(out, r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		fmt.Fprintln(errors, "0 channels with subscribers; `sluice history CHANNEL` prints what the log has of a channel")
		return nil
	}
	fmt.Fprintf(out, "%13s  %8s  %s\n", "SUBSCRIPTIONS", "USERS", "CHANNEL")
	for _, r := range rows {
		users := "-"
		if r.Users != nil {
			users = fmt.Sprint(*r.Users)
		}
		if _, err := fmt.Fprintf(out, "%13d  %8s  %s\n", r.Subscriptions, users, r.Channel); err != nil {
			return err
		}
	}
	fmt.Fprintf(errors, "%s\n", counted(len(rows), "channel"))
	return nil
}

func newUsersCommand() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "users CHANNEL",
		Short:   "Print the users of a presence channel",
		Long:    `Print the ids of the users of a presence channel, on all gateways, one a line.`,
		Example: `  sluice users presence-room`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := t.signed(cmd)
			if err != nil {
				return err
			}
			type user struct {
				ID string `json:"id"`
			}
			var got struct{ Users []user }
			if err := api.Do(cmd.Context(), http.MethodGet, []string{"channels", args[0], "users"}, nil, nil, &got); err != nil {
				return t.explain(err)
			}
			for _, u := range got.Users {
				if asJSON {
					err = writeJSON(cmd.OutOrStdout(), u)
				} else {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), u.ID)
				}
				if err != nil {
					return err
				}
			}
			if !asJSON {
				fmt.Fprintln(cmd.ErrOrStderr(), counted(len(got.Users), "user"))
			}
			return nil
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func newTerminateCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "terminate USER",
		Short: "Close the connections of a user",
		Long: `Close the connections of a user that has signed in, on all gateways. Clients do not come
back by themselves, and nothing stops them from doing so if they try: refuse the user's
next sign-in where it is signed.`,
		Example: `  sluice terminate user-42`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := t.signed(cmd)
			if err != nil {
				return err
			}
			if err := api.Do(cmd.Context(), http.MethodPost, []string{"users", args[0], "terminate_connections"}, nil, struct{}{}, nil); err != nil {
				return t.explain(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "all gateways were told to close the connections of %s\n", args[0])
			return nil
		},
	}
	t.flags(cmd)
	return cmd
}

// counted returns a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// writeJSON writes a value on one line, without escapes for HTML.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
