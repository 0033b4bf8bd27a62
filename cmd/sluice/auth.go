package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/pusher"
)

type authOptions struct {
	target
	socket, channelData, userData string
	user, info                    string
}

func newAuthCommand() *cobra.Command {
	o := &authOptions{}
	cmd := &cobra.Command{
		Use:   "auth [CHANNEL]",
		Short: "Sign a subscription or a sign-in for a connection",
		Long: `Sign the subscription of a connection to a private or presence channel, or with
--user-data its sign-in, and print the JSON that clients expect of an authorization
endpoint. No server is asked; the key and the secret are those of the other commands.

Presence channels need --user-id (and --user-info), or --channel-data as a whole. For
encrypted channels the answer has no shared secret.`,
		Example: `  sluice auth private-room --socket-id 123.456
  sluice auth presence-room --socket-id 123.456 --user-id 7 --user-info '{"name":"Ada"}'
  sluice auth --socket-id 123.456 --user-data '{"id":"7"}'`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket-id", "", "id of the connection, which it was told when it was established")
	f.StringVar(&o.user, "user-id", "", "id of the user who joins a presence channel")
	f.StringVar(&o.info, "user-info", "", "JSON that other members see of the user")
	f.StringVar(&o.channelData, "channel-data", "", "JSON to be signed with the channel, instead of --user-id and --user-info")
	f.StringVar(&o.userData, "user-data", "", "JSON with the id of the user who signs in, instead of a channel")
	return cmd
}

// authorization is the answer of an authorization endpoint.
type authorization struct {
	Auth        string  `json:"auth"`
	ChannelData *string `json:"channel_data,omitempty"`
	UserData    *string `json:"user_data,omitempty"`
}

func (o *authOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.check(cmd, args); err != nil {
		return err
	}
	if err := o.complete(cmd, false); err != nil {
		return err
	}
	if o.secret == "" {
		return usage("the secret is empty")
	}
	out := authorization{}
	if len(args) == 0 {
		out.Auth, out.UserData = o.key+":"+pusher.SignUser(o.secret, o.socket, o.userData), &o.userData
	} else {
		out.Auth = o.key + ":" + pusher.SignChannel(o.secret, o.socket, args[0], o.channelData, o.channelData != "")
		if o.channelData != "" {
			out.ChannelData = &o.channelData
		}
	}
	return writeJSON(cmd.OutOrStdout(), out)
}

// longestChannel is the highest limit that an app can have for channel names; the server checks its own.
const longestChannel = 200

// check refuses what a server would refuse in spite of a valid signature, and completes the data of presence
// channels.
func (o *authOptions) check(cmd *cobra.Command, args []string) error {
	signin, byUser := cmd.Flags().Changed("user-data"), cmd.Flags().Changed("user-id") || o.info != ""
	switch {
	case o.socket == "":
		return usage("--socket-id is missing")
	case signin == (len(args) == 1):
		return usage("give either a channel or --user-data")
	case signin && (byUser || o.channelData != ""):
		return usage("--user-id, --user-info and --channel-data are for channels")
	case byUser && o.channelData != "":
		return usage("--channel-data takes the place of --user-id and --user-info")
	}
	if err := pusher.CheckSocketID(o.socket); err != nil {
		return usageError{err}
	}
	if signin {
		return o.checkUser()
	}
	if err := pusher.CheckChannel(args[0], longestChannel); err != nil {
		return usageError{err}
	}
	switch kind := pusher.KindOf(args[0]); {
	case kind.ServerToUser():
		return usage("channels of users are joined by signing in, see --user-data")
	case !kind.NeedsAuth():
		return usage("%s is a public channel: nothing has to be signed", args[0])
	case kind.Presence():
		return o.checkMember(byUser)
	case byUser:
		return usage("--user-id and --user-info are for presence channels")
	}
	return nil
}

func (o *authOptions) checkUser() error {
	request, err := json.Marshal(map[string]string{"auth": "k:s", "user_data": o.userData})
	if err != nil {
		return err
	}
	if _, err := pusher.ParseSignin(string(request)); err != nil {
		return usage("--user-data: %w", err)
	}
	return nil
}

func (o *authOptions) checkMember(byUser bool) error {
	if byUser {
		member := map[string]any{"user_id": o.user}
		if o.info != "" {
			if !json.Valid([]byte(o.info)) {
				return usage("--user-info is no JSON")
			}
			member["user_info"] = json.RawMessage(o.info)
		}
		data, err := json.Marshal(member)
		if err != nil {
			return err
		}
		o.channelData = string(data)
	}
	if o.channelData == "" {
		return usage("presence channels need --user-id or --channel-data")
	}
	if _, err := pusher.ParseMember(o.channelData, 1<<20); err != nil {
		return usageError{fmt.Errorf("the data of the member: %w", err)}
	}
	return nil
}
