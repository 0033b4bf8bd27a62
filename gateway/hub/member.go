package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// memberOf is who a subscription to a presence channel joins as. It answers what is
// wrong by itself.
func (c *Client) memberOf(s *pusher.Subscribe) (pusher.Member, bool) {
	var m pusher.Member
	var err error
	limit := c.app.Limits.MaxMemberInfo
	switch {
	case s.HasChannelData:
		m, err = pusher.ParseMember(s.ChannelData, limit)
	case c.user != "":
		m.ID, m.Info, err = c.user, c.info, c.infoErr
	default:
		err = errors.New("channel_data is missing, and this connection is not signed in")
	}
	switch {
	case err == nil:
		return m, true
	case errors.Is(err, pusher.ErrMemberLimit):
		c.limited("presence_member_size")
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "LimitReached", 403, err.Error())
	default:
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "AuthError", 401, err.Error())
	}
	return m, false
}

// join makes a connection a member of a channel.
func (c *Client) join(ch *Channel, m pusher.Member) bool {
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
	defer cancel()
	err := ch.roll.Join(ctx, m.ID, m.Info, c.app.Limits.MaxMembers)
	switch {
	case err == nil:
		return true
	case errors.Is(err, presence.ErrFull):
		c.limited("presence_members")
		c.refuse(ch.name, pusher.ErrorOverCapacity, "LimitReached", 403,
			fmt.Sprintf("the channel has reached its limit of %d members", c.app.Limits.MaxMembers))
	default:
		c.attachFailed(ch.name, err)
	}
	return false
}

// hash is the data of a successful subscription to a presence channel, and the version
// of the members in it. It begins with 1, because 0 means that there is none.
func (c *Channel) hash() (string, uint64) {
	all, version := c.roll.Members()
	members := make([]pusher.Member, len(all))
	for i := range all {
		members[i] = pusher.Member{ID: all[i].User, Info: all[i].Info}
	}
	return string(pusher.AppendPresence(nil, members)), version
}
