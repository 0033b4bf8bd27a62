package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// takeMember finds the member that joins a presence channel. It answers a refusal itself and then returns
// false.
func (c *Client) takeMember(r *request) bool {
	if !r.kind.Presence() {
		return true
	}
	m, err := &r.member, error(nil)
	limit := c.app().Limits.MaxMemberInfo
	switch {
	case r.HasChannelData:
		*m, err = pusher.ParseMember(r.ChannelData, limit)
	case c.signed != nil:
		m.ID, m.Info, err = c.signed.user, c.signed.info, c.signed.infoErr
	default:
		err = errors.New("channel_data is missing, and this connection is not signed in")
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, pusher.ErrMemberLimit):
		c.limited("presence_member_size")
		c.refuse(r.Channel, pusher.ErrorUnauthorized, "LimitReached", 403, err.Error())
	default:
		c.refuse(r.Channel, pusher.ErrorUnauthorized, "AuthError", 401, err.Error())
	}
	return false
}

// join makes a connection a member of a channel. It answers a refusal itself and then returns false.
func (c *Client) join(ch *Channel, m pusher.Member) bool {
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
	defer cancel()
	err := ch.roll.Join(ctx, m.ID, m.Info, c.app().Limits.MaxMembers)
	switch {
	case err == nil:
		return true
	case errors.Is(err, presence.ErrFull):
		c.limited("presence_members")
		c.refuse(ch.Name, pusher.ErrorOverCapacity, "LimitReached", 403,
			fmt.Sprintf("the channel has reached its limit of %d members", c.app().Limits.MaxMembers))
	default:
		c.attachFailed(ch.Name, err)
	}
	return false
}

// hashOf returns the data of a successful subscription to a presence channel, and the version of the members
// in it. Versions begin with 1, because 0 means that there are none.
func hashOf(r *herald.Roll) (string, uint64) {
	all, version := r.Members()
	members := make([]pusher.Member, len(all))
	for i := range all {
		members[i] = pusher.Member{ID: all[i].User, Info: all[i].Info}
	}
	return string(pusher.AppendPresence(nil, members)), version
}
